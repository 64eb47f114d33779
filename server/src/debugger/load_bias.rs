//! Where the loader has put the program.

use std::path::Path;

use spelunk_dwarf::{Binary, FileOffset, LoadBias, ProcAddr};

/// The bias of a live process, from its `/proc/PID/maps`; `None` while it has not executed the program.
pub(super) fn of_process(binary: &Binary, pid: i32, maps: &str) -> Option<LoadBias> {
    if !binary.is_pie() {
        return Some(LoadBias::default());
    }
    // A deleted or replaced file keeps its name here, with a remark behind it.
    let executable = std::fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    of_maps(binary, &executable, maps)
}

/// The same from the text alone: the first executable mapping of the file counts.
fn of_maps(binary: &Binary, executable: &Path, maps: &str) -> Option<LoadBias> {
    maps.lines().find_map(|line| {
        let mapping = Mapping::parse(line)?;
        if !mapping.executable || Path::new(mapping.path) != executable {
            return None;
        }
        binary.load_bias_of(ProcAddr(mapping.start), FileOffset(mapping.offset))
    })
}

/// A line of `/proc/PID/maps` (proc_pid_maps(5)).
#[derive(Debug, PartialEq, Eq)]
struct Mapping<'t> {
    start: u64,
    executable: bool,
    offset: u64,
    path: &'t str,
}

impl<'t> Mapping<'t> {
    fn parse(line: &'t str) -> Option<Mapping<'t>> {
        let mut rest = line;
        let mut field = || {
            let trimmed = rest.trim_start();
            let end = trimmed.find(' ').unwrap_or(trimmed.len());
            let (field, after) = trimmed.split_at(end);
            rest = after;
            field
        };
        let (range, permissions, offset) = (field(), field(), field());
        let (_device, _inode) = (field(), field());
        Some(Mapping {
            start: u64::from_str_radix(range.split_once('-')?.0, 16).ok()?,
            executable: permissions.contains('x'),
            offset: u64::from_str_radix(offset, 16).ok()?,
            path: rest.trim_start(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_are_read() {
        let line = "555555554000-5555555a1000 r-xp 00001000 fd:01 1234                       /tmp/a program";
        assert_eq!(
            Mapping::parse(line),
            Some(Mapping {
                start: 0x5555_5555_4000,
                executable: true,
                offset: 0x1000,
                path: "/tmp/a program"
            })
        );
        let anonymous = Mapping::parse("c000000000-c000400000 rw-p 00000000 00:00 0 ").expect("a mapping");
        assert_eq!((anonymous.executable, anonymous.path), (false, ""));
        assert_eq!(Mapping::parse("nonsense"), None);
    }
}
