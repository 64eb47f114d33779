//! The generated corpus: a Go program of many signatures that says itself what a trace of it must show.
//!
//! The program is made from a seed and is the same for the same seed. Its support files hold the types, and a printer
//! that turns values into the text of a trace line by Go's reflection; for each call and each return the program
//! writes one line of JSON to standard output, before a debugger's line for it is due.

mod compare;
mod generate;
mod kinds;
mod numbers;

pub use compare::{Expected, Judgement, Share, Tally, judge, read_expected};
pub use generate::Corpus;
pub use numbers::Numbers;
