//! What happens in the target, told to everybody.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::debugger::{Event, EventReceiver, SavedBreakpoints, Session, event_queue};

use super::passings::Passings;
use super::recipe::{Origin, Recipe};
use super::run::blocking;
use super::{Host, HostError, Inner, Movement, Movements, Status, Subscriber, is_output};

/// How long the rest of what a target has written may take to be told.
const LAST_NEWS: Duration = Duration::from_secs(1);

impl Host {
    /// Brings the target of a recipe about: a launched one is held before its first instruction, an attached one is stopped, or left running where
    /// `keep_running` says so.
    pub(crate) async fn open(recipe: Recipe, multiclient: bool, keep_running: bool) -> Result<Arc<Host>, HostError> {
        let host = Arc::new_cyclic(|this| Host {
            this: this.clone(),
            recipe: Mutex::new(recipe),
            inner: Mutex::new(Inner {
                session: None,
                status: Status::Detached,
                stop: None,
                selected: None,
                thread: None,
                just_attached: false,
                saved: SavedBreakpoints::default(),
                leases: 0,
                commands: 0,
                passings: Passings::default(),
                generation: 0,
                subscribers: Vec::new(),
                listening: Vec::new(),
            }),
            changed: Condvar::new(),
            news: tokio::sync::Notify::new(),
            departing: Mutex::default(),
            movements: Movements::default(),
            over: CancellationToken::new(),
            multiclient,
            debug_info_directories: super::debug_info::DebugInfoDirectories::default(),
        });
        host.begin(keep_running).await?;
        Ok(host)
    }

    /// Makes a session for the recipe, in place of the one that there may have been.
    pub(super) async fn begin(self: &Arc<Host>, keep_running: bool) -> Result<(), HostError> {
        let recipe = self.recipe();
        let (sender, receiver) = event_queue();
        let is_attached = matches!(recipe.origin, Origin::Attach { .. });
        let session = blocking(move || match &recipe.origin {
            Origin::Launch { spec, .. } => Session::launch(spec, sender),
            Origin::Attach { pid, unknown_versions } => Session::attach(*pid, *unknown_versions, sender),
        })
        .await??;
        let session = Arc::new(session);
        let stop = session.stop();
        let (generation, before) = {
            let mut inner = self.lock();
            inner.generation += 1;
            inner.passings = Passings::default();
            let before = inner.session.replace(Arc::clone(&session));
            inner.status = if is_attached { Status::Running } else { Status::Stopped };
            inner.stop = stop;
            inner.selected = None;
            inner.thread = None;
            (inner.generation, before)
        };
        self.tell_all();
        let listening = tokio::spawn(Arc::clone(self).listen(generation, receiver));
        self.lock().listening.push(listening);
        // Its thread is waited for, which has links to close: not while others wait for the lock.
        blocking(move || drop(before)).await?;
        if is_attached && !keep_running {
            self.halt().await?;
            self.lock().just_attached = true;
        }
        Ok(())
    }

    /// Keeps the state up to date with what happens in one session.
    async fn listen(self: Arc<Host>, generation: u64, receiver: EventReceiver) {
        while let Some(event) = receiver.recv().await {
            let to_wait_for = {
                let mut inner = self.lock();
                let is_current = inner.generation == generation;
                // What an earlier target has written is still to be told, but where it stands concerns nobody.
                if !is_current && !is_output(&event) {
                    continue;
                }
                match &event {
                    Event::Stopped(stop) => {
                        inner.status = Status::Stopped;
                        inner.selected = Some(stop.whose);
                        inner.thread = None;
                        inner.stop = Some(stop.clone());
                    }
                    Event::Exited { pid, status } => {
                        inner.status = Status::Exited {
                            pid: *pid,
                            status: status.unwrap_or(0),
                        };
                    }
                    Event::Traced(pass) => inner.passings.keep(pass),
                    Event::Materialized(view, _) => self.movements.note(Movement::Materialized(Arc::clone(view))),
                    Event::Spawned {
                        pid,
                        command_line,
                        is_wanted,
                    } => self.movements.note(Movement::Spawned {
                        pid: *pid,
                        command_line: command_line.clone(),
                        is_wanted: *is_wanted,
                    }),
                    _ => {}
                }
                inner.tell(&event);
                inner.for_output(&event)
            };
            self.tell_all();
            for subscriber in to_wait_for {
                let _ = subscriber.send_from_task(event.clone()).await;
            }
        }
    }

    /// Everything but what the target writes that happens from now on, for one client.
    pub(crate) fn subscribe(&self) -> EventReceiver {
        self.subscribe_to(false)
    }

    /// Everything that happens from now on. The target, and all other clients, wait for this one to take what the target writes.
    pub(crate) fn subscribe_to_all(&self) -> EventReceiver {
        self.subscribe_to(true)
    }

    /// Lets every subscriber have what is still to be told of a target that is gone, and tells them that there will be no more.
    pub(crate) async fn tell_the_rest(&self) {
        let listening = std::mem::take(&mut self.lock().listening);
        for one in listening {
            // Who does not take it cannot keep the others.
            let _ = tokio::time::timeout(LAST_NEWS, one).await;
        }
        self.lock().subscribers.clear();
    }

    fn subscribe_to(&self, with_output: bool) -> EventReceiver {
        let (sender, receiver) = event_queue();
        self.lock().subscribers.push(Subscriber { sender, with_output });
        receiver
    }
}
