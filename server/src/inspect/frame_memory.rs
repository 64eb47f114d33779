//! A frame's memory: the process's, and the variables that lie in registers or in pieces at addresses that are made up for them.

use std::cell::{OnceCell, RefCell};
use std::collections::{HashMap, HashSet};

use spelunk_dwarf::{
    Binary, DwarfReg, FunctionInfo, LoadBias, LocationError, PieceKind, ProcAddr, ScopedVariable, Variable,
};

use super::Frame;
use super::calls::CallBook;
use crate::trace::{may_be_a_part, may_be_overwritten, placed};
use crate::value::{Memory, ReadError, made_up_address};

/// The room between two variables of a frame at made-up addresses.
const STRIDE: u32 = 20;
/// How many variables of a frame have room.
const MAX_VARIABLES: usize = 1 << (32 - STRIDE);
/// How many structs expressions may make up.
const MAX_LITERALS: usize = 256;
/// A page of the process.
const PAGE: u64 = 4096;
/// Pages kept for one look at a frame: 16 MiB.
const MAX_PAGES: usize = 4096;

/// Where a variable of a frame is.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// As a whole in the process's memory.
    Memory(ProcAddr),
    /// In parts; its address is made up.
    Parts(ProcAddr, Vec<Part>),
    /// Nowhere, and why, as a clause that reads well behind "unreadable".
    Nowhere(String),
}

/// Some bytes of a variable.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// In bytes from the start of the variable.
    pub(super) offset: u64,
    /// In bytes.
    pub(super) size: u64,
    /// Where they are.
    pub(super) source: Source,
}

/// Where bytes of a variable are.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// In the low bytes of a register, which holds these.
    Register(DwarfReg, Vec<u8>),
    /// In the process's memory.
    Memory(ProcAddr),
    /// The compiler knows them.
    Constant(Vec<u8>),
    /// Nowhere.
    Missing(ReadError),
}

/// The memory of one frame.
pub(super) struct FrameMemory<'a> {
    binary: &'a Binary,
    bias: LoadBias,
    process: &'a dyn Memory,
    frame: &'a Frame,
    /// Those of enclosing frames first, outermost first; of one frame in the order of [`spelunk_dwarf::variables_of_function`].
    pub(super) variables: Vec<ScopedVariable<'a>>,
    /// The frame of each variable.
    owners: Vec<&'a Frame>,
    places: Vec<OnceCell<Place>>,
    pages: RefCell<HashMap<u64, Box<[u8]>>>,
    /// Structs that expressions have made up, from the last number of a variable downwards.
    literals: RefCell<Vec<Vec<u8>>>,
    /// What calls that were made for an expression have returned.
    pub(super) results: Option<&'a CallBook>,
}

