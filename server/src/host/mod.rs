//! One target, many clients: what `rpc/`, a DAP session in remote mode and `cli/headless` share.
//!
//! A [`Host`] owns how the target came to be (its [`Recipe`]), the debug session of the moment (a restart makes a new one), and what Delve keeps on the
//! server: whether the target runs, the last stop, the selected goroutine and thread. Clients ask it from any thread. Events of the session arrive at one
//! place, which keeps that state, wakes whoever waits for the target, and hands them on to every subscriber.

mod clients;
mod debug_info;
mod movements;
mod passings;
mod recipe;
mod restart;
mod run;
mod unattended;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use tokio_util::sync::CancellationToken;

use crate::debugger::{DebugError, Event, EventSender, SavedBreakpoints, Session, Stop};
use crate::inspect::{Tid, Whose};

pub(crate) use movements::{Movement, Movements};
pub(crate) use passings::Advance;
pub(crate) use recipe::{Origin, Recipe};
pub(crate) use restart::Again;
pub(crate) use run::{Passage, Walk};
pub(crate) use unattended::unattended;

/// Why the host could not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HostError {
    /// The target is gone. In Delve's words.
    #[error("Process {pid} has exited with status {status}")]
    Exited {
        /// The process id it had.
        pid: i32,
        /// Its exit status, negative for a signal.
        status: i32,
    },
    /// The target was let go.
    #[error("the target was detached")]
    Detached,
    /// Carries a whole sentence.
    #[error("{0}")]
    Failed(String),
}

impl From<DebugError> for HostError {
    fn from(error: DebugError) -> HostError {
        HostError::Failed(error.to_string())
    }
}

/// Where the target stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// It stands still.
    Stopped,
    /// It runs.
    Running,
    /// It is gone.
    Exited {
        /// The process id it had.
        pid: i32,
        /// Its exit status, negative for a signal; 0 where the kernel no longer tells.
        status: i32,
    },
    /// It was let go, or killed by a detach.
    Detached,
}

/// The target at rest. It is not moved as long as somebody has this.
#[derive(Clone)]
pub(crate) struct Rest {
    /// Given back when the last who looks has looked.
    _lease: Arc<Lease>,
    /// The session to ask.
    pub(crate) session: Arc<Session>,
    /// Why it rests.
    pub(crate) stop: Stop,
    /// The goroutine, or the thread without one, that clients mean when they name none.
    pub(crate) selected: Whose,
    /// The thread that clients mean when they name none; `None` where the selected goroutine is on no thread.
    pub(crate) thread: Option<Tid>,
}

impl Rest {
    /// The same for each target, in the order in which they came: its session is about that one.
    pub(crate) fn targets(&self) -> Result<Vec<Rest>, HostError> {
        let processes = self.session.processes()?;
        if processes.len() == 1 {
            return Ok(vec![self.clone()]);
        }
        let of = |pid: i32| Rest {
            session: Arc::new(self.session.of_process(pid)),
            ..self.clone()
        };
        Ok(processes.into_iter().map(of).collect())
    }
}

/// Keeps the target from being moved by one client while another looks at it.
struct Lease {
    host: Arc<Host>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.host.lock().leases -= 1;
        self.host.tell_all();
    }
}

/// A command that has not been answered.
pub(crate) struct UnderWay {
    host: Arc<Host>,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.host.lock().commands -= 1;
        self.host.tell_all();
    }
}

/// One target and its clients.
pub(crate) struct Host {
    /// Itself, for who keeps it at rest.
    this: Weak<Host>,

    recipe: Mutex<Recipe>,
    inner: Mutex<Inner>,
    /// The target's status has changed.
    changed: Condvar,
    /// The same, for tasks.
    news: tokio::sync::Notify,
    /// Held from when the target is said to run until it has been told to: a halt that came in between would find it standing, and be forgotten.
    departing: Mutex<()>,
    /// What commands that asked for it have done, until a client asks.
    movements: Movements,
    /// Cancelled when the host has nothing to debug any more and the server is to end.
    over: CancellationToken,
    /// Several clients may come, one after the other or together.
    multiclient: bool,
    debug_info_directories: debug_info::DebugInfoDirectories,
}

struct Inner {
    session: Option<Arc<Session>>,
    status: Status,
    stop: Option<Stop>,
    selected: Option<Whose>,
    thread: Option<Tid>,
    /// It was stopped by being attached to, and has not been moved since.
    just_attached: bool,
    /// The breakpoints of the last target that was restarted.
    saved: SavedBreakpoints,
    /// How many look at it.
    leases: usize,
    /// How many commands have not been answered.
    commands: usize,
    /// What tracepoints tell.
    passings: passings::Passings,
    /// Counts the sessions, so that news of an earlier one is told apart.
    generation: u64,
    subscribers: Vec<Subscriber>,
    /// The tasks that hand on what the sessions say.
    listening: Vec<tokio::task::JoinHandle<()>>,
}

