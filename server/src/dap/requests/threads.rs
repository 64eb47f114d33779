//! `threads`: the goroutines.

use dap::types::OutputEventCategory;
use serde_json::{Value, json};

use crate::{
    dap::{
        bench::Look, debuggee::State, function_name, goroutine_filter::Filter, message::Request, session::Session,
        settings::Settings,
    },
    inspect::{Goroutine, Whose},
};

/// How many goroutines are listed; Delve's number.
const MAX_GOROUTINES: usize = 1 << 10;

/// What a look at the goroutines found.
struct Listed {
    threads: Vec<Value>,
    /// What the user should read on the console.
    remarks: Vec<String>,
    /// Why none could be listed.
    failed: Option<String>,
}

impl Session {
    /// Answers `threads`. A client needs one thread to pause or to continue; where goroutines cannot be listed, it gets
    /// the placeholders that Delve sends.
    pub(super) async fn on_threads(&mut self, request: &Request, state: State) {
        let running = matches!(state, State::Running | State::Ending)
            || state == State::Configuring && self.debuggee().is_some_and(|debuggee| debuggee.runs_meanwhile);
        let threads = match state {
            _ if running => vec![json!({"id": -1, "name": "Current"})],
            State::Exited(_) => vec![dummy()],
            _ => {
                let listed = self.look(list).await.ok().flatten();
                let listed = listed.unwrap_or_else(|| Listed {
                    threads: vec![dummy()],
                    remarks: Vec::new(),
                    failed: None,
                });
                if let Some(why) = listed.failed {
                    self.out.output(
                        OutputEventCategory::Stderr,
                        format!("Unable to retrieve goroutines: {why}\n"),
                    );
                }
                for remark in listed.remarks {
                    self.out.console(&remark);
                }
                listed.threads
            }
        };
        self.out.respond(request, Some(&json!({"threads": threads})));
    }
}

fn dummy() -> Value {
    json!({"id": 1, "name": "Dummy"})
}

fn list(at: &mut Look<'_>) -> Listed {
    let mut remarks = Vec::new();
    let (mut goroutines, next) = match at.target.goroutines(0, MAX_GOROUTINES) {
        Ok(found) => found,
        Err(why) => {
            return Listed {
                threads: vec![dummy()],
                remarks,
                failed: Some(why.to_string()),
            };
        }
    };
    let mut filters = match Filter::parse(&at.settings.goroutine_filters) {
        Ok(filters) => filters,
        Err(why) => {
            remarks.push(why);
            Vec::new()
        }
    };
    if at.settings.hide_system_goroutines {
        filters.push(Filter::users());
    }
    goroutines.retain(|goroutine| filters.iter().all(|filter| filter.shows(goroutine)));
    let selected = at.selected();
    if next.is_some() && !goroutines.is_empty() {
        remarks.push(format!("Too many goroutines, only loaded {}", goroutines.len()));
        // The one that stopped is shown, however many there are.
        if let Whose::Goroutine(id) = selected
            && goroutines.iter().all(|goroutine| goroutine.id != id)
            && let Ok(goroutine) = at.target.goroutine(id)
        {
            goroutines.push(goroutine);
        }
    }
    let mut threads: Vec<Value> = goroutines
        .iter()
        .map(|goroutine| {
            let thread = goroutine.thread.map(|thread| at.target.own_thread(thread));
            json!({"id": goroutine.id, "name": name(goroutine, thread, selected, at.settings)})
        })
        .collect();
    if threads.is_empty() {
        threads.push(dummy());
    }
    Listed {
        threads,
        remarks,
        failed: None,
    }
}

/// `* [Go 1 label:value] main.work (Thread 1234)`
fn name(goroutine: &Goroutine, thread: Option<i32>, selected: Whose, settings: &Settings) -> String {
    let mark = if selected == Whose::Goroutine(goroutine.id) {
        "* "
    } else {
        ""
    };
    let function = function_name::short(goroutine.user_current.function.as_deref());
    let thread = thread.map_or_else(String::new, |thread| format!(" (Thread {thread})"));
    format!(
        "{mark}[Go {}{}] {function}{thread}",
        goroutine.id,
        labels(goroutine, &settings.show_pprof_labels)
    )
}

/// The labels whose keys are wanted; a single key that is not `*` is not worth repeating.
fn labels(goroutine: &Goroutine, wanted: &[String]) -> String {
    let value = |key: &str| {
        goroutine
            .labels
            .iter()
            .find(|(name, value)| name == key && !value.is_empty())
            .map(|(_, value)| value.as_str())
    };
    let pair = |key: &str| value(key).map_or_else(String::new, |value| format!(" {key}:{value}"));
    match wanted {
        [all] if all == "*" => goroutine.labels.iter().map(|(key, _)| pair(key)).collect(),
        [key] => value(key).map_or_else(String::new, |value| format!(" {value}")),
        keys => keys.iter().map(|key| pair(key)).collect(),
    }
}
