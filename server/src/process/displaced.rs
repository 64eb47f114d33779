//! How an instruction is executed while an int3 lies over it.
//!
//! Jumps and no-operations change registers at most, and are worked out here. Everything else runs as a copy in a *slot*: the same bytes elsewhere, with
//! the displacement of an operand relative to the instruction pointer corrected, and a jump to the following instruction behind. A call would push the
//! slot's address, so its slot pushes the return address as a constant and jumps. None of this takes more than the registers set and the thread let go.

use iced_x86::{Code, ConditionCode, Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind, Register};
use libc::user_regs_struct;

/// The room for one instruction in a slot; the longest code is that of an indirect call.
pub(super) const SLOT_SIZE: u64 = 32;
/// The longest instruction of the architecture.
pub(super) const MAX_INSTRUCTION: usize = 15;

/// How one instruction is executed away from its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Displaced {
    /// By setting registers.
    Emulated(Emulation),
    /// By a copy in a slot.
    Copied(Copied),
}

/// The effect of an instruction that touches no memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Emulation {
    /// Goes on at an address.
    Goto(u64),
    /// Goes on at `taken` if the flags are so, else at `next`.
    If {
        /// On which flags.
        condition: ConditionCode,
        /// The target of the jump.
        taken: u64,
        /// The instruction behind.
        next: u64,
    },
    /// `jrcxz`, `jecxz` and the loops.
    Counter {
        /// How RCX is looked at, and changed.
        test: CounterTest,
        /// The target of the jump.
        taken: u64,
        /// The instruction behind.
        next: u64,
    },
}

/// What a jump on the counter register does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CounterTest {
    /// Jumps if RCX is zero.
    Rcx,
    /// Jumps if ECX is zero.
    Ecx,
    /// Decrements RCX, and jumps if it is not zero and, where given, the zero flag is so.
    Loop(Option<bool>),
}

/// Code for a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Copied {
    /// The instruction's own bytes, or for an indirect call those of a jump to the same operand.
    bytes: Vec<u8>,
    /// Where in `bytes` a 32-bit displacement relative to the instruction pointer lies, and the address that it means.
    relative: Option<(usize, u64)>,
    /// The instruction behind the original.
    next: u64,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Plain,
    /// A system call, or a repeated string instruction: it may be interrupted half-way and begun again.
    Restarting,
    /// A call of a fixed address.
    CallOf(u64),
    /// A call through a register or memory.
    CallThrough,
}

/// Where in its slot a thread stands, in terms of the original code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// The instruction has not been executed; so many bytes must be taken off the stack again to be as before it.
    Before {
        /// Bytes pushed by the first half of a call.
        pushed: u64,
    },
    /// It has been executed, and this is the next.
    After(u64),
}

/// Why no site can be at an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CannotDisplace {
    /// Not the beginning of an instruction, or memory that holds none.
    #[error("there is no instruction")]
    NotAnInstruction,
    /// An instruction of a kind that compilers for user programs do not emit.
    #[error("its instruction cannot be executed elsewhere")]
    Unsupported,
    /// The slot lies too far away.
    #[error("no memory near enough is free")]
    TooFar,
}

/// `push imm32` and `mov dword ptr [rsp+4], imm32`
const PUSH_LEN: u64 = 5;

