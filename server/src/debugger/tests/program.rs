//! A Go program under debug.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::debugger::{
    BreakpointState, EndWith, Event, EventReceiver, FunctionBreakpoint, LaunchSpec, Session, SourceBreakpoint,
    StepKind, Stop, StopReason, event_queue,
};
use crate::go_versions::UnknownVersions;
use crate::inspect::{FrameRef, Stack, Whose};
use crate::value::{LoadConfig, Style};

/// How long a test waits for something that must come; two loaded cores may take their time.
const PATIENCE: Duration = Duration::from_secs(30);

/// The flags a program is built with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Build {
    /// Nothing optimised, nothing inlined.
    Debug,
    /// Not optimised, but inlined.
    Inlined,
    /// The default.
    Optimized,
    /// Position independent, nothing optimised.
    Pie,
    /// The program with loops over functions, nothing optimised.
    Range,
    /// The program that starts others, nothing optimised.
    Family,
}

impl Build {
    fn flags(self) -> &'static [&'static str] {
        match self {
            Build::Debug | Build::Range | Build::Family => &["-gcflags=all=-N -l"],
            Build::Inlined => &["-gcflags=-N"],
            Build::Optimized => &[],
            Build::Pie => &["-gcflags=all=-N -l", "-buildmode=pie"],
        }
    }
}

/// Says on standard error why a test does not run here, past the test runner's capture: a skipped test must be seen.
fn skip(reason: &str) {
    let _ = writeln!(std::io::stderr(), "SKIP: {reason}");
}

/// `SPELUNK_GO`, which `make test` sets, else the `go` on the `PATH`.
fn go() -> PathBuf {
    std::env::var_os("SPELUNK_GO").map_or_else(|| "go".into(), PathBuf::from)
}

/// A program in a folder beside this file, built once for each set of flags; `None`, with a message, without a Go toolchain that can build it.
pub(super) fn build(flags: Build) -> Option<PathBuf> {
    static BUILT: Mutex<Vec<(Build, Option<PathBuf>)>> = Mutex::new(Vec::new());
    static SCRATCH: OnceLock<tempfile::TempDir> = OnceLock::new();
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, known)) = built.iter().find(|(with, _)| *with == flags) {
        return known.clone();
    }
    let able = Command::new(go())
        .arg("version")
        .output()
        .is_ok_and(|output| output.status.success());
    let path = if able {
        let scratch = SCRATCH.get_or_init(|| tempfile::tempdir().expect("a scratch folder can be made"));
        let path = scratch.path().join(format!("steps-{flags:?}"));
        let output = Command::new(go())
            .current_dir(folder(flags))
            .env("GOFLAGS", "")
            .env("GOWORK", "off")
            .env("GOTOOLCHAIN", "local")
            .arg("build")
            .args(flags.flags())
            .arg("-o")
            .arg(&path)
            .arg(".")
            .stdin(Stdio::null())
            .output()
            .expect("go runs");
        let said = String::from_utf8_lossy(&output.stderr);
        // Loops over functions came with Go 1.23.
        if flags == Build::Range && said.contains("requires go >= 1.23") {
            skip("this go knows no loops over functions");
            None
        } else {
            assert!(output.status.success(), "go build: {said}");
            Some(path)
        }
    } else {
        skip("there is no go to build the program with");
        None
    };
    built.push((flags, path.clone()));
    path
}

/// A program's file for one test alone. The kernel keeps probes by file, and one of a session can swallow a breakpoint of another in the same file.
pub(super) struct Copy(pub(super) PathBuf);

