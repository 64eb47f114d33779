//! The program's instructions.

use std::sync::Arc;

use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, OpKind};
use spelunk_dwarf::{Global, LoadBias, ProcAddr};

use super::DebugError;
use super::code::call_target;
use super::control::{Control, failed};
use super::program::Program;
use super::session::Session;
use crate::assembly::{Flavour, Line, Symbol};
use crate::inspect::{Location, Registers, Whose};

/// More is not disassembled at once, in bytes.
const MAX_RANGE: u64 = 16 << 20;

/// In bytes (Intel's manual, volume 2, section 2.3.11).
const LONGEST_INSTRUCTION: i64 = 15;

/// How far what lies around an address reaches into what is no function, in bytes; as in Delve.
const MAX_PADDED: u64 = 10 << 10;

/// An instruction of the program.
#[derive(Clone, Debug)]
pub(crate) struct Assembly {
    /// Where it is.
    pub(crate) location: Location,
    /// Where it calls or jumps, as far as that can be said.
    pub(crate) target: Option<Location>,
    /// Its text.
    pub(crate) text: String,
    /// Its bytes, without what the debugger has patched in.
    pub(crate) bytes: Vec<u8>,
    /// Whether a breakpoint stops there.
    pub(crate) has_breakpoint: bool,
    /// Whether the thread that was asked for stands there.
    pub(crate) is_current: bool,
}

/// Instructions around an address.
#[derive(Clone, Debug, Default)]
pub(crate) struct Surroundings {
    /// How many of those that were asked for would lie before the first one that there is.
    pub(crate) missing_before: usize,
    /// Those that there are, in order; fewer than were asked for where the code ends.
    pub(crate) list: Vec<Assembly>,
}

/// What is to be disassembled.
#[derive(Clone, Copy, Debug)]
pub(crate) enum CodeRange {
    /// The function that an address is in.
    FunctionAt(ProcAddr),
    /// From an address on, to before another.
    Between(ProcAddr, ProcAddr),
}

impl Session {
    /// The instructions of a range, with the one marked at which a goroutine's thread stands.
    pub(crate) fn disassemble(
        &self,
        whose: Whose,
        range: CodeRange,
        flavour: Flavour,
    ) -> Result<Vec<Assembly>, DebugError> {
        self.ask(move |control| control.disassemble(whose, range, flavour))
    }

    /// `count` instructions from the one on that is `offset` instructions behind, or before, the one at `addr`, in the syntax of Go's assembler. As the
    /// instructions before an address cannot be told from it, whole functions around it are decoded; where they end there is nothing.
    pub(crate) fn disassemble_around(
        &self,
        addr: ProcAddr,
        offset: i64,
        count: usize,
    ) -> Result<Surroundings, DebugError> {
        self.ask(move |control| control.disassemble_around(addr, offset, count))
    }
}

/// The instructions of some bytes, one behind the other. What is no instruction counts as one byte long.
struct Sweep<'a> {
    decoder: Decoder<'a>,
    bytes: &'a [u8],
    start: ProcAddr,
}

impl<'a> Sweep<'a> {
    fn new(bytes: &'a [u8], start: ProcAddr) -> Sweep<'a> {
        Sweep {
            decoder: Decoder::with_ip(64, bytes, start.0, DecoderOptions::NONE),
            bytes,
            start,
        }
    }
}

impl<'a> Iterator for Sweep<'a> {
    type Item = (Instruction, &'a [u8]);

    fn next(&mut self) -> Option<(Instruction, &'a [u8])> {
        if !self.decoder.can_decode() {
            return None;
        }
        let at = self.decoder.position();
        let mut instruction = self.decoder.decode();
        if instruction.is_invalid() {
            // Another may begin behind the first byte.
            self.decoder.set_position(at + 1).ok()?;
            self.decoder.set_ip(self.start.0 + at as u64 + 1);
            instruction.set_ip(self.start.0 + at as u64);
        }
        Some((instruction, self.bytes.get(at..self.decoder.position())?))
    }
}

impl Program {
    /// The function that begins at an address, or the package variable that it lies in, or behind.
    fn symbols(&self) -> impl Fn(u64) -> Option<Symbol> {
        // Of variables without a size, which may lie at the address of another, the one that the compiler described first.
        let mut globals: Vec<&Global> = self.binary().globals().iter().collect();
        globals.sort_by_key(|global| (global.addr, global.entry));
        let variables: Vec<(u64, Arc<str>)> = globals
            .into_iter()
            .map(|global| (self.bias().to_proc(global.addr).0, Arc::clone(&global.name)))
            .collect();
        let program = self.clone();
        move |addr| {
            if let Some(function) = program.function_at(ProcAddr(addr)) {
                return (function.entry.0 == addr).then(|| Symbol {
                    name: function.name.to_string(),
                    start: addr,
                });
            }
            let behind = variables.partition_point(|(start, _)| *start < addr);
            let (start, name) = variables.get(behind)?;
            let (start, name) = match behind.checked_sub(1) {
                _ if *start == addr => (start, name),
                Some(before) => variables.get(before).map(|(start, name)| (start, name))?,
                None => return None,
            };
            Some(Symbol {
                name: name.to_string(),
                start: *start,
            })
        }
    }

