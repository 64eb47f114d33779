//! Passings of tracepoints, which Delve's clients are told as stops although the program runs on.
//!
//! A client of Delve's JSON-RPC lets the program continue, is answered with the state at a tracepoint, and asks to continue again, by itself and at once. Here
//! the program never stopped. So each passing answers one command, in order; and the command that follows an answered one moves nothing, but waits for what
//! came next: another passing, or the stop or the end that the first command has led to, even if that was long ago.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::run::Walk;
use super::{Host, HostError, Passage, Status};
use crate::debugger::Pass;

/// What a command that moves the target is answered with.
#[derive(Clone, Debug)]
pub(crate) enum Advance {
    /// A tracepoint was passed; the target runs on, or did.
    Passed(Arc<Pass>),
    /// The target has come to rest, or is gone.
    Arrived(Passage),
}

/// Passings that nobody has been told of. Their number is bounded where they are made.
#[derive(Default)]
pub(super) struct Passings {
    waiting: VecDeque<Arc<Pass>>,
    /// The client that was told of one, and not yet of the rest that the target comes to: done when it has gone.
    owed: Option<CancellationToken>,
    /// Recorded calls and returns that nobody has fetched.
    recorded: VecDeque<Arc<Pass>>,
}

impl Passings {
    /// Keeps one.
    pub(super) fn keep(&mut self, pass: &Arc<Pass>) {
        let queue = if pass.recorded.is_some() {
            &mut self.recorded
        } else {
            &mut self.waiting
        };
        queue.push_back(Arc::clone(pass));
    }

    /// Whether a client believes that the target stands at a tracepoint.
    fn are_owed(&mut self) -> bool {
        if self.owed.as_ref().is_some_and(CancellationToken::is_cancelled) {
            self.waiting.clear();
            self.owed = None;
        }
        self.owed.is_some()
    }
}

impl Host {
    /// Moves the target on, and waits until it passes a tracepoint, rests or is gone. `started` is called as soon as it moves. `client` is done when who asks has
    /// gone.
    pub(crate) async fn advance(
        self: &Arc<Host>,
        walk: Walk,
        client: &CancellationToken,
        started: impl FnOnce() + Send,
    ) -> Result<Advance, HostError> {
        let is_under_way = walk == Walk::Continue && self.lock().passings.are_owed();
        if !is_under_way {
            self.start(walk).await?;
        }
        started();
        self.next_advance(client).await
    }

    /// The recorded calls and returns that nobody has fetched so far, in order.
    pub(crate) fn fetch_recorded(&self) -> Vec<Arc<Pass>> {
        self.lock().passings.recorded.drain(..).collect()
    }

    async fn next_advance(&self, client: &CancellationToken) -> Result<Advance, HostError> {
        loop {
            let news = self.news.notified();
            tokio::pin!(news);
            // What happens from here on wakes it.
            news.as_mut().enable();
            {
                let mut inner = self.lock();
                if let Some(pass) = inner.passings.waiting.pop_front() {
                    inner.passings.owed = Some(client.clone());
                    return Ok(Advance::Passed(pass));
                }
                if inner.status != Status::Running {
                    inner.passings.owed = None;
                }
            }
            if self.status() != Status::Running {
                return self.arrival().await.map(Advance::Arrived);
            }
            news.await;
        }
    }
}
