//! What a hit takes at least: a trap, the dispatcher, a plan's program that finds nothing to do; and, where the kernel cannot emulate the probed instruction,
//! a second trap. That depends on the machine, and within a virtual one on the hypervisor, so it is measured where it is needed.

use std::io;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::error::BpfError;
use crate::gate::{Condition, Gate};
use crate::link::Target;
use crate::plan::{GoroutineSource, Plan, RuntimeOffsets};
use crate::probeset::{Options, ProbeSet, Site};

/// What a hit takes at least, by how the kernel runs the probed instruction (`arch/x86/kernel/uprobes.c`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SiteCosts {
    /// Where it emulates it: `push`, calls, jumps, `nop`.
    pub emulated: Duration,
    /// Where it steps a copy of it: all others.
    pub stepped: Duration,
}

// Two functions to be probed, whose first instructions the kernel emulates and steps.
std::arch::global_asm!(
    ".pushsection .text.spelunk_probed, \"ax\", @progbits",
    ".globl spelunk_probed_emulated",
    ".type spelunk_probed_emulated, @function",
    "spelunk_probed_emulated:",
    "push rbp",
    "pop rbp",
    "ret",
    ".size spelunk_probed_emulated, . - spelunk_probed_emulated",
    ".globl spelunk_probed_stepped",
    ".type spelunk_probed_stepped, @function",
    "spelunk_probed_stepped:",
    "mov rax, rsp",
    "ret",
    ".size spelunk_probed_stepped, . - spelunk_probed_stepped",
    ".popsection",
);

unsafe extern "C" {
    fn spelunk_probed_emulated();
    fn spelunk_probed_stepped();
}

/// How often each is called: in so many batches, of which the fastest counts, of so many calls.
const EMULATED: (u32, u32) = (40, 25);
const STEPPED: (u32, u32) = (20, 10);

impl SiteCosts {
    /// What is taken where nothing can be measured: the order of magnitude on a virtual machine of the year 2025, where stepping is dear.
    pub const FALLBACK: SiteCosts = SiteCosts {
        emulated: Duration::from_nanos(600),
        stepped: Duration::from_micros(17),
    };

    /// Those of this machine. The first call probes a function of this very process for a few milliseconds, and waits for the probe to be taken out, which
    /// takes some 50 more; where it may not, it answers [`SiteCosts::FALLBACK`].
    pub fn of_this_machine() -> SiteCosts {
        static COSTS: OnceLock<SiteCosts> = OnceLock::new();
        *COSTS.get_or_init(|| {
            SiteCosts::measure().unwrap_or_else(|error| {
                tracing::debug!("what a hit costs could not be measured: {error}");
                SiteCosts::FALLBACK
            })
        })
    }

    /// Measures what hits of a gate that is never open take.
    pub fn measure() -> Result<SiteCosts, BpfError> {
        let mut set = ProbeSet::new(Options {
            ring_bytes: 64 << 10,
            max_sites: 2,
            max_plans: 1,
            max_layouts: 2,
            max_runtime_types: 1,
            max_counters: 1,
            max_goroutine_hits: 1,
        })?;
        let plan = set.add_plan(&Plan {
            roots: Vec::new(),
            follows: Vec::new(),
            goroutine: GoroutineSource::None,
            runtime: RuntimeOffsets::default(),
            max_record: 256,
            gate: Gate {
                condition: Some(Condition::Always(false)),
                ..Gate::default()
            },
            stops: false,
        })?;
        let functions: [unsafe extern "C" fn(); 2] = [spelunk_probed_emulated, spelunk_probed_stepped];
        let maps = std::fs::read_to_string("/proc/self/maps")
            .map_err(|source| BpfError::system("reading what is mapped where in this process", source))?;
        let mut probes = Vec::new();
        for function in functions {
            let address = function as usize as u64;
            let offset = file_offset(&maps, address).ok_or_else(|| {
                let source = io::Error::from(io::ErrorKind::NotFound);
                BpfError::system("finding this process's own code in its executable", source)
            })?;
            let site = set.add_site(Site {
                plan,
                file_addr: address,
            })?;
            probes.push((offset, site));
        }
        let target = Target {
            path: PathBuf::from("/proc/self/exe"),
            pid: Some(std::process::id().cast_signed()),
        };
        let link = set.attach(&target, &probes)?;
        let [emulated, stepped] = functions;
        let costs = SiteCosts {
            emulated: fastest(emulated, EMULATED),
            stepped: fastest(stepped, STEPPED),
        };
        drop(link);
        let calls = |(batches, calls): (u32, u32)| u64::from(batches * calls);
        let seen = set.total_counters().condition_false;
        if seen < calls(EMULATED) + calls(STEPPED) {
            let source = io::Error::other(format!("{seen} calls were seen"));
            return Err(BpfError::system("probing a function of this process", source));
        }
        Ok(costs)
    }
}

