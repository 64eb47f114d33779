//! `trace`: what is to be traced, and how.

use std::{path::PathBuf, process::ExitCode};

use super::arguments::{Global, TraceFlags};
use crate::go_versions::UnknownVersions;
use crate::toolchain::{Binary, Build, BuildError, BuildFlags, BuildKind};

/// What is to be traced, checked as far as the command line goes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is one switch of the command line")]
pub(crate) struct TraceArgs {
    /// The program.
    pub(crate) target: TraceTarget,
    /// Arguments for the program, when it is started.
    pub(crate) target_args: Vec<String>,
    /// What the names of functions match.
    pub(crate) regexp: String,
    /// How much is printed of each value: 0 to 4. Other numbers print as little as Delve does.
    pub(crate) verbosity: i64,
    /// Whether each line begins with the time.
    pub(crate) timestamp: bool,
    /// Whether a return tells how long the call took.
    pub(crate) timing: bool,
    /// How many calls of each function are shown in a second; all when absent.
    pub(crate) rate: Option<u32>,
    /// Whether it is told at the end what became of the hits, even if all of them were shown.
    pub(crate) stats: bool,
    /// For a process: the file with the debug information, where the one that runs has none.
    pub(crate) debug_file: Option<PathBuf>,
    /// The working directory of a program that is started.
    pub(crate) directory: Option<PathBuf>,
    /// What becomes of a program whose Go version is not known.
    pub(crate) unknown_versions: UnknownVersions,
    /// Whether to trace in the kernel or by stopping the program; as the machine allows when absent.
    pub(crate) in_kernel: Option<bool>,
    /// Whether processes that the program makes of itself are traced too.
    pub(crate) follow_children: bool,
    /// What must be true of a call to be shown: a Go expression; or nothing.
    pub(crate) condition: Option<String>,
    /// Which of those calls are shown, by their number in each function: `> 3`; or nothing.
    pub(crate) hit_condition: Option<String>,
    /// Whether the calls of each goroutine are counted for themselves.
    pub(crate) per_goroutine: bool,
}

/// A program to be traced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TraceTarget {
    /// It is built and started.
    Package {
        /// Packages or files, as `go build` takes them.
        packages: Vec<String>,
        /// Whether its tests are built.
        test: bool,
        /// Where the binary goes; a name is made up when absent.
        output: Option<PathBuf>,
        /// Further flags for the build.
        flags: BuildFlags,
    },
    /// It is started.
    Exec(PathBuf),
    /// It runs already.
    Pid(i32),
}

impl TraceArgs {
    /// Whether the program may be stopped at each call where the kernel cannot be used.
    pub(crate) fn may_stop(&self) -> bool {
        self.in_kernel.is_none() && !self.follow_children && self.rate.is_none()
    }

    /// Builds the program if it is to be built; the compiler's messages go to standard error and output.
    /// The binary is removed with what is returned.
    pub(crate) fn build(&self) -> Result<Option<Binary>, BuildError> {
        let TraceTarget::Package {
            packages,
            test,
            output,
            flags,
        } = &self.target
        else {
            return Ok(None);
        };
        let (kind, prefix) = if *test {
            (BuildKind::Test, "debug.test")
        } else {
            (BuildKind::Program, "__debug_bin")
        };
        let here = std::env::current_dir().unwrap_or_else(|_| ".".into());
        let output = match output {
            Some(output) => here.join(output),
            None => Build::reserve_output(&here, prefix)?,
        };
        let build = Build {
            kind,
            packages: packages.clone(),
            flags: flags.clone(),
            output,
            directory: None,
            environment: Vec::new(),
        };
        build.run().map(Some)
    }
}

