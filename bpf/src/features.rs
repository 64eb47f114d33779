//! What this kernel and this user can do, found by trying.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use crate::asm::{Asm, Code};
use crate::btf::{self, CALLBACK_TYPE, PROGRAM_TYPE};
use crate::insn::{Helper, R0, R1, R2, R3, R4};
use crate::link;
use crate::loader::kernel_has_btf;
use crate::sys::{self, FuncInfo, MapType};

/// What gives an executable the capabilities it needs.
pub(crate) const REMEDY: &str = "Run as root, or: sudo setcap cap_bpf,cap_perfmon+ep $(which spelunk)";

/// What lets it look at processes that the kernel protects from their own user.
pub(crate) const REMEDY_FOR_PROTECTED: &str =
    "Run as root, or: sudo setcap cap_bpf,cap_perfmon,cap_sys_ptrace+ep $(which spelunk)";

// Numbers of the kernel's include/uapi/linux/capability.h.
const CAP_SYS_PTRACE: u32 = 19;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

/// Whether something is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Support {
    /// It is, and was seen to work.
    Yes,
    /// It is not, and why.
    No(String),
    /// It could not be tried, and why.
    Unknown(String),
}

impl Support {
    /// Whether it was seen to work.
    pub fn is_yes(&self) -> bool {
        *self == Support::Yes
    }
}

/// One thing that kernel probes need or profit from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feature {
    /// What it is called.
    pub name: &'static str,
    /// What it is for.
    pub purpose: &'static str,
    /// Whether kernel probes cannot do without it.
    pub required: bool,
    /// Whether it is there.
    pub support: Support,
    /// What to do or to type where it is not.
    pub remedy: &'static str,
}

/// What this kernel and this user can do.
#[derive(Clone, Debug)]
pub struct Features {
    /// The kernel's release, as `uname -r` says it.
    pub kernel: String,
    /// All that was tried.
    pub features: Vec<Feature>,
    /// The value of `kernel.unprivileged_bpf_disabled`: 0 lets users without capabilities load some
    /// programs, though never those that probes need.
    pub unprivileged_bpf_disabled: Option<i32>,
    /// The value of `kernel.perf_event_paranoid`. Probes by `uprobe_multi` do not depend on it.
    pub perf_event_paranoid: Option<i32>,
}

impl Features {
    /// Tries everything. Nothing is left attached or loaded.
    pub fn probe() -> Features {
        let effective = effective_capabilities();
        let capability = |name, number: u32, purpose, required| {
            let support = match effective {
                None => Support::Unknown("/proc/thread-self/status cannot be read".to_owned()),
                Some(set) if has(set, number) => Support::Yes,
                // The kernel takes CAP_SYS_ADMIN for the two that were split from it.
                Some(set) if number != CAP_SYS_PTRACE && has(set, CAP_SYS_ADMIN) => Support::Yes,
                Some(_) => Support::No("not among the effective capabilities".to_owned()),
            };
            Feature {
                name,
                purpose,
                required,
                support,
                remedy: if number == CAP_SYS_PTRACE {
                    REMEDY_FOR_PROTECTED
                } else {
                    REMEDY
                },
            }
        };
        let ring = sys::map_create(MapType::Ringbuf, "spelunk_probe", 0, 0, 4096, 0);
        let program = load(empty_program());
        let multi = match &program {
            Ok(program) if link::uprobe_multi_works(program) => Support::Yes,
            Ok(_) => Support::No("the kernel does not know the link or its pid filter".to_owned()),
            Err(error) => untried(error),
        };
        let features = vec![
            capability("CAP_BPF", CAP_BPF, "load programs and make tables", true),
            capability("CAP_PERFMON", CAP_PERFMON, "attach probes and read memory", true),
            capability(
                "CAP_SYS_PTRACE",
                CAP_SYS_PTRACE,
                "open other processes' executables where Yama restricts ptrace",
                false,
            ),
            Feature {
                name: "BTF",
                purpose: "know the kernel's own types",
                required: true,
                support: match kernel_has_btf() {
                    Ok(()) => Support::Yes,
                    Err(error) => Support::No(error.to_string()),
                },
                remedy: "Use a kernel built with CONFIG_DEBUG_INFO_BTF=y",
            },
            Feature {
                name: "ring buffer",
                purpose: "hand records over",
                required: true,
                support: tried(&ring),
                remedy: "Use kernel 5.8 or later",
            },
            Feature {
                name: "attach cookies",
                purpose: "tell sites apart",
                required: true,
                support: tried(&load(calling(Helper::GetAttachCookie))),
                remedy: "Use kernel 5.15 or later",
            },
            Feature {
                name: "bpf_loop",
                purpose: "follow pointers through data of any shape",
                required: true,
                support: tried(&looping_program()),
                remedy: "Use kernel 5.17 or later",
            },
            Feature {
                name: "uprobe_multi",
                purpose: "attach thousands of probes at once, to one process",
                required: true,
                support: multi,
                remedy: "Use kernel 6.10 or later",
            },
        ];
        Features {
            kernel: kernel_release(),
            features,
            unprivileged_bpf_disabled: sysctl("kernel/unprivileged_bpf_disabled"),
            perf_event_paranoid: sysctl("kernel/perf_event_paranoid"),
        }
    }

