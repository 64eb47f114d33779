//! `make bench`: what a session costs in spelunk and dlv, what values cost, what a traced call costs with nothing, spelunk and dlv, and an HTTP service under load, as a Markdown table.

use std::path::{Path, PathBuf};
use std::time::Duration;

use protocol_tests::consumer_cost::consumed;
use protocol_tests::failure::Result;
use protocol_tests::measure::{By, Cost, Hot, cost, hot, load};
use protocol_tests::service_cost::{Set, served};
use protocol_tests::toolchain::{Build, Built, Go};
use protocol_tests::values_cost::{self, Taken};
use protocol_tests::{paths, peer, session_cost};

const LIMIT: Duration = Duration::from_secs(60);
const LOAD_SECONDS: u32 = 6;
/// How many records become text.
const RECORDS: usize = 600_000;
/// How many steps a session makes.
const STEPS: usize = 100;
/// How often the first stop is measured.
const RUNS: usize = 5;

fn main() -> Result<()> {
    machine()?;
    // One part alone, while working on it: `bench session`.
    let only = std::env::args().nth(1);
    let wanted = |part: &str| only.as_deref().is_none_or(|only| only == part);
    if wanted("session") {
        session()?;
    }
    if wanted("values") {
        values()?;
    }
    if wanted("calls") {
        calls()?;
    }
    if wanted("consumer") {
        consumer();
    }
    if wanted("service") || wanted("conditions") {
        let Some(generator) = std::env::var_os("SPELUNK_LOAD").filter(|path| !path.is_empty()) else {
            println!("No load generator (wrk or hey), so the HTTP service was not measured.");
            return Ok(());
        };
        let generator = PathBuf::from(generator);
        if wanted("service") {
            service(&generator);
        }
        if wanted("conditions") {
            conditions(&generator)?;
        }
    }
    Ok(())
}

/// Where this was measured, without which the numbers say nothing.
fn machine() -> Result<()> {
    let file = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = file("/proc/cpuinfo");
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown", |(_, model)| model);
    let virtual_machine = if cpu.contains("hypervisor") {
        ", a virtual machine"
    } else {
        ""
    };
    let cpus = cpu.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = file("/proc/sys/kernel/osrelease");
    println!(
        "Machine: {cpus} × {model}{virtual_machine}; Linux {}; {}; dlv {}",
        kernel.trim(),
        Go::find()?.version,
        peer::VERSION
    );
    println!("Run by: `make bench`\n");
    Ok(())
}

/// Who traces, with how many calls: as many as fit into a few seconds.
fn tracers() -> Vec<(By, usize)> {
    let mut all = vec![(By::Nothing, 20_000_000), (By::Spelunk, 100_000)];
    match peer::dlv_or_skip("dlv's columns of the benchmark") {
        Some(dlv) => all.extend([(By::DlvEbpf(dlv.clone()), 5_000), (By::Dlv(dlv), 400)]),
        None => println!("dlv is not installed, so its rows are missing.\n"),
    }
    all
}

fn values() -> Result<()> {
    let built = values_cost::program()?;
    println!(
        "Values in a frame with {} locals: all of them, the median of several requests, and {} evaluations one after the other:\n",
        values_cost::LOCALS,
        values_cost::EVALUATIONS
    );
    println!(
        "| debugger | protocol | locals | {} evaluations |",
        values_cost::EVALUATIONS
    );
    println!("|---|---|---|---|");
    for (protocol, take) in [
        ("DAP", values_cost::over_dap as fn(&Path, &Built) -> Result<Taken>),
        ("JSON-RPC", values_cost::over_rpc),
    ] {
        for (name, debugger) in debuggers()? {
            match take(&debugger, &built) {
                Ok(taken) => println!(
                    "| {name} | {protocol} | {} | {} |",
                    milliseconds(taken.locals),
                    milliseconds(taken.evaluations)
                ),
                Err(failure) => eprintln!("{name}, {protocol}: {failure}"),
            }
        }
    }
    println!();
    Ok(())
}