impl<'a> FrameMemory<'a> {
    pub(super) fn new(
        binary: &'a Binary,
        bias: LoadBias,
        process: &'a dyn Memory,
        frame: &'a Frame,
    ) -> FrameMemory<'a> {
        let enclosing = frame.enclosing.as_deref().unwrap_or_default();
        let (mut variables, mut owners) = (Vec::new(), Vec::new());
        for owner in enclosing.iter().rev().chain(std::iter::once(frame)) {
            let is_body = enclosing
                .last()
                .is_some_and(|outermost| !std::ptr::eq(outermost, owner));
            let own = variables_of(owner)
                .into_iter()
                .filter(|scoped| !is_body || is_of_body(scoped.variable));
            variables.extend(own);
            owners.resize(variables.len(), owner);
        }
        if !enclosing.is_empty() {
            mark_shadowed(&mut variables);
        }
        FrameMemory {
            binary,
            bias,
            process,
            frame,
            places: std::iter::repeat_with(OnceCell::new).take(variables.len()).collect(),
            variables,
            owners,
            pages: RefCell::default(),
            literals: RefCell::default(),
            results: None,
        }
    }

    /// The memory of the process, for other frames.
    pub(super) fn process(&self) -> &'a dyn Memory {
        self.process
    }

    /// Where the variable of that number is.
    pub(super) fn place(&self, number: usize) -> Place {
        let nowhere = || Place::Nowhere("the frame has no such variable".to_owned());
        let (Some(scoped), Some(known)) = (self.variables.get(number), self.places.get(number)) else {
            return nowhere();
        };
        known
            .get_or_init(|| self.find(self.owner(number), scoped.variable, Some(number)))
            .clone()
    }

    /// The frame whose variable has that number.
    pub(super) fn owner(&self, number: usize) -> &'a Frame {
        self.owners.get(number).copied().unwrap_or(self.frame)
    }

    /// Whether the variable of that number is one of the body of a loop over a function; there it is a parameter to the compiler alone.
    pub(super) fn is_in_body(&self, number: usize) -> bool {
        let outermost = self.frame.enclosing.as_deref().and_then(<[Frame]>::last);
        outermost.is_some_and(|outermost| !std::ptr::eq(outermost, self.owner(number)))
    }

    /// Where a variable of a frame's function is that need not be shown: the dictionary.
    pub(super) fn place_of(&self, frame: &Frame, variable: &Variable) -> Place {
        self.find(frame, variable, None)
    }

    fn find(&self, frame: &Frame, variable: &Variable, number: Option<usize>) -> Place {
        let Some(info) = frame.info.as_deref() else {
            return Place::Nowhere("the function has no debug information".to_owned());
        };
        if let Some(place) = self.captured_at_entry(frame, variable) {
            return place;
        }
        let location = match self.binary.location(info, variable, frame.lookup_pc) {
            Ok(location) => location,
            // Delve looks behind the call, and says so.
            Err(error) => return Place::Nowhere(self.behind_call(frame, info, variable).unwrap_or(error).to_string()),
        };
        if may_be_overwritten(self.binary, info, variable, &location) {
            return Place::Nowhere("optimized out: the function does not use it".to_owned());
        }
        if may_be_a_part(self.binary, info, variable, &location) {
            return Place::Nowhere("optimized out but for a part of it".to_owned());
        }
        if let [piece] = &location.pieces[..] {
            match piece.kind {
                PieceKind::CfaOffset(offset) => {
                    return Place::Memory(ProcAddr(frame.cfa.0.wrapping_add_signed(offset)));
                }
                PieceKind::Addr(addr) => return Place::Memory(self.bias.to_proc(addr)),
                PieceKind::Behind(offset) => {
                    let pointer = ProcAddr(frame.cfa.0.wrapping_add_signed(offset));
                    return match self.process.read_uint(pointer, 8) {
                        Ok(0) => Place::Nowhere("no address for escaped variable".to_owned()),
                        Ok(target) => Place::Memory(ProcAddr(target)),
                        Err(why) => Place::Nowhere(why.to_string()),
                    };
                }
                PieceKind::RegisterOffset(register, offset) => {
                    return match frame.registers.general(register) {
                        Some(base) => Place::Memory(ProcAddr(base.wrapping_add_signed(offset))),
                        None => Place::Nowhere(unknown_register(register, 8).to_string()),
                    };
                }
                _ => {}
            }
        }
        let parts: Vec<Part> = placed(self.binary, variable.ty, &location)
            .into_iter()
            .filter(|(_, piece)| piece.size != 0)
            .map(|(offset, piece)| Part {
                offset,
                size: u64::from(piece.size),
                source: self.source(frame, &piece.kind, u64::from(piece.size)),
            })
            .collect();
        let has_room = |part: &Part| part.offset.checked_add(part.size).is_some_and(|end| end <= 1 << STRIDE);
        if !parts.iter().all(has_room) {
            return Place::Nowhere("it is too large for registers".to_owned());
        }
        if parts.is_empty() && location.pieces.iter().any(|piece| piece.size != 0) {
            return Place::Nowhere("the pieces it is in do not make up its type".to_owned());
        }
        let is_lost = |part: &Part| matches!(part.source, Source::Missing(_));
        if !parts.is_empty()
            && parts.iter().all(is_lost)
            && let Some(error) = self.behind_call(frame, info, variable)
        {
            return Place::Nowhere(error.to_string());
        }
        Place::Parts(self.made_up(number.unwrap_or(MAX_VARIABLES - 1)), parts)
    }

    /// Why a variable of a frame that has called is nowhere behind the call; `None` where it is somewhere, or the frame has not called.
    fn behind_call(&self, frame: &Frame, info: &FunctionInfo, variable: &Variable) -> Option<LocationError> {
        let behind = self.bias.to_file(frame.pc);
        if behind == frame.lookup_pc {
            return None;
        }
        self.binary.location(info, variable, behind).err()
    }

    /// A captured variable at the entry of a closure: DWARF gives the place it will be copied to, but until then it is in the closure, to which DX points.
    fn captured_at_entry(&self, frame: &Frame, variable: &Variable) -> Option<Place> {
        let offset = variable.closure_offset?;
        let info = frame.info.as_deref()?;
        let pc = frame.lookup_pc;
        if variable.decl_line != frame.location.line || pc < info.low_pc {
            return None;
        }
        let function = self.binary.function_at(info.low_pc)?;
        let end = self.binary.prologue_end(function).unwrap_or(info.low_pc);
        if pc > end {
            return None;
        }
        let closure = frame.registers.general(DwarfReg::RDX)?;
        Some(Place::Memory(ProcAddr(closure.wrapping_add(offset))))
    }

    fn source(&self, frame: &Frame, kind: &PieceKind, size: u64) -> Source {
        match kind {
            PieceKind::Register(register) => match whole_register(frame, *register) {
                Some(mut bytes) if bytes.len() as u64 >= size => {
                    bytes.truncate(size as usize);
                    Source::Register(*register, bytes)
                }
                _ => Source::Missing(unknown_register(*register, size)),
            },
            PieceKind::CfaOffset(offset) => Source::Memory(ProcAddr(frame.cfa.0.wrapping_add_signed(*offset))),
            PieceKind::RegisterOffset(register, offset) => match frame.registers.general(*register) {
                Some(base) => Source::Memory(ProcAddr(base.wrapping_add_signed(*offset))),
                None => Source::Missing(unknown_register(*register, 8)),
            },
            PieceKind::Addr(addr) => Source::Memory(self.bias.to_proc(*addr)),
            PieceKind::Const(bytes) => Source::Constant(bytes.clone()),
            // Only a whole variable escapes.
            PieceKind::Behind(_) | PieceKind::Empty => Source::Missing(ReadError::OptimizedOut),
        }
    }

    /// Keeps a struct that an expression has made up; `None` if there is no room for more.
    pub(super) fn keep(&self, bytes: Vec<u8>) -> Option<ProcAddr> {
        let mut literals = self.literals.borrow_mut();
        if bytes.len() > 1 << STRIDE || literals.len() >= MAX_LITERALS {
            return None;
        }
        // The last number is that of a variable that is not shown.
        let number = (MAX_VARIABLES - 2)
            .checked_sub(literals.len())
            .filter(|number| *number >= self.variables.len())?;
        literals.push(bytes);
        Some(self.made_up(number))
    }

    /// Whether a literal was kept at an address.
    pub(super) fn is_literal(&self, addr: ProcAddr) -> bool {
        self.read_literal(addr, &mut [])
    }

    /// Reads a struct that was made up; `false` if there is none at that address.
    fn read_literal(&self, addr: ProcAddr, buf: &mut [u8]) -> bool {
        let literals = self.literals.borrow();
        let found = self.made_up_variable(addr).and_then(|(number, offset)| {
            let literal = literals.get((MAX_VARIABLES - 2).checked_sub(number)?)?;
            let start = usize::try_from(offset).ok()?;
            literal.get(start..start.checked_add(buf.len())?)
        });
        if let Some(bytes) = found {
            buf.copy_from_slice(bytes);
        }
        found.is_some()
    }

    /// An address that no other variable of this frame has, and hardly one of another: the frame takes part in it.
    fn made_up(&self, number: usize) -> ProcAddr {
        let number = number.min(MAX_VARIABLES - 1) as u64;
        ProcAddr(self.key().0 + (number << STRIDE))
    }

    fn key(&self) -> ProcAddr {
        let frame = self.frame.cfa.0 >> 3;
        let mixed = frame ^ frame >> 16 ^ frame >> 32 ^ (self.frame.inline_depth as u64) << 11;
        made_up_address((mixed & 0xffff) as usize)
    }

    /// The number of the variable at a made-up address, and the offset in it.
    fn made_up_variable(&self, addr: ProcAddr) -> Option<(usize, u64)> {
        let within = addr.0.checked_sub(self.key().0)?;
        let number = usize::try_from(within >> STRIDE)
            .ok()
            .filter(|number| *number < MAX_VARIABLES)?;
        Some((number, within & ((1 << STRIDE) - 1)))
    }

    /// The parts of a variable at a made-up address.
    pub(super) fn parts_at(&self, addr: ProcAddr) -> Option<(u64, Vec<Part>)> {
        let (number, offset) = self.made_up_variable(addr)?;
        match self.place(number) {
            Place::Parts(_, parts) => Some((offset, parts)),
            _ => None,
        }
    }

    /// The frame whose variable is at a made-up address.
    pub(super) fn owner_at(&self, addr: ProcAddr) -> Option<&'a Frame> {
        let (number, _) = self.made_up_variable(addr)?;
        Some(self.owner(number))
    }

    fn read_parts(&self, addr: ProcAddr, buf: &mut [u8]) -> Result<(), ReadError> {
        let (start, parts) = self.parts_at(addr).ok_or(ReadError::Fault(addr))?;
        let end = start.checked_add(buf.len() as u64).ok_or(ReadError::Fault(addr))?;
        let last = parts.iter().map(|part| part.offset + part.size).max().unwrap_or(0);
        if end > last.next_multiple_of(8) {
            return Err(ReadError::Fault(addr));
        }
        // What lies between the parts is padding, which has no value.
        buf.fill(0);
        for part in &parts {
            let (from, to) = (start.max(part.offset), end.min(part.offset + part.size));
            if from >= to {
                continue;
            }
            let target = buf.get_mut((from - start) as usize..(to - start) as usize);
            let target = target.ok_or(ReadError::Fault(addr))?;
            let skipped = from - part.offset;
            match &part.source {
                Source::Register(_, bytes) | Source::Constant(bytes) => {
                    let bytes = bytes
                        .get(skipped as usize..)
                        .and_then(|bytes| bytes.get(..target.len()));
                    target.copy_from_slice(bytes.ok_or(ReadError::OptimizedOut)?);
                }
                Source::Memory(at) => self.read(ProcAddr(at.0.wrapping_add(skipped)), target)?,
                Source::Missing(why) => return Err(why.clone()),
            }
        }
        Ok(())
    }

    /// Forgets what was read: the process's memory has been changed.
    pub(super) fn forget(&self) {
        self.pages.borrow_mut().clear();
    }

    /// Reads within one page, which is kept.
    fn read_page(&self, addr: u64, buf: &mut [u8]) -> Result<(), ReadError> {
        let start = addr - addr % PAGE;
        let offset = (addr - start) as usize;
        let mut pages = self.pages.borrow_mut();
        if let Some(page) = pages.get(&start) {
            let bytes = page
                .get(offset..offset + buf.len())
                .ok_or(ReadError::Fault(ProcAddr(addr)))?;
            buf.copy_from_slice(bytes);
            return Ok(());
        }
        let mut page = vec![0u8; PAGE as usize].into_boxed_slice();
        if self.process.read(ProcAddr(start), &mut page).is_err() {
            // A part of the page may be there: a record and a core file need not have whole ones.
            return self.process.read(ProcAddr(addr), buf);
        }
        buf.copy_from_slice(
            page.get(offset..offset + buf.len())
                .ok_or(ReadError::Fault(ProcAddr(addr)))?,
        );
        if pages.len() >= MAX_PAGES {
            pages.clear();
        }
        pages.insert(start, page);
        Ok(())
    }
}

