//! The scenarios played against Delve and against spelunk, and what came of it.

use std::fmt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::differential::{Difference, Explained, Protocol, compare};
use crate::failure::Result;
use crate::normalise::Session;
use crate::play::Play;
use crate::rpc_differential::RpcPlay;
use crate::terminal::TerminalPlay;

/// One session that is played with both.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// What it is about.
    pub name: &'static str,
    /// What the client does.
    pub script: Script,
}

/// What a client does, and in which protocol.
#[derive(Clone, Copy)]
pub enum Script {
    /// An editor's session.
    Dap(fn(&mut Play) -> Result<()>),
    /// Calls to a headless server.
    Rpc(fn(&mut RpcPlay) -> Result<()>),
    /// Commands that are given to `dlv connect`.
    Terminal(fn(&mut TerminalPlay) -> Result<()>),
}

impl Scenario {
    /// What the session speaks.
    pub fn protocol(&self) -> Protocol {
        match self.script {
            Script::Dap(_) => Protocol::Dap,
            Script::Rpc(_) => Protocol::Rpc,
            Script::Terminal(_) => Protocol::Terminal,
        }
    }
}

/// What came of one scenario.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The scenario.
    pub name: String,
    /// How many messages were compared.
    pub messages: usize,
    /// How many are equal.
    pub equal: usize,
    /// How many differ as explained.
    pub explained: usize,
    /// Which explanations were used, as indices.
    pub used: Vec<usize>,
    /// The differences that nobody explained.
    pub unexplained: Vec<Difference>,
    /// Why the scenario could not be played to its end, with whom.
    pub broken: Vec<String>,
    /// How long both plays took.
    pub took: Duration,
}

/// Everything that was compared in one run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// One line for each scenario.
    pub outcomes: Vec<Outcome>,
    /// Explanations that explained nothing, when all scenarios were played.
    pub unused: Vec<String>,
    /// What is missing, where a difference is known and not meant.
    pub open: Vec<String>,
}

impl Outcome {
    /// Whether nothing is left to be explained.
    pub fn is_fine(&self) -> bool {
        self.unexplained.is_empty() && self.broken.is_empty()
    }
}

/// Plays scenarios, `jobs` at a time.
pub fn play(scenarios: &[Scenario], theirs: &Path, ours: &Path, explained: &[Explained], jobs: usize) -> Vec<Outcome> {
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(vec![Outcome::default(); scenarios.len()]);
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                while let Some(at) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|at| *at < scenarios.len()) {
                    let outcome = play_one(&scenarios[at], theirs, ours, explained);
                    if let Ok(mut outcomes) = outcomes.lock() {
                        outcomes[at] = outcome;
                    }
                }
            });
        }
    });
    outcomes.into_inner().unwrap_or_default()
}

/// Plays one scenario with one server; what was said up to a failure counts, too.
pub fn record(scenario: &Scenario, program: &Path) -> (Session, Option<String>) {
    let recorded = match scenario.script {
        Script::Dap(script) => Play::begin(program).and_then(|mut play| {
            let failed = script(&mut play).err();
            Ok((play.session()?, failed))
        }),
        Script::Rpc(script) => RpcPlay::begin(program).map(|mut play| {
            let failed = script(&mut play).err();
            (play.session(), failed)
        }),
        Script::Terminal(script) => TerminalPlay::begin(program).map(|mut play| {
            let failed = script(&mut play).err();
            (play.told(), failed)
        }),
    };
    match recorded {
        Ok((session, failed)) => (session, failed.map(|failure| format!("{failure:?}"))),
        Err(failure) => (Session::default(), Some(format!("{failure:?}"))),
    }
}

