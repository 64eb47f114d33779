//! Which instruction of a statement to probe.
//!
//! The kernel emulates a few kinds of instructions and single-steps all others, which in a virtual machine costs thirty times as much. So a probe moves from
//! a statement's first instruction to a later one that is emulated, where nobody could tell the difference: on the way nothing jumps or is jumped to, nothing
//! is written to memory, nothing can fault, and no register changes that the probe reads.

use iced_x86::{FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, Register};
use spelunk_bpf::{Plan, Reg, RootSource};
use spelunk_dwarf::{Binary, FileAddr, Function};

use super::sites::{Cost, FunctionCode, cost};
use super::terms::registers_read;

/// How many instructions are looked at. Statements that compute for longer cost more themselves.
const LOOK_AHEAD: usize = 24;

/// A later instruction of a statement that the kernel emulates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Later {
    /// The instruction.
    pub(super) addr: FileAddr,
    /// The general registers that the instructions before it write, in full width.
    written: Vec<Register>,
}

/// What a probe at `addr` costs.
#[cfg(test)]
pub(crate) fn cost_at(binary: &Binary, addr: FileAddr) -> Option<Cost> {
    // No instruction is longer than 15 bytes; at the end of the code there are fewer.
    let bytes = (1..=15).rev().find_map(|len| binary.code(addr, len))?;
    let code = FunctionCode::decode(bytes, addr).ok()?;
    code.instructions.first().map(cost)
}

/// An instruction that the kernel emulates, behind `pc` in the same statement, if `pc` itself is none and one may stand for the other.
pub(super) fn later(binary: &Binary, function: &Function, pc: FileAddr) -> Option<Later> {
    let statement = binary.statement_range(pc)?;
    let bytes = binary.code(function.entry, usize::try_from(function.size()).ok()?)?;
    let code = FunctionCode::decode(bytes, function.entry).ok()?;
    let start = code.instructions.binary_search_by_key(&pc.0, Instruction::ip).ok()?;
    let end = statement.end.min(function.end);
    let mut factory = InstructionInfoFactory::new();
    let mut written = Vec::new();
    for (i, instruction) in code.instructions.iter().enumerate().skip(start).take(LOOK_AHEAD) {
        if instruction.ip() >= end.0 || (i != start && code.targets.contains(&instruction.ip())) {
            return None;
        }
        if cost(instruction) == Cost::Emulated {
            let addr = FileAddr(instruction.ip());
            return (i != start).then_some(Later { addr, written });
        }
        pass(instruction, &mut factory, &mut written)?;
    }
    None
}

/// Notes what an instruction writes; nothing if a probe may not lie behind it.
fn pass(instruction: &Instruction, factory: &mut InstructionInfoFactory, written: &mut Vec<Register>) -> Option<()> {
    let divides = matches!(instruction.mnemonic(), Mnemonic::Div | Mnemonic::Idiv);
    if instruction.flow_control() != FlowControl::Next || divides || instruction.is_privileged() {
        return None;
    }
    let info = factory.info(instruction);
    // What lies elsewhere than in the frame, in g or in the binary may not be there, and then the statement's fault would come before the probe.
    let is_there = |base: Register| matches!(base, Register::RSP | Register::R14 | Register::RIP);
    let reads_what_is_there = info
        .used_memory()
        .iter()
        .all(|memory| !writes(memory.access()) && is_there(memory.base()) && memory.index() == Register::None);
    if !reads_what_is_there {
        return None;
    }
    for used in info.used_registers().iter().filter(|used| writes(used.access())) {
        let register = used.register().full_register();
        // The frame is found from the one, and g is the other.
        if matches!(register, Register::RSP | Register::R14) {
            return None;
        }
        written.push(register);
    }
    Some(())
}

pub(super) fn writes(access: OpAccess) -> bool {
    !matches!(
        access,
        OpAccess::None | OpAccess::Read | OpAccess::CondRead | OpAccess::NoMemAccess
    )
}

impl Later {
    /// Whether what a plan reads of the registers is the same here as at the statement's first instruction.
    pub(super) fn keeps_what_is_read_by(&self, plan: &Plan) -> bool {
        let mut keeps = true;
        let mut read = |register: Reg| {
            keeps &= full(register).is_some_and(|register| !self.written.contains(&register));
        };
        for root in &plan.roots {
            match root.source {
                RootSource::Register(register) | RootSource::Memory { reg: register, .. } => read(register),
                RootSource::Stack { .. } | RootSource::Absolute { .. } => {}
            }
        }
        if let Some(condition) = &plan.gate.condition {
            registers_read(condition, &mut read);
        }
        keeps
    }

    /// As [`Later::keeps_what_is_read_by`] for the condition alone.
    pub(super) fn keeps_what_the_condition_reads(&self, plan: &Plan) -> bool {
        let condition = Plan {
            roots: Vec::new(),
            ..plan.clone()
        };
        self.keeps_what_is_read_by(&condition)
    }
}

/// The decoder's name of a general register; nothing for what every instruction changes.
fn full(register: Reg) -> Option<Register> {
    Some(match register {
        Reg::Rax => Register::RAX,
        Reg::Rbx => Register::RBX,
        Reg::Rcx => Register::RCX,
        Reg::Rdx => Register::RDX,
        Reg::Rsi => Register::RSI,
        Reg::Rdi => Register::RDI,
        Reg::Rbp => Register::RBP,
        Reg::Rsp => Register::RSP,
        Reg::R8 => Register::R8,
        Reg::R9 => Register::R9,
        Reg::R10 => Register::R10,
        Reg::R11 => Register::R11,
        Reg::R12 => Register::R12,
        Reg::R13 => Register::R13,
        Reg::R14 => Register::R14,
        Reg::R15 => Register::R15,
        Reg::Rip | Reg::Rflags => return None,
    })
}
