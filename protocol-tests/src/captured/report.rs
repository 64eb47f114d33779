//! What came of all programs, as a page.

use std::fmt::Write;

use super::Outcome;
use super::compare::Tally;

/// The report as Markdown; `with` names the versions it was made with.
pub fn page(outcomes: &[Outcome], with: &str) -> String {
    let mut page = format!(
        "# Captured values, held against those of a stopped program\n\nWritten by `make captured`; do not edit. {with}\n\nEach value is what one expression of a log \
         message, or the arguments or results of one traced call, look like: as an eBPF program captured them while the program ran, and as they are read from the program when it is \
         stopped at the same place. Of a map that has more entries than are shown, two runs show others, as the order follows from a seed: there only number and form are compared, and a test judges the entries by themselves. The programs are in `tests/fixtures/captured` and `tests/fixtures/values`.\n\n\
         | program | what | values | equal | could not be read | different |\n|---|---|---:|---:|---:|---:|\n"
    );
    let mut total = Tally::default();
    for outcome in outcomes {
        row(&mut page, &outcome.program, "log messages", &outcome.logpoints);
        total.add(&outcome.logpoints);
        for (verbosity, tally) in &outcome.traces {
            row(&mut page, &outcome.program, &format!("trace -v {verbosity}"), tally);
            total.add(tally);
        }
        if let Some(failure) = &outcome.failure {
            let _ = writeln!(page, "\n{} could not be looked at: {failure}\n", outcome.program);
        }
    }
    row(&mut page, "all", "", &total);
    let share = 100.0 * total.unread() as f64 / total.values().max(1) as f64;
    let _ = write!(
        page,
        "\nCould not be read: {share:.1} %.\n\n| why | values |\n|---|---:|\n"
    );
    for (why, count) in &total.could_not {
        let _ = writeln!(page, "| {why} | {count} |");
    }
    page
}

fn row(page: &mut String, program: &str, what: &str, tally: &Tally) {
    let (values, equal, unread) = (tally.values(), tally.equal, tally.unread());
    let different = tally.different.len();
    let _ = writeln!(
        page,
        "| {program} | {what} | {values} | {equal} | {unread} | {different} |"
    );
}

/// What is wrong: differences, at most `most` of them, and programs that could not be looked at.
pub fn complaints(outcomes: &[Outcome], most: usize) -> String {
    let mut text = String::new();
    for outcome in outcomes {
        let traces = outcome.traces.iter().map(|(_, tally)| tally);
        let different = std::iter::once(&outcome.logpoints)
            .chain(traces)
            .flat_map(|tally| &tally.different);
        for difference in different.take(most) {
            let _ = writeln!(
                text,
                "{}: {}\n  captured: {}\n  stopped:  {}",
                outcome.program, difference.what, difference.captured, difference.stopped
            );
        }
        if let Some(failure) = &outcome.failure {
            let _ = writeln!(text, "{}: {failure}", outcome.program);
        }
    }
    text
}
