//! Location expressions as text, in the way that Delve shows them (`PrettyPrint` in `pkg/dwarf/op`, Delve 1.27.1).

use std::fmt::Write;

use gimli::{AttributeValue, DwOp, EndianSlice, LittleEndian, Reader as _, constants as dw};

use crate::function_info::{Home, Variable, home};
use crate::location::DwarfReg;
use crate::{Binary, FileAddr};

/// Of a block of bytes within an expression no more is shown.
const MAX_BLOCK: u64 = 1 << 12;

impl Binary {
    /// Where DWARF says that a variable is at `pc`: `[block]` for a place that holds everywhere, `[LIST:SHOWN]` for an entry of a location list. Empty
    /// where nothing is said. A frame that has called stands at `shown`, behind the call.
    pub fn location_text(&self, variable: &Variable, pc: FileAddr, shown: u64) -> String {
        self.home_text(&variable.home, variable.unit, pc, shown)
            .unwrap_or_default()
    }

    /// The same of the variable whose entry is at `entry` of `.debug_info`.
    pub fn global_location_text(&self, entry: u64) -> String {
        let text = || {
            let dwarf = self.dwarf().ok()?;
            let (unit, within) = self.unit_with_entry(&dwarf, usize::try_from(entry).ok()?).ok()?;
            let found = unit.entry(within).ok()?;
            let home = home(&dwarf, &unit, &found);
            self.home_text(&home, unit.index, FileAddr(0), 0)
        };
        text().unwrap_or_default()
    }

    /// The line on which the variable whose entry is at `entry` of `.debug_info` is declared; 0 where it is not said, as for Go's package variables.
    pub fn global_declaration_line(&self, entry: u64) -> u64 {
        let line = || {
            let dwarf = self.dwarf().ok()?;
            let (unit, within) = self.unit_with_entry(&dwarf, usize::try_from(entry).ok()?).ok()?;
            let found = unit.entry(within).ok()?;
            match found.attr_value(dw::DW_AT_decl_line)? {
                AttributeValue::Udata(line) => Some(line),
                other => other.udata_value(),
            }
        };
        line().unwrap_or(0)
    }

    fn home_text(&self, home: &Home, unit: usize, pc: FileAddr, shown: u64) -> Option<String> {
        match home {
            Home::None => None,
            Home::Expression(bytes) => Some(format!("[block] {}", expression_text(bytes))),
            Home::List(offset) => {
                let dwarf = self.dwarf().ok()?;
                let unit = self.unit(&dwarf, unit).ok()?;
                let mut entries = unit.dwarf.locations(&unit.inner, *offset).ok()?;
                while let Some(entry) = entries.next().ok()? {
                    if (entry.range.begin..entry.range.end).contains(&pc.0) {
                        let text = expression_text(entry.data.0.slice());
                        return Some(format!("[{:#x}:{shown:#x}] {text}", offset.0));
                    }
                }
                None
            }
        }
    }
}

/// What stands behind an operation.
#[derive(Clone, Copy)]
enum Argument {
    Signed,
    Unsigned,
    Bytes(usize),
    Block,
}

/// The operands of an operation (DWARF 5, section 7.7.1).
fn arguments(operation: DwOp) -> &'static [Argument] {
    use Argument::{Block, Bytes, Signed, Unsigned};
    match operation {
        dw::DW_OP_addr | dw::DW_OP_const8u | dw::DW_OP_const8s => &[Bytes(8)],
        dw::DW_OP_const1u | dw::DW_OP_const1s | dw::DW_OP_deref_size | dw::DW_OP_xderef_size => &[Bytes(1)],
        dw::DW_OP_const2u | dw::DW_OP_const2s | dw::DW_OP_bra | dw::DW_OP_skip | dw::DW_OP_call2 => &[Bytes(2)],
        dw::DW_OP_const4u | dw::DW_OP_const4s | dw::DW_OP_call4 | dw::DW_OP_call_ref => &[Bytes(4)],
        dw::DW_OP_constu | dw::DW_OP_plus_uconst | dw::DW_OP_piece => &[Unsigned],
        dw::DW_OP_consts | dw::DW_OP_fbreg | dw::DW_OP_regx | DwOp(0x70..=0x8f) => &[Signed],
        dw::DW_OP_bregx => &[Unsigned, Signed],
        dw::DW_OP_bit_piece => &[Unsigned, Unsigned],
        dw::DW_OP_implicit_value => &[Block],
        _ => &[],
    }
}

