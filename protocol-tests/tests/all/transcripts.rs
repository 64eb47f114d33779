//! The same sessions with dlv and with spelunk, message by message.

use std::path::PathBuf;

use protocol_tests::differential::{Protocol, explained};
use protocol_tests::failure::{Attempt, Failure, Result};
use protocol_tests::transcripts::{Report, play};
use protocol_tests::{paths, peer, scenarios};

/// Plays at a time: a play mostly waits.
const JOBS: usize = 3;

fn compared(protocol: Protocol, report_name: &str) -> Result<()> {
    let Some(dlv) = peer::dlv_or_skip("the comparison of transcripts") else {
        return Ok(());
    };
    let (scenarios, explained) = (scenarios::of(protocol), explained(protocol)?);
    let outcomes = play(&scenarios, &dlv, &paths::spelunk()?, &explained, JOBS);
    let report = Report::new(outcomes, &explained, true);
    let file: PathBuf = paths::target_dir().join(report_name);
    std::fs::write(&file, report.to_string()).attempt(format_args!("writing {}", file.display()))?;
    if report.is_fine() {
        return Ok(());
    }
    Err(Failure::new(format!("see {}\n{report}", file.display())))
}

#[test]
fn sessions_equal_dlvs_but_for_what_is_explained() -> Result<()> {
    compared(Protocol::Dap, "transcripts.txt")
}

#[test]
fn rpc_answers_equal_dlvs_but_for_what_is_explained() -> Result<()> {
    compared(Protocol::Rpc, "transcripts-rpc.txt")
}

#[test]
fn terminal_sessions_equal_dlvs_but_for_what_is_explained() -> Result<()> {
    compared(Protocol::Terminal, "transcripts-terminal.txt")
}
