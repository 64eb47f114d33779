//! What happens while a command is under way, for clients that fetch it (`GetEvents`).

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

/// How many are kept; more are left out (`eventBufferSize` in Delve's `service/rpc2/server.go`).
const KEPT: usize = 100;

/// One thing that has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Movement {
    /// The target was moved on.
    Resumed,
    /// It stands still again, or is gone.
    Stopped,
}

/// Those that nobody has fetched.
#[derive(Debug, Default)]
pub(crate) struct Movements {
    waiting: Mutex<VecDeque<Movement>>,
    arrived: Notify,
}

impl Movements {
    /// Keeps one, if there is room.
    pub(crate) fn note(&self, movement: Movement) {
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
