//! Which capabilities spelunk holds, why it lacks others, and how to give them to it (capabilities(7)).

use std::ffi::CStr;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use nix::sys::statvfs::{FsFlags, statvfs};

use super::Finding;

/// Numbers of capabilities (include/uapi/linux/capability.h).
const SYS_PTRACE: Capability = Capability {
    number: 19,
    name: "CAP_SYS_PTRACE",
};
const SYS_ADMIN: u32 = 21;
const PERFMON: Capability = Capability {
    number: 38,
    name: "CAP_PERFMON",
};
const BPF: Capability = Capability {
    number: 39,
    name: "CAP_BPF",
};

/// A capability that spelunk has a use for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Capability {
    number: u32,
    name: &'static str,
}

/// A set of capabilities, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Set(u64);

impl Set {
    fn has(self, number: u32) -> bool {
        self.0.checked_shr(number).is_some_and(|rest| rest & 1 == 1)
    }

    /// Those that spelunk has a use for, as setcap(8) names them.
    fn names(self) -> String {
        let names: Vec<String> = [BPF, PERFMON, SYS_PTRACE]
            .iter()
            .filter(|capability| self.has(capability.number))
            .map(|capability| capability.name.to_lowercase())
            .collect();
        names.join(",")
    }
}

/// What a file gives to those who execute it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct FileCapabilities {
    permitted: Set,
    effective: bool,
}

impl FileCapabilities {
    /// From the bytes of the attribute `security.capability` (`struct vfs_cap_data` of include/uapi/linux/capability.h): a word of flags, then pairs of words
    /// for the permitted and the inheritable set.
    fn parse(bytes: &[u8]) -> Option<FileCapabilities> {
        const EFFECTIVE: u32 = 1;
        let word = |index: usize| {
            let bytes = bytes.get(4 * index..4 * index + 4)?;
            Some(u32::from_le_bytes(bytes.try_into().ok()?))
        };
        Some(FileCapabilities {
            permitted: Set(u64::from(word(1)?) | u64::from(word(3).unwrap_or(0)) << 32),
            effective: word(0)? & EFFECTIVE != 0,
        })
    }

    fn of(file: &File) -> Option<FileCapabilities> {
        const NAME: &CStr = c"security.capability";
        let mut bytes = [0u8; 64];
        // SAFETY: the name is a C string, and at most as many bytes are written as the array has.
        let len = unsafe { libc::fgetxattr(file.as_raw_fd(), NAME.as_ptr(), bytes.as_mut_ptr().cast(), bytes.len()) };
        FileCapabilities::parse(bytes.get(..usize::try_from(len).ok()?)?)
    }
}

/// What decides about this process's capabilities.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    effective: Set,
    permitted: Set,
    bounding: Set,
    ambient: Set,
    no_new_privileges: bool,
    file: FileCapabilities,
    /// Whether the file's capabilities are ignored because of how its file system is mounted.
    nosuid: bool,
    /// Whether this is a user namespace other than the initial one.
    in_user_namespace: bool,
    program: PathBuf,
}

impl Held {
    pub(super) fn by_this_process() -> Held {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let users = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        let executable = File::open("/proc/self/exe").ok();
        Held {
            file: executable.as_ref().and_then(FileCapabilities::of).unwrap_or_default(),
            nosuid: statvfs("/proc/self/exe").is_ok_and(|system| system.flags().contains(FsFlags::ST_NOSUID)),
            in_user_namespace: !users.is_empty() && users.split_ascii_whitespace().ne(["0", "0", "4294967295"]),
            program: std::env::current_exe().unwrap_or_else(|_| PathBuf::from("$(which spelunk)")),
            ..Held::parse(&status)
        }
    }

    /// From the lines of `proc_pid_status(5)`.
    fn parse(status: &str) -> Held {
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let set = |name: &str| {
            let set = field(name).and_then(|set| u64::from_str_radix(set, 16).ok());
            Set(set.unwrap_or_default())
        };
        Held {
            effective: set("CapEff:"),
            permitted: set("CapPrm:"),
            bounding: set("CapBnd:"),
            ambient: set("CapAmb:"),
            no_new_privileges: field("NoNewPrivs:") == Some("1"),
            ..Held::default()
        }
    }

    /// Whether processes can be stopped that Yama or their own privileges protect.
    pub(super) fn may_ptrace(&self) -> bool {
        self.effective.has(SYS_PTRACE.number)
    }

    /// A line for each capability, and one for where they come from.
    pub(super) fn findings(&self) -> Vec<Finding> {
        vec![self.needed(BPF), self.needed(PERFMON), self.optional(), self.source()]
    }

    fn needed(&self, capability: Capability) -> Finding {
        if self.effective.has(capability.number) {
            Finding::new(true, capability.name, "held")
        } else if self.effective.has(SYS_ADMIN) {
            // Since Linux 5.8 these two are parts of it.
            Finding::new(true, capability.name, "held as a part of CAP_SYS_ADMIN")
        } else {
            Finding::new(false, capability.name, self.why_not(capability))
        }
    }

    fn optional(&self) -> Finding {
        if self.may_ptrace() {
            return Finding::new(true, SYS_PTRACE.name, "held");
        }
        Finding::new(
            false,
            SYS_PTRACE.name,
            format!(
                "only needed to stop processes where Yama restricts that, and for those of this user that hold privileges: sudo setcap cap_bpf,cap_perfmon,cap_sys_ptrace+ep {}",
                self.program.display()
            ),
        )
    }

    /// What gives spelunk the two that it needs.
    fn remedy(&self) -> String {
        format!("sudo setcap cap_bpf,cap_perfmon+ep {}", self.program.display())
    }

