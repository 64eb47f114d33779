//! What DWARF says about one function: parameters, results, local variables, blocks, inlined calls.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};

use gimli::{AttributeValue, constants as dw};

use crate::error::DwarfError;
use crate::functions::{Abi, Function};
use crate::location::FrameBase;
use crate::sections::Reader;
use crate::types::{DW_AT_GO_CLOSURE_OFFSET, TypeId};
use crate::units::{Entry, Unit, flag, unsigned};
use crate::{Binary, FileAddr};

/// Blocks nested deeper than this do not come from a compiler.
const MAX_DEPTH: u32 = 200;

/// What a function's description may take in memory, in bytes. Small entries can refer to long lists and names, many to
/// the same ones, so the file's size does not limit it.
const MAX_DESCRIPTION: usize = 256 << 20;

/// A concrete instance does not go through more origins than this.
const MAX_ORIGINS: usize = 4;

/// A function as its compiler described it.
#[derive(Debug)]
pub struct FunctionInfo {
    /// Its name, as in [`Function::name`].
    pub name: Arc<str>,
    /// Its first instruction.
    pub low_pc: FileAddr,
    /// The first address behind its first range.
    pub high_pc: FileAddr,
    /// All of its code. Go functions have one range.
    pub ranges: Vec<Range<FileAddr>>,
    /// The source file of the declaration.
    pub decl_file: Option<Arc<str>>,
    /// The line of the declaration, 0 when unknown (assembly).
    pub decl_line: u32,
    /// Compiled with optimisations, that is, without `-gcflags=-N`: variables may be missing or may have stale homes.
    pub optimized: bool,
    /// How it takes its arguments.
    pub abi: Abi,
    /// Whether a Go compiler or assembler wrote it; otherwise it is C.
    pub is_go: bool,
    /// Whether the compiler generated it, as a method wrapper or an ABI wrapper.
    pub is_wrapper: bool,
    /// Parameters and results in the order of declaration; the receiver comes first. Parameters named `_` are there
    /// only if the compiler kept them.
    pub params: Vec<Variable>,
    /// Local variables, blocks and inlined calls.
    pub scope: Scope,
    pub(crate) frame_base: FrameBase,
}

/// A stretch of source with its own variables: the function's body, a block, or the body of an inlined call.
#[derive(Debug)]
pub struct Scope {
    /// The call that was inlined here; `None` for a body or a block.
    pub inlined: Option<InlinedCall>,
    /// The code of the scope. Code of scopes within may lie outside of it.
    pub ranges: Vec<Range<FileAddr>>,
    /// Parameters and results of an inlined call. Those of the function itself are [`FunctionInfo::params`].
    pub params: Vec<Variable>,
    /// The variables declared here.
    pub variables: Vec<Variable>,
    /// The scopes within.
    pub children: Vec<Scope>,
}

/// A call whose callee was inlined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InlinedCall {
    /// The function called.
    pub name: Arc<str>,
    /// The source file of the call.
    pub call_file: Option<Arc<str>>,
    /// The line of the call.
    pub call_line: u32,
}

/// A parameter, a result or a local variable.
#[derive(Clone, Debug)]
pub struct Variable {
    /// The name in DWARF: `&x` for a variable that lives on the heap, `~r0` for an unnamed result. See
    /// [`Variable::display_name`].
    pub name: Arc<str>,
    /// Its type; for an escaped variable `&x` that of the pointer.
    pub ty: TypeId,
    /// The line of its declaration, 0 when unknown.
    pub decl_line: u32,
    /// A result of the function.
    pub is_result: bool,
    /// A parameter or a result.
    pub is_param: bool,
    /// For a variable captured by a closure, since Go 1.23: where it is in the closure's object, in bytes (register DX
    /// points to it at the closure's entry).
    pub closure_offset: Option<u64>,
    pub(crate) home: Home,
    pub(crate) unit: usize,
}

/// Where DWARF says that a variable is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Home {
    /// Not said.
    None,
    /// At the place this expression computes, throughout its scope.
    Expression(Box<[u8]>),
    /// At a place that depends on the program counter.
    List(gimli::LocationListsOffset),
}

impl Variable {
    /// Whether the variable lives on the heap, and what DWARF describes is the pointer to it.
    pub fn escaped(&self) -> bool {
        self.name.len() > 1 && self.name.starts_with('&')
    }

