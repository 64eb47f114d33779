//! Clients that send without end and read nothing: the server does not grow with them, and others are served.

use std::io::{ErrorKind, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use protocol_tests::child::descendants;
use protocol_tests::dap_client::STEP;
use protocol_tests::failure::{Attempt, Result};
use protocol_tests::headless::Headless;
use protocol_tests::paths;
use protocol_tests::toolchain::{Build, fixture};
use protocol_tests::web_socket::{WebSocket, frame};
use serde_json::{Value, json};

/// A flood is over when so many bytes were taken, none for a while, or a few at a time for long enough.
const ENOUGH: usize = 4 << 20;
const TAKES_NONE: Duration = Duration::from_millis(700);
const LONGEST: Duration = Duration::from_secs(3);

/// How much the server may grow with one client, in bytes. The answers that some of the floods ask for are a hundred times as large together.
const GROWTH: u64 = 96 << 20;

/// The resident memory of the server's own processes, in bytes, without that of the program.
fn memory(server: &Headless) -> Result<u64> {
    let own = paths::spelunk()?
        .canonicalize()
        .attempt("resolving the server's path")?;
    let mut all = vec![server.server.pid()];
    all.extend(descendants(server.server.pid()));
    let resident = |pid: &i32| {
        let is_own = std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == own);
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))
            .ok()
            .filter(|_| is_own)?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().trim_end_matches(" kB").parse::<u64>().ok()
    };
    Ok(all.iter().filter_map(resident).sum::<u64>() << 10)
}

fn call(method: &str, argument: &Value) -> String {
    json!({"jsonrpc": "2.0", "id": 1, "method": format!("RPCServer.{method}"), "params": [argument]}).to_string()
}

/// Sends the same bytes again and again, and reads nothing; answers how many were taken. The longest memory that `look` has seen meanwhile comes with it.
fn flood(socket: &mut WebSocket, message: &[u8], look: &dyn Fn() -> Result<u64>) -> Result<(usize, u64)> {
    let stream = socket.stream();
    stream.set_nonblocking(true).attempt("making it not block")?;
    let many = message.repeat((64 << 10) / message.len() + 1);
    let (begin, mut taken, mut at, mut most, mut last) = (Instant::now(), 0, 0, 0, Instant::now());
    while taken < ENOUGH && last.elapsed() < TAKES_NONE && begin.elapsed() < LONGEST {
        match stream.write(&many[at..]) {
            Ok(count) => {
                (taken, at, last) = (taken + count, (at + count) % many.len(), Instant::now());
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                most = most.max(look()?);
                std::thread::sleep(Duration::from_millis(20));
            }
            // Who is too rude may be hung up on.
            Err(_) => break,
        }
    }
    Ok((taken, most.max(look()?)))
}

/// Whether a client of each kind is answered in good time.
fn others_are_served(server: &Headless) -> Result<()> {
    let begin = Instant::now();
    let mut go = server.connect()?;
    go.call("State", &json!({"NonBlocking": true}))?;
    go.call("ListBreakpoints", &json!({}))?;
    let mut socket = WebSocket::open(&server.address, "")?.expect("a WebSocket");
    socket.send(&serde_json::from_str(&call("ListBreakpoints", &json!({}))).attempt("reading a call")?)?;
    assert!(socket.text()?["result"]["Breakpoints"].is_array());
    assert!(begin.elapsed() < STEP / 2, "{:?}", begin.elapsed());
    Ok(())
}

fn server(program: &Path) -> Result<Headless> {
    let args = ["--accept-multiclient", &*program.to_string_lossy(), "--", "forever"];
    Headless::start(&paths::spelunk()?, "exec", &args)
}

#[test]
fn a_web_socket_that_is_not_read_does_not_make_the_server_grow() -> Result<()> {
    let server = server(&fixture("orders", Build::NoOpt)?.program)?;
    // What the first calls make once and for all is not the flood's.
    let mut go = server.connect()?;
    for method in ["ListFunctions", "ListTypes"] {
        go.call(method, &json!({}))?;
    }
    let batch = format!("[{}]", vec![call("ListTypes", &json!({})); 16].join(","));
    for (what, message) in [
        ("large answers", call("ListFunctions", &json!({}))),
        ("small answers", call("IsMulticlient", &json!({}))),
        ("answers that come later", call("State", &json!({"NonBlocking": false}))),
        ("methods that there are none", call("Nothing", &json!({}))),
        ("no calls", "x".to_owned()),
        ("batches", batch),
    ] {
        let before = memory(&server)?;
        let mut deaf = WebSocket::open(&server.address, "")?.expect("a WebSocket");
        let (taken, most) = flood(&mut deaf, &frame(&message), &|| memory(&server))?;
        assert!(
            most < before + GROWTH,
            "{what}: {taken} bytes were taken, and memory went from {before} to {most}"
        );
        others_are_served(&server)?;
    }
    Ok(())
}

#[test]
fn a_web_socket_that_waits_with_many_calls_does_not_make_the_server_grow() -> Result<()> {
    let server = server(&fixture("orders", Build::NoOpt)?.program)?;
    let mut go = server.connect()?;
    let running = go.send("Command", &json!({"name": "continue"}))?;
    let before = memory(&server)?;
    for (what, message) in [
        ("goroutines", call("ListGoroutines", &json!({"Count": 10}))),
        ("states", call("State", &json!({"NonBlocking": false}))),
    ] {
        let mut deaf = WebSocket::open(&server.address, "")?.expect("a WebSocket");
        let (taken, most) = flood(&mut deaf, &frame(&message), &|| memory(&server))?;
        assert!(
            most < before + GROWTH,
            "{what}: {taken} bytes were taken, and memory went from {before} to {most}"
        );
        // Neither its halt nor a change of breakpoints waits behind those of somebody else.
        let mut other = server.connect()?;
        other.call("State", &json!({"NonBlocking": true}))?;
        let place = json!({"Breakpoint": {"functionName": "os.Exit"}});
        let made = other.call("CreateBreakpoint", &place)?;
        other.call("ClearBreakpoint", &json!({"Id": made["Breakpoint"]["id"]}))?;
    }
    go.call("Command", &json!({"name": "halt"}))?;
    go.wait(&running, STEP)?.expect("the stop");
    others_are_served(&server)
}
