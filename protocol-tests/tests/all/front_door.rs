//! The one port of a headless server: who is served on it, in which language, who is turned away, and that nobody holds up anybody.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use protocol_tests::child::{is_alive, wait_until};
use protocol_tests::dap_client::STEP;
use protocol_tests::failure::{Attempt, Result};
use protocol_tests::headless::Headless;
use protocol_tests::ordinary_user::USER;
use protocol_tests::toolchain::{Build, fixture};
use protocol_tests::web_socket::WebSocket;
use protocol_tests::{paths, peer};
use serde_json::{Value, json};

/// A server for several clients on a program that runs until it is ended.
fn server(args: &[&str]) -> Result<Headless> {
    let program = fixture("orders", Build::NoOpt)?.program;
    let program = program.to_string_lossy();
    let args = [&["--accept-multiclient"], args, &[&*program, "--", "forever"]].concat();
    Headless::start(&paths::spelunk()?, "exec", &args)
}

fn connect(address: &str) -> Result<TcpStream> {
    let stream = TcpStream::connect(address).attempt("connecting")?;
    stream.set_read_timeout(Some(STEP)).attempt("setting a time limit")?;
    Ok(stream)
}

/// All that the server says until it closes the connection.
fn exchange(address: &str, text: &str) -> Result<String> {
    let mut stream = connect(address)?;
    stream.write_all(text.as_bytes()).attempt("writing")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).attempt("reading")?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The status and the body of an HTTP answer.
fn post(address: &str, headers: &str, body: &Value) -> Result<(u16, String)> {
    let body = body.to_string();
    let answer = exchange(
        address,
        &format!(
            "POST / HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}",
            body.len()
        ),
    )?;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok((status.unwrap_or(0), body.to_owned()))
}

fn request(id: u32, method: &str, params: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
}

#[test]
fn one_port_speaks_all_languages() -> Result<()> {
    let server = server(&[])?;
    let address = &server.address;
    let mut go = server.connect()?;
    let pid = go.call("ProcessPid", &json!({}))?["Pid"].clone();
    // Parameters by position, by name, and none.
    for params in [json!([{}]), json!({}), json!([])] {
        let (status, body) = post(address, "", &request(7, "RPCServer.ProcessPid", &params))?;
        let body: Value = serde_json::from_str(&body).expect(&body);
        assert_eq!(
            (status, &body["id"], &body["result"]["Pid"]),
            (200, &json!(7), &pid),
            "{body}"
        );
    }
    let (_, body) = post(
        address,
        "",
        &request(1, "RPCServer.SetApiVersion", &json!({"APIVersion": 1})),
    )?;
    assert!(body.contains("unknown API version"), "{body}");
    let mut socket = WebSocket::open(address, "")?.expect("a WebSocket");
    socket.send(&request(8, "RPCServer.ProcessPid", &json!({})))?;
    assert_eq!(socket.text()?["result"]["Pid"], pid);
    let initialize = r#"{"seq":1,"type":"request","command":"initialize","arguments":{"adapterID":"go"}}"#;
    let mut dap = connect(address)?;
    write!(dap, "Content-Length: {}\r\n\r\n{initialize}", initialize.len()).attempt("writing")?;
    let mut first = [0; 16];
    dap.read_exact(&mut first).attempt("reading")?;
    assert_eq!(&first, b"Content-Length: ");
    let reference = exchange(
        address,
        &format!("GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"),
    )?;
    assert!(reference.contains("### RPCServer.State\n"), "{reference}");
    // A browser's tab, an editor and a terminal may all go; the server stays for the next.
    drop((go, socket, dap));
    assert_eq!(server.connect()?.call("ProcessPid", &json!({}))?["Pid"], pid);
    Ok(())
}

