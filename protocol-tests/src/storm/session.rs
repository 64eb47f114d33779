//! A session over DAP that sets and removes breakpoints of all kinds at random while the program runs, and judges everything that it is told.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use regex::Regex;
use serde_json::{Value, json};

use super::{Account, Condition, Counts, Place, Storm};
use crate::child::{Finished, descendants, tracer_of, wait_until};
use crate::dap_client::{DapClient, Event, STEP, SourceBreakpoint};
use crate::failure::{Attempt, Failure, Result};
use crate::moments::Moments;
use crate::paths;

/// Whether breakpoints may stop the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stops {
    /// Only logpoints are set: nobody ever traces the program.
    Never,
    /// Conditions that are seldom true.
    Seldom,
}

/// What is set at a place.
#[derive(Clone, Debug)]
struct Setting {
    place: Place,
    /// Its number in the session, which its messages begin with.
    generation: usize,
    stops: bool,
    condition: Option<Condition>,
    hit_condition: Option<String>,
}

impl Setting {
    /// The message: its number and the values, with bars between them. No value of the program has one.
    fn message(&self) -> String {
        let values: Vec<String> = self.place.shown().iter().map(|value| format!("{{{value}}}")).collect();
        format!("#{}|{}", self.generation, values.join("|"))
    }

    fn breakpoint(&self, line: u32) -> SourceBreakpoint {
        SourceBreakpoint {
            line,
            log_message: (!self.stops).then(|| self.message()),
            condition: self.condition.as_ref().map(|condition| condition.text.clone()),
            hit_condition: self.hit_condition.clone(),
        }
    }
}

/// What was told of the messages of a line.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    shown: u64,
    suppressed: u64,
    throttled: u64,
    lost: u64,
}

/// The patterns of what is told.
struct Patterns {
    place: Regex,
    losses: Regex,
    lost: Regex,
    left_out: Regex,
    /// What is said of each session.
    usual: Regex,
}

/// A client at work.
pub struct Session<'s> {
    storm: &'s Storm,
    client: DapClient,
    stops: Stops,
    target: i32,
    lines: BTreeMap<Place, u32>,
    places: BTreeMap<u32, Place>,
    active: BTreeMap<Place, Setting>,
    all: Vec<Setting>,
    /// The last two settings of each breakpoint by its number: a stop may be told when it has been changed already.
    by_id: HashMap<i64, Vec<usize>>,
    told: BTreeMap<u32, Told>,
    patterns: Patterns,
    ended: bool,
    /// How many stops were looked at.
    pub stopped: u64,
    /// How many times breakpoints were set.
    pub set: u64,
}

/// How long one session's end may take.
const END: Duration = Duration::from_secs(120);