impl Memory for FrameMemory<'_> {
    fn read(&self, addr: ProcAddr, buf: &mut [u8]) -> Result<(), ReadError> {
        if crate::value::is_made_up(addr) {
            if self.read_literal(addr, buf) {
                return Ok(());
            }
            if let Some(results) = self.results.filter(|results| results.has(addr)) {
                return results.read(addr, buf);
            }
            return self.read_parts(addr, buf);
        }
        if buf.len() as u64 > 4 * PAGE {
            return self.process.read(addr, buf);
        }
        let mut at = addr.0;
        let mut rest = buf;
        while !rest.is_empty() {
            let in_page = (PAGE - at % PAGE) as usize;
            let (now, later) = rest.split_at_mut(in_page.min(rest.len()));
            self.read_page(at, now)?;
            at = at
                .checked_add(now.len() as u64)
                .or(later.is_empty().then_some(0))
                .ok_or(ReadError::Fault(addr))?;
            rest = later;
        }
        Ok(())
    }
}

/// All bytes of a register of a frame; `None` where they are not known.
pub(super) fn whole_register(frame: &Frame, register: DwarfReg) -> Option<Vec<u8>> {
    match frame.registers.general(register) {
        Some(value) => Some(value.to_le_bytes().to_vec()),
        None => frame.registers.vector(register).map(|bytes| bytes.to_vec()),
    }
}

