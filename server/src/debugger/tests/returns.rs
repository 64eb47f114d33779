//! What functions return, seen after a step out of them.

use super::program::{Build, Debugged};
use crate::debugger::{StepKind, StopReason};
use crate::value::{LoadConfig, Style};

/// The results that are shown at a stop, as `name=value`.
fn results(debugged: &Debugged) -> Vec<String> {
    let stop = debugged.session.stop().expect("the program is stopped");
    let values = debugged
        .session
        .return_values(stop.whose, LoadConfig::DAP)
        .expect("results can be read");
    values
        .iter()
        .map(|value| format!("{}={}", value.name, value.text(Style::default())))
        .collect()
}

#[test]
fn a_step_out_shows_what_was_returned() {
    let Some(debugged) = Debugged::at(Build::Debug, "main.add", &[]) else {
        return;
    };
    debugged.step(StepKind::Out);
    assert_eq!(debugged.stopped().reason, StopReason::Step);
    assert_eq!(debugged.place(), "main.calls:45");
    assert_eq!(results(&debugged), ["~r0=3"]);
    debugged.step(StepKind::Over);
    debugged.stopped();
    assert!(results(&debugged).is_empty());
    debugged.kill();
}

#[test]
fn a_step_over_the_end_of_a_function_shows_what_was_returned() {
    let Some(debugged) = Debugged::at(Build::Debug, "main.divide", &[]) else {
        return;
    };
    for _ in 0..3 {
        assert!(results(&debugged).is_empty());
        debugged.step(StepKind::Over);
        assert_eq!(debugged.stopped().reason, StopReason::Step);
    }
    assert_eq!(debugged.place(), "main.calls:47");
    assert_eq!(results(&debugged), ["quotient=2", "err=error nil"]);
    debugged.kill();
}
