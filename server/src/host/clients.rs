//! What happens in the target, told to everybody.

use std::sync::{Arc, Condvar, Mutex};

use tokio_util::sync::CancellationToken;

use crate::debugger::{Event, EventReceiver, Session, event_queue};

use super::passings::Passings;
use super::recipe::{Origin, Recipe};
use super::run::blocking;
use super::{Host, HostError, Inner, Movements, Status};

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
                passings: Passings::default(),
                leases: 0,
                generation: 0,
                subscribers: Vec::new(),
            }),
            changed: Condvar::new(),
            news: tokio::sync::Notify::new(),
            movements: Movements::default(),
            over: CancellationToken::new(),
            multiclient,
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
            Origin::Attach { pid } => Session::attach(*pid, sender),
        })
        .await??;
        let session = Arc::new(session);
        let stop = session.stop();
        let generation = {
            let mut inner = self.lock();
            inner.generation += 1;
            inner.passings = Passings::default();
            inner.session = Some(Arc::clone(&session));
            inner.status = if is_attached { Status::Running } else { Status::Stopped };
            inner.stop = stop;
            inner.selected = None;
            inner.thread = None;
            inner.generation
        };
        self.tell_all();
        tokio::spawn(Arc::clone(self).listen(generation, receiver));
        if is_attached && !keep_running {
            self.halt().await?;
            self.lock().just_attached = true;
        }
        Ok(())
    }

    /// Keeps the state up to date with what happens in one session.
    async fn listen(self: Arc<Host>, generation: u64, receiver: EventReceiver) {
        while let Some(event) = receiver.recv().await {
            let subscribers = {
                let mut inner = self.lock();
                if inner.generation != generation {
                    return;
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
                    _ => {}
                }
                inner.subscribers.clone()
            };
            self.tell_all();
            for subscriber in subscribers {
                let _ = subscriber.send_from_task(event.clone()).await;
            }
        }
    }

    /// Everything that happens from now on, for one client.
    pub(crate) fn subscribe(&self) -> EventReceiver {
        let (sender, receiver) = event_queue();
        self.lock().subscribers.push(sender);
        receiver
    }
}
