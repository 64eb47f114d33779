//! Intel's syntax.

use std::fmt::Write;

use super::Line;
use super::operand::{Address, Operand, hex, register};

/// Conditions as Intel's manual names them first, by GNU's names.
const CONDITIONS: [(&str, &str); 6] = [
    ("e", "z"),
    ("ne", "nz"),
    ("a", "nbe"),
    ("ae", "nb"),
    ("g", "nle"),
    ("ge", "nl"),
];

pub(super) fn text(line: &Line<'_>) -> String {
    let mnemonic = mnemonic(line);
    let mut operands: Vec<String> = line.operands().iter().map(|operand| of(line, operand)).collect();
    let written = line.mnemonic();
    if written.starts_with("stos") {
        // Always the accumulator.
        operands.truncate(1);
    }
    if written == "nop" && line.has_memory() {
        // The encoding has a register where others have their second operand.
        operands.push(register(iced_x86::Register::EAX).replace("eax", accumulator(line)));
    }
    let text = if operands.is_empty() {
        mnemonic
    } else {
        format!("{mnemonic} {}", operands.join(", "))
    };
    match line.prefix() {
        Some(prefix) => format!("{prefix} {text}"),
        None if written == "nop" && !line.has_memory() && line.data_size() == 2 => format!("data16 {text}"),
        None => text,
    }
}

fn accumulator(line: &Line<'_>) -> &'static str {
    match line.data_size() {
        2 => "ax",
        8 => "rax",
        _ => "eax",
    }
}

fn mnemonic(line: &Line<'_>) -> String {
    let name = line.mnemonic();
    for prefix in ["cmov", "set", "j"] {
        if let Some(condition) = name.strip_prefix(prefix)
            && let Some((_, intels)) = CONDITIONS.iter().find(|(gnus, _)| *gnus == condition)
        {
            return format!("{prefix}{intels}");
        }
    }
    name
}

fn of(line: &Line<'_>, operand: &Operand) -> String {
    match operand {
        Operand::Register(name) => register(*name),
        Operand::Immediate(number) => hex(*number),
        Operand::Wide(number) => format!("{number:#x}"),
        Operand::Target(target) => format!("{target:#x}"),
        Operand::Function(name) => name.clone(),
        Operand::Variable(name, offset) => format!("{}[{}]", size(line), with_offset(name, *offset)),
        Operand::Memory(address) => memory(line, address),
    }
}

/// A variable's name, and how far into it.
pub(super) fn with_offset(name: &str, offset: u64) -> String {
    if offset == 0 {
        name.to_owned()
    } else {
        format!("{name}+{offset}")
    }
}

fn size(line: &Line<'_>) -> &'static str {
    match line.memory_size() {
        1 => "byte ptr ",
        2 => "word ptr ",
        4 => "dword ptr ",
        8 => "qword ptr ",
        16 => "xmmword ptr ",
        32 => "ymmword ptr ",
        64 => "zmmword ptr ",
        _ => "ptr ",
    }
}

fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing into a string does not fail.
    let _ = text.write_fmt(arguments);
}

fn memory(line: &Line<'_>, address: &Address) -> String {
    let mut inside = String::new();
    if let Some(base) = address.base {
        inside.push_str(&register(base));
    }
    if let Some(index) = address.index {
        if !inside.is_empty() {
            inside.push('+');
        }
        let name = register(index);
        match (address.scale, address.base) {
            (1, Some(_)) => inside.push_str(&name),
            (1, None) => push(&mut inside, format_args!("1*{name}")),
            (scale, _) => push(&mut inside, format_args!("{scale}*{name}")),
        }
    }
    if inside.is_empty() {
        inside = hex(address.displacement);
    } else if address.displacement > 0 {
        push(&mut inside, format_args!("+{:#x}", address.displacement));
    } else if address.displacement < 0 {
        inside.push_str(&hex(address.displacement));
    }
    let is_string = line.instruction.is_string_instruction();
    let segment = address.segment.filter(|_| !is_string);
    let segment = segment.map_or_else(String::new, |segment| format!("{}:", register(segment)));
    format!("{}{segment}[{inside}]", size(line))
}
