//! Logpoints and traces: from a request to a capture plan, from records back to values and text.
//!
//! Architecture invariant: this is the only place that knows both `spelunk_dwarf` and `spelunk_bpf`.

mod abi;
mod capture;
mod children;
mod clock;
pub(crate) mod command;
mod engine;
mod function;
mod growth;
mod layouts;
mod line;
mod logpoint;
mod pairing;
mod paths;
mod planning;
mod printer;
mod record;
mod signature;
mod sites;
mod stops;

pub(crate) use abi::{AbiRegister, Convention, Place as PassedAt};
pub(crate) use capture::placed;
pub(crate) use engine::{ALL_REGISTERS, Engine, Installed, Place, Reader};
pub(crate) use function::may_be_a_part;
pub(crate) use growth::may_be_overwritten;
pub(crate) use logpoint::{LogPlanner, LogSite};
pub(crate) use paths::package_of;
pub(crate) use signature::Signature;
