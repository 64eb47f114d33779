//! What a Go binary says about itself: places, types, locations, unwinding.
//!
//! This crate reads files only. It knows no process, no probe and no protocol, and it takes every file for hostile:
//! damaged input gives an error or an absent answer, never a panic.

mod addr;
mod binary;
mod build_id;
mod elf;
mod error;
mod functions;
mod go_version;
mod sections;

pub use addr::{FileAddr, FileOffset, LoadBias, ProcAddr};
pub use binary::Binary;
pub use build_id::BuildId;
pub use elf::Segment;
pub use error::{DwarfError, LocationError, OpenError};
pub use functions::{Abi, Function};
pub use go_version::GoVersion;
