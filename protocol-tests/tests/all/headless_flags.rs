//! The flags of a headless server, each by what the program notices of it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use nix::poll::{PollFd, PollFlags, poll};
use nix::pty::openpty;
use nix::unistd::ttyname;
use protocol_tests::child::{Finished, run};
use protocol_tests::dap_client::STEP;
use protocol_tests::failure::{Attempt, Failure, Result};
use protocol_tests::headless::Headless;
use protocol_tests::paths;
use protocol_tests::rpc_client::RpcClient;
use protocol_tests::toolchain::{Build, Built, fixture};
use serde_json::json;

fn built() -> Result<Built> {
    fixture("surroundings", Build::NoOpt)
}

/// A server on the program, in a folder.
fn server(program: &Path, flags: &[&str], folder: Option<&Path>) -> Result<Headless> {
    let program = program.to_string_lossy();
    let words = [
        &["--headless", "--listen=127.0.0.1:0"],
        flags,
        &[&*program, "--", "one", "two"],
    ]
    .concat();
    Headless::start_with(&paths::spelunk()?, "exec", &words, |command| {
        if let Some(folder) = folder {
            command.current_dir(folder);
        }
    })
}

/// Lets the program run to its end.
fn to_the_end(client: &mut RpcClient) -> Result<()> {
    let state = client.call("Command", &json!({"name": "continue"}))?;
    assert_eq!(state["State"]["exited"], true, "{state}");
    Ok(())
}

/// Ends the session; what the server has said.
fn ended(mut client: RpcClient, server: Headless) -> Result<Finished> {
    client.call("Detach", &json!({"Kill": true}))?;
    let finished = server.finish()?;
    assert_eq!(finished.code(), 0, "{}", finished.stderr);
    Ok(finished)
}

/// The whole life of a program under some flags.
fn told(flags: &[&str], folder: Option<&Path>) -> Result<(BTreeMap<String, String>, Finished)> {
    let server = server(&built()?.program, flags, folder)?;
    let mut client = server.connect()?;
    to_the_end(&mut client)?;
    let finished = ended(client, server)?;
    Ok((surroundings(&finished.stdout), finished))
}

