//! Compares the values that dlv and spelunk show, and writes what came of it to `protocol-tests/VALUES.md`.
//!
//! `values [--self] [--jobs N] [--most N] [PART OF A PROGRAM'S NAME]...`: `--self` compares dlv with itself, which shows what differs from run to run; with parts of names
//! nothing is written.

use std::process::ExitCode;

use protocol_tests::differential::{Protocol, explained};
use protocol_tests::failure::{Attempt, Result, exit_code};
use protocol_tests::toolchain::Go;
use protocol_tests::values::compare::compare;
use protocol_tests::values::program::{CORPUS, Program};
use protocol_tests::values::report::Report;
use protocol_tests::{paths, peer};

fn main() -> ExitCode {
    exit_code(run())
}

fn run() -> Result<bool> {
    let (mut with_itself, mut jobs, mut most, mut parts) = (false, 2, 40, Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = |usual| arguments.next().and_then(|number| number.parse().ok()).unwrap_or(usual);
        match argument.as_str() {
            "--self" => with_itself = true,
            "--jobs" => jobs = number(jobs),
            "--most" => most = number(most),
            _ => parts.push(argument),
        }
    }
    let Some(dlv) = peer::dlv_or_skip("the comparison of values") else {
        return Ok(true);
    };
    let ours = if with_itself { dlv.clone() } else { paths::spelunk()? };
    let programs: Vec<Program> = CORPUS
        .iter()
        .filter(|program| parts.is_empty() || parts.iter().any(|part| program.name.contains(part.as_str())))
        .copied()
        .collect();
    let explained = if with_itself {
        Vec::new()
    } else {
        explained(Protocol::Values)?
    };
    let whole = parts.is_empty() && !with_itself;
    let outcomes = compare(&programs, &dlv, &ours, &explained, jobs);
    let report = Report::new(&outcomes, &explained, whole);
    let page = report.page(&format!("{}, dlv {}.", Go::find()?.version, peer::VERSION));
    if whole {
        let file = paths::crate_dir().join("VALUES.md");
        std::fs::write(&file, &page).attempt(format_args!("writing {}", file.display()))?;
    }
    println!("{page}{}", report.complaints(most));
    for outcome in &outcomes {
        println!("{}: {:.1} s", outcome.program, outcome.took.as_secs_f64());
    }
    Ok(report.is_fine())
}
