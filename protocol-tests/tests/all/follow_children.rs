//! `spelunk trace --follow-children`: processes that the program makes of itself are traced from their first instruction, others are not.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use protocol_tests::child::{ChildGroup, descendants, is_alive, wait_until};
use protocol_tests::failure::Result;
use protocol_tests::toolchain::{Build, Built, fixture};
use protocol_tests::trace::Tracer;

const STEP: Duration = Duration::from_secs(30);

/// What the program says of a visit: `WHAT LEVEL in PID`.
fn visits(stdout: &str) -> Vec<(String, i32)> {
    stdout
        .lines()
        .filter_map(|line| {
            let (visit, pid) = line.split_once(" in ")?;
            Some((visit.to_owned(), pid.parse().ok()?))
        })
        .collect()
}

/// The calls of `main.visit` that a trace shows, in the program's words, with the process of a line that names one.
fn calls(stderr: &str) -> Vec<(String, Option<i32>)> {
    stderr
        .lines()
        .filter_map(|line| {
            let (pid, line) = match line.strip_prefix("[pid ") {
                Some(rest) => {
                    let (pid, rest) = rest.split_once("] ")?;
                    (Some(pid.parse().ok()?), rest)
                }
                None => (None, line),
            };
            let arguments = line.strip_prefix("> goroutine(1): main.visit(")?.strip_suffix(')')?;
            let (level, what) = arguments.split_once(", ")?;
            Some((format!("{} {level}", what.trim_matches('"')), pid))
        })
        .collect()
}

/// The same of what the program itself said, `first` being the process whose lines name none.
fn expected(visits: &[(String, i32)], first: i32) -> Vec<(String, Option<i32>)> {
    visits
        .iter()
        .map(|(visit, pid)| (visit.clone(), (*pid != first).then_some(*pid)))
        .collect()
}

fn family() -> Result<Built> {
    fixture("family", Build::Opt)
}

/// Runs a trace of the program to its end; answers what the program and the trace said.
fn traced(arguments: &[&str]) -> Result<(String, String)> {
    let built = family()?;
    let program = built.program.to_string_lossy().into_owned();
    let mut all = vec!["--follow-children", "--exec", &program, "^main.visit$", "--"];
    all.extend(arguments);
    let finished = Tracer::spelunk()?.run(&all)?;
    assert_eq!(finished.code(), 0, "{}", finished.stderr);
    Ok((finished.stdout, finished.stderr))
}

#[test]
fn a_program_that_runs_itself_is_traced_at_each_level() -> Result<()> {
    let (stdout, stderr) = traced(&["again", "4"])?;
    let visits = visits(&stdout);
    assert_eq!(visits.len(), 10, "{stdout}");
    let first = visits[0].1;
    // Each process waits for the next one, so there is one order.
    assert_eq!(calls(&stderr), expected(&visits, first), "{stderr}");
    let returns = stderr
        .lines()
        .filter(|line| line.contains(">> goroutine(1): main.visit => ("))
        .count();
    assert_eq!(returns, 10, "{stderr}");
    assert!(
        stderr.ends_with(&format!("Process {first} has exited with status 0\n")),
        "{stderr}"
    );
    Ok(())
}

#[test]
fn returns_are_paired_within_their_process() -> Result<()> {
    let built = family()?;
    let program = built.program.to_string_lossy().into_owned();
    let traced = Tracer::spelunk()?.run(&[
        "--follow-children",
        "--timing",
        "--exec",
        &program,
        "^main.main$",
        "--",
        "again",
        "2",
    ])?;
    // main.main of each lies at the same depth of goroutine 1, one process in the other.
    let mut open: BTreeMap<&str, usize> = BTreeMap::new();
    for line in traced.stderr.lines() {
        let process = line.split_once('>').map_or("", |(process, _)| process);
        if line.contains("> goroutine(1): main.main()") {
            *open.entry(process).or_default() += 1;
        }
        if line.contains(">> goroutine(1): main.main => ()") {
            assert_eq!(open.remove(process), Some(1), "{}", traced.stderr);
            assert!(line.ends_with("s]"), "a return without its duration: {line}");
        }
    }
    assert!(open.is_empty(), "{open:?} in {}", traced.stderr);
    Ok(())
}

