//! Commands and flags.
//!
//! Delve's flags are global: each command accepts all of them, before and after its name, and the last one counts.

use clap::{Args, Parser, Subcommand};

use super::go_values::{boolean, integer};

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    about = "A debug server for Go programs, with logpoints and traces that run in the kernel.",
    long_about = "spelunk is a debug server for Go programs on Linux, with Delve's command line and protocols.\n\n\
        Its logpoints and traces run in the kernel, as eBPF uprobes, and do not stop the program.\n\n\
        Pass flags to the program you are tracing using `--`, for example:\n\n\
        `spelunk trace --exec ./hello main.serve -- server --config conf/config.toml`",
    args_override_self = true,
    disable_version_flag = true,
    subcommand_value_name = "command"
)]
pub(super) struct Arguments {
    /// Flags of all commands.
    #[command(flatten)]
    pub(super) global: Global,
    /// What to do.
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

/// Flags of all commands.
#[derive(Args, Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is one switch of the command line")]
#[command(next_help_heading = "Global Flags")]
pub(super) struct Global {
    /// Allows a headless server to accept multiple client connections via JSON-RPC or DAP.
    #[arg(long, global = true, default_value = "false", default_missing_value = "true", num_args = 0..=1, require_equals = true, value_parser = boolean, hide_default_value = true, hide_possible_values = true)]
    pub(super) accept_multiclient: bool,
    /// Allows interactive sessions that don't have a terminal as stdin, stdout and stderr.
    #[arg(long, global = true, default_value = "false", default_missing_value = "true", num_args = 0..=1, require_equals = true, value_parser = boolean, hide_default_value = true)]
    pub(super) allow_non_terminal_interactive: bool,
    /// Lets web pages of this origin, such as `http://localhost:3000`, call a headless server over HTTP and WebSocket; "*" lets all. (spelunk only)
    #[arg(long, global = true, value_name = "stringArray")]
    pub(super) allow_origin: Vec<String>,
    /// Lets clients of a headless server subscribe to what the program writes, which then is a pipe to it; it is still written to the server's own output. (spelunk only)
    #[arg(long, global = true, default_value = "false", default_missing_value = "true", num_args = 0..=1, require_equals = true, value_parser = boolean, hide_default_value = true)]
    pub(super) capture_output: bool,
    /// Selects JSON-RPC API version when headless. The only valid value is 2.
    #[arg(long, global = true, default_value = "2", value_parser = integer, value_name = "int", allow_negative_numbers = true)]
    pub(super) api_version: i64,
    /// Backend selection (see 'help backend').
    #[arg(long, global = true, default_value = "default", value_name = "string")]
    pub(super) backend: String,
    /// Build flags, to be passed to the compiler. For example: --build-flags="-tags=integration -mod=vendor -cover -v"
    #[arg(
        long,
        global = true,
        default_value = "",
        value_name = "string",
        allow_hyphen_values = true,
        hide_default_value = true
    )]
    pub(super) build_flags: String,
    /// Exits if the version of Go in use is not compatible (too old or too new) with the version of spelunk.
    #[arg(long, global = true, default_value = "true", default_missing_value = "true", num_args = 0..=1, require_equals = true, value_parser = boolean, value_name = "bool")]
    pub(super) check_go_version: bool,
    /// Disables address space randomization.
    #[arg(long, global = true, default_value = "false", default_missing_value = "true", num_args = 0..=1, require_equals = true, value_parser = boolean, hide_default_value = true)]
    pub(super) disable_aslr: bool,
    /// Run debug server only, in headless mode. Server will accept both JSON-RPC or DAP client connections.
    #[arg(long, global = true, default_missing_value = "true", num_args = 0..=1, require_equals = true, value_parser = boolean)]
    pub(super) headless: Option<bool>,
    /// Init file, executed by the terminal client.
    #[arg(
        long,
        global = true,
        default_value = "",
        value_name = "string",
        hide_default_value = true
    )]
    pub(super) init: String,
    /// Debugging server listen address. Prefix with 'unix:' to use a unix domain socket.
    #[arg(short, long, global = true, default_value = "127.0.0.1:0", value_name = "string")]
    pub(super) listen: String,
    /// Enable debugging server logging.
    #[arg(long, global = true, default_value = "false", default_missing_value = "true", num_args = 0..=1, require_equals = true, value_parser = boolean, hide_default_value = true)]
    pub(super) log: bool,
    /// Writes logs to the specified file or file descriptor (see 'help log').
    #[arg(
        long,
        global = true,
        default_value = "",
        value_name = "string",
        hide_default_value = true
    )]
    pub(super) log_dest: String,
    /// Comma separated list of components that should produce debug output (see 'help log').
    #[arg(
        long,
        global = true,
        default_value = "",
        value_name = "string",
        hide_default_value = true
    )]
    pub(super) log_output: String,
    /// Only connections from the same user that started this server are allowed to connect.
    #[arg(long, global = true, default_value = "true", default_missing_value = "true", num_args = 0..=1, require_equals = true, value_parser = boolean, value_name = "bool")]
    pub(super) only_same_user: bool,
    /// Specifies redirect rules for target process (see 'help redirect').
    #[arg(short, long, global = true, value_name = "stringArray")]
    pub(super) redirect: Vec<String>,
    /// Working directory for running the program.
    #[arg(
        long,
        global = true,
        default_value = "",
        value_name = "string",
        hide_default_value = true
    )]
    pub(super) wd: String,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Attach to running process and begin debugging.
    #[command(args_override_self = true)]
    Attach(AttachFlags),
    /// Connect to a headless debug server with a terminal client.
    #[command(args_override_self = true)]
    Connect(AnyArguments),
    /// Examine a core dump.
    #[command(args_override_self = true)]
    Core(CoreFlags),
    /// Starts a headless TCP server communicating via Debug Adaptor Protocol (DAP).
    ///
    /// The server is always headless and requires a DAP client like VS Code to connect and request a binary
    /// to be launched or a process to be attached to. The following modes can be specified via the client's launch config:
    /// - launch + exec   (executes precompiled binary)
    /// - launch + debug  (builds and launches)
    /// - launch + test   (builds and tests)
    /// - attach + local  (attaches to a running process)
    ///
    /// Program and output binary paths will be interpreted relative to the server's working directory.
    ///
    /// This server serves one client (--accept-multiclient is ignored) and exits when its session ends.
    #[command(args_override_self = true, verbatim_doc_comment)]
    Dap(DapFlags),
    /// Compile and begin debugging main package in current directory, or the package specified.
    #[command(args_override_self = true)]
    Debug(DebugFlags),
    /// Execute a precompiled binary, and begin a debug session.
    #[command(args_override_self = true)]
    Exec(ExecFlags),
    /// Compile test binary and begin debugging program.
    #[command(args_override_self = true)]
    Test(TestFlags),
    /// Compile and begin tracing program.
    ///
    /// The trace command probes every function whose name matches the regular expression, and prints each call with its
    /// arguments and each return with its results. The probes run in the kernel and do not stop the program.
    ///
    /// What is traced is printed to stderr, so if you would like to only see the output of the program you can redirect stderr.
    #[command(args_override_self = true)]
    Trace(TraceFlags),
    /// Prints version.
    #[command(args_override_self = true)]
    Version(VersionFlags),
    /// Says what this machine and this user can do, and how to get the rest.
    Doctor,
    /// Help about the --backend flag.
    Backend,
    /// Help about logging flags.
    Log,
    /// Help about file redirection.
    Redirect,
    /// Deprecated command. Use 'debug' instead.
    #[command(hide = true)]
    Run,
    /// Replays a rr trace.
    #[command(hide = true)]
    Replay(AnyArguments),
    /// Prints what editors hand back as 'guessSubstitutePath'.
    #[command(hide = true)]
    SubstitutePathGuessHelper,
}

