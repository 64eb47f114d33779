//! The same sessions with dlv and with spelunk, message by message.

use std::path::PathBuf;

use protocol_tests::differential::explained;
use protocol_tests::failure::{Attempt, Failure, Result};
use protocol_tests::transcripts::{Report, play};
use protocol_tests::{paths, peer, scenarios};

/// Plays at a time: a play mostly waits.
const JOBS: usize = 3;

#[test]
fn sessions_equal_dlvs_but_for_what_is_explained() -> Result<()> {
    let Some(dlv) = peer::dlv_or_skip("the comparison of transcripts") else {
        return Ok(());
    };
    let (scenarios, explained) = (scenarios::all(), explained()?);
    let outcomes = play(&scenarios, &dlv, &paths::spelunk()?, &explained, JOBS);
    let report = Report::new(outcomes, &explained, true);
    let file: PathBuf = paths::target_dir().join("transcripts.txt");
    std::fs::write(&file, report.to_string()).attempt(format_args!("writing {}", file.display()))?;
    if report.is_fine() {
        return Ok(());
    }
    Err(Failure::new(format!("see {}\n{report}", file.display())))
}