/// Works out how the instruction at `addr` is executed elsewhere. `bytes` are those of the program without any int3 of ours, up to [`MAX_INSTRUCTION`].
pub(super) fn displace(addr: u64, bytes: &[u8]) -> Result<Displaced, CannotDisplace> {
    let mut decoder = Decoder::with_ip(64, bytes, addr, DecoderOptions::NONE);
    let instruction = decoder.decode();
    if instruction.is_invalid() {
        return Err(CannotDisplace::NotAnInstruction);
    }
    let next = instruction.next_ip();
    let own = bytes.get(..instruction.len()).ok_or(CannotDisplace::NotAnInstruction)?;
    let offsets = decoder.get_constant_offsets(&instruction);
    let relative = if instruction.is_ip_rel_memory_operand() {
        if instruction.memory_base() == Register::EIP || offsets.displacement_size() != 4 {
            return Err(CannotDisplace::Unsupported);
        }
        Some((offsets.displacement_offset(), instruction.ip_rel_memory_address()))
    } else {
        None
    };
    let copied = |bytes: Vec<u8>, kind| {
        Displaced::Copied(Copied {
            bytes,
            relative,
            next,
            kind,
        })
    };
    if instruction.code() == Code::Int3 {
        // The program's own breakpoint: we have stopped for it, and it does nothing else.
        return Ok(Displaced::Emulated(Emulation::Goto(next)));
    }
    match instruction.flow_control() {
        FlowControl::UnconditionalBranch => {
            let target = near_target(&instruction)?;
            Ok(Displaced::Emulated(Emulation::Goto(target)))
        }
        FlowControl::ConditionalBranch => conditional(&instruction, next).map(Displaced::Emulated),
        FlowControl::Call if matches!(instruction.mnemonic(), Mnemonic::Syscall | Mnemonic::Sysenter) => {
            Ok(copied(own.to_vec(), Kind::Restarting))
        }
        FlowControl::Call => {
            let target = near_target(&instruction)?;
            Ok(copied(Vec::new(), Kind::CallOf(target)))
        }
        FlowControl::IndirectCall => {
            let on_stack = instruction.memory_base() == Register::RSP || instruction.op0_register() == Register::RSP;
            if on_stack || !matches!(instruction.code(), Code::Call_rm64) {
                return Err(CannotDisplace::Unsupported);
            }
            let mut jump = own.to_vec();
            let modrm = opcode_ff(own).ok_or(CannotDisplace::Unsupported)? + 1;
            let modrm = jump.get_mut(modrm).ok_or(CannotDisplace::Unsupported)?;
            // FF /2 is a call, FF /4 a jump to the same operand.
            *modrm = (*modrm & !0x38) | (4 << 3);
            Ok(copied(jump, Kind::CallThrough))
        }
        FlowControl::XbeginXabortXend => Err(CannotDisplace::Unsupported),
        FlowControl::IndirectBranch if !matches!(instruction.code(), Code::Jmp_rm64) => {
            Err(CannotDisplace::Unsupported)
        }
        FlowControl::Return if !matches!(instruction.mnemonic(), Mnemonic::Ret) => Err(CannotDisplace::Unsupported),
        _ if matches!(instruction.mnemonic(), Mnemonic::Nop | Mnemonic::Endbr64) => {
            Ok(Displaced::Emulated(Emulation::Goto(next)))
        }
        _ => {
            let repeated = instruction.has_rep_prefix() || instruction.has_repne_prefix();
            let restarts = (repeated && instruction.is_string_instruction()) || instruction.mnemonic() == Mnemonic::Int;
            Ok(copied(
                own.to_vec(),
                if restarts { Kind::Restarting } else { Kind::Plain },
            ))
        }
    }
}

fn near_target(instruction: &Instruction) -> Result<u64, CannotDisplace> {
    if instruction.op0_kind() == OpKind::NearBranch64 {
        Ok(instruction.near_branch_target())
    } else {
        Err(CannotDisplace::Unsupported)
    }
}

fn conditional(instruction: &Instruction, next: u64) -> Result<Emulation, CannotDisplace> {
    let taken = near_target(instruction)?;
    let test = match instruction.code() {
        Code::Jrcxz_rel8_64 => CounterTest::Rcx,
        Code::Jecxz_rel8_64 => CounterTest::Ecx,
        Code::Loop_rel8_64_RCX => CounterTest::Loop(None),
        Code::Loope_rel8_64_RCX => CounterTest::Loop(Some(true)),
        Code::Loopne_rel8_64_RCX => CounterTest::Loop(Some(false)),
        _ if instruction.condition_code() != ConditionCode::None => {
            return Ok(Emulation::If {
                condition: instruction.condition_code(),
                taken,
                next,
            });
        }
        _ => return Err(CannotDisplace::Unsupported),
    };
    Ok(Emulation::Counter { test, taken, next })
}

/// Where the opcode FF lies, behind prefixes.
fn opcode_ff(bytes: &[u8]) -> Option<usize> {
    let prefix = |byte: &u8| matches!(byte, 0x26 | 0x2e | 0x36 | 0x3e | 0x64..=0x67 | 0xf0 | 0xf2 | 0xf3 | 0x40..=0x4f);
    let at = bytes.iter().position(|byte| !prefix(byte))?;
    (bytes.get(at) == Some(&0xff)).then_some(at)
}

/// RFLAGS' zero flag.
const ZERO: u64 = 1 << 6;