/// Arguments that are only counted.
#[derive(Args, Debug)]
pub(super) struct AnyArguments {
    /// Address, path or recording.
    pub(super) arguments: Vec<String>,
}

/// Flags of `attach`.
#[derive(Args, Debug)]
pub(super) struct AttachFlags {
    /// Process id, and its executable.
    #[arg(value_name = "pid [executable]")]
    pub(super) arguments: Vec<String>,
    /// Continue the debugged process on start.
    #[arg(long = "continue", default_value = "false", default_missing_value = "true", num_args = 0..=1, require_equals = true, value_parser = boolean, hide_default_value = true)]
    pub(super) continue_on_start: bool,
    /// Wait for a process with a name beginning with this prefix.
    #[arg(long, default_value = "", value_name = "string", hide_default_value = true)]
    pub(super) waitfor: String,
    /// Interval between checks of the process list, in millisecond.
    #[arg(long, default_value = "1", value_name = "float")]
    pub(super) waitfor_interval: f64,
    /// Total time to wait for a process.
    #[arg(long, default_value = "0", value_name = "float")]
    pub(super) waitfor_duration: f64,
}

/// Flags of `core`.
#[derive(Args, Debug)]
pub(super) struct CoreFlags {
    /// Executable and core file.
    #[arg(value_name = "executable> <core")]
    pub(super) arguments: Vec<String>,
    /// For coredumpctl, which passes it.
    #[arg(short, hide = true)]
    pub(super) core: bool,
}

