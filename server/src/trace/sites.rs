//! Where in a function's code to put probes.
//!
//! A call is probed behind the stack check, because the instructions before it run again after the stack has grown, on an instruction that the kernel
//! emulates rather than single-steps: `push %rbp` in every function with a frame. A return is probed on each `ret`; a uretprobe would replace return
//! addresses, which Go's stack copying and tracebacks do not survive.

use std::collections::BTreeSet;

use iced_x86::{
    Code, Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind,
    Register,
};
use spelunk_dwarf::FileAddr;

/// How many instructions behind the stack check are looked at for a cheaper site.
const LOOK_AHEAD: usize = 8;
/// How many instructions the prologue's spills of floating-point registers are followed.
const SPILL_WINDOW: usize = 96;

/// How the kernel runs the instruction under a probe (arch/x86/kernel/uprobes.c).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cost {
    /// Emulated in the trap: about half a microsecond in all.
    Emulated,
    /// Single-stepped out of line: a second trap, which a virtual machine makes expensive.
    Stepped,
}

/// Where a call is seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EntrySite {
    /// The probed instruction.
    pub(crate) addr: FileAddr,
    /// The canonical frame address is rsp plus this.
    pub(crate) cfa_offset: i64,
    /// What the probe costs.
    pub(crate) cost: Cost,
    /// Floating-point registers that were stored before the site: register number and offset from the canonical frame address.
    pub(crate) float_homes: Vec<(usize, i64)>,
}

/// Where a return is seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReturnSite {
    /// The `ret`.
    pub(crate) ret: FileAddr,
    /// The first instruction of the epilogue before it, where the frame is still whole, and the offset of the canonical frame address from rsp there.
    pub(crate) epilogue: Option<(FileAddr, i64)>,
}

/// Where a function calls the runtime to grow its stack, after which it begins again.
///
/// Around that call the compiler saves and restores only the argument registers that the function uses. The others hold anything afterwards, and DWARF does not say so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StackGrowth {
    /// The call, at which the arguments are still whole and rsp is as at the entry.
    pub(crate) call: FileAddr,
    /// The general registers that are saved, in full width.
    saved: Vec<Register>,
    /// The floating-point registers that are saved, by their numbers.
    saved_floats: Vec<usize>,
}

impl StackGrowth {
    /// Whether the n-th integer register of the calling convention survives.
    pub(crate) fn saves(&self, n: usize) -> bool {
        ARGUMENTS.get(n).is_some_and(|register| self.saved.contains(register))
    }

    /// Whether the n-th floating-point register survives.
    pub(crate) fn saves_float(&self, n: usize) -> bool {
        self.saved_floats.contains(&n)
    }
}

/// The integer registers of the calling convention, in order.
const ARGUMENTS: [Register; super::abi::INTEGER_REGISTERS] = [
    Register::RAX,
    Register::RBX,
    Register::RCX,
    Register::RDI,
    Register::RSI,
    Register::R8,
    Register::R9,
    Register::R10,
    Register::R11,
];

/// Why a function's calls cannot be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SiteError {
    /// The binary has no bytes there, or they do not decode.
    #[error("its code cannot be decoded")]
    Undecodable,
    /// A probe on the first instruction would count passes of a loop as calls.
    #[error("its first instruction is also the head of a loop, so calls cannot be told from passes of the loop")]
    LoopAtEntry,
    /// Arguments that the growth of the stack overwrites could not be told from those that it keeps.
    #[error(
        "it checks its stack in a way that is not known, so arguments that the growth of the stack overwrites could be shown"
    )]
    UnknownStackGrowth,
}

/// A function's code, decoded once.
pub(crate) struct FunctionCode {
    pub(super) instructions: Vec<Instruction>,
    /// Where its jumps go.
    pub(super) targets: BTreeSet<u64>,
}

