//! Whole sessions of the real `dlv connect`, with Delve's own server and with spelunk's: the same commands, the same answers.

mod ending;
mod looking;
mod play;
mod scenarios;

pub use play::TerminalPlay;
pub use scenarios::all;
