//! Compares values that probes capture with those of a stopped program, and writes what came of it to `protocol-tests/CAPTURED.md`.
//!
//! `captured [--jobs N] [--most N] [PART OF A PROGRAM'S NAME]...`: with parts of names nothing is written.

use std::process::ExitCode;

use protocol_tests::captured::{compare_all, places, report};
use protocol_tests::failure::{Attempt, Result};
use protocol_tests::paths;
use protocol_tests::toolchain::Go;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<bool> {
    let (mut jobs, mut most, mut parts) = (2, 40, Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = |usual| arguments.next().and_then(|number| number.parse().ok()).unwrap_or(usual);
        match argument.as_str() {
            "--jobs" => jobs = number(jobs),
            "--most" => most = number(most),
            _ => parts.push(argument),
        }
    }
    let mut programs = places::programs(true)?;
    programs.retain(|program| parts.is_empty() || parts.iter().any(|part| program.name.contains(part.as_str())));
    let outcomes = compare_all(&programs, &[0, 2, 3, 4], jobs);
    let page = report::page(&outcomes, &format!("{}.", Go::find()?.version));
    if parts.is_empty() {
        let file = paths::crate_dir().join("CAPTURED.md");
        std::fs::write(&file, &page).attempt(format_args!("writing {}", file.display()))?;
    }
    let complaints = report::complaints(&outcomes, most);
    println!("{page}\n{complaints}");
    for outcome in &outcomes {
        println!("{}: {:.1} s", outcome.program, outcome.took.as_secs_f64());
    }
    Ok(complaints.is_empty())
}
