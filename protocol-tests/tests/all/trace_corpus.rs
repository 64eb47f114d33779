//! The generated corpus, in a kernel trace: what the program says of its own calls against what the trace prints.

use protocol_tests::corpus::{Corpus, Tally, judge, read_expected};
use protocol_tests::failure::Result;
use protocol_tests::toolchain::Build;
use protocol_tests::trace::Tracer;
use protocol_tests::trace_text::{self, Entry};

const SEED: u64 = 20;
const MIXED: usize = 90;

fn compare(tracer: &Tracer, build: Build, verbosity: u8) -> Result<Tally> {
    compare_after(tracer, build, verbosity, |entries| entries)
}

fn compare_after(tracer: &Tracer, build: Build, verbosity: u8, edit: fn(Vec<Entry>) -> Vec<Entry>) -> Result<Tally> {
    let corpus = Corpus::generate(SEED, MIXED);
    assert!(corpus.functions >= 100, "{} signatures", corpus.functions);
    let built = corpus.source().build(build)?;
    let program = built.program.to_string_lossy();
    let traced = tracer.run(&["-v", &verbosity.to_string(), "--exec", &program, corpus.regexp])?;
    assert!(traced.stderr.contains("has exited with status 0"), "{}", traced.stderr);
    let tally = judge(
        &read_expected(&traced.stdout)?,
        &edit(trace_text::entries(&traced.stderr)),
        verbosity,
    )?;
    println!(
        "{}",
        tally.table(&format!(
            "{build:?} at -v {verbosity}, {} functions, {:.1?}",
            corpus.functions, traced.took
        ))
    );
    for complaint in tally.complaints.iter().take(40) {
        println!("{complaint}");
    }
    for unreadable in tally.unreadable.iter().take(10) {
        println!("unreadable: {unreadable}");
    }
    Ok(tally)
}

fn is_right(build: Build, verbosity: u8) -> Result<()> {
    is_right_by(&Tracer::spelunk()?, build, verbosity).map(drop)
}

fn is_right_by(tracer: &Tracer, build: Build, verbosity: u8) -> Result<Tally> {
    let tally = compare(tracer, build, verbosity)?;
    let plain = tally.plain();
    assert!(tally.lines > 1000, "the corpus made {} calls and returns", tally.lines);
    assert_eq!(
        tally.wrong(),
        0,
        "values that are not what the program said, first of all:\n{}",
        tally.complaints.first().map_or("", String::as_str)
    );
    assert!(tally.complaints.is_empty(), "{}", tally.complaints[0]);
    assert!(
        plain.unreadable_percent() < 2.0,
        "{:.1} % of integers, strings, slices and pointers are unreadable",
        plain.unreadable_percent()
    );
    Ok(tally)
}

#[test]
fn not_optimised() -> Result<()> {
    is_right(Build::NoOpt, 0)
}

#[test]
fn not_optimised_in_full() -> Result<()> {
    is_right(Build::NoOpt, 4)
}

#[test]
fn optimised() -> Result<()> {
    is_right(Build::Opt, 0)
}

#[test]
fn optimised_in_full() -> Result<()> {
    is_right(Build::Opt, 4)
}

#[test]
fn position_independent() -> Result<()> {
    is_right(Build::Pie, 0)
}

#[test]
fn not_optimised_by_stops() -> Result<()> {
    is_right_by(&Tracer::spelunk_by_stops()?, Build::NoOpt, 4).map(drop)
}

/// A stop shows what a probe cannot: floating-point registers, and pages that nobody has touched.
#[test]
fn optimised_by_stops() -> Result<()> {
    let tally = is_right_by(&Tracer::spelunk_by_stops()?, Build::Opt, 0)?;
    assert!(
        !tally.unreadable.iter().any(|text| text.contains("in register")),
        "{:?}",
        tally.unreadable
    );
    Ok(())
}

#[test]
fn position_independent_by_stops() -> Result<()> {
    is_right_by(&Tracer::spelunk_by_stops()?, Build::Pie, 0).map(drop)
}

/// dlv stops twice at the end of a function with deferred calls: once before they ran, with results that are not yet set. The second line is the one that counts.
fn without_early_returns(entries: Vec<Entry>) -> Vec<Entry> {
    let mut kept: Vec<Entry> = Vec::new();
    for entry in entries {
        if let (Some(Entry::Return { function: before, .. }), Entry::Return { function, .. }) = (kept.last(), &entry)
            && before == function
        {
            kept.pop();
        }
        kept.push(entry);
    }
    kept
}

/// The program's own printer is held to the text that it stands for: dlv's, which stops at each call.
fn is_the_text_of_dlv(verbosity: u8) -> Result<()> {
    let Some(dlv) = Tracer::dlv(&format!("the corpus's texts at -v {verbosity} against dlv")) else {
        return Ok(());
    };
    let mut wrong = String::new();
    // What the program's printer gets wrong is wrong each time; dlv itself shows a result now and then that is not there any more.
    for _ in 0..3 {
        let tally = compare_after(&dlv, Build::NoOpt, verbosity, without_early_returns)?;
        if tally.wrong() == 0 {
            return Ok(());
        }
        wrong = tally.complaints.first().cloned().unwrap_or_default();
    }
    panic!("{wrong}");
}

#[test]
fn the_programs_own_texts_are_those_of_dlv() -> Result<()> {
    is_the_text_of_dlv(0)
}

#[test]
fn the_programs_own_full_texts_are_those_of_dlv() -> Result<()> {
    is_the_text_of_dlv(4)
}
