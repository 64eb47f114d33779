//! Halts, and the end of a program or a session at any moment.

use super::program::{Build, Debugged, Ended};
use crate::debugger::StopReason;

#[test]
fn a_running_program_can_be_halted_and_go_on() {
    let Some(debugged) = Debugged::launch(Build::Debug, &["sleep"]) else {
        return;
    };
    debugged.go();
    for _ in 0..20 {
        debugged.session.halt().expect("a running program can be halted");
        let stop = debugged.stopped();
        assert_eq!(stop.reason, StopReason::Pause);
        let (goroutines, _) = debugged.session.goroutines(0, 100).expect("there are goroutines");
        assert!(goroutines.iter().any(|goroutine| goroutine.id == 1), "{goroutines:?}");
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