#[test]
fn a_condition_is_decided_in_each_process() -> Result<()> {
    let built = family()?;
    let program = built.program.to_string_lossy().into_owned();
    let arguments = [
        "--follow-children",
        "--cond",
        "level == 1",
        "--exec",
        &program,
        "^main.visit$",
    ];
    let traced = Tracer::spelunk()?.run(&[&arguments[..], &["--", "again", "3"]].concat())?;
    let all = visits(&traced.stdout);
    let at_level: Vec<_> = all.iter().filter(|(visit, _)| visit.ends_with(" 1")).cloned().collect();
    assert_eq!(at_level.len(), 2, "{}", traced.stdout);
    assert_eq!(
        calls(&traced.stderr),
        expected(&at_level, all[0].1),
        "{}",
        traced.stderr
    );
    let returns: Vec<&str> = traced
        .stderr
        .lines()
        .filter_map(|line| Some(line.split_once(">> goroutine(1): main.visit => ")?.1))
        .collect();
    assert_eq!(returns, ["(\"again1\")", "(\"done1\")"], "{}", traced.stderr);
    Ok(())
}

#[test]
fn other_programs_are_not_followed() -> Result<()> {
    let (stdout, stderr) = traced(&["others", "3"])?;
    let visits = visits(&stdout);
    // The last was executed by a shell: another program came between.
    assert_eq!(
        visits.last().map(|(visit, _)| visit.as_str()),
        Some("hidden 0"),
        "{stdout}"
    );
    let first = visits[0].1;
    assert_eq!(calls(&stderr), expected(&visits[..3], first), "{stderr}");
    Ok(())
}

#[test]
fn a_process_that_executes_its_own_file_stays_the_same_process() -> Result<()> {
    let (stdout, stderr) = traced(&["replace", "3"])?;
    let visits = visits(&stdout);
    assert_eq!(visits.len(), 4, "{stdout}");
    assert_eq!(calls(&stderr), expected(&visits, visits[0].1), "{stderr}");
    Ok(())
}

#[test]
fn the_trace_ends_with_the_last_of_the_family() -> Result<()> {
    let (stdout, stderr) = traced(&["leave", "1"])?;
    let visits = visits(&stdout);
    assert_eq!(visits.len(), 2, "{stdout}");
    assert_eq!(calls(&stderr), expected(&visits, visits[0].1), "{stderr}");
    Ok(())
}

#[test]
fn without_the_flag_the_first_process_alone_is_traced() -> Result<()> {
    let built = family()?;
    let program = built.program.to_string_lossy().into_owned();
    let traced = Tracer::spelunk()?.run(&["--exec", &program, "^main.visit$", "--", "again", "2"])?;
    let all = visits(&traced.stdout);
    let first = all[0].1;
    let own: Vec<_> = all.iter().filter(|(_, pid)| *pid == first).cloned().collect();
    assert_eq!(own.len(), 2);
    assert_eq!(calls(&traced.stderr), expected(&own, first));
    assert!(!traced.stderr.contains("[pid "), "{}", traced.stderr);
    Ok(())
}

#[test]
fn children_that_run_already_are_followed_too() -> Result<()> {
    let built = family()?;
    let mut command = Command::new(&built.program);
    command.args(["serve", "1"]).stdin(Stdio::piped());
    let mut serving = ChildGroup::start_with_stdin(&mut command)?;
    let mut input = serving.stdin().expect("a pipe");
    serving.stdout.wait_for("server and worker", STEP, |text| {
        (visits(text).len() == 2).then_some(())
    })?;
    // Another run of the same file, which is nobody's child here, and works all the time.
    let stranger = ChildGroup::start(Command::new(&built.program).args(["stay", "5"]))?;
    let tracing = Tracer::spelunk()?.start(&["--follow-children", "-p", &serving.pid().to_string(), "^main.visit$"])?;
    let mut lines = 0;
    // Until the probes are in place nothing is seen; from then on everything.
    let seen = wait_until("the trace of a server and its workers", STEP, || {
        if calls(&tracing.stderr.text()).is_empty() {
            writeln!(input, "work").expect("the server reads");
            lines += 1;
            std::thread::sleep(Duration::from_millis(20));
            return None;
        }
        Some(())
    });
    seen?;
    writeln!(input, "work").expect("the server reads");
    lines += 1;
    drop(input);
    let finished = serving.finish_within(STEP)?;
    let traced = tracing.finish(STEP)?;
    let all = visits(&finished.stdout);
    assert_eq!(all.len(), 2 + lines * 4, "{}", finished.stdout);
    let traced_calls = calls(&traced.stderr);
    let (server, worker) = (all[0].1.min(all[1].1), all[0].1.max(all[1].1));
    let of = |pid: Option<i32>, visit: &str| {
        traced_calls
            .iter()
            .filter(|(what, process)| *process == pid && what == visit)
            .count()
    };
    assert!(of(None, "serve 1") >= 1, "{}", traced.stderr);
    assert!(
        of(Some(worker), "work 1") >= 1,
        "worker {worker} of {server}: {}",
        traced.stderr
    );
    // The process that was made for the last line, after the attaching, is there from its first call.
    let last = all
        .iter()
        .rev()
        .find(|(visit, _)| visit == "again 0")
        .expect("it ran")
        .1;
    assert_eq!(
        (of(Some(last), "again 0"), of(Some(last), "done 0")),
        (1, 1),
        "{}",
        traced.stderr
    );
    let strangers = descendants(stranger.pid());
    assert!(
        traced_calls
            .iter()
            .all(|(_, process)| process.is_none_or(|pid| !strangers.contains(&pid)))
    );
    assert!(
        traced.stderr.ends_with("has exited with status 0\n"),
        "{}",
        traced.stderr
    );
    Ok(())
}

