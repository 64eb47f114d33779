//! Every way to begin a session, in every state of the program, with every way to end it: the right processes live on, the program's code is its own, nobody listens in vain.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use protocol_tests::begin_and_end::cells;
use protocol_tests::failure::{Failure, Result};
use protocol_tests::paths;

/// Cells at a time: a cell mostly waits.
const JOBS: usize = 4;

#[test]
fn every_beginning_and_end_leaves_the_right_things_behind() -> Result<()> {
    let (cells, program) = (cells(), paths::spelunk()?);
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..JOBS {
            scope.spawn(|| {
                while let Some(cell) = cells.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let (Err(why), Ok(mut wrong)) = (cell.judged(&program), wrong.lock()) {
                        wrong.push(format!("{cell}: {why:?}"));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap_or_default();
    if wrong.is_empty() {
        return Ok(());
    }
    let (many, all) = (wrong.len(), cells.len());
    Err(Failure::new(format!("{many} of {all} cells:\n{}", wrong.join("\n"))))
}
