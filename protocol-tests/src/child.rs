//! Child processes that cannot outlive the test that started them.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::failure::{Attempt, Failure, Result};

/// What one output stream of a child has delivered so far.
#[derive(Clone, Default)]
pub struct Stream {
    state: Arc<(Mutex<StreamState>, Condvar)>,
}

#[derive(Default)]
struct StreamState {
    text: String,
    closed: bool,
}

impl Stream {
    fn collect(self, source: impl Read + Send + 'static) -> JoinHandle<()> {
        std::thread::spawn(move || {
            let mut source = BufReader::new(source);
            let mut line = Vec::new();
            loop {
                line.clear();
                let got = source.read_until(b'\n', &mut line).unwrap_or(0);
                let (lock, changed) = &*self.state;
                let mut state = lock.lock().unwrap_or_else(PoisonError::into_inner);
                if got == 0 {
                    state.closed = true;
                } else {
                    state.text.push_str(&String::from_utf8_lossy(&line));
                }
                changed.notify_all();
                if got == 0 {
                    return;
                }
            }
        })
    }

    /// Everything that has arrived.
    pub fn text(&self) -> String {
        self.state.0.lock().unwrap_or_else(PoisonError::into_inner).text.clone()
    }

    /// Waits until `found` answers something for the text so far. `what` names the wait in the failure.
    #[track_caller]
    pub fn wait_for<T>(&self, what: &str, limit: Duration, mut found: impl FnMut(&str) -> Option<T>) -> Result<T> {
        let end = Instant::now() + limit;
        let (lock, changed) = &*self.state;
        let mut state = lock.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(value) = found(&state.text) {
                return Ok(value);
            }
            let left = end.saturating_duration_since(Instant::now());
            if state.closed || left.is_zero() {
                let why = if state.closed {
                    "the stream ended"
                } else {
                    "time ran out"
                };
                return Err(Failure::new(format!(
                    "{what}: {why} after {limit:?} at most; it said:\n{}",
                    state.text
                )));
            }
            state = changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

/// How a child ended, with what it wrote.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Its exit status or the signal that ended it.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
    /// From start to end.
    pub took: Duration,
}

impl Finished {
    /// The exit status; 128 + the signal's number for a child that a signal ended, as a shell says it.
    pub fn code(&self) -> i32 {
        self.status
            .code()
            .unwrap_or_else(|| 128 + self.status.signal().unwrap_or(0))
    }
}

/// A child in a process group of its own, with both outputs collected. Dropping it kills the group and every descendant.
pub struct ChildGroup {
    child: Child,
    name: String,
    started: Instant,
    readers: Vec<JoinHandle<()>>,
    /// Standard output so far.
    pub stdout: Stream,
    /// Standard error so far.
    pub stderr: Stream,
}

impl ChildGroup {
    /// Starts `command`; its standard input is empty.
    #[track_caller]
    pub fn start(command: &mut Command) -> Result<ChildGroup> {
        command.stdin(Stdio::null());
        ChildGroup::start_with_stdin(command)
    }

    /// Starts `command` with the standard input it already has; [`ChildGroup::stdin`] takes the pipe, where it is one.
    #[track_caller]
    pub fn start_with_stdin(command: &mut Command) -> Result<ChildGroup> {
        let name = describe(command);
        command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().attempt(format_args!("starting `{name}`"))?;
        let (stdout, stderr) = (Stream::default(), Stream::default());
        let mut readers = Vec::new();
        if let Some(pipe) = child.stdout.take() {
            readers.push(stdout.clone().collect(pipe));
        }
        if let Some(pipe) = child.stderr.take() {
            readers.push(stderr.clone().collect(pipe));
        }
        Ok(ChildGroup {
            child,
            name,
            started: Instant::now(),
            readers,
            stdout,
            stderr,
        })
    }

