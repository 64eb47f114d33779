//! eBPF instructions: opcodes, registers and helper numbers.
//!
//! Numbers are those of the kernel's `include/uapi/linux/bpf.h` and `bpf_common.h`.

/// One of the eleven registers of the eBPF machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct R(pub(crate) u8);

/// Return value of helpers and programs.
pub(crate) const R0: R = R(0);
/// First argument; the context when a program starts.
pub(crate) const R1: R = R(1);
/// Second argument.
pub(crate) const R2: R = R(2);
/// Third argument.
pub(crate) const R3: R = R(3);
/// Fourth argument.
pub(crate) const R4: R = R(4);
/// Fifth argument.
pub(crate) const R5: R = R(5);
/// First of the registers that survive a helper call.
pub(crate) const R6: R = R(6);
/// Survives a helper call.
pub(crate) const R7: R = R(7);
/// Survives a helper call.
pub(crate) const R8: R = R(8);
/// Survives a helper call.
pub(crate) const R9: R = R(9);
/// Frame pointer: the stack grows down from it, 512 bytes.
pub(crate) const FP: R = R(10);

/// Width of a load or store, as encoded in the opcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    /// 4 bytes, zero-extended on load.
    Word = 0x00,
    /// 2 bytes, zero-extended on load.
    Half = 0x08,
    /// 1 byte, zero-extended on load.
    Byte = 0x10,
    /// 8 bytes.
    Double = 0x18,
}

/// A 64-bit arithmetic operation, as encoded in the opcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alu {
    Add = 0x00,
    Sub = 0x10,
    Mul = 0x20,
    /// Unsigned; a division by zero gives zero.
    Div = 0x30,
    Or = 0x40,
    And = 0x50,
    LeftShift = 0x60,
    RightShift = 0x70,
    /// Unsigned; by zero it leaves the left side.
    Mod = 0x90,
    Xor = 0xa0,
    Move = 0xb0,
    ArithmeticRightShift = 0xc0,
}

/// The condition of a 64-bit jump, as encoded in the opcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cond {
    Equal = 0x10,
    Greater = 0x20,
    GreaterOrEqual = 0x30,
    NotEqual = 0x50,
    SignedGreater = 0x60,
    SignedGreaterOrEqual = 0x70,
    Less = 0xa0,
    LessOrEqual = 0xb0,
    SignedLess = 0xc0,
    SignedLessOrEqual = 0xd0,
}

/// A kernel helper that generated programs call, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Helper {
    MapLookupElem = 1,
    MapUpdateElem = 2,
    MapDeleteElem = 3,
    KtimeGetNs = 5,
    GetSmpProcessorId = 8,
    TailCall = 12,
    GetCurrentPidTgid = 14,
    GetCurrentTask = 35,
    ProbeReadUser = 112,
    ProbeReadKernel = 113,
    SendSignalThread = 117,
    RingbufReserve = 131,
    RingbufSubmit = 132,
    RingbufQuery = 134,
    GetAttachCookie = 174,
    Loop = 181,
}

/// One instruction as the kernel takes it: `struct bpf_insn`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Insn {
    /// Opcode: class, operation or width, and mode.
    pub(crate) code: u8,
    /// Destination register in the low four bits, source in the high four.
    pub(crate) registers: u8,
    /// Offset of a jump (in instructions) or of a memory access (in bytes).
    pub(crate) offset: i16,
    /// Immediate operand.
    pub(crate) immediate: i32,
}

const CLASS_LD: u8 = 0x00;
const CLASS_LDX: u8 = 0x01;
const CLASS_ST: u8 = 0x02;
const CLASS_STX: u8 = 0x03;
const CLASS_JMP: u8 = 0x05;
const CLASS_ALU64: u8 = 0x07;
const MODE_MEM: u8 = 0x60;
const MODE_ATOMIC: u8 = 0xc0;
const SOURCE_REGISTER: u8 = 0x08;
/// `BPF_FETCH`: an atomic operation leaves what was there before in its source register.
const FETCH: i32 = 0x01;
/// `BPF_CMPXCHG`: compares with R0, and leaves what was there before in R0.
const COMPARE_EXCHANGE: i32 = 0xf0 | FETCH;
const OP_CALL: u8 = 0x80;
const OP_EXIT: u8 = 0x90;

impl Insn {
    const fn new(code: u8, dst: R, src: R, offset: i16, immediate: i32) -> Insn {
        Insn {
            code,
            registers: dst.0 | (src.0 << 4),
            offset,
            immediate,
        }
    }

