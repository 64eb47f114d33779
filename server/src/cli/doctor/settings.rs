//! Settings of the kernel that decide what an ordinary user may do.

use nix::sys::resource::{Resource, getrlimit};

use super::Finding;

fn sysctl(name: &str) -> Option<i64> {
    let text = std::fs::read_to_string(format!("/proc/sys/{name}")).ok()?;
    text.trim().parse().ok()
}

/// One line for each setting that people look at when probes do not work; most of them are not to blame.
pub(super) fn findings(may_ptrace: bool) -> Vec<Finding> {
    vec![
        unprivileged_bpf(sysctl("kernel/unprivileged_bpf_disabled")),
        paranoid(sysctl("kernel/perf_event_paranoid")),
        locked_memory(getrlimit(Resource::RLIMIT_MEMLOCK).ok().map(|(soft, _)| soft)),
        ptrace_scope(sysctl("kernel/yama/ptrace_scope"), may_ptrace),
    ]
}

fn unprivileged_bpf(value: Option<i64>) -> Finding {
    const NAME: &str = "unprivileged BPF";
    let setting = value.map_or_else(
        || "the kernel has no such setting".to_owned(),
        |value| format!("kernel.unprivileged_bpf_disabled is {value}"),
    );
    Finding::new(
        true,
        NAME,
        format!("{setting}; it does not matter, as probes take CAP_BPF in any case"),
    )
}

fn paranoid(value: Option<i64>) -> Finding {
    const NAME: &str = "perf events";
    let setting = value.map_or_else(
        || "the kernel has no such setting".to_owned(),
        |value| format!("kernel.perf_event_paranoid is {value}"),
    );
    Finding::new(
        true,
        NAME,
        format!("{setting}; it does not matter, as probes are attached without perf events"),
    )
}

fn locked_memory(limit: Option<u64>) -> Finding {
    const NAME: &str = "locked memory";
    let limit = match limit {
        None => "of unknown limit".to_owned(),
        Some(libc::RLIM_INFINITY) => "without a limit".to_owned(),
        Some(bytes) => format!("{} KiB at most", bytes / 1024),
    };
    Finding::new(
        true,
        NAME,
        format!("{limit}; it does not matter, as the kernel counts tables to the cgroup's memory since Linux 5.11"),
    )
}

/// Yama's setting (Documentation/admin-guide/LSM/Yama.rst).
fn ptrace_scope(scope: Option<i64>, may_ptrace: bool) -> Finding {
    const NAME: &str = "stopping";
    const LOOSEN: &str = "sudo sysctl kernel.yama.ptrace_scope=0";
    match scope {
        None | Some(0) => Finding::new(true, NAME, "programs that run already can be attached to and stopped"),
        Some(scope @ 1..=2) if may_ptrace => Finding::new(
            true,
            NAME,
            format!("CAP_SYS_PTRACE overrides kernel.yama.ptrace_scope, which is {scope}"),
        ),
        Some(1) => Finding::new(
            false,
            NAME,
            format!(
                "kernel.yama.ptrace_scope is 1, so programs that run already can be traced and logged, but not stopped: {LOOSEN}"
            ),
        ),
        Some(2) => Finding::new(
            false,
            NAME,
            format!(
                "kernel.yama.ptrace_scope is 2, so nothing can be stopped, traces and logpoints still work: {LOOSEN}"
            ),
        ),
        Some(scope) => Finding::new(
            false,
            NAME,
            format!(
                "kernel.yama.ptrace_scope is {scope}, so nothing can be stopped until the machine is started again with less"
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yama_restricts_stopping_unless_the_capability_is_held() {
        assert!(ptrace_scope(None, false).good && ptrace_scope(Some(0), false).good);
        let restricted = ptrace_scope(Some(1), false);
        assert!(
            !restricted.good && restricted.found.contains("sudo sysctl"),
            "{}",
            restricted.found
        );
        assert!(ptrace_scope(Some(1), true).good && ptrace_scope(Some(2), true).good);
        assert!(!ptrace_scope(Some(2), false).good && !ptrace_scope(Some(3), true).good);
    }

    #[test]
    fn values_are_shown() {
        assert!(unprivileged_bpf(Some(2)).found.contains("is 2;"));
        assert!(paranoid(Some(4)).found.contains("is 4;") && paranoid(None).good);
        assert!(locked_memory(Some(8 << 20)).found.starts_with("8192 KiB"));
        assert!(
            locked_memory(Some(libc::RLIM_INFINITY))
                .found
                .starts_with("without a limit")
        );
    }
}