    /// A range extended to whole functions on both sides. An end of it that is in no function goes on to the next one, a bit at most; one beyond all code is
    /// taken back to where that begins or ends.
    fn whole_functions(&self, start: ProcAddr, end: ProcAddr) -> (ProcAddr, ProcAddr) {
        let functions = self.binary().functions();
        let entry = |function: &spelunk_dwarf::Function| self.bias().to_proc(function.entry);
        let behind = |function: &spelunk_dwarf::Function| self.bias().to_proc(function.end);
        let (Some(first), Some(last)) = (functions.first(), functions.last()) else {
            return (start, start);
        };
        let (first, last) = (entry(first), behind(last));
        let clamped = |addr: ProcAddr| (addr < first).then_some(first).or((addr >= last).then_some(last));
        let at = |addr: ProcAddr| self.binary().function_at(self.bias().to_file(addr));
        let begin = match (at(start), clamped(start)) {
            (Some(function), _) => entry(function),
            (None, Some(edge)) => edge,
            (None, None) => {
                let before = functions.partition_point(|function| entry(function) <= start);
                functions[..before].last().map_or(first, entry)
            }
        };
        let stop = match (at(end), clamped(end)) {
            (Some(function), _) => behind(function),
            (None, Some(edge)) => edge,
            (None, None) => {
                let next = functions.partition_point(|function| entry(function) <= end);
                let next = functions.get(next).map_or(last, entry);
                next.min(ProcAddr(begin.0.saturating_add(MAX_PADDED)))
            }
        };
        (begin, stop)
    }

    fn place(&self, pc: ProcAddr) -> Location {
        let function = self.function_at(pc);
        let line = function
            .as_ref()
            .and_then(|_| self.binary().line_at(self.bias().to_file(pc)));
        let (file, line) = line.map_or((None, 0), |(file, line)| (Some(file), line));
        Location {
            pc,
            file,
            line,
            function: function.map(|function| function.name),
        }
    }
}

impl Control {
    fn disassemble(&mut self, whose: Whose, range: CodeRange, flavour: Flavour) -> Result<Vec<Assembly>, DebugError> {
        self.require_stopped()?;
        let program = self.program();
        let (start, end) = match range {
            CodeRange::Between(start, end) => (start, end),
            CodeRange::FunctionAt(pc) => {
                let function = program.binary().function_at(program.bias().to_file(pc));
                let function =
                    function.ok_or_else(|| failed(format!("address {:#x} does not belong to any function", pc.0)))?;
                (
                    program.bias().to_proc(function.entry),
                    program.bias().to_proc(function.end),
                )
            }
        };
        let bytes = self.code_between(start, end)?;
        let thread = self.thread_of(whose)?;
        let registers = match (thread, &self.inferior) {
            (Some(thread), Some(inferior)) => inferior.registers(thread).ok(),
            _ => None,
        };
        let sweep = Sweep::new(&bytes, start);
        Ok(self.assembly(sweep, &program, registers.as_ref(), flavour))
    }

