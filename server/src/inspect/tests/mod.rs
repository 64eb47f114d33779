//! Tests on real Go programs, stopped by ptrace.

mod cgo;
mod goroutines;
mod moving;
mod program;
mod stacks;
mod values;
