//! Breakpoints and tracepoints that clients make one by one.

use std::sync::Arc;

use spelunk_dwarf::ProcAddr;

use super::program::{Build, Debugged, Ended, is_breakpoint, line_of, plain, source};
use crate::debugger::{
    AskedLoad, BreakpointPlace, BreakpointRequest, BreakpointTerms, BreakpointView, CallEnd, DebugError, Event,
    LocationExpression, LocationQuery, Pass,
};
use crate::location::{LocationSpec, Place};
use crate::value::{LoadConfig, Style, Value};

fn request(place: BreakpointPlace, terms: BreakpointTerms) -> BreakpointRequest {
    BreakpointRequest {
        id: 0,
        place,
        expression: None,
        suspended: false,
        terms,
    }
}

fn function(name: &str) -> BreakpointPlace {
    BreakpointPlace::Function(name.to_owned(), 0)
}

fn line(text: &str) -> BreakpointPlace {
    BreakpointPlace::Line(source(), i64::from(line_of(text)))
}

fn expression(text: &str) -> LocationExpression {
    LocationExpression {
        text: text.to_owned(),
        spec: LocationSpec::parse(text).expect("a location expression"),
        rules: Vec::new(),
        program: String::new(),
    }
}

fn address(debugged: &Debugged, addr: ProcAddr) -> BreakpointPlace {
    BreakpointPlace::Addresses(vec![(debugged.session.pid(), addr)])
}

fn create(debugged: &Debugged, place: BreakpointPlace, terms: BreakpointTerms) -> Result<BreakpointView, DebugError> {
    debugged.session.create_breakpoint(request(place, terms))
}

fn named(debugged: &Debugged, name: &str) -> BreakpointView {
    let all = debugged.session.breakpoints().expect("there is a session");
    let found = all.into_iter().find(|view| view.terms.name == name);
    found.unwrap_or_else(|| panic!("no breakpoint is called {name}"))
}

fn called(name: &str) -> BreakpointTerms {
    BreakpointTerms {
        name: name.to_owned(),
        ..BreakpointTerms::default()
    }
}

fn texts(values: &[Value]) -> Vec<String> {
    values
        .iter()
        .map(|value| format!("{}={}", value.name, value.text(Style::default())))
        .collect()
}

/// What is told of passings until the program has ended or stopped, and the end.
fn passes(debugged: &Debugged) -> (Vec<Arc<Pass>>, Ended) {
    let mut passed = Vec::new();
    loop {
        match debugged.next() {
            Event::Traced(pass) => passed.push(pass),
            Event::Exited { status, .. } => return (passed, Ended::Exited(status)),
            Event::Stopped(stop) => return (passed, Ended::Stopped(stop)),
            other => panic!("{other:?}"),
        }
    }
}

/// The same, each passing as `id (arguments) expressions`.
fn passings(debugged: &Debugged) -> (Vec<String>, Ended) {
    let (passed, end) = passes(debugged);
    let text = |pass: &Arc<Pass>| {
        let arguments = texts(&pass.arguments).join(",");
        let variables: Vec<_> = pass
            .variables
            .iter()
            .map(|(name, value)| match value {
                Ok(value) => format!("{name}={}", value.text(Style::default())),
                Err(why) => format!("{name}: {why}"),
            })
            .collect();
        format!("{} ({arguments}) {}", pass.tracepoint.id.0, variables.join(","))
    };
    (passed.iter().map(text).collect(), end)
}

fn is_traced(debugged: &Debugged) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/status", debugged.session.pid())).unwrap_or_default();
    !status.contains("TracerPid:\t0")
}

#[test]
fn an_editor_that_replaces_its_breakpoints_leaves_those_of_others() {
    let Some(debugged) = Debugged::launch(Build::Debug, &[]) else {
        return;
    };
    let made = create(&debugged, line("n += i"), called("mine")).expect("it can be set");
    debugged.break_at(&[plain(line_of("sum := a + b"))]);
    debugged.break_at(&[]);
    debugged.go();
    assert!(is_breakpoint(&debugged.stopped()));
    assert_eq!(debugged.place(), format!("main.loop:{}", line_of("n += i")));
    let standing = debugged.session.threads_at_breakpoints().expect("it is stopped");
    assert_eq!(standing.len(), 1);
    assert_eq!((standing[0].1.id, standing[0].1.hits.total), (made.id, 1));
    debugged.session.clear_breakpoint(made.id).expect("it is there");
    debugged.go();
    assert_eq!(debugged.exited(), Some(0));
}

