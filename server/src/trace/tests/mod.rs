//! Tests of whole probes: on real Go programs, in the real kernel.

mod decided_alike;
mod generated;
mod moved;
mod program;
