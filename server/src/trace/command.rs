//! `spelunk trace`: prints calls and returns of functions while the program runs on.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crossbeam_channel::{Receiver, bounded, select};
use regex::Regex;
use spelunk_bpf::Link;
use spelunk_dwarf::{Binary, BuildId, Function, OpenError};

use super::engine::{Engine, Place};
use super::line::Verbosity;
use super::printer::Printer;
use crate::cli::trace::{TraceArgs, TraceTarget};
use crate::process::{ExitStatus, Launch, Launched, Output, executable, same_user_or_root, watch};
use crate::signals::Interrupts;
use crate::toolchain;

/// Runs the command; the exit status is Delve's: 0 when tracing worked, 1 when it could not begin.
pub(crate) fn run(args: &TraceArgs) -> ExitCode {
    match trace(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

/// A message names at most so many functions.
const MAX_NAMED: usize = 5;

/// A message for the user that ends the command.
type Failure = String;

fn fail(error: impl std::fmt::Display) -> Failure {
    error.to_string()
}

fn trace(args: &TraceArgs) -> Result<(), Failure> {
    // Before any thread is made, so that all of them leave the signals to us.
    let interrupts = Interrupts::catch().map_err(fail)?;
    let begun = Instant::now();
    let subject = Subject::find(args)?;
    let binary = Arc::new(subject.open(args)?);
    let pattern = Regex::new(&args.regexp).map_err(|error| format!("invalid filter argument: {error}"))?;
    let verbosity = verbosity(args);
    let (functions, engine) = rayon::join(
        || matching(&binary, &pattern),
        || Engine::<()>::new(binary.clone(), verbosity.load_config()),
    );
    if functions.is_empty() {
        return Err(nothing_matches(&binary, &pattern));
    }
    tracing::debug!("{} functions found after {:?}", functions.len(), begun.elapsed());
    let mut engine = engine.map_err(fail)?;
    tracing::debug!("tables made after {:?}", begun.elapsed());
    let (mut sites, refused) = engine.plan_functions(&functions);
    tracing::debug!("{} sites planned after {:?}", sites.len(), begun.elapsed());
    for (function, why) in &refused {
        eprintln!("unable to set tracepoint on function {function}: {why}");
    }
    if sites.is_empty() {
        return Err("no breakpoints set".to_owned());
    }
    let traced: HashSet<_> = sites.iter().map(|site| site.addr).collect();
    sites.extend(
        engine
            .plan_endings()
            .into_iter()
            .filter(|site| !traced.contains(&site.addr)),
    );
    let sites = sites.into_iter().map(|site| (site, ())).collect();

    let mut running = subject.start(args)?;
    let printer = Printer::new(
        binary.clone(),
        verbosity,
        Some(engine.losses()),
        args.timing,
        args.timestamp,
    );
    let shared = Arc::new(Mutex::new(printer));
    let flushing = shared.clone();
    let handled = shared.clone();
    let (closed_send, closed) = bounded(1);
    let flush = move || {
        if lock(&flushing).flush().is_err() {
            // Nobody reads any more. One message is enough.
            let _ = closed_send.try_send(());
        }
    };
    let reader = engine
        .read(move |site, record| lock(&handled).record(site, record, None), flush)
        .ok_or("the trace's reader could not be started")?;
    let link = match engine.install(&running.place, sites) {
        Ok(link) => link,
        Err(error) => {
            running.abandon();
            return Err(fail(error));
        }
    };
    tracing::debug!("probes attached after {:?}", begun.elapsed());
    report_refused(&engine, &link);
    running.release()?;
    report_inlined(&binary, &pattern);

    let ended = running.wait(&interrupts, &closed);
    let detaching = Instant::now();
    link.detach();
    tracing::debug!("probes detached in {:?}", detaching.elapsed());
    reader.finish();
    drop(shared);
    if let Some(status) = ended {
        match status.number() {
            Some(number) => eprintln!("Process {} has exited with status {number}", running.place.pid),
            None => eprintln!("Process {} has exited", running.place.pid),
        }
    }
    let counters = engine.counters();
    if counters.ring_full > 0 {
        eprintln!(
            "spelunk: {} of {} records were lost because the ring was full; trace fewer functions, or set SPELUNK_RING_BYTES to a larger size",
            counters.ring_full, counters.hits
        );
    }
    running.finish();
    Ok(())
}

/// The verbosity asked for; Delve takes other numbers too, and shows as little as for 0 or as much as for 4.
fn verbosity(args: &TraceArgs) -> Verbosity {
    Verbosity(u8::try_from(args.verbosity.clamp(0, 4)).unwrap_or(0))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Functions of Go code whose names match; assembly without debug information has nothing to show.
fn matching<'b>(binary: &'b Binary, pattern: &Regex) -> Vec<&'b Function> {
    let mut functions: Vec<&Function> = binary
        .functions()
        .iter()
        .filter(|function| pattern.is_match(&function.name) && traceable(binary, function))
        .collect();
    functions.sort_by(|a, b| a.name.cmp(&b.name));
    functions
}

/// Why nothing can be traced.
fn nothing_matches(binary: &Binary, pattern: &Regex) -> Failure {
    let path = binary.path().display();
    let inlined: Vec<&str> = binary
        .inlined_functions()
        .iter()
        .map(|name| &**name)
        .filter(|name| pattern.is_match(name))
        .take(5)
        .collect();
    if inlined.is_empty() {
        return format!(
            "no breakpoints set: no function of {path} matches {:?}",
            pattern.as_str()
        );
    }
    format!(
        "no breakpoints set: the compiler inlined all calls of {}, so there is no function left to trace; build with -gcflags=all=-l, or set a logpoint on one of its lines",
        inlined.join(", ")
    )
}

/// Tells of calls that cannot be seen because the compiler inlined them.
fn report_inlined(binary: &Binary, pattern: &Regex) {
    let matching = binary.inlined_functions().iter().filter(|name| pattern.is_match(name));
    let copies = |name: &str| match binary.inlined_calls_of(name).len() {
        0 => None,
        1 => Some(format!("{name} (at 1 place)")),
        places => Some(format!("{name} (at {places} places)")),
    };
    let named: Vec<String> = matching.filter_map(|name| copies(name)).take(MAX_NAMED + 1).collect();
    if !named.is_empty() {
        let more = if named.len() > MAX_NAMED { " and more" } else { "" };
        eprintln!(
            "spelunk: calls that the compiler inlined are not seen: {}{more}",
            named[..named.len().min(MAX_NAMED)].join(", ")
        );
    }
}

/// Whether a function is Go's and described. A wrapper that only brings arguments from one calling convention to the other has a twin of the same name.
fn traceable(binary: &Binary, function: &Function) -> bool {
    !function.name.ends_with(".abi0") && binary.function_info(function).is_ok_and(|info| info.is_go)
}

fn report_refused(engine: &Engine<()>, link: &Link) {
    for plan in engine.sites_of(link.refused()) {
        eprintln!(
            "unable to set tracepoint on function {}: the kernel refuses a probe on the instruction at {}",
            plan.plan.function, plan.plan.addr
        );
    }
}

/// What is to be traced, before it runs.
enum Subject {
    /// A program to be built from source; the file is removed when this is dropped.
    Built(toolchain::Binary),
    /// A program that exists.
    Existing(PathBuf),
    /// A process that runs.
    Process(i32),
}

impl Subject {
    fn find(args: &TraceArgs) -> Result<Subject, Failure> {
        match &args.target {
            TraceTarget::Package { .. } => match args.build().map_err(fail)? {
                Some(built) => Ok(Subject::Built(built)),
                None => Err("there is nothing to build".to_owned()),
            },
            TraceTarget::Exec(path) => Ok(Subject::Existing(path.clone())),
            TraceTarget::Pid(pid) => {
                same_user_or_root(*pid).map_err(fail)?;
                Ok(Subject::Process(*pid))
            }
        }
    }

    fn path(&self) -> &Path {
        match self {
            Subject::Built(built) => built.path(),
            Subject::Existing(path) => path,
            Subject::Process(_) => Path::new(""),
        }
    }

    /// Opens the binary whose debug information describes the program.
    fn open(&self, args: &TraceArgs) -> Result<Binary, Failure> {
        let Subject::Process(pid) = self else {
            return Binary::open(self.path()).map_err(fail);
        };
        let running = executable(*pid).map_err(fail)?;
        let Some(file) = &args.debug_file else {
            return Binary::open(&running).map_err(|error| match error {
                OpenError::Stripped { .. } => {
                    format!("{error}; an unstripped copy of the same build can be given with --exec")
                }
                error => error.to_string(),
            });
        };
        let binary = Binary::open(file).map_err(fail)?;
        let (analysed, runs) = (binary.build_id(), BuildId::of_file(&running).map_err(fail)?);
        if analysed != runs {
            return Err(format!(
                "{} is not the program that process {pid} runs: its build id is {analysed}, that of the process is {runs}",
                file.display()
            ));
        }
        Ok(binary)
    }

    fn start(&self, args: &TraceArgs) -> Result<Running, Failure> {
        let Subject::Process(pid) = self else {
            let launch = Launch {
                program: self.path().to_owned(),
                args: args.target_args.iter().map(Into::into).collect(),
                env: Vec::new(),
                cwd: args.directory.clone(),
                output: Output::Inherit,
                inherit_stdin: true,
            };
            let file = self.path().to_owned();
            let launched = launch
                .start()
                .map_err(|error| format!("could not launch process: {error}"))?;
            let exit = launched.exit.clone();
            return Ok(Running {
                place: Place {
                    file,
                    pid: launched.pid,
                },
                launched: Some(launched),
                exit,
            });
        };
        let exit = watch(*pid).map_err(|error| format!("could not attach to pid {pid}: {error}"))?;
        Ok(Running {
            place: Place {
                file: executable(*pid).map_err(fail)?,
                pid: *pid,
            },
            launched: None,
            exit,
        })
    }
}

/// The traced process.
struct Running {
    place: Place,
    launched: Option<Launched>,
    exit: Receiver<ExitStatus>,
}

impl Running {
    fn release(&mut self) -> Result<(), Failure> {
        match &mut self.launched {
            Some(launched) => launched
                .release()
                .map_err(|error| format!("could not launch process: {error}")),
            None => Ok(()),
        }
    }

    /// Waits until the process ends, or the user has had enough.
    fn wait(&self, interrupts: &Interrupts, closed: &Receiver<()>) -> Option<ExitStatus> {
        select! {
            recv(self.exit) -> status => status.ok(),
            recv(closed) -> _ => {
                let launched = self.launched.as_ref()?;
                launched.kill();
                self.exit.recv().ok()
            }
            recv(interrupts.received()) -> _ => {
                let launched = self.launched.as_ref()?;
                // A terminal's Ctrl-C reached the program too: what it does to end well, and its last calls, are still traced.
                let grace = crossbeam_channel::after(std::time::Duration::from_secs(2));
                select! {
                    recv(self.exit) -> status => status.ok(),
                    recv(interrupts.received()) -> _ => { launched.kill(); self.exit.recv().ok() }
                    recv(grace) -> _ => { launched.kill(); self.exit.recv().ok() }
                }
            }
        }
    }

    /// Ends a program that was not released.
    fn abandon(&self) {
        if let Some(launched) = &self.launched {
            launched.kill();
            let _ = self.exit.recv();
        }
    }

    fn finish(self) {
        drop(self);
    }
}
