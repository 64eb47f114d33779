//! Location expressions: how people name places in a program, and the addresses that they mean.
//!
//! The language and its texts are Delve's (`Documentation/cli/locspec.md`, `pkg/locspec/locations.go`, Delve 1.27.1): `file:line`, where the end of a path will
//! do; functions with or without their package and receiver, and a line in them; `/regular expression/` for functions; `*address`; a line, or a distance
//! in lines from where the program stands.

mod error;
mod find;
mod function;
mod function_name;
#[cfg(test)]
mod fuzz;
pub(crate) mod pattern;
mod spec;
mod statements;
mod substitute;

pub(crate) use error::LocationError;
pub(crate) use find::{Find, Found, Here, Place};
pub(crate) use function::places_of_function;
pub(crate) use function_name::{base_name, without_type_arguments};
pub(crate) use spec::LocationSpec;
pub(crate) use statements::places_of_line;
pub(crate) use substitute::substitute;
