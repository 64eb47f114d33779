//! The engine against real Go programs on the real kernel.

mod passing;
mod testee;
