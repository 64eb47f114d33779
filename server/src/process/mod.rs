//! A process under debug, as far as it need not be traced: starting it held, watching it end, looking at it through /proc.

mod identity;
mod launch;
mod watch;

pub(crate) use identity::{executable, same_user_or_root};
pub(crate) use launch::{Launch, Launched, Output};
pub(crate) use watch::{ExitStatus, watch};
