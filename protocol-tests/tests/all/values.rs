//! The values of a corpus of programs, as dlv and spelunk show them, one by one. `make values` looks at more stops of the larger programs.

use protocol_tests::differential::{Protocol, explained};
use protocol_tests::failure::{Attempt, Failure, Result};
use protocol_tests::toolchain::Go;
use protocol_tests::values::compare::compare;
use protocol_tests::values::program::{CORPUS, Program};
use protocol_tests::values::report::Report;
use protocol_tests::{paths, peer};

/// Programs at a time: each is two sessions, and a session mostly waits.
const JOBS: usize = 2;
/// Differences of each program that a failure prints; the file has them all.
const PRINTED: usize = 10;

#[test]
fn values_equal_dlvs_but_for_what_is_explained() -> Result<()> {
    let Some(dlv) = peer::dlv_or_skip("the comparison of values") else {
        return Ok(());
    };
    let explained = explained(Protocol::Values)?;
    let corpus: Vec<Program> = CORPUS.iter().map(Program::in_short).collect();
    let outcomes = compare(&corpus, &dlv, &paths::spelunk()?, &explained, JOBS);
    let report = Report::new(&outcomes, &explained, true);
    let file = paths::target_dir().join("values.txt");
    let page = report.page(&format!("{}, dlv {}.", Go::find()?.version, peer::VERSION));
    std::fs::write(&file, page + &report.complaints(usize::MAX)).attempt(format_args!("writing {}", file.display()))?;
    if report.is_fine() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "see {}\n{}",
        file.display(),
        report.complaints(PRINTED)
    )))
}