/// Whether a variable in the body of a loop over a function is the body's own: what it captured is a variable of an enclosing frame, and what has no name is the
/// compiler's.
fn is_of_body(variable: &Variable) -> bool {
    variable.closure_offset.is_none() && !variable.display_name().starts_with('~')
}

/// A variable is hidden by one of its name further in.
fn mark_shadowed(variables: &mut [ScopedVariable<'_>]) {
    let mut inner = HashSet::new();
    for scoped in variables.iter_mut().rev() {
        let is_first = inner.insert(scoped.variable.display_name());
        scoped.shadowed |= !is_first;
    }
}

/// The variables in scope in a frame: those of the inlined call that the frame stands for, else those of its function.
fn variables_of(frame: &Frame) -> Vec<ScopedVariable<'_>> {
    let Some(info) = frame.info.as_deref() else {
        return Vec::new();
    };
    let (pc, line) = (frame.lookup_pc, frame.location.line);
    let Some(call) = frame.inline_depth.checked_sub(1) else {
        return spelunk_dwarf::variables_of_function(info, pc, line);
    };
    match info.scope.inlined_at(pc).get(call) {
        Some(scope) => spelunk_dwarf::variables_of_inlined(scope, pc, line),
        None => Vec::new(),
    }
}

fn unknown_register(register: DwarfReg, size: u64) -> ReadError {
    ReadError::UnknownRegister {
        register: register.0,
        size,
    }
}
