//! Debug information in a file of its own, as distributions ship it: `objcopy --only-keep-debug` makes such a file, `strip` takes it out of the program.
//!
//! The program says which file it is by its GNU build id, by the name and checksum in its section `.gnu_debuglink`, or by both (GDB's manual, "Debugging
//! Information in Separate Files"). A file that is not of this very build is not used: its addresses would be others.

use std::fmt::Write;
use std::path::{Component, Path, PathBuf};

use flate2::Crc;

use crate::binary::Contents;
use crate::build_id::BuildId;
use crate::elf::Elf;

/// Where Linux distributions put debug information, and where Delve looks by default.
const DISTRIBUTION: &str = "/usr/lib/debug/.build-id";

/// The folder of files that are named by build ids.
const BUILD_IDS: &str = ".build-id";

/// The folders in which debug information is looked for, beside the folder of the program. Each is one that has a folder `.build-id`, or such a folder
/// itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DebugDirectories(pub Vec<PathBuf>);

impl Default for DebugDirectories {
    fn default() -> DebugDirectories {
        DebugDirectories(vec![PathBuf::from(DISTRIBUTION)])
    }
}

/// A file that has a program's debug information.
#[derive(Debug)]
pub(crate) struct Separate {
    pub(crate) contents: Contents,
    pub(crate) elf: Elf,
}

/// Looks for the debug information of the program at `path`; if it is nowhere, answers which files it could have been in.
pub(crate) fn find(
    path: &Path,
    elf: &Elf,
    data: &[u8],
    directories: &DebugDirectories,
) -> Result<Separate, Vec<PathBuf>> {
    let mut looked = Vec::new();
    let build_id = BuildId::read(elf, data);
    if let Some(id) = &build_id.gnu {
        for candidate in by_build_id(id, directories) {
            let found = open(&candidate).filter(|found| found.build_id().gnu.as_ref() == Some(id));
            match found {
                Some(found) => return Ok(found),
                None => looked.push(candidate),
            }
        }
    }
    if let Some((name, checksum)) = debug_link(elf, data) {
        for candidate in by_link(path, &name, directories) {
            let found = open(&candidate).filter(|found| {
                let theirs = found.build_id().gnu;
                // Either may lack a build id; the checksum is there in any case.
                let is_of_build = theirs.is_none() || build_id.gnu.is_none() || theirs == build_id.gnu;
                is_of_build && checksum_of(found.contents.bytes()) == checksum
            });
            match found {
                Some(found) => return Ok(found),
                None => looked.push(candidate),
            }
        }
    }
    Err(looked)
}

impl Separate {
    fn build_id(&self) -> BuildId {
        BuildId::read(&self.elf, self.contents.bytes())
    }
}

/// A file with debug information; a missing one, or anything else, is none.
fn open(path: &Path) -> Option<Separate> {
    let contents = Contents::open(path).ok()?;
    let elf = Elf::parse(contents.bytes()).ok()?;
    has_debug_information(&elf).then_some(Separate { contents, elf })
}

/// Whether a file describes the program.
pub(crate) fn has_debug_information(elf: &Elf) -> bool {
    let names = [".debug_info", ".zdebug_info"];
    let mut sections = names.into_iter().filter_map(|name| elf.section(name));
    sections.any(|section| section.file.is_some())
}

/// `.build-id/ab/cdef….debug` in each folder.
fn by_build_id(id: &[u8], directories: &DebugDirectories) -> Vec<PathBuf> {
    let mut digits = String::with_capacity(2 * id.len());
    for byte in id {
        // A string takes everything.
        let _ = write!(digits, "{byte:02x}");
    }
    let Some((first, rest)) = digits.split_at_checked(2).filter(|(_, rest)| !rest.is_empty()) else {
        return Vec::new();
    };
    let name = format!("{first}/{rest}.debug");
    let mut candidates = Vec::new();
    for directory in &directories.0 {
        if directory.file_name().is_some_and(|last| last == BUILD_IDS) {
            candidates.push(directory.join(&name));
        }
        candidates.push(directory.join(BUILD_IDS).join(&name));
    }
    candidates
}

