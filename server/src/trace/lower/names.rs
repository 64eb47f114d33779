//! What names mean at a site.

use std::sync::Arc;

use spelunk_bpf::{Reg, Root, RootSource, Term};
use spelunk_dwarf::{Binary, DwarfReg, FileAddr, FunctionInfo, Location, PieceKind, Type, Variable};

use super::place::{Part, Place, Source};
use crate::expr::EvalError;
use crate::trace::capture::{self, Captured, general_register, placed, register_name};
use crate::trace::function::may_be_a_part;
use crate::trace::growth::may_be_overwritten;
use crate::trace::paths::package_of;
use crate::value::ReadError;

/// A variable that a name means.
pub(crate) struct Found {
    /// Its type; of one that lives on the heap that of the pointer to it.
    pub(crate) ty: Arc<Type>,
    /// Where it is, or the pointer to it.
    pub(crate) place: Place,
    /// Whether it lives on the heap, and the place is that of the pointer to it.
    pub(crate) escaped: bool,
}

/// What names mean at a site.
pub(crate) trait Names {
    /// The innermost variable of that name that the function has.
    fn variable(&self, name: &str) -> Result<Option<Found>, EvalError>;
    /// The path of the package whose names need no qualification.
    fn package(&self) -> &str;
    /// The canonical frame address is rsp plus this.
    fn cfa_offset(&self) -> i64;
}

/// What names mean at a line, as DWARF has it.
pub(crate) struct AtLine<'a> {
    /// The binary.
    pub(crate) binary: &'a Binary,
    /// The function.
    pub(crate) info: &'a FunctionInfo,
    /// The site.
    pub(crate) pc: FileAddr,
    /// Its line.
    pub(crate) line: u32,
    /// The canonical frame address is rsp plus this.
    pub(crate) cfa_offset: i64,
}

impl Names for AtLine<'_> {
    fn variable(&self, name: &str) -> Result<Option<Found>, EvalError> {
        let scope = self.binary.variables_in_scope(self.info, self.pc, self.line);
        // Inner variables come last and shadow the outer ones.
        match scope.iter().rev().find(|scoped| scoped.variable.display_name() == name) {
            Some(scoped) => self.found(scoped.variable).map(Some),
            None => Ok(None),
        }
    }

    fn package(&self) -> &str {
        let inlined = self.info.scope.inlined_at(self.pc);
        let innermost = inlined.last().and_then(|scope| scope.inlined.as_ref());
        package_of(innermost.map_or(&self.info.name, |call| &call.name))
    }

    fn cfa_offset(&self) -> i64 {
        self.cfa_offset
    }
}

impl AtLine<'_> {
    fn found(&self, variable: &Variable) -> Result<Found, EvalError> {
        let unreadable = |why: &str| EvalError::Unreadable(why.to_owned());
        let ty = self.binary.type_info(variable.ty)?;
        let found = |place| Found {
            ty: ty.clone(),
            place,
            escaped: variable.escaped(),
        };
        if let Some(place) = self.captured_at_entry(variable) {
            return Ok(found(place));
        }
        let location = self.binary.location(self.info, variable, self.pc);
        let location = location.map_err(|error| unreadable(&error.to_string()))?;
        if may_be_overwritten(self.binary, self.info, variable, &location) {
            return Err(unreadable(UNUSED));
        }
        if may_be_a_part(self.binary, self.info, variable, &location) {
            return Err(unreadable("optimized out but for a part of it"));
        }
        Ok(found(self.place(&ty, &location)?))
    }

    /// A captured variable at the entry of a closure: DWARF gives the place it will be copied to, but until then it is in the closure, to which DX points.
    fn captured_at_entry(&self, variable: &Variable) -> Option<Place> {
        let offset = variable.closure_offset?;
        if variable.decl_line != self.line || self.pc < self.info.low_pc {
            return None;
        }
        let function = self.binary.function_at(self.info.low_pc)?;
        if self.pc > self.binary.prologue_end(function).unwrap_or(self.info.low_pc) {
            return None;
        }
        let offset = i64::try_from(offset).ok()?;
        let base = Term::Register(general_register(DwarfReg::RDX.0)?);
        Some(Place::Memory { base, offset })
    }

    fn place(&self, ty: &Type, location: &Location) -> Result<Place, EvalError> {
        if let [piece] = &location.pieces[..]
            && let Source::Memory { base, offset } = self.source(&piece.kind)
        {
            return Ok(Place::Memory { base, offset });
        }
        let parts: Arc<[Part]> = placed(self.binary, ty.id, location)
            .into_iter()
            .map(|(offset, piece)| Part {
                offset,
                size: u64::from(piece.size),
                source: self.source(&piece.kind),
            })
            .collect();
        if parts.is_empty() && location.pieces.iter().any(|piece| piece.size != 0) {
            let why = "the pieces it is in do not make up its type";
            return Err(EvalError::Unreadable(why.to_owned()));
        }
        Ok(Place::Parts { parts, offset: 0 })
    }

    fn source(&self, kind: &PieceKind) -> Source {
        match kind {
            PieceKind::Register(number) => match general_register(number.0) {
                Some(register) => Source::Register(register),
                None => Source::Missing(ReadError::InRegister(register_name(number.0))),
            },
            PieceKind::CfaOffset(offset) => Source::Memory {
                base: Term::Register(Reg::Rsp),
                offset: self.cfa_offset.wrapping_add(*offset),
            },
            PieceKind::RegisterOffset(number, offset) => match general_register(number.0) {
                Some(register) => Source::Memory {
                    base: Term::Register(register),
                    offset: *offset,
                },
                None => Source::Missing(ReadError::OptimizedOut),
            },
            PieceKind::Addr(addr) => Source::Memory {
                base: Term::Address(addr.0),
                offset: 0,
            },
            PieceKind::Const(bytes) => Source::Constant(bytes.clone()),
            PieceKind::Behind(_) => Source::Missing(ReadError::Escaped),
            PieceKind::Empty => Source::Missing(ReadError::OptimizedOut),
        }
    }
}