    /// Whether DWARF gives its places by program counter. Then, of a value that the optimiser took apart and kept one component of, Go's compiler
    /// describes that component as if it were the whole (it writes `DW_OP_piece` only where there are several, cmd/compile/internal/ssa/debug.go).
    pub fn is_taken_apart(&self) -> bool {
        matches!(self.home, Home::List(_))
    }

    /// The name in the source: without the `&` of escaped variables.
    pub fn display_name(&self) -> &str {
        if self.escaped() { &self.name[1..] } else { &self.name }
    }

    /// Whether the compiler made the variable up for itself: dictionaries of generic functions, the closure pointer,
    /// the hidden functions of range-over-func loops.
    pub fn is_internal(&self) -> bool {
        let name = self.display_name();
        name == ".dict" || name == ".closureptr" || name.starts_with("#yield")
    }
}

impl Scope {
    /// Whether code at `pc` belongs to the scope or to one within it.
    pub fn contains(&self, pc: FileAddr) -> bool {
        self.ranges.iter().any(|range| range.contains(&pc)) || self.children.iter().any(|child| child.contains(pc))
    }

    /// The scopes of the inlined calls that `pc` is in, outermost first.
    pub fn inlined_at(&self, pc: FileAddr) -> Vec<&Scope> {
        let mut found = Vec::new();
        let mut scope = self;
        while let Some(child) = scope.children.iter().find(|child| child.contains(pc)) {
            if child.inlined.is_some() {
                found.push(child);
            }
            scope = child;
        }
        found
    }

    /// Calls `visit` for every inlined call in this scope, at any depth, with how many inlined calls it is within.
    pub(crate) fn each_inlined<'s>(&'s self, depth: u32, visit: &mut impl FnMut(u32, &'s Scope)) {
        for child in &self.children {
            let within = if child.inlined.is_some() {
                visit(depth, child);
                depth + 1
            } else {
                depth
            };
            child.each_inlined(within, visit);
        }
    }
}

/// The functions described in one unit, by the address of their code.
#[derive(Debug)]
pub(crate) struct Subprograms(Vec<(FileAddr, usize)>);

/// What has been read so far, by entry address.
pub(crate) type FunctionInfoCache = RwLock<HashMap<FileAddr, Arc<FunctionInfo>>>;

