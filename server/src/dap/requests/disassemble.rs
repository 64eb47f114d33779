//! `disassemble`: instructions around an address.

use std::fmt::Write;

use dap::types::{DisassembledInstruction, Source};
use serde::Deserialize;
use serde_json::json;
use spelunk_dwarf::ProcAddr;

use crate::dap::{
    debuggee::State, errors::UNABLE_TO_DISASSEMBLE, message::Request, session::Session, substitute_path::SubstitutePath,
};
use crate::debugger::{Assembly, Surroundings};

/// More instructions are not answered at once. Editors ask for some hundreds.
const MAX_COUNT: usize = 1 << 16;

/// The longest reference to memory, in bytes, that is given back as the client wrote it: each instruction of an answer has a copy.
const LONGEST_ECHOED: usize = 32;

/// What stands for an instruction where there is none, in Delve's words. The protocol wants exactly as many as were asked for.
const INVALID: &str = "invalid instruction";

/// The address of what lies before all code.
const BEFORE: u64 = 0;
/// The address of what lies behind all code.
const BEHIND: u64 = u64::MAX;

/// `offset`, in bytes, is not among them: no memory reference of this server needs one, and Delve does not look at it.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Arguments {
    memory_reference: String,
    instruction_offset: i64,
    instruction_count: i64,
}

impl Session {
    /// Answers `disassemble`.
    pub(super) async fn on_disassemble(&mut self, request: &Request, state: State) {
        let arguments: Arguments = match request.arguments() {
            Ok(arguments) => arguments,
            Err(text) => return self.out.refuse(request, UNABLE_TO_DISASSEMBLE, &text),
        };
        let listed = match self.obituary(state) {
            Some(obituary) => Err(obituary),
            None => self.instructions(arguments).await,
        };
        match listed {
            Ok(instructions) => self.out.respond(request, Some(&json!({"instructions": instructions}))),
            Err(why) => self.out.refuse(request, UNABLE_TO_DISASSEMBLE, &why),
        }
    }

    async fn instructions(&mut self, arguments: Arguments) -> Result<Vec<DisassembledInstruction>, String> {
        let addr = address(&arguments.memory_reference)?;
        let count = usize::try_from(arguments.instruction_count)
            .map_err(|_| format!("negative instructionCount {}", arguments.instruction_count))?;
        if count > MAX_COUNT {
            return Err(format!(
                "{count} instructions are too many to be disassembled at once; up to {MAX_COUNT} can be asked for"
            ));
        }
        if addr == BEFORE || addr == BEHIND {
            // What an answer called so earlier: there is nothing around it either.
            let reference = match arguments.memory_reference.len() {
                ..=LONGEST_ECHOED => arguments.memory_reference,
                _ => format!("{addr:#x}"),
            };
            return Ok((0..count).map(|_| invalid(reference.clone())).collect());
        }
        let offset = arguments.instruction_offset;
        let around = self
            .inspect(move |at| {
                let around = at.target.disassemble_around(ProcAddr(addr), offset, count);
                around.map_err(|error| error.to_string())
            })
            .await?;
        Ok(listing(&around, count, &self.settings.paths))
    }
}

/// Exactly `count` instructions. One has a place if its line is not that of the one before it.
fn listing(around: &Surroundings, count: usize, paths: &SubstitutePath) -> Vec<DisassembledInstruction> {
    let mut list: Vec<DisassembledInstruction> = Vec::with_capacity(count);
    list.resize_with(around.missing_before.min(count), || invalid(format!("{BEFORE:#x}")));
    let mut last = None;
    for assembly in &around.list {
        let line = (&assembly.location.file, assembly.location.line);
        let is_new = last != Some(line);
        last = Some(line);
        list.push(instruction(assembly, is_new, paths));
    }
    list.resize_with(count, || invalid(format!("{BEHIND:#x}")));
    list
}

