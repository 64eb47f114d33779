//! The Go toolchain: where it is, and how it is asked to build what is to be debugged.
//!
//! Builds are made as Delve makes them: without optimisation and without inlining
//! (`-gcflags 'all=-N -l'`), into a file that is removed when the session ends.

mod build;
mod find;
mod flags;
mod package;

pub(crate) use build::{Binary, Build, BuildError, BuildKind};
pub(crate) use find::{NoToolchain, Toolchain};
pub(crate) use flags::BuildFlags;
pub(crate) use package::{directory_of, module_directories};