impl Binary {
    /// Reads the debug information of a function; it is kept once read.
    pub fn function_info(&self, function: &Function) -> Result<Arc<FunctionInfo>, DwarfError> {
        let infos = self.function_infos.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = infos.get(&function.entry) {
            return Ok(Arc::clone(known));
        }
        drop(infos);
        let info = Arc::new(self.read_function(function)?);
        let mut infos = self.function_infos.write().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(infos.entry(function.entry).or_insert(info)))
    }

    fn read_function(&self, function: &Function) -> Result<FunctionInfo, DwarfError> {
        let missing = || DwarfError::NoFunction(function.name.to_string());
        let dwarf = self.dwarf()?;
        let index = self.units()?.at(function.entry).ok_or_else(missing)?;
        let unit = self.unit(&dwarf, index)?;
        let offset = unit.subprogram_at(function.entry)?.ok_or_else(missing)?;
        let (unit, within) = self.unit_with_entry(&dwarf, offset)?;

        let mut tree = unit.inner.entries_tree(Some(within))?;
        let root = tree.root()?;
        let entry = root.entry();
        let ranges = unit.ranges(entry)?;
        let first = ranges.first().cloned().unwrap_or(function.entry..function.end);
        let origin = self.origin_facts(&dwarf, &unit, entry, 0);
        let mut builder = Builder {
            binary: self,
            dwarf: &dwarf,
            unit: &unit,
            budget: MAX_DESCRIPTION,
        };
        let frame_base = match entry.attr_value(dw::DW_AT_frame_base) {
            Some(AttributeValue::Exprloc(expression)) => FrameBase::of(expression.0.slice()),
            Some(AttributeValue::Block(bytes)) => FrameBase::of(bytes.slice()),
            _ => FrameBase::Other,
        };
        let is_wrapper = entry.attr(dw::DW_AT_trampoline).is_some();
        let mut scope = Scope {
            inlined: None,
            ranges: ranges.clone(),
            params: Vec::new(),
            variables: Vec::new(),
            children: Vec::new(),
        };
        builder.fill(&mut scope, root, 0)?;
        self.tell_type_arguments(&mut scope, None);
        Ok(FunctionInfo {
            name: origin.name.map_or_else(|| Arc::from(&*function.name), Arc::from),
            low_pc: first.start,
            high_pc: first.end,
            ranges,
            decl_file: origin.decl_file,
            decl_line: origin.decl_line,
            optimized: unit.record.optimized,
            abi: function.abi,
            is_go: unit.record.is_go,
            is_wrapper,
            params: std::mem::take(&mut scope.params),
            scope,
            frame_base,
        })
    }

    /// A parameter of a generic function that escaped is described twice: as the parameter, whose type says which word of the dictionary names what it stands for,
    /// and as a pointer to the shape, which does not say. The pointer becomes one to the parameter's type.
    fn tell_type_arguments(&self, scope: &mut Scope, of_function: Option<&[Variable]>) {
        let own = std::mem::take(&mut scope.params);
        let params = of_function.unwrap_or(&own);
        let is_generic = |param: &&Variable| self.type_info(param.ty).is_ok_and(|info| info.dict_index.is_some());
        for variable in scope.variables.iter_mut().filter(|variable| variable.escaped()) {
            let mut declared = params.iter().filter(|param| {
                !param.escaped() && *param.name == variable.name[1..] && param.decl_line == variable.decl_line
            });
            let pointer = declared
                .find(is_generic)
                .and_then(|param| self.pointer_to(param.ty).ok());
            variable.ty = pointer.unwrap_or(variable.ty);
        }
        for child in &mut scope.children {
            let inherited = child.inlined.is_none().then_some(params);
            self.tell_type_arguments(child, inherited);
        }
        scope.params = own;
    }

    /// Name, type and declaration of an entry, from itself or from the abstract entry it is an instance of.
    fn origin_facts<'a>(
        &'a self,
        dwarf: &'a gimli::Dwarf<Reader<'a>>,
        unit: &Unit<'a>,
        entry: &Entry<'a>,
        hops: usize,
    ) -> OriginFacts {
        let mut facts = OriginFacts {
            name: unit.string(entry, dw::DW_AT_name),
            ty: unit
                .reference(entry, dw::DW_AT_type)
                .map(|offset| TypeId(offset as u64)),
            decl_file: self.file_of_declaration(unit, entry),
            decl_line: unsigned(entry, dw::DW_AT_decl_line).unwrap_or(0) as u32,
            is_result: flag(entry, dw::DW_AT_variable_parameter),
            closure_offset: unsigned(entry, DW_AT_GO_CLOSURE_OFFSET),
        };
        let origin = unit
            .reference(entry, dw::DW_AT_abstract_origin)
            .or_else(|| unit.reference(entry, dw::DW_AT_specification))
            .filter(|_| hops < MAX_ORIGINS);
        if let Some(origin) = origin
            && let Ok((unit, within)) = self.unit_with_entry(dwarf, origin)
            && let Ok(entry) = unit.entry(within)
        {
            let general = self.origin_facts(dwarf, &unit, &entry, hops + 1);
            facts.name = facts.name.or(general.name);
            facts.ty = facts.ty.or(general.ty);
            facts.decl_file = facts.decl_file.or(general.decl_file);
            if facts.decl_line == 0 {
                facts.decl_line = general.decl_line;
            }
            facts.is_result |= general.is_result;
            facts.closure_offset = facts.closure_offset.or(general.closure_offset);
        }
        facts
    }

    pub(crate) fn file_of_declaration(&self, unit: &Unit<'_>, entry: &Entry<'_>) -> Option<Arc<str>> {
        match entry.attr_value(dw::DW_AT_decl_file)? {
            AttributeValue::FileIndex(index) => self.file_of_unit(unit.record, index),
            _ => None,
        }
    }

    /// The name of the function whose entry is at `offset` of `.debug_info`.
    pub(crate) fn function_name_at<'a>(
        &'a self,
        dwarf: &'a gimli::Dwarf<Reader<'a>>,
        offset: usize,
    ) -> Option<Arc<str>> {
        let (unit, within) = self.unit_with_entry(dwarf, offset).ok()?;
        let entry = unit.entry(within).ok()?;
        self.origin_facts(dwarf, &unit, &entry, 0).name.map(Arc::from)
    }
}

