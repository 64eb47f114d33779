//! What can go wrong between a plan and its first record, and what the user can do about it.

use std::io;
use std::path::PathBuf;

use crate::plan::PlanError;
use crate::probeset::SiteId;

/// Where the kernel describes its own types.
pub(crate) const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

/// Environment variable that names a file to read in place of `/sys/kernel/btf/vmlinux`.
pub const BTF_VARIABLE: &str = "SPELUNK_BTF";

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum BpfError {
    /// The kernel refused for want of a capability.
    #[error("{action}: permission denied: {missing}. {remedy}")]
    PermissionDenied {
        /// What was attempted.
        action: String,
        /// Which capabilities this process lacks.
        missing: String,
        /// What gives them.
        remedy: String,
    },
    /// The kernel has no description of its own types.
    #[error(
        "this kernel offers no BTF at {}: {source}. Kernel probes need a kernel built with \
         CONFIG_DEBUG_INFO_BTF=y, as the distributions' kernels are", path.display()
    )]
    NoBtf {
        /// Where it was looked for.
        path: PathBuf,
        /// How that failed.
        source: io::Error,
    },
    /// The BTF is there and lacks something or is damaged.
    #[error("the kernel's BTF at {} cannot be used: {reason}", path.display())]
    BadBtf {
        /// Where it is.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The kernel cannot attach one program to many functions.
    #[error(
        "kernel {kernel} has no uprobe_multi links with a right pid filter: kernel 6.10 or later \
         (or one with the filter's fix) is needed for kernel probes"
    )]
    NoUprobeMulti {
        /// The kernel's release.
        kernel: String,
    },
    /// The kernel's verifier refused a generated program: a defect of this crate, or a limit.
    #[error("the kernel's verifier refused a generated program ({source}): {log}")]
    Verifier {
        /// How the load failed.
        source: io::Error,
        /// The end of the verifier's log.
        log: String,
    },
    /// A system call failed.
    #[error("{action}: {source}")]
    System {
        /// What was attempted.
        action: String,
        /// How it failed.
        source: io::Error,
    },
    /// The plan cannot be made into a program.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The executable cannot be opened for probing.
    #[error("cannot probe {}: {source}", path.display())]
    Target {
        /// The executable.
        path: PathBuf,
        /// How it failed.
        source: io::Error,
    },
    /// The process to be probed is gone.
    #[error("cannot probe process {pid}: there is no such process")]
    ProcessGone {
        /// Its id.
        pid: i32,
    },
    /// No instruction of those asked for can be probed.
    #[error("the kernel can probe none of the {} instructions asked for", sites.len())]
    AllRefused {
        /// The sites.
        sites: Vec<SiteId>,
    },
    /// A table of the probe set is full.
    #[error("no room for more {what}: {max} are the most in one session")]
    Full {
        /// What there are too many of.
        what: &'static str,
        /// How many there can be.
        max: u32,
    },
    /// A site whose probe was taken out, and whose program then had to make room for others.
    #[error("site {} was taken out, and its program has been given up since: add it again", site.number())]
    GivenUp {
        /// The site.
        site: SiteId,
    },
    /// A number that does not belong to this probe set.
    #[error("{0} of another probe set")]
    Foreign(&'static str),
}

impl BpfError {
    /// Says what a failed system call was for, and turns a want of permission into its remedy.
    pub(crate) fn system(action: impl Into<String>, source: io::Error) -> BpfError {
        let action = action.into();
        match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => {
                let missing = crate::features::missing_capabilities();
                if missing.is_empty() {
                    BpfError::System { action, source }
                } else {
                    BpfError::PermissionDenied {
                        action,
                        missing: format!("{} missing", missing.join(" and ")),
                        remedy: crate::features::REMEDY.to_owned(),
                    }
                }
            }
            _ => BpfError::System { action, source },
        }
    }
}
