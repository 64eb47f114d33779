//! Plays the scenarios against dlv and spelunk and prints what differs.
//!
//! `transcripts [--self] [--show] [--jobs N] [PART OF A NAME]...`: `--self` compares dlv with itself, which shows what
//! differs from run to run; `--show` prints what dlv said, and plays nothing else.

use std::process::ExitCode;

use protocol_tests::differential::explained;
use protocol_tests::failure::Result;
use protocol_tests::scenarios;
use protocol_tests::transcripts::{Report, Scenario, play, record};
use protocol_tests::{paths, peer};

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
    let (mut with_itself, mut show, mut jobs, mut parts) = (false, false, 2, Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--self" => with_itself = true,
            "--show" => show = true,
            "--jobs" => jobs = arguments.next().and_then(|number| number.parse().ok()).unwrap_or(jobs),
            _ => parts.push(argument),
        }
    }
    let chosen: Vec<Scenario> = scenarios::all()
        .into_iter()
        .filter(|scenario| parts.is_empty() || parts.iter().any(|part| scenario.name.contains(part.as_str())))
        .collect();
    let Some(dlv) = peer::dlv_or_skip("the comparison of transcripts") else {
        return Ok(true);
    };
    if show {
        let program = if with_itself { dlv } else { paths::spelunk()? };
        for scenario in &chosen {
            println!("== {}", scenario.name);
            let (session, failed) = record(scenario, &program);
            for message in session.messages {
                println!("{message}");
            }
            println!("stdout {:?}\nstderr {:?}", session.stdout, session.stderr);
            if let Some(failed) = failed {
                println!("FAILED {failed}");
            }
        }
        return Ok(true);
    }
    let (ours, explained) = if with_itself {
        (dlv.clone(), Vec::new())
    } else {
        (paths::spelunk()?, explained()?)
    };
    let outcomes = play(&chosen, &dlv, &ours, &explained, jobs);
    let report = Report::new(outcomes, &explained, parts.is_empty() && !with_itself);
    print!("{report}");
    Ok(report.is_fine())
}
