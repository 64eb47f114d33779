//! `spelunk trace`: prints calls and returns of functions while the program runs on.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, select};
use regex::Regex;
use spelunk_bpf::{Family, HitCounts, Link, Losses, RecordView};
use spelunk_dwarf::{Binary, Function, OpenError};

use super::accounting::Accounting;
use super::children::{self, Processes};
use super::engine::{Engine, EngineError, Installed, Place, check_code};
use super::function::{Decides, FunctionError, Runtime, SitePlan};
use super::layouts::Layouts;
use super::line::Verbosity;
use super::passing::{HitRule, Passing};
use super::planning;
use super::printer::Printer;
use super::reader::Consumer;
use super::stops::{Over, Stops};
use super::terms::Unfit;
use super::wanted::{Counting, Wanted};
use crate::cli::trace::{TraceArgs, TraceTarget};
use crate::go_versions;
use crate::inspect::load_bias;
use crate::process::{ExitStatus, Identity, Inferior, Kicker, Launch, Launched, Output, Seize, watch};
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

/// How long a program that was launched may take to end after an interrupt.
const GRACE: Duration = Duration::from_secs(2);

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
    go_versions::check(&binary, args.unknown_versions)?;
    let pattern = Regex::new(&args.regexp).map_err(|error| format!("invalid filter argument: {error}"))?;
    let wanted = Wanted::of(args)?;
    let (functions, engine) = rayon::join(|| matching(&binary, &pattern), || kernel_engine(&binary, args));
    if functions.is_empty() {
        return Err(nothing_matches(&binary, &pattern));
    }
    tracing::debug!("{} functions found after {:?}", functions.len(), begun.elapsed());
    let mut engine = engine?;
    let sites = match plan(&binary, engine.as_mut(), &functions, args, &wanted) {
        // An attached program must not be stopped by surprise.
        Err(NoSites::NotLowered(why)) if args.may_stop() && !matches!(args.target, TraceTarget::Pid(_)) => {
            eprintln!("spelunk: tracing with ptrace, which stops the program at each call, because {why}");
            engine = None;
            plan(&binary, None, &functions, args, &wanted)
        }
        planned => planned,
    };
    let sites = sites.map_err(fail)?;
    tracing::debug!("{} sites planned after {:?}", sites.len(), begun.elapsed());
    let mut trace = Trace {
        args,
        binary,
        pattern,
        interrupts,
        running: subject.start(args)?,
        rule: wanted.rule(),
    };
    let ended = match engine {
        Some(mut engine) => match trace.in_kernel(&mut engine, &sites) {
            Err(NotInKernel::Refused(why)) if args.may_stop() => {
                say_why_not_in_kernel(&why);
                trace.by_stops(sites)?
            }
            Err(NotInKernel::Refused(why) | NotInKernel::Failed(why)) => {
                trace.running.abandon();
                return Err(why);
            }
            Ok(ended) => ended,
        },
        None => trace.by_stops(sites)?,
    };
    if let Some(status) = ended {
        let pid = trace.running.place.pid();
        match status.number() {
            Some(number) => eprintln!("Process {pid} has exited with status {number}"),
            None => eprintln!("Process {pid} has exited"),
        }
    }
    Ok(())
}

/// What traces in the kernel; nothing where stops were asked for, or are all there is.
fn kernel_engine(binary: &Arc<Binary>, args: &TraceArgs) -> Result<Option<Engine<()>>, Failure> {
    if args.in_kernel == Some(false) {
        return Ok(None);
    }
    match Engine::new(binary.clone(), verbosity(args).load_config()) {
        Ok(engine) => Ok(Some(engine)),
        Err(error) if args.may_stop() => {
            say_why_not_in_kernel(&error.to_string());
            Ok(None)
        }
        Err(error) if args.follow_children => Err(format!("--follow-children needs tracing in the kernel: {error}")),
        Err(error) => Err(error.to_string()),
    }
}

fn say_why_not_in_kernel(why: &str) {
    eprintln!(
        "spelunk: tracing with ptrace, which stops the program at each call, because the kernel cannot be used: {why}"
    );
}

