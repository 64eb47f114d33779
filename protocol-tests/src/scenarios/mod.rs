//! What is played with Delve and with spelunk: ordinary sessions, and mistakes, one function each.

mod attaching;
mod breakpoints;
mod calling;
mod disassembling;
mod ending;
mod failing;
mod goroutines;
mod launching;
mod stepping;
mod values;

use crate::differential::Protocol;
use crate::transcripts::{Scenario, Script};

/// The scenarios of one protocol.
pub fn of(protocol: Protocol) -> Vec<Scenario> {
    match protocol {
        Protocol::Dap => dap(),
        Protocol::Rpc => crate::rpc_differential::all(),
        Protocol::Terminal => crate::terminal::all(),
        // These are no sessions that are played.
        Protocol::Values => Vec::new(),
    }
}

fn dap() -> Vec<Scenario> {
    [
        launching::SCENARIOS,
        breakpoints::SCENARIOS,
        stepping::SCENARIOS,
        disassembling::SCENARIOS,
        failing::SCENARIOS,
        goroutines::SCENARIOS,
        values::SCENARIOS,
        calling::SCENARIOS,
        attaching::SCENARIOS,
        ending::SCENARIOS,
    ]
    .concat()
}

/// A scenario, by the name of its function's subject.
const fn scenario(name: &'static str, play: fn(&mut crate::play::Play) -> crate::failure::Result<()>) -> Scenario {
    Scenario {
        name,
        script: Script::Dap(play),
    }
}
