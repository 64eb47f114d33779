//! A thread's registers between the kernel's structures and DWARF's numbers.

use std::sync::Arc;

use libc::{user_fpregs_struct, user_regs_struct};
use spelunk_dwarf::DwarfReg;

use crate::inspect::Registers;

/// The general registers by DWARF's numbers (System V ABI for AMD64, figure 3.36).
pub(super) fn fields(raw: &mut user_regs_struct) -> [&mut u64; 17] {
    [
        &mut raw.rax,
        &mut raw.rdx,
        &mut raw.rcx,
        &mut raw.rbx,
        &mut raw.rsi,
        &mut raw.rdi,
        &mut raw.rbp,
        &mut raw.rsp,
        &mut raw.r8,
        &mut raw.r9,
        &mut raw.r10,
        &mut raw.r11,
        &mut raw.r12,
        &mut raw.r13,
        &mut raw.r14,
        &mut raw.r15,
        &mut raw.rip,
    ]
}

/// What a thread's registers are called elsewhere.
pub(super) fn general(raw: &user_regs_struct) -> Registers {
    let mut raw = *raw;
    let mut registers = Registers::default();
    for (number, value) in (0..).zip(fields(&mut raw)) {
        registers.set_general(DwarfReg(number), Some(*value));
    }
    registers.flags = Some(raw.eflags);
    registers.fs_base = Some(raw.fs_base);
    registers
}

/// Puts what is known in `registers` over `raw`; the base of thread-local storage is left alone, as no debugger has a reason to move it.
pub(super) fn apply(registers: &Registers, raw: &mut user_regs_struct) {
    for (number, field) in (0..).zip(fields(raw)) {
        if let Some(value) = registers.general(DwarfReg(number)) {
            *field = value;
        }
    }
    if let Some(flags) = registers.flags {
        raw.eflags = flags;
    }
}

/// XMM0 to XMM15.
pub(super) fn vectors(raw: &user_fpregs_struct) -> Arc<[[u8; 16]; 16]> {
    let mut vectors = [[0; 16]; 16];
    for (vector, words) in vectors.iter_mut().zip(raw.xmm_space.chunks_exact(4)) {
        for (bytes, word) in vector.chunks_exact_mut(4).zip(words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
    }
    Arc::new(vectors)
}

/// Sets one vector register; `false` when DWARF's number is not that of XMM0 to XMM15.
pub(super) fn set_vector(raw: &mut user_fpregs_struct, register: DwarfReg, value: [u8; 16]) -> bool {
    let Some(number) = usize::from(register.0).checked_sub(17) else {
        return false;
    };
    let Some(words) = raw.xmm_space.chunks_exact_mut(4).nth(number) else {
        return false;
    };
    for (word, bytes) in words.iter_mut().zip(value.chunks_exact(4)) {
        let mut raw = [0; 4];
        raw.copy_from_slice(bytes);
        *word = u32::from_le_bytes(raw);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn general_registers_survive_the_way_there_and_back() {
        // SAFETY: the structure is plain numbers, for which zero is a value.
        let mut raw: user_regs_struct = unsafe { std::mem::zeroed() };
        for (number, field) in (100..).zip(fields(&mut raw)) {
            *field = number;
        }
        raw.eflags = 0x246;
        let registers = general(&raw);
        assert_eq!(registers.general(DwarfReg(0)), Some(100), "rax is DWARF's register 0");
        assert_eq!(registers.general(DwarfReg(4)), Some(104), "rsi is DWARF's register 4");
        assert_eq!((raw.rsi, registers.pc(), registers.sp()), (104, Some(116), Some(107)));
        // SAFETY: as above.
        let mut back: user_regs_struct = unsafe { std::mem::zeroed() };
        apply(&registers, &mut back);
        back.fs_base = raw.fs_base;
        assert_eq!(general(&back), registers);
    }

    #[test]
    fn one_vector_register_is_set_and_the_others_stay() {
        // SAFETY: the structure is plain numbers, for which zero is a value.
        let mut raw: user_fpregs_struct = unsafe { std::mem::zeroed() };
        let value = *b"0123456789abcdef";
        assert!(set_vector(&mut raw, DwarfReg(17 + 3), value));
        let vectors = vectors(&raw);
        assert_eq!(vectors[3], value);
        assert!(
            vectors
                .iter()
                .enumerate()
                .all(|(number, vector)| number == 3 || *vector == [0; 16])
        );
        assert!(!set_vector(&mut raw, DwarfReg(16), value) && !set_vector(&mut raw, DwarfReg(33), value));
    }
}
