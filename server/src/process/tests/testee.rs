//! The Go program that is traced, built and started.

use std::collections::hash_map::DefaultHasher;
use std::ffi::OsString;
use std::fs;
use std::hash::{Hash, Hasher};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use nix::fcntl::{Flock, FlockArg};
use spelunk_dwarf::{Binary, FileOffset, LoadBias, ProcAddr};

use crate::process::{Inferior, Launch, Output, ProcessEvent};

/// How it is built.
#[derive(Clone, Copy, Debug, Hash)]
pub(super) enum Build {
    /// As `go build` builds.
    Plain,
    /// Position independent.
    Pie,
    /// Linked by the C toolchain, with C code in it.
    Cgo,
}

const MAIN: &str = include_str!("testee/main.go");
const CGO: &str = include_str!("testee/cgo.go.txt");

/// The program of `go`: `SPELUNK_GO`, then `PATH`, then where Go's own archive installs it.
fn go() -> Option<&'static Path> {
    static GO: OnceLock<Option<PathBuf>> = OnceLock::new();
    GO.get_or_init(|| {
        let given = std::env::var_os("SPELUNK_GO").map(PathBuf::from);
        let candidates = given.map_or_else(|| vec!["go".into(), "/usr/local/go/bin/go".into()], |given| vec![given]);
        let works = |go: &PathBuf| {
            let version = Command::new(go).arg("version").env("GOTOOLCHAIN", "local").output();
            version.is_ok_and(|out| out.status.success())
        };
        candidates.into_iter().find(works)
    })
    .as_deref()
}

/// The built program; `None`, with a message, where there is no Go (or, for C code, no C compiler).
pub(super) fn build(how: Build) -> Option<PathBuf> {
    let skip = |reason: &str| {
        // Past the test runner's capture: a skipped test must be seen.
        let _ = writeln!(std::io::stderr(), "SKIP: {reason}");
        None
    };
    let Some(go) = go() else {
        return skip("there is no Go toolchain, so no Go program is traced here");
    };
    let mut files = vec![("main.go", MAIN)];
    if matches!(how, Build::Cgo) {
        if !Command::new("cc")
            .arg("--version")
            .output()
            .is_ok_and(|out| out.status.success())
        {
            return skip("there is no C compiler, so no program with C code is traced here");
        }
        files.push(("cgo.go", CGO));
    }
    let flags: &[&str] = match how {
        Build::Plain => &[],
        Build::Pie => &["-buildmode=pie"],
        Build::Cgo => &["-ldflags=-linkmode=external"],
    };
    let version = Command::new(go)
        .arg("version")
        .output()
        .expect("it has answered before")
        .stdout;
    let mut hasher = DefaultHasher::new();
    (how, &files, flags, version).hash(&mut hasher);
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"),
        PathBuf::from,
    );
    let dir = target.join(format!("fixtures/process/{how:?}-{:016x}", hasher.finish()));
    fs::create_dir_all(&dir).expect("the fixture's folder");
    let program = dir.join("testee");
    let lock = fs::File::create(dir.join(".lock")).expect("the fixture's lock file");
    let _lock = Flock::lock(lock, FlockArg::LockExclusive)
        .map_err(|(_, error)| error)
        .expect("the lock");
    if !program.exists() {
        for (name, text) in files {
            fs::write(dir.join(name), text).expect("a source file");
        }
        fs::write(dir.join("go.mod"), "module testee\n\ngo 1.21\n").expect("go.mod");
        let unfinished = dir.join(".unfinished");
        let out = Command::new(go)
            .current_dir(&dir)
            .args(["build", "-o"])
            .arg(&unfinished)
            .args(flags)
            .arg(".")
            .env("GOFLAGS", "")
            .env("GOWORK", "off")
            .env("GOTOOLCHAIN", "local")
            .env("CGO_ENABLED", if matches!(how, Build::Cgo) { "1" } else { "0" })
            .output()
            .expect("go runs");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        fs::rename(unfinished, &program).expect("moved into place");
    }
    Some(program)
}