/// What the program says of itself.
fn surroundings(text: &str) -> BTreeMap<String, String> {
    let pairs = text.lines().filter_map(|line| line.trim_end().split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// How a server ends that cannot begin.
fn refused(command: &str, flags: &[&str]) -> Result<String> {
    let program = built()?.program;
    let mut line = Command::new(paths::spelunk()?);
    line.args([command, "--headless", "--listen=127.0.0.1:0"])
        .args(flags)
        .arg(program);
    let finished = run(&mut line, STEP)?;
    assert_eq!(finished.code(), 1, "{flags:?}: {} {}", finished.stdout, finished.stderr);
    Ok(finished.stderr)
}

/// Our end of a terminal, the program's, and what that is called.
fn terminal() -> Result<(File, OwnedFd, String)> {
    let pair = openpty(None, None).attempt("making a terminal")?;
    let name = ttyname(&pair.slave).attempt("asking for a terminal's name")?;
    Ok((File::from(pair.master), pair.slave, name.to_string_lossy().into_owned()))
}

/// Reads a terminal until a text has come.
fn read_until(terminal: &mut File, end: &str) -> Result<String> {
    let limit = Instant::now() + STEP;
    let mut text = String::new();
    let mut part = [0; 1024];
    while !text.contains(end) {
        let left = u16::try_from(limit.saturating_duration_since(Instant::now()).as_millis()).unwrap_or(u16::MAX);
        let mut readable = [PollFd::new(terminal.as_fd(), PollFlags::POLLIN)];
        if poll(&mut readable, left).attempt("waiting for a terminal")? == 0 {
            return Err(Failure::new(format!("no {end:?} within {STEP:?}, only {text:?}")));
        }
        let count = terminal.read(&mut part).attempt("reading a terminal")?;
        text.push_str(&String::from_utf8_lossy(&part[..count]));
    }
    Ok(text)
}

#[test]
fn a_terminal_is_the_programs_own() -> Result<()> {
    let built = built()?;
    let (mut ours, theirs, name) = terminal()?;
    let server = server(&built.program, &[&format!("--tty={name}")], None)?;
    let mut client = server.connect()?;
    // A restarted program has it again.
    for typed in ["first", "second"] {
        writeln!(ours, "{typed}").attempt("typing")?;
        to_the_end(&mut client)?;
        let text = read_until(&mut ours, "<nil>")?;
        let told = surroundings(&text);
        for stream in ["fd0", "fd1", "fd2"] {
            assert_eq!(told[stream], name, "{text}");
        }
        for fact in ["own group", "own session", "terminal", "in foreground"] {
            assert_eq!(told[fact], "true", "{fact}: {text}");
        }
        assert!(text.contains("to standard error"), "{text}");
        assert_eq!(told["read"], format!("\"{typed}\\n\" <nil>"), "{text}");
        if typed == "first" {
            client.call("Restart", &json!({}))?;
        }
    }
    let finished = ended(client, server)?;
    assert!(!finished.stdout.contains("fd1="), "{}", finished.stdout);
    drop(theirs);
    Ok(())
}

#[test]
fn a_terminal_has_to_be_one() -> Result<()> {
    for (path, why) in [
        ("/dev/null", "/dev/null is not a terminal"),
        ("/does/not/exist", "open /does/not/exist: no such file or directory"),
        ("/tmp", "open /tmp: is a directory"),
    ] {
        assert_eq!(
            refused("exec", &["--tty", path])?,
            format!("could not launch process: {why}\n")
        );
    }
    // As in Delve, for programs alone.
    for command in ["test", "attach"] {
        let said = refused(command, &["--tty=/dev/null"])?;
        assert!(said.starts_with("Error: unknown flag: --tty\n"), "{command}: {said}");
    }
    Ok(())
}

#[test]
fn files_take_the_place_of_the_standard_streams() -> Result<()> {
    let built = built()?;
    let folder = tempfile::tempdir().attempt("making a folder")?;
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).attempt("reading a file");
    std::fs::write(folder.path().join("in"), "from a file\nand more\n").attempt("writing a file")?;
    std::fs::write(folder.path().join("out"), "left by somebody\n".repeat(1000)).attempt("writing a file")?;
    let flags = [
        "-r",
        &path("in"),
        &format!("--redirect=stdout:{}", path("out")),
        "-r",
        &format!("stderr:{}", path("err")),
    ];
    let server = server(&built.program, &flags, None)?;
    let mut client = server.connect()?;
    for _ in 0..2 {
        to_the_end(&mut client)?;
        let said = read("out")?;
        assert_eq!(said.lines().count(), surroundings(&said).len(), "{said}");
        let told = surroundings(&said);
        assert_eq!(
            [&told["fd0"], &told["fd1"], &told["fd2"]],
            [&path("in"), &path("out"), &path("err")]
        );
        assert_eq!(told["read"], r#""from a file\n" <nil>"#);
        assert_eq!(read("err")?, "to standard error\n");
        client.call("Restart", &json!({}))?;
    }
    let finished = ended(client, server)?;
    assert_eq!(finished.stdout.lines().count(), 1, "{}", finished.stdout);
    for (redirect, why) in [
        (
            path("absent"),
            format!("open {}: no such file or directory", path("absent")),
        ),
        (
            format!("stdout:{}", folder.path().display()),
            format!("open {}: is a directory", folder.path().display()),
        ),
        (
            format!("stderr:{}", path("no/folder")),
            format!("open {}: no such file or directory", path("no/folder")),
        ),
    ] {
        assert_eq!(
            refused("exec", &["-r", &redirect])?,
            format!("could not launch process: {why}\n")
        );
    }
    Ok(())
}

#[test]
fn the_program_runs_where_and_how_it_is_told() -> Result<()> {
    let folder = tempfile::tempdir().attempt("making a folder")?;
    let folder = folder.path().canonicalize().attempt("resolving a folder")?;
    std::fs::create_dir(folder.join("within")).attempt("making a folder")?;
    let shown = |path: &Path| path.to_string_lossy().into_owned();
    let (plain, finished) = told(&[], Some(&folder))?;
    assert_eq!(plain["directory"], shown(&folder));
    assert_eq!(plain["arguments"], "one two");
    assert_eq!(finished.stderr, "to standard error\n");
    // What it sends to its group is not for the debugger.
    assert_eq!((&*plain["own group"], &*plain["own session"]), ("true", "false"));
    // ADDR_NO_RANDOMIZE (personality(2)).
    let fixed =
        |told: &BTreeMap<String, String>| u32::from_str_radix(&told["personality"], 16).unwrap_or(0) & 0x0004_0000;
    assert_eq!(fixed(&plain), 0);
    assert_ne!(fixed(&told(&["--disable-aslr"], None)?.0), 0);
    assert_eq!(fixed(&told(&["--disable-aslr=false"], None)?.0), 0);
    let within = told(&["--wd=within", "--check-go-version=false"], Some(&folder))?.0;
    assert_eq!(within["directory"], shown(&folder.join("within")));
    let (_, finished) = told(&["--init=/does/not/exist"], None)?;
    assert_eq!(
        finished.stderr,
        "Warning: init file ignored with --headless\nto standard error\n"
    );
    for wrong in ["/etc/passwd", "/does/not/exist"] {
        let said = refused("exec", &["--wd", wrong])?;
        assert!(said.starts_with("could not launch process: fork/exec "), "{said}");
    }
    Ok(())
}

#[test]
fn the_log_is_where_and_about_what_it_is_told_to_be() -> Result<()> {
    let folder = tempfile::tempdir().attempt("making a folder")?;
    let log = folder.path().join("log");
    let program = built()?.program;
    let program = program.to_string_lossy();
    let mut line = Command::new(paths::spelunk()?);
    line.args([
        "exec",
        "--headless",
        "--accept-multiclient",
        "--continue",
        "--listen=127.0.0.1:0",
    ]);
    line.args([
        "--log",
        "--log-output=rpc,debugger",
        &format!("--log-dest={}", log.display()),
        &program,
    ]);
    let server = protocol_tests::child::ChildGroup::start(&mut line)?;
    // The address, too, is told in the log alone.
    let address = protocol_tests::child::wait_until("the address in the log", STEP, || {
        let text = std::fs::read_to_string(&log).ok()?;
        let (first, _) = text.split_once('\n')?;
        Some(first.strip_prefix("API server listening at: ").expect(first).to_owned())
    })?;
    let mut client = RpcClient::connect(&address)?;
    client.call("GetVersion", &json!({}))?;
    client.call("Detach", &json!({"Kill": true}))?;
    let finished = server.finish(STEP)?;
    let text = std::fs::read_to_string(&log).attempt("reading the log")?;
    for part in [
        "debug layer=rpc API server pid = ".to_owned(),
        format!("info layer=debugger launching process with args: [{program}]\n"),
        "debug layer=rpc <- {".to_owned(),
        "debug layer=rpc -> {".to_owned(),
    ] {
        assert!(text.contains(&part), "{part}: {text}");
    }
    assert!(!finished.stdout.contains("listening"), "{}", finished.stdout);
    assert!(!finished.stderr.contains("layer="), "{}", finished.stderr);
    let (_, finished) = told(&["--log", "--log-output=dap"], None)?;
    assert_eq!(finished.stderr, "to standard error\n");
    assert_eq!(
        refused("exec", &["--log-output=rpc"])?,
        "--log-output specified without --log\n"
    );
    assert_eq!(
        refused("exec", &["--log-dest=/does/not/exist"])?,
        "could not create log file: open /does/not/exist: no such file or directory\n"
    );
    Ok(())
}