#[test]
fn subscribers_are_told_what_happens() -> Result<()> {
    let server = server(&["--capture-output"])?;
    let mut socket = WebSocket::open(&server.address, "")?.expect("a WebSocket");
    let mut numbers = Vec::new();
    for (id, method) in [
        (1, "Spelunk.SubscribeState"),
        (2, "Spelunk.SubscribeOutput"),
        (3, "Spelunk.SubscribeTraces"),
    ] {
        socket.send(&request(id, method, &json!([])))?;
        numbers.push(socket.until(|answer| (answer["id"] == id).then(|| answer["result"].clone()))?);
    }
    assert!(numbers.iter().all(Value::is_number), "{numbers:?}");
    let mut go = server.connect()?;
    let program = fixture("orders", Build::NoOpt)?;
    let place = program.line("main.go", "sum, err := total(order)")?;
    let tracepoint = json!({"Breakpoint": {"file": program.source("main.go"), "line": place, "continue": true}});
    go.call("CreateBreakpoint", &tracepoint)?;
    let running = go.send("Command", &json!({"name": "continue"}))?;
    let (mut kinds, mut traced, mut written) = (Vec::new(), None, false);
    while kinds.is_empty() || traced.is_none() || !written {
        let notice = socket.text()?;
        let result = &notice["params"]["result"];
        match notice["method"].as_str() {
            Some("Spelunk.State") => kinds.push(result["Kind"].clone()),
            Some("Spelunk.Trace") => traced = Some(result.clone()),
            Some("Spelunk.Output") => written |= result["Data"].as_str().is_some_and(|data| !data.is_empty()),
            other => panic!("{other:?}: {notice}"),
        }
    }
    assert_eq!(kinds, ["resumed"]);
    let traced = traced.unwrap_or_default();
    assert_eq!(traced["Line"], place, "{traced}");
    assert_eq!(traced["Thread"]["breakPoint"]["continue"], true, "{traced}");
    // A passing has answered the command; the program runs all the while.
    go.wait(&running, STEP)?.expect("a passing");
    socket.send(&request(4, "RPCServer.Command", &json!({"name": "halt"})))?;
    let stopped = socket.until(|notice| {
        let result = &notice["params"]["result"];
        (result["Kind"] == "stopped").then(|| result["State"]["Running"].clone())
    })?;
    assert_eq!(stopped, false);
    // What subscribers are told, the server's own output has as well.
    server.server.stderr.wait_for("the program's output", STEP, |text| {
        text.contains("refused:").then_some(())
    })?;
    Ok(())
}

#[test]
fn web_pages_are_refused_unless_they_are_allowed() -> Result<()> {
    let ours = "http://localhost:3000";
    let server = server(&[&format!("--allow-origin={ours}")])?;
    let address = &server.address;
    let call = request(1, "RPCServer.IsMulticlient", &json!({}));
    for headers in [
        "Origin: https://example.com\r\n",
        "Origin: null\r\n",
        "Sec-Fetch-Site: cross-site\r\n",
    ] {
        let (status, body) = post(address, headers, &call)?;
        assert_eq!(status, 403, "{headers}: {body}");
        assert_eq!(WebSocket::open(address, headers)?.err(), Some(403), "{headers}");
    }
    let rebound = exchange(
        address,
        "GET / HTTP/1.1\r\nHost: rebound.example.com\r\nConnection: close\r\n\r\n",
    )?;
    assert!(rebound.starts_with("HTTP/1.1 403 "), "{rebound}");
    let allowed = format!("Origin: {ours}\r\n");
    assert_eq!(post(address, &allowed, &call)?.0, 200);
    assert!(WebSocket::open(address, &allowed)?.is_ok());
    let asked = format!(
        "OPTIONS / HTTP/1.1\r\nHost: {address}\r\n{allowed}Access-Control-Request-Method: POST\r\nConnection: close\r\n\r\n"
    );
    let preflight = exchange(address, &asked)?.to_lowercase();
    assert!(
        preflight.contains(&format!("access-control-allow-origin: {ours}")),
        "{preflight}"
    );
    Ok(())
}

#[test]
fn nobody_is_held_up_by_somebody_who_does_not_speak_or_read() -> Result<()> {
    let server = server(&[])?;
    let address = &server.address;
    // Connected and silent; within a request; within headers; within a body; hung up in one direction.
    let mut idle = Vec::new();
    for begun in [
        "",
        "{\"method\":\"RPCServer.State\",",
        "POST / HTTP/1.1\r\nHost: x",
        "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{",
        "Content-Length: 100\r\n\r\n{",
        "Content-Le",
    ] {
        for _ in 0..4 {
            let mut stream = connect(address)?;
            stream.write_all(begun.as_bytes()).attempt("writing")?;
            idle.push(stream);
        }
    }
    let half_open = connect(address)?;
    half_open.shutdown(Shutdown::Write).attempt("shutting down")?;
    idle.push(half_open);
    // Somebody asks for more than fits between us, and reads none of it.
    let mut deaf = connect(address)?;
    deaf.set_write_timeout(Some(Duration::from_millis(200)))
        .attempt("setting a time limit")?;
    let call = format!(
        "{}\n",
        json!({"method": "RPCServer.ListFunctions", "params": [{}], "id": 1})
    );
    for _ in 0..64 {
        if deaf.write_all(call.as_bytes()).is_err() {
            break;
        }
    }
    let mut client = server.connect()?;
    let running = client.send("Command", &json!({"name": "continue"}))?;
    // What waits for the program to rest keeps neither the state nor the halt.
    let waiting = client.send("ListGoroutines", &json!({"Count": 10}))?;
    let state = client.call("State", &json!({"NonBlocking": true}))?;
    assert_eq!(state["State"]["Running"], true);
    client.call("Command", &json!({"name": "halt"}))?;
    client.wait(&running, STEP)?.expect("the stop");
    assert!(client.wait(&waiting, STEP)?.is_ok());
    let start = Instant::now();
    client.call("Detach", &json!({"Kill": true}))?;
    assert_eq!(server.finish()?.code(), 0);
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    Ok(())
}

