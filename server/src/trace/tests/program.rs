//! Building, probing and running the generated program.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use spelunk_bpf::Counters;
use spelunk_dwarf::Binary;

use crate::process::{Identity, Launch};
use crate::trace::Engine;
use crate::trace::function::SitePlan;
use crate::trace::reader::Consumer;
use crate::value::LoadConfig;

/// Says on standard error why a test does not run here, past the test runner's capture: a skipped test must be seen.
fn skip(reason: &str) {
    let _ = writeln!(std::io::stderr(), "SKIP: {reason}");
}

/// Builds a program of one file in a folder; nothing, with a message, without a Go toolchain.
pub(super) fn build(source: &str, folder: &Path, flags: &[&str]) -> Option<PathBuf> {
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

/// Probes of a program; nothing, with a message, where the kernel has none for this user.
pub(super) fn engine<T: Send + Sync + 'static>(binary: &Arc<Binary>) -> Option<Engine<T>> {
    match Engine::new(Arc::clone(binary), LoadConfig::DAP) {
        Ok(engine) => Some(engine),
        Err(error) => {
            skip(&format!("this machine or this user has no kernel probes: {error}"));
            None
        }
    }
}

/// Runs the program for that many passes with probes on it, to its end; answers what became of their hits.
pub(super) fn run<T: Send + Sync + 'static>(
    engine: &mut Engine<T>,
    program: &Path,
    folder: &Path,
    passes: usize,
    sites: Vec<(SitePlan, T)>,
    consumer: impl Consumer<T>,
) -> Counters {
    let mut launched = Launch {
        program: program.to_owned(),
        args: vec![folder.join("outcomes").into(), passes.to_string().into()],
        ..Launch::default()
    }
    .start_here()
    .expect("the program starts");
    let place = Arc::new(Identity::launched(launched.pid, program).expect("it is ours"));
    let link = engine.install(&place, sites).expect("the kernel takes the probes");
    let reader = engine.read(consumer).expect("nobody reads yet");
    launched.release().expect("the program runs");
    launched.exit.recv().expect("the program ends");
    link.detach();
    reader.finish();
    engine.accounting().total()
}
