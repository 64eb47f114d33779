//! Probes that moved to a cheaper instruction of their statement say what those at its first instruction say.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use spelunk_bpf::RecordView;
use spelunk_dwarf::{Binary, FileAddr};

use super::program::{build, engine, run};
use crate::expr::Template;
use crate::trace::choice::cost_at;
use crate::trace::reader::Consumer;
use crate::trace::sites::Cost;
use crate::trace::{Installed, LogPlanner, LogSite, Terms};

/// Where a statement begins, and whether the probe moved.
type Which = (FileAddr, bool);

struct Messages {
    binary: Arc<Binary>,
    seen: Arc<Mutex<BTreeMap<Which, Vec<String>>>>,
}

impl Consumer<(Which, LogSite)> for Messages {
    fn record(&mut self, site: &Arc<Installed<(Which, LogSite)>>, record: &RecordView<'_>) {
        let (which, site) = &site.owner;
        let message = site.message(&self.binary, record, None);
        self.seen
            .lock()
            .expect("nobody panics")
            .entry(*which)
            .or_default()
            .push(message);
    }
}

#[derive(Debug, Default)]
struct Tally {
    statements: usize,
    emulated_at_once: usize,
    moved: usize,
    compared: usize,
}

fn compare(flags: &[&str]) -> Option<Tally> {
    let generated = super::generated::generate(7, 20);
    let folder = tempfile::tempdir().expect("a folder can be made");
    let program = build(&generated.source, folder.path(), flags)?;
    let binary = Arc::new(Binary::open(&program).expect("a fresh Go program opens"));
    let mut engine = engine(&binary)?;
    let runtime = engine.runtime();
    let mut tally = Tally::default();
    let mut sites = Vec::new();
    let own = |name: &str| name.starts_with("main.") && !name.contains(".func");
    for function in binary.functions().iter().filter(|function| own(&function.name)) {
        let info = binary.function_info(function).expect("the program is described");
        let mut lines: Vec<(Arc<str>, u32)> = binary
            .line_rows(function)
            .iter()
            .filter_map(|row| binary.line_at(row.addr))
            .collect();
        lines.sort();
        lines.dedup();
        for (file, line) in lines {
            for statement in binary
                .statements(&file, line)
                .iter()
                .filter(|statement| statement.function == function.entry)
            {
                tally.statements += 1;
                if cost_at(&binary, statement.addr) == Some(Cost::Emulated) {
                    tally.emulated_at_once += 1;
                }
                let scope = binary.variables_in_scope(&info, statement.addr, line);
                // A few of each, so that no record is lost.
                let names: Vec<String> = scope
                    .iter()
                    .rev()
                    .take(6)
                    .map(|scoped| format!("{{{}}}", scoped.variable.display_name()))
                    .collect();
                let template =
                    Template::parse(&format!("{{runtime.curg.goid}} {}", names.join(" "))).expect("a message");
                let planned = engine.with_layouts(|layouts| {
                    let mut planner = LogPlanner {
                        binary: &binary,
                        runtime,
                        layouts,
                    };
                    let chosen = planner
                        .plan(1, function, statement.addr, line, &template, Terms::default())
                        .ok()?;
                    let first = planner
                        .plan_at(1, &info, statement.addr, line, &template, Terms::default())
                        .ok()?;
                    Some((chosen, first))
                });
                let Some((chosen, first)) = planned else { continue };
                if chosen.site.addr == statement.addr {
                    continue;
                }
                assert_eq!(cost_at(&binary, chosen.site.addr), Some(Cost::Emulated));
                tally.moved += 1;
                sites.push((chosen.site.clone(), ((statement.addr, true), chosen)));
                sites.push((first.site.clone(), ((statement.addr, false), first)));
            }
        }
    }
    let seen = Arc::new(Mutex::new(BTreeMap::new()));
    let messages = Messages {
        binary: Arc::clone(&binary),
        seen: Arc::clone(&seen),
    };
    let counters = run(&mut engine, &program, folder.path(), 4, sites, messages);
    assert_eq!(counters.ring_full, 0);
    let seen = seen.lock().expect("nobody panics");
    for ((statement, _), messages) in seen.iter().filter(|((_, moved), _)| *moved) {
        let first = seen.get(&(*statement, false));
        assert_eq!(Some(messages), first, "{statement} {:?}", binary.line_at(*statement));
        assert!(
            messages.iter().all(|message| message.starts_with("1 = 0x1 ")),
            "{messages:?}"
        );
        tally.compared += messages.len();
    }
    assert!(
        seen.keys().all(|(statement, _)| seen.contains_key(&(*statement, true))),
        "a moved probe was not passed"
    );
    Some(tally)
}

#[test]
fn a_moved_probe_says_the_same() {
    for flags in [&["-gcflags=all=-N -l"][..], &[], &["-buildmode=pie"]] {
        let Some(tally) = compare(flags) else { return };
        println!("{flags:?}: {tally:?}");
        assert!(tally.moved > 5 && tally.compared > 50, "{tally:?}");
    }
}
