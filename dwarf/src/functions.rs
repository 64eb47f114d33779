//! The table of functions, from the symbol table: names and places of all code, described by DWARF or not.

use std::borrow::Cow;
use std::sync::OnceLock;

use object::LittleEndian;
use object::elf;
use object::read::elf::Sym;

use crate::error::DwarfError;
use crate::{Binary, FileAddr};

/// How a function takes its arguments (Go's `cmd/compile/abi-internal.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Abi {
    /// Arguments and results in registers as far as they fit: everything the Go compiler compiles.
    Internal,
    /// Arguments and results on the stack: assembly, and what assembly calls.
    Abi0,
}

/// A piece of code with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// The linker's name, as in DWARF and in Go's tracebacks: `main.(*T).Method`, `main.Map[go.shape.int]`,
    /// `main.main.func1`. The `.abi0` that the linker adds to a symbol is left out, see [`Function::abi`].
    pub name: Box<str>,
    /// Its first instruction.
    pub entry: FileAddr,
    /// The first address behind it.
    pub end: FileAddr,
    /// [`Abi::Abi0`] when the linker marked the symbol so. A Go and an ABI0 function of one name can exist side by
    /// side: one of them is a wrapper that calls the other.
    pub abi: Abi,
}

impl Function {
    /// Whether `pc` lies in the function.
    pub fn contains(&self, pc: FileAddr) -> bool {
        self.entry <= pc && pc < self.end
    }

    /// The size of its code in bytes.
    pub fn size(&self) -> u64 {
        self.end.0.saturating_sub(self.entry.0)
    }
}

/// All functions, sorted by address, and an order by name.
#[derive(Debug, Default)]
pub(crate) struct FunctionTable {
    by_address: Vec<Function>,
    by_name: OnceLock<Vec<u32>>,
}

impl FunctionTable {
    pub(crate) fn new(mut functions: Vec<Function>) -> FunctionTable {
        functions.sort_by(|a, b| (a.entry, &a.name).cmp(&(b.entry, &b.name)));
        functions.dedup_by(|b, a| a.entry == b.entry && a.name == b.name);
        FunctionTable {
            by_address: functions,
            by_name: OnceLock::new(),
        }
    }

    fn by_name(&self) -> &[u32] {
        self.by_name.get_or_init(|| {
            let mut order: Vec<u32> = (0..self.by_address.len() as u32).collect();
            order.sort_by_key(|i| &self.by_address[*i as usize].name);
            order
        })
    }

    fn named<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Function> + use<'a> {
        let order = self.by_name();
        let function = move |i: &u32| &self.by_address[*i as usize];
        let start = order.partition_point(|i| *function(i).name < *name);
        let end = order.partition_point(|i| *function(i).name <= *name);
        order[start..end].iter().map(function)
    }

    fn at(&self, pc: FileAddr) -> Option<&Function> {
        let end = self.by_address.partition_point(|f| f.entry <= pc);
        // Of symbols that share an entry the first by name is taken, so that the answer is always the same one.
        let entry = self.by_address.get(end.checked_sub(1)?)?.entry;
        let start = self.by_address[..end].partition_point(|f| f.entry < entry);
        self.by_address[start..end].iter().find(|f| f.contains(pc))
    }
}

impl Binary {
    fn function_table(&self) -> &FunctionTable {
        self.functions.get_or_init(|| {
            let functions = self.functions_from_symbols();
            FunctionTable::new(
                functions
                    .or_else(|| self.functions_from_dwarf().ok())
                    .unwrap_or_default(),
            )
        })
    }

    /// All functions, sorted by entry: Go, assembly and C, with debug information or not.
    pub fn functions(&self) -> &[Function] {
        &self.function_table().by_address
    }

    /// The function of that exact name. Where a Go function and its ABI0 counterpart share the name, it is the one
    /// that Go code calls.
    pub fn function_named(&self, name: &str) -> Option<&Function> {
        let mut named = self.function_table().named(name);
        let first = named.next()?;
        if first.abi == Abi::Internal {
            return Some(first);
        }
        Some(named.find(|f| f.abi == Abi::Internal).unwrap_or(first))
    }

    /// All functions of that exact name.
    pub fn functions_named(&self, name: &str) -> Vec<&Function> {
        self.function_table().named(name).collect()
    }

    /// The function whose code contains `pc`.
    pub fn function_at(&self, pc: FileAddr) -> Option<&Function> {
        self.function_table().at(pc)
    }

