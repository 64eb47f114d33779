//! Conditions decided by the kernel at real hits, and by the program itself: Go compiles the same condition.

use std::collections::HashMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use spelunk_bpf::{Flags, RecordView};
use spelunk_dwarf::Binary;

use super::generated::{Generated, PROBED, generate};
use crate::expr::{Template, parse};
use crate::process::{Identity, Launch};
use crate::trace::reader::Consumer;
use crate::trace::{Engine, Installed, LogPlanner, LogSite, Terms, Unfit};
use crate::value::LoadConfig;

/// How often the line is passed.
const PASSES: usize = 40;
/// How many conditions are made up.
const CONDITIONS: usize = 300;

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

fn skip(reason: &str) {
    let _ = writeln!(std::io::stderr(), "SKIP: {reason}");
}

fn build(source: &str, folder: &Path, flags: &[&str]) -> Option<PathBuf> {
    fs::write(folder.join("main.go"), source).expect("the source is written");
    fs::write(folder.join("go.mod"), "module example.org/subject\n\ngo 1.21\n").expect("the module is written");
    let go = std::env::var_os("SPELUNK_GO").map_or_else(|| "go".into(), PathBuf::from);
    let built = Command::new(go)
        .current_dir(folder)
        .envs([("GOFLAGS", ""), ("GOWORK", "off"), ("GOTOOLCHAIN", "local")])
        .arg("build")
        .args(flags)
        .args(["-o", "subject", "."])
        .output();
    match built {
        Ok(built) => {
            assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
            Some(folder.join("subject"))
        }
        Err(error) => {
            skip(&format!("there is no Go toolchain: {error}"));
            None
        }
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

fn engine(binary: &Arc<Binary>) -> Option<Engine<(usize, LogSite)>> {
    match Engine::new(Arc::clone(binary), LoadConfig::DAP) {
        Ok(engine) => Some(engine),
        Err(error) => {
            skip(&format!("this machine or this user has no kernel probes: {error}"));
            None
        }
    }
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
    let mut launched = Launch {
        program: program.clone(),
        args: vec![folder.path().join("outcomes").into(), PASSES.to_string().into()],
        ..Launch::default()
    }
    .start_here()
    .expect("the program starts");
    let place = Arc::new(Identity::launched(launched.pid, &program).expect("it is ours"));
    let link = engine.install(&place, sites).expect("the kernel takes the probes");
    let notes = Notes {
        binary: Arc::clone(&binary),
        verdicts: Arc::clone(&verdicts),
    };
    let reader = engine.read(notes).expect("nobody reads yet");
    launched.release().expect("the program runs");
    launched.exit.recv().expect("the program ends");
    link.detach();
    reader.finish();
    let counters = engine.accounting().total();
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