impl FunctionCode {
    /// Decodes the code of a function that begins at `entry`.
    pub(crate) fn decode(code: &[u8], entry: FileAddr) -> Result<FunctionCode, SiteError> {
        let mut decoder = Decoder::with_ip(64, code, entry.0, DecoderOptions::NONE);
        let mut instructions = Vec::with_capacity(code.len() / 4);
        let mut targets = BTreeSet::new();
        while decoder.can_decode() {
            let instruction = decoder.decode();
            if instruction.is_invalid() {
                // Padding and, rarely, data follow the last instruction; nothing behind them is reached by falling through.
                break;
            }
            if matches!(
                instruction.flow_control(),
                FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch
            ) && instruction.op0_kind() == OpKind::NearBranch64
            {
                targets.insert(instruction.near_branch64());
            }
            instructions.push(instruction);
        }
        if instructions.is_empty() {
            Err(SiteError::Undecodable)
        } else {
            Ok(FunctionCode { instructions, targets })
        }
    }

    /// Chooses where calls are seen. `floats` are the floating-point registers that carry arguments: the site then lies behind the instructions that store them, where there are any.
    pub(crate) fn entry_site(&self, floats: &[usize]) -> Result<EntrySite, SiteError> {
        let after_check = self.after_stack_check();
        let start = after_check.unwrap_or(0);
        let first = self.instructions.get(start).ok_or(SiteError::Undecodable)?;
        if after_check.is_none() && self.targets.contains(&first.ip()) {
            return Err(SiteError::LoopAtEntry);
        }
        if !floats.is_empty()
            && let Some(site) = self.behind_float_spills(start, floats)
        {
            return Ok(site);
        }
        let chosen = self.cheap_site(start).unwrap_or(start);
        let site = &self.instructions[chosen];
        Ok(EntrySite {
            addr: FileAddr(site.ip()),
            cfa_offset: 8,
            cost: cost(site),
            float_homes: Vec::new(),
        })
    }

    /// Each `ret`.
    pub(crate) fn return_sites(&self) -> Vec<ReturnSite> {
        let is_ret = |instruction: &Instruction| matches!(instruction.mnemonic(), Mnemonic::Ret);
        let rets = self
            .instructions
            .iter()
            .enumerate()
            .filter(|(_, instruction)| is_ret(instruction));
        rets.map(|(i, ret)| ReturnSite {
            ret: FileAddr(ret.ip()),
            epilogue: self.epilogue_before(i),
        })
        .collect()
    }

    /// `add rsp, N; pop rbp; ret`: before the first of them rsp is N + 16 below the canonical frame address. The assembler may pad the `ret` as it pads calls.
    fn epilogue_before(&self, ret: usize) -> Option<(FileAddr, i64)> {
        let mut before = self.instructions.get(..ret)?.iter().enumerate().rev();
        let mut previous = || before.find(|(_, instruction)| instruction.mnemonic() != Mnemonic::Nop);
        let ((_, pop), (first, add)) = (previous()?, previous()?);
        if pop.code() != Code::Pop_r64 || pop.op0_register() != Register::RBP {
            return None;
        }
        if add.op0_kind() != OpKind::Register || add.op0_register() != Register::RSP {
            return None;
        }
        // Who jumps behind the first instruction does not pass it.
        let behind = self.instructions.get(first + 1..=ret)?;
        if behind
            .iter()
            .any(|instruction| self.targets.contains(&instruction.ip()))
        {
            return None;
        }
        match add.mnemonic() {
            Mnemonic::Add => Some((FileAddr(add.ip()), add.immediate(1) as i64 + 16)),
            // The compiler writes `add rsp, 128` as `sub rsp, -128`, which is shorter.
            Mnemonic::Sub => Some((FileAddr(add.ip()), 16 - add.immediate(1) as i64)),
            _ => None,
        }
    }

