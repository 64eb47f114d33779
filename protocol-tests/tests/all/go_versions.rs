//! Programs of Go versions that nobody has looked at yet are refused, unless that is said to be all right.

use std::path::PathBuf;
use std::process::Command;

use protocol_tests::child::{ChildGroup, Finished, run, tracer_of};
use protocol_tests::dap_client::{DapClient, STEP};
use protocol_tests::executable::write_executable;
use protocol_tests::failure::{Attempt, Result};
use protocol_tests::headless::Headless;
use protocol_tests::paths;
use protocol_tests::toolchain::{Build, fixture};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The counter, which says that another version of Go has built it: `Go 1.minor`, with two digits.
fn of_version(minor: &str) -> Result<(TempDir, PathBuf)> {
    let built = fixture("counter", Build::NoOpt)?;
    let mut bytes = std::fs::read(&built.program).attempt("reading the program")?;
    let find = |text: &[u8], from: usize| {
        let found = bytes[from..].windows(text.len()).position(|part| part == text);
        found.map(|at| from + at)
    };
    let notes = find(b"\xff Go buildinf:", 0).attempt("finding what the program is built with")?;
    let at = find(b"go1.", notes).attempt("finding its version")? + 4;
    bytes[at..at + 2].copy_from_slice(minor.as_bytes());
    let folder = tempfile::tempdir().attempt("making a folder")?;
    let program = folder.path().join("program");
    write_executable(&program, &bytes)?;
    Ok((folder, program))
}

fn finished(words: &[&str]) -> Result<Finished> {
    run(Command::new(paths::spelunk()?).args(words), STEP)
}

#[test]
fn a_version_that_is_not_known_is_refused_in_delves_words() -> Result<()> {
    for (minor, why) in [
        (
            "20",
            "is too old for this version of spelunk (minimum supported version 1.21, suppress this error with --check-go-version=false)",
        ),
        (
            "97",
            "(maximum supported version 1.27, suppress this error with --check-go-version=false)",
        ),
    ] {
        let (_folder, program) = of_version(minor)?;
        let path = program.to_string_lossy();
        for words in [
            &["exec", "--headless", "--listen=127.0.0.1:0", &*path][..],
            &["trace", "--exec", &path, "^main.work$"],
        ] {
            let ended = finished(words)?;
            assert_eq!(ended.code(), 1, "{words:?}: {}", ended.stderr);
            assert!(ended.stderr.contains(why), "{words:?}: {}", ended.stderr);
            assert!(ended.stderr.contains(&format!("go1.{minor}")), "{}", ended.stderr);
        }
        let mut client = DapClient::start(&paths::spelunk()?)?;
        client.initialize()?;
        let answer = client.try_request("launch", json!({"mode": "exec", "program": program}))?;
        let said = answer.body["error"]["format"].as_str().unwrap_or_default();
        assert!(said.starts_with("Failed to launch: ") && said.contains(why), "{said}");
    }
    Ok(())
}

#[test]
fn a_version_that_is_not_known_can_be_tried_all_the_same() -> Result<()> {
    let (_folder, program) = of_version("20")?;
    let path = program.to_string_lossy();
    let ended = finished(&[
        "trace",
        "--check-go-version=false",
        "--exec",
        &path,
        "^main.work$",
        "--",
        "3",
        "5",
    ])?;
    assert!(ended.stderr.contains("> goroutine(1): main.work("), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("undefined behavior - Go version go1.20"),
        "{}",
        ended.stderr
    );
    let server = Headless::start(&paths::spelunk()?, "exec", &["--check-go-version=false", &path])?;
    let mut client = server.connect()?;
    let state = client.call("State", &json!({"NonBlocking": true}))?;
    assert_ne!(state["State"]["Pid"], Value::Null);
    client.call("Detach", &json!({"Kill": true}))?;
    server.finish()?;
    Ok(())
}

#[test]
fn a_process_whose_version_is_not_known_is_left_alone() -> Result<()> {
    let (_folder, program) = of_version("20")?;
    let running = ChildGroup::start(&mut Command::new(&program))?;
    running
        .stdout
        .wait_for("the first number", STEP, |text| text.contains('\n').then_some(()))?;
    let pid = running.pid();
    let ended = finished(&["attach", "--headless", "--listen=127.0.0.1:0", &pid.to_string()])?;
    assert_eq!(ended.code(), 1, "{}", ended.stderr);
    assert!(ended.stderr.contains("is too old for this version"), "{}", ended.stderr);
    let so_far = running.stdout.text().len();
    running
        .stdout
        .wait_for("the program to go on", STEP, |text| (text.len() > so_far).then_some(()))?;
    assert_eq!(tracer_of(pid), Some(0));
    Ok(())
}
