//! The machine code of a function, decoded as far as a step needs it: its calls, and where control goes.

use std::collections::HashMap;
use std::sync::Arc;

use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, OpKind, Register};
use spelunk_dwarf::{Binary, DwarfReg, FileAddr, Function, LoadBias, ProcAddr};

use crate::inspect::Registers;
use crate::value::Memory;

/// A function larger than this is not decoded: no compiler makes one.
const MAX_CODE: u64 = 64 << 20;

/// A function's instructions, in order.
#[derive(Debug, Default)]
pub(super) struct Code {
    /// Addresses are file addresses.
    pub(super) instructions: Vec<Instruction>,
}

/// Decoded functions, by their entry: a user steps through the same ones over and over.
#[derive(Default)]
pub(super) struct CodeCache {
    functions: HashMap<FileAddr, Arc<Code>>,
}

impl CodeCache {
    /// A function's code, from the file: what a debugger has patched into the process is not in it.
    pub(super) fn of(&mut self, binary: &Binary, function: &Function) -> Arc<Code> {
        let code = self.functions.entry(function.entry);
        Arc::clone(code.or_insert_with(|| Arc::new(Code::decode(binary, function))))
    }
}

impl Code {
    /// A function's code, from the file.
    pub(super) fn decode(binary: &Binary, function: &Function) -> Code {
        let size = function.size();
        let bytes = usize::try_from(size)
            .ok()
            .filter(|_| size <= MAX_CODE)
            .and_then(|size| binary.code(function.entry, size));
        Code::from_bytes(bytes.unwrap_or_default(), function.entry)
    }

    /// Decodes machine code that begins at `entry`.
    pub(super) fn from_bytes(bytes: &[u8], entry: FileAddr) -> Code {
        let decoder = Decoder::with_ip(64, bytes, entry.0, DecoderOptions::NONE);
        Code {
            instructions: decoder.into_iter().collect(),
        }
    }

    /// The instruction that begins at `addr`.
    pub(super) fn at(&self, addr: FileAddr) -> Option<&Instruction> {
        let index = self.index(addr)?;
        self.instructions.get(index)
    }

    /// The number of the instruction that begins at `addr`.
    pub(super) fn index(&self, addr: FileAddr) -> Option<usize> {
        self.instructions.binary_search_by_key(&addr.0, Instruction::ip).ok()
    }

    /// The calls, direct and indirect.
    pub(super) fn calls(&self) -> impl Iterator<Item = &Instruction> {
        self.instructions.iter().filter(|instruction| is_call(instruction))
    }

    /// The `int3`s.
    pub(super) fn traps(&self) -> impl Iterator<Item = FileAddr> {
        let traps = self
            .instructions
            .iter()
            .filter(|instruction| instruction.code() == iced_x86::Code::Int3);
        traps.map(|instruction| FileAddr(instruction.ip()))
    }
}

/// Whether it is a `call`.
pub(super) fn is_call(instruction: &Instruction) -> bool {
    matches!(
        instruction.flow_control(),
        FlowControl::Call | FlowControl::IndirectCall
    )
}

/// Where a call or jump goes that names its target.
pub(super) fn direct_target(instruction: &Instruction) -> Option<FileAddr> {
    let direct = matches!(
        instruction.flow_control(),
        FlowControl::Call | FlowControl::UnconditionalBranch | FlowControl::ConditionalBranch
    );
    (direct && matches!(instruction.op0_kind(), OpKind::NearBranch64 | OpKind::NearBranch32))
        .then(|| FileAddr(instruction.near_branch_target()))
}

/// Where a call goes, also an indirect one, when it is the next instruction of a thread with these registers.
pub(super) fn call_target(
    instruction: &Instruction,
    registers: &Registers,
    memory: &dyn Memory,
    bias: LoadBias,
) -> Option<FileAddr> {
    if let Some(target) = direct_target(instruction) {
        return Some(target);
    }
    if !is_call(instruction) {
        return None;
    }
    let target = match instruction.op0_kind() {
        OpKind::Register => registers.general(general_register(instruction.op0_register())?)?,
        OpKind::Memory => {
            let addr = if instruction.is_ip_rel_memory_operand() {
                bias.to_proc(FileAddr(instruction.ip_rel_memory_address())).0
            } else {
                let part = |register: Register| match register {
                    Register::None => Some(0),
                    register => registers.general(general_register(register)?),
                };
                let base = part(instruction.memory_base())?;
                let index = part(instruction.memory_index())?;
                base.wrapping_add(index.wrapping_mul(u64::from(instruction.memory_index_scale())))
                    .wrapping_add(instruction.memory_displacement64())
            };
            memory.read_uint(ProcAddr(addr), 8).ok()?
        }
        _ => return None,
    };
    Some(bias.to_file(ProcAddr(target)))
}

/// DWARF's number of a 64-bit general register (System V ABI for AMD64, figure 3.36).
fn general_register(register: Register) -> Option<DwarfReg> {
    let number = match register {
        Register::RAX => 0,
        Register::RDX => 1,
        Register::RCX => 2,
        Register::RBX => 3,
        Register::RSI => 4,
        Register::RDI => 5,
        Register::RBP => 6,
        Register::RSP => 7,
        Register::R8 => 8,
        Register::R9 => 9,
        Register::R10 => 10,
        Register::R11 => 11,
        Register::R12 => 12,
        Register::R13 => 13,
        Register::R14 => 14,
        Register::R15 => 15,
        _ => return None,
    };
    Some(DwarfReg(number))
}