/// The name of a register with the capital letter that Delve gives it.
fn register_name(number: u64) -> String {
    let name = u16::try_from(number).ok().and_then(|number| DwarfReg(number).name());
    match name {
        Some(name) if name.starts_with("xmm") => name.to_uppercase(),
        Some(name) => {
            let (first, rest) = name.split_at(1);
            first.to_uppercase() + rest
        }
        None => format!("unknown{number}"),
    }
}

fn expression_text(bytes: &[u8]) -> String {
    let mut text = String::new();
    let mut rest = EndianSlice::new(bytes, LittleEndian);
    while let Ok(code) = rest.read_u8() {
        if push_operation(&mut text, DwOp(code), &mut rest).is_none() {
            break;
        }
    }
    text
}

/// Appends one operation; `None` where its operands are cut off.
fn push_operation(text: &mut String, operation: DwOp, rest: &mut EndianSlice<'_, LittleEndian>) -> Option<()> {
    match operation.static_string() {
        Some(name) => text.push_str(name),
        None => write!(text, "{:#x}", operation.0).ok()?,
    }
    let register = match operation.0 {
        code @ 0x50..=0x6f => Some(code - 0x50),
        code @ 0x70..=0x8f => Some(code - 0x70),
        _ => None,
    };
    if let Some(register) = register {
        write!(text, "({})", register_name(register.into())).ok()?;
    }
    text.push(' ');
    for (index, argument) in arguments(operation).iter().enumerate() {
        let mut number = 0;
        match argument {
            Argument::Signed => {
                let value = rest.read_sleb128().ok()?;
                number = value.cast_unsigned();
                let sign = if value < 0 { "-" } else { "" };
                write!(text, "{sign}{:#x} ", value.unsigned_abs()).ok()?;
            }
            Argument::Unsigned => {
                number = rest.read_uleb128().ok()?;
                write!(text, "{number:#x} ").ok()?;
            }
            Argument::Bytes(size) => write!(text, "{:#x} ", rest.read_uint(*size).ok()?).ok()?,
            Argument::Block => {
                let size = rest.read_uleb128().ok()?;
                let shown = usize::try_from(size.min(MAX_BLOCK).min(rest.len() as u64)).ok()?;
                let block = rest.split(shown).ok()?;
                let bytes: String = block.slice().iter().fold(String::new(), |mut text, byte| {
                    let _ = write!(text, "{byte:02x}");
                    text
                });
                write!(text, "{size} [{bytes}] ").ok()?;
            }
        }
        if index == 0 && matches!(operation, dw::DW_OP_regx | dw::DW_OP_bregx) {
            write!(text, "({})", register_name(number)).ok()?;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::expression_text;

    #[test]
    fn expressions_read_as_in_delve() {
        let cases: [(&[u8], &str); 5] = [
            (&[0x91, 0xd0, 0x7e], "DW_OP_fbreg -0xb0 "),
            (&[0x50], "DW_OP_reg0(Rax) "),
            (
                &[0x53, 0x93, 8, 0x52, 0x93, 8],
                "DW_OP_reg3(Rbx) DW_OP_piece 0x8 DW_OP_reg2(Rcx) DW_OP_piece 0x8 ",
            ),
            (&[0x03, 0xc0, 0x8a, 0x5c, 0, 0, 0, 0, 0], "DW_OP_addr 0x5c8ac0 "),
            (&[0x9e, 2, 1, 255], "DW_OP_implicit_value 2 [01ff] "),
        ];
        for (bytes, text) in cases {
            assert_eq!(expression_text(bytes), text);
        }
    }

    #[test]
    fn expressions_that_are_cut_off_end() {
        for bytes in [
            &[0x91u8][..],
            &[0x03, 1],
            &[0x9e, 0xff, 0xff, 0xff, 0x7f],
            &[0x93, 0x80],
        ] {
            expression_text(bytes);
        }
    }
}
