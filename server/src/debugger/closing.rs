//! Links on their way out.
//!
//! The kernel takes some 40 ms to close a link, whatever its size, and writes the original bytes back at some time meanwhile. So nobody waits for it but one
//! who puts something else at its addresses; and the end of this process must wait: a thread that is killed while it closes a link has the kernel give up
//! half-way (`uprobe_unregister_nosync` in `kernel/events/uprobes.c`, "leaking uprobe"). What it leaks swallows every breakpoint instruction that any debugger
//! puts at that place of that file, until the machine is started anew.

use std::collections::BTreeSet;
use std::thread::{self, JoinHandle};

use spelunk_bpf::Link;
use spelunk_dwarf::FileAddr;

/// Links that are being closed.
#[derive(Default)]
pub(super) struct Closing {
    going: Vec<Going>,
    /// Where all that were ever closed lay.
    left: BTreeSet<FileAddr>,
}

struct Going {
    addresses: Vec<FileAddr>,
    thread: JoinHandle<()>,
}

impl Closing {
    /// Closes a link, without waiting for that. Nothing of what it carried may act any more: its sites are disarmed, or nobody listens to them.
    pub(super) fn close(&mut self, link: Link, addresses: Vec<FileAddr>) {
        self.going.retain(|going| !going.thread.is_finished());
        self.left.extend(&addresses);
        let closing = thread::Builder::new()
            .name("close-link".into())
            .spawn(move || drop(link));
        // Without a thread to be had, the link has been dropped with the closure: it is closed.
        if let Ok(thread) = closing {
            self.going.push(Going { addresses, thread });
        }
    }

    /// Returns when no link that is being closed lies at any of these addresses.
    pub(super) fn wait_for(&mut self, addresses: &[FileAddr]) {
        self.wait(|going| going.addresses.iter().any(|addr| addresses.contains(addr)));
    }

    /// Whether a link lay at an address that was closed. Its probe may still be there: a process that this one was about to start has the link's descriptor,
    /// too, until it executes its program.
    pub(super) fn has_left(&self, addr: FileAddr) -> bool {
        self.left.contains(&addr)
    }

    /// Returns when all links are closed.
    pub(super) fn wait_for_all(&mut self) {
        self.wait(|_| true);
    }

    fn wait(&mut self, is_meant: impl Fn(&Going) -> bool) {
        for going in self.going.extract_if(.., |going| is_meant(going)) {
            // Dropping a link does not panic.
            let _ = going.thread.join();
        }
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        self.wait_for_all();
    }
}
