//! Tests of sessions with a real Go program, on the real kernel.

mod breakpoints;
mod ends;
mod program;
mod steps;