fn calls() -> Result<()> {
    println!("One traced call, entry and return (`PROGRAM trace --exec hot '^main.FUNCTION$' -- FUNCTION CALLS`):\n");
    println!(
        "| tracer | build | {} | lines right | {} | lines right |",
        Hot::Add.signature(),
        Hot::Find.signature()
    );
    println!("|---|---|---|---|---|---|");
    for build in [Build::NoOpt, Build::Opt] {
        let program = hot(build)?.program;
        let mut untraced = [0.0; 2];
        for (by, count) in tracers() {
            let mut cells = String::new();
            for (i, function) in [Hot::Add, Hot::Find].into_iter().enumerate() {
                match cost(&program, &by, function, count, LIMIT) {
                    Ok(cost) => cells += &cell(&by, &cost, &mut untraced[i]),
                    Err(failure) => {
                        eprintln!("{by}, {}: {failure}", function.signature());
                        cells += " refused (see above) | |";
                    }
                }
            }
            println!(
                "| {by} | {} |{cells}",
                if build == Build::NoOpt { "`-N -l`" } else { "optimised" }
            );
        }
    }
    println!();
    Ok(())
}

fn cell(by: &By, cost: &Cost, untraced: &mut f64) -> String {
    if *by == By::Nothing {
        *untraced = cost.nanoseconds;
        return format!(" {:.1} ns | |", cost.nanoseconds);
    }
    if let Some(note) = &cost.note {
        eprintln!("{by}: {note}");
    }
    format!(
        " {} ns | {} of {} |",
        thousands(cost.nanoseconds - *untraced),
        cost.right,
        cost.expected
    )
}

/// The debuggers whose sessions are measured.
fn debuggers() -> Result<Vec<(&'static str, PathBuf)>> {
    let mut all = vec![("spelunk", paths::spelunk()?)];
    match peer::dlv_or_skip("dlv's rows of the benchmark of sessions") {
        Some(dlv) => all.push(("dlv", dlv)),
        None => println!("dlv is not installed, so its rows are missing.\n"),
    }
    Ok(all)
}

fn session() -> Result<()> {
    let built = session_cost::program()?;
    println!(
        "A session over DAP (`PROGRAM dap`), medians over {STEPS} steps through a program with so many goroutines, 45 frames deep:\n"
    );
    println!(
        "| debugger | goroutines | next | threads (listed) | stackTrace, 45 frames | scopes and locals | peak memory |"
    );
    println!("|---|---|---|---|---|---|---|");
    for goroutines in [10, 1_000, 10_000] {
        for (name, debugger) in debuggers()? {
            match session_cost::steps(&debugger, &built, goroutines, STEPS) {
                Ok(seen) => println!(
                    "| {name} | {goroutines} | {} | {} ({}) | {} | {} | {} MB |",
                    milliseconds(seen.next),
                    milliseconds(seen.threads),
                    seen.listed,
                    milliseconds(seen.stack),
                    milliseconds(seen.locals),
                    seen.peak >> 20
                ),
                Err(failure) => eprintln!("{name}, {goroutines} goroutines: {failure}"),
            }
        }
    }
    println!();
    // The one that Go ships is stripped of its debug information.
    let go = &session_cost::large_program()?;
    println!(
        "The first stop in a large program, the go command ({} MB): from starting the debugger to the stack in `main.main`, the best of {RUNS}:\n",
        std::fs::metadata(go).map_or(0, |data| data.len()) >> 20
    );
    println!("| debugger | first stop | peak memory |");
    println!("|---|---|---|");
    for (name, debugger) in debuggers()? {
        let runs: Result<Vec<_>> = (0..RUNS)
            .map(|_| session_cost::first_stop(&debugger, go, &["version"]))
            .collect();
        match runs.map(|runs| runs.into_iter().min()) {
            Ok(Some((took, peak))) => println!("| {name} | {} | {} MB |", milliseconds(took), peak >> 20),
            Ok(None) => {}
            Err(failure) => eprintln!("{name}: {failure}"),
        }
    }
    println!();
    Ok(())
}

