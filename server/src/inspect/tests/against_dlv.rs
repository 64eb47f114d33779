//! Goroutines and stacks as dlv shows them, where it is installed: the same programs at rest, looked at by both.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::program::{Build, Program, skip};
use crate::inspect::{Frame, Goroutine, Location, Whose, goroutines, stack};

/// `dlv attach --headless`, and a JSON-RPC connection to it (Delve's `service/rpc2`).
struct Dlv {
    child: Child,
    stream: BufReader<TcpStream>,
    calls: u64,
}

impl Dlv {
    /// `None`, with a message, where dlv is not installed.
    fn attach(pid: u32) -> Option<Dlv> {
        let Some(dlv) = installed() else {
            skip("dlv is not on the PATH, so nothing is compared with it here");
            return None;
        };
        let mut child = Command::new(dlv)
            .args([
                "attach",
                &pid.to_string(),
                "--headless",
                "--accept-multiclient",
                "--listen=127.0.0.1:0",
            ])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("dlv starts");
        let output = BufReader::new(child.stdout.take().expect("it is a pipe"));
        let address = output
            .lines()
            .map_while(Result::ok)
            .find_map(|line| Some(line.split_once("listening at: ")?.1.to_owned()))
            .expect("dlv says where it listens");
        let stream = TcpStream::connect(address).expect("it listens there");
        Some(Dlv {
            child,
            stream: BufReader::new(stream),
            calls: 0,
        })
    }

    fn call(&mut self, method: &str, argument: &Value) -> Value {
        self.calls += 1;
        let request = json!({"method": format!("RPCServer.{method}"), "params": [argument], "id": self.calls});
        writeln!(self.stream.get_mut(), "{request}").expect("dlv reads");
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("dlv answers");
        let mut answer: Value = serde_json::from_str(&line).expect("in JSON");
        assert!(answer["error"].is_null(), "{method}: {answer}");
        answer["result"].take()
    }

    fn goroutines(&mut self) -> Vec<Value> {
        /// Since Go 1.26 the spare goroutines for threads that C makes (`_Gdeadextra` in `runtime/runtime2.go`). dlv shows them; the runtime counts them as
        /// dead, and so do we.
        const DEAD_EXTRA: u64 = 11;
        let listed = self.call("ListGoroutines", &json!({"Start": 0, "Count": 0}));
        let mut goroutines = listed["Goroutines"].as_array().expect("a list").clone();
        goroutines.retain(|g| g["status"] != DEAD_EXTRA);
        goroutines
    }

    fn stack(&mut self, id: &Value) -> Vec<Value> {
        let answer = self.call(
            "Stacktrace",
            &json!({"Id": id, "Depth": 1000, "Full": false, "Opts": 0}),
        );
        answer["Locations"].as_array().expect("a list").clone()
    }
}

