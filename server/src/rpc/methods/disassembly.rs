//! Machine code.

use spelunk_dwarf::ProcAddr;

use super::{Methods, RpcError, scope};
use crate::assembly::Flavour;
use crate::debugger::{Assembly, CodeRange, Program};
use crate::host::Host;
use crate::rpc::go_json::{Slice, wire};
use crate::rpc::wire::{AsmInstruction, AssemblyFlavour, Bytes, EvalScope, Location};

wire! { "rpc2";
    /// Asks for instructions.
    pub(crate) struct DisassembleIn {
        /// Whose thread's next instruction is to be marked; the frame does not matter.
        scope: EvalScope = "Scope",
        /// Where to begin; with `EndPC` 0: an address in the function that is wanted.
        start: u64 = "StartPC",
        /// Where to end, not included.
        end: u64 = "EndPC",
        /// The syntax: 0 GNU, 1 Intel, 2 Go.
        flavour: AssemblyFlavour = "Flavour",
    }

    /// Answers it.
    pub(crate) struct DisassembleOut {
        /// The instructions.
        instructions: Slice<AsmInstruction> = "Disassemble",
    }
}

/// Adds them.
pub(super) fn register(methods: &mut Methods) {
    methods.add(
        "RPCServer.Disassemble",
        "The instructions of a function, or of a range of addresses.",
        disassemble,
    );
}

fn disassemble(host: &Host, asked: &DisassembleIn) -> Result<DisassembleOut, RpcError> {
    let rest = host.at_rest()?;
    let program = rest.session.program()?;
    let (start, end) = (ProcAddr(asked.start), ProcAddr(asked.end));
    let range = if end.0 == 0 {
        if program.function_at(start).is_none() {
            return Err(format!("address {:#x} does not belong to any function", start.0).into());
        }
        CodeRange::FunctionAt(start)
    } else {
        CodeRange::Between(start, end)
    };
    let whose = scope::whose(&rest, asked.scope.goroutine_id)?;
    let flavour = match asked.flavour.0 {
        0 => Flavour::Gnu,
        2 => Flavour::Go,
        _ => Flavour::Intel,
    };
    let list = rest.session.disassemble(whose, range, flavour)?;
    Ok(DisassembleOut {
        instructions: list
            .iter()
            .map(|instruction| AsmInstruction::of(&program, instruction))
            .collect(),
    })
}

impl AsmInstruction {
    fn of(program: &Program, instruction: &Assembly) -> AsmInstruction {
        AsmInstruction {
            loc: Location::of(program, &instruction.location),
            dest_loc: instruction
                .target
                .as_ref()
                .map(|target| Box::new(Location::of(program, target))),
            text: instruction.text.clone(),
            bytes: Bytes(Some(instruction.bytes.clone())),
            breakpoint: instruction.has_breakpoint,
            at_pc: instruction.is_current,
        }
    }
}
