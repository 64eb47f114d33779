//! Plays the table of ways to begin and to end with one debugger, or both, and prints what each leaves behind.
//!
//! `endings [--dlv] [PART OF A CELL'S NAME]...`: `--dlv` plays with dlv in place of spelunk.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use protocol_tests::begin_and_end::{Cell, cells};
use protocol_tests::failure::{Attempt, Result, exit_code};
use protocol_tests::{paths, peer};

/// Cells at a time: a cell mostly waits.
const JOBS: usize = 4;

fn main() -> ExitCode {
    exit_code(run())
}

fn run() -> Result<bool> {
    let (mut with_dlv, mut parts) = (false, Vec::new());
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--dlv" => with_dlv = true,
            _ => parts.push(argument),
        }
    }
    let program = if with_dlv {
        peer::dlv().attempt("looking for dlv")?.to_path_buf()
    } else {
        paths::spelunk()?
    };
    let chosen: Vec<Cell> = cells()
        .into_iter()
        .filter(|cell| {
            let name = cell.to_string();
            parts.is_empty() || parts.iter().any(|part| name.contains(part.as_str()))
        })
        .collect();
    let (next, wrong, out) = (AtomicUsize::new(0), AtomicUsize::new(0), Mutex::new(()));
    std::thread::scope(|scope| {
        for _ in 0..JOBS {
            scope.spawn(|| {
                while let Some(cell) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let told = cell.judged(&program);
                    let _guard = out.lock();
                    match told {
                        Ok(()) => println!("as expected  {cell}"),
                        Err(why) => {
                            wrong.fetch_add(1, Ordering::Relaxed);
                            println!("OTHERWISE    {cell}: {why}");
                        }
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner();
    println!("{} cells, {wrong} otherwise than expected", chosen.len());
    Ok(wrong == 0)
}