fn instruction(assembly: &Assembly, with_place: bool, paths: &SubstitutePath) -> DisassembledInstruction {
    let mut bytes = String::with_capacity(2 * assembly.bytes.len());
    for byte in &assembly.bytes {
        // A string takes everything.
        let _ = write!(bytes, "{byte:02x}");
    }
    let line = assembly.location.line;
    DisassembledInstruction {
        address: format!("{:#x}", assembly.location.pc.0),
        instruction_bytes: Some(bytes),
        instruction: assembly.text.clone(),
        location: with_place.then(|| Source {
            path: assembly.location.file.as_ref().map(|file| paths.to_client(file)),
            ..Source::default()
        }),
        line: (with_place && line != 0).then_some(i64::from(line)),
        ..DisassembledInstruction::default()
    }
}

fn invalid(address: String) -> DisassembledInstruction {
    DisassembledInstruction {
        address,
        instruction: INVALID.to_owned(),
        ..DisassembledInstruction::default()
    }
}

/// A number as Go writes it, with the failures of Go's `strconv.ParseUint`.
fn address(text: &str) -> Result<u64, String> {
    let failed = |why: &str| Err(format!("strconv.ParseUint: parsing {text:?}: {why}"));
    let lower = text.to_ascii_lowercase();
    let (radix, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, &lower[..]),
    };
    if !has_underscores_between_digits(digits, radix != 10) {
        return failed("invalid syntax");
    }
    let digits = digits.replace('_', "");
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return failed("invalid syntax");
    }
    u64::from_str_radix(&digits, radix).or_else(|_| failed("value out of range"))
}

/// Go has an underscore behind a prefix or a digit, and before a digit.
fn has_underscores_between_digits(digits: &str, has_prefix: bool) -> bool {
    let starts_well = has_prefix || !digits.starts_with('_');
    starts_well && !digits.ends_with('_') && !digits.contains("__")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::Location;

    #[test]
    fn addresses_are_read_as_by_go() {
        for (text, addr) in [
            ("0x401000", 0x40_1000),
            ("0X40_1000", 0x40_1000),
            ("0x_1", 1),
            ("4198400", 0x40_1000),
            ("1_0", 10),
            ("0b101", 5),
            ("0o17", 15),
            ("017", 15),
            ("0_17", 15),
            ("0", 0),
            ("0xffffffffffffffff", u64::MAX),
        ] {
            assert_eq!(address(text), Ok(addr), "{text}");
        }
        for text in [
            "", "0x", "_1", "1_", "1__0", "0x1_", "-1", "+1", " 1", "089", "1e3", "0xg", "0b2", "é",
        ] {
            assert_eq!(
                address(text),
                Err(format!("strconv.ParseUint: parsing {text:?}: invalid syntax")),
            );
        }
        assert_eq!(
            address("0x10000000000000000"),
            Err("strconv.ParseUint: parsing \"0x10000000000000000\": value out of range".to_owned())
        );
    }

    #[test]
    fn there_are_as_many_as_were_asked_for_and_each_line_is_named_once() {
        let at = |pc: u64, line: u32| Assembly {
            location: Location {
                pc: ProcAddr(pc),
                file: (line != 0).then(|| "/s/main.go".into()),
                line,
                function: None,
            },
            target: None,
            text: format!("NOP {pc}"),
            bytes: vec![0x0f, 0x1f, 0],
            has_breakpoint: false,
            is_current: false,
        };
        let around = Surroundings {
            missing_before: 1,
            list: vec![at(1, 7), at(4, 7), at(7, 8), at(10, 0)],
        };
        let list = listing(&around, 6, &SubstitutePath::default());
        let shown: Vec<_> = list
            .iter()
            .map(|one| (&*one.address, &*one.instruction, one.location.is_some(), one.line))
            .collect();
        assert_eq!(
            shown,
            [
                ("0x0", INVALID, false, None),
                ("0x1", "NOP 1", true, Some(7)),
                ("0x4", "NOP 4", false, None),
                ("0x7", "NOP 7", true, Some(8)),
                ("0xa", "NOP 10", true, None),
                ("0xffffffffffffffff", INVALID, false, None),
            ]
        );
        assert_eq!(list[1].instruction_bytes.as_deref(), Some("0f1f00"));
        assert_eq!(
            listing(&Surroundings::default(), 2, &SubstitutePath::default()).len(),
            2
        );
    }
}
