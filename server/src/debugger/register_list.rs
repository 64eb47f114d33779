//! Registers by name and as text, in the order that Delve shows them.

use spelunk_dwarf::DwarfReg;

use crate::inspect::Registers;

/// The general registers by their numbers in DWARF, in Delve's order (`canonicalRegisterOrder` in `service/api`, then by number).
pub(super) const ORDER: [(u16, &str); 17] = [
    (16, "Rip"),
    (7, "Rsp"),
    (0, "Rax"),
    (3, "Rbx"),
    (2, "Rcx"),
    (1, "Rdx"),
    (4, "Rsi"),
    (5, "Rdi"),
    (6, "Rbp"),
    (8, "R8"),
    (9, "R9"),
    (10, "R10"),
    (11, "R11"),
    (12, "R12"),
    (13, "R13"),
    (14, "R14"),
    (15, "R15"),
];

/// The flags by their lowest bit and width (Intel SDM volume 1, figure 3-8); bit 1 is always set and has no name.
const FLAGS: [(u32, u64, &str); 18] = [
    (0, 1, "CF"),
    (1, 1, ""),
    (2, 1, "PF"),
    (4, 1, "AF"),
    (6, 1, "ZF"),
    (7, 1, "SF"),
    (8, 1, "TF"),
    (9, 1, "IF"),
    (10, 1, "DF"),
    (11, 1, "OF"),
    (12, 3, "IOPL"),
    (14, 1, "NT"),
    (16, 1, "RF"),
    (17, 1, "VM"),
    (18, 1, "AC"),
    (19, 1, "VIF"),
    (20, 1, "VIP"),
    (21, 1, "ID"),
];

/// The registers that are known; those for floating point and vectors are left out, as in Delve's scope of registers.
pub(super) fn of(registers: &Registers) -> Vec<(String, String)> {
    let general = ORDER.iter().filter_map(|(number, name)| {
        let value = registers.general(DwarfReg(*number))?;
        Some(((*name).to_owned(), format!("{value:#018x}")))
    });
    let flags = registers.flags.map(|flags| ("Rflags".to_owned(), flags_text(flags)));
    let base = registers
        .fs_base
        .map(|base| ("Fs_base".to_owned(), format!("{base:#018x}")));
    general.chain(flags).chain(base).collect()
}

/// The flags as a number, and by the names of those that are set.
pub(super) fn flags_text(flags: u64) -> String {
    let mut names = Vec::new();
    let mut known = 0;
    for (bit, mask, name) in FLAGS {
        known |= mask << bit;
        let value = flags >> bit & mask;
        match (name, mask) {
            ("", _) => {}
            (name, 1) if value == 1 => names.push(name.to_owned()),
            (_, 1) => {}
            (name, _) => names.push(format!("{name}={value:x}")),
        }
    }
    if flags & !known != 0 {
        names.push(format!("unknown_flags={:x}", flags & !known));
    }
    format!("{flags:#018x}\t[{}]", names.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_read_as_in_delve() {
        let mut registers = Registers::default();
        registers.set_general(DwarfReg(0), Some(0x10));
        registers.set_general(DwarfReg::RA, Some(0x49_7000));
        registers.flags = Some(0x246);
        let expected = [
            ("Rip", "0x0000000000497000"),
            ("Rax", "0x0000000000000010"),
            ("Rflags", "0x0000000000000246\t[PF ZF IF IOPL=0]"),
        ];
        let expected: Vec<_> = expected
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
            .collect();
        assert_eq!(of(&registers), expected);
    }
}
