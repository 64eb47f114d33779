//! Where clients say that debug information of libraries lies. It is kept for them: spelunk reads the debug information of the program alone.

use std::sync::{Mutex, PoisonError};

use super::Host;

/// Where Linux distributions put it, and where Delve looks by default.
const DEFAULT: &str = "/usr/lib/debug/.build-id";

/// The directories.
pub(super) struct DebugInfoDirectories(Mutex<Option<Vec<String>>>);

impl Default for DebugInfoDirectories {
    fn default() -> DebugInfoDirectories {
        DebugInfoDirectories(Mutex::new(Some(vec![DEFAULT.to_owned()])))
    }
}

impl Host {
    /// The directories; `None` where a client has set none at all.
    pub(crate) fn debug_info_directories(&self) -> Option<Vec<String>> {
        let list = &self.debug_info_directories.0;
        list.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the directories.
    pub(crate) fn set_debug_info_directories(&self, directories: Option<Vec<String>>) {
        let list = &self.debug_info_directories.0;
        *list.lock().unwrap_or_else(PoisonError::into_inner) = directories;
    }
}
