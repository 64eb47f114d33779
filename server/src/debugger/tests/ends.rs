//! Halts, and the end of a program or a session at any moment.

use std::time::{Duration, Instant};

use super::program::{Build, Debugged, Ended, line_of, plain};
use crate::debugger::{SourceBreakpoint, StepKind, StopReason};

#[test]
fn a_running_program_can_be_halted_and_go_on() {
    let Some(debugged) = Debugged::launch(Build::Debug, &["sleep"]) else {
        return;
    };
    debugged.go();
    let (mut halts, mut with_main) = (0, 0);
    let end = Instant::now() + Duration::from_secs(30);
    while halts < 20 || with_main == 0 {
        assert!(Instant::now() < end, "no goroutine 1 at {halts} halts");
        debugged.session.halt().expect("a running program can be halted");
        let stop = debugged.stopped();
        assert_eq!(stop.reason, StopReason::Pause);
        let (goroutines, _) = debugged.session.goroutines(0, 100).expect("the list can be read");
        let has_main = goroutines.iter().any(|goroutine| goroutine.id == 1);
        // At first the runtime has not made it; afterwards it is always there.
        assert!(has_main || with_main == 0, "{goroutines:?}");
        (halts, with_main) = (halts + 1, with_main + u32::from(has_main));
        debugged.go();
    }
    debugged.kill();
}

#[test]
fn a_program_that_somebody_kills_is_told_of_in_every_state() {
    for stopped in [false, true] {
        let Some(debugged) = Debugged::launch(Build::Debug, &["sleep"]) else {
            return;
        };
        debugged.go();
        debugged.session.halt().expect("a running program can be halted");
        debugged.stopped();
        if !stopped {
            debugged.go();
        }
        let pid = nix::unistd::Pid::from_raw(debugged.session.pid());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("the program is there");
        assert!(
            matches!(debugged.ended(), Ended::Exited(Some(-9))),
            "stopped: {stopped}"
        );
    }
}

/// A number for test `n`, the same each time: what is random here can be told again.
fn scattered(n: u64) -> u64 {
    n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40
}

#[test]
fn a_program_that_is_killed_at_any_moment_ends_the_session() {
    for n in 0..30 {
        let Some(debugged) = Debugged::launch(Build::Debug, &["sleep"]) else {
            return;
        };
        debugged.break_at(&[plain(line_of("time.Sleep(time.Millisecond)"))]);
        debugged.go();
        let pid = nix::unistd::Pid::from_raw(debugged.session.pid());
        let killer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_micros(scattered(n) % 20_000));
            // It may have ended by itself.
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        });
        loop {
            match debugged.ended() {
                Ended::Exited(status) => {
                    assert_eq!(status, Some(-9), "{n}");
                    break;
                }
                Ended::Stopped(stop) => {
                    // Each of these may come too late; what must come is the end.
                    let _ = debugged.session.stack(stop.whose, 50);
                    let _ = debugged.session.goroutines(0, 100);
                    let kind = if n % 2 == 0 { StepKind::Over } else { StepKind::Into };
                    if debugged.session.step(stop.whose, kind).is_err() {
                        let _ = debugged.session.resume();
                    }
                }
            }
        }
        killer.join().expect("the killer does not panic");
        assert!(debugged.session.resume().is_err());
    }
}

#[test]
fn a_session_can_be_ended_at_any_moment() {
    for n in 0..20 {
        let Some(debugged) = Debugged::launch(Build::Debug, &["hot"]) else {
            return;
        };
        let wanted = SourceBreakpoint {
            condition: Some("i < 0".to_owned()),
            ..plain(line_of("n = add(n, i)"))
        };
        debugged.break_at(&[wanted]);
        let pid = debugged.session.pid();
        debugged.go();
        std::thread::sleep(Duration::from_micros(scattered(n) % 20_000));
        debugged.kill();
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    }
}

#[test]
fn a_halt_gets_through_while_a_breakpoint_is_passed_all_the_time() {
    let Some(debugged) = Debugged::launch(Build::Debug, &["workers"]) else {
        return;
    };
    let wanted = SourceBreakpoint {
        condition: Some("n < 0".to_owned()),
        ..plain(line_of("c.n += n"))
    };
    debugged.break_at(&[wanted]);
    debugged.go();
    let mut halts = 0;
    for n in 0..100 {
        std::thread::sleep(Duration::from_micros(scattered(n) % 4_000));
        let begin = Instant::now();
        if debugged.session.halt().is_err() {
            break;
        }
        match debugged.ended() {
            Ended::Exited(_) => break,
            Ended::Stopped(stop) => assert_eq!(stop.reason, StopReason::Pause),
        }
        assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
        halts += 1;
        debugged.go();
    }
    assert!(halts > 0);
}
