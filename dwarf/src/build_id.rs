//! Build ids: which build a file is, as its linkers recorded it in ELF notes.

use std::fmt;
use std::fs::File;
use std::path::Path;

use crate::Binary;
use crate::binary::Contents;
use crate::elf::{Elf, note};
use crate::error::OpenError;

/// `NT_GNU_BUILD_ID`, written by the external linker, and by Go's own since Go 1.24.
const NT_GNU_BUILD_ID: u32 = 3;
/// The type of Go's build id note (`cmd/internal/buildid`, Go 1.26).
const NT_GO_BUILD_ID: u32 = 4;

/// What tells one build from another. Two files with equal build ids hold the same code.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct BuildId {
    /// The contents of `.note.gnu.build-id`.
    pub gnu: Option<Vec<u8>>,
    /// The contents of `.note.go.buildid`.
    pub go: Option<String>,
}

impl BuildId {
    /// Reads the build id of a file without asking whether it is a Go program or has debug information.
    pub fn of_file(path: &Path) -> Result<BuildId, OpenError> {
        let contents = Contents::open(path)?;
        let elf = Elf::parse(contents.bytes()).map_err(|error| OpenError::from_elf(path, error))?;
        Ok(BuildId::read(&elf, contents.bytes()))
    }

    /// Like [`BuildId::of_file`], from a file that is already open, such as `/proc/PID/exe`; `name` is for messages.
    pub fn of_open_file(file: &File, name: &Path) -> Result<BuildId, OpenError> {
        let contents = Contents::map(file, name)?;
        let elf = Elf::parse(contents.bytes()).map_err(|error| OpenError::from_elf(name, error))?;
        Ok(BuildId::read(&elf, contents.bytes()))
    }

    /// Whether the file says nothing about its build.
    pub fn is_empty(&self) -> bool {
        self.gnu.is_none() && self.go.is_none()
    }

    pub(crate) fn read(elf: &Elf, data: &[u8]) -> BuildId {
        let contents = |name: &str, owner: &[u8], kind: u32| {
            let section = elf.section(name)?;
            note(data.get(section.file.clone()?)?, owner, kind)
        };
        BuildId {
            gnu: contents(".note.gnu.build-id", b"GNU", NT_GNU_BUILD_ID).map(<[u8]>::to_vec),
            go: contents(".note.go.buildid", b"Go\0", NT_GO_BUILD_ID)
                .or_else(|| contents(".note.go.buildid", b"Go", NT_GO_BUILD_ID))
                .map(|bytes| String::from_utf8_lossy(bytes).into_owned()),
        }
    }
}

impl fmt::Display for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.gnu, &self.go) {
            (Some(gnu), _) => gnu.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
            (None, Some(go)) => f.write_str(go),
            (None, None) => f.write_str("none"),
        }
    }
}

impl Binary {
    /// Which build this file is.
    pub fn build_id(&self) -> BuildId {
        BuildId::read(self.elf(), self.bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gnu_build_id_is_shown_first() {
        let id = BuildId {
            gnu: Some(vec![0xab, 0x01]),
            go: Some("x/y".to_owned()),
        };
        assert_eq!(id.to_string(), "ab01");
        assert_eq!(BuildId { gnu: None, ..id }.to_string(), "x/y");
        assert_eq!(BuildId::default().to_string(), "none");
    }
}
