//! The syntax of Go's assembler.

use iced_x86::{Mnemonic, Register};

use super::Line;
use super::intel::with_offset;
use super::operand::{Address, Operand, hex, register};

/// The instructions whose names end in the size of their operands.
const SIZED: [&str; 46] = [
    "adc",
    "add",
    "and",
    "bsf",
    "bsr",
    "bt",
    "btc",
    "btr",
    "bts",
    "cmp",
    "cmpxchg",
    "cvtsi2sd",
    "cvtsi2ss",
    "cvtsd2si",
    "cvtss2si",
    "cvttsd2si",
    "cvttss2si",
    "dec",
    "div",
    "idiv",
    "imul",
    "in",
    "inc",
    "lea",
    "mov",
    "movnti",
    "mul",
    "neg",
    "nop",
    "not",
    "or",
    "out",
    "pop",
    "popcnt",
    "push",
    "rcl",
    "rcr",
    "rol",
    "ror",
    "sar",
    "sbb",
    "shl",
    "shld",
    "shr",
    "shrd",
    "sub",
];
const SIZED_TOO: [&str; 4] = ["test", "xadd", "xchg", "xor"];

pub(super) fn text(line: &Line<'_>) -> String {
    if line.instruction.mnemonic() == Mnemonic::Int3 {
        return "INT $0x3".to_owned();
    }
    let name = line.mnemonic();
    let mut operands = line.operands();
    let is_comparison = name == "cmp";
    if !is_comparison {
        operands.reverse();
    }
    let operands: Vec<String> = operands.iter().map(of).collect();
    let mnemonic = mnemonic(line, &name);
    let text = if operands.is_empty() {
        mnemonic
    } else {
        format!("{mnemonic} {}", operands.join(", "))
    };
    match line.prefix() {
        Some("lock") => format!("LOCK {text}"),
        Some(prefix) => format!("{}; {text}", prefix.to_uppercase()),
        None => text,
    }
}

fn mnemonic(line: &Line<'_>, name: &str) -> String {
    let mut text = name.to_uppercase();
    match name {
        "movsd" | "cmpsd" if !line.instruction.is_string_instruction() => text.push_str("_XMM"),
        _ => {}
    }
    if SIZED.contains(&name) || SIZED_TOO.contains(&name) {
        text.push_str(match size(line) {
            1 => "B",
            2 => "W",
            4 => "L",
            8 => "Q",
            _ => "",
        });
    }
    text
}

/// What decides the size in a name: the operand in memory, else a single register of 64 bits, else the prefixes.
fn size(line: &Line<'_>) -> u64 {
    if line.memory_size() != 0 {
        return line.memory_size();
    }
    match line.operands().as_slice() {
        [Operand::Register(single)] if single.is_gpr64() => 8,
        _ => line.data_size(),
    }
}

fn of(operand: &Operand) -> String {
    match operand {
        Operand::Register(register) => name(*register),
        Operand::Immediate(number) => format!("${}", hex(*number)),
        Operand::Wide(number) => format!("${number:#x}"),
        Operand::Target(target) => format!("{target:#x}"),
        Operand::Function(name) => format!("{name}(SB)"),
        Operand::Variable(name, offset) => format!("{}(SB)", with_offset(name, *offset)),
        Operand::Memory(address) => memory(address),
    }
}

/// Go's name of a register, which does not tell its size, but for the four that have halves.
fn name(of: Register) -> String {
    let text = register(of);
    match of {
        Register::AL
        | Register::BL
        | Register::CL
        | Register::DL
        | Register::AH
        | Register::BH
        | Register::CH
        | Register::DH => text.to_uppercase(),
        Register::RIP => "IP".to_owned(),
        _ if of.is_xmm() => text.replace("xmm", "X"),
        _ if of.is_ymm() => text.replace("ymm", "Y"),
        _ if of.is_zmm() => text.replace("zmm", "Z"),
        _ if of.is_gpr() => {
            let full = register(of.full_register()).to_uppercase();
            let is_numbered = full.chars().nth(1).is_some_and(|digit| digit.is_ascii_digit());
            if is_numbered {
                full
            } else {
                full.chars().skip(1).collect()
            }
        }
        _ => text.to_uppercase(),
    }
}

fn memory(address: &Address) -> String {
    let segment = address
        .segment
        .map_or_else(String::new, |segment| format!("{}:", name(segment)));
    let base = address
        .base
        .map_or_else(String::new, |base| format!("({})", name(base)));
    let index = address
        .index
        .map_or_else(String::new, |index| format!("({}*{})", name(index), address.scale));
    let displacement = if address.displacement == 0 {
        "0".to_owned()
    } else {
        hex(address.displacement)
    };
    format!("{segment}{displacement}{base}{index}")
}
