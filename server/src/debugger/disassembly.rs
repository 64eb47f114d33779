//! The program's instructions.

use std::collections::HashSet;
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
        // Delve names the kernel's error.
        let unreadable = || failed("input/output error");
        let bytes = if size == 0 {
            Vec::new()
        } else {
            self.read_memory(start, size).map_err(|_| unreadable())?
        };
        if bytes.len() < size {
            return Err(unreadable());
        }
        let thread = self.thread_of(whose)?;
        let registers = match (thread, &self.inferior) {
            (Some(thread), Some(inferior)) => inferior.registers(thread).ok(),
            _ => None,
        };
        let pc = registers.as_ref().and_then(Registers::pc);
        let breakpoints: HashSet<ProcAddr> = self.physical_views().iter().map(|view| view.addr).collect();
        let symbols = program.symbols();
        let mut decoder = Decoder::with_ip(64, &bytes, start.0, DecoderOptions::NONE);
        let mut list = Vec::new();
        while decoder.can_decode() {
            let at = decoder.position();
            let mut instruction = decoder.decode();
            if instruction.is_invalid() {
                // One byte that is no instruction; another may begin behind it.
                if decoder.set_position(at + 1).is_err() {
                    break;
                }
                decoder.set_ip(start.0 + at as u64 + 1);
                instruction.set_ip(start.0 + at as u64);
            }
            let code = bytes.get(at..decoder.position()).unwrap_or_default();
            let addr = ProcAddr(start.0 + at as u64);
            let is_current = pc == Some(addr.0);
            let line = Line {
                instruction: &instruction,
                bytes: code,
                symbols: &symbols,
            };
            list.push(Assembly {
                location: program.place(addr),
                target: self
                    .target_of(&instruction, registers.as_ref().filter(|_| is_current))
                    .map(|target| program.place(target)),
                text: line.text(flavour),
                bytes: code.to_vec(),
                has_breakpoint: breakpoints.contains(&addr),
                is_current,
            });
        }
        Ok(list)
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
