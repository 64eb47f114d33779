//! What is mapped where in a process: /proc/PID/maps (proc(5)).

use std::fs;
use std::io;
use std::ops::Range;

/// One line of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mapping {
    pub(super) addresses: Range<u64>,
    pub(super) executable: bool,
    /// Where in the file it begins.
    pub(super) offset: u64,
    /// A path, or a name in brackets; empty for anonymous memory.
    pub(super) name: String,
}

/// What is mapped in a process, in ascending order.
pub(super) fn of(pid: i32) -> io::Result<Vec<Mapping>> {
    Ok(fs::read_to_string(format!("/proc/{pid}/maps"))?
        .lines()
        .filter_map(parse)
        .collect())
}

fn parse(line: &str) -> Option<Mapping> {
    let mut fields = line.splitn(6, ' ');
    let (begin, end) = fields.next()?.split_once('-')?;
    let hex = |text| u64::from_str_radix(text, 16).ok();
    let permissions = fields.next()?;
    let offset = hex(fields.next()?)?;
    let name = fields.nth(2).unwrap_or_default().trim_start().to_owned();
    Some(Mapping {
        addresses: hex(begin)?..hex(end)?,
        executable: permissions.contains('x'),
        offset,
        name,
    })
}

/// The lowest address that anybody may map (the usual `vm.mmap_min_addr`).
const LOWEST: u64 = 0x1_0000;
/// How far a 32-bit displacement reaches, less what lies between the first and the last byte that use it.
const REACH: u64 = (1 << 31) - (1 << 24);
/// Left free on each side.
const GUARD: u64 = 0x1000;

/// Where `size` bytes are free so near to `near` that code can jump there and back; `None` when nowhere.
///
/// Always below something, never above: what lies above the program's data is where its heap grows to (brk(2)).
pub(super) fn free_near(maps: &[Mapping], near: u64, size: u64) -> Option<u64> {
    let mut below = LOWEST;
    let mut best: Option<u64> = None;
    for mapping in maps {
        let candidate = mapping.addresses.start.checked_sub(GUARD + size);
        // A stack grows down.
        if let Some(candidate) = candidate.filter(|candidate| *candidate >= below + GUARD && mapping.name != "[stack]")
        {
            let reachable = candidate.abs_diff(near) < REACH;
            if reachable && best.is_none_or(|best| candidate.abs_diff(near) < best.abs_diff(near)) {
                best = Some(candidate);
            }
        }
        below = mapping.addresses.end;
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn maps(text: &str) -> Vec<Mapping> {
        text.lines().filter_map(parse).collect()
    }

    const GO: &str = "\
00400000-0047a000 r-xp 00000000 fd:00 131 /tmp/a program (deleted)
0047a000-0053b000 r--p 0007a000 fd:00 131 /tmp/a program (deleted)
00550000-0058a000 rw-p 00000000 00:00 0 
c000000000-c004000000 rw-p 00000000 00:00 0 
7f0000000000-7f0000200000 rw-p 00000000 00:00 0 
7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0 [stack]
7ffc00100000-7ffc00102000 r-xp 00000000 00:00 0 [vdso]";

    #[test]
    fn a_line_is_read_with_blanks_in_its_path() {
        let maps = maps(GO);
        assert_eq!(maps.len(), 7);
        assert_eq!(maps[1].name, "/tmp/a program (deleted)");
        assert_eq!(
            (maps[1].offset, maps[1].executable, maps[0].executable),
            (0x7a000, false, true)
        );
        assert_eq!(maps[6].name, "[vdso]");
    }

    #[test]
    fn the_nearest_free_place_below_something_is_found() {
        assert_eq!(free_near(&maps(GO), 0x40_1000, 0x1_0000), Some(0x40_0000 - 0x1_1000));
        // The gap between data and heap starts where brk grows to; its end is far away.
        assert_eq!(
            free_near(&maps(GO), 0x7ffc_0010_0100, 0x1_0000),
            Some(0x7ffc_0010_0000 - 0x1_1000)
        );
    }

    #[test]
    fn nothing_is_found_where_nothing_is_near() {
        assert_eq!(free_near(&maps(GO), 0x7000_0000_0000, 0x1_0000), None);
        assert_eq!(
            free_near(
                &maps("00020000-7fff00000000 rw-p 00000000 00:00 0 "),
                0x40_0000,
                0x1_0000
            ),
            None
        );
        assert_eq!(free_near(&[], 0x40_0000, 0x1_0000), None);
    }
}