    /// Reads `.symtab`; `None` when there is none.
    fn functions_from_symbols(&self) -> Option<Vec<Function>> {
        let mut functions = Vec::new();
        let mut unsized_symbols = Vec::new();
        self.each_symbol(|symbol, name| {
            let (kind, address, size) = (
                symbol.st_type(),
                symbol.st_value(LittleEndian),
                symbol.st_size(LittleEndian),
            );
            if kind != elf::STT_FUNC || !self.elf().is_executable_address(address) {
                return;
            }
            let name = String::from_utf8_lossy(name);
            let (name, abi) = match name.strip_suffix(".abi0") {
                Some(plain) => (plain, Abi::Abi0),
                None => (&*name, Abi::Internal),
            };
            let plain = with_middle_dots(name);
            let function = |size: u64| Function {
                name: plain.as_ref().into(),
                entry: FileAddr(address),
                end: FileAddr(address.saturating_add(size)),
                abi,
            };
            // The Go linker's marks for the limits of parts of the text are no functions.
            let is_mark = ["runtime.text", "runtime.etext", "go:textfips"]
                .iter()
                .any(|mark| name.starts_with(mark));
            if size > 0 && !name.starts_with("go:textfips") {
                functions.push(function(size));
            } else if !is_mark {
                unsized_symbols.push(function(0));
            }
        })?;
        // Assembly in C objects often leaves the size out: such a function ends where the next one begins.
        let mut starts: Vec<FileAddr> = functions.iter().chain(&unsized_symbols).map(|f| f.entry).collect();
        starts.sort_unstable();
        starts.dedup();
        for mut function in unsized_symbols {
            let next = starts.partition_point(|start| *start <= function.entry);
            if let Some(next) = starts.get(next) {
                function.end = *next;
                functions.push(function);
            }
        }
        Some(functions)
    }

    /// Reads the functions from DWARF, for the rare file that has debug information and no symbol table (`-ldflags='-s
    /// -w=0'`).
    fn functions_from_dwarf(&self) -> Result<Vec<Function>, DwarfError> {
        let dwarf = self.dwarf()?;
        let count = self.units()?.records.len();
        let mut functions = Vec::new();
        for index in 0..count {
            let unit = self.unit(&dwarf, index)?;
            for (entry, offset) in unit.subprograms()? {
                let (unit, within) = self.unit_with_entry(&dwarf, *offset)?;
                let die = unit.entry(within)?;
                let Some(range) = unit.ranges(&die)?.into_iter().next() else {
                    continue;
                };
                let Some(name) = self.function_name_at(&dwarf, *offset) else {
                    continue;
                };
                // Nothing here tells assembly with Go's own convention from the rest, and nearly all is ABI0.
                let file = self.file_of_declaration(&unit, &die);
                let in_assembly = file.is_some_and(|file| file.ends_with(".s"));
                let abi = if in_assembly { Abi::Abi0 } else { Abi::Internal };
                functions.push(Function {
                    name: Box::from(&*name),
                    entry: *entry,
                    end: range.end,
                    abi,
                });
            }
        }
        Ok(functions)
    }
}

/// The name of a function for a type (`type:.eq.T`, `type:.hash.T`) as the compiler gave it: it numbers types that are local to a function behind a middle
/// dot, for which the linker writes a plain one into the symbol table (`cmd/link/internal/ld/symtab.go`). No part of a type but that number is digits alone.
fn with_middle_dots(name: &str) -> Cow<'_, str> {
    if !name.starts_with("type:.") {
        return Cow::Borrowed(name);
    }
    let mut restored = String::with_capacity(name.len() + 1);
    let mut parts = name.split('.');
    restored.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let digits = part.len() - part.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let behind = part.chars().nth(digits);
        let is_number = digits > 0 && behind.is_none_or(|c| matches!(c, ',' | ';' | ' ' | ')' | ']' | '}'));
        restored.push(if is_number { '·' } else { '.' });
        restored.push_str(part);
    }
    Cow::Owned(restored)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_local_types_stand_behind_middle_dots() {
        for (symbol, name) in [
            ("type:.eq.runtime.untracedG.7", "type:.eq.runtime.untracedG·7"),
            ("type:.hash.[4]main.T.12", "type:.hash.[4]main.T·12"),
            (
                "type:.eq.struct { F main.T.1; G int }",
                "type:.eq.struct { F main.T·1; G int }",
            ),
            ("type:.eq.example.org/v1.2/a.T", "type:.eq.example.org/v1.2/a.T"),
            ("type:.eq.[2]interface {}", "type:.eq.[2]interface {}"),
            ("main.main.func1.2", "main.main.func1.2"),
        ] {
            assert_eq!(with_middle_dots(symbol), name);
        }
    }

    fn function(name: &str, entry: u64, end: u64, abi: Abi) -> Function {
        Function {
            name: name.into(),
            entry: FileAddr(entry),
            end: FileAddr(end),
            abi,
        }
    }

    #[test]
    fn lookup_by_address_respects_gaps() {
        let table = FunctionTable::new(vec![
            function("b", 0x20, 0x28, Abi::Internal),
            function("a", 0x10, 0x18, Abi::Internal),
            function("alias", 0x10, 0x18, Abi::Internal),
        ]);
        let name = |pc| table.at(FileAddr(pc)).map(|f| &*f.name);
        assert_eq!(name(0xf), None);
        assert_eq!(name(0x10), Some("a"));
        assert_eq!(name(0x17), Some("a"));
        assert_eq!(name(0x18), None);
        assert_eq!(name(0x27), Some("b"));
        assert_eq!(name(0x28), None);
    }

    #[test]
    fn lookup_by_name_finds_all_of_a_name() {
        let table = FunctionTable::new(vec![
            function("f", 0x20, 0x28, Abi::Internal),
            function("g", 0x30, 0x38, Abi::Internal),
            function("f", 0x10, 0x18, Abi::Abi0),
        ]);
        assert_eq!(table.named("f").count(), 2);
        assert_eq!(table.named("g").count(), 1);
        assert_eq!(table.named("h").count(), 0);
        assert_eq!(table.named("").count(), 0);
    }
}
