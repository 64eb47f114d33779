//! Machine code as text, in the three syntaxes that Delve offers. Delve writes them with `golang.org/x/arch/x86/x86asm`, whose habits these follow: a
//! displacement of 32 bits has no sign, a condition has one name in Intel's syntax and another elsewhere, Go's syntax names registers without their size.
//!
//! The decoding is iced-x86's, which also has formatters; but their texts differ from these nearly everywhere.

mod gnu;
mod intel;
mod operand;
mod plan9;

use iced_x86::{Instruction, Mnemonic};

pub(crate) use operand::Symbol;

/// A syntax for machine code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavour {
    /// GNU's, as in `objdump`: sources first, registers with `%`.
    Gnu,
    /// Intel's: the destination first.
    Intel,
    /// That of Go's assembler.
    Go,
}

/// An instruction with what its text depends on.
pub(crate) struct Line<'a> {
    /// The instruction, decoded at its address in the process.
    pub(crate) instruction: &'a Instruction,
    /// Its bytes.
    pub(crate) bytes: &'a [u8],
    /// What is at an address: the function that begins there, or the variable that it lies in or behind.
    pub(crate) symbols: &'a dyn Fn(u64) -> Option<Symbol>,
}

impl Line<'_> {
    /// The text; `?` for bytes that are no instruction.
    pub(crate) fn text(&self, flavour: Flavour) -> String {
        if self.instruction.is_invalid() {
            return "?".to_owned();
        }
        match flavour {
            Flavour::Gnu => gnu::text(self),
            Flavour::Intel => intel::text(self),
            Flavour::Go => plan9::text(self),
        }
    }

    /// The mnemonic in lower case, conditions as GNU names them.
    fn mnemonic(&self) -> String {
        match self.instruction.mnemonic() {
            Mnemonic::Int3 => "int3".to_owned(),
            Mnemonic::Movsxd => "movsxd".to_owned(),
            Mnemonic::Sal => "shl".to_owned(),
            other => format!("{other:?}").to_lowercase(),
        }
    }

    /// The size of the operands that the prefixes ask for, in bytes, whatever the instruction makes of it.
    fn data_size(&self) -> u64 {
        let mut size = 4;
        for byte in self.bytes {
            match byte {
                0x66 => size = 2,
                0x26 | 0x2e | 0x36 | 0x3e | 0x64 | 0x65 | 0x67 | 0xf0 | 0xf2 | 0xf3 => {}
                0x40..=0x4f => return if byte & 8 == 0 { size } else { 8 },
                _ => break,
            }
        }
        size
    }

    /// Whether an operand is in memory.
    fn has_memory(&self) -> bool {
        self.memory_size() != 0 || self.instruction.mnemonic() == Mnemonic::Lea
    }

    /// The size of the operand in memory, in bytes; 0 without one, and for an address that is only computed.
    fn memory_size(&self) -> u64 {
        if self.instruction.mnemonic() == Mnemonic::Lea {
            return 0;
        }
        let any = (0..self.instruction.op_count()).any(|index| operand::is_memory(self.instruction, index));
        match self.instruction.mnemonic() {
            _ if !any => 0,
            // A line of the cache.
            Mnemonic::Prefetcht0 | Mnemonic::Prefetcht1 | Mnemonic::Prefetcht2 | Mnemonic::Prefetchnta => 64,
            _ => self.instruction.memory_size().size() as u64,
        }
    }

    /// `lock` and the like.
    fn prefix(&self) -> Option<&'static str> {
        if self.instruction.has_lock_prefix() {
            Some("lock")
        } else if self.instruction.has_repne_prefix() {
            Some("repne")
        } else if self.instruction.has_rep_prefix() && self.instruction.is_string_instruction() {
            Some("rep")
        } else {
            None
        }
    }
}