#[test]
fn two_of_them_never_share_an_address_or_a_name() {
    let Some(debugged) = Debugged::launch(Build::Debug, &[]) else {
        return;
    };
    let first = create(&debugged, function("main.add"), called("a")).expect("it can be set");
    let error = |result: Result<BreakpointView, DebugError>| result.expect_err("it is refused").to_string();
    let (file, line) = (&first.at.file, first.at.line);
    let taken = error(create(&debugged, function("main.add"), called("b")));
    assert_eq!(
        taken,
        format!("Breakpoint exists at {file}:{line} at {:x}", first.addresses[0].addr.0)
    );
    let taken = error(create(&debugged, function("main.loop"), called("a")));
    assert_eq!(taken, "breakpoint name already exists");
    let nowhere = error(create(&debugged, BreakpointPlace::Nowhere, called("c")));
    // Each attempt takes a number, as in Delve, but the one whose name was refused.
    assert_eq!(nowhere, "breakpoint 3 can not be enabled");
    debugged.kill();
}

/// Lets the program run to its end; how many threads have come to a breakpoint on the way.
fn stops_until_the_end(debugged: &Debugged) -> usize {
    let mut stops = 0;
    debugged.go();
    while let Ended::Stopped(stop) = debugged.ended() {
        assert!(is_breakpoint(&stop), "{stop:?}");
        stops += debugged.session.threads_at_breakpoints().expect("it is stopped").len();
        debugged.go();
    }
    stops
}

#[test]
fn hits_are_counted_for_each_goroutine() {
    let Some(debugged) = Debugged::launch(Build::Debug, &["workers"]) else {
        return;
    };
    let terms = BreakpointTerms {
        hit_condition: "== 1000".to_owned(),
        hits_per_goroutine: true,
        ..called("add")
    };
    create(&debugged, function("main.(*counter).add"), terms).expect("it can be set");
    let stops = stops_until_the_end(&debugged);
    assert_eq!(stops, 8);
    let hits = named(&debugged, "add").hits;
    assert_eq!(hits.total, 8000);
    assert_eq!(hits.by_goroutine.values().copied().collect::<Vec<_>>(), [1000; 8]);
}

#[test]
fn hits_that_the_kernel_leaves_out_are_counted_for_each_goroutine_too() {
    let Some(debugged) = Debugged::launch(Build::Debug, &["workers"]) else {
        return;
    };
    let terms = |hit_condition: &str, hits_per_goroutine| BreakpointTerms {
        hit_condition: hit_condition.to_owned(),
        hits_per_goroutine,
        ..called("add")
    };
    let made = create(&debugged, function("main.(*counter).add"), terms("== 4000", false)).expect("it can be set");
    debugged.go();
    assert!(is_breakpoint(&debugged.stopped()));
    let counted = |debugged: &Debugged| {
        let hits = named(debugged, "add").hits;
        let of_goroutines: u64 = hits.by_goroutine.values().sum();
        (hits.total, of_goroutines)
    };
    // Threads that have come to it and have not been judged yet are among them.
    let (total, of_goroutines) = counted(&debugged);
    assert!((4000..8000).contains(&total), "{total}");
    assert_eq!(of_goroutines, total);

    // The kernel goes on from what was counted where a stop decided.
    let elsewhere = create(&debugged, line("c.n += n"), called("stop")).expect("it can be set");
    debugged
        .session
        .amend_breakpoint(made.id, terms("== 1000", true), true)
        .expect("it can be changed");
    debugged.session.clear_breakpoint(elsewhere.id).expect("it is there");
    let stops = stops_until_the_end(&debugged);
    assert!((1..=8).contains(&stops), "{stops}");
    assert_eq!(counted(&debugged), (8000, 8000));
    let hits = named(&debugged, "add").hits;
    assert_eq!(hits.by_goroutine.values().copied().collect::<Vec<_>>(), [1000; 8]);
}