    fn why_not(&self, capability: Capability) -> String {
        let number = capability.number;
        if self.in_user_namespace {
            return "not held: in a user namespace no capability counts for probes; run spelunk outside, as a user who has them there".to_owned();
        }
        if !self.bounding.has(number) {
            return "not held, and cannot be: this process's bounding set lacks it, as a container's does; start the container with --cap-add=BPF --cap-add=PERFMON, or run spelunk outside".to_owned();
        }
        if self.permitted.has(number) {
            return format!("permitted but not effective: {}", self.remedy());
        }
        if !self.file.permitted.has(number) {
            return format!("not held: {}", self.remedy());
        }
        if self.no_new_privileges {
            return "the file has it, and it has no effect: no_new_privs is set for this process (NoNewPrivileges= of systemd, allowPrivilegeEscalation: false of a container)".to_owned();
        }
        if self.nosuid {
            return format!(
                "the file has it, and it has no effect: its file system is mounted with nosuid; copy {} to another one and set it there",
                self.program.display()
            );
        }
        format!(
            "the file has it, and it has no effect; without a debugger or strace around spelunk it may: {}",
            self.remedy()
        )
    }

    /// Where capabilities come from.
    fn source(&self) -> Finding {
        const NAME: &str = "from";
        let (file, ambient) = (self.file.permitted.names(), self.ambient.names());
        if !file.is_empty() {
            let flags = if self.file.effective { "ep" } else { "p" };
            return Finding::new(
                self.file.effective,
                NAME,
                if self.file.effective {
                    format!("the file's own: {file}={flags}")
                } else {
                    format!(
                        "the file's own, without the flag that makes them effective: {file}={flags}; {}",
                        self.remedy()
                    )
                },
            );
        }
        if !ambient.is_empty() {
            return Finding::new(true, NAME, format!("whoever started spelunk (ambient): {ambient}"));
        }
        if nix::unistd::geteuid().is_root() {
            return Finding::new(true, NAME, "root");
        }
        Finding::new(
            false,
            NAME,
            format!(
                "neither the file nor whoever started spelunk gives it any: {}",
                self.remedy()
            ),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: Set = Set(1 << 38 | 1 << 39);

    fn ordinary() -> Held {
        Held {
            bounding: Set(u64::MAX),
            program: PathBuf::from("/bin/spelunk"),
            ..Held::default()
        }
    }

    #[test]
    fn sets_are_read_from_the_status() {
        let held = Held::parse(
            "CapInh:\t0\nCapPrm:\t000000c000080000\nCapEff:\t000000c000000000\nCapBnd:\t1ff\nCapAmb:\t0\nNoNewPrivs:\t1\n",
        );
        assert_eq!(held.effective, BOTH);
        assert!(held.permitted.has(19) && !held.may_ptrace() && held.no_new_privileges);
        assert_eq!(Held::parse("CapEff:\tx\n").effective, Set(0));
    }

    #[test]
    fn a_files_capabilities_are_read_in_both_versions() {
        // As setcap writes cap_bpf,cap_perfmon+ep: revision 2, effective.
        let second = [1, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(
            FileCapabilities::parse(&second),
            Some(FileCapabilities {
                permitted: BOTH,
                effective: true
            })
        );
        // Revision 1 has 32 bits.
        let first = [0, 0, 0, 1, 0, 0, 8, 0, 0, 0, 0, 0];
        let read = FileCapabilities::parse(&first).expect("it is whole");
        assert!(read.permitted.has(19) && !read.effective);
        assert_eq!(FileCapabilities::parse(&[1, 0, 0, 2]), None);
        assert_eq!(FileCapabilities::parse(&[]), None);
    }

    #[test]
    fn what_is_missing_comes_with_what_to_type() {
        let missing = ordinary().needed(BPF);
        assert!(!missing.good);
        assert_eq!(
            missing.found,
            "not held: sudo setcap cap_bpf,cap_perfmon+ep /bin/spelunk"
        );
        let implied = Held {
            effective: Set(1 << SYS_ADMIN),
            ..ordinary()
        };
        assert!(implied.needed(PERFMON).good && !implied.optional().good);
        assert!(!ordinary().source().good || nix::unistd::geteuid().is_root());
    }

    #[test]
    fn capabilities_without_effect_are_explained() {
        let given = Held {
            file: FileCapabilities {
                permitted: BOTH,
                effective: true,
            },
            ..ordinary()
        };
        let why = |held: &Held| held.needed(BPF).found;
        assert!(why(&given).contains("has no effect"));
        assert!(
            why(&Held {
                no_new_privileges: true,
                ..given.clone()
            })
            .contains("no_new_privs")
        );
        assert!(
            why(&Held {
                nosuid: true,
                ..given.clone()
            })
            .contains("nosuid")
        );
        assert!(
            why(&Held {
                bounding: Set(0),
                ..given.clone()
            })
            .contains("--cap-add=BPF")
        );
        assert!(
            why(&Held {
                in_user_namespace: true,
                ..given.clone()
            })
            .contains("user namespace")
        );
        assert!(
            why(&Held {
                permitted: BOTH,
                ..given.clone()
            })
            .starts_with("permitted but not effective")
        );
        let half = Held {
            file: FileCapabilities {
                permitted: BOTH,
                effective: false,
            },
            ..ordinary()
        };
        assert!(!half.source().good && half.source().found.contains("=p;"));
        assert_eq!(given.source().found, "the file's own: cap_bpf,cap_perfmon=ep");
    }
}