/// Checks the command line, and traces.
pub(super) fn run(global: &Global, flags: TraceFlags) -> ExitCode {
    if global.headless == Some(true) {
        eprintln!("Warning: headless mode not supported with trace");
    }
    if global.accept_multiclient {
        eprintln!("Warning: accept multiclient mode not supported with trace");
    }
    match read(global, flags) {
        Ok(args) => crate::trace::command::run(&args),
        Err(text) => {
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}

fn read(global: &Global, flags: TraceFlags) -> Result<TraceArgs, String> {
    let mut packages = flags.arguments;
    let given = packages.len();
    let regexp = packages
        .pop()
        .ok_or("you must supply a regexp for functions to trace")?;
    let target = if flags.pid != 0 {
        let pid = i32::try_from(flags.pid).ok().filter(|pid| *pid > 0);
        TraceTarget::Pid(pid.ok_or_else(|| format!("invalid process ID: {}", flags.pid))?)
    } else if flags.exec.is_empty() {
        let output = (!flags.output.is_empty()).then(|| flags.output.into());
        let build_flags = if global.build_flags.is_empty() {
            BuildFlags::None
        } else {
            BuildFlags::Text(global.build_flags.clone())
        };
        TraceTarget::Package {
            packages,
            test: flags.test,
            output,
            flags: build_flags,
        }
    } else if given >= 2 {
        return Err("Cannot specify package when using --exec.".to_owned());
    } else {
        TraceTarget::Exec(flags.exec.clone().into())
    };
    if given >= 3 && flags.follow_calls <= 0 {
        return Err("Need to specify a trace depth of at least 1".to_owned());
    }
    for (given, flag) in [(flags.stack, "--stack"), (flags.follow_calls, "--follow-calls")] {
        if given > 0 {
            return Err(format!(
                "{flag} is not available yet: tracing in the kernel records a call's arguments and results, not its stack or its callees"
            ));
        }
    }
    if flags.follow_children && flags.ebpf == Some(false) {
        return Err("--follow-children needs tracing in the kernel, which --ebpf=false turns off".to_owned());
    }
    let rate = match u32::try_from(flags.rate) {
        Ok(0) => None,
        Ok(rate) => Some(rate),
        Err(_) => return Err(format!("--rate {} is not a number of calls in a second", flags.rate)),
    };
    if rate.is_some() && flags.ebpf == Some(false) {
        return Err("--rate needs tracing in the kernel, which --ebpf=false turns off".to_owned());
    }
    Ok(TraceArgs {
        target,
        target_args: flags.target_arguments,
        regexp,
        verbosity: flags.verbose,
        timestamp: flags.timestamp,
        timing: flags.timing,
        stats: flags.stats,
        rate,
        debug_file: (flags.pid != 0 && !flags.exec.is_empty()).then(|| flags.exec.into()),
        unknown_versions: UnknownVersions::checked(global.check_go_version),
        in_kernel: flags.ebpf,
        follow_children: flags.follow_children,
        condition: Some(flags.cond).filter(|text| !text.trim().is_empty()),
        hit_condition: Some(flags.hitcond).filter(|text| !text.trim().is_empty()),
        per_goroutine: flags.hitcond_per_goroutine,
        directory: (!global.wd.is_empty()).then(|| global.wd.clone().into()),
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::arguments::{Arguments, Command};
    use super::*;

    fn parse(line: &str) -> Result<TraceArgs, String> {
        let arguments = Arguments::try_parse_from(line.split(' ')).map_err(|error| error.to_string())?;
        match arguments.command {
            Some(Command::Trace(flags)) => read(&arguments.global, flags),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn flags_may_stand_anywhere_before_the_dashes() {
        let args = parse("spelunk --wd=/tmp trace --exec ./x main.foo --verbose 2 --timestamp -- a --ebpf=false b")
            .expect("arguments");
        assert_eq!(args.target, TraceTarget::Exec("./x".into()));
        assert_eq!(args.target_args, ["a", "--ebpf=false", "b"]);
        assert_eq!(
            (args.regexp.as_str(), args.verbosity, args.timestamp),
            ("main.foo", 2, true)
        );
        assert_eq!(args.directory, Some("/tmp".into()));
    }

    #[test]
    fn the_last_argument_is_the_expression_and_the_rest_packages() {
        let args = parse("spelunk trace ./cmd ^main -v4 --build-flags=-tags=x --test=true --ebpf").expect("arguments");
        let TraceTarget::Package {
            packages,
            test,
            flags,
            output,
        } = args.target
        else {
            panic!("no package")
        };
        assert_eq!((packages, test, output), (vec!["./cmd".to_owned()], true, None));
        assert_eq!(flags, BuildFlags::Text("-tags=x".to_owned()));
        assert_eq!(args.regexp, "^main");
        assert_eq!(args.verbosity, 4);
        assert!(
            matches!(parse("spelunk trace foo").expect("arguments").target, TraceTarget::Package { packages, .. } if packages.is_empty())
        );
    }

    #[test]
    fn conditions_are_taken_as_they_are_written() {
        let line = [
            "spelunk",
            "trace",
            "foo",
            "--cond",
            "-n < 3",
            "--hitcond=% 5",
            "--hitcond-per-goroutine",
        ];
        let arguments = Arguments::try_parse_from(line).expect("arguments");
        let Some(Command::Trace(flags)) = arguments.command else {
            panic!("no trace")
        };
        let args = read(&arguments.global, flags).expect("arguments");
        assert_eq!(args.condition.as_deref(), Some("-n < 3"));
        assert_eq!(args.hit_condition.as_deref(), Some("% 5"));
        assert!(args.per_goroutine);
        let args = parse("spelunk trace foo").expect("arguments");
        assert_eq!(
            (args.condition, args.hit_condition, args.per_goroutine),
            (None, None, false)
        );
    }

    #[test]
    fn a_rate_is_a_number_of_calls() {
        assert_eq!(
            parse("spelunk trace --rate 100 foo").expect("arguments").rate,
            Some(100)
        );
        assert_eq!(parse("spelunk trace foo").expect("arguments").rate, None);
        assert!(parse("spelunk trace --rate -1 foo").is_err_and(|text| text.contains("--rate -1")));
        assert!(parse("spelunk trace --rate 1 --ebpf=false foo").is_err_and(|text| text.contains("--ebpf=false")));
    }

    #[test]
    fn a_process_is_named_by_a_positive_number() {
        assert_eq!(
            parse("spelunk trace -p 7 foo").expect("arguments").target,
            TraceTarget::Pid(7)
        );
        assert_eq!(
            parse("spelunk trace -p -7 foo"),
            Err("invalid process ID: -7".to_owned())
        );
    }

    #[test]
    fn mistakes_are_told_in_delves_words() {
        assert_eq!(
            parse("spelunk trace"),
            Err("you must supply a regexp for functions to trace".to_owned())
        );
        assert_eq!(
            parse("spelunk trace -- a b"),
            Err("you must supply a regexp for functions to trace".to_owned())
        );
        assert_eq!(
            parse("spelunk trace --exec x pkg foo"),
            Err("Cannot specify package when using --exec.".to_owned())
        );
        assert_eq!(
            parse("spelunk trace a b foo"),
            Err("Need to specify a trace depth of at least 1".to_owned())
        );
    }

    #[test]
    fn what_is_yet_to_come_is_said() {
        assert_eq!(
            parse("spelunk trace --ebpf=false foo").expect("arguments").in_kernel,
            Some(false)
        );
        assert!(parse("spelunk trace --stack 3 foo").is_err_and(|text| text.starts_with("--stack")));
        assert!(parse("spelunk trace foo --follow-calls 2").is_err_and(|text| text.starts_with("--follow-calls")));
        assert!(parse("spelunk trace --ebpf foo").is_ok());
    }

    #[test]
    fn children_are_followed_in_the_kernel_only() {
        assert!(!parse("spelunk trace foo").expect("arguments").follow_children);
        let followed = parse("spelunk trace --follow-children foo").expect("arguments");
        assert!(followed.follow_children && !followed.may_stop());
        let refused = parse("spelunk trace --follow-children --ebpf=false foo");
        assert!(refused.is_err_and(|text| text.starts_with("--follow-children")));
    }

    #[test]
    fn the_last_of_several_flags_counts() {
        assert_eq!(parse("spelunk trace -v 1 -v 3 foo").expect("arguments").verbosity, 3);
        assert_eq!(
            parse("spelunk --wd=/a trace --wd=/b foo").expect("arguments").directory,
            Some("/b".into())
        );
    }
}