/// Whether the flags satisfy a condition (Intel SDM volume 1, appendix B).
fn holds(condition: ConditionCode, flags: u64) -> bool {
    let carry = flags & 1 != 0;
    let parity = flags & (1 << 2) != 0;
    let zero = flags & ZERO != 0;
    let sign = flags & (1 << 7) != 0;
    let overflow = flags & (1 << 11) != 0;
    match condition {
        ConditionCode::None => true,
        ConditionCode::o => overflow,
        ConditionCode::no => !overflow,
        ConditionCode::b => carry,
        ConditionCode::ae => !carry,
        ConditionCode::e => zero,
        ConditionCode::ne => !zero,
        ConditionCode::be => carry || zero,
        ConditionCode::a => !carry && !zero,
        ConditionCode::s => sign,
        ConditionCode::ns => !sign,
        ConditionCode::p => parity,
        ConditionCode::np => !parity,
        ConditionCode::l => sign != overflow,
        ConditionCode::ge => sign == overflow,
        ConditionCode::le => zero || sign != overflow,
        ConditionCode::g => !zero && sign == overflow,
    }
}

impl Emulation {
    /// Does what the instruction does.
    pub(super) fn apply(&self, registers: &mut user_regs_struct) {
        let (jumps, taken, next) = match self {
            Emulation::Goto(target) => (true, *target, *target),
            Emulation::If { condition, taken, next } => (holds(*condition, registers.eflags), *taken, *next),
            Emulation::Counter { test, taken, next } => {
                let jumps = match test {
                    CounterTest::Rcx => registers.rcx == 0,
                    CounterTest::Ecx => registers.rcx as u32 == 0,
                    CounterTest::Loop(wanted) => {
                        registers.rcx = registers.rcx.wrapping_sub(1);
                        registers.rcx != 0 && wanted.is_none_or(|wanted| (registers.eflags & ZERO != 0) == wanted)
                    }
                };
                (jumps, *taken, *next)
            }
        };
        registers.rip = if jumps { taken } else { next };
    }
}

impl Copied {
    /// The code for a slot at `slot`.
    pub(super) fn encode(&self, slot: u64) -> Result<Vec<u8>, CannotDisplace> {
        let mut code = Vec::with_capacity(SLOT_SIZE as usize);
        if self.is_call() {
            push_constant(&mut code, self.next);
        }
        match self.kind {
            Kind::CallOf(target) => jump(&mut code, slot, target)?,
            Kind::Plain | Kind::Restarting | Kind::CallThrough => {
                let begin = code.len();
                code.extend(&self.bytes);
                if let Some((offset, target)) = self.relative {
                    let end = slot.wrapping_add(code.len() as u64);
                    let displacement = distance(end, target)?;
                    let at = begin + offset;
                    code.get_mut(at..at + 4)
                        .ok_or(CannotDisplace::Unsupported)?
                        .copy_from_slice(&displacement.to_le_bytes());
                }
            }
        }
        if !self.is_call() {
            jump(&mut code, slot, self.next)?;
        }
        debug_assert!(code.len() as u64 <= SLOT_SIZE, "{self:?} is {} bytes long", code.len());
        Ok(code)
    }

    /// Where the thread stands whose program counter is `offset` bytes behind the slot's beginning.
    pub(super) fn progress(&self, offset: u64) -> Progress {
        if self.is_call() {
            // Whoever has jumped is out of the slot.
            Progress::Before {
                pushed: if offset >= PUSH_LEN { 8 } else { 0 },
            }
        } else if offset >= self.bytes.len() as u64 {
            Progress::After(self.next)
        } else {
            Progress::Before { pushed: 0 }
        }
    }

    /// Whether it may be interrupted half-way, to be begun again at the same address.
    pub(super) fn restarts(&self) -> bool {
        self.kind == Kind::Restarting
    }

    fn is_call(&self) -> bool {
        matches!(self.kind, Kind::CallOf(_) | Kind::CallThrough)
    }
}

/// Pushes 64 bits without touching a register or a flag.
fn push_constant(code: &mut Vec<u8>, value: u64) {
    let low = value as i32;
    // push imm32, which extends the sign over the upper half.
    code.push(0x68);
    code.extend(low.to_le_bytes());
    if i64::from(low).cast_unsigned() != value {
        // mov dword ptr [rsp+4], imm32
        code.extend([0xc7, 0x44, 0x24, 0x04]);
        code.extend(((value >> 32) as u32).to_le_bytes());
    }
}

/// Jumps from the end of `code`, which begins at `slot`.
fn jump(code: &mut Vec<u8>, slot: u64, target: u64) -> Result<(), CannotDisplace> {
    let end = slot.wrapping_add(code.len() as u64 + 5);
    code.push(0xe9);
    code.extend(distance(end, target)?.to_le_bytes());
    Ok(())
}