fn play_one(scenario: &Scenario, theirs: &Path, ours: &Path, explained: &[Explained]) -> Outcome {
    let began = Instant::now();
    let (their_session, their_failure) = record(scenario, theirs);
    let (our_session, our_failure) = record(scenario, ours);
    let compared = compare(scenario.protocol(), &their_session.messages, &our_session.messages);
    let mut outcome = Outcome {
        name: scenario.name.to_owned(),
        messages: compared.messages,
        equal: compared.equal,
        took: began.elapsed(),
        ..Outcome::default()
    };
    let output = |theirs: &str, ours: &str, what: &str| {
        let difference = Difference {
            message: what.to_owned(),
            pointer: "output".to_owned(),
            theirs: Value::from(theirs).to_string(),
            ours: Value::from(ours).to_string(),
        };
        (theirs != ours).then(|| vec![difference])
    };
    let outputs = [
        output(&their_session.stdout, &our_session.stdout, "stdout"),
        output(&their_session.stderr, &our_session.stderr, "stderr"),
    ];
    for message in compared.differing.into_iter().chain(outputs.into_iter().flatten()) {
        let mut all = true;
        for one in message {
            if let Some(by) = explained.iter().position(|by| by.covers(scenario.name, &one)) {
                outcome.used.push(by);
            } else {
                all = false;
                outcome.unexplained.push(one);
            }
        }
        outcome.explained += usize::from(all);
    }
    outcome
        .broken
        .extend(their_failure.map(|why| format!("with dlv: {why}")));
    outcome
        .broken
        .extend(our_failure.map(|why| format!("with spelunk: {why}")));
    outcome
}

impl Report {
    /// A report; `whole` says whether all scenarios were played, so that unused explanations can be told.
    pub fn new(outcomes: Vec<Outcome>, explained: &[Explained], whole: bool) -> Report {
        let used = |index: usize| outcomes.iter().any(|outcome| outcome.used.contains(&index));
        let unused = explained
            .iter()
            .enumerate()
            .filter(|(index, _)| whole && !used(*index))
            .map(|(_, one)| one.title())
            .collect();
        let open = explained
            .iter()
            .enumerate()
            .filter(|(index, one)| one.open && used(*index))
            .map(|(_, one)| format!("{}: {}", one.title(), one.reason))
            .collect();
        Report { outcomes, unused, open }
    }

    /// Whether there is nothing to complain about.
    pub fn is_fine(&self) -> bool {
        self.outcomes.iter().all(Outcome::is_fine) && self.unused.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LONGEST: usize = 1500;
        let width = self
            .outcomes
            .iter()
            .map(|outcome| outcome.name.len())
            .max()
            .unwrap_or(8);
        writeln!(
            f,
            "{:width$}  messages  equal  explained  unexplained  seconds",
            "scenario"
        )?;
        let row = |f: &mut fmt::Formatter<'_>, name: &str, n: [usize; 4], took: Duration| {
            let [messages, equal, explained, unexplained] = n;
            let seconds = took.as_secs_f64();
            writeln!(
                f,
                "{name:width$}  {messages:8}  {equal:5}  {explained:9}  {unexplained:11}  {seconds:7.1}"
            )
        };
        let mut sum = [0; 4];
        let mut took = Duration::ZERO;
        for outcome in &self.outcomes {
            let unexplained = outcome.unexplained.len() + outcome.broken.len();
            let numbers = [outcome.messages, outcome.equal, outcome.explained, unexplained];
            row(f, &outcome.name, numbers, outcome.took)?;
            sum.iter_mut().zip(numbers).for_each(|(sum, number)| *sum += number);
            took += outcome.took;
        }
        row(f, &format!("{} scenarios", self.outcomes.len()), sum, took)?;
        let cut = |text: &str| match text.char_indices().nth(LONGEST) {
            Some((at, _)) => format!("{}…", &text[..at]),
            None => text.to_owned(),
        };
        for outcome in self.outcomes.iter().filter(|outcome| !outcome.is_fine()) {
            writeln!(f, "\n{}", outcome.name)?;
            for one in &outcome.unexplained {
                writeln!(
                    f,
                    "  {} at {}\n     dlv: {}\n    ours: {}",
                    one.message,
                    one.pointer,
                    cut(&one.theirs),
                    cut(&one.ours)
                )?;
            }
            for why in &outcome.broken {
                writeln!(f, "  not played to its end {why}")?;
            }
        }
        for open in &self.open {
            writeln!(f, "\nnot as it should be yet: {open}")?;
        }
        for unused in &self.unused {
            writeln!(f, "\nexplained, but there is no such difference: {unused}")?;
        }
        Ok(())
    }
}
