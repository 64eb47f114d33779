//! Probes of all kinds that come and go while a program runs that does everything at once that they could disturb. No value that is shown is wrong, no condition
//! that is said to hold does not, each hit is accounted for, and the program ends by itself with its results right.
//!
//! A moment of it runs here, and a million hits and more with `SPELUNK_STRESS=1` (`make stress`).

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use protocol_tests::child::{ChildGroup, descendants, tracer_of, wait_until};
use protocol_tests::failure::{Failure, Result};
use protocol_tests::moments::{Moments, is_long};
use protocol_tests::storm::{Account, Counts, Place, Session, Stops, Storm, WORKERS, judge_trace};
use protocol_tests::toolchain::Build;
use protocol_tests::trace::Tracer;

/// How long a program may take to its end that nobody holds up.
const END: Duration = Duration::from_secs(120);

/// What a session does before it is enough.
struct Enough {
    rounds: u64,
    hits: u64,
    time: Duration,
}

fn enough() -> Enough {
    if is_long() {
        Enough {
            rounds: 250,
            hits: 400_000,
            time: Duration::from_secs(150),
        }
    } else {
        Enough {
            rounds: 7,
            hits: 0,
            time: Duration::from_secs(5),
        }
    }
}

fn hits(accounts: &[Account]) -> u64 {
    accounts.iter().map(|account| account.hits).sum()
}

/// Sets and removes breakpoints until it is enough; answers the hits.
fn storm_through(session: &mut Session<'_>, moments: &mut Moments) -> Result<u64> {
    let enough = enough();
    let begun = Instant::now();
    let mut counted = 0;
    while (session.set < enough.rounds || counted < enough.hits) && begun.elapsed() < enough.time {
        session.toggle(moments)?;
        let time = moments.within(150_000);
        session.listen(time)?;
        if session.set.is_multiple_of(8) {
            counted = hits(&session.accounts()?);
        }
    }
    Ok(hits(&session.accounts()?))
}

fn launched(what: &str, build: Build, stops: Stops, rate: Option<u32>) -> Result<()> {
    let storm = Storm::new(build)?;
    let mut moments = Moments::new(what);
    let mut session = Session::launch(&storm, stops, rate)?;
    let counted = storm_through(&mut session, &mut moments)?;
    let (set, stopped) = (session.set, session.stopped);
    let finished = session.end()?;
    println!(
        "{what}: {counted} hits, breakpoints set {set} times, {stopped} stops, {:?}",
        finished.took
    );
    if is_long() && counted < enough().hits {
        return Err(Failure::new(format!("only {counted} hits in {:?}", enough().time)));
    }
    Ok(())
}

#[test]
fn logpoints_come_and_go_in_a_storm() -> Result<()> {
    launched("logpoints in a storm", Build::NoOpt, Stops::Never, None)
}

#[test]
fn a_rate_limit_in_a_storm() -> Result<()> {
    launched("a rate limit in a storm", Build::NoOpt, Stops::Never, Some(200))
}

#[test]
fn conditions_stop_seldom_in_a_storm() -> Result<()> {
    launched("conditions in a storm", Build::NoOpt, Stops::Seldom, None)
}

#[test]
fn sessions_attach_and_let_go_in_a_storm() -> Result<()> {
    let storm = Storm::new(Build::NoOpt)?;
    let mut moments = Moments::new("attaching in a storm");
    let running = storm.start()?;
    let (rounds, set) = if is_long() { (20, 12) } else { (2, 3) };
    let (mut counted, mut stopped) = (0, 0);
    for round in 0..rounds {
        let stops = if round % 2 == 0 { Stops::Never } else { Stops::Seldom };
        let mut session = Session::attach(&storm, stops, running.pid())?;
        while session.set < set {
            session.toggle(&mut moments)?;
            let time = moments.within(100_000);
            session.listen(time)?;
        }
        stopped += session.stopped;
        counted += hits(&session.leave(&mut moments)?);
    }
    storm.end()?;
    let finished = running.finish(END)?;
    Counts::read(&finished.stdout)?;
    println!("attaching in a storm: {counted} hits, {stopped} stops");
    Ok(())
}

