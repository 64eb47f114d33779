//! Attaching: one `uprobe_multi` link for all the probes of a request.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cost::is_stepped;
use crate::error::BpfError;
use crate::maps::{Maps, site_state};
use crate::probeset::SiteId;
use crate::sys;

/// When set, the kernel is taken for one without `uprobe_multi` links, to see what then happens.
const NO_UPROBE_MULTI_VARIABLE: &str = "SPELUNK_NO_UPROBE_MULTI";

/// What to attach to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The executable: `/proc/PID/exe` of a running process, or the file about to be run.
    pub path: PathBuf,
    /// The one process to be probed, by its id in this process's pid namespace; `None` probes all
    /// that run the file. A child that has yet to call `exec` is probed from its first instruction.
    pub pid: Option<i32>,
}

/// Probes that are attached. Dropping it detaches them, which takes some 40 ms, however many there are.
pub struct Link {
    fds: Vec<OwnedFd>,
    attached: Vec<SiteId>,
    refused: Vec<SiteId>,
    maps: Arc<Maps>,
}

impl Link {
    /// The sites that are probed.
    pub fn attached(&self) -> &[SiteId] {
        &self.attached
    }

    /// The sites whose instruction cannot be run under a probe: they are not probed.
    ///
    /// Some the kernel refuses: vector instructions with an EVEX prefix, `int`, `int3`, `lock`. It looks
    /// at them when it writes probes into a process. Where no process that is to be probed runs
    /// the file yet, it refuses nothing here, and such a site stays silent. Others it takes and
    /// then breaks the program, so they are refused here: `pushf` and `syscall`.
    pub fn refused(&self) -> &[SiteId] {
        &self.refused
    }

    /// Takes the probes away. All have left when this returns.
    pub fn detach(self) {}

    pub(crate) fn attach(
        dispatcher: BorrowedFd<'_>,
        maps: &Arc<Maps>,
        target: &Target,
        probes: &[(u64, SiteId)],
    ) -> Result<Link, BpfError> {
        let path = CString::new(target.path.as_os_str().as_bytes()).map_err(|_| BpfError::Target {
            path: target.path.clone(),
            source: io::Error::new(io::ErrorKind::InvalidInput, "the path has a zero byte"),
        })?;
        let mut link = Link {
            fds: Vec::new(),
            attached: Vec::with_capacity(probes.len()),
            refused: Vec::new(),
            maps: Arc::clone(maps),
        };
        let pid = target.pid.unwrap_or(0);
        let create = |probes: &[(u64, SiteId)]| {
            let offsets: Vec<u64> = probes.iter().map(|&(offset, _)| offset).collect();
            let cookies: Vec<u64> = probes.iter().map(|&(_, site)| u64::from(site.0)).collect();
            sys::uprobe_multi_link(dispatcher, &path, &offsets, &cookies, pid)
        };
        let (safe, refused) = sort_out(target, maps, probes);
        link.refused = refused;
        let mut parts = if safe.is_empty() {
            Vec::new()
        } else {
            vec![safe.as_slice()]
        };
        while !parts.is_empty() {
            let mut halves = Vec::new();
            for (part, result) in create_all(&parts, create) {
                match result {
                    Ok(fd) => {
                        link.fds.push(fd);
                        link.attached.extend(part.iter().map(|&(_, site)| site));
                        maps.attachments.enter(part.iter().map(|&(_, site)| site));
                    }
                    // The kernel does not say which instruction it is: halve until it is alone.
                    Err(error) if error.raw_os_error() == Some(sys::ENOTSUPP) => match part {
                        &[(_, site)] => link.refused.push(site),
                        _ => halves.extend(<[_; 2]>::from(part.split_at(part.len() / 2))),
                    },
                    Err(error) => return Err(attach_error(target, probes.len(), error)),
                }
            }
            parts = halves;
        }
        link.attached.sort_unstable();
        link.refused.sort_unstable();
        if link.fds.is_empty() && !probes.is_empty() {
            return Err(BpfError::AllRefused {
                sites: std::mem::take(&mut link.refused),
            });
        }
        Ok(link)
    }
}

/// Parts the probes from the sites whose instruction would break the program, and notes which instructions the kernel will step.
fn sort_out(target: &Target, maps: &Maps, probes: &[(u64, SiteId)]) -> (Vec<(u64, SiteId)>, Vec<SiteId>) {
    let Ok(file) = File::open(&target.path) else {
        // The kernel will say what is wrong with the path.
        return (probes.to_vec(), Vec::new());
    };
    let mut safe = Vec::with_capacity(probes.len());
    let mut refused = Vec::new();
    for &(offset, site) in probes {
        let mut code = [0; 4];
        match file.read_at(&mut code, offset) {
            Ok(len) if breaks_when_stepped(&code[..len]) => refused.push(site),
            result => {
                if result.is_ok_and(|len| is_stepped(&code[..len])) {
                    maps.site_table.change_state(site.0, site_state::STEPPED, 0);
                }
                safe.push((offset, site));
            }
        }
    }
    (safe, refused)
}