#[test]
fn a_server_for_one_client_listens_to_nobody_else_and_ends_with_it() -> Result<()> {
    let program = fixture("orders", Build::NoOpt)?.program;
    let server = Headless::start(
        &paths::spelunk()?,
        "exec",
        &[&program.to_string_lossy(), "--", "forever"],
    )?;
    // Whoever only looks whether the port is there is not the client.
    drop(connect(&server.address)?);
    let mut client = connect(&server.address)?;
    client
        .write_all(br#"{"method":"RPCServer.ProcessPid","params":[{}],"id":1}"#)
        .attempt("writing")?;
    let mut answer = String::new();
    BufReader::new(&client).read_line(&mut answer).attempt("reading")?;
    let answer: Value = serde_json::from_str(&answer).expect(&answer);
    let pid = answer["result"]["Pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
    let pid = pid.expect("a process id");
    wait_until("the port to be closed", STEP, || {
        TcpStream::connect(&server.address).err()
    })?;
    drop(client);
    assert_eq!(server.finish()?.code(), 0);
    assert!(!is_alive(pid));
    Ok(())
}

/// What a client of a user is answered; nothing where it is turned away.
fn asked_by(user: u32, address: &str) -> Result<String> {
    const CALL: &[u8] = br#"{"method":"RPCServer.IsMulticlient","params":[{}],"id":1}"#;
    let address = address.to_owned();
    let asking = std::thread::spawn(move || {
        // SAFETY: the system call, unlike the function of the C library, changes the calling thread alone, which ends with this closure.
        let changed = unsafe { libc::syscall(libc::SYS_setresuid, user, user, user) };
        assert_eq!(changed, 0, "becoming user {user}");
        let mut answer = String::new();
        // Who is turned away may be told by an error instead of the end.
        if address.starts_with('/') {
            let mut stream = UnixStream::connect(&address).attempt("connecting")?;
            let _ = stream.write_all(CALL);
            let _ = BufReader::new(stream).read_line(&mut answer);
        } else {
            let mut stream = connect(&address)?;
            let _ = stream.write_all(CALL);
            let _ = BufReader::new(stream).read_line(&mut answer);
        }
        Ok(answer)
    });
    asking.join().expect("the thread ends")
}

#[test]
fn other_users_are_turned_away() -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        peer::skip("clients of other users", "becoming another user needs root");
        return Ok(());
    }
    let folder = tempfile::tempdir().attempt("making a folder")?;
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777))
        .attempt("opening it")?;
    let path = folder.path().join("socket");
    let program = fixture("orders", Build::NoOpt)?.program;
    let program = program.to_string_lossy();
    for listen in [
        "127.0.0.1:0".to_owned(),
        "[::1]:0".to_owned(),
        format!("unix:{}", path.display()),
    ] {
        let listen_flag = format!("--listen={listen}");
        let args = [
            "--headless",
            "--accept-multiclient",
            &listen_flag,
            &program,
            "--",
            "forever",
        ];
        let server = Headless::start_with(&paths::spelunk()?, "exec", &args, |_| {})?;
        if listen.starts_with("unix:") {
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o777))
                .attempt("opening it")?;
        }
        let own = asked_by(0, &server.address)?;
        assert!(own.contains("IsMulticlient"), "{listen}: {own}");
        assert_eq!(asked_by(USER, &server.address)?, "", "{listen}");
        server.server.signal(Signal::SIGINT)?;
        let ended = server.finish()?;
        assert!(ended.stderr.contains("different user"), "{listen}: {}", ended.stderr);
    }
    Ok(())
}
