//! A process under debug: starting it held, watching it end, looking at it through /proc, and, where something is to stop, tracing it with ptrace(2).
//!
//! [`Inferior`] is a traced process. It lives on one thread, which seizes the target, makes every request and waits for it; a [`Kicker`] calls that thread
//! away from its wait. What is where:
//!
//! * `launch`, `spawn`: fork, hold, execute. `seize`, `detach`: the beginning and the end of tracing. `watch`, `pidfd`: without any.
//! * `identity`, `users`: whether a process may be looked at, and is still the one that was asked for.
//! * `wait`, `events`: what the kernel reports, and what it means. `stop`, `resume`: all threads stop, one goes on. `children`: forks.
//! * `sites`, `displaced`, `slots`, `inject`: an int3 that stays while threads pass it, each executing the instruction's copy elsewhere.
//! * `probed`, `handlers`: threads that a kernel probe has stopped, and what the kernel has begun for them meanwhile.
//! * `saved_thread`: what a thread is before the program is made to call a function, and is again afterwards.
//! * `signals`, `threads`: what a thread is owed. `memory`, `registers`, `maps`, `status`, `ptrace`: what is read and written.
//!
//! Known limit: the kernel forces SIGTRAP on a thread that has blocked it, by setting its action to the default (`force_sig` in the kernel's
//! `kernel/signal.c`). A program with a site in code that runs with all signals blocked (Go's runtime around `clone` and `fork`) loses its own handler of
//! SIGTRAP, which a Go program uses for a better last message only.

mod children;
mod command_line;
mod detach;
mod displaced;
mod error;
mod events;
mod find;
mod handlers;
mod identity;
mod inferior;
mod inject;
mod kick;
mod launch;
mod machine_registers;
mod maps;
mod memory;
mod pidfd;
mod probed;
mod ptrace;
mod registers;
mod resume;
mod saved_thread;
mod seize;
mod signals;
mod sites;
mod slots;
mod spawn;
mod status;
mod stop;
mod threads;
mod tree;
mod users;
mod wait;
mod watch;

pub(crate) use command_line::command_line;
pub(crate) use error::ProcessError;
pub(crate) use find::{existing, process_with_prefix};
pub(crate) use identity::Identity;
pub(crate) use inferior::{Inferior, ProcessEvent, Seize};
pub(crate) use kick::Kicker;
pub(crate) use launch::{Launch, Launched, Output};
pub(crate) use machine_registers::MachineRegisters;
pub(crate) use saved_thread::SavedThread;
pub(crate) use status::own_number;
pub(crate) use tree::descendants;
pub(crate) use watch::{ExitStatus, watch};

#[cfg(test)]
mod tests;