    pub(crate) const fn alu(op: Alu, dst: R, src: R) -> Insn {
        Insn::new(CLASS_ALU64 | SOURCE_REGISTER | op as u8, dst, src, 0, 0)
    }

    pub(crate) const fn alu_imm(op: Alu, dst: R, immediate: i32) -> Insn {
        Insn::new(CLASS_ALU64 | op as u8, dst, R0, 0, immediate)
    }

    pub(crate) const fn load(width: Width, dst: R, src: R, offset: i16) -> Insn {
        Insn::new(CLASS_LDX | MODE_MEM | width as u8, dst, src, offset, 0)
    }

    pub(crate) const fn store(width: Width, dst: R, offset: i16, src: R) -> Insn {
        Insn::new(CLASS_STX | MODE_MEM | width as u8, dst, src, offset, 0)
    }

    pub(crate) const fn store_imm(width: Width, dst: R, offset: i16, immediate: i32) -> Insn {
        Insn::new(CLASS_ST | MODE_MEM | width as u8, dst, R0, offset, immediate)
    }

    /// Adds `src` to 8 bytes of memory, atomically.
    pub(crate) const fn atomic_add(dst: R, offset: i16, src: R) -> Insn {
        Insn::new(CLASS_STX | MODE_ATOMIC | Width::Double as u8, dst, src, offset, 0)
    }

    /// The same, and `src` is then what was there before.
    pub(crate) const fn atomic_fetch_add(dst: R, offset: i16, src: R) -> Insn {
        Insn::new(CLASS_STX | MODE_ATOMIC | Width::Double as u8, dst, src, offset, FETCH)
    }

    /// Writes `src` to 8 bytes of memory if they are R0; R0 is then what was there before.
    pub(crate) const fn atomic_compare_exchange(dst: R, offset: i16, src: R) -> Insn {
        let code = CLASS_STX | MODE_ATOMIC | Width::Double as u8;
        Insn::new(code, dst, src, offset, COMPARE_EXCHANGE)
    }

    /// A jump whose offset is filled in once its label is bound.
    pub(crate) const fn jump() -> Insn {
        Insn::new(CLASS_JMP, R0, R0, 0, 0)
    }

    pub(crate) const fn jump_if(cond: Cond, dst: R, src: R) -> Insn {
        Insn::new(CLASS_JMP | SOURCE_REGISTER | cond as u8, dst, src, 0, 0)
    }

    pub(crate) const fn jump_if_imm(cond: Cond, dst: R, immediate: i32) -> Insn {
        Insn::new(CLASS_JMP | cond as u8, dst, R0, 0, immediate)
    }

    pub(crate) const fn call(helper: Helper) -> Insn {
        Insn::new(CLASS_JMP | OP_CALL, R0, R0, 0, helper as i32)
    }

    pub(crate) const fn exit() -> Insn {
        Insn::new(CLASS_JMP | OP_EXIT, R0, R0, 0, 0)
    }

    /// Whether the offset is that of a jump.
    pub(crate) const fn is_jump(self) -> bool {
        self.code & 0x07 == CLASS_JMP && self.code & 0xf0 != OP_CALL && self.code & 0xf0 != OP_EXIT
    }

    /// Whether it takes two places: a 64-bit immediate.
    pub(crate) const fn is_wide(self) -> bool {
        self.code == CLASS_LD | Width::Double as u8
    }

    /// Whether the next instruction is never the next one run.
    pub(crate) const fn never_falls_through(self) -> bool {
        self.code == CLASS_JMP || self.code == CLASS_JMP | OP_EXIT
    }

    /// The two halves of a 64-bit immediate load. `pseudo` says what the immediate stands for:
    /// a plain number (0), a map's descriptor (1) or a subprogram's position (4).
    pub(crate) const fn load_imm64(dst: R, pseudo: u8, value: u64) -> [Insn; 2] {
        [
            Insn::new(CLASS_LD | Width::Double as u8, dst, R(pseudo), 0, value as i32),
            Insn::new(0, R0, R0, 0, (value >> 32) as i32),
        ]
    }
}

/// `BPF_PSEUDO_MAP_FD`: the immediate is a map's file descriptor.
pub(crate) const PSEUDO_MAP_FD: u8 = 1;
/// `BPF_PSEUDO_FUNC`: the immediate is the distance to a subprogram, in instructions.
pub(crate) const PSEUDO_FUNC: u8 = 4;
