//! The engine against real Go programs on the real kernel.

mod attaching;
mod children;
mod ends;
mod passing;
mod signals;
mod stepping;
mod testee;
mod uprobes;