    fn disassemble_around(&mut self, addr: ProcAddr, offset: i64, count: usize) -> Result<Surroundings, DebugError> {
        self.require_stopped()?;
        let program = self.program();
        // The longest that so many instructions can be; Delve's reckoning, so that the code ends for both at the same place.
        let most = i64::try_from(count).unwrap_or(i64::MAX);
        let before = offset.min(0).saturating_mul(LONGEST_INSTRUCTION);
        let behind = most.saturating_add(offset.max(0).saturating_mul(LONGEST_INSTRUCTION));
        let behind = behind.saturating_mul(LONGEST_INSTRUCTION);
        let (start, end) = program.whole_functions(
            ProcAddr(addr.0.saturating_add_signed(before)),
            ProcAddr(addr.0.saturating_add_signed(behind)),
        );
        let bytes = self.code_between(start, end)?;
        let mut sweep = Sweep::new(&bytes, start);
        let here = sweep.position(|(instruction, _)| instruction.ip() == addr.0);
        let here = here.ok_or_else(|| failed("could not find memory reference"))?;
        let first = i64::try_from(here).unwrap_or(i64::MAX).saturating_add(offset);
        let missing_before = usize::try_from(first.saturating_neg()).unwrap_or(0);
        if missing_before >= count {
            // Delve calls them all to be behind the end then.
            return Ok(Surroundings::default());
        }
        let wanted = Sweep::new(&bytes, start)
            .skip(usize::try_from(first).unwrap_or(0))
            .take(count - missing_before);
        Ok(Surroundings {
            missing_before,
            list: self.assembly(wanted, &program, None, Flavour::Go),
        })
    }

    /// The code of a range, without what the debugger has patched in.
    fn code_between(&mut self, start: ProcAddr, end: ProcAddr) -> Result<Vec<u8>, DebugError> {
        if start > end {
            return Err(failed(format!(
                "start address({:x}) should be less than end address({:x})",
                start.0, end.0
            )));
        }
        let size = end.0 - start.0;
        if size > MAX_RANGE {
            return Err(failed(format!("{size} bytes are too many to be disassembled at once")));
        }
        let size = usize::try_from(size).unwrap_or(0);
        if size == 0 {
            return Ok(Vec::new());
        }
        // Delve names the kernel's error.
        let unreadable = || failed("input/output error");
        let bytes = self.read_memory(start, size).map_err(|_| unreadable())?;
        if bytes.len() < size {
            return Err(unreadable());
        }
        Ok(bytes)
    }

    fn assembly<'a>(
        &self,
        instructions: impl Iterator<Item = (Instruction, &'a [u8])>,
        program: &Program,
        registers: Option<&Registers>,
        flavour: Flavour,
    ) -> Vec<Assembly> {
        let pc = registers.and_then(Registers::pc);
        let breakpoints = self.physical_addresses();
        let symbols = program.symbols();
        instructions
            .map(|(instruction, bytes)| {
                let addr = ProcAddr(instruction.ip());
                let is_current = pc == Some(addr.0);
                let line = Line {
                    instruction: &instruction,
                    bytes,
                    symbols: &symbols,
                };
                Assembly {
                    location: program.place(addr),
                    target: self
                        .target_of(&instruction, registers.filter(|_| is_current))
                        .map(|target| program.place(target)),
                    text: line.text(flavour),
                    bytes: bytes.to_vec(),
                    has_breakpoint: breakpoints.contains(&addr),
                    is_current,
                }
            })
            .collect()
    }

    /// Where a call or an unconditional jump goes; what is in registers or memory is known only of the next instruction of a thread.
    fn target_of(&self, instruction: &Instruction, registers: Option<&Registers>) -> Option<ProcAddr> {
        match instruction.flow_control() {
            FlowControl::Call | FlowControl::UnconditionalBranch
                if matches!(instruction.op0_kind(), OpKind::NearBranch64 | OpKind::NearBranch32) =>
            {
                Some(ProcAddr(instruction.near_branch_target()))
            }
            FlowControl::IndirectCall | FlowControl::IndirectBranch => {
                // The instruction was decoded where it is in the process.
                let memory = self.memory.as_deref()?;
                let target = call_target(instruction, registers?, memory, LoadBias::default())?;
                Some(ProcAddr(target.0))
            }
            _ => None,
        }
    }
}
