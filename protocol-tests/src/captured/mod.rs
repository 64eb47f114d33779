//! Values as a probe captures them, held against the same values of a program that stopped.
//!
//! Two sessions with one program set the same logpoints. In the first the kernel captures what they say; in the second they have a condition that is always true and that
//! no kernel can decide, so that the program is stopped at each hit and the same expressions are evaluated on its memory. What both wrote must be the same text, or say why
//! it could not be read. Traces are compared alike: those of the kernel with those of `--ebpf=false`.

pub mod compare;
pub mod places;
pub mod report;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use self::compare::Tally;
use self::places::{Place, Program};
use crate::dap_client::{DapClient, Message, SourceBreakpoint};
use crate::failure::Result;
use crate::paths;
use crate::toolchain::Built;
use crate::trace::Tracer;
use crate::trace_text::Entry;
use serde_json::{Value, json};

/// Expressions in one log message: as many as people write there at most. A record has 32 KiB for all of them.
const PER_MESSAGE: usize = 6;
/// The most local variables of one place that are looked at.
const MOST_LOCALS: usize = 60;
/// Between two values of a message; no program of the corpus has it in its strings.
const BETWEEN: &str = " \u{1f} ";
/// How long a program may take.
const LIMIT: Duration = Duration::from_secs(60);
/// True, and for the kernel's programs too much: they make no strings.
const DECIDED_AT_A_STOP: &str = "runtime.buildVersion + \"\" != \"\"";

/// What came of one program.
#[derive(Debug)]
pub struct Outcome {
    /// As the program is called.
    pub program: String,
    /// What came of its log messages.
    pub logpoints: Tally,
    /// What came of its calls and returns, by verbosity.
    pub traces: Vec<(u8, Tally)>,
    /// Why it could not be looked at.
    pub failure: Option<String>,
    /// How long it took.
    pub took: Duration,
}

impl Outcome {
    /// What came of all its values.
    pub fn all(&self) -> Tally {
        let mut all = self.logpoints.clone();
        for (_, tally) in &self.traces {
            all.add(tally);
        }
        all
    }
}

/// Looks at programs, `jobs` of them at once.
pub fn compare_all(programs: &[Program], verbosities: &[u8], jobs: usize) -> Vec<Outcome> {
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(program) = programs.get(number) else { break };
                    let outcome = look_at(program, verbosities);
                    if let Ok(mut outcomes) = outcomes.lock() {
                        outcomes.push((number, outcome));
                    }
                }
            });
        }
    });
    let mut outcomes = outcomes.into_inner().unwrap_or_default();
    outcomes.sort_by_key(|(number, _)| *number);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

fn look_at(program: &Program, verbosities: &[u8]) -> Outcome {
    let begun = Instant::now();
    let mut outcome = Outcome {
        program: program.name.clone(),
        logpoints: Tally::default(),
        traces: Vec::new(),
        failure: None,
        took: Duration::ZERO,
    };
    if let Err(failure) = fill(program, verbosities, &mut outcome) {
        outcome.failure = Some(failure.to_string());
    }
    outcome.took = begun.elapsed();
    outcome
}

fn fill(program: &Program, verbosities: &[u8], outcome: &mut Outcome) -> Result<()> {
    let built = program.built()?;
    let mut places = places::places(&built)?;
    add_locals(&built, &mut places)?;
    let most = places.iter().map(|place| place.expressions.len()).max().unwrap_or(0);
    for round in 0..most.div_ceil(PER_MESSAGE) {
        let asked: Vec<(u32, &[String])> = places
            .iter()
            .filter_map(|place| {
                let part = place.expressions.chunks(PER_MESSAGE).nth(round)?;
                Some((place.line, part))
            })
            .collect();
        let captured = log(&built, &asked, None)?;
        let stopped = log(&built, &asked, Some(DECIDED_AT_A_STOP))?;
        for (line, expressions) in asked {
            let said = |all: &[Said]| -> Vec<String> {
                all.iter()
                    .filter(|said| said.line == line)
                    .map(|said| said.text.clone())
                    .collect()
            };
            let (captured, stopped) = (said(&captured), said(&stopped));
            outcome
                .logpoints
                .messages(line, expressions, &captured, &stopped, BETWEEN);
        }
    }
    for verbosity in verbosities {
        let mut tally = Tally::default();
        let captured = trace(&Tracer::spelunk()?, &built, *verbosity)?;
        let stopped = trace(&Tracer::spelunk_by_stops()?, &built, *verbosity)?;
        tally.entries(&captured, &stopped);
        outcome.traces.push((*verbosity, tally));
    }
    Ok(())
}

