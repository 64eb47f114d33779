//! Logpoints and traces: from a request to a capture plan, from records back to values and text.
//!
//! Architecture invariant: this is the only place that knows both `spelunk_dwarf` and `spelunk_bpf`.

mod abi;
mod accounting;
mod accounts;
mod capture;
mod children;
mod choice;
mod clock;
pub(crate) mod command;
mod engine;
mod function;
mod growth;
mod layouts;
mod line;
mod logpoint;
mod lower;
mod order;
mod pairing;
mod passing;
mod paths;
mod planning;
mod printer;
mod reader;
mod record;
mod record_scope;
mod signature;
mod sites;
mod stopping;
mod stops;
mod terms;
#[cfg(test)]
mod tests;
mod wanted;

pub(crate) use abi::{AbiRegister, Convention, Place as PassedAt, RegisterPart};
pub(crate) use capture::placed;
#[cfg(test)]
pub(crate) use engine::ALL_REGISTERS;
pub(crate) use engine::{Engine, Installed, Place};
pub(crate) use function::{SitePlan, may_be_a_part};
pub(crate) use growth::may_be_overwritten;
pub(crate) use logpoint::{LogPlanner, LogSite};
#[cfg(test)]
pub(crate) use lower::{AtLine, LowerError, lower, model::Model};
pub(crate) use paths::package_of;
pub(crate) use reader::{Consumer, Reader};
pub(crate) use signature::Signature;
pub(crate) use stopping::{Rewind, StopPlanner, rewind};
pub(crate) use terms::{Terms, Unfit};