/// Why there is nothing to trace.
#[derive(Debug, thiserror::Error)]
enum NoSites {
    /// The kernel cannot decide the condition for any function; the first reason.
    #[error("{0}; --ebpf=false traces by stopping the program at each call")]
    NotLowered(Unfit),
    /// Any other reason.
    #[error("{0}")]
    Other(Failure),
}

/// The sites of all functions, and those that tell where calls end otherwise.
fn plan(
    binary: &Arc<Binary>,
    engine: Option<&mut Engine<()>>,
    functions: &[&Function],
    args: &TraceArgs,
    wanted: &Wanted,
) -> Result<Vec<SitePlan>, NoSites> {
    let ((mut sites, refused), endings) = if let Some(engine) = engine {
        let counting = wanted.counting(engine, functions.len());
        let counting = counting.map_err(|error| NoSites::Other(fail(error)))?;
        let asked = wanted.asked(&counting, Decides::Kernel);
        (engine.plan_functions(functions, asked), engine.plan_endings())
    } else {
        let runtime = Runtime::of(binary).map_err(|error| NoSites::Other(fail(error)))?;
        // What lies behind pointers is read from the program itself.
        let mut nowhere = |_: &spelunk_bpf::Layout| None;
        let mut layouts = Layouts::new(binary, verbosity(args).load_config(), &mut nowhere);
        let counting = Counting::default();
        let asked = wanted.asked(&counting, Decides::Interpreter);
        (
            planning::functions(binary, runtime, &mut layouts, functions, asked),
            planning::endings(binary, runtime, &mut layouts),
        )
    };
    let beyond = |(_, why): &(String, FunctionError)| match why {
        FunctionError::Unfit(unfit @ Unfit::NotLowered(_)) => Some(unfit.clone()),
        _ => None,
    };
    if sites.is_empty()
        && let Some(why) = refused.iter().find_map(beyond)
    {
        return Err(NoSites::NotLowered(why));
    }
    for (function, why) in &refused {
        eprintln!("unable to set tracepoint on function {function}: {why}");
    }
    if sites.is_empty() {
        return Err(NoSites::Other("no breakpoints set".to_owned()));
    }
    let traced: HashSet<_> = sites.iter().map(|site| site.addr).collect();
    sites.extend(endings.into_iter().filter(|site| !traced.contains(&site.addr)));
    Ok(sites)
}

/// Why the kernel does not trace.
enum NotInKernel {
    /// It would not take the probes; the program has not been let go yet.
    Refused(Failure),
    /// Something else is wrong.
    Failed(Failure),
}

/// A trace that is about to begin.
struct Trace<'a> {
    args: &'a TraceArgs,
    binary: Arc<Binary>,
    pattern: Regex,
    interrupts: Interrupts,
    running: Running,
    /// Which calls are shown, by their number.
    rule: Option<HitRule>,
}

