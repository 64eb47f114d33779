//! Values that probes capture are those of a stopped program, or say why they are not.

use std::collections::HashSet;

use protocol_tests::captured::{Outcome, compare_all, places, report};
use protocol_tests::dap_client::{DapClient, Message, SourceBreakpoint};
use protocol_tests::failure::Result;
use protocol_tests::paths;
use protocol_tests::toolchain::{Build, fixture};
use serde_json::json;

#[test]
fn captured_values_are_those_of_a_stopped_program() -> Result<()> {
    let mut programs = places::programs(false)?;
    programs.retain(|program| program.name.starts_with("captured/"));
    assert!(!programs.is_empty());
    let outcomes = compare_all(&programs, &[2, 4], 2);
    assert_eq!(report::complaints(&outcomes, 20), "");
    let sums = |of: fn(&Outcome) -> usize| outcomes.iter().map(of).sum::<usize>();
    let (equal, unread) = (
        sums(|outcome| outcome.all().equal),
        sums(|outcome| outcome.all().unread()),
    );
    assert!(
        equal >= 60 && unread * 10 <= equal,
        "{equal} equal, {unread} could not be read"
    );
    Ok(())
}

/// The entries of a `map[int]int` as a log message shows it: those that are there, and how many more there are.
fn entries(text: &str) -> Option<(Vec<(u64, u64)>, usize)> {
    let inside = text.strip_prefix("map[int]int [")?.strip_suffix(']')?;
    let (shown, more) = match inside.split_once("...+") {
        Some((shown, more)) => (shown, more.strip_suffix(" more")?.parse().ok()?),
        None => (inside, 0),
    };
    let entry = |part: &str| {
        let (key, value) = part.split_once(": ")?;
        Some((key.trim().parse().ok()?, value.parse().ok()?))
    };
    let shown = shown.split(',').map(str::trim).filter(|part| !part.is_empty());
    Some((shown.map(entry).collect::<Option<_>>()?, more))
}

#[test]
fn entries_of_maps_are_right_whatever_their_size_and_while_they_change() -> Result<()> {
    entries_are_right(Build::NoOpt)
}

#[test]
fn entries_of_the_maps_before_go_1_24_are_right_too() -> Result<()> {
    match Build::OldMaps.has_toolchain()? {
        Ok(()) => entries_are_right(Build::OldMaps),
        Err(why) => {
            println!("skipped: {why}");
            Ok(())
        }
    }
}

fn entries_are_right(build: Build) -> Result<()> {
    let built = fixture("captured_maps", build)?;
    let mut client = DapClient::start(&paths::spelunk()?)?;
    client.launch(json!({"request": "launch", "mode": "exec", "program": built.program}))?;
    let logpoints = [
        SourceBreakpoint::log(built.line("main.go", "// a map that grows")?, "grown {n}|{m}"),
        SourceBreakpoint::log(
            built.line("main.go", "// a map that changes")?,
            "changing {n}|{main.changing}",
        ),
    ];
    client.set_breakpoints(&built.source("main.go"), &logpoints)?;
    client.configuration_done()?;
    client.event("terminated")?;
    let (mut grown, mut beyond, mut read, mut refused) = (0, 0, 0, 0);
    let output = |message: &Message| match message {
        Message::Event(event) => event.body["output"].as_str().map(str::to_owned),
        _ => None,
    };
    // Several messages may come in one event.
    let said: String = client.received().iter().filter_map(output).collect();
    for text in said.lines() {
        let Some((what, value)) = text.split_once("]: ").and_then(|(_, said)| said.split_once('|')) else {
            continue;
        };
        let shown = entries(value);
        if let Some((shown, _)) = &shown {
            let keys: HashSet<u64> = shown.iter().map(|(key, _)| *key).collect();
            assert_eq!(keys.len(), shown.len(), "a key twice: {text}");
            // A new entry is there before its value is: the compiled code writes that when the map has made room.
            let moving = what.starts_with("changing");
            let is_right = |(key, value): &(u64, u64)| key * key == *value || (moving && *value == 0);
            assert!(shown.iter().all(is_right), "{text}");
        }
        if let Some(n) = what.strip_prefix("grown ") {
            let n: usize = n.parse().expect("a number");
            let Some((shown, more)) = shown else {
                // How the entries lie follows from a seed: seldom one lies where a probe does not follow, and then it says so.
                assert!(value.contains("was not captured"), "{text}");
                beyond += 1;
                continue;
            };
            assert_eq!((shown.len(), shown.len() + more), (n.min(64), n), "{text}");
            grown += 1;
        } else if shown.is_some() {
            read += 1;
        } else {
            assert!(value.contains("unreadable"), "{text}");
            refused += 1;
        }
    }
    println!(
        "{grown} maps that grow, and {beyond} that lie beyond what is followed; of one that changes {read} times its entries, {refused} times none"
    );
    assert!(
        grown >= 30 && 10 * beyond <= grown && read + refused >= 100,
        "{grown} {beyond} {read} {refused}"
    );
    client.disconnect(json!(null))?;
    Ok(())
}