struct OriginFacts {
    name: Option<String>,
    ty: Option<TypeId>,
    decl_file: Option<Arc<str>>,
    decl_line: u32,
    is_result: bool,
    closure_offset: Option<u64>,
}

impl Unit<'_> {
    /// The functions described in the unit that have code: entry address and offset in `.debug_info`, sorted.
    pub(crate) fn subprograms(&self) -> Result<&[(FileAddr, usize)], DwarfError> {
        let subprograms = self.record.subprograms.get_or_init(|| read_subprograms(self));
        subprograms
            .as_ref()
            .map(|Subprograms(sorted)| &**sorted)
            .map_err(Clone::clone)
    }

    /// The offset in `.debug_info` of the function whose code begins at `entry`.
    fn subprogram_at(&self, entry: FileAddr) -> Result<Option<usize>, DwarfError> {
        let sorted = self.subprograms()?;
        let at = sorted.partition_point(|(low, _)| *low < entry);
        Ok(sorted
            .get(at)
            .filter(|(low, _)| *low == entry)
            .map(|(_, offset)| *offset))
    }
}

/// Walks over all entries of a unit, reading only those of functions.
fn read_subprograms(unit: &Unit<'_>) -> Result<Subprograms, DwarfError> {
    let mut found = Vec::new();
    let mut entries = unit.inner.entries_raw(None)?;
    while !entries.is_empty() {
        let offset = entries.next_offset();
        let Some(abbreviation) = entries.read_abbreviation()? else {
            continue;
        };
        if abbreviation.tag() != dw::DW_TAG_subprogram {
            entries.skip_attributes(abbreviation.attributes())?;
            continue;
        }
        let mut low = None;
        let mut has_ranges = false;
        for specification in abbreviation.attributes() {
            let attribute = entries.read_attribute(*specification)?;
            match attribute.name() {
                dw::DW_AT_low_pc => low = unit.address_value(attribute.value()),
                dw::DW_AT_ranges => has_ranges = true,
                _ => {}
            }
        }
        if low.is_none() && has_ranges {
            low = unit.ranges(&unit.entry(offset)?)?.first().map(|range| range.start);
        }
        if let Some(low) = low {
            found.push((low, unit.record.offset.saturating_add(offset.0)));
        }
    }
    found.sort_unstable();
    Ok(Subprograms(found))
}

/// Turns the entries of one function into scopes.
struct Builder<'a> {
    binary: &'a Binary,
    dwarf: &'a gimli::Dwarf<Reader<'a>>,
    unit: &'a Unit<'a>,
    /// What is left of [`MAX_DESCRIPTION`].
    budget: usize,
}

impl<'a> Builder<'a> {
    fn charge(&mut self, bytes: usize) -> Result<(), DwarfError> {
        let left = self.budget.checked_sub(bytes);
        self.budget =
            left.ok_or_else(|| DwarfError::Malformed("the description of a function is too large".to_owned()))?;
        Ok(())
    }

