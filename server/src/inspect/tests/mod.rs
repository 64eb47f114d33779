//! Tests on real Go programs, stopped by ptrace.

mod against_dlv;
mod cgo;
mod conditions;
mod fuzz;
mod goroutines;
mod hostile;
mod moving;
mod program;
mod stacks;
mod values;
mod values_hostile;
