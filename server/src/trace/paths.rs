//! What an expression needs of memory: from the variables it names to the pointers that lead to its value.
//!
//! The walk follows `expr::eval` step by step: what the evaluator will read is captured.

use spelunk_bpf::{Follow, FollowKind, Index};
use spelunk_dwarf::{
    Binary, DICTIONARY, FileAddr, FunctionInfo, Kind, LoadBias, LocationError, TypeId, Variable as DwarfVariable,
};

use super::capture::{Captured, Home, PlanBuilder};
use super::function::{Dictionary, location_home, may_be_a_part};
use super::growth::may_be_overwritten;
use super::layouts::Lead;
use super::signature::dictionary_words;
use crate::expr::{Const, EvalError, Expr, Literal, Unary, What, field_path, find_global, is_type};

/// The most bytes of an array that are copied so that a variable can index it.
const MAX_INDEXED_ARRAY: u64 = 8 << 10;
/// The head of a slice, as far as indexing reads it: pointer and length.
const SLICE_HEAD: u32 = 16;

/// A variable that expressions name.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Named {
    /// `x`, or `pkg.x` for a variable of another package.
    pub(super) name: String,
    /// Whether the captured variable is a pointer to the named one, which lives on the heap.
    pub(super) escaped: bool,
    /// Why it has no place at the site.
    pub(super) missing: Option<String>,
}

/// Where an expression's value lies, as far as is known before the program runs.
struct Path {
    /// Index of the variable it starts from.
    variable: usize,
    /// The pointers on the way.
    hops: Vec<Hop>,
    /// Offset in the variable, or behind the last hop.
    offset: u64,
    ty: TypeId,
}

/// A pointer on the way to a value.
struct Hop {
    /// Where it lies: in the variable, or behind the hop before.
    at: u64,
    /// Which element of what it points to.
    element: Element,
}

enum Element {
    /// The pointee; for a slice, the element at a fixed distance in bytes.
    Fixed(u64),
    /// The element of a slice whose number is in a variable, at an offset in the root area.
    Indexed { stride: u64, index: Index },
}

/// A logpoint's plan while it grows.
pub(super) struct Building<'s, 'a, 'b> {
    pub(super) binary: &'s Binary,
    pub(super) info: &'s FunctionInfo,
    pub(super) pc: FileAddr,
    pub(super) line: u32,
    pub(super) builder: PlanBuilder<'a, 'b>,
    pub(super) variables: Vec<Captured>,
    pub(super) names: Vec<Named>,
}