fn distance(from: u64, to: u64) -> Result<i32, CannotDisplace> {
    i32::try_from(to.wrapping_sub(from).cast_signed()).map_err(|_| CannotDisplace::TooFar)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: u64 = 0x55_5555_0000;
    const SLOT: u64 = HERE - 0x10_0000;

    fn copied(bytes: &[u8]) -> Copied {
        match displace(HERE, bytes) {
            Ok(Displaced::Copied(copied)) => copied,
            other => panic!("{bytes:x?} is {other:x?}"),
        }
    }

    fn decode(code: &[u8], at: u64) -> Vec<Instruction> {
        Decoder::with_ip(64, code, at, DecoderOptions::NONE)
            .into_iter()
            .collect()
    }

    #[test]
    fn a_plain_instruction_is_copied_with_a_jump_behind() {
        // push rbp
        let plain = copied(&[0x55, 0x90]);
        let code = plain.encode(SLOT).expect("near enough");
        assert_eq!(code[0], 0x55);
        let decoded = decode(&code, SLOT);
        assert_eq!(decoded[1].near_branch_target(), HERE + 1);
        assert_eq!(plain.progress(0), Progress::Before { pushed: 0 });
        assert_eq!(plain.progress(1), Progress::After(HERE + 1));
    }

    #[test]
    fn an_operand_relative_to_the_instruction_pointer_means_the_same_address() {
        // lea rax, [rip+0x1234]; cmp dword ptr [rip+0x40], 7 (an immediate behind the displacement)
        for bytes in [
            &[0x48, 0x8d, 0x05, 0x34, 0x12, 0, 0][..],
            &[0x83, 0x3d, 0x40, 0, 0, 0, 7][..],
        ] {
            let original = decode(bytes, HERE)[0];
            let code = copied(bytes).encode(SLOT).expect("near enough");
            let copy = decode(&code, SLOT);
            assert_eq!(copy[0].code(), original.code());
            assert_eq!(copy[0].ip_rel_memory_address(), original.ip_rel_memory_address());
            assert_eq!(copy[1].near_branch_target(), HERE + bytes.len() as u64);
            assert_eq!(
                copied(bytes).encode(SLOT + (1 << 40)),
                Err(CannotDisplace::TooFar),
                "the displacement has 32 bits"
            );
        }
    }

    #[test]
    fn a_call_pushes_the_original_return_address() {
        // call +0x100
        let call = copied(&[0xe8, 0, 1, 0, 0]);
        let code = call.encode(SLOT).expect("near enough");
        let decoded = decode(&code, SLOT);
        assert_eq!(decoded[0].immediate(0), u64::from((HERE + 5) as u32));
        assert_eq!(decoded[1].immediate(1), (HERE + 5) >> 32);
        assert_eq!(decoded[2].near_branch_target(), HERE + 5 + 0x100);
        assert_eq!(call.progress(0), Progress::Before { pushed: 0 });
        for instruction in &decoded[1..] {
            assert_eq!(
                call.progress(instruction.ip() - SLOT),
                Progress::Before { pushed: 8 },
                "at {instruction}"
            );
        }
    }

    #[test]
    fn an_indirect_call_becomes_a_jump_to_the_same_operand() {
        // call rcx; call [rdx]; call [rip+0x10]; call [r12+r13*8+0x12345678] behind a segment prefix, the longest there is
        for bytes in [
            &[0xff, 0xd1][..],
            &[0xff, 0x12],
            &[0xff, 0x15, 0x10, 0, 0, 0],
            &[0x64, 0x43, 0xff, 0x94, 0xec, 0x78, 0x56, 0x34, 0x12],
        ] {
            let original = decode(bytes, HERE)[0];
            let code = copied(bytes).encode(SLOT).expect("near enough");
            assert!(code.len() as u64 <= SLOT_SIZE);
            let jump = *decode(&code, SLOT).last().expect("a jump");
            assert_eq!(jump.code(), Code::Jmp_rm64);
            assert_eq!(
                (
                    jump.op0_kind(),
                    jump.op0_register(),
                    jump.memory_base(),
                    jump.memory_index(),
                    jump.segment_prefix()
                ),
                (
                    original.op0_kind(),
                    original.op0_register(),
                    original.memory_base(),
                    original.memory_index(),
                    original.segment_prefix()
                )
            );
            assert_eq!(jump.memory_displacement64(), original.memory_displacement64());
        }
    }

    #[test]
    fn what_cannot_be_displaced_is_refused() {
        // call [rsp+8], whose operand the push would move; call rsp; xbegin; iretq; jmp far
        for bytes in [
            &[0xff, 0x54, 0x24, 8][..],
            &[0xff, 0xd4],
            &[0xc7, 0xf8, 0, 0, 0, 0],
            &[0x48, 0xcf],
            &[0xff, 0x28],
        ] {
            assert_eq!(displace(HERE, bytes), Err(CannotDisplace::Unsupported), "{bytes:x?}");
        }
        assert_eq!(displace(HERE, &[0x06]), Err(CannotDisplace::NotAnInstruction));
        assert_eq!(
            displace(HERE, &[0xe8, 0]),
            Err(CannotDisplace::NotAnInstruction),
            "cut off"
        );
        assert_eq!(displace(HERE, &[]), Err(CannotDisplace::NotAnInstruction));
    }

    fn emulate(bytes: &[u8], flags: u64, rcx: u64) -> (u64, u64) {
        let Ok(Displaced::Emulated(emulation)) = displace(HERE, bytes) else {
            panic!("{bytes:x?} is not emulated");
        };
        // SAFETY: the structure is plain numbers, for which zero is a value.
        let mut registers: user_regs_struct = unsafe { std::mem::zeroed() };
        (registers.eflags, registers.rcx, registers.rip) = (flags, rcx, HERE);
        emulation.apply(&mut registers);
        assert_eq!(registers.eflags, flags);
        (registers.rip - HERE, registers.rcx)
    }

    #[test]
    fn jumps_go_where_the_processor_goes() {
        assert_eq!(emulate(&[0x90], 0, 0), (1, 0), "nop");
        assert_eq!(emulate(&[0x0f, 0x1f, 0x44, 0, 0], 0, 0), (5, 0), "a long nop");
        assert_eq!(emulate(&[0xeb, 0x10], 0, 0), (0x12, 0), "jmp");
        assert_eq!(emulate(&[0xe9, 0, 1, 0, 0], 0, 0), (0x105, 0), "jmp");
        assert_eq!(emulate(&[0xcc], 0, 0), (1, 0), "the program's own int3");
        assert_eq!(emulate(&[0xe3, 0x10], 0, 0), (0x12, 0), "jrcxz");
        assert_eq!(emulate(&[0xe3, 0x10], 0, 1 << 40), (2, 1 << 40), "jrcxz");
        assert_eq!(emulate(&[0x67, 0xe3, 0x10], 0, 1 << 40), (0x13, 1 << 40), "jecxz");
        assert_eq!(emulate(&[0xe2, 0x10], 0, 2), (0x12, 1), "loop");
        assert_eq!(emulate(&[0xe2, 0x10], 0, 1), (2, 0), "loop");
        assert_eq!(emulate(&[0xe1, 0x10], 0, 2), (2, 1), "loope without the zero flag");
        assert_eq!(emulate(&[0xe0, 0x10], 0, 2), (0x12, 1), "loopne without the zero flag");
    }

    /// Each condition against the processor itself: `setcc` after `popfq` with the same flags.
    #[test]
    fn conditions_hold_as_for_the_processor() {
        for bits in 0u64..32 {
            let flags = 2
                | (bits & 1)
                | (bits >> 1 & 1) << 2
                | (bits >> 2 & 1) << 6
                | (bits >> 3 & 1) << 7
                | (bits >> 4 & 1) << 11;
            let mut expected = [0u8; 16];
            macro_rules! set {
                ($($number:literal $instruction:literal),*) => {$({
                    let value: u8;
                    // SAFETY: only the flags are changed, which the compiler takes for changed after any assembly.
                    unsafe {
                        std::arch::asm!("push {flags}", "popfq", concat!($instruction, " {value}"), flags = in(reg) flags, value = out(reg_byte) value);
                    }
                    expected[$number] = value;
                })*};
            }
            set!(0 "seto", 1 "setno", 2 "setb", 3 "setae", 4 "sete", 5 "setne", 6 "setbe", 7 "seta", 8 "sets", 9 "setns", 10 "setp", 11 "setnp", 12 "setl", 13 "setge", 14 "setle", 15 "setg");
            for (number, expected) in (0u8..).zip(expected) {
                // jcc rel8
                let (gone, _) = emulate(&[0x70 + number, 0x10], flags, 0);
                assert_eq!(gone == 0x12, expected == 1, "condition {number:x}, flags {flags:x}");
            }
        }
    }
}
