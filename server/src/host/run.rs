//! Moving the target on, and waiting for it to rest.

use std::sync::{Arc, PoisonError};

use crate::debugger::{CallWish, EndWith, Event, StepKind};
use crate::inspect::Whose;

use super::recipe::Origin;
use super::{Host, HostError, Status, UnderWay};

/// How the target is to move on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Walk {
    /// Until something stops it.
    Continue,
    /// By a step of a goroutine.
    Step(Whose, StepKind),
    /// To evaluate an expression with calls of its functions.
    Call(CallWish),
}

/// What a walk has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passage {
    /// The target rests; [`Host::at_rest`] says where.
    Stopped,
    /// The target is gone.
    Exited {
        /// The process id it had.
        pid: i32,
        /// Its exit status.
        status: i32,
    },
}

impl Host {
    /// Moves the target on, and does not wait for where it gets.
    pub(crate) async fn start(self: &Arc<Host>, walk: Walk) -> Result<(), HostError> {
        let host = Arc::clone(self);
        blocking(move || host.start_here(walk)).await?
    }

    /// As [`Host::start`], for threads that may block.
    pub(crate) fn start_here(&self, walk: Walk) -> Result<(), HostError> {
        let (session, departing) = {
            let mut inner = self.lock();
            loop {
                match inner.status {
                    Status::Exited { pid, status } => return Err(HostError::Exited { pid, status }),
                    Status::Detached => return Err(HostError::Detached),
                    Status::Stopped if inner.leases == 0 => break,
                    // It runs, or somebody looks at it.
                    Status::Stopped | Status::Running => {
                        inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
                    }
                }
            }
            let session = inner.session.clone().ok_or(HostError::Detached)?;
            let departing = self.departing.lock().unwrap_or_else(PoisonError::into_inner);
            inner.status = Status::Running;
            inner.just_attached = false;
            // Before the target moves, so that no subscriber hears of its next stop first.
            inner.tell(&Event::Resumed);
            (session, departing)
        };
        self.tell_all();
        let moved = match walk {
            Walk::Continue => session.resume(),
            Walk::Step(whose, kind) => session.step(whose, kind),
            Walk::Call(wish) => session.call_expression(wish),
        };
        drop(departing);
        if let Err(error) = moved {
            self.put_back();
            return Err(error.into());
        }
        Ok(())
    }

    /// The target could not be moved on, and stands where it stood. It may be gone, which the session tells.
    fn put_back(&self) {
        let mut inner = self.lock();
        if inner.status == Status::Running {
            inner.status = Status::Stopped;
        }
        if let Some(stop) = inner.stop.clone() {
            inner.tell(&Event::Stopped(stop));
        }
        drop(inner);
        self.tell_all();
    }

    /// Waits until the target runs.
    pub(crate) async fn departure(&self) {
        loop {
            let news = self.news.notified();
            tokio::pin!(news);
            // What happens from here on wakes it.
            news.as_mut().enable();
            if self.status() == Status::Running {
                return;
            }
            news.await;
        }
    }

    /// Waits until the target does not run.
    pub(crate) async fn arrival(&self) -> Result<Passage, HostError> {
        loop {
            let news = self.news.notified();
            tokio::pin!(news);
            // What happens from here on wakes it.
            news.as_mut().enable();
            match self.status() {
                Status::Running => news.await,
                Status::Stopped => return Ok(Passage::Stopped),
                Status::Exited { pid, status } => return Ok(Passage::Exited { pid, status }),
                Status::Detached => return Err(HostError::Detached),
            }
        }
    }

    /// Whether the server has started the target.
    pub(crate) fn is_launched(&self) -> bool {
        matches!(self.recipe().origin, Origin::Launch { .. })
    }

    /// Says that a command is under way until what this gives is dropped.
    pub(crate) fn command(self: &Arc<Host>) -> UnderWay {
        self.lock().commands += 1;
        UnderWay { host: Arc::clone(self) }
    }

    /// Waits until the target does not run and no command is under way: who was first is answered first.
    pub(crate) async fn quiet(&self) {
        loop {
            let news = self.news.notified();
            tokio::pin!(news);
            news.as_mut().enable();
            {
                let inner = self.lock();
                if inner.status != Status::Running && inner.commands == 0 {
                    return;
                }
            }
            news.await;
        }
    }

    /// Stops the running target, and waits until it rests.
    pub(crate) async fn halt(self: &Arc<Host>) -> Result<Passage, HostError> {
        if self.status() == Status::Running {
            let host = Arc::clone(self);
            blocking(move || host.halt_here()).await??;
        }
        self.arrival().await
    }

    /// Stops the running target, for threads that may block.
    pub(crate) fn halt_here(&self) -> Result<(), HostError> {
        let session = self.session()?;
        let _departed = self.departing.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(session.halt()?)
    }

    /// Ends what the server has started, and lets go of what it has attached to.
    pub(crate) async fn finish(self: &Arc<Host>) -> Result<(), HostError> {
        self.detach(false).await
    }

    /// Lets go of the target, or kills it, and lets the server end. Works in every state. A target that the server has started is killed, as Delve does.
    pub(crate) async fn detach(self: &Arc<Host>, kill: bool) -> Result<(), HostError> {
        let host = Arc::clone(self);
        blocking(move || host.detach_here(kill)).await
    }

    /// As [`Host::detach`], for threads that may block.
    pub(crate) fn detach_here(&self, kill: bool) {
        self.release_here(kill);
        self.over.cancel();
    }

    /// As [`Host::detach_here`]; the server is to end when the client that asked has been answered, and [`Host::over`] is cancelled then.
    pub(crate) fn release_here(&self, kill: bool) {
        let session = {
            let mut inner = self.lock();
            inner.generation += 1;
            if !matches!(inner.status, Status::Exited { .. }) {
                inner.status = Status::Detached;
            }
            inner.session.take()
        };
        self.tell_all();
        if let Some(session) = session {
            let how = if kill || self.is_launched() {
                EndWith::Kill
            } else {
                EndWith::Detach
            };
            session.end(how);
        }
    }

    pub(super) fn tell_all(&self) {
        self.changed.notify_all();
        self.news.notify_waiters();
    }
}

/// Runs what blocks on a thread where it may.
pub(super) async fn blocking<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> Result<R, HostError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| HostError::Failed(error.to_string()))
}
