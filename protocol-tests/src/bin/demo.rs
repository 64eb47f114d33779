//! `make demo`: a minute's tour. A sample program's calls with their values, what that costs, and a logpoint set by an editor.

use std::io::{IsTerminal, Write};
use std::process::{Command, ExitCode};
use std::time::Duration;

use nix::sys::signal::Signal;
use protocol_tests::child::{ChildGroup, tracer_of};
use protocol_tests::dap_client::{DapClient, Message, SourceBreakpoint};
use protocol_tests::failure::{Failure, Result};
use protocol_tests::measure::{By, Hot, cost, hot};
use protocol_tests::toolchain::{Build, Built, Go, Source};
use protocol_tests::{paths, peer};
use serde_json::{Value, json};

const STEP: Duration = Duration::from_secs(30);
/// How many lines of the trace are shown.
const TRACED_LINES: usize = 16;

fn main() -> ExitCode {
    match tour() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("\n{failure}");
            ExitCode::FAILURE
        }
    }
}

fn tour() -> Result<()> {
    let shop = Source::folder("shop", &paths::crate_dir().join("demo"))?.build(Build::NoOpt)?;
    heading("1. A running Go program, traced in the kernel");
    trace(&shop)?;
    heading("2. What a traced call costs");
    costs()?;
    heading("3. A logpoint, as an editor sets it");
    logpoint(&shop)?;
    println!(
        "\nNext: README.md has the launch configurations for VS Code and nvim; `spelunk doctor` says what this machine can do."
    );
    Ok(())
}

/// A heading, bold on a terminal.
fn heading(text: &str) {
    if std::io::stdout().is_terminal() {
        println!("\n\x1b[1m{text}\x1b[0m\n");
    } else {
        println!("\n{text}\n{}\n", "-".repeat(text.chars().count()));
    }
}

/// Lines of `text` behind a mark, cut to a readable width.
fn show(mark: &str, text: &str) {
    const WIDTH: usize = 170;
    let short: String = text.chars().take(WIDTH).collect();
    let dots = if text.chars().count() > WIDTH { "…" } else { "" };
    println!("  {mark}{}{dots}", short.trim_end());
    let _ = std::io::stdout().flush();
}

/// Shows the first lines of a trace as they come; fails with what spelunk says if it ends without one.
fn show_trace(tracing: &ChildGroup) -> Result<()> {
    let mut shown = 0;
    while shown < TRACED_LINES {
        let more = tracing.stderr.wait_for("more of the trace", STEP, |text| {
            let calls = text.lines().any(|line| line.starts_with('>'));
            (calls && text.lines().count() > shown).then_some(())
        });
        if let Err(failure) = more {
            let said = tracing.stderr.text();
            if said.is_empty() {
                return Err(failure);
            }
            return Err(Failure::new(format!(
                "spelunk could not trace here. It says:\n\n{}\n\nWhat this machine and this user can do: {} doctor",
                said.trim_end(),
                paths::spelunk()?.display()
            )));
        }
        for line in tracing.stderr.text().lines().skip(shown).take(TRACED_LINES - shown) {
            show("", line);
            shown += 1;
        }
    }
    Ok(())
}

fn trace(shop: &Built) -> Result<()> {
    let running = ChildGroup::start(&mut Command::new(&shop.program))?;
    println!(
        "A small shop runs as process {} and takes a few orders a second ({} builds it from protocol-tests/demo/main.go):\n",
        running.pid(),
        Go::find()?.version
    );
    running.stdout.wait_for("the shop's first orders", STEP, |text| {
        (text.lines().count() >= 2).then_some(())
    })?;
    for line in running.stdout.text().lines().take(2) {
        show("", line);
    }

    let expression = r"^main\.(price|\(\*Shop\)\..*)$";
    println!("\n$ spelunk trace -p {} '{expression}'\n", running.pid());
    let mut command = Command::new(paths::spelunk()?);
    command.args(["trace", "-p", &running.pid().to_string(), expression]);
    let tracing = ChildGroup::start(&mut command)?;
    show_trace(&tracing)?;
    let tracer = tracer_of(running.pid()).map_or("gone".to_owned(), |tracer| tracer.to_string());
    println!(
        "\nThe shop was never stopped; nobody ptraces it. While spelunk traces, /proc/{}/status reads:\n",
        running.pid()
    );
    show("", &format!("TracerPid: {tracer}"));

    let before = running.stdout.text().lines().count();
    tracing.signal(Signal::SIGINT)?;
    tracing.finish(STEP)?;
    running.stdout.wait_for("the shop to go on", STEP, |text| {
        (text.lines().count() > before).then_some(())
    })?;
    println!(
        "\nspelunk is gone, and its probes with it; the shop goes on: {}",
        running.stdout.text().lines().last().unwrap_or_default()
    );
    Ok(())
}