    /// The index of the first instruction behind the stack check: the comparison with `g.stackguard0` (16(R14)) and its jump.
    fn after_stack_check(&self) -> Option<usize> {
        let compares_guard = |instruction: &Instruction| {
            instruction.mnemonic() == Mnemonic::Cmp
                && instruction.memory_base() == Register::R14
                && matches!(instruction.memory_displacement64(), 0x10 | 0x18)
        };
        let compare = self.instructions.iter().take(6).position(compares_guard)?;
        let jump = self.instructions.get(compare + 1)?;
        (jump.flow_control() == FlowControl::ConditionalBranch).then_some(compare + 2)
    }

    /// Where the stack is grown, or nothing for a function that does not check it. It is an error if the function checks its stack and the growth is not found,
    /// for then nobody knows which arguments survive it.
    pub(crate) fn stack_growth(&self) -> Result<Option<StackGrowth>, SiteError> {
        let Some(after) = self.after_stack_check() else {
            return Ok(None);
        };
        let check = after.checked_sub(1).and_then(|check| self.instructions.get(check));
        let growth = check.and_then(|check| self.growth_at(check.near_branch64()));
        growth.map(Some).ok_or(SiteError::UnknownStackGrowth)
    }

    /// The stores of argument registers that begin at `target`, and the call behind them.
    fn growth_at(&self, target: u64) -> Option<StackGrowth> {
        let start = self.instructions.binary_search_by_key(&target, Instruction::ip).ok()?;
        let (mut saved, mut saved_floats) = (Vec::new(), Vec::new());
        for instruction in self.instructions.get(start..)? {
            if instruction.flow_control() == FlowControl::Call {
                return Some(StackGrowth {
                    call: FileAddr(instruction.ip()),
                    saved,
                    saved_floats,
                });
            }
            // The assembler pads calls so that they do not straddle or end at a 32-byte boundary (cmd/internal/obj/x86/asm6.go, padJump).
            if instruction.mnemonic() == Mnemonic::Nop {
                continue;
            }
            let stores = instruction.op0_kind() == OpKind::Memory && instruction.memory_base() == Register::RSP;
            if instruction.flow_control() != FlowControl::Next || !stores {
                return None;
            }
            if instruction.op1_kind() == OpKind::Register && instruction.op1_register().is_gpr() {
                saved.push(instruction.op1_register().full_register());
            }
            saved_floats.extend(float_store(instruction).map(|(register, _)| register));
        }
        None
    }

    /// An emulated instruction at or soon behind `start`, such that nothing on the way there changes a register that may carry an argument, or memory.
    fn cheap_site(&self, start: usize) -> Option<usize> {
        let mut factory = InstructionInfoFactory::new();
        for i in start..(start + LOOK_AHEAD).min(self.instructions.len()) {
            let instruction = &self.instructions[i];
            if i != start && self.targets.contains(&instruction.ip()) {
                return None;
            }
            if cost(instruction) == Cost::Emulated {
                return Some(i);
            }
            if !is_harmless(instruction, &mut factory) {
                return None;
            }
        }
        None
    }

    /// Follows the prologue and notes where it stores the wanted floating-point registers; the site is the instruction behind the last such store.
    fn behind_float_spills(&self, start: usize, floats: &[usize]) -> Option<EntrySite> {
        let mut factory = InstructionInfoFactory::new();
        let mut cfa_offset = 8i64;
        let mut homes: Vec<(usize, i64)> = Vec::new();
        let mut found = None;
        for i in start..(start + SPILL_WINDOW).min(self.instructions.len()) {
            let instruction = &self.instructions[i];
            if i != start && self.targets.contains(&instruction.ip()) {
                break;
            }
            if let Some((register, offset)) = float_store(instruction) {
                if floats.contains(&register) && !homes.iter().any(|(known, _)| *known == register) {
                    homes.push((register, offset - cfa_offset));
                    let next = self.instructions.get(i + 1)?;
                    if self.targets.contains(&next.ip()) {
                        break;
                    }
                    found = Some(EntrySite {
                        addr: FileAddr(next.ip()),
                        cfa_offset,
                        cost: cost(next),
                        float_homes: homes.clone(),
                    });
                }
                continue;
            }
            match instruction.mnemonic() {
                Mnemonic::Push => cfa_offset += 8,
                Mnemonic::Sub
                    if instruction.op0_kind() == OpKind::Register && instruction.op0_register() == Register::RSP =>
                {
                    cfa_offset += instruction.immediate(1) as i64;
                }
                Mnemonic::Add
                    if instruction.op0_kind() == OpKind::Register && instruction.op0_register() == Register::RSP =>
                {
                    cfa_offset -= instruction.immediate(1) as i64;
                }
                // Spills of the other arguments and clearing of locals change memory of this frame alone.
                _ if is_frame_store(instruction) => {}
                _ if is_harmless(instruction, &mut factory) => {}
                _ => break,
            }
        }
        found
    }
}

