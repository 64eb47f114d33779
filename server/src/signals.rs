//! Interrupt and termination signals as messages.

use std::io;
use std::thread;

use crossbeam_channel::{Receiver, unbounded};
use nix::sys::signal::{SigSet, Signal};

/// SIGINT and SIGTERM, taken from the process's threads.
pub(crate) struct Interrupts {
    received: Receiver<Signal>,
}

impl Interrupts {
    /// Blocks the signals in this thread, and so in all threads made by it later, and has one thread wait for them.
    ///
    /// To be called before any other thread is made. Programs that are started get an empty signal mask again.
    pub(crate) fn catch() -> io::Result<Interrupts> {
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGINT);
        signals.add(Signal::SIGTERM);
        signals.thread_block()?;
        let (send, received) = unbounded();
        thread::Builder::new().name("signals".into()).spawn(move || {
            while let Ok(signal) = signals.wait() {
                if send.send(signal).is_err() {
                    break;
                }
            }
        })?;
        Ok(Interrupts { received })
    }

    /// One message for each signal.
    pub(crate) fn received(&self) -> &Receiver<Signal> {
        &self.received
    }
}
