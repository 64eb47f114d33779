//! The symbol table beyond functions: the runtime's variables, which have no other name.

use object::LittleEndian;
use object::elf;
use object::read::elf::Sym;

use crate::{Binary, FileAddr};

impl Binary {
    /// Where the symbol of that exact name is, such as `runtime.allgs` or `go:itab.*os.File,io.Reader`. This reads
    /// through the whole table; for functions there is [`Binary::function_named`].
    pub fn symbol_named(&self, name: &str) -> Option<FileAddr> {
        let [address] = self.symbols_named([name]);
        address.map(FileAddr)
    }

    /// The values of several symbols, in one pass.
    pub(crate) fn symbols_named<const N: usize>(&self, names: [&str; N]) -> [Option<u64>; N] {
        let mut values = [None; N];
        self.each_symbol(|symbol, name| {
            if let Some(at) = names.iter().position(|wanted| wanted.as_bytes() == name)
                && values[at].is_none()
            {
                values[at] = Some(symbol.st_value(LittleEndian));
            }
        });
        values
    }

    /// Calls `visit` for every symbol with its name; `None` when neither the program nor the file with its debug information has a symbol table.
    pub(crate) fn each_symbol(&self, mut visit: impl FnMut(&elf::Sym64<LittleEndian>, &[u8])) -> Option<()> {
        let (sections, data, table) = self.with_symbols().find_map(|(headers, data)| {
            let mut tables = headers.sections.iter().filter(|s| s.kind == elf::SHT_SYMTAB);
            Some((&headers.sections, data, tables.find(|table| table.file.is_some())?))
        })?;
        let names = sections
            .get(table.link)
            .and_then(|s| data.get(s.file.clone()?))
            .unwrap_or_default();
        let bytes = data.get(table.file.clone()?)?;
        let count = bytes.len() / size_of::<elf::Sym64<LittleEndian>>();
        let (symbols, _) = object::slice_from_bytes::<elf::Sym64<LittleEndian>>(bytes, count).ok()?;
        for symbol in symbols {
            let name = names.get(symbol.st_name(LittleEndian) as usize..).unwrap_or_default();
            let length = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
            visit(symbol, &name[..length]);
        }
        Some(())
    }
}
