//! `doctor`: what this machine and this user can do, and what to type to get the rest.

mod capabilities;
mod settings;
mod trial;

use std::{fmt::Write, path::Path, process::ExitCode};

use capabilities::Held;

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

/// Prints one line for each capability. The exit status is 0 if functions can be traced.
pub(super) fn print() -> ExitCode {
    let held = Held::by_this_process();
    let mut findings = vec![
        Finding::new(true, "kernel", spelunk_bpf::kernel_release()),
        kernel_types(Path::new("/sys/kernel/btf/vmlinux")),
    ];
    findings.extend(held.findings());
    let tried = trial::run();
    let traces = tried.iter().all(|(_, outcome)| outcome.is_ok());
    findings.extend(tried.into_iter().map(|(name, outcome)| match outcome {
        Ok(found) => Finding::new(true, name, found),
        Err(error) => Finding::new(false, name, error),
    }));
    findings.extend(settings::findings(held.may_ptrace()));
    findings.push(other_processes(held.may_ptrace()));
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

fn other_processes(may_ptrace: bool) -> Finding {
    const NAME: &str = "running processes";
    let whose = if nix::unistd::getuid().is_root() {
        "those of every user can be traced"
    } else if may_ptrace {
        "those of this user can be traced, also privileged ones"
    } else {
        "those of this user can be traced"
    };
    Finding::new(true, NAME, whose)
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
    fn a_kernel_without_types_is_told_how_to_have_them() {
        let missing = kernel_types(Path::new("/does/not/exist"));
        assert!(
            !missing.good && missing.found.contains("CONFIG_DEBUG_INFO_BTF=y"),
            "{}",
            missing.found
        );
    }
}
