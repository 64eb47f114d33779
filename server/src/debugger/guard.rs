//! Looks after what probes cost the program, on a thread of its own: the target's thread may be waiting for the target, which may be busy in the probes.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use spelunk_bpf::{SiteCosts, SiteId, Watch};

use super::BreakpointId;
use super::breaker::{Breaker, Verdict};
use super::control::KickerSlot;

/// How often it looks.
const TICK: Duration = Duration::from_millis(250);

/// A breakpoint's probes took too much, and do nothing any more; they are still to be taken out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tripped {
    /// The breakpoint.
    pub(super) id: BreakpointId,
    /// What they took of one core.
    pub(super) share: f64,
}

/// The thread, and what it looks after.
pub(super) struct Guard {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    over: bool,
    /// The share of one core that a breakpoint's probes may take.
    limit: Option<f64>,
    watched: BTreeMap<BreakpointId, Watched>,
}

struct Watched {
    sites: Vec<SiteId>,
    breaker: Breaker,
    /// When it was looked at last, and what had been spent then.
    last: Option<(Instant, Duration)>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guard {
    /// Starts the thread, which has nothing to look after yet. What it switches off it tells to `tripped`, and wakes whoever waits for the target.
    pub(super) fn start(watch: Watch, tripped: Sender<Tripped>, kicker: KickerSlot) -> Guard {
        let shared = Arc::new(Shared::default());
        let its = Arc::clone(&shared);
        let thread = thread::Builder::new().name("probe-guard".into()).spawn(move || {
            let costs = SiteCosts::of_this_machine();
            while wait(&its) {
                for trip in look(&mut its.lock(), &watch, costs) {
                    if tripped.send(trip).is_err() {
                        return;
                    }
                    if let Some(kicker) = &*kicker.lock().unwrap_or_else(PoisonError::into_inner) {
                        kicker.kick();
                    }
                }
            }
        });
        if let Err(error) = &thread {
            tracing::error!("what probes cost cannot be looked after: {error}");
        }
        Guard {
            shared,
            thread: thread.ok(),
        }
    }

    /// Says what is looked after from now on, and what it may cost. What was looked after before goes on being so.
    pub(super) fn set(&self, limit: Option<f64>, probes: BTreeMap<BreakpointId, Vec<SiteId>>) {
        let mut state = self.shared.lock();
        state.limit = limit;
        let mut before = std::mem::take(&mut state.watched);
        let watched = probes.into_iter().map(|(id, sites)| {
            let known = before.remove(&id).filter(|known| known.sites == sites);
            let watched = known.unwrap_or(Watched {
                sites,
                breaker: Breaker::default(),
                last: None,
            });
            (id, watched)
        });
        state.watched = watched.collect();
        self.shared.changed.notify_all();
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.shared.lock().over = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Waits for the next look: a tick, where there is anything to look after. Answers whether there is to be one.
fn wait(shared: &Shared) -> bool {
    let mut state = shared.lock();
    while !state.over && (state.limit.is_none() || state.watched.is_empty()) {
        state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
    let end = Instant::now() + TICK;
    while !state.over {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        let waited = shared.changed.wait_timeout(state, left);
        state = waited.unwrap_or_else(PoisonError::into_inner).0;
    }
    false
}

/// Looks at each breakpoint's probes, and switches off those that took too much.
fn look(state: &mut State, watch: &Watch, costs: SiteCosts) -> Vec<Tripped> {
    let Some(limit) = state.limit else { return Vec::new() };
    let mut tripped = Vec::new();
    state.watched.retain(|id, watched| {
        let spent: Duration = watched.sites.iter().map(|site| watch.spent(*site, costs)).sum();
        let now = Instant::now();
        let (before, spent_before) = watched.last.replace((now, spent)).unwrap_or((now, spent));
        let verdict = watched
            .breaker
            .observe(now - before, spent.saturating_sub(spent_before), limit);
        let Verdict::Trip(share) = verdict else { return true };
        // At once, for as long as the probes are still there.
        for site in &watched.sites {
            watch.switch_off(*site);
        }
        tripped.push(Tripped { id: *id, share });
        false
    });
    tripped
}