/// Flags of `dap`.
#[derive(Args, Debug)]
pub(super) struct DapFlags {
    /// Address where the DAP client is waiting for the DAP server to dial in. Prefix with 'unix:' to use a unix domain socket.
    #[arg(long, default_value = "", value_name = "string", hide_default_value = true)]
    pub(super) client_addr: String,
    /// Lets a logpoint stop a program that was attached to at each hit, where the kernel cannot serve it, unless the client's configuration says otherwise.
    #[arg(long)]
    pub(super) allow_stop_for_logpoints: bool,
    /// Ignored, with a warning.
    #[arg(hide = true)]
    pub(super) arguments: Vec<String>,
    /// Ignored, with a warning.
    #[arg(last = true, hide = true)]
    pub(super) target_arguments: Vec<String>,
}

/// Flags of `debug`.
#[derive(Args, Debug)]
pub(super) struct DebugFlags {
    #[command(flatten)]
    pub(super) target: TargetFlags,
    /// Output path for the binary.
    #[arg(long, default_value = "", value_name = "string", hide_default_value = true)]
    pub(super) output: String,
}

/// Flags of `exec`.
#[derive(Args, Debug)]
pub(super) struct ExecFlags {
    #[command(flatten)]
    pub(super) target: TargetFlags,
}

/// Flags of `debug` and `exec`.
#[derive(Args, Debug)]
pub(super) struct TargetFlags {
    /// Package or binary.
    pub(super) arguments: Vec<String>,
    /// Arguments for the program.
    #[arg(last = true)]
    pub(super) target_arguments: Vec<String>,
    /// Continue the debugged process on start.
    #[arg(long = "continue", default_value = "false", default_missing_value = "true", num_args = 0..=1, require_equals = true, value_parser = boolean, hide_default_value = true)]
    pub(super) continue_on_start: bool,
    /// TTY to use for the target program.
    #[arg(long, default_value = "", value_name = "string", hide_default_value = true)]
    pub(super) tty: String,
    /// Delete directory containing debug recording on detach.
    #[arg(long, default_value = "true", default_missing_value = "true", num_args = 0..=1, require_equals = true, value_parser = boolean, hide = true)]
    pub(super) rr_cleanup: bool,
}

/// Flags of `test`.
#[derive(Args, Debug)]
pub(super) struct TestFlags {
    /// Package.
    pub(super) arguments: Vec<String>,
    /// Arguments for the test.
    #[arg(last = true)]
    pub(super) target_arguments: Vec<String>,
    /// Output path for the binary.
    #[arg(long, default_value = "", value_name = "string", hide_default_value = true)]
    pub(super) output: String,
}

