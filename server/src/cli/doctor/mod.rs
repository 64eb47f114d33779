//! `doctor`: what this machine and this user can do, and what to type to get the rest.

mod trial;

use std::{fmt::Write, path::Path, process::ExitCode};

use super::topics;
use crate::toolchain::Toolchain;

/// One capability of the machine or of the user.
struct Finding {
    good: bool,
    name: &'static str,
    found: String,
}

impl Finding {
    fn new(good: bool, name: &'static str, found: impl Into<String>) -> Finding {
        Finding {
            good,
            name,
            found: found.into(),
        }
    }
}

/// Numbers of capabilities (include/uapi/linux/capability.h).
const CAPABILITIES: [(u32, &str); 3] = [(19, "CAP_SYS_PTRACE"), (38, "CAP_PERFMON"), (39, "CAP_BPF")];
const CAP_SYS_ADMIN: u32 = 21;

/// Prints one line for each capability. The exit status is 0 if functions can be traced.
pub(super) fn print() -> ExitCode {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let held = effective_capabilities(&status).unwrap_or_default();
    let remedy = remedy();

    let mut findings = vec![
        Finding::new(true, "kernel", spelunk_bpf::kernel_release()),
        kernel_types(Path::new("/sys/kernel/btf/vmlinux")),
    ];
    findings.extend(
        CAPABILITIES
            .iter()
            .rev()
            .map(|&(number, name)| capability(held, number, name, &remedy)),
    );
    let tried = trial::run();
    let traces = tried.iter().all(|(_, outcome)| outcome.is_ok());
    findings.extend(tried.into_iter().map(|(name, outcome)| match outcome {
        Ok(found) => Finding::new(true, name, found),
        Err(error) => Finding::new(false, name, error),
    }));
    findings.push(other_processes(held));
    findings.push(go_toolchain());

    let mut text = String::new();
    for finding in &findings {
        let mark = if finding.good { "yes" } else { "no" };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{mark:<4} {:<20} {}", finding.name, finding.found);
    }
    text.push_str(if traces {
        "\nTraces and logpoints work here. Delve is not needed for them.\n"
    } else {
        "\nTraces and logpoints do not work here yet; the lines that begin with \"no\" say what is missing.\n"
    });
    let printed = topics::print(&text);
    if traces { printed } else { ExitCode::FAILURE }
}

/// The command that gives the program what it needs.
fn remedy() -> String {
    let program =
        std::env::current_exe().map_or_else(|_| "$(which spelunk)".to_owned(), |path| path.display().to_string());
    format!("sudo setcap cap_bpf,cap_perfmon,cap_sys_ptrace+ep {program}")
}

/// The `CapEff` line of `proc_pid_status(5)`.
fn effective_capabilities(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

fn holds(held: u64, capability: u32) -> bool {
    held >> capability & 1 == 1
}

fn capability(held: u64, number: u32, name: &'static str, remedy: &str) -> Finding {
    // Since Linux 5.8 these are parts of CAP_SYS_ADMIN, except for the debugger's.
    if holds(held, number) {
        Finding::new(true, name, "held")
    } else if name != "CAP_SYS_PTRACE" && holds(held, CAP_SYS_ADMIN) {
        Finding::new(true, name, "held as a part of CAP_SYS_ADMIN")
    } else if name == "CAP_SYS_PTRACE" {
        Finding::new(
            false,
            name,
            format!("only needed for processes that change their user or cannot be dumped: {remedy}"),
        )
    } else {
        Finding::new(false, name, format!("not held: {remedy}"))
    }
}

fn kernel_types(path: &Path) -> Finding {
    const NAME: &str = "kernel types (BTF)";
    match std::fs::File::open(path) {
        Ok(_) => Finding::new(true, NAME, path.display().to_string()),
        Err(error) => Finding::new(
            false,
            NAME,
            format!(
                "{}: {error}; use a kernel built with CONFIG_DEBUG_INFO_BTF=y, as those of the distributions are",
                path.display()
            ),
        ),
    }
}

fn other_processes(held: u64) -> Finding {
    const NAME: &str = "running processes";
    let scope = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope");
    let scope = scope.ok().and_then(|text| text.trim().parse::<u32>().ok()).unwrap_or(0);
    if nix::unistd::geteuid().is_root() {
        return Finding::new(true, NAME, "those of every user can be traced");
    }
    let whose = if holds(held, 19) {
        "those of this user, also privileged ones"
    } else {
        "those of this user"
    };
    let stops = match scope {
        0 => String::new(),
        scope => format!(" (kernel.yama.ptrace_scope is {scope}, which restricts stopping, not tracing)"),
    };
    Finding::new(true, NAME, format!("{whose} can be traced{stops}"))
}

fn go_toolchain() -> Finding {
    const NAME: &str = "Go toolchain";
    match Toolchain::find(&[]) {
        Ok(toolchain) => match toolchain.version() {
            Some(version) => Finding::new(true, NAME, format!("{version} at {}", toolchain.path().display())),
            None => Finding::new(
                false,
                NAME,
                format!(
                    "{} does not run; programs cannot be built from source",
                    toolchain.path().display()
                ),
            ),
        },
        Err(missing) => Finding::new(false, NAME, missing.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_read_from_the_effective_set() {
        let held = effective_capabilities("CapPrm:\t0\nCapEff:\t000000c000000000\nCapBnd:\t1ff\n").expect("a set");
        assert!(holds(held, 38) && holds(held, 39));
        assert!(!holds(held, 19) && !holds(held, CAP_SYS_ADMIN));
        assert_eq!(effective_capabilities("CapEff:\tx\n"), None);
    }

    #[test]
    fn what_is_missing_comes_with_what_to_type() {
        let missing = capability(0, 39, "CAP_BPF", "sudo setcap x");
        assert!(
            !missing.good && missing.found.contains("sudo setcap x"),
            "{}",
            missing.found
        );
        let implied = capability(1 << CAP_SYS_ADMIN, 39, "CAP_BPF", "");
        assert!(implied.good);
        let not_implied = capability(1 << CAP_SYS_ADMIN, 19, "CAP_SYS_PTRACE", "");
        assert!(!not_implied.good);
        assert!(!kernel_types(Path::new("/does/not/exist")).good);
    }
}
