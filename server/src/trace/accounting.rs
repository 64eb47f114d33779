//! What became of the hits of a trace's probes, as a table.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use spelunk_bpf::Counters;

use super::function::SiteKind;

/// A summary has at most so many lines; those that were hit most.
const MOST_LINES: usize = 40;

/// What one line of the table counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Probe {
    function: Arc<str>,
    what: &'static str,
}

/// The hits of a trace, by function.
#[derive(Clone, Debug, Default)]
pub(crate) struct Accounting {
    probes: BTreeMap<Probe, Counters>,
}

impl Accounting {
    /// Adds up what the sites of each function counted.
    pub(crate) fn of<'s>(sites: impl Iterator<Item = (&'s Arc<str>, SiteKind, Counters)>) -> Accounting {
        let mut probes: BTreeMap<Probe, Counters> = BTreeMap::new();
        for (function, kind, counters) in sites {
            let what = match kind {
                SiteKind::Call => "calls",
                SiteKind::Return => "returns",
                SiteKind::Growth => "growth of the stack",
                SiteKind::Line(_) => "lines",
                // Not what was asked for: they tell how calls end.
                SiteKind::Recovery | SiteKind::GoroutineExit => "ends of calls",
            };
            let function = function.clone();
            *probes.entry(Probe { function, what }).or_default() += counters;
        }
        Accounting { probes }
    }

    /// All together.
    pub(crate) fn total(&self) -> Counters {
        let mut total = Counters::default();
        for counters in self.probes.values() {
            total += *counters;
        }
        total
    }

    /// Whether some hits were not shown: then it is worth showing.
    pub(crate) fn is_telling(&self) -> bool {
        let total = self.total();
        total.emitted < total.hits
    }

    /// The table. In each line the hits are the sum of all but the last column, which says in how many of the emitted records something could not be read.
    pub(crate) fn table(&self) -> String {
        let mut lines: Vec<_> = self.probes.iter().filter(|(_, counters)| counters.hits > 0).collect();
        let hidden = lines.len().saturating_sub(MOST_LINES);
        if hidden > 0 {
            lines.sort_by_key(|(_, counters)| std::cmp::Reverse(counters.hits));
            lines.truncate(MOST_LINES);
        }
        let total = self.total();
        let name = |probe: &Probe| format!("{} {}", probe.function, probe.what);
        let mut rows: Vec<(String, &Counters)> =
            lines.iter().map(|(probe, counters)| (name(probe), *counters)).collect();
        rows.push(("all probes".to_owned(), &total));
        let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        // Writing to a String cannot fail.
        let mut text = String::new();
        let _ = writeln!(
            text,
            "{:width$}  {:>12}  {:>15}  {:>12}  {:>12}  {:>12}  {:>14}",
            "probe", "hits", "condition false", "throttled", "ring full", "emitted", "with faults"
        );
        for (name, counters) in &rows {
            let _ = writeln!(
                text,
                "{name:width$}  {:>12}  {:>15}  {:>12}  {:>12}  {:>12}  {:>14}",
                counters.hits,
                counters.condition_false,
                counters.throttled,
                counters.ring_full + counters.unplanned,
                counters.emitted,
                counters.faults
            );
        }
        if hidden > 0 {
            let _ = writeln!(text, "({hidden} probes that were hit less often are not listed)");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(hits: u64, condition_false: u64, throttled: u64, ring_full: u64) -> Counters {
        Counters {
            hits,
            condition_false,
            throttled,
            ring_full,
            emitted: hits - condition_false - throttled - ring_full,
            ..Counters::default()
        }
    }

    #[test]
    fn sites_of_a_function_are_added_up() {
        let (f, g): (Arc<str>, Arc<str>) = ("main.f".into(), "main.g".into());
        let sites = [
            (&f, SiteKind::Call, counted(100, 50, 20, 10)),
            (&f, SiteKind::Return, counted(7, 0, 0, 1)),
            (&f, SiteKind::Return, counted(8, 0, 0, 0)),
            (&g, SiteKind::Call, counted(0, 0, 0, 0)),
        ];
        let accounting = Accounting::of(sites.into_iter());
        assert!(accounting.is_telling());
        let table = accounting.table();
        let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[1], ["main.f", "calls", "100", "50", "20", "10", "20", "0"]);
        assert_eq!(rows[2], ["main.f", "returns", "15", "0", "0", "1", "14", "0"]);
        assert_eq!(rows[3], ["all", "probes", "115", "50", "20", "11", "34", "0"]);
        assert_eq!(rows.len(), 4, "what was never hit is not listed:\n{table}");
    }

    #[test]
    fn a_long_table_is_cut() {
        let names: Vec<Arc<str>> = (0..100).map(|number| format!("main.f{number}").into()).collect();
        let sites = names
            .iter()
            .zip(1..)
            .map(|(name, hits)| (name, SiteKind::Call, counted(hits, 0, 0, 0)));
        let accounting = Accounting::of(sites);
        assert!(!accounting.is_telling());
        let table = accounting.table();
        assert!(
            table.contains("main.f99 calls") && !table.contains("main.f1 calls"),
            "{table}"
        );
        assert!(
            table.ends_with("(60 probes that were hit less often are not listed)\n"),
            "{table}"
        );
        assert!(table.contains(" 5050 "), "all are in the sum: {table}");
    }
}