/// Flags of `trace`.
#[derive(Args, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is one switch of the command line")]
pub(super) struct TraceFlags {
    /// Packages to build, and what the names of the functions match, last.
    #[arg(value_name = "package> <regexp", hide = true)]
    pub(super) arguments: Vec<String>,
    /// Arguments for the program.
    #[arg(last = true, hide = true)]
    pub(super) target_arguments: Vec<String>,
    /// Trace in the kernel, using eBPF. This is the default.
    #[arg(long, default_missing_value = "true", num_args = 0..=1, require_equals = true, value_parser = boolean, value_name = "bool")]
    pub(super) ebpf: Option<bool>,
    /// Binary file to exec and trace.
    #[arg(short, long, default_value = "", value_name = "string", hide_default_value = true)]
    pub(super) exec: String,
    /// Show only calls of which this Go expression of their arguments is true, and their returns. (spelunk only)
    #[arg(
        long,
        default_value = "",
        value_name = "string",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    pub(super) cond: String,
    /// Show only some of the calls of each function, by their number: "> 3", "== 4", "% 100". Calls that --cond leaves out are not counted. (spelunk only)
    #[arg(long, default_value = "", value_name = "string", hide_default_value = true)]
    pub(super) hitcond: String,
    /// Count the calls of each goroutine for themselves, for --hitcond. (spelunk only)
    #[arg(long, default_value = "false", default_missing_value = "true", num_args = 0..=1, require_equals = true, value_parser = boolean, value_name = "bool", hide_default_value = true)]
    pub(super) hitcond_per_goroutine: bool,
    /// Trace all children of the function to the required depth.
    #[arg(long, default_value = "0", value_parser = integer, value_name = "int", hide_default_value = true, allow_negative_numbers = true)]
    pub(super) follow_calls: i64,
    /// Trace processes that the program makes of itself as well, by forking or by executing its own file. (spelunk only)
    #[arg(long, default_value = "false", default_missing_value = "true", num_args = 0..=1, require_equals = true, value_parser = boolean, value_name = "bool", hide_default_value = true)]
    pub(super) follow_children: bool,
    /// Output path for the binary.
    #[arg(long, default_value = "", value_name = "string", hide_default_value = true)]
    pub(super) output: String,
    /// Pid to attach to.
    #[arg(short, long, default_value = "0", value_parser = integer, value_name = "int", hide_default_value = true, allow_negative_numbers = true)]
    pub(super) pid: i64,
    /// Show stack trace with given depth.
    #[arg(short, long, default_value = "0", value_parser = integer, value_name = "int", hide_default_value = true, allow_negative_numbers = true)]
    pub(super) stack: i64,
    /// Trace a test binary.
    #[arg(short, long, default_value = "false", default_missing_value = "true", num_args = 0..=1, require_equals = true, value_parser = boolean, value_name = "bool", hide_default_value = true)]
    pub(super) test: bool,
    /// Show timestamp in the output.
    #[arg(long, default_value = "false", default_missing_value = "true", num_args = 0..=1, require_equals = true, value_parser = boolean, value_name = "bool", hide_default_value = true)]
    pub(super) timestamp: bool,
    /// Show at most so many calls of each function in a second, and their returns. (spelunk only)
    #[arg(long, default_value = "0", value_parser = integer, value_name = "int", hide_default_value = true, allow_negative_numbers = true)]
    pub(super) rate: i64,
    /// Show at the end how often each function was called, and what became of the calls; shown anyway if not all of them were. (spelunk only)
    #[arg(long, default_value = "false", default_missing_value = "true", num_args = 0..=1, require_equals = true, value_parser = boolean, value_name = "bool", hide_default_value = true)]
    pub(super) stats: bool,
    /// Show how long each call took behind its results. (spelunk only)
    #[arg(long, default_value = "false", default_missing_value = "true", num_args = 0..=1, require_equals = true, value_parser = boolean, value_name = "bool", hide_default_value = true)]
    pub(super) timing: bool,
    /// Parameter verbosity: 0=values, 1=types, 2=inline, 3=expanded, 4=full.
    #[arg(short, long, default_value = "0", value_parser = integer, value_name = "int", hide_default_value = true, allow_negative_numbers = true)]
    pub(super) verbose: i64,
}

/// Flags of `version`.
#[derive(Args, Debug)]
pub(super) struct VersionFlags {
    /// Print verbose version info.
    #[arg(short, long)]
    pub(super) verbose: bool,
}