impl Trace<'_> {
    /// Traces with probes; answers how the program ended, if it did.
    fn in_kernel(&mut self, engine: &mut Engine<()>, sites: &[SitePlan]) -> Result<Option<ExitStatus>, NotInKernel> {
        let failed = |error: String| NotInKernel::Failed(error);
        let not_installed = |error| match error {
            EngineError::Bpf(error) => NotInKernel::Refused(error.to_string()),
            error => NotInKernel::Failed(error.to_string()),
        };
        let place = &self.running.place;
        if self.args.follow_children {
            engine.follow_children(place).map_err(not_installed)?;
        }
        let sites = sites.iter().map(|site| (site.clone(), ())).collect();
        let link = engine.install(place, sites).map_err(not_installed)?;
        let mut printer = self.printer(Some(engine.losses()), Some(engine.hit_counts()));
        if let Some(family) = engine.family() {
            children::adopt(family, place).map_err(|error| failed(error.to_string()))?;
            printer = printer.following(Processes::following(place.pid()));
        }
        let (unread, closed) = bounded(1);
        let printing = Printing { printer, unread };
        let reader = engine
            .read(printing)
            .ok_or_else(|| failed("the trace's reader could not be started".to_owned()))?;
        report_refused(engine, &link);
        self.running.release().map_err(failed)?;
        report_inlined(&self.binary, &self.pattern);

        let ended = self.running.wait(&self.interrupts, &closed, engine.family());
        let detaching = Instant::now();
        link.detach();
        tracing::debug!("probes detached in {:?}", detaching.elapsed());
        reader.finish();
        let unfollowed = engine.family().map_or(0, Family::unfollowed);
        if unfollowed > 0 {
            eprintln!("spelunk: {unfollowed} child processes were not followed: there were too many at once");
        }
        let accounting = engine.accounting();
        let counters = accounting.total();
        if counters.ring_full > 0 {
            eprintln!(
                "spelunk: {} of {} records were lost because the ring was full; trace fewer functions, or set SPELUNK_RING_BYTES to a larger size",
                counters.ring_full, counters.hits
            );
        }
        self.tell(&accounting);
        Ok(ended)
    }

    /// Says what became of the hits, if that is asked for or not all were shown.
    fn tell(&self, accounting: &Accounting) {
        if self.args.stats || accounting.is_telling() {
            eprint!("{}", accounting.table());
        }
    }

    /// Traces by stopping the program at each call and return; answers how it ended, if it did.
    fn by_stops(&mut self, sites: Vec<SitePlan>) -> Result<Option<ExitStatus>, Failure> {
        let place = self.running.place.clone();
        check_code(&self.binary, &place, sites.iter()).map_err(fail)?;
        let inferior = match &mut self.running.launched {
            Some(launched) => Inferior::seize_held(launched),
            None => Inferior::seize(place.pid(), Seize { kill_with_us: false }),
        };
        let inferior = inferior.map_err(|error| format!("could not trace process {}: {error}", place.pid()))?;
        // Nobody has the number of a process that is traced. If this is another than the one that was asked for, it is let go here.
        place.confirm().map_err(fail)?;
        let bias = std::fs::read(format!("/proc/{}/auxv", place.pid()))
            .ok()
            .and_then(|auxv| load_bias(&self.binary, &auxv))
            .ok_or_else(|| format!("could not find out where process {} was loaded", place.pid()))?;
        let told = self.told_to_end(inferior.kicker())?;
        let mut stops = Stops::new(inferior, &self.binary, bias, sites).map_err(fail)?;
        report_inlined(&self.binary, &self.pattern);
        let mut printer = self.printer(None, None);
        let over = stops
            .run(&mut printer, &|| told.load(Ordering::Acquire))
            .map_err(fail)?;
        let launched = self.running.launched.is_some();
        let ended = match over {
            Over::Exited(status) => Some(status),
            Over::Told | Over::Unread if launched => Some(stops.into_inferior().kill()),
            Over::Told | Over::Unread => {
                stops.into_inferior().detach().map_err(fail)?;
                None
            }
        };
        self.tell(&printer.accounting());
        Ok(ended)
    }

    /// Becomes true when the user has had enough; a program that was launched is given time to end by itself, as a terminal's Ctrl-C reached it too.
    fn told_to_end(&self, kicker: Kicker) -> Result<Arc<AtomicBool>, Failure> {
        let told = Arc::new(AtomicBool::new(false));
        let (tell, received) = (told.clone(), self.interrupts.received().clone());
        let grace = self.running.launched.is_some().then_some(GRACE);
        thread::Builder::new()
            .name("interrupts".into())
            .spawn(move || {
                if received.recv().is_err() {
                    return;
                }
                if let Some(grace) = grace {
                    let _ = received.recv_timeout(grace);
                }
                tell.store(true, Ordering::Release);
                kicker.kick();
            })
            .map_err(fail)?;
        Ok(told)
    }

    fn printer(&self, losses: Option<Losses>, kernel: Option<HitCounts>) -> Printer {
        let args = self.args;
        Printer::new(
            self.binary.clone(),
            verbosity(args),
            losses,
            Passing::new(self.binary.clone(), kernel, self.rule),
            args.timing,
            args.timestamp,
        )
    }
}

/// The verbosity asked for; Delve takes other numbers too, and shows as little as for 0 or as much as for 4.
fn verbosity(args: &TraceArgs) -> Verbosity {
    Verbosity(u8::try_from(args.verbosity.clamp(0, 4)).unwrap_or(0))
}

/// Prints what the kernel records.
struct Printing {
    printer: Printer,
    /// Told when nobody reads any more what is printed.
    unread: Sender<()>,
}