impl Building<'_, '_, '_> {
    /// Sees to it that a record holds all that evaluating and showing `expr` reads.
    pub(super) fn capture(&mut self, expr: &Expr) -> Result<(), EvalError> {
        match expr {
            Expr::Literal(_) => Ok(()),
            Expr::Unary(Unary::Address | Unary::Receive, _) | Expr::Type(_) | Expr::Unimplemented(_) => {
                Err(EvalError::NeedsStop(expr.to_string()))
            }
            Expr::Paren(inside) | Expr::Unary(_, inside) => self.capture(inside),
            Expr::Binary(_, left, right) => {
                self.capture(left)?;
                self.capture(right)
            }
            // What lies beyond the limits of a record will say that it was not captured.
            Expr::Slice(base, low, high) => {
                for bound in low.iter().chain(high) {
                    self.capture(bound)?;
                }
                self.capture(base)
            }
            Expr::Assert(base, _) => self.capture(base),
            Expr::Call(function, arguments) => match (&**function, arguments.as_slice()) {
                (Expr::Name(name), [argument]) if name == "len" || name == "cap" => self.capture_head(argument),
                (Expr::Name(name), _) if matches!(name.as_str(), "min" | "max" | "real" | "imag" | "complex") => {
                    arguments.iter().try_for_each(|argument| self.capture(argument))
                }
                (function, [argument]) if is_type(self.binary, function) => self.capture(argument),
                _ => Err(EvalError::Call),
            },
            _ if Self::is_in_each_record(expr) || self.is_constant(expr)? => Ok(()),
            _ => match self.path(expr) {
                Ok(path) => {
                    let size = self.builder.layouts().extent(path.ty, 0);
                    let leads = self.builder.layouts().leads(path.ty, 0);
                    self.capture_path(&path, size, &leads)
                }
                Err(error @ (EvalError::MapIndex(..) | EvalError::NeedsStop(_))) => self.capture_around(expr, error),
                Err(error) => Err(error),
            },
        }
    }

    /// What no path leads to, such as an entry of a map, is looked for by the evaluator in the value that it is part of, as far as that is captured; `error` is the answer where
    /// it is part of none.
    fn capture_around(&mut self, expr: &Expr, error: EvalError) -> Result<(), EvalError> {
        match expr {
            Expr::Field(base, _) | Expr::Dereference(base) => self.capture(base),
            Expr::Index(base, indices) => {
                self.capture(base)?;
                indices.iter().try_for_each(|index| self.capture(index))
            }
            _ => Err(error),
        }
    }

    /// Sees to it that a record holds as much as possible of what evaluating `expr` reads, which need not be all: what is missing says so when it is read.
    pub(super) fn capture_what_can_be(&mut self, expr: &Expr) {
        let whole = match expr {
            // The lengths and bounds of a slice's head need no elements.
            Expr::Call(..) | Expr::Field(..) | Expr::Index(..) | Expr::Dereference(_) | Expr::Name(_) => {
                self.capture(expr).is_ok()
            }
            _ => false,
        };
        if whole {
            return;
        }
        match expr {
            Expr::Paren(inside) | Expr::Unary(_, inside) | Expr::Dereference(inside) => {
                self.capture_what_can_be(inside);
            }
            Expr::Field(base, _) | Expr::Assert(base, _) => self.capture_what_can_be(base),
            Expr::Binary(_, left, right) => {
                self.capture_what_can_be(left);
                self.capture_what_can_be(right);
            }
            Expr::Index(base, indices) => {
                self.capture_what_can_be(base);
                for index in indices {
                    self.capture_what_can_be(index);
                }
            }
            Expr::Slice(base, low, high) => {
                self.capture_what_can_be(base);
                for bound in low.iter().chain(high) {
                    self.capture_what_can_be(bound);
                }
            }
            Expr::Call(_, arguments) => {
                for argument in arguments {
                    self.capture_what_can_be(argument);
                }
            }
            Expr::Composite(_, elements) => {
                for element in elements {
                    self.capture_what_can_be(&element.value);
                }
            }
            Expr::Name(_) | Expr::Literal(_) | Expr::Type(_) | Expr::Unimplemented(_) => {}
        }
    }

    /// Whether an expression names what every record has of its goroutine and thread, see [`super::record_scope::RecordScope`].
    fn is_in_each_record(expr: &Expr) -> bool {
        matches!(
            expr.to_string().as_str(),
            "runtime.curg.goid" | "runtime.curg.stack.hi" | "runtime.frameoff" | "runtime.threadid"
        )
    }

    /// Whether a name stands for something that needs no memory: `true`, `nil`, a constant.
    fn is_constant(&mut self, expr: &Expr) -> Result<bool, EvalError> {
        let (package, name) = match expr {
            Expr::Name(name) if self.named(name)?.is_none() => (package_of(&self.info.name), name),
            Expr::Field(base, name) => match &**base {
                Expr::Name(package) if self.named(package)?.is_none() => (package.as_str(), name),
                _ => return Ok(false),
            },
            _ => return Ok(false),
        };
        if matches!(expr, Expr::Name(name) if matches!(name.as_str(), "true" | "false" | "nil")) {
            return Ok(true);
        }
        let found = find_global(self.binary, LoadBias::default(), package, name)?;
        Ok(found.is_some_and(|found| matches!(found.what, What::Declared(_))))
    }

    /// What `len` and `cap` read.
    fn capture_head(&mut self, expr: &Expr) -> Result<(), EvalError> {
        let path = self.path(expr)?;
        let info = self.binary.type_info(path.ty)?;
        match info.kind {
            // Both begin with the number of elements; a channel's capacity comes next.
            Kind::Map { .. } => self.capture_path(&path, 8, &[Lead::pointer(8)]),
            Kind::Chan { .. } => self.capture_path(&path, 8, &[Lead::pointer(16)]),
            Kind::String | Kind::Slice { .. } => self.capture_path(&path, info.size as u32, &[]),
            _ => Ok(()),
        }
    }

    /// Captures `size` bytes at the end of a path and what leads further from there.
    fn capture_path(&mut self, path: &Path, size: u32, leads: &[Lead]) -> Result<(), EvalError> {
        let bytes: u32 = leads.iter().map(|lead| lead.bytes).fold(0, u32::saturating_add);
        let Some((first, inner)) = path.hops.split_first() else {
            self.materialise(path.variable, path.offset, u64::from(size));
            let parts = self.variables[path.variable].parts.clone();
            for lead in leads {
                let area = |at: u64| self.builder.root_area(&parts, path.offset + at);
                if let Some(follow) = PlanBuilder::follow(lead, &area) {
                    self.builder.add_follow(follow, lead.bytes);
                }
            }
            return Ok(());
        };
        // From the inside out: what is captured last is made first.
        let mut then: Vec<Follow> = Vec::new();
        let mut wanted = Wanted {
            offset: path.offset,
            size,
        };
        let mut total = bytes;
        let last_is_indexed = matches!(path.hops.last().map(|hop| &hop.element), Some(Element::Indexed { .. }));
        for lead in leads {
            let base = if last_is_indexed { path.offset } else { 0 };
            then.extend(PlanBuilder::follow(lead, &|at| u32::try_from(base + at).ok()));
        }
        for (i, hop) in inner.iter().enumerate().rev() {
            // The pointer lies behind the hop before; there it is the first of what is captured, unless that is an indexed element, which is captured whole.
            let before = &path.hops[i].element;
            let at = if matches!(before, Element::Indexed { .. }) {
                hop.at
            } else {
                0
            };
            then = vec![wanted.follow(hop, at, at + 8, std::mem::take(&mut then))];
            total = total.saturating_add(wanted.bytes(hop));
            wanted = Wanted {
                offset: hop.at,
                size: if matches!(hop.element, Element::Fixed(0)) {
                    8
                } else {
                    SLICE_HEAD
                },
            };
        }
        let head = if Self::is_slice_hop(first) { SLICE_HEAD } else { 8 };
        self.materialise(path.variable, first.at, u64::from(head));
        let parts = &self.variables[path.variable].parts;
        let unreadable = || EvalError::NoPlace(self.names[path.variable].name.clone(), "optimized out".to_owned());
        let at = self.builder.root_area(parts, first.at).ok_or_else(unreadable)?;
        let at_len = if head == SLICE_HEAD {
            self.builder.root_area(parts, first.at + 8).ok_or_else(unreadable)?
        } else {
            at
        };
        let follow = wanted.follow(first, u64::from(at), u64::from(at_len), then);
        total = total.saturating_add(wanted.bytes(first));
        self.builder.add_follow(follow, total);
        Ok(())
    }

    fn is_slice_hop(hop: &Hop) -> bool {
        matches!(hop.element, Element::Indexed { .. })
            || matches!(hop.element, Element::Fixed(distance) if distance != 0)
    }

    /// Captures some bytes of a variable that lies in memory; one in registers was captured whole.
    fn materialise(&mut self, variable: usize, offset: u64, size: u64) {
        let captured = &self.variables[variable];
        let covered = captured
            .parts
            .iter()
            .any(|part| part.offset <= offset && offset + size <= part.offset + part.size);
        if covered || size == 0 {
            return;
        }
        let part = match captured.home {
            Home::Cfa(at) => self.builder.frame_part(at, offset, size),
            Home::Absolute(addr) => self.builder.absolute_part(addr, offset, size),
            Home::Nowhere => return,
        };
        self.variables[variable].parts.push(part);
    }

    fn path(&mut self, expr: &Expr) -> Result<Path, EvalError> {
        match expr {
            Expr::Name(name) => {
                let variable = self.named(name)?.ok_or_else(|| EvalError::NoSymbol(name.clone()))?;
                self.start(variable)
            }
            Expr::Field(base, field) => self.field(base, field),
            Expr::Index(base, indices) => match indices.as_slice() {
                [index] => self.index(base, index),
                _ => Err(EvalError::NeedsStop(expr.to_string())),
            },
            Expr::Paren(inside) => self.path(inside),
            Expr::Dereference(inside) => {
                let path = self.path(inside)?;
                let info = self.binary.type_info(path.ty)?;
                match info.kind {
                    Kind::Pointer { elem } => Ok(path.behind(elem)),
                    _ => Err(EvalError::NotPointer(inside.to_string(), info.name.to_string())),
                }
            }
            _ => Err(EvalError::NeedsStop(expr.to_string())),
        }
    }

    /// The path to a variable itself: through its pointer when it lives on the heap.
    fn start(&self, variable: usize) -> Result<Path, EvalError> {
        let captured = &self.variables[variable];
        let path = Path {
            variable,
            hops: Vec::new(),
            offset: 0,
            ty: captured.ty,
        };
        if self.names[variable].escaped
            && let Kind::Pointer { elem } = self.binary.type_info(captured.ty)?.kind
        {
            return Ok(path.behind(elem));
        }
        Ok(path)
    }

    fn field(&mut self, base: &Expr, name: &str) -> Result<Path, EvalError> {
        if let Expr::Name(package) = base
            && self.named(package)?.is_none()
        {
            let variable = self
                .package_variable(package, name)?
                .ok_or_else(|| EvalError::NoSymbol(package.clone()))?;
            return self.start(variable);
        }
        let mut path = self.path(base)?;
        let mut info = self.binary.type_info(path.ty)?;
        let declared = info.name.to_string();
        if let Kind::Pointer { elem } = info.kind {
            path = path.behind(elem);
            info = self.binary.type_info(elem)?;
        }
        let Kind::Struct { fields } = &info.kind else {
            return Err(EvalError::NotStruct(base.to_string(), declared));
        };
        let steps = field_path(self.binary, fields, name)?
            .ok_or_else(|| EvalError::NoMember(base.to_string(), name.to_owned()))?;
        for (i, step) in steps.iter().enumerate() {
            path.offset += step.offset;
            path.ty = step.ty;
            if i + 1 != steps.len()
                && let Kind::Pointer { elem } = self.binary.type_info(step.ty)?.kind
            {
                path = path.behind(elem);
            }
        }
        Ok(path)
    }

    fn index(&mut self, base: &Expr, index: &Expr) -> Result<Path, EvalError> {
        let mut path = self.path(base)?;
        let mut info = self.binary.type_info(path.ty)?;
        if let Kind::Pointer { elem } = info.kind
            && matches!(self.binary.type_info(elem)?.kind, Kind::Array { .. })
        {
            path = path.behind(elem);
            info = self.binary.type_info(elem)?;
        }
        match &info.kind {
            Kind::Array { elem, len, stride } => match written(index)? {
                Some(n) if n < *len => {
                    path.offset += n * stride;
                    path.ty = *elem;
                    Ok(path)
                }
                Some(_) => Err(EvalError::OutOfBounds),
                // Which element will be known at the hit: the array is captured whole.
                _ => {
                    self.capture(index)?;
                    let size = info.size;
                    if size > MAX_INDEXED_ARRAY {
                        let why =
                            format!("an array of {size} bytes is too large to be indexed by a variable in a logpoint");
                        return Err(EvalError::NoPlace(base.to_string(), why));
                    }
                    self.capture_path(&path, size as u32, &[])?;
                    path.ty = *elem;
                    Ok(path)
                }
            },
            Kind::Slice { elem } => {
                let stride = self.binary.type_info(*elem)?.size;
                let element = match written(index)? {
                    Some(n) => Element::Fixed(n.saturating_mul(stride)),
                    _ => Element::Indexed {
                        stride,
                        index: self.root_index(index)?,
                    },
                };
                // Indexing reads the length too.
                self.capture_path(&path, SLICE_HEAD, &[])?;
                path.hops.push(Hop {
                    at: path.offset,
                    element,
                });
                Ok(Path {
                    offset: 0,
                    ty: *elem,
                    ..path
                })
            }
            Kind::Map { .. } => Err(EvalError::MapIndex(base.to_string(), info.name.to_string())),
            _ => Err(EvalError::NotIndexable(base.to_string(), info.name.to_string())),
        }
    }

    /// An index that the kernel finds among the roots: an integer variable in a register or in the frame, or a field of one.
    fn root_index(&mut self, expr: &Expr) -> Result<Index, EvalError> {
        let path = self.path(expr)?;
        let info = self.binary.type_info(path.ty)?;
        let signed = match info.kind {
            Kind::Int => true,
            Kind::Uint | Kind::Uintptr => false,
            _ => return Err(EvalError::IndexType(expr.to_string())),
        };
        self.capture_path(&path, info.size as u32, &[])?;
        if !path.hops.is_empty() {
            let why = "an index in a logpoint must be a constant or a variable of the function".to_owned();
            return Err(EvalError::NoPlace(expr.to_string(), why));
        }
        let parts = &self.variables[path.variable].parts;
        let at = self.builder.root_area_of(parts, path.offset, info.size);
        let at = at.ok_or_else(|| EvalError::NoPlace(expr.to_string(), "optimized out".to_owned()))?;
        Ok(Index::Root {
            at,
            size: info.size as u8,
            signed,
        })
    }

    /// The index of the variable that a name means at the site.
    fn named(&mut self, name: &str) -> Result<Option<usize>, EvalError> {
        if let Some(known) = self.names.iter().position(|known| known.name == name) {
            return self.usable(known).map(Some);
        }
        let scope = self.binary.variables_in_scope(self.info, self.pc, self.line);
        // Inner variables come last and shadow the outer ones.
        if let Some(found) = scope.iter().rev().find(|scoped| scoped.variable.display_name() == name) {
            let variable = found.variable.clone();
            return self.add(name, &variable).map(Some);
        }
        let package = package_of(&self.info.name);
        Ok(self.add_global(name, &format!("{package}.{name}")))
    }

    /// In a generic function: has captured what the types of the variables that are captured stand for.
    pub(super) fn capture_dictionary(&mut self) -> Option<Dictionary> {
        let pointee = |ty| match self.binary.type_info(ty).ok()?.kind {
            Kind::Pointer { elem } => Some(elem),
            _ => None,
        };
        let types: Vec<TypeId> = self
            .names
            .iter()
            .zip(&self.variables)
            .filter_map(|(named, variable)| {
                if named.escaped {
                    pointee(variable.ty)
                } else {
                    Some(variable.ty)
                }
            })
            .collect();
        let words = dictionary_words(self.binary, types.into_iter());
        if words == 0 {
            return None;
        }
        let variable = self.info.dictionary_at(self.pc)?.clone();
        let known = self.names.len();
        let found = self.add(DICTIONARY, &variable).ok();
        if let Some(index) = found {
            self.materialise(index, 0, 8);
        }
        self.names.truncate(known);
        let pointer = self.variables.split_off(known).pop()?;
        found?;
        Dictionary::captured(&mut self.builder, pointer, words)
    }

    fn package_variable(&mut self, package: &str, name: &str) -> Result<Option<usize>, EvalError> {
        let full = format!("{package}.{name}");
        if let Some(known) = self.names.iter().position(|known| known.name == full) {
            return self.usable(known).map(Some);
        }
        Ok(self.add_global(&full, &full))
    }

    fn usable(&self, index: usize) -> Result<usize, EvalError> {
        match &self.names[index].missing {
            Some(why) => Err(EvalError::NoPlace(self.names[index].name.clone(), why.clone())),
            None => Ok(index),
        }
    }

    fn add(&mut self, name: &str, variable: &DwarfVariable) -> Result<usize, EvalError> {
        let mut named = Named {
            name: name.to_owned(),
            escaped: variable.escaped(),
            missing: None,
        };
        let (parts, home) = match self.binary.location(self.info, variable, self.pc) {
            Ok(location) if may_be_overwritten(self.binary, self.info, variable, &location) => {
                named.missing = Some("optimized out: the function does not use it".to_owned());
                (Vec::new(), Home::Nowhere)
            }
            Ok(location) if may_be_a_part(self.binary, self.info, variable, &location) => {
                named.missing = Some("optimized out but for a part of it".to_owned());
                (Vec::new(), Home::Nowhere)
            }
            Ok(location) => match location_home(&location) {
                Home::Nowhere => (self.builder.located(variable.ty, &location), Home::Nowhere),
                // What lies in memory is captured as far as it is needed.
                home => (Vec::new(), home),
            },
            Err(LocationError::OptimizedOut(_)) => {
                named.missing = Some("optimized out".to_owned());
                (Vec::new(), Home::Nowhere)
            }
            Err(error) => {
                named.missing = Some(error.to_string());
                (Vec::new(), Home::Nowhere)
            }
        };
        self.names.push(named);
        self.variables.push(Captured {
            name: name.to_owned(),
            ty: variable.ty,
            home,
            parts,
        });
        self.usable(self.names.len() - 1)
    }

    fn add_global(&mut self, name: &str, full: &str) -> Option<usize> {
        let (ty, addr) = self.binary.global_named(full)?;
        self.names.push(Named {
            name: name.to_owned(),
            escaped: false,
            missing: None,
        });
        self.variables.push(Captured {
            name: name.to_owned(),
            ty,
            home: Home::Absolute(addr),
            parts: Vec::new(),
        });
        Some(self.names.len() - 1)
    }
}