#[test]
fn one_that_is_switched_off_stops_nobody_until_it_is_on_again() {
    let Some(debugged) = Debugged::launch(Build::Debug, &[]) else {
        return;
    };
    let made = create(&debugged, line("n += i"), called("l")).expect("it can be set");
    let amend = |terms, enabled| debugged.session.amend_breakpoint(made.id, terms, enabled);
    amend(called("l"), false).expect("it can be switched off");
    let view = named(&debugged, "l");
    assert!(!view.enabled && view.addresses.is_empty(), "{view:?}");
    let elsewhere = create(&debugged, function("main.recursion"), called("r")).expect("it can be set");
    debugged.go();
    debugged.stopped();
    debugged.session.clear_breakpoint(elsewhere.id).expect("it is there");
    let wrong = BreakpointTerms {
        condition: "i ==".to_owned(),
        ..called("l")
    };
    amend(wrong, true).expect_err("that is no condition");
    let conditional = BreakpointTerms {
        condition: "i==2".to_owned(),
        ..called("l")
    };
    amend(conditional, true).expect("it can be switched on");
    assert_eq!(named(&debugged, "l").terms.condition, "i == 2");
    debugged.go();
    assert!(is_breakpoint(&debugged.stopped()));
    assert_eq!(debugged.value("i"), "2");
    debugged.go();
    assert_eq!(debugged.exited(), Some(0));
    assert_eq!(named(&debugged, "l").hits.total, 1);
}

#[test]
fn a_restart_keeps_what_still_has_a_place() {
    let Some(debugged) = Debugged::launch(Build::Debug, &[]) else {
        return;
    };
    let by_line = create(&debugged, line("n += i"), called("line")).expect("it can be set");
    let by_address = create(
        &debugged,
        address(
            &debugged,
            create(&debugged, function("main.add"), called("gone"))
                .expect("it can be set")
                .addresses[0]
                .addr,
        ),
        called("address"),
    );
    by_address.expect_err("the address is taken");
    let by_expression = BreakpointRequest {
        expression: Some(expression("main.recursion")),
        ..request(BreakpointPlace::Nowhere, called("expression"))
    };
    debugged
        .session
        .create_breakpoint(by_expression)
        .expect("it can be set");
    let gone = debugged
        .session
        .clear_breakpoint(named(&debugged, "gone").id)
        .expect("it is there");
    let place = address(&debugged, gone.addresses[0].addr);
    let by_address = create(&debugged, place, called("address")).expect("it can be set");
    debugged.go();
    debugged.stopped();
    assert_eq!(named(&debugged, "address").hits.total, 1);
    let saved = debugged.session.export_breakpoints().expect("there is a session");
    debugged.kill();

    let again = Debugged::launch(Build::Debug, &[]).expect("it was launched before");
    let discarded = again.session.restore_breakpoints(saved).expect("there is a session");
    let why = format!("breakpoint {} can not be enabled", by_address.id.0);
    assert_eq!(discarded.len(), 1);
    assert_eq!((discarded[0].0.id, &discarded[0].1), (by_address.id, &why));
    let line = named(&again, "line");
    assert_eq!((line.id, line.hits.total), (by_line.id, 0));
    again.go();
    again.stopped();
    assert!(again.place().starts_with("main.recursion:"), "{}", again.place());
    // Numbers are not used again.
    let next = create(&again, function("main.chosen"), called("next")).expect("it can be set");
    assert!(next.id > by_address.id);
    again.kill();
}

#[test]
fn a_tracepoint_is_told_without_a_stop() {
    let Some(debugged) = Debugged::launch(Build::Debug, &[]) else {
        return;
    };
    let short = AskedLoad {
        follow_pointers: false,
        max_variable_recurse: 0,
        max_string_len: 64,
        max_array_values: 0,
        max_struct_fields: 3,
    };
    let terms = BreakpointTerms {
        tracepoint: true,
        load_args: Some(short),
        variables: vec!["n * 2".to_owned(), "nothing".to_owned()],
        ..called("t")
    };
    let made = create(&debugged, function("main.recursion"), terms).expect("it can be set");
    debugged.go();
    assert!(!is_traced(&debugged));
    let (passed, end) = passings(&debugged);
    assert!(matches!(end, Ended::Exited(Some(0))), "{end:?}");
    assert!(passed.len() >= 4, "{passed:?}");
    for (number, pass) in (0..=3).rev().zip(&passed) {
        let wanted = format!("{} (n={number}", made.id.0);
        assert!(pass.starts_with(&wanted), "{pass} does not begin with {wanted}");
        let doubled = format!("n * 2={},nothing: could not find symbol value for nothing", number * 2);
        assert!(pass.ends_with(&doubled), "{pass} does not end in {doubled}");
    }
    assert_eq!(named(&debugged, "t").hits.total, passed.len() as u64);
}

