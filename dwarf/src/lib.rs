//! What a Go binary says about itself: places, types, locations, unwinding.
//!
//! This crate reads files only. It knows no process, no probe and no protocol, and it takes every file for hostile:
//! damaged input gives an error or an absent answer, never a panic.

mod addr;
mod binary;
mod build_id;
mod derived;
mod elf;
mod entry_index;
mod error;
mod frames;
mod function_info;
mod function_lines;
mod functions;
mod go_version;
mod inlined;
mod lines;
mod location;
mod location_text;
mod packages;
mod parallel;
mod runtime;
mod scope;
mod sections;
mod separate;
mod statements;
mod symbols;
mod types;
mod units;
mod unwind;

pub use addr::{FileAddr, FileOffset, LoadBias, ProcAddr};
pub use binary::Binary;
pub use build_id::BuildId;
pub use elf::Segment;
pub use entry_index::Global;
pub use error::{Absence, DwarfError, LocationError, OpenError};
pub use frames::Frame;
pub use function_info::{FunctionInfo, InlinedCall, Scope, Variable};
pub use function_lines::LineRow;
pub use functions::{Abi, Function};
pub use go_version::GoVersion;
pub use inlined::InlinedSite;
pub use location::{DwarfReg, Location, LocationRange, Piece, PieceKind};
pub use packages::Package;
pub use runtime::{FING_RUNNING_FINALIZER, RuntimeLayout};
pub use scope::{DICTIONARY, ScopedVariable, dictionary_of, variables_of_function, variables_of_inlined};
pub use separate::DebugDirectories;
pub use statements::Statement;
pub use types::{Field, Kind, Type, TypeId};
pub use unwind::{CfaRule, RegisterRule, UnwindRow};
