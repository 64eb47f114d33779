//! Where clients say that the debug information of stripped programs lies. It is looked for there when the target is restarted.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use spelunk_dwarf::DebugDirectories;

use super::Host;

/// The directories.
pub(super) struct DebugInfoDirectories(Mutex<Option<Vec<String>>>);

impl Default for DebugInfoDirectories {
    fn default() -> DebugInfoDirectories {
        let directories = DebugDirectories::default().0;
        let directories = directories
            .iter()
            .map(|directory| directory.to_string_lossy().into_owned());
        DebugInfoDirectories(Mutex::new(Some(directories.collect())))
    }
}

impl Host {
    /// The directories; `None` where a client has set none at all.
    pub(crate) fn debug_info_directories(&self) -> Option<Vec<String>> {
        let list = &self.debug_info_directories.0;
        list.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The directories, for who looks there.
    pub(super) fn debug_directories(&self) -> DebugDirectories {
        let list = self.debug_info_directories().unwrap_or_default();
        DebugDirectories(list.into_iter().map(PathBuf::from).collect())
    }

    /// Replaces the directories.
    pub(crate) fn set_debug_info_directories(&self, directories: Option<Vec<String>>) {
        let list = &self.debug_info_directories.0;
        *list.lock().unwrap_or_else(PoisonError::into_inner) = directories;
    }
}
