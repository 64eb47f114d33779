//! Tests of sessions with a real Go program, on the real kernel.

mod attached;
mod breakpoints;
mod calls;
mod conditions;
mod ends;
mod exceptions;
mod family;
mod interrupted;
mod program;
mod returns;
mod single;
mod steps;