impl<'s> Session<'s> {
    /// Launches the program. Breakpoints that stay are set; it runs.
    pub fn launch(storm: &'s Storm, stops: Stops, rate: Option<u32>) -> Result<Session<'s>> {
        let mut client = DapClient::start(&paths::spelunk()?)?;
        client.initialize()?;
        client.launch(json!({
            "request": "launch", "mode": "exec", "program": storm.built.program, "args": storm.arguments(),
            "logpointRateLimit": rate.unwrap_or(0)
        }))?;
        let server = client.server().pid();
        let mut session = Session::over(storm, client, stops)?;
        // What stays for the whole run: each pass is counted.
        session.stay(Place::Steady, Place::Steady.always(), "% 50")?;
        session.stay(Place::Begun, Place::Begun.always(), "% 1000")?;
        session.send_all()?;
        session.client.configuration_done()?;
        session.target = wait_until("the program", STEP, || {
            descendants(server).into_iter().find(|pid| storm.is_run_by(*pid))
        })?;
        Ok(session)
    }

    /// Attaches to the program that runs as `pid`.
    pub fn attach(storm: &'s Storm, stops: Stops, pid: i32) -> Result<Session<'s>> {
        let mut client = DapClient::start(&paths::spelunk()?)?;
        client.initialize()?;
        client.attach(json!({"request": "attach", "mode": "local", "processId": pid, "probeCpuLimit": 0}))?;
        let mut session = Session::over(storm, client, stops)?;
        session.client.configuration_done()?;
        session.target = pid;
        Ok(session)
    }

    fn over(storm: &'s Storm, mut client: DapClient, stops: Stops) -> Result<Session<'s>> {
        client.keep_no_transcript();
        let mut lines = BTreeMap::new();
        for place in Place::TOGGLED.into_iter().chain([Place::Steady, Place::Begun]) {
            lines.insert(place, storm.line(place)?);
        }
        let pattern = |text| Regex::new(text).attempt("a pattern");
        Ok(Session {
            storm,
            client,
            stops,
            target: 0,
            places: lines.iter().map(|(place, line)| (*line, *place)).collect(),
            lines,
            active: BTreeMap::new(),
            all: Vec::new(),
            by_id: HashMap::new(),
            told: BTreeMap::new(),
            patterns: Patterns {
                place: pattern(r"main\.go:(\d+): (\d+)")?,
                losses: pattern(r"^of \d+ log messages of .*main\.go:(\d+), ")?,
                lost: pattern(r"(\d+) were lost because the ring was full")?,
                left_out: pattern(r"(\d+) were left out by the rate limit")?,
                usual: pattern("^(Type 'dlv help'|Process \\d+ has exited|Detaching)")?,
            },
            ended: false,
            stopped: 0,
            set: 0,
        })
    }

    fn stay(&mut self, place: Place, condition: Condition, hits: &str) -> Result<()> {
        let setting = Setting {
            place,
            generation: self.all.len(),
            stops: false,
            condition: Some(condition),
            hit_condition: Some(hits.to_owned()),
        };
        self.all.push(setting.clone());
        match self.active.insert(place, setting) {
            None => Ok(()),
            Some(_) => Err(Failure::new("it is set already")),
        }
    }

    /// Changes what is set at a place or two, at random.
    pub fn toggle(&mut self, moments: &mut Moments) -> Result<()> {
        let first = moments.below(Place::TOGGLED.len() as u64) as usize;
        // One place or two that are not the same.
        for place in Place::TOGGLED
            .into_iter()
            .cycle()
            .skip(first)
            .take(1 + moments.below(2) as usize)
        {
            let old = self.active.remove(&place);
            if old.is_some() && !moments.one_in(3) {
                continue;
            }
            let generation = self.all.len();
            // A breakpoint stays what it is until it is removed: its account is either of messages or of stops.
            let stops = match old {
                Some(old) => old.stops,
                None => self.stops == Stops::Seldom && !moments.one_in(3),
            };
            let condition = match moments.below(6) {
                0 => Some(place.never()),
                _ if stops => Some(place.seldom(moments)),
                1 => None,
                _ => Some(place.condition(moments)),
            };
            let hit_condition = match moments.below(4) {
                0 => Some(if stops { "% 2" } else { "% 20" }.to_owned()),
                1 => Some(if stops { "> 3" } else { "> 100" }.to_owned()),
                _ => None,
            };
            let setting = Setting {
                place,
                generation,
                stops,
                condition,
                hit_condition,
            };
            self.all.push(setting.clone());
            self.active.insert(place, setting);
        }
        self.send_all()
    }

    /// Takes all out that comes and goes.
    pub fn clear(&mut self) -> Result<()> {
        self.active.retain(|place, _| !Place::TOGGLED.contains(place));
        self.send_all()
    }

    fn send_all(&mut self) -> Result<()> {
        let settings: Vec<Setting> = self.active.values().cloned().collect();
        let breakpoints: Vec<SourceBreakpoint> = settings
            .iter()
            .map(|setting| setting.breakpoint(self.lines[&setting.place]))
            .collect();
        let answers = self.client.set_breakpoints(&self.storm.source(), &breakpoints)?;
        self.set += 1;
        for (setting, answer) in settings.iter().zip(&answers) {
            if !answer.verified || answer.message.is_some() {
                return Err(Failure::new(format!("{setting:?} was answered by {answer:?}")));
            }
            let of_id = self.by_id.entry(answer.id.unwrap_or(0)).or_default();
            if of_id.last() != Some(&setting.generation) {
                of_id.push(setting.generation);
            }
        }
        Ok(())
    }

    /// Judges what comes for so long, or until the program has ended.
    pub fn listen(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        while !self.ended {
            let Some(event) = self.client.next_event(end.saturating_duration_since(Instant::now()))? else {
                break;
            };
            self.judge(&event)?;
            if Instant::now() >= end {
                break;
            }
        }
        if self.stops == Stops::Never && !self.ended && tracer_of(self.target).is_some_and(|tracer| tracer != 0) {
            return Err(Failure::new("the program is traced, although nothing stops it"));
        }
        Ok(())
    }

    fn judge(&mut self, event: &Event) -> Result<()> {
        match (event.event.as_str(), event.body["category"].as_str()) {
            ("output", Some("stdout")) => {
                let text = event.body["output"].as_str().unwrap_or_default();
                text.lines().try_for_each(|line| self.judge_message(line))
            }
            ("output", Some("console")) => self.hear(event.body["output"].as_str().unwrap_or_default()),
            ("stopped", _) => self.judge_stop(event),
            ("terminated", _) => {
                self.ended = true;
                Ok(())
            }
            ("capabilities" | "exited" | "continued" | "output" | "initialized" | "process" | "thread", _) => Ok(()),
            _ => Err(Failure::new(format!("nobody has asked for {event:?}"))),
        }
    }

    /// What was left out, and is told.
    fn hear(&mut self, text: &str) -> Result<()> {
        let number = |found: &regex::Captures<'_>, index: usize| found[index].parse::<u64>().unwrap_or(0);
        for line in text.lines() {
            if line.contains(" suppressed: ") {
                for found in self.patterns.place.captures_iter(line) {
                    self.told.entry(number(&found, 1) as u32).or_default().suppressed += number(&found, 2);
                }
            } else if let Some(found) = self.patterns.losses.captures(line) {
                let told = self.told.entry(number(&found, 1) as u32).or_default();
                told.lost += self.patterns.lost.captures(line).map_or(0, |found| number(&found, 1));
                told.throttled += self
                    .patterns
                    .left_out
                    .captures(line)
                    .map_or(0, |found| number(&found, 1));
            } else if !self.patterns.usual.is_match(line) {
                return Err(Failure::new(format!("nobody has asked for the notice {line:?}")));
            }
        }
        Ok(())
    }

    fn judge_message(&mut self, line: &str) -> Result<()> {
        let wrong = |why: &str| Failure::new(format!("a message is wrong: {why}: {line}"));
        let (goroutine, text) = line
            .strip_prefix("> [Go ")
            .and_then(|rest| rest.split_once("]: "))
            .ok_or_else(|| wrong("it does not begin as messages do"))?;
        let goroutine: i64 = goroutine.parse().attempt("reading a goroutine's number")?;
        let Some(rest) = text.strip_prefix('#') else {
            // Only one place has conditions that may have no value.
            if text.starts_with("error evaluating condition: ") && text.contains("nil") {
                let line = self.lines[&Place::Risked];
                self.told.entry(line).or_default().shown += 1;
                return Ok(());
            }
            return Err(wrong("it is none of ours"));
        };
        let parts: Vec<&str> = rest.split('|').collect();
        let generation: usize = parts[0].parse().attempt("reading a message's number")?;
        let setting = self.all.get(generation).ok_or_else(|| wrong("it has no breakpoint"))?;
        let values = &parts[1..];
        setting.place.judge(values, goroutine).map_err(|why| wrong(&why))?;
        if let Some(condition) = &setting.condition
            && !condition.holds(values)
        {
            return Err(wrong(&format!("its condition is {condition:?}")));
        }
        self.told.entry(self.lines[&setting.place]).or_default().shown += 1;
        Ok(())
    }

    /// The program has stopped: it must be for what is set, at its line, with values that belong together. It goes on.
    fn judge_stop(&mut self, event: &Event) -> Result<()> {
        let wrong = |why: String| Failure::new(format!("a stop is wrong: {why}: {event:?}"));
        if self.stops == Stops::Never || event.body["reason"] != "breakpoint" {
            return Err(wrong("nothing should stop".to_owned()));
        }
        let thread = event.body["threadId"].clone();
        let stack = self
            .client
            .request("stackTrace", json!({"threadId": thread, "startFrame": 0, "levels": 3}))?;
        let frame = &stack["stackFrames"][0];
        let line = frame["line"].as_u64().unwrap_or(0) as u32;
        let place = *self
            .places
            .get(&line)
            .ok_or_else(|| wrong(format!("its frame is {frame}")))?;
        let mut values: Vec<String> = Vec::new();
        for expression in place.shown() {
            let arguments = json!({"expression": expression, "frameId": frame["id"], "context": "watch"});
            let answer = self.client.try_request("evaluate", arguments)?;
            values.push(answer.body["result"].as_str().unwrap_or_default().to_owned());
        }
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        place
            .judge(&values, thread.as_i64().unwrap_or(0))
            .map_err(|why| wrong(format!("{why}: {values:?}")))?;
        let ids: Vec<i64> =
            serde_json::from_value(event.body["hitBreakpointIds"].clone()).attempt("reading the ids")?;
        let generations = ids.iter().filter_map(|id| self.by_id.get(id)).flatten().rev().take(2);
        let settings: Vec<&Setting> = generations.filter_map(|generation| self.all.get(*generation)).collect();
        let is_meant = |setting: &&&Setting| {
            let holds = setting
                .condition
                .as_ref()
                .is_none_or(|condition| condition.holds(&values));
            setting.place == place && setting.stops && holds
        };
        if settings.iter().find(is_meant).is_none() {
            return Err(wrong(format!("{values:?} at {place:?} is not what stops {settings:?}")));
        }
        self.stopped += 1;
        self.client.request("continue", json!({"threadId": thread}))?;
        Ok(())
    }

    /// The accounts of all breakpoints so far.
    pub fn accounts(&mut self) -> Result<Vec<Account>> {
        Account::read(&self.client.request("spelunk/probes", Value::Null)?)
    }

    /// Has the program end; judges what comes until then, and whether all that was counted has been told.
    pub fn end(mut self) -> Result<Finished> {
        self.storm.end()?;
        let begun = Instant::now();
        while !self.ended {
            if begun.elapsed() > END {
                return Err(Failure::new(format!("the program does not end within {END:?}")));
            }
            self.listen(Duration::from_secs(1))?;
        }
        let accounts = self.accounts()?;
        while let Some(event) = self.client.next_event(Duration::ZERO)? {
            self.judge(&event)?;
        }
        let (told, active) = (std::mem::take(&mut self.told), std::mem::take(&mut self.active));
        let kinds: HashMap<i64, bool> = self
            .by_id
            .iter()
            .filter_map(|(id, generations)| Some((*id, self.all.get(*generations.last()?)?.stops)))
            .collect();
        let places = self.places.clone();
        let finished = self.client.disconnect(json!({}))?;
        let counts = Counts::read(&finished.stdout)?;
        settle(&accounts, &kinds, &told, &places)?;
        for place in active.keys().filter(|place| !Place::TOGGLED.contains(place)) {
            let line = places.iter().find(|(_, other)| *other == place).map(|(line, _)| *line);
            let account = accounts.iter().find(|account| Some(account.line) == line);
            settle_permanent(*place, account.attempt("finding the account of what stayed")?, &counts)?;
        }
        for account in &accounts {
            let most = places.get(&account.line).map_or(0, |place| counts.of(place.count()));
            // A probe on its way out and the one that follows it are passed together: the first counts that as idle.
            if account.hits.saturating_sub(account.idle) > most {
                return Err(Failure::new(format!(
                    "the program has passed it {most} times: {account:?}"
                )));
            }
        }
        Ok(finished)
    }

    /// Lets the program go; judges whether all that was counted has been told.
    pub fn leave(mut self, moments: &mut Moments) -> Result<Vec<Account>> {
        // Now with all in place, now without any.
        let clears = moments.one_in(2);
        if clears {
            self.clear()?;
        }
        self.listen(moments.within(30_000))?;
        let accounts = self.accounts()?;
        for account in &accounts {
            if clears && !account.is_complete() {
                return Err(Failure::new(format!("not every hit has its place: {account:?}")));
            }
        }
        let target = self.target;
        self.client.request("disconnect", json!({"terminateDebuggee": false}))?;
        self.client.server().finish_within(STEP)?;
        wait_until("the program to be nobody's tracee", STEP, || {
            (tracer_of(target) == Some(0)).then_some(())
        })?;
        Ok(accounts)
    }
}

/// Whether every hit has its place, and every record that was made was shown, or told to be left out.
fn settle(
    accounts: &[Account],
    stops: &HashMap<i64, bool>,
    told: &BTreeMap<u32, Told>,
    places: &BTreeMap<u32, Place>,
) -> Result<()> {
    let mut by_line: BTreeMap<u32, Account> = BTreeMap::new();
    for account in accounts {
        if !account.is_complete() {
            return Err(Failure::new(format!("not every hit has its place: {account:?}")));
        }
        if stops.get(&account.breakpoint_id) == Some(&false) {
            by_line.entry(account.line).or_default().add(account);
        }
    }
    for (line, account) in &by_line {
        let told = told.get(line).copied().unwrap_or_default();
        if account.emitted != told.shown + told.suppressed
            || account.ring_full != told.lost
            || account.throttled != told.throttled
        {
            return Err(Failure::new(format!("at line {line}: {account:?}, but {told:?}")));
        }
        let may_fail = places.get(line).is_some_and(|place| place.may_fail());
        if account.faults > 0 && !may_fail {
            return Err(Failure::new(format!("something could not be read: {account:?}")));
        }
    }
    Ok(())
}

/// What was there for the whole run has counted what the program has.
fn settle_permanent(place: Place, account: &Account, counts: &Counts) -> Result<()> {
    let passed = counts.of(place.count());
    let (true_ones, every) = match place {
        Place::Steady => (counts.of("thirds"), 50),
        _ => (passed, 1000),
    };
    let let_through = account.emitted + account.throttled + account.ring_full;
    if account.hits != passed || let_through != true_ones / every {
        return Err(Failure::new(format!(
            "of {passed} passes {true_ones} are true, and each {every}th of these is shown: {account:?}"
        )));
    }
    Ok(())
}