    /// Whether kernel probes work here: all that is required is there.
    pub fn usable(&self) -> bool {
        self.features
            .iter()
            .all(|feature| !feature.required || feature.support.is_yes())
    }
}

/// Something that could not be tried for want of permission is not known to be missing.
fn untried(error: &io::Error) -> Support {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => Support::Unknown("it cannot be tried without permission".to_owned()),
        _ => Support::No(error.to_string()),
    }
}

fn tried(result: &io::Result<OwnedFd>) -> Support {
    match result {
        Ok(_) => Support::Yes,
        Err(error) => untried(error),
    }
}

/// A program that calls a helper without arguments but the context.
fn calling(helper: Helper) -> Asm {
    let mut asm = Asm::default();
    asm.call(helper);
    asm.mov_imm(R0, 0);
    asm.exit();
    asm
}

fn empty_program() -> Asm {
    let mut asm = Asm::default();
    asm.mov_imm(R0, 0);
    asm.exit();
    asm
}

fn finish(asm: Asm) -> io::Result<Code> {
    asm.finish().map_err(io::Error::other)
}

fn load(asm: Asm) -> io::Result<OwnedFd> {
    sys::program_load("spelunk_probe", &finish(asm)?.insns, None, None)
}

/// A program that runs a callback once.
fn looping_program() -> io::Result<OwnedFd> {
    let mut asm = Asm::default();
    let body = asm.label();
    asm.mov_imm(R1, 1);
    asm.load_function(R2, body);
    asm.mov_imm(R3, 0);
    asm.mov_imm(R4, 0);
    asm.call(Helper::Loop);
    asm.mov_imm(R0, 0);
    asm.exit();
    asm.bind_subprogram(body);
    asm.mov_imm(R0, 0);
    asm.exit();
    let code = finish(asm)?;
    let btf = sys::btf_load(&btf::program_btf())?;
    let callback = code.subprograms.first().copied().unwrap_or_default() as u32;
    let functions = [
        FuncInfo {
            insn: 0,
            type_id: PROGRAM_TYPE,
        },
        FuncInfo {
            insn: callback,
            type_id: CALLBACK_TYPE,
        },
    ];
    sys::program_load("spelunk_probe", &code.insns, Some((btf.as_fd(), &functions)), None)
}

fn sysctl(name: &str) -> Option<i32> {
    let text = std::fs::read_to_string(format!("/proc/sys/{name}")).ok()?;
    text.trim().parse().ok()
}

/// The kernel's release, as `uname -r` says it.
pub fn kernel_release() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .map_or_else(|_| "(unknown)".to_owned(), |text| text.trim().to_owned())
}

/// The effective capabilities of this thread (`CapEff` of proc(5)).
fn effective_capabilities() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/thread-self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

fn has(set: u64, capability: u32) -> bool {
    set >> capability & 1 == 1
}

/// Those that kernel probes need and this thread lacks.
pub(crate) fn missing_capabilities() -> Vec<&'static str> {
    let Some(effective) = effective_capabilities() else {
        return Vec::new();
    };
    if has(effective, CAP_SYS_ADMIN) {
        return Vec::new();
    }
    [(CAP_BPF, "CAP_BPF"), (CAP_PERFMON, "CAP_PERFMON")]
        .into_iter()
        .filter(|&(capability, _)| !has(effective, capability))
        .map(|(_, name)| name)
        .collect()
}