impl Copy {
    pub(super) fn of(program: &Path) -> Copy {
        static COPIES: AtomicUsize = AtomicUsize::new(0);
        let number = COPIES.fetch_add(1, Ordering::Relaxed);
        let copy = program.with_extension(number.to_string());
        // Another process writes it: what another thread starts meanwhile would hold this one's descriptor, and the kernel executes no file that is open for
        // writing (`ETXTBSY`).
        let copied = Command::new("cp").arg(program).arg(&copy).status();
        assert!(
            copied.is_ok_and(|status| status.success()),
            "{} can be copied",
            program.display()
        );
        Copy(copy)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn folder(flags: Build) -> PathBuf {
    let name = match flags {
        Build::Range => "range_program",
        Build::Family => "family_program",
        _ => "steps_program",
    };
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/debugger/tests")
        .join(name)
}

/// The program's source file, as the binary names it.
pub(super) fn source() -> String {
    source_of(Build::Debug)
}

/// The same for a program that is built otherwise.
pub(super) fn source_of(flags: Build) -> String {
    folder(flags).join("main.go").display().to_string()
}

/// The line of the source that contains a text; there must be one alone.
pub(super) fn line_of(text: &str) -> u32 {
    let source = std::fs::read_to_string(source()).expect("the fixture can be read");
    let mut lines = (1u32..).zip(source.lines()).filter(|(_, line)| line.contains(text));
    let (number, _) = lines.next().unwrap_or_else(|| panic!("no line has {text:?}"));
    assert!(lines.next().is_none(), "several lines have {text:?}");
    number
}

/// A session, and what it has told.
pub(super) struct Debugged {
    pub(super) session: Session,
    pub(super) events: EventReceiver,
    /// What was launched; it goes last.
    _program: Option<Copy>,
}

/// What ends a run.
#[derive(Debug)]
pub(super) enum Ended {
    Stopped(Stop),
    Exited(Option<i32>),
}

impl Debugged {
    /// Launches the program, held.
    pub(super) fn launch(flags: Build, args: &[&str]) -> Option<Debugged> {
        let program = Copy::of(&build(flags)?);
        let spec = LaunchSpec {
            program: program.0.clone(),
            args: args.iter().map(ToString::to_string).collect(),
            capture_output: true,
            ..LaunchSpec::default()
        };
        let (events, receiver) = event_queue();
        Some(Debugged {
            session: Session::launch(&spec, events).expect("the program launches"),
            events: receiver,
            _program: Some(program),
        })
    }

    /// Attaches to a program that somebody else has started.
    pub(super) fn attach(pid: u32) -> Debugged {
        let (events, receiver) = event_queue();
        Debugged {
            session: Session::attach(pid.cast_signed(), UnknownVersions::Refused, events)
                .expect("the program can be attached to"),
            events: receiver,
            _program: None,
        }
    }

    /// Launches the program and lets it run to a function.
    pub(super) fn at(flags: Build, function: &str, args: &[&str]) -> Option<Debugged> {
        let debugged = Debugged::launch(flags, args)?;
        debugged.break_at_function(function);
        debugged.go();
        debugged.stopped();
        debugged.session.set_function_breakpoints(&[]);
        Some(debugged)
    }

    pub(super) fn break_at_function(&self, function: &str) -> BreakpointState {
        let wanted = FunctionBreakpoint {
            function: function.to_owned(),
            condition: None,
            hit_condition: None,
        };
        let states = self.session.set_function_breakpoints(&[wanted]);
        assert!(states[0].verified, "{states:?}");
        states[0].clone()
    }

    pub(super) fn break_at(&self, wanted: &[SourceBreakpoint]) -> Vec<BreakpointState> {
        self.session.set_source_breakpoints(&source(), wanted)
    }

    pub(super) fn go(&self) {
        self.session.resume().expect("the program can go on");
    }

    pub(super) fn step(&self, kind: StepKind) {
        let stop = self.session.stop().expect("the program is stopped");
        self.session.step(stop.whose, kind).expect("a step can be made");
    }

    /// The next event that is no output.
    pub(super) fn next(&self) -> Event {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.events.try_recv() {
                Some(Event::Stdout(_) | Event::Stderr(_)) => {}
                Some(event) => return event,
                None => {
                    assert!(Instant::now() < deadline, "nothing happened for {PATIENCE:?}");
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        }
    }

    /// What ends the run, and the log messages before it.
    pub(super) fn ended_with_log(&self) -> (Ended, Vec<String>) {
        let mut log = Vec::new();
        loop {
            match self.next() {
                Event::Stopped(stop) => return (Ended::Stopped(stop), log),
                Event::Exited { status, .. } => return (Ended::Exited(status), log),
                Event::Log { text, .. } => log.push(text),
                Event::Backlog(messages) => log.extend(messages.into_iter().map(|message| message.text)),
                Event::Suppressed(left_out) => panic!("{left_out:?}"),
                Event::Notice(text) | Event::Warning(text) => eprintln!("notice: {text}"),
                Event::Traced(pass) => eprintln!("passed: {pass:?}"),
                Event::BreakpointChanged(state) => eprintln!("changed: {state:?}"),
                Event::Materialized(_, state) => eprintln!("materialized: {state:?}"),
                Event::Spawned { command_line, .. } => eprintln!("spawned: {command_line}"),
                Event::Stdout(_) | Event::Stderr(_) | Event::Resumed => {}
            }
        }
    }

    pub(super) fn ended(&self) -> Ended {
        self.ended_with_log().0
    }

    /// The stop that must come now.
    pub(super) fn stopped(&self) -> Stop {
        match self.ended() {
            Ended::Stopped(stop) => stop,
            Ended::Exited(status) => panic!("the program has ended with {status:?}"),
        }
    }

    pub(super) fn exited(&self) -> Option<i32> {
        match self.ended() {
            Ended::Exited(status) => status,
            Ended::Stopped(stop) => panic!("the program has stopped: {stop:?} at {}", self.place()),
        }
    }

    pub(super) fn stack(&self, whose: Whose) -> Stack {
        self.session.stack(whose, 50).expect("there is a stack")
    }

    /// `function:line` where the stop is; for inlined code the function that contains it, as Delve's terminal client shows it.
    pub(super) fn place(&self) -> String {
        let stop = self.session.stop().expect("the program is stopped");
        let stack = self.stack(stop.whose);
        let top = stack.frames.first().expect("a stack has a frame");
        let function = top.info.as_ref().map(|info| &*info.name);
        let function = function.or(top.location.function.as_deref());
        format!("{}:{}", function.unwrap_or("?"), top.location.line)
    }

    /// A variable of the innermost frame as text.
    pub(super) fn value(&self, expression: &str) -> String {
        let stop = self.session.stop().expect("the program is stopped");
        let frame = FrameRef {
            whose: stop.whose,
            frame: 0,
            deferred: 0,
        };
        match self.session.evaluate(frame, expression, LoadConfig::DAP) {
            Ok(value) => value.text(Style::default()),
            Err(error) => format!("error: {error}"),
        }
    }

    /// Kills the program and waits for its last event.
    pub(super) fn kill(self) {
        self.session.end(EndWith::Kill);
        let last = std::iter::from_fn(|| self.events.try_recv()).last();
        assert!(matches!(last, Some(Event::Exited { .. })), "{last:?}");
    }
}

/// A line breakpoint without terms.
pub(super) fn plain(line: u32) -> SourceBreakpoint {
    SourceBreakpoint {
        line,
        log_message: None,
        condition: None,
        hit_condition: None,
    }
}

/// Whether a stop is at a user's breakpoint.
pub(super) fn is_breakpoint(stop: &Stop) -> bool {
    matches!(stop.reason, StopReason::Breakpoint(_))
}
