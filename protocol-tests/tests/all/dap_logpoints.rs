//! Logpoints: values of all sorts in their text, set and removed while the program runs, in any build.

use std::process::Command;
use std::time::{Duration, Instant};

use protocol_tests::child::{ChildGroup, descendants, tracer_of};
use protocol_tests::dap_client::{DapClient, Message, STEP, SourceBreakpoint};
use protocol_tests::failure::Result;
use protocol_tests::paths;
use protocol_tests::toolchain::{Build, Built, fixture};
use serde_json::json;

/// The log messages of a session so far, without the prefix that names the goroutine.
fn logged(client: &DapClient) -> Vec<String> {
    let text = |message: &Message| match message {
        Message::Event(event) if event.event == "output" => event.body["output"].as_str().map(str::to_owned),
        _ => None,
    };
    let line = |text: String| Some(text.strip_prefix("> [Go ")?.split_once("]: ")?.1.trim_end().to_owned());
    client.received().iter().filter_map(text).filter_map(line).collect()
}

fn launched(built: &Built, args: &[&str]) -> Result<DapClient> {
    let mut client = DapClient::start(&paths::spelunk()?)?;
    client.launch(json!({"request": "launch", "mode": "exec", "program": built.program, "args": args}))?;
    Ok(client)
}

/// Runs the fixture to its end with logpoints and answers what they said.
fn log_all(built: &Built, logpoints: &[(&str, &str)]) -> Result<Vec<String>> {
    let mut client = launched(built, &[])?;
    let wanted: Vec<SourceBreakpoint> = logpoints
        .iter()
        .map(|(marker, message)| Ok(SourceBreakpoint::log(built.line("main.go", marker)?, message)))
        .collect::<Result<_>>()?;
    for (answer, wanted) in client
        .set_breakpoints(&built.source("main.go"), &wanted)?
        .iter()
        .zip(&wanted)
    {
        assert!(answer.verified, "{answer:?}");
        assert_eq!(answer.line, Some(wanted.line));
    }
    client.configuration_done()?;
    client.event("terminated")?;
    let said = logged(&client);
    client.disconnect(json!(null))?;
    Ok(said)
}

#[test]
fn names_fields_indices_and_lengths() -> Result<()> {
    let message = "{index}: {item.Name} costs {item.Price}, {order.Customer.Name} of {len(order.Items)}, {order.Items[0].Name} {order.Notes[1]} {sum}";
    let expected = [
        r#"0: "lamp" costs 30, "Ada" of 2, "lamp" "gift" 0"#,
        r#"1: "bulb" costs 2, "Ada" of 2, "lamp" "gift" 30"#,
        r#"0: "desk" costs 250, "Grace" of 1, "desk" "" 0"#,
    ];
    let built = fixture("orders", Build::NoOpt)?;
    assert_eq!(log_all(&built, &[("// each item", message)])?, expected);
    Ok(())
}