/// A trace of the running program, with a condition or none, for a while.
fn trace_for_a_while(pid: i32, moments: &mut Moments) -> Result<[u64; 5]> {
    let modulus = moments.below(40) + 2;
    let condition = format!("x % {modulus} == 1 && twice == 2*x");
    let pid = pid.to_string();
    let with_condition = moments.one_in(2);
    let flags: &[&str] = if with_condition {
        &["--stats", "--cond", &condition, "-p", &pid, "^main.visit$"]
    } else if moments.one_in(2) {
        &["--stats", "-p", &pid, "^main.(visit|lookUp|risk|steady)$"]
    } else {
        &["--stats", "-p", &pid, r"^main.(grow|pair\[.*|steady)$"]
    };
    let tracer = Tracer::spelunk()?.start(flags)?;
    // It takes a while until its probes are in.
    moments.pass(400_000);
    tracer.signal(Signal::SIGINT)?;
    let finished = tracer.finish(END)?;
    if finished.code() == 130 && finished.stderr.is_empty() {
        // It was told to end before it had begun.
        return Ok([0; 5]);
    }
    if finished.code() != 0 {
        return Err(Failure::new(format!(
            "`trace {flags:?}` ended with {}:\n{}",
            finished.code(),
            finished.stderr
        )));
    }
    let is_meant = |x: i64| !with_condition || x % modulus as i64 == 1;
    Ok(judge_trace(&finished.stderr, is_meant)?.all)
}

#[test]
fn traces_begin_and_end_in_a_storm() -> Result<()> {
    let storm = Storm::new(Build::NoOpt)?;
    let arguments = storm.arguments();
    let program = storm.built.program.to_string_lossy();
    let condition = "o.customer == \"c7\" || o.total % 300 == 0";
    let pattern = "^main.(begin|place)$";
    let mut flags = vec!["--stats", "--cond", condition, "--exec", &program, pattern, "--"];
    flags.extend(arguments.iter().map(String::as_str));
    // One trace from the beginning to the end, while others come and go.
    let whole: ChildGroup = Tracer::spelunk()?.start(&flags)?;
    let server = whole.pid();
    let target = wait_until("the program", END, || {
        descendants(server).into_iter().find(|pid| storm.is_run_by(*pid))
    })?;
    let rounds = if is_long() { 120 } else { 2 };
    let others = |what: &str| -> Result<[u64; 5]> {
        let mut moments = Moments::new(what);
        let mut all = [0; 5];
        for _ in 0..rounds {
            let seen = trace_for_a_while(target, &mut moments)?;
            for (sum, one) in all.iter_mut().zip(seen) {
                *sum += one;
            }
            if tracer_of(target).is_some_and(|tracer| tracer != 0) {
                return Err(Failure::new("a trace has traced the program by ptrace"));
            }
        }
        Ok(all)
    };
    let all: Result<Vec<[u64; 5]>> = std::thread::scope(|scope| {
        let threads =
            ["traces in a storm, one", "traces in a storm, the other"].map(|what| scope.spawn(move || others(what)));
        let join = |thread: std::thread::ScopedJoinHandle<'_, Result<[u64; 5]>>| {
            thread.join().map_err(|_| Failure::new("a thread has panicked"))?
        };
        threads.into_iter().map(join).collect()
    });
    let all = all?;
    storm.end()?;
    let finished = whole.finish(END)?;
    let counts = Counts::read(&finished.stdout)?;
    let traced = judge_trace(&finished.stderr, |_| true)?;
    for (function, place) in [("main.begin", Place::Begun), ("main.place", Place::Placed)] {
        let line = finished
            .stderr
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{function} calls")))
            .unwrap_or_default();
        let hits: u64 = line
            .split_whitespace()
            .next()
            .and_then(|word| word.parse().ok())
            .unwrap_or(0);
        assert_eq!(
            hits,
            counts.of(place.count()),
            "{function} with {WORKERS} workers: {line}"
        );
    }
    println!("traces in a storm: {all:?} of those that came and went, {traced:?} of the one that stayed");
    Ok(())
}
