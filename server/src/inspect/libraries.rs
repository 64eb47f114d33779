//! The shared libraries of a process, from the dynamic loader's own list: `DT_DEBUG` in the program's `.dynamic` leads to `struct r_debug`, that to the
//! `link_map`s (System V ABI, "Dynamic Section", and glibc's `<link.h>`).

use spelunk_dwarf::ProcAddr;

use super::Stopped;
use crate::value::{Memory, ReadError};

/// The tags of `.dynamic` that matter here.
const DT_NULL: u64 = 0;
const DT_DEBUG: u64 = 21;
/// A list that claims more was overwritten.
const MAX_LIBRARIES: usize = 10_000;
/// As Linux has it (`PATH_MAX`).
const MAX_PATH: usize = 4096;
/// More entries than any program's `.dynamic` has.
const MAX_ENTRIES: u64 = 1 << 12;

/// A shared library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Library {
    /// Its path.
    pub(crate) path: String,
    /// What its addresses are shifted by.
    pub(crate) addr: ProcAddr,
}

/// The libraries that the loader has loaded so far, in its order. None for a program without a loader, and before the loader has run.
pub(crate) fn libraries(p: &dyn Stopped) -> Vec<Library> {
    let mut found = Vec::new();
    // A list that breaks off is given as far as it goes.
    let _ = collect(p, &mut found);
    found
}

fn collect(p: &dyn Stopped, found: &mut Vec<Library>) -> Result<(), ReadError> {
    let Some(section) = p.binary().dynamic_section() else {
        return Ok(());
    };
    let memory = p.memory();
    let word = |addr: u64| memory.read_uint(ProcAddr(addr), 8);
    let start = p.bias().to_proc(section.start).0;
    let entries = (section.end.0.saturating_sub(section.start.0) / 16).min(MAX_ENTRIES);
    let mut debug = 0;
    for entry in 0..entries {
        let at = start.wrapping_add(16 * entry);
        match word(at)? {
            DT_NULL => break,
            DT_DEBUG => debug = word(at.wrapping_add(8))?,
            _ => {}
        }
    }
    if debug == 0 {
        return Ok(());
    }
    let mut map = word(debug.wrapping_add(8))?;
    // The first is the program itself.
    let mut is_program = true;
    while map != 0 && found.len() < MAX_LIBRARIES {
        if !is_program {
            let path = text(memory, word(map.wrapping_add(8))?)?;
            // What the kernel provides has a name and no path.
            if path.starts_with('/') {
                let addr = ProcAddr(word(map)?);
                found.push(Library { path, addr });
            }
        }
        is_program = false;
        map = word(map.wrapping_add(24))?;
    }
    Ok(())
}

/// A text that a zero ends.
fn text(memory: &dyn Memory, addr: u64) -> Result<String, ReadError> {
    let mut bytes = Vec::new();
    while addr != 0 && bytes.len() < MAX_PATH {
        let byte = memory.read_uint(ProcAddr(addr.wrapping_add(bytes.len() as u64)), 1)? as u8;
        if byte == 0 {
            break;
        }
        bytes.push(byte);
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