#[test]
fn whole_values_print_as_in_a_debugger() -> Result<()> {
    let built = fixture("orders", Build::NoOpt)?;
    let said = log_all(
        &built,
        &[
            ("// the whole order", "{item} {sum} {order.Notes}"),
            ("return 0, errEmpty", "{*order.Customer} {order.Items}"),
        ],
    )?;
    // `item` is out of scope behind its loop.
    assert!(
        said.iter()
            .take(2)
            .all(|line| line.contains("{eval err: ") || line.contains("could not find symbol")),
        "{said:?}"
    );
    assert!(said[0].ends_with(r#"40 [2]string ["fragile","gift"]"#), "{said:?}");
    assert_eq!(
        said[2],
        r#"main.Customer {Name: "Ada", Email: "ada@example.com"} []main.Item len: 0, cap: 0, nil"#
    );
    Ok(())
}

#[test]
fn optimised_programs_have_logpoints_too() -> Result<()> {
    for build in [Build::Opt, Build::Pie] {
        let built = fixture("orders", build)?;
        let said = log_all(
            &built,
            &[
                ("func ship(", "order {order.ID} of {order.Customer.Name}"),
                ("// shipped", "label"),
            ],
        )?;
        let expected = [
            r#"order 1 of "Ada""#,
            "label",
            r#"order 2 of "Grace""#,
            "label",
            r#"order 3 of "Ada""#,
        ];
        assert_eq!(said, expected, "{build:?}");
    }
    Ok(())
}

#[test]
fn a_parameter_that_did_not_survive_is_not_shown() -> Result<()> {
    // Entering `roomy` grows the stack, and registers with parameters it does not use are overwritten. DWARF does not say so.
    for build in [Build::NoOpt, Build::Opt] {
        let built = fixture("calls", build)?;
        let mut client = launched(&built, &["growth"])?;
        let line = built.line("main.go", "func roomy(")?;
        let wanted = [SourceBreakpoint::log(line, "{a} {b} {label}")];
        let answers = client.set_breakpoints(&built.source("main.go"), &wanted)?;
        assert!(answers.iter().all(|answer| answer.verified), "{answers:?}");
        client.configuration_done()?;
        client.event("terminated")?;
        let said = logged(&client);
        assert_eq!(said.len(), 20, "{build:?}: {said:?}");
        for (i, said) in said.iter().enumerate() {
            let right = *said == format!("{i} {} \"label\"", 2 * i);
            let told = said.matches("{eval err: could not read ").count() == 3;
            assert!(right || (build == Build::Opt && told), "{build:?}: {said}");
        }
        client.disconnect(json!(null))?;
    }
    Ok(())
}

#[test]
fn an_inlined_body_has_logpoints_too() -> Result<()> {
    // `total` is inlined into `ship`.
    let said = log_all(&fixture("orders", Build::Opt)?, &[("// each item", "one item")])?;
    assert_eq!(said, ["one item"; 3]);
    Ok(())
}

#[test]
fn what_cannot_be_evaluated_says_so_and_the_rest_is_there() -> Result<()> {
    let built = fixture("orders", Build::NoOpt)?;
    let said = log_all(
        &built,
        &[(
            "sum, err := total(order)",
            "{order.ID} {order.Absent} {nothing} {express}",
        )],
    )?;
    assert_eq!(said.len(), 3, "{said:?}");
    for (i, line) in said.iter().enumerate() {
        assert!(
            line.starts_with(&format!("{} {{eval err: ", i + 1))
                && line.ends_with(if i == 1 { " true" } else { " false" }),
            "{line}"
        );
        assert_eq!(line.matches("{eval err: ").count(), 2, "{line}");
    }
    Ok(())
}

#[test]
fn operators_conversions_and_comparisons_are_computed_from_what_was_captured() -> Result<()> {
    let built = fixture("orders", Build::NoOpt)?;
    let message = "{order.ID * 10 + 1} {order.ID > 1 && express} {len(order.Items) == 0} {order.Customer.Name == \"Ada\"} {float64(order.ID) / 2} {errEmpty == nil}";
    let said = log_all(&built, &[("sum, err := total(order)", message)])?;
    assert_eq!(
        said,
        [
            "11 false false true 0.5 false",
            "21 true false false 1 false",
            "31 false true true 1.5 false"
        ]
    );
    Ok(())
}

#[test]
fn a_message_may_be_plain_or_escaped() -> Result<()> {
    let built = fixture("orders", Build::NoOpt)?;
    let said = log_all(&built, &[("sum, err := total(order)", "here, with no value")])?;
    assert_eq!(said, ["here, with no value"; 3]);
    Ok(())
}

#[test]
fn logpoints_come_and_go_while_the_program_runs() -> Result<()> {
    let built = fixture("orders", Build::NoOpt)?;
    let mut client = launched(&built, &["forever"])?;
    let source = built.source("main.go");
    client.configuration_done()?;
    let process = client.event("process")?;
    let target = descendants(client.server().pid()).into_iter().next();
    let at = |marker: &str, text: &str| -> Result<SourceBreakpoint> {
        Ok(SourceBreakpoint::log(built.line("main.go", marker)?, text))
    };

    let first = client.set_breakpoints(&source, &[at("// shipped", "first {label}")?])?;
    assert!(first[0].verified, "{first:?}");
    client.output("stdout", "first \"Ada pays 40\"")?;
    let both = client.set_breakpoints(
        &source,
        &[
            at("// shipped", "first {label}")?,
            at("// each item", "second {item.Name}")?,
        ],
    )?;
    assert_eq!(both[0].id, first[0].id, "an unchanged logpoint keeps its number");
    client.output("stdout", "second \"bulb\"")?;
    client.output("stdout", "first ")?;
    client.set_breakpoints(&source, &[at("// each item", "third {item.Price}")?])?;
    client.output("stdout", "third 250")?;
    client.set_breakpoints(&source, &[])?;
    // What was under way is drained before the answer, so from here there is silence.
    let before = logged(&client).len();
    client.outputs_so_far("stdout");
    let settled = logged(&client).len();
    std::thread::sleep(Duration::from_millis(300));
    client.outputs_so_far("stdout");
    assert_eq!(logged(&client).len(), settled, "{before} before");
    if let Some(target) = target {
        assert_eq!(tracer_of(target), Some(0), "{process:?}");
    }
    client.disconnect(json!({"terminateDebuggee": true}))?;
    Ok(())
}

#[test]
fn a_logpoint_reaches_the_client_soon() -> Result<()> {
    let mut running = ChildGroup::start(&mut Command::new(fixture("counter", Build::Opt)?.program))?;
    let built = fixture("counter", Build::Opt)?;
    let mut client = DapClient::start(&paths::spelunk()?)?;
    client.attach(json!({"request": "attach", "mode": "local", "processId": running.pid()}))?;
    client.set_breakpoints(
        &built.source("main.go"),
        &[SourceBreakpoint::log(
            built.line("main.go", "// a logpoint stands here")?,
            "{number}",
        )],
    )?;
    client.configuration_done()?;
    // The program prints the number right after the logpoint, so the pipe tells when it was passed.
    client.output("stdout", "]: ")?;
    let last = |text: &str| text.lines().last()?.parse::<u64>().ok();
    let mut delays = Vec::new();
    for _ in 0..20 {
        let now = last(&running.stdout.text()).unwrap_or(0);
        // On a busy machine several numbers come at once, so the one that is waited for need not be the last.
        let next = running.stdout.wait_for("the counter", STEP, |text| {
            last(text).filter(|number| *number >= now + 3)
        })?;
        let passed = Instant::now();
        client.output("stdout", &format!("]: {next}\n"))?;
        delays.push(passed.elapsed());
    }
    delays.sort();
    let (median, latest) = (delays[delays.len() / 2], delays[delays.len() - 1]);
    println!("a logpoint's text arrives {median:?} after the program's own, {latest:?} at the latest");
    // What a busy machine holds up now and then moves the latest, a wrong buffer somewhere the median.
    assert!(
        median < Duration::from_millis(500) && latest < Duration::from_secs(5),
        "median {median:?}, latest {latest:?}"
    );
    client.disconnect(json!({"terminateDebuggee": false}))?;
    assert!(running.poll()?.is_none(), "the attached program was ended");
    Ok(())
}

#[test]
fn a_line_without_code_is_answered_with_the_reason() -> Result<()> {
    let built = fixture("orders", Build::NoOpt)?;
    let mut client = launched(&built, &[])?;
    let line = built.line("main.go", "// shipped")?;
    let empty = u32::try_from(std::fs::read_to_string(built.source("main.go")).map_or(0, |text| text.lines().count()))
        .unwrap_or(0)
        + 10;
    let answers = client.set_breakpoints(
        &built.source("main.go"),
        &[
            SourceBreakpoint::log(line, "{label}"),
            SourceBreakpoint::log(empty, "none"),
        ],
    )?;
    assert!(answers[0].verified, "{answers:?}");
    assert!(!answers[1].verified && answers[1].message.is_some(), "{answers:?}");
    client.configuration_done()?;
    client.event("terminated")?;
    assert_eq!(logged(&client).len(), 2);
    client.disconnect(json!(null))?;
    Ok(())
}

#[test]
fn concurrent_hits_name_their_goroutines() -> Result<()> {
    let built = fixture("calls", Build::NoOpt)?;
    let mut client = DapClient::start(&paths::spelunk()?)?;
    client.launch(json!({"request": "launch", "mode": "exec", "program": built.program, "args": ["goroutines"]}))?;
    client.set_breakpoints(
        &built.source("main.go"),
        &[SourceBreakpoint::log(built.line("main.go", "func worker")?, "{id}")],
    )?;
    client.configuration_done()?;
    client.event("terminated")?;
    let mut said: Vec<u64> = logged(&client)
        .iter()
        .map(|line| line.parse().expect("a number"))
        .collect();
    said.sort_unstable();
    assert_eq!(said, (0..50).collect::<Vec<u64>>());
    client.disconnect(json!(null))?;
    Ok(())
}
