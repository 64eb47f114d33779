//! What happens while a command is under way, for clients that fetch it (`GetEvents`).

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::debugger::BreakpointView;

/// How many are kept; more are left out (`eventBufferSize` in Delve's `service/rpc2/server.go`).
const KEPT: usize = 100;

/// One thing that has happened.
#[derive(Clone, Debug)]
pub(crate) enum Movement {
    /// The target was moved on.
    Resumed,
    /// It stands still again, or is gone.
    Stopped,
    /// A breakpoint that was nowhere has a place.
    Materialized(Arc<BreakpointView>),
    /// A child of the target has executed a program.
    Spawned {
        /// Its process id.
        pid: i32,
        /// What it was started with.
        command_line: String,
        /// Whether it is wanted as a target.
        is_wanted: bool,
    },
}

/// Those that nobody has fetched.
#[derive(Debug, Default)]
pub(crate) struct Movements {
    waiting: Mutex<VecDeque<Movement>>,
    arrived: Notify,
    /// How many commands are under way that asked for it.
    commands: AtomicUsize,
}

impl Movements {
    /// A command begins that wants to know what happens.
    pub(crate) fn begin(&self) {
        self.commands.fetch_add(1, Ordering::SeqCst);
        self.keep(Movement::Resumed);
    }

    /// It has ended.
    pub(crate) fn end(&self) {
        self.keep(Movement::Stopped);
        self.commands.fetch_sub(1, Ordering::SeqCst);
    }

    /// Keeps something that has happened, if a command that wants to know of it is under way.
    pub(super) fn note(&self, movement: Movement) {
        if self.commands.load(Ordering::SeqCst) > 0 {
            self.keep(movement);
        }
    }

    /// Keeps one, if there is room.
    fn keep(&self, movement: Movement) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < KEPT {
            waiting.push_back(movement);
            drop(waiting);
            self.arrived.notify_one();
        }
    }

    /// All there are, at least one: the first is waited for.
    pub(crate) async fn fetch(&self) -> Vec<Movement> {
        loop {
            let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
            if !waiting.is_empty() {
                return waiting.into();
            }
            self.arrived.notified().await;
        }
    }
}