/// The time of one call in the fastest batch.
fn fastest(function: unsafe extern "C" fn(), (batches, calls): (u32, u32)) -> Duration {
    let batch = |_| {
        let begin = Instant::now();
        for _ in 0..calls {
            // SAFETY: the function above: it takes nothing, leaves the stack as it was, and changes no register but RAX, as any C function may.
            unsafe { function() };
        }
        begin.elapsed() / calls
    };
    (0..batches).map(batch).min().unwrap_or_default()
}

/// Where in its file the byte at an address of a process lies, by the process's `/proc/PID/maps` (`proc_pid_maps(5)`).
pub(crate) fn file_offset(maps: &str, address: u64) -> Option<u64> {
    let number = |text: &str| u64::from_str_radix(text, 16).ok();
    maps.lines().find_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let (start, end) = fields.next()?.split_once('-')?;
        let (start, end) = (number(start)?, number(end)?);
        let offset = number(fields.nth(1)?)?;
        let within = (start..end).contains(&address).then(|| address - start)?;
        offset.checked_add(within)
    })
}

/// Whether the kernel steps a copy of the instruction that `code` starts with: it is none of those that it emulates (`branch_setup_xol_ops` and
/// `push_setup_xol_ops` in `arch/x86/kernel/uprobes.c`).
pub(crate) fn is_stepped(code: &[u8]) -> bool {
    !matches!(
        code,
        // Jumps, `call`, `nop`, `push`.
        [0xe8 | 0xe9 | 0xeb | 0x90 | 0x50..=0x57 | 0x70..=0x7f, ..]
            // Conditional jumps far away, `nop` of 3 to 8 bytes.
            | [0x0f, 0x80..=0x8f | 0x1f, ..]
            // `push` of R8 to R15, `nop` of 2 or more bytes.
            | [0x41, 0x50..=0x57, ..]
            | [0x66, 0x90, ..]
            | [0x66, 0x0f, 0x1f, ..]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_found_in_maps() {
        let maps = "\
            55d0c0000000-55d0c0010000 r--p 00000000 fd:00 42   /usr/bin/spelunk\n\
            55d0c0010000-55d0c0020000 r-xp 00010000 fd:00 42   /usr/bin/spelunk (deleted)\n\
            ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0   [vsyscall]\n";
        assert_eq!(file_offset(maps, 0x55d0_c001_0123), Some(0x1_0123));
        assert_eq!(file_offset(maps, 0x55d0_c002_0000), None);
        assert_eq!(file_offset("damaged\n12-\n-12 a b\n", 0x12), None);
    }

    #[test]
    fn a_stepped_instruction_takes_no_less_than_an_emulated_one() {
        let costs = match SiteCosts::measure() {
            Err(BpfError::PermissionDenied { .. }) => {
                use std::io::Write;
                let _ = writeln!(io::stderr(), "SKIP: no permission for BPF: no hit is timed");
                return;
            }
            result => result.expect("a function of this process can be probed"),
        };
        assert!(costs.emulated > Duration::from_nanos(50), "{costs:?}");
        assert!(costs.stepped > costs.emulated, "{costs:?}");
        assert!(costs.stepped < Duration::from_millis(1), "{costs:?}");
    }

    #[test]
    fn pushes_jumps_and_calls_are_emulated() {
        for code in [
            &[0x55][..],
            &[0x41, 0x57],
            &[0xe8, 0, 0, 0, 0],
            &[0x0f, 0x84],
            &[0x74, 2],
            &[0x90],
        ] {
            assert!(!is_stepped(code), "{code:x?}");
        }
        for code in [&[0xc3][..], &[0x48, 0x83, 0xec, 0x18], &[0x5d], &[0x0f, 0xb6], &[]] {
            assert!(is_stepped(code), "{code:x?}");
        }
    }
}
