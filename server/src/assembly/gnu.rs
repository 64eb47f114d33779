//! GNU's syntax.

use super::Line;
use super::intel::with_offset;
use super::operand::{Address, Operand, hex, register};

/// Shifts and rotations.
const SHIFTS: [&str; 7] = ["shl", "shr", "sar", "rol", "ror", "rcl", "rcr"];

pub(super) fn text(line: &Line<'_>) -> String {
    let mnemonic = mnemonic(line);
    let mut operands = line.operands();
    if shifts_by_one(line) {
        operands.truncate(1);
    }
    operands.reverse();
    let is_indirect = matches!(
        operands.as_slice(),
        [Operand::Register(_) | Operand::Memory(_) | Operand::Variable(..)]
    ) && matches!(mnemonic.trim_end_matches('q'), "call" | "jmp");
    let operands: Vec<String> = operands.iter().map(of).collect();
    let star = if is_indirect { "*" } else { "" };
    let text = if operands.is_empty() {
        mnemonic.clone()
    } else {
        format!("{mnemonic} {star}{}", operands.join(","))
    };
    match line.prefix() {
        Some(prefix) => format!("{prefix} {text}"),
        None if mnemonic == "nop" && line.data_size() == 2 => format!("data16 {text}"),
        None => text,
    }
}

/// Whether it is a shift or rotation by one bit in the encoding that names no count: opcodes D0 and D1.
fn shifts_by_one(line: &Line<'_>) -> bool {
    let is_prefix = |byte: &&u8| {
        matches!(
            **byte,
            0x40..=0x4f | 0x66 | 0xf0 | 0x2e | 0x36 | 0x3e | 0x26 | 0x64 | 0x65 | 0x67
        )
    };
    let opcode = line.bytes.iter().find(|byte| !is_prefix(byte));
    SHIFTS.contains(&&*line.mnemonic()) && matches!(opcode, Some(0xd0 | 0xd1))
}

fn mnemonic(line: &Line<'_>) -> String {
    let name = line.mnemonic();
    let suffix = |size: u64| match size {
        1 => "b",
        2 => "w",
        4 => "l",
        8 => "q",
        _ => "",
    };
    let operands = line.operands();
    let destination = match operands.first() {
        Some(Operand::Register(register)) => register.size() as u64,
        _ => 0,
    };
    let source = match operands.get(1) {
        Some(Operand::Register(register)) => register.size() as u64,
        Some(_) => line.memory_size(),
        None => 0,
    };
    match &*name {
        "call" if !matches!(operands.first(), Some(Operand::Register(_))) => return "callq".to_owned(),
        "ret" => return "retq".to_owned(),
        // A jump of 32 bits.
        "jmp" if line.bytes.first() == Some(&0xe9) => return "jmpq".to_owned(),
        "jmp" if matches!(operands.first(), Some(Operand::Memory(_) | Operand::Variable(..))) => {
            return "jmpq".to_owned();
        }
        "stosb" | "stosw" | "stosd" | "stosq" => return "stos".to_owned(),
        "cqo" => return "cqto".to_owned(),
        "cdq" => return "cltd".to_owned(),
        "cdqe" => return "cltq".to_owned(),
        "cwde" => return "cwtl".to_owned(),
        "movzx" => return format!("movz{}{}", suffix(source), suffix(destination)),
        "movsx" => return format!("movs{}{}", suffix(source), suffix(destination)),
        _ => {}
    }
    // Where no register says how large the operand in memory is, the mnemonic does.
    let has_register = operands.iter().any(|operand| matches!(operand, Operand::Register(_)));
    let counts_by_cl = SHIFTS.contains(&&*name);
    let no_suffix = name.starts_with("set") || name.starts_with("prefetch") || line.instruction.is_string_instruction();
    if line.memory_size() != 0 && (!has_register || counts_by_cl) && !no_suffix {
        return name + suffix(line.memory_size());
    }
    name
}

fn of(operand: &Operand) -> String {
    match operand {
        Operand::Register(name) => format!("%{}", register(*name)),
        Operand::Immediate(number) => format!("${}", hex(*number)),
        Operand::Wide(number) => format!("${}", hex(number.cast_signed())),
        Operand::Target(target) => format!("{target:#x}"),
        Operand::Function(name) => name.clone(),
        Operand::Variable(name, offset) => with_offset(name, *offset),
        Operand::Memory(address) => memory(address),
    }
}

fn memory(address: &Address) -> String {
    let segment = address
        .segment
        .map_or_else(String::new, |segment| format!("%{}:", register(segment)));
    let displacement = match (address.displacement, address.base, address.index) {
        (0, Some(_), _) | (0, _, Some(_)) => String::new(),
        (displacement, ..) => hex(displacement),
    };
    let base = address
        .base
        .map_or_else(String::new, |base| format!("%{}", register(base)));
    let inside = match address.index {
        Some(index) if address.scale == 1 => format!("({base},%{})", register(index)),
        Some(index) => format!("({base},%{},{})", register(index), address.scale),
        // The encoding of R12 needs an index that is none.
        None if address.base == Some(iced_x86::Register::R12) => format!("({base},%riz)"),
        None if base.is_empty() => String::new(),
        None => format!("({base})"),
    };
    format!("{segment}{displacement}{inside}")
}
