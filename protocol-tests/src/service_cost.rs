//! What breakpoints and logpoints cost an HTTP service under load that an editor has attached to.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::child::ChildGroup;
use crate::dap_client::{DapClient, Message, SourceBreakpoint};
use crate::failure::{Failure, Result};
use crate::measure::{handled, read_report, service};

/// What is set on the line that each request passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Set {
    /// A breakpoint whose condition is never true.
    FalseCondition,
    /// A logpoint whose condition is never true.
    FalseLogpoint,
    /// A logpoint at one request in a hundred.
    OneInHundred,
    /// A logpoint at each request.
    Each,
}

impl Set {
    /// As a table names it.
    pub fn name(self) -> &'static str {
        match self {
            Set::FalseCondition => "breakpoint, condition `size < 0`",
            Set::FalseLogpoint => "logpoint, condition `size < 0`",
            Set::OneInHundred => "logpoint `{path} {size}`, hit condition `% 100`",
            Set::Each => "logpoint `{path} {size}`",
        }
    }

    fn breakpoint(self, line: u32) -> SourceBreakpoint {
        let log = SourceBreakpoint::log(line, "{path} {size}");
        let never = Some("size < 0".to_owned());
        match self {
            Set::FalseCondition => SourceBreakpoint {
                condition: never,
                ..SourceBreakpoint::stop(line)
            },
            Set::FalseLogpoint => SourceBreakpoint {
                condition: never,
                ..log
            },
            Set::OneInHundred => SourceBreakpoint {
                hit_condition: Some("% 100".to_owned()),
                ..log
            },
            Set::Each => log,
        }
    }

    /// How many messages so many requests make.
    pub fn messages(self, requests: usize) -> usize {
        match self {
            Set::FalseCondition | Set::FalseLogpoint => 0,
            Set::OneInHundred => requests / 100,
            Set::Each => requests,
        }
    }
}

/// What the load generator and the client saw.
#[derive(Clone, Debug)]
pub struct Served {
    /// Requests per second.
    pub per_second: f64,
    /// The 99th percentile of the latencies, as the generator writes it.
    pub p99: String,
    /// Requests that reached the handler.
    pub handled: usize,
    /// Log messages that the client was sent.
    pub messages: usize,
    /// Of those that it was not sent: what it was told of them.
    pub notes: Vec<String>,
}

/// Puts the service under load for `seconds`, with something set by a debugger that speaks DAP, or nothing. `generator` is `wrk` or `hey`.
pub fn served(generator: &Path, debugger: Option<(&Path, Set)>, seconds: u32) -> Result<Served> {
    let built = crate::measure::service_program()?;
    let (service, address) = service(&built)?;
    let client = match debugger {
        Some((debugger, set)) => Some(attached(debugger, &service, &built, set)?),
        None => None,
    };
    let before = handled(&address)?;
    let mut command = Command::new(generator);
    let url = format!("http://{address}/orders/lamp");
    if generator.ends_with("hey") {
        command.args(["-z", &format!("{seconds}s"), "-c", "8", &url]);
    } else {
        command.args(["-t", "1", "-c", "8", "-d", &format!("{seconds}s"), "--latency", &url]);
    }
    let report = crate::child::run(&mut command, Duration::from_secs(u64::from(seconds) + 60))?;
    let handled = handled(&address)?.saturating_sub(before);
    let (messages, notes) = match client {
        Some(client) => told(client)?,
        None => (0, Vec::new()),
    };
    let (per_second, p99) = read_report(&report.stdout)?;
    Ok(Served {
        per_second,
        p99,
        handled,
        messages,
        notes,
    })
}

/// Attaches, sets it and lets the service go on.
fn attached(debugger: &Path, service: &ChildGroup, built: &crate::toolchain::Built, set: Set) -> Result<DapClient> {
    let mut client = DapClient::start(debugger)?;
    client.attach(json!({"request": "attach", "mode": "local", "processId": service.pid(), "stopOnEntry": false}))?;
    let line = built.line("main.go", "name := strings.TrimPrefix")?;
    let states = client.set_breakpoints(&built.source("main.go"), &[set.breakpoint(line)])?;
    if let Some(state) = states.iter().find(|state| !state.verified) {
        return Err(Failure::new(format!("the breakpoint is not verified: {state:?}")));
    }
    client.configuration_done()?;
    Ok(client)
}

/// Ends the session; answers how many messages the client was sent, and what it was told of others.
fn told(mut client: DapClient) -> Result<(usize, Vec<String>)> {
    client.request("disconnect", json!({"terminateDebuggee": false}))?;
    let mut messages = 0;
    let mut notes = Vec::new();
    for message in client.received() {
        let Message::Event(event) = message else { continue };
        let Some(text) = event.body["output"].as_str().filter(|_| event.event == "output") else {
            continue;
        };
        messages += text.lines().filter(|line| line.starts_with("> [Go ")).count();
        if text.contains("suppressed") || text.contains("lost") {
            notes.push(text.trim_end().to_owned());
        }
    }
    Ok((messages, notes))
}
