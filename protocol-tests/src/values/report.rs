//! What the comparison of values found, as the page that is committed.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::compare::{Counts, Outcome};
use crate::differential::Explained;

/// Everything that one run found.
#[derive(Clone, Debug)]
pub struct Report<'a> {
    outcomes: &'a [Outcome],
    explained: &'a [Explained],
    /// Explanations that explained nothing, when the whole corpus was looked at. What is known and not meant may go at any time.
    unused: Vec<String>,
}

impl<'a> Report<'a> {
    /// A report; `whole` says whether it is of the whole corpus, so that unused explanations can be told.
    pub fn new(outcomes: &'a [Outcome], explained: &'a [Explained], whole: bool) -> Report<'a> {
        let used = |index: usize| outcomes.iter().any(|outcome| outcome.used.contains_key(&index));
        let left_out = |one: &Explained| {
            let mut skipped = outcomes.iter().filter(|outcome| outcome.skipped.is_some());
            skipped.any(|outcome| one.is_of(&outcome.program))
        };
        let unused = explained
            .iter()
            .enumerate()
            .filter(|(index, one)| whole && !one.open && !used(*index) && !left_out(one))
            .map(|(_, one)| one.title())
            .collect();
        Report {
            outcomes,
            explained,
            unused,
        }
    }

    /// Whether there is nothing to complain about.
    pub fn is_fine(&self) -> bool {
        self.outcomes.iter().all(Outcome::is_fine) && self.unused.is_empty()
    }

    /// The sum over programs and contexts.
    pub fn total(&self) -> Counts {
        let all = self.outcomes.iter().flat_map(|outcome| outcome.counts.values());
        all.fold(Counts::default(), add)
    }

    /// The page: numbers by program and context, and the reasons of what differs.
    pub fn page(&self, versions: &str) -> String {
        let mut page = format!(
            "# Values, spelunk's against Delve's\n\nWritten by `make values`; do not edit. {versions}\n\nEach observation is one variable, element, field or expression \
             as one of the two protocols shows it: text, type, flags, lengths, handles, names. The programs are in `tests/fixtures/values`, but for those that come from the Go module proxy.\n\n"
        );
        page +=
            "| program | context | observations | equal | explained | unexplained |\n|---|---|---:|---:|---:|---:|\n";
        for outcome in self.outcomes {
            if let Some(why) = &outcome.skipped {
                let _ = writeln!(page, "| {} | left out: {why} | | | | |", outcome.program);
            }
            for (context, counts) in &outcome.counts {
                row(&mut page, &[&outcome.program, context], *counts);
            }
        }
        row(&mut page, &["**all**", ""], self.total());
        page += "\n## By context\n\n| context | observations | equal | explained | unexplained |\n|---|---:|---:|---:|---:|\n";
        let mut contexts: BTreeMap<&str, Counts> = BTreeMap::new();
        for (context, counts) in self.outcomes.iter().flat_map(|outcome| &outcome.counts) {
            let sum = contexts.entry(context).or_default();
            *sum = add(*sum, counts);
        }
        for (context, counts) in contexts {
            row(&mut page, &[context], counts);
        }
        page += "\n## Why they differ\n\n| observations | reason |\n|---:|---|\n";
        let mut reasons: BTreeMap<(bool, &str), usize> = BTreeMap::new();
        for (index, count) in self.outcomes.iter().flat_map(|outcome| &outcome.used) {
            if let Some(explained) = self.explained.get(*index) {
                *reasons.entry((explained.open, explained.reason.as_str())).or_default() += count;
            }
        }
        let mut reasons: Vec<_> = reasons.into_iter().collect();
        reasons.sort_by_key(|(reason, count)| (std::cmp::Reverse(*count), *reason));
        for ((open, reason), count) in reasons {
            let open = if open { "Not as it should be yet: " } else { "" };
            let _ = writeln!(page, "| {count} | {open}{reason} |");
        }
        page
    }

    /// What has to be done about it: differences without a reason, reasons without a difference; `most` differences of each program.
    pub fn complaints(&self, most: usize) -> String {
        const LONGEST: usize = 700;
        let cut = |text: &str| match text.char_indices().nth(LONGEST) {
            Some((at, _)) => format!("{}…", &text[..at]),
            None => text.to_owned(),
        };
        let mut text = String::new();
        for outcome in self.outcomes.iter().filter(|outcome| !outcome.is_fine()) {
            let _ = writeln!(
                text,
                "\n{}: {} unexplained differences",
                outcome.program,
                outcome.unexplained.len()
            );
            for one in outcome.unexplained.iter().take(most) {
                let _ = writeln!(
                    text,
                    "  {} at {}\n     dlv: {}\n    ours: {}",
                    one.message,
                    one.pointer,
                    cut(&one.theirs),
                    cut(&one.ours)
                );
            }
            for why in &outcome.broken {
                let _ = writeln!(text, "  not to its end {why}");
            }
        }
        for unused in &self.unused {
            let _ = writeln!(text, "\nexplained, but there is no such difference: {unused}");
        }
        text
    }
}

fn add(sum: Counts, one: &Counts) -> Counts {
    Counts {
        observations: sum.observations + one.observations,
        equal: sum.equal + one.equal,
        explained: sum.explained + one.explained,
        unexplained: sum.unexplained + one.unexplained,
    }
}

fn row(page: &mut String, heads: &[&str], counts: Counts) {
    let Counts {
        observations,
        equal,
        explained,
        unexplained,
    } = counts;
    let heads = heads.join(" | ");
    let _ = writeln!(
        page,
        "| {heads} | {observations} | {equal} | {explained} | {unexplained} |"
    );
}
