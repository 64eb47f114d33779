//! The trial: probe a function of this very program, call it, and read the record. What no list of features can
//! promise, this shows.

use std::{hint::black_box, path::Path, time::Duration};

use spelunk_bpf::{
    BpfError, GoroutineSource, Options, Plan, ProbeSet, Reg, Root, RootSource, RuntimeOffsets, Site, Target,
};

/// How long the record may take to arrive.
const PATIENCE: Duration = Duration::from_millis(50);

/// What the probed function is called with; it has to come back in the record.
const ARGUMENT: u64 = 0x7370_656c_756e_6b21;

/// A step of the trial: its name, and what was found or what is wrong.
type Step = (&'static str, Result<String, String>);

/// Tries step by step, up to the first that fails.
pub(super) fn run() -> Vec<Step> {
    let mut steps = Vec::new();
    let mut set = match prepare() {
        Ok(set) => set,
        Err(error) => {
            steps.push(("probe programs", Err(error.to_string())));
            return steps;
        }
    };
    steps.push((
        "probe programs",
        Ok("the kernel loads them, with a ring buffer for their records".to_owned()),
    ));
    let outcome = hit(&mut set);
    steps.push((
        "probes",
        outcome.map(|()| "one was attached to this program (uprobe_multi), hit, and its record read".to_owned()),
    ));
    steps
}

fn prepare() -> Result<ProbeSet, BpfError> {
    let options = Options {
        ring_bytes: 64 << 10,
        max_sites: 16,
        max_plans: 4,
        max_layouts: 16,
        max_runtime_types: 16,
        max_counters: 1,
        max_goroutine_hits: 1,
    };
    let mut set = ProbeSet::new(options)?;
    set.add_plan(&plan())?;
    Ok(set)
}

fn plan() -> Plan {
    Plan {
        // The System V calling convention passes the first argument in RDI.
        roots: vec![Root {
            source: RootSource::Register(Reg::Rdi),
            size: 8,
        }],
        follows: Vec::new(),
        goroutine: GoroutineSource::None,
        runtime: RuntimeOffsets::default(),
        max_record: 256,
        gate: spelunk_bpf::Gate::default(),
        stops: false,
    }
}

fn hit(set: &mut ProbeSet) -> Result<(), String> {
    let sentence = |error: BpfError| error.to_string();
    let address = probed as *const () as usize as u64;
    let offset = file_offset(address).ok_or("this program's own mapping was not found in /proc/self/maps")?;
    let copied = plan();
    let plan = set.add_plan(&copied).map_err(sentence)?;
    let site = set
        .add_site(Site {
            plan,
            file_addr: address,
        })
        .map_err(sentence)?;
    let pid = i32::try_from(std::process::id()).ok();
    let target = Target {
        path: Path::new("/proc/self/exe").to_owned(),
        pid,
    };
    let link = set.attach(&target, &[(offset, site)]).map_err(sentence)?;
    black_box(probed(black_box(ARGUMENT)));
    let mut seen = None;
    set.ring()
        .drain(PATIENCE, |record| {
            seen = record.root(&copied, 0).ok().map(<[u8]>::to_vec);
        })
        .map_err(sentence)?;
    drop(link);
    match seen {
        Some(bytes) if bytes == ARGUMENT.to_le_bytes() => Ok(()),
        Some(bytes) => Err(format!(
            "the record of a hit holds {bytes:x?} where {ARGUMENT:#x} was passed"
        )),
        None => Err("a probe was attached and hit, and no record arrived".to_owned()),
    }
}

/// The function that is probed.
#[inline(never)]
extern "C" fn probed(value: u64) -> u64 {
    black_box(value).rotate_left(1)
}

/// Where an address of this process lies in its executable file.
fn file_offset(address: u64) -> Option<u64> {
    offset_in(&std::fs::read_to_string("/proc/self/maps").ok()?, address)
}

/// Finds the mapping that holds an address (`proc_pid_maps(5)`: `start-end perms offset ...`).
fn offset_in(maps: &str, address: u64) -> Option<u64> {
    let number = |text: &str| u64::from_str_radix(text, 16).ok();
    maps.lines().find_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let (start, end) = fields.next()?.split_once('-')?;
        let (start, end) = (number(start)?, number(end)?);
        let offset = number(fields.nth(1)?)?;
        (start..end).contains(&address).then(|| address - start + offset)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_relative_to_the_mapping_that_holds_the_address() {
        let maps = "55d0-55e0 r--p 00000000 08:01 7 /bin/x\n55e0-55f0 r-xp 00000010 08:01 7 /bin/x\n";
        assert_eq!(offset_in(maps, 0x55e4), Some(0x14));
        assert_eq!(offset_in(maps, 0x55f0), None);
    }
}