impl Drop for Dlv {
    fn drop(&mut self) {
        // A tracer that is killed takes nobody with it that it attached to.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn installed() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let home = std::env::home_dir().map(|home| home.join("go/bin"));
    std::env::split_paths(&path)
        .chain(home)
        .map(|folder| folder.join("dlv"))
        .find(|file| file.is_file())
}

/// A location as dlv's text for it; what is unknown is `?`, as there.
fn ours(location: &Location) -> String {
    let function = location.function.as_deref().unwrap_or("?");
    match &location.file {
        Some(file) => format!("{} {function} {file}:{}", location.pc, location.line),
        None => format!("{} {function}", location.pc),
    }
}

fn dlvs(location: &Value) -> String {
    let pc = location["pc"].as_u64().expect("an address");
    let function = location["function"]["name"].as_str().unwrap_or("?");
    match location["file"].as_str() {
        Some("?" | "") | None => format!("{pc:#x} {function}"),
        Some(file) => format!("{pc:#x} {function} {file}:{}", location["line"]),
    }
}

fn describe_ours(g: &Goroutine) -> String {
    let labels: Vec<String> = g.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    format!(
        "goroutine {} thread {} waits since {}\n current {}\n user {}\n go {}\n start {}\n labels {}",
        g.id,
        g.thread.map_or(0, |thread| thread.0),
        g.wait_since,
        ours(&g.current),
        ours(&g.user_current),
        ours(&g.go_statement),
        ours(&g.start),
        labels.join(" "),
    )
}

fn describe_dlvs(g: &Value) -> String {
    let mut labels: Vec<String> = g["labels"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    labels.sort();
    format!(
        "goroutine {} thread {} waits since {}\n current {}\n user {}\n go {}\n start {}\n labels {}",
        g["id"],
        g["threadID"],
        g["waitSince"],
        dlvs(&g["currentLoc"]),
        dlvs(&g["userCurrentLoc"]),
        dlvs(&g["goStatementLoc"]),
        dlvs(&g["startLoc"]),
        labels.join(" "),
    )
}

/// A frame with the distance of its address from the end of the stack, as dlv gives it.
fn frame_of_ours(frame: &Frame, g: &Goroutine) -> String {
    let base = if frame.on_system_stack { 0 } else { g.stack_hi.0 };
    format!(
        "{} at {}",
        ours(&frame.location),
        frame.cfa.0.wrapping_sub(base).cast_signed()
    )
}

fn frame_of_dlvs(frame: &Value) -> String {
    format!("{} at {}", dlvs(frame), frame["FrameOffset"])
}

fn compare(name: &str, build: Build, arguments: &[&str]) {
    let Some(program) = Program::start(name, build, arguments) else {
        return;
    };
    drop(program.stop_at_rest());
    program.freeze();
    let mut seen = Vec::new();
    {
        let stopped = program.stop();
        let (all, _) = goroutines(&stopped, 0, 0).expect("the list can be read");
        for g in &all {
            let stack = stack(&stopped, Whose::Goroutine(g.id), 1000).expect("it exists");
            let frames: Vec<String> = stack.frames.iter().map(|frame| frame_of_ours(frame, g)).collect();
            seen.push((g.id, describe_ours(g), frames));
        }
    }
    let Some(mut dlv) = Dlv::attach(program.pid()) else {
        return;
    };
    let all = dlv.goroutines();
    assert_eq!(seen.len(), all.len());
    for ((id, ours, mut frames), g) in seen.into_iter().zip(all) {
        let dlvs_frames: Vec<String> = dlv.stack(&g["id"]).iter().map(frame_of_dlvs).collect();
        if frames
            .iter()
            .zip(&dlvs_frames)
            .any(|(ours, dlvs)| ours != dlvs && dlvs.contains(" main.nilDereference "))
        {
            // A function without a frame that faults: dlv trusts RBP, which is still its caller's, and so misses the caller.
            let at = frames
                .iter()
                .position(|frame| frame.contains(" main.nilDereference "))
                .expect("it faulted");
            let missed = frames.remove(at + 1);
            assert!(missed.contains(" main.panics ") && build != Build::Debug, "{missed}");
            frames[at].clone_from(&dlvs_frames[at]);
        }
        // Where Go calls C, dlv 1.27.1 looks for the return address where it is not in the Go versions at hand: at most two frames come out wrong.
        for at in 0..frames.len() {
            if frames[at].contains(" runtime.asmcgocall ") {
                for (ours, dlvs) in frames.iter_mut().zip(&dlvs_frames).skip(at + 1).take(2) {
                    ours.clone_from(dlvs);
                }
            }
        }
        assert_eq!(ours, describe_dlvs(&g), "{name} {build:?}: ours, dlv's");
        assert_eq!(frames, dlvs_frames, "{name} {build:?} goroutine {id}: ours, dlv's");
    }
}

#[test]
fn resting_goroutines_are_as_dlv_shows_them() {
    for build in Build::ALL {
        compare("fixture", build, &["rest"]);
    }
}

#[test]
fn stacks_through_c_are_as_dlv_shows_them() {
    compare("cgo", Build::Debug, &["rest"]);
}