/// A program that is traced, with what is needed to find places in it.
pub(super) struct Testee {
    pub(super) inferior: Inferior,
    pub(super) binary: Binary,
    pub(super) bias: LoadBias,
    output: Option<JoinHandle<String>>,
}

impl Testee {
    /// Starts it under trace, stopped before its first instruction.
    pub(super) fn launch(how: Build, args: &[&str]) -> Option<Testee> {
        let program = build(how)?;
        let mut launched = launch(&program, args).start_here().expect("it starts");
        let output = launched.stdout.take().map(|mut stdout| {
            std::thread::spawn(move || {
                let mut text = String::new();
                let _ = stdout.read_to_string(&mut text);
                text
            })
        });
        let inferior = Inferior::seize_held(&mut launched).expect("it is executed");
        Some(Testee::of(inferior, &program, output))
    }

    /// Takes a running program.
    pub(super) fn of(inferior: Inferior, program: &Path, output: Option<JoinHandle<String>>) -> Testee {
        let binary = Binary::open(program).expect("its binary is read");
        let bias = bias(&binary, program, inferior.pid());
        Testee {
            inferior,
            binary,
            bias,
            output,
        }
    }

    /// The first instruction of a function and the address behind its last.
    pub(super) fn function(&self, name: &str) -> (ProcAddr, ProcAddr) {
        let function = self
            .binary
            .functions()
            .iter()
            .find(|function| &*function.name == name)
            .unwrap_or_else(|| panic!("no function {name}"));
        (self.bias.to_proc(function.entry), self.bias.to_proc(function.end))
    }

    /// All instructions of a function but those that fill it up to its end.
    pub(super) fn instructions(&self, name: &str) -> Vec<(ProcAddr, iced_x86::Instruction)> {
        let (begin, end) = self.function(name);
        let mut code = vec![0; (end.0 - begin.0) as usize];
        crate::value::Memory::read(&*self.inferior.memory(), begin, &mut code).expect("code is readable");
        iced_x86::Decoder::with_ip(64, &code, begin.0, iced_x86::DecoderOptions::NONE)
            .into_iter()
            .take_while(|instruction| instruction.code() != iced_x86::Code::Int3)
            .map(|instruction| (ProcAddr(instruction.ip()), instruction))
            .collect()
    }

    /// Sites on all instructions of a function.
    pub(super) fn insert_everywhere(&mut self, function: &str) -> usize {
        let instructions = self.instructions(function);
        for (addr, instruction) in &instructions {
            self.inferior
                .insert_site(*addr)
                .unwrap_or_else(|error| panic!("{instruction}: {error}"));
        }
        instructions.len()
    }

    /// Lets it run to its end; every event goes to `each` first, and the thread of a stop goes on after that. Answers all it wrote.
    pub(super) fn run(
        mut self,
        mut each: impl FnMut(&mut Inferior, ProcessEvent),
    ) -> (crate::process::ExitStatus, String) {
        self.inferior.resume_all().expect("it goes on");
        loop {
            let event = self.inferior.next_event().expect("an event");
            each(&mut self.inferior, event);
            match event {
                ProcessEvent::Site { thread, .. }
                | ProcessEvent::Stepped { thread }
                | ProcessEvent::HardcodedBreakpoint { thread }
                | ProcessEvent::StoppedByProbe { thread } => {
                    self.inferior.resume(thread, false).expect("it goes on");
                }
                ProcessEvent::Exec => self.inferior.resume_all().expect("it goes on"),
                ProcessEvent::Exited(status) => return (status, self.output()),
                ProcessEvent::ChildExecuted(child) => self.inferior.release_child(child),
                ProcessEvent::Kicked | ProcessEvent::ThreadBorn(_) | ProcessEvent::ThreadGone(_) => {}
            }
        }
    }

    /// All it wrote, when it has ended.
    pub(super) fn output(&mut self) -> String {
        self.output
            .take()
            .map_or_else(String::new, |output| output.join().expect("its output is read"))
    }
}

