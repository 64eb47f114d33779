//! Values, held against Delve's one by one: programs are stopped at the same places by both servers, and every variable and expression that both show is compared.
//!
//! A [`program`] is built once. [`dap`] and [`rpc`] look at it through the two protocols and write down what they were shown, each with a title; [`compare`] puts two
//! such lists side by side, and [`report`] counts.

pub mod compare;
pub mod dap;
pub mod normalise;
pub mod program;
pub mod report;
pub mod rpc;

use serde_json::Value;

use crate::failure::Result;

/// One thing that a server showed.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// In which way it was asked for: `DAP watch`, `RPC Eval`.
    pub context: &'static str,
    /// Where and what, unique within the context of one program: `STOP: EXPRESSION`.
    pub title: String,
    /// The answer, without what differs from run to run.
    pub answer: Value,
}

/// What one server showed of a program over one protocol.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// In the order in which it was asked.
    pub observations: Vec<Observation>,
    /// Why it could not be asked further.
    pub failed: Option<String>,
}

impl Observed {
    /// What a session writes down, and what has ended it early.
    fn by(session: impl FnOnce(&mut Vec<Observation>) -> Result<()>) -> Observed {
        let mut observations = Vec::new();
        let failed = session(&mut observations).err();
        Observed {
            observations,
            failed: failed.map(|failure| format!("{failure:?}")),
        }
    }
}