/// Whether the instruction that `code` starts with harms the program when the kernel steps a copy of it,
/// as it does under a probe.
///
/// `pushf` stores the trap flag that is set for the step, and a later `popf` of it kills the program by
/// SIGTRAP: Go's `runtime.asyncPreempt` has such a pair. A stepped `syscall` that does not come back
/// to the next instruction (`rt_sigreturn`, `clone` in the child) resumes at a wrong address
/// (kernel's `arch/x86/kernel/uprobes.c`, `default_post_xol_op`).
fn breaks_when_stepped(code: &[u8]) -> bool {
    // An operand-size prefix or REX changes neither.
    let rest = code
        .iter()
        .position(|&byte| byte != 0x66 && !(0x40..0x50).contains(&byte))
        .and_then(|start| code.get(start..));
    matches!(rest, Some([0x9c, ..] | [0x0f, 0x05 | 0x34, ..]))
}

/// How many attempts run at once: each spends its time in waiting for a grace period.
const ATTEMPTS: usize = 16;

type Part<'p> = &'p [(u64, SiteId)];

/// Attempts to make a link for each part, several at once.
fn create_all<'p>(
    parts: &[Part<'p>],
    create: impl Fn(Part<'p>) -> io::Result<OwnedFd> + Sync,
) -> Vec<(Part<'p>, io::Result<OwnedFd>)> {
    if let &[part] = parts {
        return vec![(part, create(part))];
    }
    let mut results = Vec::with_capacity(parts.len());
    for group in parts.chunks(ATTEMPTS) {
        std::thread::scope(|scope| {
            let attempts: Vec<_> = group.iter().map(|&part| (part, scope.spawn(|| create(part)))).collect();
            for (part, attempt) in attempts {
                let result = attempt.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                results.push((part, result));
            }
        });
    }
    results
}

impl Drop for Link {
    fn drop(&mut self) {
        // Each close waits for a grace period; several can wait for the same one.
        std::thread::scope(|scope| {
            let mut fds = self.fds.drain(..);
            let here = fds.next();
            for fd in fds {
                scope.spawn(move || drop(fd));
            }
            drop(here);
        });
        // Only now may the programs go that these links ran.
        self.maps.attachments.leave(&self.attached);
    }
}

fn attach_error(target: &Target, count: usize, error: io::Error) -> BpfError {
    match (error.raw_os_error(), target.pid) {
        (Some(libc::ESRCH), Some(pid)) => BpfError::ProcessGone { pid },
        // /proc/PID/exe of a process that has ended.
        (Some(libc::ENOENT), Some(pid)) if !PathBuf::from(format!("/proc/{pid}")).exists() => {
            BpfError::ProcessGone { pid }
        }
        (Some(libc::EACCES | libc::EPERM), Some(pid)) if unreadable(target) => BpfError::PermissionDenied {
            action: format!("opening {}", shown(&target.path).display()),
            missing: format!("process {pid} belongs to another user, or CAP_SYS_PTRACE is missing"),
            remedy: crate::features::REMEDY_FOR_PROTECTED.to_owned(),
        },
        (Some(libc::ENOENT | libc::EBADF | libc::ENOTDIR | libc::ELOOP), _) => BpfError::Target {
            path: shown(&target.path),
            source: error,
        },
        _ => BpfError::system(
            format!("attaching {count} probes to {}", shown(&target.path).display()),
            error,
        ),
    }
}

/// What to call a file in messages: what a link in /proc, such as a descriptor's, leads to.
fn shown(path: &Path) -> PathBuf {
    std::fs::read_link(path).unwrap_or_else(|_| path.to_owned())
}

/// Whether the executable may not even be looked at.
fn unreadable(target: &Target) -> bool {
    std::fs::metadata(&target.path).is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}

/// Whether the kernel has `uprobe_multi` links, and whether their pid filter means the process.
///
/// Nothing is attached: a directory cannot be probed. A kernel that knows the link says so
/// (`EBADF`); one whose filter is right refuses a negative pid before it looks at the path (`EINVAL`).
pub(crate) fn uprobe_multi_works(program: &impl AsFd) -> bool {
    if std::env::var_os(NO_UPROBE_MULTI_VARIABLE).is_some() {
        return false;
    }
    let attempt = |pid| {
        sys::uprobe_multi_link(program.as_fd(), c"/", &[0], &[0], pid)
            .err()
            .and_then(|error| error.raw_os_error())
    };
    attempt(0) == Some(libc::EBADF) && attempt(-1) == Some(libc::EINVAL)
}

#[cfg(test)]
mod tests {
    use super::breaks_when_stepped;

    #[test]
    fn pushf_and_syscall_are_not_to_be_stepped() {
        for code in [
            &[0x9c, 0, 0, 0][..],
            &[0x66, 0x9c],
            &[0x48, 0x9c],
            &[0x0f, 0x05],
            &[0x0f, 0x34],
        ] {
            assert!(breaks_when_stepped(code), "{code:x?}");
        }
        for code in [
            &[0x55, 0x48, 0x89, 0xe5][..],
            &[0x9d],
            &[0x0f, 0x1f],
            &[0x0f],
            &[0x66],
            &[],
        ] {
            assert!(!breaks_when_stepped(code), "{code:x?}");
        }
    }
}
