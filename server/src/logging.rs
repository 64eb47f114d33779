//! `--log`, `--log-output` and `--log-dest`: what is logged, and where to.
//!
//! A line reads as Delve's do, `TIME LEVEL layer=NAME MESSAGE`, so that tools which read one can read the other.

use std::{
    fmt,
    fs::File,
    io::{self, Write},
    os::fd::{AsRawFd, BorrowedFd, RawFd},
    sync::{Arc, Mutex, OnceLock},
};

use tracing::{Event, Subscriber};
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::Writer,
        time::{FormatTime, SystemTime},
    },
    layer::SubscriberExt,
    registry::LookupSpan,
    util::SubscriberInitExt,
};

/// Where `--log-dest` pointed to, for messages that go there whether or not anything is logged.
static DESTINATION: OnceLock<Arc<Mutex<File>>> = OnceLock::new();

/// Names that `--log-output` accepts, with the modules that log under each. Those without a module belong to parts
/// of Delve that have no counterpart here; they are accepted, as configurations of editors name them.
const LAYERS: [(&str, &[&str]); 9] = [
    (
        "debugger",
        &[
            "spelunk::debugger",
            "spelunk::process",
            "spelunk::trace",
            "spelunk::toolchain",
        ],
    ),
    ("dap", &["spelunk::dap"]),
    ("rpc", &["spelunk::transport", "spelunk::rpc", "spelunk::cli"]),
    ("gdbwire", &[]),
    ("lldbout", &[]),
    ("debuglineerr", &[]),
    ("fncall", &[]),
    ("minidump", &[]),
    ("stack", &[]),
];

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    /// As Delve says it.
    #[error("--log-output specified without --log")]
    OutputWithoutLog,
    /// The file of `--log-dest`.
    #[error("could not create log file: open {path}: {}", crate::debugger::go_reason(source))]
    Create {
        /// Its path.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The file descriptor of `--log-dest`.
    #[error("could not use file descriptor {descriptor} of --log-dest: {source}")]
    Descriptor {
        /// Its number.
        descriptor: RawFd,
        /// What the system said.
        source: io::Error,
    },
}

/// Sets logging up, once, before anything else is opened: a descriptor number in `destination` is one that was inherited.
pub(crate) fn set_up(log: bool, output: &str, destination: &str) -> Result<(), LogError> {
    if !destination.is_empty() {
        let file = match destination.parse::<RawFd>() {
            Ok(descriptor) => inherited(descriptor).map_err(|source| LogError::Descriptor { descriptor, source })?,
            Err(_) => File::create(destination).map_err(|source| LogError::Create {
                path: destination.to_owned(),
                source,
            })?,
        };
        // A second call cannot happen outside of tests, where the first destination may stay.
        let _ = DESTINATION.set(Arc::new(Mutex::new(file)));
    }
    if !log && !output.is_empty() {
        return Err(LogError::OutputWithoutLog);
    }
    // What nobody asked for is still shown when it is a warning or an error.
    let mut filter = Targets::new().with_default(LevelFilter::WARN);
    if log {
        let names = if output.is_empty() { "debugger" } else { output };
        for name in names.split(',') {
            match LAYERS.iter().find(|(layer, _)| *layer == name) {
                Some((_, modules)) => {
                    filter = filter.with_targets(modules.iter().map(|module| (*module, LevelFilter::DEBUG)));
                }
                None => eprintln!("Warning: unknown log output value {name:?}, run 'dlv help log' for usage."),
            }
        }
    }
    let lines = tracing_subscriber::fmt::layer()
        .event_format(Lines)
        .with_writer(|| Destination);
    // The only error is that a subscriber is there already, which then serves as well.
    let _ = tracing_subscriber::registry().with(lines).with(filter).try_init();
    Ok(())
}

/// Writes a line that clients wait for, to `--log-dest` if there is one, else to standard output.
pub(crate) fn announce(line: &str) -> io::Result<()> {
    if let Some(file) = DESTINATION.get() {
        let mut file = file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        writeln!(file, "{line}")?;
        return file.flush();
    }
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}

/// A copy of a descriptor that was inherited, closed to programs that we start: a client waits for its end.
fn inherited(descriptor: RawFd) -> io::Result<File> {
    if descriptor < 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: the borrow ends with this function, which runs before any other descriptor is opened or closed; for a
    // number that is not open, duplication fails with EBADF.
    let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor) };
    let copy = borrowed.try_clone_to_owned()?;
    if borrowed.as_raw_fd() > libc::STDERR_FILENO {
        nix::fcntl::fcntl(borrowed, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC))?;
    }
    Ok(File::from(copy))
}

/// Standard error, unless `--log-dest` names another place.
struct Destination;

impl Write for Destination {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match DESTINATION.get() {
            Some(file) => file
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .write(bytes),
            None => io::stderr().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Delve's line format.
struct Lines;

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let data = event.metadata();
        let layer = LAYERS
            .iter()
            .find(|(_, modules)| modules.iter().any(|module| data.target().starts_with(module)))
            .map_or("spelunk", |(name, _)| name);
        SystemTime.format_time(&mut writer)?;
        write!(writer, " {} layer={layer} ", data.level().as_str().to_ascii_lowercase())?;
        context.format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}