fn costs() -> Result<()> {
    let program = hot(Build::NoOpt)?.program;
    let function = Hot::Find;
    let limit = Duration::from_secs(60);
    let alone = cost(&program, &By::Nothing, function, 2_000_000, limit)?;
    println!(
        "A loop calls a function {}; untraced, one call takes {:.0} ns. Traced at entry and return, it takes longer by:\n",
        function.signature(),
        alone.nanoseconds
    );
    println!("  {:<18}  {:>14}   {:>18}", "", "ns per call", "lines right");
    let mut tracers = vec![(By::Spelunk, 5_000)];
    match peer::dlv() {
        Some(dlv) => tracers.extend([
            (By::DlvEbpf(dlv.to_path_buf()), 2_000),
            (By::Dlv(dlv.to_path_buf()), 200),
        ]),
        None => println!(
            "  (dlv's lines are missing: go install github.com/go-delve/delve/cmd/dlv@v{})",
            peer::VERSION
        ),
    }
    for (by, calls) in tracers {
        match cost(&program, &by, function, calls, limit) {
            Ok(cost) => println!(
                "  {:<18}  {:>14}   {:>18}{}",
                by.to_string(),
                grouped(cost.nanoseconds - alone.nanoseconds),
                format!("{} of {}", grouped(cost.right as f64), grouped(cost.expected as f64)),
                cost.note.map_or(String::new(), |note| format!("   ({note})"))
            ),
            Err(failure) => println!("  {:<18}  failed: {failure}", by.to_string()),
        }
    }
    println!(
        "\nA line is right if it shows the very arguments or results of its call. `make bench` measures more, with an optimised spelunk."
    );
    Ok(())
}

/// A number without decimals, its thousands grouped.
fn grouped(number: f64) -> String {
    let digits = format!("{:.0}", number.abs());
    let mut text = String::from(if number <= -0.5 { "-" } else { "" });
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A DAP session over a real socket, its messages shown as they come.
fn logpoint(shop: &Built) -> Result<()> {
    let line = shop.line("main.go", "// a logpoint stands here")?;
    println!(
        "$ spelunk dap --listen=127.0.0.1:0\n\nThe editor (→) launches the shop and sets a logpoint at main.go:{line}, `return receipt, nil`; spelunk (←) answers and logs:\n"
    );
    let mut client = DapClient::start(&paths::spelunk()?)?;
    let mut shown = 0;
    client.launch(json!({"request": "launch", "mode": "exec", "program": shop.program}))?;
    show_messages(&client, &mut shown);
    let message = "order {order.Number} by {order.Customer}: {first.Name}, {len(order.Items)} in all";
    client.set_breakpoints(&shop.source("main.go"), &[SourceBreakpoint::log(line, message)])?;
    show_messages(&client, &mut shown);
    client.configuration_done()?;
    for _ in 0..5 {
        client.output("stdout", "> [Go ")?;
        show_messages(&client, &mut shown);
    }
    client.request("disconnect", json!({"terminateDebuggee": true}))?;
    show_messages(&client, &mut shown);
    client.server().finish_within(STEP)?;
    Ok(())
}

fn show_messages(client: &DapClient, shown: &mut usize) {
    for message in &client.transcript()[*shown..] {
        match message {
            Message::Request { command, arguments, .. } => show("→ ", &format!("{command} {}", abridged(arguments))),
            Message::Response(response) => show(
                "← ",
                &format!(
                    "{}: {} {}",
                    response.command,
                    if response.success { "done" } else { "failed" },
                    abridged(&response.body)
                ),
            ),
            Message::Event(event) if event.event == "output" => show(
                "← ",
                &format!(
                    "output to {}: {}",
                    event.body["category"].as_str().unwrap_or("console"),
                    event.body["output"].as_str().unwrap_or_default().trim_end()
                ),
            ),
            Message::Event(event) => show("← ", &format!("event {} {}", event.event, abridged(&event.body))),
        }
    }
    *shown = client.transcript().len();
}

/// The parts of a message that tell something: no capabilities, no folders of paths, no more of a source than its name.
fn abridged(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Object(members)
            if members
                .keys()
                .any(|name| name.starts_with("supports") || name == "clientID") =>
        {
            "{…}".to_owned()
        }
        other => without_folders(other).to_string(),
    }
}

fn without_folders(value: &Value) -> Value {
    match value {
        Value::String(text) if text.starts_with('/') => text.rsplit('/').next().unwrap_or(text).into(),
        Value::Array(items) => items.iter().map(without_folders).collect(),
        Value::Object(members) => members
            .iter()
            .map(|(name, member)| match &member["name"] {
                source @ Value::String(_) if name == "source" => (name.clone(), source.clone()),
                _ => (name.clone(), without_folders(member)),
            })
            .collect(),
        other => other.clone(),
    }
}