fn milliseconds(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

/// 1234567.8 as `1,234,568`.
fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) && !out.ends_with('-') {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// How fast records become text in a file.
fn consumer() {
    println!(
        "From the ring to text in a file: {RECORDS} records that a program made while the tracer was stopped (`spelunk trace --exec backlog '^main.FUNCTION$'`), by processor time of the one thread that reads and writes:\n"
    );
    println!("| function | flags | records/s | lines |");
    println!("|---|---|---|---|");
    for (function, signature) in [("pair", "(int, int)"), ("greet", "(string)")] {
        for flags in [&[][..], &["--timestamp"], &["-v", "4"]] {
            match consumed(function, RECORDS / 2, 2, flags) {
                Ok(seen) => println!(
                    "| {signature} | {} | {} | {} of {} |",
                    flags.join(" "),
                    thousands(seen.lines as f64 / seen.busy.as_secs_f64()),
                    seen.lines,
                    seen.expected
                ),
                Err(failure) => eprintln!("{function} {flags:?}: {failure}"),
            }
        }
    }
    println!();
}

/// An HTTP service with breakpoints and logpoints on the line that each request passes.
fn conditions(generator: &Path) -> Result<()> {
    println!(
        "An HTTP service that an editor has attached to (`PROGRAM dap`, `attach`), with one thing set on a line of its handler; {}, 8 connections, {LOAD_SECONDS} s:\n",
        generator.display()
    );
    let everything = [Set::FalseCondition, Set::FalseLogpoint, Set::OneInHundred, Set::Each];
    let debuggers = debuggers()?;
    let sessions = everything
        .iter()
        .flat_map(|set| debuggers.iter().map(|(name, program)| Some((*set, *name, program))));
    // Nothing is measured first and last, as the machine may change its pace meanwhile.
    let runs = std::iter::once(None).chain(sessions).chain(std::iter::once(None));
    let mut rows = Vec::new();
    for run in runs {
        let (what, name) = run.map_or(("nothing", ""), |(set, name, _)| (set.name(), name));
        let session = run.map(|(set, _, program)| (program.as_path(), set));
        match served(generator, session, LOAD_SECONDS) {
            Ok(seen) => {
                for note in seen.notes.iter().take(3) {
                    eprintln!("{name}: {note}");
                }
                rows.push((what, name, run.map(|(set, ..)| set), seen));
            }
            Err(failure) => eprintln!("{name}, {what}: {failure}"),
        }
    }
    let untraced: Vec<f64> = rows
        .iter()
        .filter(|(_, _, set, _)| set.is_none())
        .map(|(.., seen)| seen.per_second)
        .collect();
    let untraced = untraced.iter().sum::<f64>() / untraced.len().max(1) as f64;
    println!("| set | debugger | requests/s | of untraced | p99 | messages shown |");
    println!("|---|---|---|---|---|---|");
    for (what, name, set, seen) in rows {
        let messages = set.map_or(String::new(), |set| {
            format!("{} of {}", seen.messages, set.messages(seen.handled))
        });
        println!(
            "| {what} | {name} | {} | {:.1} % | {} | {messages} |",
            thousands(seen.per_second),
            100.0 * seen.per_second / untraced,
            seen.p99
        );
    }
    println!();
    Ok(())
}

fn service(generator: &Path) {
    println!(
        "An HTTP service, its handler traced on each request (`PROGRAM trace -p PID '^main.lookUp$'`; {}, 8 connections, {LOAD_SECONDS} s):\n",
        generator.display()
    );
    println!("| tracer | requests/s | p99 | requests handled | lines lost |");
    println!("|---|---|---|---|---|");
    for (by, _) in tracers() {
        match load(generator, &by, LOAD_SECONDS) {
            Ok(seen) => {
                let lost = if by == By::Nothing {
                    String::new()
                } else {
                    format!("{} of {}", seen.lost(), 2 * seen.handled)
                };
                println!(
                    "| {by} | {} | {} | {} | {lost} |",
                    thousands(seen.per_second),
                    seen.p99,
                    seen.handled
                );
                if let Some(note) = seen.note {
                    eprintln!("{by}: {note}");
                }
            }
            Err(failure) => {
                eprintln!("{by}: {failure}");
                println!("| {by} | failed | | | |");
            }
        }
    }
}