/// The number that an index is written as, if it is.
fn written(index: &Expr) -> Result<Option<u64>, EvalError> {
    match index.bare() {
        Expr::Literal(Literal {
            value: Const::Int(n), ..
        }) => u64::try_from(*n).map(Some).map_err(|_| EvalError::OutOfBounds),
        Expr::Literal(literal) => Err(EvalError::Refused(format!(
            "can not convert constant {} to int",
            literal.value
        ))),
        _ => Ok(None),
    }
}

impl Path {
    /// What the pointer at this path points to.
    fn behind(mut self, ty: TypeId) -> Path {
        self.hops.push(Hop {
            at: self.offset,
            element: Element::Fixed(0),
        });
        Path { offset: 0, ty, ..self }
    }
}

/// What is to be captured behind a hop.
struct Wanted {
    offset: u64,
    size: u32,
}

impl Wanted {
    /// The follow that captures it; `at` and `at_len` are where the pointer and the length are in the base area.
    fn follow(&self, hop: &Hop, at: u64, at_len: u64, then: Vec<Follow>) -> Follow {
        let (at, at_len) = (at as u32, at_len as u32);
        let kind = match hop.element {
            Element::Fixed(distance) => FollowKind::Pointer {
                at,
                offset: distance.saturating_add(self.offset) as i64,
                size: self.size.max(1),
            },
            Element::Indexed { stride, index } => FollowKind::Element {
                at_ptr: at,
                at_len: Some(at_len),
                elem_size: stride as u32,
                index,
            },
        };
        Follow {
            kind,
            layout: None,
            then,
        }
    }

    fn bytes(&self, hop: &Hop) -> u32 {
        let size = match hop.element {
            Element::Fixed(_) => self.size,
            Element::Indexed { stride, .. } => stride as u32,
        };
        spelunk_bpf::CHUNK_HEADER_SIZE as u32 + size.next_multiple_of(8)
    }
}

/// The package of a function's name: `a/b` of `a/b.(*T).M`.
pub(crate) fn package_of(function: &str) -> &str {
    let path = function.rfind('/').map_or(0, |slash| slash + 1);
    let end = function[path..].find('.').map_or(function.len(), |dot| path + dot);
    &function[..end]
}

#[cfg(test)]
mod tests {
    use super::package_of;

    #[test]
    fn a_function_names_its_package() {
        assert_eq!(package_of("main.main"), "main");
        assert_eq!(package_of("example.org/a/b.(*T).M"), "example.org/a/b");
        assert_eq!(package_of("net/http.HandlerFunc.ServeHTTP"), "net/http");
    }
}