#[test]
fn an_interrupt_ends_the_program_and_leaves_its_children() -> Result<()> {
    let built = family()?;
    let program = built.program.to_string_lossy().into_owned();
    let tracing = Tracer::spelunk()?.start(&[
        "--follow-children",
        "--exec",
        &program,
        "^main.visit$",
        "--",
        "stay",
        "7",
    ])?;
    tracing
        .stderr
        .wait_for("both processes", STEP, |text| (calls(text).len() == 2).then_some(()))?;
    let child = calls(&tracing.stderr.text())
        .iter()
        .find_map(|(_, pid)| *pid)
        .expect("the child");
    let parent = visits(&tracing.stdout.text())
        .into_iter()
        .find(|(visit, _)| visit == "stay 7")
        .expect("the first process")
        .1;
    tracing.signal(Signal::SIGINT)?;
    wait_until("the launched program to end", STEP, || {
        (!is_alive(parent)).then_some(())
    })?;
    assert!(is_alive(child), "the child of a program belongs to the program");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child), Signal::SIGKILL).expect("it runs");
    tracing.finish(STEP)?;
    Ok(())
}

#[test]
fn killing_spelunk_harms_nobody_of_the_family() -> Result<()> {
    let built = family()?;
    let mut command = Command::new(&built.program);
    command.args(["serve", "1"]).stdin(Stdio::piped());
    let mut serving = ChildGroup::start_with_stdin(&mut command)?;
    let mut input = serving.stdin().expect("a pipe");
    let said = |serving: &ChildGroup, count: usize| {
        serving.stdout.wait_for("the family's work", STEP, |text| {
            (visits(text).len() == count).then_some(())
        })
    };
    said(&serving, 2)?;
    let tracing = Tracer::spelunk()?.start(&["--follow-children", "-p", &serving.pid().to_string(), "^main.visit$"])?;
    let mut count = 2;
    wait_until("the first traced calls", STEP, || {
        if !calls(&tracing.stderr.text()).is_empty() {
            return Some(());
        }
        writeln!(input, "work").expect("the server reads");
        count += 4;
        said(&serving, count).ok()?;
        None
    })?;
    tracing.signal(Signal::SIGKILL)?;
    for _ in 0..20 {
        writeln!(input, "work").expect("the server reads");
    }
    drop(input);
    let finished = serving.finish_within(STEP)?;
    assert_eq!(finished.code(), 0, "{}", finished.stderr);
    assert_eq!(visits(&finished.stdout).len(), count + 80, "{}", finished.stdout);
    assert_eq!(tracing.finish(STEP)?.code(), 128 + 9);
    Ok(())
}

#[test]
fn what_cannot_follow_says_so() -> Result<()> {
    let refused = Tracer::spelunk()?.run(&["--follow-children", "--ebpf=false", "--exec", "x", "main"])?;
    assert_eq!(refused.code(), 1);
    assert!(
        refused.stderr.starts_with("--follow-children needs"),
        "{}",
        refused.stderr
    );
    let built = family()?;
    let program = built.program.to_string_lossy().into_owned();
    let mut command = Tracer::spelunk()?.command(&[
        "--follow-children",
        "--exec",
        &program,
        "^main.visit$",
        "--",
        "again",
        "0",
    ]);
    command.env("SPELUNK_NO_UPROBE_MULTI", "1");
    let refused = protocol_tests::child::run(&mut command, STEP)?;
    assert_eq!(refused.code(), 1);
    assert!(
        refused
            .stderr
            .starts_with("--follow-children needs tracing in the kernel: ")
            && refused.stdout.is_empty(),
        "{}",
        refused.stderr
    );
    Ok(())
}
