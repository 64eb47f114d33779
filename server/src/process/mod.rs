//! A process under debug: starting it held, watching it end, looking at it through /proc, and, where something is to stop, tracing it with ptrace(2).

mod children;
mod detach;
mod displaced;
mod error;
mod events;
mod identity;
mod inferior;
mod inject;
mod kick;
mod launch;
mod maps;
mod memory;
mod ptrace;
mod registers;
mod resume;
mod seize;
mod signals;
mod sites;
mod slots;
mod spawn;
mod status;
mod stop;
mod threads;
mod wait;
mod watch;

pub(crate) use error::ProcessError;
pub(crate) use identity::{executable, same_user_or_root};
pub(crate) use inferior::{Inferior, ProcessEvent, Seize};
pub(crate) use kick::Kicker;
pub(crate) use launch::{Launch, Launched, Output};
pub(crate) use watch::{ExitStatus, watch};

#[cfg(test)]
mod tests;