/// A store of the low end of a floating-point register to the stack: the register's number and the offset from rsp.
fn float_store(instruction: &Instruction) -> Option<(usize, i64)> {
    let stores = matches!(
        instruction.mnemonic(),
        Mnemonic::Movsd | Mnemonic::Movss | Mnemonic::Movups
    );
    let to_stack = instruction.op0_kind() == OpKind::Memory
        && instruction.memory_base() == Register::RSP
        && instruction.memory_index() == Register::None;
    if !stores || !to_stack || instruction.op1_kind() != OpKind::Register || !instruction.op1_register().is_xmm() {
        return None;
    }
    // X15 is Go's zero register: storing it clears a local.
    let number = instruction.op1_register().number();
    (number < 15).then_some((number, instruction.memory_displacement64() as i64))
}

/// A `mov` of a register or constant to the stack.
fn is_frame_store(instruction: &Instruction) -> bool {
    matches!(instruction.mnemonic(), Mnemonic::Mov | Mnemonic::Movups)
        && instruction.op0_kind() == OpKind::Memory
        && instruction.memory_base() == Register::RSP
        && instruction.memory_index() == Register::None
}

/// Whether everything a probe may want is the same after the instruction: arguments' registers, rsp, g, and memory; and whether it is sure to get there, which
/// an instruction that reads through a pointer is not.
fn is_harmless(instruction: &Instruction, factory: &mut InstructionInfoFactory) -> bool {
    if instruction.flow_control() != FlowControl::Next {
        return false;
    }
    let writes = |access: OpAccess| {
        !matches!(
            access,
            OpAccess::None | OpAccess::Read | OpAccess::CondRead | OpAccess::NoMemAccess
        )
    };
    let info = factory.info(instruction);
    let sure = |register: Register| matches!(register, Register::RSP | Register::R14 | Register::RIP | Register::None);
    let keeps_memory = info
        .used_memory()
        .iter()
        .all(|memory| !writes(memory.access()) && sure(memory.base()) && memory.index() == Register::None);
    let free = |register: Register| {
        matches!(
            register.full_register(),
            Register::RBP | Register::R12 | Register::R13 | Register::R15 | Register::RDX
        )
    };
    let keeps_registers = info
        .used_registers()
        .iter()
        .filter(|used| writes(used.access()))
        .all(|used| free(used.register()) || used.register().is_xmm() && used.register().number() == 15);
    keeps_memory && keeps_registers
}