fn launch(program: &Path, args: &[&str]) -> Launch {
    Launch {
        program: program.to_owned(),
        args: args.iter().map(OsString::from).collect(),
        output: Output::Capture,
        ..Launch::default()
    }
}

fn bias(binary: &Binary, program: &Path, pid: i32) -> LoadBias {
    let maps = super::super::maps::of(pid).expect("its mappings");
    let program = program.canonicalize().expect("a path");
    let code = maps
        .iter()
        .find(|mapping| Some(mapping.name.as_str()) == program.to_str() && mapping.executable)
        .expect("the program's code is mapped");
    binary
        .load_bias_of(ProcAddr(code.addresses.start), FileOffset(code.offset))
        .expect("its code is where it was mapped from")
}

/// A program that runs untraced, as the child of another process: what we reap, that one does not miss.
pub(super) struct Untraced {
    pid: i32,
    parent: Child,
    pub(super) program: PathBuf,
    lines: Receiver<String>,
}

impl Untraced {
    /// Starts it and waits until it is ready.
    pub(super) fn start(how: Build, args: &[&str]) -> Option<Untraced> {
        let program = build(how)?;
        let mut parent = Command::new("sh")
            .args(["-c", r#""$0" "$@" & echo $!; wait $!; echo "exit $?""#])
            .arg(&program)
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh starts");
        let stdout = parent.stdout.take().expect("captured");
        let (send, lines) = crossbeam_channel::unbounded();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        let mut untraced = Untraced {
            pid: 0,
            parent,
            program,
            lines,
        };
        untraced.pid = untraced.line().parse().expect("a process id");
        assert_eq!(untraced.line(), "ready");
        Some(untraced)
    }

    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    /// The next line it writes.
    pub(super) fn line(&self) -> String {
        self.lines
            .recv_timeout(Duration::from_secs(60))
            .expect("a line of the program")
    }

    /// Asks it to end in order, and checks that it found nothing wrong.
    pub(super) fn finish(self) {
        // SAFETY: kill takes two integers.
        unsafe { libc::kill(self.pid, libc::SIGTERM) };
        assert_eq!((self.line().as_str(), self.line().as_str()), ("ok", "exit 0"));
    }
}

impl Drop for Untraced {
    fn drop(&mut self) {
        if matches!(self.parent.try_wait(), Ok(None)) && self.pid > 0 {
            // SAFETY: kill takes two integers. Only a failed test leaves the program running; its parent has not reaped it as long as it waits.
            unsafe { libc::kill(self.pid, libc::SIGKILL) };
        }
        let _ = self.parent.wait();
    }
}

/// How often something is repeated: `short`, or as the environment variable `SPELUNK_STRESS` multiplies.
pub(super) fn times(short: usize) -> usize {
    let factor = std::env::var("SPELUNK_STRESS")
        .ok()
        .and_then(|factor| factor.parse().ok());
    short * factor.unwrap_or(1)
}

/// Fails when something takes too long, by ending the test process: a test that hangs in waitpid(2) cannot be ended otherwise.
pub(super) struct Deadline {
    done: crossbeam_channel::Sender<()>,
}

impl Deadline {
    pub(super) fn new(limit: Duration) -> Deadline {
        let (done, wait) = crossbeam_channel::bounded::<()>(1);
        let name = std::thread::current().name().unwrap_or_default().to_owned();
        let begun = Instant::now();
        std::thread::spawn(move || {
            if wait.recv_timeout(limit) == Err(crossbeam_channel::RecvTimeoutError::Timeout) {
                let _ = writeln!(std::io::stderr(), "{name} hangs since {:?}", begun.elapsed());
                // Not an abort: nobody reads the core of a test.
                // SAFETY: it ends the process, whatever its other threads do.
                unsafe { libc::_exit(1) };
            }
        });
        Deadline { done }
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        let _ = self.done.send(());
    }
}