fn trace(tracer: &Tracer, built: &Built, verbosity: u8) -> Result<Vec<Entry>> {
    let program = built.program.to_string_lossy();
    tracer.entries(&["-v", &verbosity.to_string(), "--exec", &program, "^main\\."])
}

/// Stops once at each place and adds the names of the local variables there.
fn add_locals(built: &Built, places: &mut [Place]) -> Result<()> {
    let mut client = launched(built)?;
    let breakpoints: Vec<SourceBreakpoint> = places.iter().map(|place| SourceBreakpoint::stop(place.line)).collect();
    client.set_breakpoints(&built.source(places::MAIN), &breakpoints)?;
    client.configuration_done()?;
    loop {
        let event = client.event_where("a stop or the end", LIMIT, |event| {
            matches!(&*event.event, "stopped" | "terminated")
        })?;
        if event.event == "terminated" {
            break;
        }
        let thread = event.body["threadId"].clone();
        let stack = client.request("stackTrace", json!({"threadId": thread, "levels": 1}))?;
        let frame = &stack["stackFrames"][0];
        let line = frame["line"].as_u64().unwrap_or(0);
        let scopes = client.request("scopes", json!({"frameId": frame["id"]}))?;
        let locals = client.request(
            "variables",
            json!({"variablesReference": scopes["scopes"][0]["variablesReference"]}),
        )?;
        if let Some(place) = places.iter_mut().find(|place| u64::from(place.line) == line) {
            let names = locals["variables"].as_array().map_or(&[][..], |all| all);
            let names = names.iter().filter_map(|variable| variable["name"].as_str());
            for name in names.filter(|name| is_name(name)).take(MOST_LOCALS) {
                if !place.expressions.iter().any(|known| known == name) {
                    place.expressions.push(name.to_owned());
                }
            }
        }
        client.request("continue", json!({"threadId": thread}))?;
    }
    client.disconnect(Value::Null)?;
    Ok(())
}

/// A shadowed variable stands in parentheses, and results may have no name.
fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.starts_with('~') && text.chars().all(|c| c.is_alphanumeric() || c == '_')
}

/// One log message.
struct Said {
    line: u32,
    text: String,
}

/// Runs a program to its end and answers what its logpoints said.
fn log(built: &Built, asked: &[(u32, &[String])], condition: Option<&str>) -> Result<Vec<Said>> {
    let mut client = launched(built)?;
    let logpoint = |(line, expressions): &(u32, &[String])| {
        let values: Vec<String> = expressions
            .iter()
            .map(|expression| format!("{{{expression}}}"))
            .collect();
        SourceBreakpoint {
            condition: condition.map(str::to_owned),
            ..SourceBreakpoint::log(*line, &format!("@{line}@{}", values.join(BETWEEN)))
        }
    };
    let logpoints: Vec<SourceBreakpoint> = asked.iter().map(logpoint).collect();
    client.set_breakpoints(&built.source(places::MAIN), &logpoints)?;
    client.configuration_done()?;
    client.event_where("the program's end", LIMIT, |event| event.event == "terminated")?;
    let said = client.received().iter().filter_map(said).collect();
    client.disconnect(Value::Null)?;
    Ok(said)
}

fn said(message: &Message) -> Option<Said> {
    let Message::Event(event) = message else { return None };
    let text = event.body["output"].as_str().filter(|_| event.event == "output")?;
    let text = text.strip_prefix("> [Go ")?.split_once("]: @")?.1;
    let (line, text) = text.split_once('@')?;
    Some(Said {
        line: line.parse().ok()?,
        text: text.strip_suffix('\n').unwrap_or(text).to_owned(),
    })
}

fn launched(built: &Built) -> Result<DapClient> {
    let mut client = DapClient::start(&paths::spelunk()?)?;
    client.launch(json!({"request": "launch", "mode": "exec", "program": built.program}))?;
    Ok(client)
}
