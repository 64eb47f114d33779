//! Plays the scenarios against dlv and spelunk and prints what differs.
//!
//! `transcripts [--self] [--show] [--jobs N] [dap|rpc|terminal] [PART OF A NAME]...`: `--self` compares dlv with itself, which shows what
//! differs from run to run; `--show` prints what one of them said, and compares nothing.

use std::path::Path;
use std::process::ExitCode;

use protocol_tests::differential::{Protocol, explained};
use protocol_tests::failure::{Result, exit_code};
use protocol_tests::scenarios;
use protocol_tests::transcripts::{Report, Scenario, play, record};
use protocol_tests::{paths, peer};

fn main() -> ExitCode {
    exit_code(run())
}

fn run() -> Result<bool> {
    let (mut with_itself, mut show, mut jobs, mut parts) = (false, false, 2, Vec::new());
    let mut protocols = vec![Protocol::Dap, Protocol::Rpc, Protocol::Terminal];
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--self" => with_itself = true,
            "--show" => show = true,
            "--jobs" => jobs = arguments.next().and_then(|number| number.parse().ok()).unwrap_or(jobs),
            "dap" => protocols = vec![Protocol::Dap],
            "rpc" => protocols = vec![Protocol::Rpc],
            "terminal" => protocols = vec![Protocol::Terminal],
            _ => parts.push(argument),
        }
    }
    let Some(dlv) = peer::dlv_or_skip("the comparison of transcripts") else {
        return Ok(true);
    };
    let ours = if with_itself { dlv.clone() } else { paths::spelunk()? };
    let mut fine = true;
    for protocol in protocols {
        let chosen: Vec<Scenario> = scenarios::of(protocol)
            .into_iter()
            .filter(|scenario| parts.is_empty() || parts.iter().any(|part| scenario.name.contains(part.as_str())))
            .collect();
        if chosen.is_empty() {
            continue;
        }
        if show {
            show_all(&chosen, &ours);
            continue;
        }
        let explained = if with_itself { Vec::new() } else { explained(protocol)? };
        let outcomes = play(&chosen, &dlv, &ours, &explained, jobs);
        let report = Report::new(outcomes, &explained, parts.is_empty() && !with_itself);
        println!("{report}");
        fine &= report.is_fine();
    }
    Ok(fine)
}

/// Prints what one server says in some scenarios.
fn show_all(chosen: &[Scenario], program: &Path) {
    for scenario in chosen {
        println!("== {}", scenario.name);
        let (session, failed) = record(scenario, program);
        for message in session.messages {
            println!("{message}");
        }
        println!("stdout {:?}\nstderr {:?}", session.stdout, session.stderr);
        if let Some(failed) = failed {
            println!("FAILED {failed}");
        }
    }
}
