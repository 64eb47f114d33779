//! Who uses an address: the site table of one process.
//!
//! Architecture invariant: an address has one owner. While an address has users here it is a stop site, and nothing else may be put there: a logpoint
//! on it is a user like the others, evaluated at the stop.

use std::collections::HashMap;

use spelunk_dwarf::FileAddr;

use super::BreakpointId;
use super::temporary::Temporary;

/// The users of one address.
#[derive(Debug, Default)]
pub(super) struct Users {
    /// Logical breakpoints, in the order they were set.
    pub(super) breakpoints: Vec<BreakpointId>,
    /// What the step under way has put here.
    pub(super) temporaries: Vec<Temporary>,
}

impl Users {
    fn is_free(&self) -> bool {
        self.breakpoints.is_empty() && self.temporaries.is_empty()
    }
}

/// All stop sites by their address.
#[derive(Debug, Default)]
pub(super) struct Sites {
    users: HashMap<FileAddr, Users>,
}

impl Sites {
    /// The users of an address; `None` when it is no stop site.
    pub(super) fn users(&self, addr: FileAddr) -> Option<&Users> {
        self.users.get(&addr)
    }

    /// All addresses that are stop sites.
    pub(super) fn addresses(&self) -> Vec<FileAddr> {
        self.users.keys().copied().collect()
    }

    /// Whether nothing stops anywhere.
    pub(super) fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// Adds a breakpoint to an address; answers whether the address becomes a site by it.
    pub(super) fn add_breakpoint(&mut self, addr: FileAddr, id: BreakpointId) -> bool {
        let is_new = !self.users.contains_key(&addr);
        let users = self.users.entry(addr).or_default();
        if !users.breakpoints.contains(&id) {
            users.breakpoints.push(id);
        }
        is_new
    }

    /// Takes a breakpoint away from an address; answers whether the address is no site any more.
    pub(super) fn remove_breakpoint(&mut self, addr: FileAddr, id: BreakpointId) -> bool {
        let Some(users) = self.users.get_mut(&addr) else {
            return false;
        };
        users.breakpoints.retain(|user| *user != id);
        let is_free = users.is_free();
        if is_free {
            self.users.remove(&addr);
        }
        is_free
    }

    /// Adds a temporary to an address; answers whether the address becomes a site by it.
    pub(super) fn add_temporary(&mut self, addr: FileAddr, temporary: Temporary) -> bool {
        let is_new = !self.users.contains_key(&addr);
        self.users.entry(addr).or_default().temporaries.push(temporary);
        is_new
    }

    /// Calls `change` for every temporary.
    pub(super) fn each_temporary(&mut self, mut change: impl FnMut(FileAddr, &mut Temporary)) {
        for (addr, users) in &mut self.users {
            for temporary in &mut users.temporaries {
                change(*addr, temporary);
            }
        }
    }

    /// Takes all temporaries out; answers the addresses that are no sites any more.
    pub(super) fn remove_temporaries(&mut self) -> Vec<FileAddr> {
        let mut freed = Vec::new();
        self.users.retain(|addr, users| {
            users.temporaries.clear();
            let is_free = users.is_free();
            if is_free {
                freed.push(*addr);
            }
            !is_free
        });
        freed
    }
}

#[cfg(test)]
mod tests {
    use super::super::temporary::{Follow, FrameIs, Kind};
    use super::*;
    use crate::inspect::Tid;

    fn temporary() -> Temporary {
        Temporary::new(Follow::Thread(Tid(1)), FrameIs::Any, Kind::Land)
    }

    #[test]
    fn an_address_is_a_site_while_it_has_a_user() {
        let mut sites = Sites::default();
        let (addr, other) = (FileAddr(0x1000), FileAddr(0x2000));
        assert!(sites.add_breakpoint(addr, BreakpointId(1)));
        assert!(!sites.add_breakpoint(addr, BreakpointId(2)));
        assert!(!sites.add_temporary(addr, temporary()));
        assert!(sites.add_temporary(other, temporary()));
        assert!(!sites.remove_breakpoint(addr, BreakpointId(1)));
        assert_eq!(sites.remove_temporaries(), [other]);
        assert!(sites.remove_breakpoint(addr, BreakpointId(2)));
        assert!(!sites.remove_breakpoint(addr, BreakpointId(2)));
        assert!(sites.is_empty());
    }
}