#[test]
fn a_tracepoint_with_a_hit_condition_tells_which_hit_it_was() {
    for (hit_condition, hits_per_goroutine) in [("% 1000", false), ("== 1000", true)] {
        let Some(debugged) = Debugged::launch(Build::Debug, &["workers"]) else {
            return;
        };
        let terms = BreakpointTerms {
            tracepoint: true,
            hit_condition: hit_condition.to_owned(),
            hits_per_goroutine,
            ..called("add")
        };
        create(&debugged, function("main.(*counter).add"), terms).expect("it can be set");
        debugged.go();
        assert!(!is_traced(&debugged));
        let (passed, end) = passes(&debugged);
        assert!(matches!(end, Ended::Exited(Some(0))), "{end:?}");
        let mut totals: Vec<u64> = passed.iter().map(|pass| pass.number.0).collect();
        let of_goroutines: Vec<u64> = passed.iter().map(|pass| pass.number.1).collect();
        if hits_per_goroutine {
            assert_eq!(of_goroutines, [1000; 8]);
            let mut goroutines: Vec<i64> = passed.iter().map(|pass| pass.goroutine).collect();
            goroutines.sort_unstable();
            goroutines.dedup();
            assert_eq!(goroutines.len(), 8, "each once");
        } else {
            totals.sort_unstable();
            assert_eq!(totals, (1..=8).map(|n| 1000 * n).collect::<Vec<_>>());
            assert!(
                of_goroutines.iter().all(|n| (1..=1000).contains(n)),
                "{of_goroutines:?}"
            );
        }
        let tally = passed.last().expect("there are some").tally();
        assert_eq!(tally.total, passed.last().expect("there are some").number.0);
        let hits = named(&debugged, "add").hits;
        assert_eq!(hits.total, 8000);
        assert_eq!(hits.by_goroutine.values().copied().collect::<Vec<_>>(), [1000; 8]);
    }
}

#[test]
fn a_tracepoint_that_collects_a_stack_stops_the_program() {
    let Some(debugged) = Debugged::launch(Build::Debug, &[]) else {
        return;
    };
    let terms = BreakpointTerms {
        tracepoint: true,
        stacktrace: 2,
        ..called("t")
    };
    let made = create(&debugged, function("main.loop"), terms).expect("it can be set");
    debugged.go();
    let (passed, end) = passings(&debugged);
    assert!(
        passed.is_empty() && matches!(end, Ended::Stopped(_)),
        "{passed:?} {end:?}"
    );
    let standing = debugged.session.threads_at_breakpoints().expect("it is stopped");
    assert_eq!(standing.iter().map(|(_, view)| view.id).collect::<Vec<_>>(), [made.id]);
    debugged.kill();
}

#[test]
fn calls_and_returns_are_recorded_for_later() {
    let Some(debugged) = Debugged::launch(Build::Debug, &[]) else {
        return;
    };
    let program = debugged.session.program().expect("there is a session");
    debugged
        .session
        .record_function("main.divide")
        .expect("it can be probed");
    let error = debugged
        .session
        .record_function("main.nothing")
        .expect_err("there is none");
    assert_eq!(error.to_string(), "could not find function main.nothing\n");
    debugged.go();
    let mut recorded = Vec::new();
    loop {
        match debugged.next() {
            Event::Traced(pass) => {
                let end = pass.recorded.as_ref().map(|recorded| recorded.end);
                let values = pass.parameters(program.binary(), LoadConfig::DAP);
                recorded.push((end, texts(&values).join(",")));
            }
            Event::Exited { .. } => break,
            Event::Stopped(stop) => panic!("{stop:?}"),
            _ => {}
        }
    }
    assert_eq!(recorded[0], (Some(CallEnd::Call), "a=6,b=3".to_owned()));
    assert_eq!(recorded[1].0, Some(CallEnd::Return));
    assert!(recorded[1].1.starts_with("quotient=2,"), "{recorded:?}");
}