/// What names mean where a function is called: its parameters, where the calling convention has them.
pub(crate) struct AtCall<'a> {
    /// The binary.
    pub(crate) binary: &'a Binary,
    /// The function's name.
    pub(crate) function: &'a str,
    /// The parameters, as the site captures them.
    pub(crate) params: &'a [Captured],
    /// The indices of those that the growth of the stack may have overwritten.
    pub(crate) fragile: &'a [usize],
    /// The roots of the site's plan.
    pub(crate) roots: &'a [Root],
    /// The canonical frame address is rsp plus this.
    pub(crate) cfa_offset: i64,
}

/// Why a parameter has no place that does not survive the growth of the stack.
pub(crate) const UNUSED: &str = "optimized out: the function does not use it";

impl Names for AtCall<'_> {
    fn variable(&self, name: &str) -> Result<Option<Found>, EvalError> {
        let named = |(_, known): &(usize, &Captured)| known.name == name;
        let Some((index, captured)) = self.params.iter().enumerate().find(named) else {
            return Ok(None);
        };
        if self.fragile.contains(&index) {
            return Err(EvalError::Unreadable(UNUSED.to_owned()));
        }
        Ok(Some(Found {
            ty: self.binary.type_info(captured.ty)?,
            place: self.place(captured),
            // A parameter that will escape is still passed as itself.
            escaped: false,
        }))
    }

    fn package(&self) -> &str {
        package_of(self.function)
    }

    fn cfa_offset(&self) -> i64 {
        self.cfa_offset
    }
}

impl AtCall<'_> {
    fn place(&self, captured: &Captured) -> Place {
        let source = |part: &capture::Part| match &part.source {
            capture::Source::Root(root) => match self.roots.get(*root) {
                Some(root) => source_of(root),
                None => Source::Missing(ReadError::OptimizedOut),
            },
            capture::Source::Constant(bytes) => Source::Constant(bytes.clone()),
            capture::Source::Missing(why) => Source::Missing(why.clone()),
        };
        // Of what lies in memory as a whole, only the start may have been captured.
        if let [part] = &captured.parts[..]
            && part.offset == 0
            && let Source::Memory { base, offset } = source(part)
        {
            return Place::Memory { base, offset };
        }
        let parts = captured.parts.iter().map(|part| Part {
            offset: part.offset,
            size: part.size,
            source: source(part),
        });
        Place::Parts {
            parts: parts.collect(),
            offset: 0,
        }
    }
}

fn source_of(root: &Root) -> Source {
    let memory = |base, offset| Source::Memory { base, offset };
    match root.source {
        RootSource::Register(register) => Source::Register(register),
        RootSource::Stack { offset } => memory(Term::Register(Reg::Rsp), offset),
        RootSource::Memory { reg, offset } => memory(Term::Register(reg), offset),
        RootSource::Absolute { addr } => memory(Term::Address(addr), 0),
        // No variable is there.
        RootSource::Hit(_) => Source::Missing(ReadError::OptimizedOut),
    }
}
