//! The binary from outside: names, texts, exit statuses and sockets of the command line.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::{fs::symlink, net::UnixStream, process::CommandExt},
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

const SPELUNK: &str = env!("CARGO_BIN_EXE_spelunk");

fn run(program: impl AsRef<Path>, arguments: &[&str]) -> Output {
    Command::new(program.as_ref())
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the program runs")
}

/// Exit status, standard output and standard error.
fn spelunk(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = run(SPELUNK, arguments);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// A server that is killed with the test, however that ends.
struct Server {
    child: Child,
    /// What it said it listens at.
    address: String,
}

impl Server {
    fn start(arguments: &[&str]) -> Server {
        let mut child = Command::new(SPELUNK)
            .arg("dap")
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let address = line
            .trim_end()
            .strip_prefix("DAP server listening at: ")
            .expect(&line)
            .to_owned();
        Server { child, address }
    }

    fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(pid),
            nix::sys::signal::Signal::try_from(signal).expect("a signal"),
        )
        .expect("the server is there");
    }

    fn exit_status(&mut self) -> Option<i32> {
        let until = Instant::now() + Duration::from_secs(10);
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("the server does not end");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has usually ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends one request and returns what comes back until the server closes the connection.
fn ask(mut stream: impl Read + Write, command: &str) -> String {
    let body = format!(r#"{{"seq":1,"type":"request","command":"{command}"}}"#);
    write!(stream, "Content-Length: {}\r\n\r\n{body}", body.len()).expect("the server reads");
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .expect("the server answers and closes");
    answer
}

#[test]
fn the_name_dlv_works_the_same() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let link = scratch.path().join("dlv");
    symlink(SPELUNK, &link).expect("a link");
    let output = run(&link, &["version"]);
    assert_eq!(output.stdout, run(SPELUNK, &["version"]).stdout);
    assert!(String::from_utf8_lossy(&output.stdout).contains("Compatible with Delve: 1.27.1"));
    let output = run(&link, &["bogus"]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        text.starts_with("Error: unknown command \"bogus\" for \"dlv\"\nRun 'dlv --help' for usage."),
        "{text}"
    );
}

#[test]
fn mistakes_are_named_and_end_with_status_1() {
    for (arguments, text) in [
        (&["trace", "--bogus", "x"][..], "Error: unknown flag: --bogus"),
        (&["trace", "-x", "foo"], "Error: unknown shorthand flag: 'x' in -x"),
        (&["dap", "--listen"], "Error: flag needs an argument: --listen"),
        (
            &["debug", "--headless=maybe"],
            "Error: invalid argument \"maybe\" for \"--headless\" flag: strconv.ParseBool",
        ),
        (&["trace"], "you must supply a regexp for functions to trace"),
        (
            &["trace", "--exec", "x", "package", "foo"],
            "Cannot specify package when using --exec.",
        ),
        (&["attach", "abc"], "Invalid pid: abc"),
        (&["exec"], "Error: you must provide a path to a binary"),
        (&["dap", "--log-output=dap"], "--log-output specified without --log"),
        (&["dap", "--log-dest=/does/not/exist/log"], "could not create log file"),
        (&["dap", "--listen=127.0.0.1:99999"], "couldn't start listener: "),
    ] {
        let (status, stdout, stderr) = spelunk(arguments);
        assert_eq!(status, Some(1), "{arguments:?}: {stderr}");
        assert!(stderr.starts_with(text), "{arguments:?}: {stderr}");
        assert_eq!(stdout, "", "{arguments:?}");
    }
}

#[test]
fn what_is_not_there_yet_says_so() {
    for arguments in [
        &["debug"][..],
        &["exec", "x"],
        &["connect", "x"],
        &["core", "a", "b"],
        &["test"],
        &["attach", "1"],
    ] {
        let (status, _, stderr) = spelunk(arguments);
        assert_eq!(status, Some(1), "{arguments:?}");
        assert!(
            stderr.contains("not available in this version"),
            "{arguments:?}: {stderr}"
        );
        assert_eq!(stderr.lines().count(), 1, "{arguments:?}: {stderr}");
    }
}

#[test]
fn headless_servers_tell_mistakes_as_delve_does() {
    for (arguments, out, err) in [
        (&["exec"][..], "", "Error: you must provide a path to a binary\n"),
        (&["attach"], "", "Error: you must provide a PID\n"),
        (&["attach", "abc"], "", "Invalid pid: abc\n"),
        (
            &["exec", "x", "--continue"],
            "",
            "Error: --continue requires --accept-multiclient\n",
        ),
        (
            &["exec", "x", "-r", "a", "-r", "stdin:b"],
            "",
            "redirect error: stdin redirected twice\n",
        ),
        (
            &["exec", "x", "-r", "a", "--tty", "/dev/tty"],
            "",
            "Can not use -r and --tty together\n",
        ),
        (
            &["exec", "x", "--listen=127.0.0.1:99999"],
            "couldn't start listener: ",
            "",
        ),
        (&["exec", "x", "--api-version=3"], "Unknown API version: 3\n", ""),
        (
            &["exec", "x", "--api-version=1"],
            "API server listening at: 127.0.0.1:",
            "unknown API version\n",
        ),
        (
            &["exec", "/dev/null", "--init=x"],
            "API server",
            "Warning: init file ignored with --headless\ncould not launch process: not an executable file\n",
        ),
        (
            &["exec", "/does/not/exist"],
            "API server",
            "could not launch process: open /does/not/exist: no such file or directory\n",
        ),
        (
            &["exec", "/bin/true", "--backend=x"],
            "API server",
            "could not launch process: unknown backend \"x\"\n",
        ),
        (
            &["exec", "/bin/true", "--wd=/does/not/exist"],
            "API server",
            "could not launch process: ",
        ),
        (
            &["attach", "999999999"],
            "API server",
            "could not attach to pid 999999999: no such process\n",
        ),
    ] {
        let (status, stdout, stderr) = spelunk(&[arguments, &["--headless"]].concat());
        assert_eq!(status, Some(1), "{arguments:?}: {stdout} {stderr}");
        assert!(
            stdout.starts_with(out) && (stdout.is_empty() == out.is_empty()),
            "{arguments:?}: {stdout}"
        );
        assert!(
            stderr.starts_with(err) && (stderr.is_empty() == err.is_empty()),
            "{arguments:?}: {stderr}"
        );
    }
}

#[test]
fn help_is_for_standard_output() {
    for arguments in [
        &[][..],
        &["help"],
        &["trace", "--help"],
        &["help", "dap"],
        &["backend"],
        &["log"],
        &["redirect"],
    ] {
        let (status, stdout, stderr) = spelunk(arguments);
        assert_eq!((status, stderr.as_str()), (Some(0), ""), "{arguments:?}");
        assert!(stdout.len() > 200, "{arguments:?}: {stdout}");
    }
}

#[test]
fn one_client_is_served_over_tcp_and_unix_sockets() {
    let mut server = Server::start(&["--listen=127.0.0.1:0"]);
    let answer = ask(TcpStream::connect(&server.address).expect("a server"), "disconnect");
    assert!(
        answer.contains(r#""command":"disconnect""#) && answer.contains(r#""event":"terminated""#),
        "{answer}"
    );
    assert_eq!(server.exit_status(), Some(0));

    let scratch = tempfile::tempdir().expect("a scratch directory");
    let path = scratch.path().join("socket");
    let mut server = Server::start(&["-l", &format!("unix:{}", path.display())]);
    assert_eq!(Path::new(&server.address), path);
    let answer = ask(UnixStream::connect(&path).expect("a server"), "disconnect");
    assert!(answer.contains(r#""event":"terminated""#), "{answer}");
    assert_eq!(server.exit_status(), Some(0));
    assert!(!path.exists());
}

#[test]
fn the_server_calls_a_client_that_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let mut child = Command::new(SPELUNK)
        .args(["dap", "--client-addr", &address])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the server starts");
    let (stream, _) = listener.accept().expect("the server calls");
    assert!(ask(stream, "disconnect").contains(r#""event":"terminated""#));
    let mut stdout = String::new();
    child
        .stdout
        .take()
        .expect("a pipe")
        .read_to_string(&mut stdout)
        .expect("text");
    assert_eq!((child.wait().expect("a status").code(), stdout.as_str()), (Some(0), ""));
}

#[test]
fn signals_end_the_server_with_and_without_a_client() {
    for signal in [libc::SIGINT, libc::SIGTERM] {
        let mut server = Server::start(&[]);
        server.signal(signal);
        assert_eq!(server.exit_status(), Some(0));

        let mut server = Server::start(&[]);
        let _client = TcpStream::connect(&server.address).expect("a server");
        server.signal(signal);
        assert_eq!(server.exit_status(), Some(0));
    }
}

#[test]
fn a_port_in_use_is_named() {
    let server = Server::start(&[]);
    let (status, _, stderr) = spelunk(&["dap", "--listen", &server.address]);
    assert_eq!(status, Some(1));
    let expected = format!(
        "couldn't start listener: listen tcp {}: bind: address already in use",
        server.address
    );
    assert!(stderr.starts_with(&expected), "{stderr}");
}

#[test]
fn the_log_goes_where_log_dest_points_with_the_address() {
    let (mut ours, theirs) = UnixStream::pair().expect("sockets");
    let mut command = Command::new(SPELUNK);
    command
        .args([
            "dap",
            "--listen=127.0.0.1:0",
            "--log-dest=3",
            "--log",
            "--log-output=dap",
        ])
        .stdout(Stdio::piped());
    let descriptor = std::os::fd::AsRawFd::as_raw_fd(&theirs);
    // SAFETY: between fork and exec only dup2 is called, which is async-signal-safe; if the socket is descriptor 3
    // already, its close-on-exec flag has to go instead.
    unsafe {
        command.pre_exec(move || {
            let done = if descriptor == 3 {
                libc::fcntl(3, libc::F_SETFD, 0)
            } else {
                libc::dup2(descriptor, 3)
            };
            if done < 0 {
                Err(std::io::Error::last_os_error())
            } else {
                Ok(())
            }
        });
    }
    let mut child = command.spawn().expect("the server starts");
    drop(theirs);
    let mut reader = BufReader::new(ours.try_clone().expect("a copy"));
    let mut line = String::new();
    reader.read_line(&mut line).expect("a line");
    let address = line
        .trim_end()
        .strip_prefix("DAP server listening at: ")
        .expect(&line)
        .to_owned();
    ask(TcpStream::connect(address).expect("a server"), "disconnect");
    assert_eq!(child.wait().expect("a status").code(), Some(0));
    let mut log = String::new();
    reader.read_to_string(&mut log).expect("text");
    assert!(log.contains("debug layer=dap [<- from client]"), "{log}");
    let mut stdout = String::new();
    child
        .stdout
        .take()
        .expect("a pipe")
        .read_to_string(&mut stdout)
        .expect("text");
    assert_eq!(stdout, "");
    ours.flush().expect("still open on our side");
}
