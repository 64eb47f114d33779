//! Texts that are printed and nothing else.

use std::{io::Write, process::ExitCode};

/// Prints a text. A closed standard output is nobody's mistake.
pub(super) fn print(text: &str) -> ExitCode {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            eprintln!("could not write to standard output: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

/// `help backend`.
pub(super) const BACKEND: &str = "\
The --backend flag specifies which backend should be used. It exists for the sake of Delve's command line; possible values are:

\tdefault\t\tThe native backend.
\tnative\t\tNative backend: the program runs as a process of this machine.

Delve's backends lldb and rr are not available.
";

/// `help log`.
pub(super) const LOG: &str = "\
Logging can be enabled by specifying the --log flag and using the
--log-output flag to select which components should produce logs.

The argument of --log-output must be a comma separated list of component
names selected from this list:


\tdebugger\tLog debugger commands, builds and probes
\trpc\t\tLog connections
\tdap\t\tLog all DAP messages

Delve's other names (gdbwire, lldbout, debuglineerr, fncall, minidump, stack) are accepted and log nothing.

Additionally --log-dest can be used to specify where the logs should be
written.
If the argument is a number it will be interpreted as a file descriptor,
otherwise as a file path.
This option will also redirect the \"server listening at\" message in headless
and dap modes.
";

/// `help redirect`.
pub(super) const REDIRECT: &str = "\
The standard file descriptors of the target process can be controlled using the '-r' and '--tty' arguments of the commands
debug, exec, test and attach, which are not available in this version.

The syntax for the '-r' argument is:

\t\t-r [source:]destination

Where source is one of 'stdin', 'stdout' or 'stderr' and destination is the path to a file. If the source is omitted stdin is used implicitly.
";
