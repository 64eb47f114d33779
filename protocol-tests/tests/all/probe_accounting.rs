//! Every hit of a probe is accounted for, however many there are: hits = condition false + throttled + ring full + emitted, and the hits are as many as the program itself counts.

use std::time::Duration;

use protocol_tests::child::{Finished, run};
use protocol_tests::dap_client::{DapClient, Message, SourceBreakpoint};
use protocol_tests::failure::{Failure, Result};
use protocol_tests::paths;
use protocol_tests::toolchain::{Build, fixture};
use protocol_tests::trace::Tracer;
use serde_json::{Value, json};

const WORKERS: u64 = 4;
const CALLS: u64 = 15_000;
/// The smallest ring there is, in bytes.
const TINY: &str = "65536";

/// A line of the table at the end of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Account {
    hits: u64,
    condition_false: u64,
    throttled: u64,
    ring_full: u64,
    emitted: u64,
}

impl Account {
    /// The line that begins with `probe`.
    fn read(stderr: &str, probe: &str) -> Result<Account> {
        let line = stderr
            .lines()
            .find_map(|line| line.strip_prefix(probe))
            .unwrap_or_default();
        let numbers: Vec<u64> = line.split_whitespace().map_while(|word| word.parse().ok()).collect();
        if let [hits, condition_false, throttled, ring_full, emitted, _] = numbers[..] {
            return Ok(Account {
                hits,
                condition_false,
                throttled,
                ring_full,
                emitted,
            });
        }
        let rest: Vec<&str> = stderr.lines().filter(|line| !line.contains("goroutine(")).collect();
        Err(Failure::new(format!(
            "no line {probe:?} in the table:\n{}",
            rest.join("\n")
        )))
    }

    #[track_caller]
    fn assert_complete(self) {
        assert_eq!(
            self.hits,
            self.condition_false + self.throttled + self.ring_full + self.emitted,
            "{self:?}"
        );
    }
}

/// What the program counted: its calls, and those with a number that three divides.
fn counted(stdout: &str) -> Result<(u64, u64)> {
    let numbers: Vec<u64> = stdout.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    match numbers[..] {
        [calls, thirds] => Ok((calls, thirds)),
        _ => Err(Failure::new(format!(
            "the program did not say what it counted: {stdout:?}"
        ))),
    }
}

/// The number of lines that begin with `arrow`.
fn lines(stderr: &str, arrow: &str) -> u64 {
    let lines = stderr.lines().filter(|line| {
        line.strip_prefix(arrow)
            .is_some_and(|rest| rest.starts_with(" goroutine("))
    });
    lines.count() as u64
}

/// Traces the program with these flags; answers what its calls and its returns came to.
#[track_caller]
fn traced(flags: &[&str], ring: Option<&str>) -> Result<(Finished, Account, Account)> {
    let program = fixture("parallel", Build::NoOpt)?.program;
    let (program, workers, calls) = (program.to_string_lossy(), WORKERS.to_string(), CALLS.to_string());
    let target = ["--stats", "--exec", &program, "^main.pass$", "--", &workers, &calls];
    let mut command = Tracer::spelunk()?.command(&[flags, &target].concat());
    if let Some(bytes) = ring {
        command.env("SPELUNK_RING_BYTES", bytes);
    }
    let finished = run(&mut command, Duration::from_secs(120))?;
    let calls = Account::read(&finished.stderr, "main.pass calls")?;
    let returns = Account::read(&finished.stderr, "main.pass returns")?;
    calls.assert_complete();
    returns.assert_complete();
    Account::read(&finished.stderr, "all probes")?.assert_complete();
    let (counted, _) = counted(&finished.stdout)?;
    assert_eq!((counted, calls.hits, returns.hits), (WORKERS * CALLS, counted, counted));
    Ok((finished, calls, returns))
}

#[test]
fn a_ring_that_is_too_small() -> Result<()> {
    let (finished, calls, returns) = traced(&["-v", "4"], Some(TINY))?;
    assert!(calls.ring_full > 0 && calls.emitted > 0, "{calls:?}");
    assert_eq!((calls.condition_false, calls.throttled), (0, 0));
    let shown = (lines(&finished.stderr, ">"), lines(&finished.stderr, ">>"));
    assert_eq!(shown, (calls.emitted, returns.emitted));
    Ok(())
}

#[test]
fn a_condition_takes_no_room_where_it_is_false() -> Result<()> {
    let (finished, calls, _) = traced(&["--cond", "n%3 == 0"], None)?;
    let (all, thirds) = counted(&finished.stdout)?;
    assert_eq!(
        (calls.condition_false, calls.throttled, calls.ring_full, calls.emitted),
        (all - thirds, 0, 0, thirds)
    );
    assert_eq!(lines(&finished.stderr, ">"), thirds);
    assert_eq!(lines(&finished.stderr, ">>"), thirds);
    Ok(())
}

