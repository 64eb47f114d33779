//! What is played.

mod arguments;
mod breakpoints;
mod calling;
mod codec;
mod ending;
mod following;
mod inspecting;
mod locations;
mod moving;
mod program;
mod running;

use serde_json::{Value, json};

use super::play::RpcPlay;
use crate::failure::Result;
use crate::transcripts::{Scenario, Script};

/// All scenarios.
pub fn all() -> Vec<Scenario> {
    [
        codec::SCENARIOS,
        program::SCENARIOS,
        locations::SCENARIOS,
        breakpoints::SCENARIOS,
        moving::SCENARIOS,
        inspecting::SCENARIOS,
        calling::SCENARIOS,
        arguments::SCENARIOS,
        running::SCENARIOS,
        following::SCENARIOS,
        ending::SCENARIOS,
    ]
    .concat()
}

/// A scenario, by the name of its function's subject.
const fn scenario(name: &'static str, play: fn(&mut RpcPlay) -> Result<()>) -> Scenario {
    Scenario {
        name,
        script: Script::Rpc(play),
    }
}

/// How values are loaded, as `dlv connect` asks for them.
fn load() -> Value {
    json!({"FollowPointers": true, "MaxVariableRecurse": 1, "MaxStringLen": 64, "MaxArrayValues": 64, "MaxStructFields": -1})
}

/// As [`load`], with little room.
fn load_little() -> Value {
    json!({"FollowPointers": false, "MaxVariableRecurse": 0, "MaxStringLen": 3, "MaxArrayValues": 2, "MaxStructFields": 1})
}

/// The selected goroutine's top frame.
fn here() -> Value {
    json!({"GoroutineID": -1, "Frame": 0})
}

/// A frame of the selected goroutine.
fn frame(number: i64) -> Value {
    json!({"GoroutineID": -1, "Frame": number})
}