/// Whom to tell what happens.
struct Subscriber {
    sender: EventSender,
    /// Also what the target writes, which waits for room.
    with_output: bool,
}

fn is_output(event: &Event) -> bool {
    matches!(event, Event::Stdout(_) | Event::Stderr(_))
}

impl Inner {
    /// Hands what is not output to every subscriber, which takes no time, and forgets those who are gone.
    fn tell(&mut self, event: &Event) {
        if !is_output(event) {
            self.subscribers
                .retain(|subscriber| subscriber.sender.send(event.clone()).is_ok());
        }
    }

    /// Who is to be handed output, and waited for.
    fn for_output(&self, event: &Event) -> Vec<EventSender> {
        let wanted = self
            .subscribers
            .iter()
            .filter(|subscriber| subscriber.with_output && is_output(event));
        wanted.map(|subscriber| subscriber.sender.clone()).collect()
    }
}

impl Host {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No panic leaves the state half changed.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the target stands.
    pub(crate) fn status(&self) -> Status {
        self.lock().status
    }

    /// Whether the target stands still because it was attached to.
    pub(crate) fn was_just_attached(&self) -> bool {
        self.lock().just_attached
    }

    /// What commands that asked for it have done.
    pub(crate) fn movements(&self) -> &Movements {
        &self.movements
    }

    /// Whether several clients may come.
    pub(crate) fn is_multiclient(&self) -> bool {
        self.multiclient
    }

    /// Whether what the target writes comes as events.
    pub(crate) fn captures_output(&self) -> bool {
        matches!(self.recipe().origin, Origin::Launch { spec, .. } if spec.capture_output)
    }

    /// Done when the server is to end: the target was let go or killed on purpose.
    pub(crate) fn over(&self) -> CancellationToken {
        self.over.clone()
    }

    /// How the target came to be.
    pub(crate) fn recipe(&self) -> Recipe {
        self.recipe.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The session of the moment, whether the target runs or not; for what works in every state, such as changes of breakpoints.
    pub(crate) fn session(&self) -> Result<Arc<Session>, HostError> {
        let inner = self.lock();
        match inner.status {
            Status::Exited { pid, status } => Err(HostError::Exited { pid, status }),
            Status::Detached => Err(HostError::Detached),
            Status::Stopped | Status::Running => inner.session.clone().ok_or(HostError::Detached),
        }
    }

    /// As [`Host::session`], also when the target is gone: what a binary says about itself outlives the process.
    pub(crate) fn last_session(&self) -> Result<Arc<Session>, HostError> {
        self.lock().session.clone().ok_or(HostError::Detached)
    }

    /// Waits until the target stands still, as Delve lets most of its requests wait, and says what is to be looked at. It is not moved meanwhile.
    pub(crate) fn at_rest(&self) -> Result<Rest, HostError> {
        let mut inner = self.lock();
        loop {
            if let Some(rest) = self.rest_of(&mut inner)? {
                return Ok(rest);
            }
            inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// As [`Host::at_rest`]; `None` when the target runs.
    pub(crate) fn at_rest_now(&self) -> Result<Option<Rest>, HostError> {
        self.rest_of(&mut self.lock())
    }

    fn rest_of(&self, inner: &mut Inner) -> Result<Option<Rest>, HostError> {
        match inner.status {
            Status::Exited { pid, status } => Err(HostError::Exited { pid, status }),
            Status::Detached => Err(HostError::Detached),
            Status::Running => Ok(None),
            Status::Stopped => {
                let (Some(session), Some(stop)) = (inner.session.clone(), inner.stop.clone()) else {
                    return Err(HostError::Detached);
                };
                let host = self.this.upgrade().ok_or(HostError::Detached)?;
                inner.leases += 1;
                Ok(Some(Rest {
                    _lease: Arc::new(Lease { host }),
                    selected: inner.selected.unwrap_or(stop.whose),
                    thread: inner.thread,
                    session,
                    stop,
                }))
            }
        }
    }

    /// Makes a goroutine, or a thread, the one that clients mean when they name none; `thread` is the one that runs it.
    pub(crate) fn select(&self, whose: Whose, thread: Option<Tid>) {
        let mut inner = self.lock();
        inner.selected = Some(whose);
        inner.thread = thread;
    }
}