    /// The child's process id.
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// The pipe to the child's standard input, once.
    pub fn stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// Sends `signal` to the child alone.
    #[track_caller]
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(self.pid()), signal).attempt(format_args!("sending {signal} to `{}`", self.name))
    }

    /// Whether the child has ended; how, if so.
    #[track_caller]
    pub fn poll(&mut self) -> Result<Option<ExitStatus>> {
        self.child
            .try_wait()
            .attempt(format_args!("waiting for `{}`", self.name))
    }

    /// Waits for the end, `limit` at most. On time-out the failure carries what the child wrote, and the child is killed on drop.
    #[track_caller]
    pub fn finish(mut self, limit: Duration) -> Result<Finished> {
        self.finish_within(limit)
    }

    /// As [`ChildGroup::finish`], for a child that lies in something larger. `limit` counts from now.
    #[track_caller]
    pub fn finish_within(&mut self, limit: Duration) -> Result<Finished> {
        let end = Instant::now() + limit;
        let status = loop {
            if let Some(status) = self.poll()? {
                break status;
            }
            if Instant::now() >= end {
                return Err(Failure::new(format!(
                    "`{}` still runs after {limit:?}\n--- stdout\n{}\n--- stderr\n{}",
                    self.name,
                    self.stdout.text(),
                    self.stderr.text()
                )));
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let took = self.started.elapsed();
        // A grandchild that inherited the pipes keeps them open; what it writes later is not this child's.
        let patience = Instant::now() + Duration::from_secs(2);
        while self.readers.iter().any(|reader| !reader.is_finished()) && Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(Finished {
            status,
            stdout: self.stdout.text(),
            stderr: self.stderr.text(),
            took,
        })
    }
}

impl Drop for ChildGroup {
    fn drop(&mut self) {
        // Debuggers put their targets into groups of their own, so the group alone is not everything.
        let family = descendants(self.pid());
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = killpg(Pid::from_raw(self.pid()), Signal::SIGKILL);
            let _ = self.child.wait();
        }
        for pid in family {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

/// Runs `command` to its end.
#[track_caller]
pub fn run(command: &mut Command, limit: Duration) -> Result<Finished> {
    ChildGroup::start(command)?.finish(limit)
}

/// The process ids of all children, grandchildren and so on of `pid`, from `/proc/*/stat`.
pub fn descendants(pid: i32) -> Vec<i32> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let mut parents = Vec::new();
    for entry in entries.flatten() {
        let Some(child) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // The command name stands in parentheses and may hold anything; state and parent follow the last one.
        let parent = stat
            .rsplit_once(')')
            .and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse::<i32>().ok());
        if let Some(parent) = parent {
            parents.push((child, parent));
        }
    }
    let mut family = vec![pid];
    let mut next = 0;
    while next < family.len() {
        let parent = family[next];
        family.extend(
            parents
                .iter()
                .filter(|(child, of)| *of == parent && *child != pid)
                .map(|(child, _)| *child),
        );
        next += 1;
    }
    family.remove(0);
    family
}

/// Whether a process of this id exists and is not a zombie.
pub fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')')
        .and_then(|(_, rest)| rest.split_whitespace().next())
        .is_some_and(|state| state != "Z" && state != "X")
}

/// The `TracerPid` of a process, from `/proc/PID/status`; `None` when there is no such process.
pub fn tracer_of(pid: i32) -> Option<i32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("TracerPid:"))?
        .trim()
        .parse()
        .ok()
}

/// Waits until `holds` answers something, asking every few milliseconds.
#[track_caller]
pub fn wait_until<T>(what: &str, limit: Duration, mut holds: impl FnMut() -> Option<T>) -> Result<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(value) = holds() {
            return Ok(value);
        }
        if Instant::now() >= end {
            return Err(Failure::new(format!("{what}: not within {limit:?}")));
        }
        std::thread::sleep(Duration::from_millis(3));
    }
}

fn describe(command: &Command) -> String {
    let words: Vec<&OsStr> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .collect();
    words
        .iter()
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}