/// Beside the program, in `.debug` there, and in each folder under the path of the program's own.
fn by_link(program: &Path, name: &str, directories: &DebugDirectories) -> Vec<PathBuf> {
    // What a process runs is named by a link.
    let program = program.canonicalize().unwrap_or_else(|_| program.to_owned());
    let Some(folder) = program.parent() else {
        return Vec::new();
    };
    let mut candidates = vec![folder.join(name), folder.join(".debug").join(name)];
    let below: PathBuf = folder
        .components()
        .filter(|component| matches!(component, Component::Normal(_)))
        .collect();
    for directory in &directories.0 {
        let is_of_ids = directory.file_name().is_some_and(|last| last == BUILD_IDS);
        let root = directory.parent().filter(|_| is_of_ids).unwrap_or(directory);
        candidates.push(root.join(&below).join(name));
    }
    // A link that names the program itself leads nowhere.
    candidates.retain(|candidate| *candidate != program);
    candidates
}

/// The name and the checksum in `.gnu_debuglink`: the name ends with a zero byte, and the checksum is in the last four.
fn debug_link(elf: &Elf, data: &[u8]) -> Option<(String, u32)> {
    let section = data.get(elf.section(".gnu_debuglink")?.file.clone()?)?;
    let end = section.iter().position(|byte| *byte == 0)?;
    let name = std::str::from_utf8(section.get(..end)?).ok()?;
    let at = end.checked_add(1)?.checked_next_multiple_of(4)?;
    let checksum = section.get(at..at.checked_add(4)?)?;
    // The name of a file and no path: a program does not say which folders are looked at.
    let mut components = Path::new(name).components();
    match (components.next(), components.next()) {
        (Some(Component::Normal(only)), None) if only == name => {
            Some((name.to_owned(), u32::from_le_bytes(checksum.try_into().ok()?)))
        }
        _ => None,
    }
}

/// CRC-32 as in zlib, which is that of `.gnu_debuglink`.
fn checksum_of(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directories(list: &[&str]) -> DebugDirectories {
        DebugDirectories(list.iter().map(PathBuf::from).collect())
    }

    #[test]
    fn files_are_named_by_build_id() {
        let found = by_build_id(&[0xab, 0xcd, 0x01], &directories(&["/d", "/usr/lib/debug/.build-id"]));
        let expected = [
            "/d/.build-id/ab/cd01.debug",
            "/usr/lib/debug/.build-id/ab/cd01.debug",
            "/usr/lib/debug/.build-id/.build-id/ab/cd01.debug",
        ];
        assert_eq!(found, expected.map(PathBuf::from));
        assert!(by_build_id(&[0xab], &directories(&["/d"])).is_empty());
        assert!(by_build_id(&[], &directories(&["/d"])).is_empty());
    }

    #[test]
    fn files_are_named_by_the_place_of_the_program() {
        let found = by_link(
            Path::new("/no/such/bin/x"),
            "x.debug",
            &directories(&["/d", "/usr/lib/debug/.build-id"]),
        );
        let expected = [
            "/no/such/bin/x.debug",
            "/no/such/bin/.debug/x.debug",
            "/d/no/such/bin/x.debug",
            "/usr/lib/debug/no/such/bin/x.debug",
        ];
        assert_eq!(found, expected.map(PathBuf::from));
        let itself = by_link(Path::new("/no/x"), "x", &directories(&[]));
        assert_eq!(itself, [PathBuf::from("/no/.debug/x")]);
    }

    #[test]
    fn the_checksum_is_that_of_the_section() {
        // The check value of CRC-32/ISO-HDLC.
        assert_eq!(checksum_of(b"123456789"), 0xcbf4_3926);
    }
}