impl Consumer<()> for Printing {
    fn record(&mut self, site: &Arc<Installed<()>>, record: &RecordView<'_>) {
        self.printer.record(site, record, None);
    }

    fn flush(&mut self) {
        if self.printer.flush().is_err() {
            // One message is enough.
            let _ = self.unread.try_send(());
        }
    }
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
    Process(Place),
}

impl Subject {
    fn find(args: &TraceArgs) -> Result<Subject, Failure> {
        match &args.target {
            TraceTarget::Package { .. } => match args.build().map_err(fail)? {
                Some(built) => Ok(Subject::Built(built)),
                None => Err("there is nothing to build".to_owned()),
            },
            TraceTarget::Exec(path) => Ok(Subject::Existing(path.clone())),
            TraceTarget::Pid(pid) => Ok(Subject::Process(Arc::new(Identity::attached(*pid).map_err(fail)?))),
        }
    }

    fn path(&self) -> &Path {
        match self {
            Subject::Built(built) => built.path(),
            Subject::Existing(path) => path,
            Subject::Process(process) => process.name(),
        }
    }

    /// Opens the binary whose debug information describes the program.
    fn open(&self, args: &TraceArgs) -> Result<Binary, Failure> {
        let Subject::Process(process) = self else {
            return Binary::open(self.path()).map_err(fail);
        };
        let file = args.debug_file.as_deref().unwrap_or(process.name());
        let binary = Binary::open(file).map_err(|error| match error {
            OpenError::Stripped { .. } if args.debug_file.is_none() => {
                format!("{error}; an unstripped copy of the same build can be given with --exec")
            }
            error => error.to_string(),
        })?;
        let (analysed, runs) = (binary.build_id(), process.build_id().map_err(fail)?);
        if analysed != runs {
            return Err(format!(
                "{} is not the program that process {} runs: its build id is {analysed}, that of the process is {runs}",
                file.display(),
                process.pid()
            ));
        }
        Ok(binary)
    }

    fn start(&self, args: &TraceArgs) -> Result<Running, Failure> {
        let Subject::Process(process) = self else {
            let launch = Launch {
                program: self.path().to_owned(),
                args: args.target_args.iter().map(Into::into).collect(),
                env: Vec::new(),
                cwd: args.directory.clone(),
                output: Output::Inherit,
                inherit_stdin: true,
                ..Launch::default()
            };
            let launched = launch
                .start_here()
                .map_err(|error| format!("could not launch process: {error}"))?;
            let exit = launched.exit.clone();
            return Ok(Running {
                place: Arc::new(Identity::launched(launched.pid, self.path()).map_err(fail)?),
                launched: Some(launched),
                exit,
            });
        };
        let pid = process.pid();
        let exit = watch(pid).map_err(|error| format!("could not attach to pid {pid}: {error}"))?;
        Ok(Running {
            place: Arc::clone(process),
            launched: None,
            exit,
        })
    }
}

/// How often it is looked whether children of a program that has ended have ended too.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Waits until all that are followed have ended, or the user has had enough: they run on then.
fn wait_for_all(family: Option<&Family>, interrupts: &Interrupts, closed: &Receiver<()>) {
    let Some(family) = family else { return };
    loop {
        match family.members() {
            Ok(members) if members.is_empty() => return,
            Ok(_) => {}
            Err(error) => return tracing::error!("{error}"),
        }
        select! {
            recv(interrupts.received()) -> _ => return,
            recv(closed) -> _ => return,
            default(LOOK_AGAIN) => {}
        }
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

    /// Waits until the process ends, and the `family` that it may have, or the user has had enough.
    fn wait(&self, interrupts: &Interrupts, closed: &Receiver<()>, family: Option<&Family>) -> Option<ExitStatus> {
        select! {
            recv(self.exit) -> status => {
                wait_for_all(family, interrupts, closed);
                status.ok()
            }
            recv(closed) -> _ => {
                let launched = self.launched.as_ref()?;
                launched.kill();
                self.exit.recv().ok()
            }
            recv(interrupts.received()) -> _ => {
                let launched = self.launched.as_ref()?;
                // A terminal's Ctrl-C reached the program too: what it does to end well, and its last calls, are still traced.
                let grace = crossbeam_channel::after(GRACE);
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
}
