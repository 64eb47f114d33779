//! The registers of a thread or of a frame, by their numbers in DWARF.

use std::sync::Arc;

use spelunk_dwarf::DwarfReg;

use crate::expr::Const;

/// How many general registers there are: RAX to R15, and RIP (System V ABI for AMD64, figure 3.36).
const GENERAL: usize = 17;
/// How many vector registers DWARF numbers from 17 on.
const VECTORS: usize = 16;

/// Registers as far as they are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Registers {
    general: [Option<u64>; GENERAL],
    vectors: Option<Arc<[[u8; 16]; VECTORS]>>,
    /// `RFLAGS`, of a thread only.
    pub(crate) flags: Option<u64>,
    /// The base of thread-local storage, of a thread only.
    pub(crate) fs_base: Option<u64>,
}

impl Registers {
    /// A general register's value; `None` when it is not known here.
    pub(crate) fn general(&self, register: DwarfReg) -> Option<u64> {
        *self.general.get(usize::from(register.0))?
    }

    /// Sets or forgets a general register.
    pub(crate) fn set_general(&mut self, register: DwarfReg, value: Option<u64>) {
        if let Some(slot) = self.general.get_mut(usize::from(register.0)) {
            *slot = value;
        }
    }

    /// XMM0 to XMM15 by DWARF's numbers; `None` when it is not known here.
    pub(crate) fn vector(&self, register: DwarfReg) -> Option<[u8; 16]> {
        let number = usize::from(register.0).checked_sub(GENERAL)?;
        self.vectors.as_ref()?.get(number).copied()
    }

    /// Sets or forgets all vector registers.
    pub(crate) fn set_vectors(&mut self, vectors: Option<Arc<[[u8; 16]; VECTORS]>>) {
        self.vectors = vectors;
    }

    /// A register by the name that Delve's expressions have for it: `RAX`, `_RIP`, `XMM0`; capital letters, with or without underscores in front. A vector
    /// register is the text of its bytes in hexadecimal, the first one first.
    pub(crate) fn by_name(&self, name: &str) -> Option<Const> {
        let name = name.trim_start_matches('_');
        if !name
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase())
        {
            return None;
        }
        let name = name.to_ascii_lowercase();
        if name == "rflags" || name == "eflags" {
            return self.flags.map(|flags| Const::Int(i128::from(flags)));
        }
        let number = (0..(GENERAL + VECTORS) as u16).find(|number| DwarfReg(*number).name() == Some(&name))?;
        if let Some(value) = self.general(DwarfReg(number)) {
            return Some(Const::Int(i128::from(value)));
        }
        let bytes = self.vector(DwarfReg(number))?;
        let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or('?');
        let text: String = bytes
            .iter()
            .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
            .collect();
        Some(Const::Text(text.into_bytes()))
    }

    /// RIP.
    pub(crate) fn pc(&self) -> Option<u64> {
        self.general(DwarfReg::RA)
    }

    /// RSP.
    pub(crate) fn sp(&self) -> Option<u64> {
        self.general(DwarfReg::RSP)
    }
}
