//! Conditions that the kernel decides, and what becomes of them where others use the same address.

use super::program::{Build, Debugged, line_of, plain};
use crate::debugger::{Event, ProbeLimits, ProbeState, SourceBreakpoint, StepKind, StopReason};

/// A line that is passed three times, with `i` from 0 to 2.
const LOOP: &str = "n += i";

fn conditional(text: &str, condition: &str) -> SourceBreakpoint {
    SourceBreakpoint {
        condition: Some(condition.to_owned()),
        ..plain(line_of(text))
    }
}

fn is_traced(debugged: &Debugged) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/status", debugged.session.pid())).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("TracerPid:"));
    !line.expect("a line for the tracer").contains("\t0")
}

/// What carries each breakpoint that probes have ever carried.
fn carriers(debugged: &Debugged) -> Vec<ProbeState> {
    let accounts = debugged.session.probe_accounts().expect("the session is there");
    accounts.iter().map(|account| account.state).collect()
}

#[test]
fn a_true_condition_stops_before_its_line_has_done_anything() {
    for build in [Build::Debug, Build::Pie] {
        let Some(debugged) = Debugged::launch(build, &[]) else {
            return;
        };
        let states = debugged.break_at(&[conditional("below := recursion(n - 1)", "n == 2")]);
        assert!(states[0].verified && states[0].message.is_none(), "{states:?}");
        debugged.go();
        let stop = debugged.stopped();
        assert_eq!(stop.reason, StopReason::Breakpoint(vec![states[0].id]), "{build:?}");
        assert_eq!(debugged.value("n"), "2");
        let frames = debugged.stack(stop.whose).frames;
        assert_eq!(frames[0].location.line, line_of("below := recursion(n - 1)"));
        // It is the second call; the third has not been made.
        let calls = frames
            .iter()
            .filter(|frame| frame.location.function.as_deref() == Some("main.recursion"));
        assert_eq!(calls.count(), 2);
        debugged.step(StepKind::Over);
        assert_eq!(debugged.stopped().reason, StopReason::Step);
        assert_eq!(debugged.value("below"), "1");
        debugged.kill();
    }
}

#[test]
fn a_step_makes_the_address_of_a_condition_a_stop_site_and_gives_it_back() {
    let Some(debugged) = Debugged::at(Build::Debug, "main.loop", &[]) else {
        return;
    };
    let states = debugged.break_at(&[conditional(LOOP, "i == 2")]);
    assert!(states[0].verified && states[0].message.is_none(), "{states:?}");
    assert_eq!(carriers(&debugged), [ProbeState::InKernel]);
    while debugged.place() != format!("main.loop:{}", line_of(LOOP)) {
        debugged.step(StepKind::Over);
        assert_eq!(debugged.stopped().reason, StopReason::Step);
    }
    assert_eq!(debugged.value("i"), "0");
    assert_eq!(carriers(&debugged), [ProbeState::AtStops], "a step may land there");
    debugged.go();
    let stop = debugged.stopped();
    assert_eq!(stop.reason, StopReason::Breakpoint(vec![states[0].id]));
    assert_eq!(debugged.value("i"), "2");
    assert_eq!(carriers(&debugged), [ProbeState::InKernel]);
    debugged.go();
    assert_eq!(debugged.exited(), Some(0));
}

#[test]
fn hits_are_counted_once_whatever_carries_the_breakpoint() {
    let Some(debugged) = Debugged::at(Build::Debug, "main.main", &[]) else {
        return;
    };
    let third = SourceBreakpoint {
        hit_condition: Some("== 3".to_owned()),
        ..plain(line_of(LOOP))
    };
    let states = debugged.break_at(&[third]);
    assert_eq!(states[0].message, None);
    debugged.go();
    let stop = debugged.stopped();
    assert_eq!(stop.reason, StopReason::Breakpoint(vec![states[0].id]));
    assert_eq!(debugged.value("i"), "2");
    debugged.kill();
}

#[test]
fn a_limit_that_is_set_while_the_program_runs_holds_from_then_on() {
    let Some(debugged) = Debugged::launch(Build::Debug, &["sleep"]) else {
        return;
    };
    let log = SourceBreakpoint {
        log_message: Some("sleeping".to_owned()),
        condition: Some("1 == 1".to_owned()),
        ..plain(line_of("time.Sleep(time.Millisecond)"))
    };
    let states = debugged.break_at(&[log]);
    assert!(states[0].verified, "{states:?}");
    debugged.go();
    assert!(matches!(debugged.next(), Event::Log { .. }));
    let limits = ProbeLimits {
        messages_per_second: std::num::NonZeroU32::new(1),
        ..ProbeLimits::default()
    };
    debugged.session.limit_probes(limits).expect("the session is there");
    assert!(!is_traced(&debugged), "a limit needs no tracer");
    let throttled = || {
        let accounts = debugged.session.probe_accounts().expect("the session is there");
        accounts.first().is_some_and(|account| account.throttled > 5)
    };
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !throttled() {
        assert!(std::time::Instant::now() < deadline, "nothing was left out");
        std::thread::yield_now();
    }
    debugged.kill();
}
