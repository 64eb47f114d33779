//! Conditions decided by the kernel at real hits, and by the program itself: Go compiles the same condition.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use spelunk_bpf::{Flags, RecordView};
use spelunk_dwarf::Binary;

use super::generated::{Generated, PROBED, generate};
use super::program::{build, engine, run};
use crate::expr::{Template, parse};
use crate::trace::reader::Consumer;
use crate::trace::{Installed, LogPlanner, LogSite, Terms, Unfit};

/// How often the line is passed.
const PASSES: usize = 30;
/// How many conditions are made up.
const CONDITIONS: usize = 200;

/// What the kernel, or the interpreter where the kernel left it open, says of one condition at one pass.
#[derive(Clone, Debug, PartialEq)]
enum Verdict {
    /// The kernel found it true.
    True,
    /// The kernel left it open; the interpreter on the record.
    Open(Result<bool, String>),
}

/// By condition and pass.
type Verdicts = Arc<Mutex<HashMap<(usize, usize), Verdict>>>;

/// Notes verdicts; the owner of a site is the number of its condition.
struct Notes {
    binary: Arc<Binary>,
    verdicts: Verdicts,
}

impl Consumer<(usize, LogSite)> for Notes {
    fn record(&mut self, site: &Arc<Installed<(usize, LogSite)>>, record: &RecordView<'_>) {
        let (condition, site) = &site.owner;
        let pass = site
            .message(&self.binary, record, None)
            .parse()
            .expect("the message is the number of the pass");
        let verdict = if record.flags().has(Flags::CONDITION_UNKNOWN) {
            Verdict::Open(
                site.holds(&self.binary, record, None)
                    .map_err(|error| error.to_string()),
            )
        } else {
            Verdict::True
        };
        let mut verdicts = self.verdicts.lock().expect("nobody panics");
        assert_eq!(
            verdicts.insert((*condition, pass), verdict),
            None,
            "{condition} at {pass} twice"
        );
    }
}

/// What the program wrote: for each pass one character for each condition.
fn outcomes(path: &Path) -> Vec<Vec<u8>> {
    let text = fs::read_to_string(path).expect("the program wrote its outcomes");
    let line = |(pass, line): (usize, &str)| {
        let (number, outcomes) = line.split_once(' ').expect("a line has a number");
        assert_eq!(number, pass.to_string());
        outcomes.as_bytes().to_vec()
    };
    text.lines().enumerate().map(line).collect()
}

/// Debuggers want types with their package.
fn as_debuggers_write(condition: &str) -> String {
    let types = [
        ("(*Node)", "(*main.Node)"),
        ("(Point)", "(main.Point)"),
        ("Kind(n)", "main.Kind(n)"),
    ];
    types
        .iter()
        .fold(condition.to_owned(), |text, (plain, full)| text.replace(plain, full))
}

/// How many conditions had which fate.
#[derive(Debug, Default)]
struct Tally {
    lowered: usize,
    optimised_out: usize,
    decided: usize,
    panicked: usize,
    left_open: usize,
}

fn decide(generated: &Generated, probed: &str, flags: &[&str]) -> Option<Tally> {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let program = build(&generated.source, folder.path(), flags)?;
    let binary = Arc::new(Binary::open(&program).expect("a fresh Go program opens"));
    let mut engine = engine(&binary)?;
    let line = generated
        .source
        .lines()
        .position(|line| line.contains(probed))
        .expect("the line is there") as u32
        + 1;
    let file = binary
        .files()
        .iter()
        .find(|file| file.ends_with("/main.go") && file.contains(folder.path().to_str().expect("a path")));
    let statements = binary.statements(file.expect("the file is in the line table"), line);
    let [statement] = &statements[..] else {
        panic!("{statements:?}")
    };
    let function = binary
        .function_at(statement.addr)
        .expect("the statement is in a function");
    let template = Template::parse("{i}").expect("a message");
    let runtime = engine.runtime();
    let mut tally = Tally::default();
    let (mut sites, mut installed) = (Vec::new(), Vec::new());
    for (number, text) in generated.conditions.iter().enumerate() {
        let condition = parse(&as_debuggers_write(text)).unwrap_or_else(|error| panic!("{text}: {error}"));
        let terms = Terms {
            condition: Some(&condition),
            ..Terms::default()
        };
        let planned = engine.with_layouts(|layouts| {
            let mut planner = LogPlanner {
                binary: &binary,
                runtime,
                layouts,
            };
            planner.plan(1, function, statement.addr, line, &template, terms)
        });
        match planned {
            Ok(site) => {
                tally.lowered += 1;
                installed.push(number);
                sites.push((site.site.clone(), (number, site)));
            }
            // The names are those of the source, so what is missing was taken out by the optimiser or is declared further down.
            Err(Unfit::Condition(error)) => {
                let text = error.to_string();
                let missing = ["optimized out", "could not find symbol", "OP stack"]
                    .iter()
                    .any(|known| text.contains(known));
                assert!(missing, "{}: {text}", generated.conditions[number]);
                tally.optimised_out += 1;
            }
            Err(error) => panic!("{text}: {error}"),
        }
    }
    let verdicts = Verdicts::default();
    let notes = Notes {
        binary: Arc::clone(&binary),
        verdicts: Arc::clone(&verdicts),
    };
    let counters = run(&mut engine, &program, folder.path(), PASSES, sites, notes);
    assert_eq!(
        counters.hits,
        counters.condition_false + counters.emitted,
        "{counters:?}"
    );

    let outcomes = outcomes(&folder.path().join("outcomes"));
    assert_eq!(outcomes.len(), PASSES);
    let verdicts = verdicts.lock().expect("nobody panics");
    let mut wrong = Vec::new();
    for (pass, outcomes) in outcomes.iter().enumerate() {
        for number in &installed {
            let (outcome, verdict) = (outcomes[*number], verdicts.get(&(*number, pass)));
            let right = match (outcome, verdict) {
                (b'1', Some(Verdict::True)) | (b'0', None) => {
                    tally.decided += 1;
                    true
                }
                (b'x', Some(Verdict::Open(Err(_)))) => {
                    tally.panicked += 1;
                    true
                }
                (b'1', Some(Verdict::Open(Ok(true)))) | (b'0', Some(Verdict::Open(Ok(false)))) => {
                    tally.left_open += 1;
                    true
                }
                _ => false,
            };
            if !right {
                let condition = &generated.conditions[*number];
                wrong.push(format!(
                    "{condition} at pass {pass}: the program says {}, the kernel {verdict:?}",
                    char::from(outcome)
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    Some(tally)
}

#[test]
fn the_kernel_decides_as_the_program_does() {
    let generated = generate(0x5eed, CONDITIONS);
    for flags in [&["-gcflags=all=-N -l"][..], &[], &["-buildmode=pie"]] {
        for probed in PROBED {
            let Some(tally) = decide(&generated, probed, flags) else {
                return;
            };
            println!("{flags:?} {probed}: {tally:?}");
            // The optimiser leaves fewer variables.
            let least = if flags.concat().contains("-N") { 9 } else { 5 };
            assert!(tally.lowered * 10 > CONDITIONS * least, "{tally:?}");
            assert!(tally.decided > 20 * tally.left_open, "{tally:?}");
        }
    }
}