/// How the kernel runs a probed instruction: jumps, calls by offset, pushes of a register and the one-byte nop are emulated, all else is single-stepped.
pub(super) fn cost(instruction: &Instruction) -> Cost {
    let emulated = match instruction.mnemonic() {
        Mnemonic::Push => instruction.op0_kind() == OpKind::Register && instruction.op0_register().is_gpr64(),
        Mnemonic::Nop => instruction.code() == Code::Nopd && instruction.len() == 1,
        Mnemonic::Call | Mnemonic::Jmp => instruction.op0_kind() == OpKind::NearBranch64,
        _ => instruction.flow_control() == FlowControl::ConditionalBranch && instruction.is_jcc_short_or_near(),
    };
    if emulated { Cost::Emulated } else { Cost::Stepped }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: FileAddr = FileAddr(0x40_1000);

    fn code(bytes: &[u8]) -> FunctionCode {
        FunctionCode::decode(bytes, BASE).expect("the bytes decode")
    }

    #[test]
    fn a_call_is_seen_behind_the_stack_check() {
        // cmp rsp, 16(r14); jbe +..; push rbp; mov rbp, rsp; sub rsp, 32; add rsp, 32; pop rbp; ret
        let function = code(&[
            0x49, 0x3b, 0x66, 0x10, 0x76, 0x0e, 0x55, 0x48, 0x89, 0xe5, 0x48, 0x83, 0xec, 0x20, 0x48, 0x83, 0xc4, 0x20,
            0x5d, 0xc3,
        ]);
        let site = function.entry_site(&[]).expect("a site");
        assert_eq!(
            (site.addr, site.cfa_offset, site.cost),
            (FileAddr(BASE.0 + 6), 8, Cost::Emulated)
        );
        let returns = function.return_sites();
        assert_eq!(
            returns,
            [ReturnSite {
                ret: FileAddr(BASE.0 + 19),
                epilogue: Some((FileAddr(BASE.0 + 14), 48))
            }]
        );
    }

    #[test]
    fn an_epilogue_is_found_before_a_padded_return() {
        // push rbp; mov rbp, rsp; sub rsp, 32; add rsp, 32; pop rbp; nop; ret
        let function = code(&[
            0x55, 0x48, 0x89, 0xe5, 0x48, 0x83, 0xec, 0x20, 0x48, 0x83, 0xc4, 0x20, 0x5d, 0x66, 0x90, 0xc3,
        ]);
        assert_eq!(
            function.return_sites(),
            [ReturnSite {
                ret: FileAddr(BASE.0 + 15),
                epilogue: Some((FileAddr(BASE.0 + 8), 48))
            }]
        );
    }

    #[test]
    fn what_survives_the_growth_of_the_stack_is_known() {
        // cmp rsp, 16(r14); jbe +6; push rbp; mov rbp, rsp; pop rbp; ret; mov [rsp+16], rbx; call +0; mov rbx, [rsp+16]; jmp -31
        let function = code(&[
            0x49, 0x3b, 0x66, 0x10, 0x76, 0x06, 0x55, 0x48, 0x89, 0xe5, 0x5d, 0xc3, 0x48, 0x89, 0x5c, 0x24, 0x10, 0xe8,
            0, 0, 0, 0, 0x48, 0x8b, 0x5c, 0x24, 0x10, 0xeb, 0xe3,
        ]);
        let growth = function
            .stack_growth()
            .expect("the growth is found")
            .expect("the stack is checked");
        assert_eq!(growth.call, FileAddr(BASE.0 + 17));
        assert!(!growth.saves(0) && growth.saves(1) && !growth.saves(2));
        assert_eq!(code(&[0x55, 0x5d, 0xc3]).stack_growth(), Ok(None));
    }

    #[test]
    fn floating_point_registers_survive_the_growth_of_the_stack_only_where_they_are_saved() {
        // cmp rsp, 16(r14); jbe +6; push rbp; mov rbp, rsp; pop rbp; ret; movsd [rsp+8], xmm1; call +0
        let function = code(&[
            0x49, 0x3b, 0x66, 0x10, 0x76, 0x06, 0x55, 0x48, 0x89, 0xe5, 0x5d, 0xc3, 0xf2, 0x0f, 0x11, 0x4c, 0x24, 0x08,
            0xe8, 0, 0, 0, 0,
        ]);
        let growth = function
            .stack_growth()
            .expect("the growth is found")
            .expect("the stack is checked");
        assert!(!growth.saves_float(0) && growth.saves_float(1) && !growth.saves(0));
    }

    #[test]
    fn padding_in_front_of_the_call_that_grows_the_stack_is_passed_over() {
        // cmp rsp, 16(r14); jbe +6; push rbp; mov rbp, rsp; pop rbp; ret; mov [rsp+16], rbx; PADDING; call +0
        let paddings: [&[u8]; 3] = [&[0x90], &[0x66, 0x90], &[0x0f, 0x1f, 0x44, 0x00, 0x00]];
        for padding in paddings {
            let head = [
                0x49, 0x3b, 0x66, 0x10, 0x76, 0x06, 0x55, 0x48, 0x89, 0xe5, 0x5d, 0xc3, 0x48, 0x89, 0x5c, 0x24, 0x10,
            ];
            let bytes = [&head[..], padding, &[0xe8, 0, 0, 0, 0]].concat();
            let growth = code(&bytes)
                .stack_growth()
                .expect("the growth is found")
                .expect("the stack is checked");
            assert_eq!(growth.call, FileAddr(BASE.0 + 17 + padding.len() as u64));
            assert!(!growth.saves(0) && growth.saves(1));
        }
    }

    #[test]
    fn a_growth_of_the_stack_that_is_not_understood_is_an_error() {
        // cmp rsp, 16(r14); jbe +2; pop rbp; ret; inc rax; call +0
        let bytes = [
            0x49, 0x3b, 0x66, 0x10, 0x76, 0x02, 0x5d, 0xc3, 0x48, 0xff, 0xc0, 0xe8, 0, 0, 0, 0,
        ];
        assert_eq!(code(&bytes).stack_growth(), Err(SiteError::UnknownStackGrowth));
    }

    #[test]
    fn a_frameless_leaf_is_seen_at_its_first_cheap_instruction() {
        // test rax, rax; jle +3; inc rax; ret; ret
        let function = code(&[0x48, 0x85, 0xc0, 0x7e, 0x04, 0x48, 0xff, 0xc0, 0xc3, 0xc3]);
        let site = function.entry_site(&[]).expect("a site");
        assert_eq!((site.addr, site.cost), (FileAddr(BASE.0 + 3), Cost::Emulated));
        // cmp qword [rax], 0 may fault, and then the call would not be seen.
        let function = code(&[0x48, 0x83, 0x38, 0x00, 0x75, 0x01, 0xc3, 0xc3]);
        assert_eq!(function.entry_site(&[]).expect("a site").addr, BASE);
        // mov [rsp+16], rbx changes memory, so the site stays before it.
        let function = code(&[0x48, 0x89, 0x5c, 0x24, 0x10, 0x7e, 0x01, 0xc3, 0xc3]);
        assert_eq!(function.entry_site(&[]).expect("a site").addr, BASE);
    }

    #[test]
    fn a_loop_at_the_entry_is_refused() {
        // dec rax; jne -5; ret
        assert_eq!(
            code(&[0x48, 0xff, 0xc8, 0x75, 0xfb, 0xc3]).entry_site(&[]),
            Err(SiteError::LoopAtEntry)
        );
    }

    #[test]
    fn floating_point_arguments_are_read_where_they_were_stored() {
        // push rbp; mov rbp, rsp; sub rsp, 16; movsd [rsp+0x20], xmm0; mov [rsp+0x28], rax; ret
        let function = code(&[
            0x55, 0x48, 0x89, 0xe5, 0x48, 0x83, 0xec, 0x10, 0xf2, 0x0f, 0x11, 0x44, 0x24, 0x20, 0x48, 0x89, 0x44, 0x24,
            0x28, 0xc3,
        ]);
        let site = function.entry_site(&[0]).expect("a site");
        assert_eq!(site.addr, FileAddr(BASE.0 + 14));
        assert_eq!(site.cfa_offset, 32);
        assert_eq!(site.float_homes, [(0, 0)]);
    }
}