#[test]
fn location_expressions_mean_places() {
    let Some(debugged) = Debugged::at(Build::Debug, "main.recursion", &[]) else {
        return;
    };
    let frame = crate::inspect::FrameRef {
        whose: debugged.session.stop().expect("it is stopped").whose,
        frame: 0,
        deferred: 0,
    };
    let program = debugged.session.program().expect("there is a session");
    let find = |text: &str| {
        let query = LocationQuery {
            text: text.to_owned(),
            lines_without_code: true,
            rules: vec![("/".to_owned(), "/elsewhere".to_owned())],
            program: String::new(),
        };
        let found = debugged.session.find_location(Some(frame), query);
        found.map_err(|error| error.to_string()).map(|found| {
            let place = |place: &Place| match (place, place.first()) {
                (Place::Line(_, line), _) => format!("line {line}"),
                (_, Some(addr)) => {
                    let addr = program.bias().to_file(addr);
                    let function = program
                        .binary()
                        .function_at(addr)
                        .map_or("?", |function| &*function.name);
                    let line = program.binary().line_at(addr).map_or(0, |(_, line)| line);
                    format!("{function}:{line}")
                }
                _ => "nothing".to_owned(),
            };
            found.places.iter().map(place).collect::<Vec<_>>().join(" ")
        })
    };
    let here = line_of("func recursion(");
    let add = line_of("func add(");
    let ok = |text: String| Ok(text);
    assert_eq!(find("main.add"), ok(format!("main.add:{add}")));
    assert_eq!(find("counter.add"), find("main.(*counter).add"));
    assert_eq!(find("main.add:1"), ok(format!("main.add:{}", add + 1)));
    assert_eq!(
        find(&format!("main.go:{}", add + 1)),
        ok(format!("main.add:{}", add + 1))
    );
    assert_eq!(find(&format!("/elsewhere{}:{}", source(), add + 1)), find("main.add:1"));
    assert_eq!(find("+1"), ok(format!("main.recursion:{}", here + 1)));
    assert_eq!(find(&(add + 1).to_string()), find("main.add:1"));
    assert_eq!(find("*main.add"), find("main.add"));
    assert_eq!(find("main.go:1"), ok("line 1".to_owned()));
    assert_eq!(
        find("/^main\\.(add|divide)$/").map(|places| places.split(' ').count()),
        Ok(2)
    );
    assert_eq!(find("no.such"), Err("location \"no.such\" not found".to_owned()));
    assert!(find("add").is_err_and(|why| why.starts_with("Location \"add\" ambiguous: ")));
    assert_eq!(
        find("main.go"),
        Err("Malformed breakpoint location, no line offset specified".to_owned())
    );
    debugged.kill();
}

#[test]
fn one_that_is_made_where_a_thread_stands_is_come_to_once() {
    let Some(debugged) = Debugged::at(Build::Debug, "main.loop", &[]) else {
        return;
    };
    debugged.step(crate::debugger::StepKind::Over);
    debugged.stopped();
    let at = debugged.place();
    let stop = debugged.session.stop().expect("it is stopped");
    let pc = debugged.stack(stop.whose).frames[0].pc;
    let made = create(&debugged, address(&debugged, pc), called("here")).expect("it can be set");
    debugged.go();
    assert!(is_breakpoint(&debugged.stopped()));
    assert_eq!(debugged.place(), at);
    let standing = debugged.session.threads_at_breakpoints().expect("it is stopped");
    assert_eq!(standing.iter().map(|(_, view)| view.id).collect::<Vec<_>>(), [made.id]);
    debugged.go();
    assert_eq!(debugged.exited(), Some(0));
    assert_eq!(named(&debugged, "here").hits.total, 1);
}

#[test]
fn who_came_to_one_is_not_told_again_when_others_come_to_theirs() {
    let Some(debugged) = Debugged::launch(Build::Debug, &[]) else {
        return;
    };
    create(&debugged, function("main.loop"), called("first")).expect("it can be set");
    debugged.go();
    let stop = debugged.stopped();
    assert!(is_breakpoint(&stop));
    let standing = debugged.session.threads_at_breakpoints().expect("it is stopped");
    let [(thread, _)] = standing[..] else {
        panic!("one thread stands there: {standing:?}");
    };
    // One of the runtime's own threads, wherever it is.
    let others = debugged.session.threads().expect("it is stopped");
    let place = others
        .into_iter()
        .filter(|other| other.tid != thread)
        .find_map(|other| Some(other.location?.pc))
        .expect("the runtime has several threads");
    let made = create(&debugged, address(&debugged, place), called("others")).expect("it can be set");
    debugged.go();
    assert!(is_breakpoint(&debugged.stopped()));
    let standing = debugged.session.threads_at_breakpoints().expect("it is stopped");
    assert!(standing.iter().all(|(_, view)| view.id == made.id), "{standing:?}");
    debugged.session.clear_breakpoint(made.id).expect("it is there");
    debugged.go();
    assert_eq!(debugged.exited(), Some(0));
    assert_eq!(named(&debugged, "first").hits.total, 1);
}
