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
pub(super) fn cost_at(binary: &Binary, addr: FileAddr) -> Option<Cost> {
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
    later_in(&code, pc, statement.end.min(function.end))
}

/// As [`later`], before `end`.
fn later_in(code: &FunctionCode, pc: FileAddr, end: FileAddr) -> Option<Later> {
    let start = code.instructions.binary_search_by_key(&pc.0, Instruction::ip).ok()?;
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
                RootSource::Stack { .. } | RootSource::Absolute { .. } | RootSource::Hit(_) => {}
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

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: FileAddr = FileAddr(0x40_1000);

    /// How far the probe moves, in bytes, and which registers change on the way.
    fn moves(bytes: &[u8]) -> Option<(u64, Vec<Register>)> {
        let code = FunctionCode::decode(bytes, BASE).expect("the bytes decode");
        let later = later_in(&code, BASE, FileAddr(BASE.0 + bytes.len() as u64))?;
        Some((later.addr.0 - BASE.0, later.written))
    }

    #[test]
    fn a_probe_moves_over_what_reads_the_frame() {
        // mov rax, [rsp+0x18]; cmp rax, 5; jle +0; ret
        let code = [0x48, 0x8b, 0x44, 0x24, 0x18, 0x48, 0x83, 0xf8, 0x05, 0x7e, 0x00, 0xc3];
        assert_eq!(moves(&code), Some((9, vec![Register::RAX])));
        // lea rbx, [rip+0]; mov ecx, 3; call +0; ret
        let code = [
            0x48, 0x8d, 0x1d, 0, 0, 0, 0, 0xb9, 0x03, 0, 0, 0, 0xe8, 0, 0, 0, 0, 0xc3,
        ];
        assert_eq!(moves(&code), Some((12, vec![Register::RBX, Register::RCX])));
    }

    #[test]
    fn a_probe_stays_where_something_would_be_missed() {
        // The statement's own write: mov [rsp+0x18], rax; call +0
        assert_eq!(moves(&[0x48, 0x89, 0x44, 0x24, 0x18, 0xe8, 0, 0, 0, 0]), None);
        // A pointer that may be nil: mov rax, [rax]; call +0
        assert_eq!(moves(&[0x48, 0x8b, 0x00, 0xe8, 0, 0, 0, 0]), None);
        // A division that may fault: idiv rcx; call +0
        assert_eq!(moves(&[0x48, 0xf7, 0xf9, 0xe8, 0, 0, 0, 0]), None);
        // The stack pointer: add rsp, 8; call +0
        assert_eq!(moves(&[0x48, 0x83, 0xc4, 0x08, 0xe8, 0, 0, 0, 0]), None);
        // Another way to the same place: inc rax; inc rcx (from the jump behind); jmp to it
        assert_eq!(moves(&[0x48, 0xff, 0xc0, 0x48, 0xff, 0xc1, 0xeb, 0xfb]), None);
        // The first instruction is emulated itself: call +0
        assert_eq!(moves(&[0xe8, 0, 0, 0, 0]), None);
    }

    #[test]
    fn what_a_plan_reads_must_not_change_on_the_way() {
        let later = Later {
            addr: BASE,
            written: vec![Register::RAX],
        };
        let plan = |register| Plan {
            roots: vec![spelunk_bpf::Root {
                source: RootSource::Register(register),
                size: 8,
            }],
            follows: Vec::new(),
            goroutine: spelunk_bpf::GoroutineSource::R14,
            runtime: spelunk_bpf::RuntimeOffsets::default(),
            max_record: 256,
            gate: spelunk_bpf::Gate::default(),
            stops: false,
        };
        assert!(later.keeps_what_is_read_by(&plan(Reg::Rbx)));
        assert!(!later.keeps_what_is_read_by(&plan(Reg::Rax)));
        assert!(!later.keeps_what_is_read_by(&plan(Reg::Rip)));
        let mut conditional = plan(Reg::Rax);
        assert!(later.keeps_what_the_condition_reads(&conditional));
        conditional.gate.condition = Some(spelunk_bpf::Condition::Compare {
            comparison: spelunk_bpf::Comparison::Equal,
            signed: true,
            left: spelunk_bpf::Term::Register(Reg::Rax),
            right: spelunk_bpf::Term::Const(1),
        });
        assert!(!later.keeps_what_the_condition_reads(&conditional));
    }
}