#[test]
fn a_limit_counts_what_it_keeps_back() -> Result<()> {
    let (finished, calls, _) = traced(&["--rate", "100"], None)?;
    assert_eq!((calls.condition_false, calls.ring_full), (0, 0));
    // Each second the trace takes lets another hundred pass.
    let most = 100 * (finished.took.as_secs() + 2);
    assert!(
        (100..=most).contains(&calls.emitted),
        "{calls:?} in {:?}",
        finished.took
    );
    assert_eq!(lines(&finished.stderr, ">"), calls.emitted);
    Ok(())
}

#[test]
fn all_at_once() -> Result<()> {
    let (finished, calls, _) = traced(
        &["--cond", "n%3 == 0", "--hitcond", "% 2", "--rate", "2000", "-v", "4"],
        Some(TINY),
    )?;
    let (all, thirds) = counted(&finished.stdout)?;
    assert_eq!(
        calls.condition_false,
        all - thirds / 2,
        "half of the thirds pass the gate: {calls:?}"
    );
    assert!(calls.throttled > 0 && calls.emitted > 0, "{calls:?}");
    assert_eq!(lines(&finished.stderr, ">"), calls.emitted);
    Ok(())
}

/// Runs the program under a client with this logpoint; answers what the server says of the probe at the end, and how many messages the client was sent.
#[track_caller]
fn logged(wanted: &SourceBreakpoint, limit: u32, ring: &str) -> Result<(Value, u64, u64)> {
    let built = fixture("parallel", Build::NoOpt)?;
    let mut client = DapClient::start_with(&paths::spelunk()?, &[("SPELUNK_RING_BYTES", ring)])?;
    client.launch(json!({
        "request": "launch", "mode": "exec", "program": built.program, "args": [WORKERS.to_string(), CALLS.to_string()],
        "logpointRateLimit": limit, "outputMode": "remote"
    }))?;
    let states = client.set_breakpoints(&built.source("main.go"), std::slice::from_ref(wanted))?;
    assert!(states[0].verified, "{states:?}");
    client.configuration_done()?;
    let said = client.output("stdout", "calls ")?;
    let (calls, thirds) = counted(said.lines().find(|line| line.starts_with("calls")).unwrap_or_default())?;
    client.event("terminated")?;
    let body = client.request("spelunk/probes", json!({}))?;
    let mut shown = 0;
    for message in client.received() {
        if let Message::Event(event) = message
            && let Some(text) = event.body["output"].as_str()
        {
            shown += text.lines().filter(|line| line.starts_with("> [Go ")).count() as u64;
        }
    }
    client.disconnect(json!({}))?;
    let probe = body["probes"][0].clone();
    let number = |name: &str| probe[name].as_u64().unwrap_or_default();
    let accounted = ["conditionFalse", "throttled", "ringFull", "idle", "emitted"];
    assert_eq!(
        number("hits"),
        accounted.into_iter().map(number).sum::<u64>(),
        "{probe}"
    );
    assert_eq!(number("hits"), calls, "{probe}");
    assert_eq!(number("emitted"), shown + number("suppressed"), "{probe}");
    Ok((probe, shown, thirds))
}

#[test]
fn messages_of_a_logpoint_in_a_ring_that_is_too_small() -> Result<()> {
    let built = fixture("parallel", Build::NoOpt)?;
    let line = built.line("main.go", "// passed")?;
    let (probe, shown, _) = logged(&SourceBreakpoint::log(line, "{worker} {n} {worker + n}"), 0, TINY)?;
    assert!(probe["ringFull"].as_u64() > Some(0) && shown > 0, "{probe}");
    assert_eq!((&probe["conditionFalse"], &probe["throttled"]), (&json!(0), &json!(0)));
    Ok(())
}

#[test]
fn messages_of_a_logpoint_with_a_condition_and_a_limit() -> Result<()> {
    let built = fixture("parallel", Build::NoOpt)?;
    let wanted = SourceBreakpoint {
        condition: Some("n%3 == 0".to_owned()),
        ..SourceBreakpoint::log(built.line("main.go", "// passed")?, "{worker} {n}")
    };
    let (probe, shown, thirds) = logged(&wanted, 500, TINY)?;
    assert_eq!(probe["conditionFalse"], WORKERS * CALLS - thirds, "{probe}");
    assert!(probe["throttled"].as_u64() > Some(0) && shown > 0, "{probe}");
    Ok(())
}
