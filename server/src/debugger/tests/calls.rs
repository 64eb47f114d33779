//! Functions of the program, called where it stands.

use super::program::{Build, Debugged, is_breakpoint};
use crate::debugger::{CallWish, EndWith, Stop, StopReason};
use crate::value::{LoadConfig, Style};

/// The wish for an expression, where the program has stopped.
pub(super) fn wish(stop: &Stop, expression: &str) -> CallWish {
    CallWish {
        whose: stop.whose,
        expression: expression.to_owned(),
        config: LoadConfig::FULL,
        check_escape: true,
    }
}

/// What an expression with calls comes to; `None` when something else has stopped the program before.
fn call(debugged: &Debugged, expression: &str) -> Option<Result<Vec<String>, String>> {
    let stop = debugged.session.stop().expect("it is stopped");
    let begun = debugged.session.call_expression(wish(&stop, expression));
    if let Err(why) = begun {
        return Some(Err(why.to_string()));
    }
    let stop = debugged.stopped();
    (stop.reason == StopReason::CallReturned).then(|| outcome(debugged))
}

fn outcome(debugged: &Debugged) -> Result<Vec<String>, String> {
    let outcome = debugged
        .session
        .call_outcome()
        .expect("it is alive")
        .expect("a call has ended");
    let values = outcome.values?.unwrap_or_default();
    Ok(values.iter().map(|value| value.text(Style::default())).collect())
}

#[test]
fn calls_nest_and_leave_the_program_as_it_was() {
    for build in [Build::Debug, Build::Pie] {
        let Some(debugged) = Debugged::at(build, "main.add", &["all"]) else {
            return;
        };
        let place = debugged.place();
        let is = |expression: &str, expected: &[&str]| {
            let values = call(&debugged, expression).expect("nothing else stops it");
            assert_eq!(
                values.as_deref(),
                Ok(&expected.iter().map(ToString::to_string).collect::<Vec<_>>()[..])
            );
            assert_eq!(debugged.place(), place, "after {expression}");
        };
        is("chosen(1) + \"!\"", &["\"one!\""]);
        is(
            "recursion(recursion(3) + 1)",
            &[&value_of_recursion(value_of_recursion(3) + 1).to_string()],
        );
        is("divide(9, 2)", &["4", "error nil"]);
        let refused = |expression: &str| {
            let outcome = call(&debugged, expression).expect("nothing else stops it");
            outcome.expect_err("it is refused")
        };
        assert_eq!(refused("chosen(1, 2)"), "too many arguments");
        assert_eq!(refused("chosen()"), "not enough arguments");
        assert_eq!(refused("nowhere(1)"), "could not find symbol value for nowhere");
        debugged.kill();
    }
}

/// What `main.recursion` computes.
fn value_of_recursion(n: i64) -> i64 {
    if n == 0 { 0 } else { n + value_of_recursion(n - 1) }
}

#[test]
fn a_call_that_is_stopped_goes_on_with_the_program() {
    let Some(debugged) = Debugged::at(Build::Debug, "main.calls", &["all"]) else {
        return;
    };
    let place = debugged.place();
    debugged.break_at_function("main.chosen");
    assert_eq!(call(&debugged, "chosen(2)"), None);
    let inside = debugged.session.stop().expect("it is stopped");
    assert!(is_breakpoint(&inside));
    assert!(debugged.place().starts_with("main.chosen:"), "{}", debugged.place());
    assert_eq!(
        call(&debugged, "chosen(1)"),
        Some(Err(
            "cannot call function while another function call is already in progress".to_owned()
        ))
    );
    debugged.go();
    assert_eq!(debugged.stopped().reason, StopReason::CallReturned);
    assert_eq!(outcome(&debugged), Ok(vec!["\"many\"".to_owned()]));
    assert_eq!(debugged.place(), place);
    debugged.session.end(EndWith::Kill);
}

#[test]
fn what_functions_return_is_assigned() {
    let Some(debugged) = Debugged::at(Build::Debug, "main.add", &["all"]) else {
        return;
    };
    let place = debugged.place();
    let is = |expression: &str, expected: &[&str]| {
        let values = call(&debugged, expression).expect("nothing else stops it");
        assert_eq!(
            values.as_deref(),
            Ok(&expected.iter().map(ToString::to_string).collect::<Vec<_>>()[..])
        );
        assert_eq!(debugged.place(), place, "after {expression}");
    };
    is("a = recursion(3) + 4", &[]);
    is("a", &["10"]);
    is("b = recursion(recursion(a) - 50) + a", &[]);
    is("b", &[&(value_of_recursion(5) + 10).to_string()]);
    let refused = call(&debugged, "recursion(1) = 2").expect("nothing else stops it");
    assert_eq!(
        refused,
        Err("can not assign to \"recursion(1)\": it is what a call has returned".to_owned())
    );
    let refused = call(&debugged, "a = \"text\"").expect("nothing else stops it");
    assert!(refused.is_err(), "{refused:?}");
    is("a", &["10"]);
    debugged.kill();
}
