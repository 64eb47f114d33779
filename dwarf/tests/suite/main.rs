//! Tests against real files: Go programs built for the purpose, other programs, damaged ones.

mod cgo_programs;
mod damaged_files;
mod errors;
mod fixture;
mod go_programs;
mod lines_and_addresses;
mod separate_files;