    /// Adds the children of `node` to `scope`.
    fn fill(
        &mut self,
        scope: &mut Scope,
        node: gimli::EntriesTreeNode<'_, '_, Reader<'a>>,
        depth: u32,
    ) -> Result<(), DwarfError> {
        if depth > MAX_DEPTH {
            return Err(DwarfError::Malformed(
                "the blocks of a function are nested without end".to_owned(),
            ));
        }
        let mut children = node.children();
        while let Some(child) = children.next()? {
            let entry = child.entry();
            match entry.tag() {
                dw::DW_TAG_formal_parameter => {
                    let variable = self.variable(entry)?;
                    scope.params.push(Variable {
                        is_param: true,
                        ..variable
                    });
                }
                dw::DW_TAG_variable => {
                    let variable = self.variable(entry)?;
                    scope.variables.push(Variable {
                        is_result: false,
                        ..variable
                    });
                }
                dw::DW_TAG_lexical_block | dw::DW_TAG_inlined_subroutine => {
                    let inlined = (entry.tag() == dw::DW_TAG_inlined_subroutine).then(|| self.inlined_call(entry));
                    let mut within = Scope {
                        inlined,
                        ranges: self.unit.ranges(entry)?,
                        params: Vec::new(),
                        variables: Vec::new(),
                        children: Vec::new(),
                    };
                    let name = within.inlined.as_ref().map_or(0, |call| call.name.len());
                    self.charge(size_of::<Scope>() + name + size_of_val(&*within.ranges))?;
                    self.fill(&mut within, child, depth + 1)?;
                    scope.children.push(within);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn inlined_call(&self, entry: &Entry<'a>) -> InlinedCall {
        let origin = self.unit.reference(entry, dw::DW_AT_abstract_origin);
        InlinedCall {
            name: origin
                .and_then(|offset| self.binary.function_name_at(self.dwarf, offset))
                .unwrap_or_else(|| Arc::from("")),
            call_file: match entry.attr_value(dw::DW_AT_call_file) {
                Some(AttributeValue::FileIndex(index)) => self.binary.file_of_unit(self.unit.record, index),
                _ => None,
            },
            call_line: unsigned(entry, dw::DW_AT_call_line).unwrap_or(0) as u32,
        }
    }

    fn variable(&mut self, entry: &Entry<'a>) -> Result<Variable, DwarfError> {
        let facts = self.binary.origin_facts(self.dwarf, self.unit, entry, 0);
        let variable = Variable {
            name: facts.name.unwrap_or_default().into(),
            ty: facts.ty.unwrap_or(TypeId::UNKNOWN),
            decl_line: facts.decl_line,
            is_result: facts.is_result,
            is_param: false,
            closure_offset: facts.closure_offset,
            home: home(self.dwarf, self.unit, entry),
            unit: self.unit.index,
        };
        self.charge(size_of::<Variable>() + variable.name.len())?;
        Ok(variable)
    }
}

/// What `DW_AT_location` says, without looking into location lists yet.
pub(crate) fn home<'a>(dwarf: &gimli::Dwarf<Reader<'a>>, unit: &Unit<'a>, entry: &Entry<'a>) -> Home {
    let Some(value) = entry.attr_value(dw::DW_AT_location) else {
        return Home::None;
    };
    match value {
        AttributeValue::Exprloc(expression) => Home::Expression(expression.0.slice().into()),
        AttributeValue::Block(bytes) => Home::Expression(bytes.slice().into()),
        other => match dwarf.attr_locations_offset(&unit.inner, other) {
            Ok(Some(offset)) => Home::List(offset),
            _ => Home::None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(inlined: Option<&str>, ranges: &[(u64, u64)], children: Vec<Scope>) -> Scope {
        Scope {
            inlined: inlined.map(|name| InlinedCall {
                name: name.into(),
                call_file: None,
                call_line: 1,
            }),
            ranges: ranges
                .iter()
                .map(|(start, end)| FileAddr(*start)..FileAddr(*end))
                .collect(),
            params: Vec::new(),
            variables: Vec::new(),
            children,
        }
    }

    #[test]
    fn inlined_calls_are_found_through_blocks() {
        let inner = scope(Some("inner"), &[(0x14, 0x16)], Vec::new());
        let block = scope(None, &[], vec![inner]);
        let outer = scope(Some("outer"), &[(0x10, 0x14), (0x16, 0x18)], vec![block]);
        let body = scope(None, &[(0x0, 0x20)], vec![outer]);
        let names = |pc| {
            body.inlined_at(FileAddr(pc))
                .iter()
                .filter_map(|s| s.inlined.as_ref().map(|call| call.name.to_string()))
                .collect::<Vec<_>>()
        };
        assert_eq!(names(0x8), Vec::<String>::new());
        assert_eq!(names(0x10), ["outer"]);
        assert_eq!(names(0x15), ["outer", "inner"]);
        assert_eq!(names(0x18), Vec::<String>::new());
    }

    #[test]
    fn escaped_variables_lose_their_ampersand() {
        let variable = |name: &str| Variable {
            name: name.into(),
            ty: TypeId(0),
            decl_line: 0,
            is_result: false,
            is_param: false,
            closure_offset: None,
            home: Home::None,
            unit: 0,
        };
        assert_eq!(variable("&x").display_name(), "x");
        assert!(variable("&x").escaped());
        assert!(!variable("x").escaped());
        assert!(!variable("&").escaped());
        assert!(variable("&#yield1").is_internal());
        assert!(variable(".dict").is_internal());
        assert!(!variable("~r0").is_internal());
    }
}
