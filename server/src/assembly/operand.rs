//! The operands of an instruction, before they are text.

use iced_x86::{Instruction, Mnemonic, OpKind, Register};

use super::Line;

/// Something with a name in the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Symbol {
    /// Its name.
    pub(crate) name: String,
    /// Where it begins.
    pub(crate) start: u64,
}

/// An operand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Operand {
    Register(Register),
    Immediate(i64),
    /// A number of 64 bits, which only GNU's syntax gives a sign.
    Wide(u64),
    /// The target of a call or jump.
    Target(u64),
    /// The entry of a function that is called or jumped to.
    Function(String),
    Memory(Address),
    /// A variable in memory, and how far into it.
    Variable(String, u64),
}

/// An address in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) segment: Option<Register>,
    pub(super) base: Option<Register>,
    pub(super) index: Option<Register>,
    pub(super) scale: u32,
    /// As the instruction has it: without a sign if it has 32 bits.
    pub(super) displacement: i64,
}

/// Whether an operand is in memory.
pub(super) fn is_memory(instruction: &Instruction, index: u32) -> bool {
    matches!(
        instruction.op_kind(index),
        OpKind::Memory
            | OpKind::MemorySegSI
            | OpKind::MemorySegESI
            | OpKind::MemorySegRSI
            | OpKind::MemorySegDI
            | OpKind::MemorySegEDI
            | OpKind::MemorySegRDI
            | OpKind::MemoryESDI
            | OpKind::MemoryESEDI
            | OpKind::MemoryESRDI
    )
}

impl Line<'_> {
    /// The operands that are written out, the destination first.
    pub(super) fn operands(&self) -> Vec<Operand> {
        if self.instruction.mnemonic() == Mnemonic::Int3 {
            return Vec::new();
        }
        (0..self.instruction.op_count())
            .map(|index| self.operand(index))
            .collect()
    }

    fn operand(&self, index: u32) -> Operand {
        let instruction = self.instruction;
        match instruction.op_kind(index) {
            OpKind::Register => Operand::Register(instruction.op_register(index)),
            OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64 => {
                let target = instruction.near_branch_target();
                match (self.symbols)(target).filter(|symbol| symbol.start == target) {
                    Some(symbol) => Operand::Function(symbol.name),
                    None => Operand::Target(target),
                }
            }
            OpKind::MemorySegRSI => Operand::Memory(string_operand(Register::DS, Register::RSI)),
            OpKind::MemoryESRDI => Operand::Memory(string_operand(Register::ES, Register::RDI)),
            OpKind::MemorySegRDI => Operand::Memory(string_operand(Register::DS, Register::RDI)),
            OpKind::MemorySegESI => Operand::Memory(string_operand(Register::DS, Register::ESI)),
            OpKind::MemoryESEDI => Operand::Memory(string_operand(Register::ES, Register::EDI)),
            OpKind::MemorySegEDI => Operand::Memory(string_operand(Register::DS, Register::EDI)),
            OpKind::FarBranch16 | OpKind::FarBranch32 => Operand::Target(instruction.far_branch32().into()),
            OpKind::Memory => self.memory(),
            OpKind::Immediate64 => Operand::Wide(instruction.immediate64()),
            kind => Operand::Immediate(self.immediate(kind, index)),
        }
    }

    /// A number that is written without a sign is one of a byte, or says how much `ret` takes off the stack.
    fn immediate(&self, kind: OpKind, index: u32) -> i64 {
        // Only what has no other kind is asked for, so there is one.
        let value = self.instruction.try_immediate(index).unwrap_or(0);
        match kind {
            OpKind::Immediate16 if self.instruction.mnemonic() != Mnemonic::Ret => i64::from(value as u16 as i16),
            OpKind::Immediate32 => i64::from(value as u32 as i32),
            _ => value.cast_signed(),
        }
    }

    fn memory(&self) -> Operand {
        let instruction = self.instruction;
        let some = |register: Register| Some(register).filter(|register| *register != Register::None);
        let segment = some(instruction.segment_prefix());
        let full = instruction.memory_displacement64();
        if instruction.is_ip_rel_memory_operand() {
            let target = instruction.ip_rel_memory_address();
            if segment.is_none()
                && let Some(symbol) = (self.symbols)(target)
            {
                return Operand::Variable(symbol.name, target.wrapping_sub(symbol.start));
            }
            let displacement = target.wrapping_sub(instruction.next_ip()).cast_signed();
            return Operand::Memory(Address {
                segment,
                base: Some(Register::RIP),
                index: None,
                scale: 1,
                displacement,
            });
        }
        let displacement = match instruction.memory_displ_size() {
            0 => 0,
            1 => full.cast_signed(),
            _ => i64::from(full as u32),
        };
        Operand::Memory(Address {
            segment,
            base: some(instruction.memory_base()),
            index: some(instruction.memory_index()),
            scale: instruction.memory_index_scale(),
            displacement,
        })
    }
}

fn string_operand(segment: Register, base: Register) -> Address {
    Address {
        segment: Some(segment),
        base: Some(base),
        index: None,
        scale: 1,
        displacement: 0,
    }
}

/// A number in hexadecimal, its sign in front.
pub(super) fn hex(number: i64) -> String {
    let sign = if number < 0 { "-" } else { "" };
    format!("{sign}{:#x}", number.unsigned_abs())
}

/// A register's name in lower case.
pub(super) fn register(register: Register) -> String {
    match register {
        // iced-x86 calls the byte registers of R8 to R15 after AMD.
        Register::R8L => "r8b".to_owned(),
        Register::R9L => "r9b".to_owned(),
        Register::R10L => "r10b".to_owned(),
        Register::R11L => "r11b".to_owned(),
        Register::R12L => "r12b".to_owned(),
        Register::R13L => "r13b".to_owned(),
        Register::R14L => "r14b".to_owned(),
        Register::R15L => "r15b".to_owned(),
        other => format!("{other:?}").to_lowercase(),
    }
}
