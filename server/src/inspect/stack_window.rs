//! A piece of a stack that has been read already, in front of the memory it was read from.

use spelunk_dwarf::ProcAddr;

use super::g::G;
use crate::value::{BulkRead, Memory, ReadError};

/// Memory of which a part is at hand.
pub(super) struct StackWindow<'m> {
    behind: &'m dyn Memory,
    from: ProcAddr,
    bytes: &'m [u8],
}

impl<'m> StackWindow<'m> {
    /// What to read of a goroutine's stack for a window of at most `size` bytes from `sp` up; nothing when it is on another stack.
    pub(super) fn of_stack(goroutine: Option<&G>, sp: u64, size: u64) -> BulkRead {
        let left = goroutine
            .filter(|goroutine| goroutine.owns(sp))
            .map_or(0, |goroutine| goroutine.stack_hi - sp);
        BulkRead::new(ProcAddr(sp), left.min(size) as usize)
    }

    /// `window` must have been read from `behind`. If that failed, everything is read from there.
    pub(super) fn new(behind: &'m dyn Memory, window: &'m BulkRead) -> StackWindow<'m> {
        StackWindow {
            behind,
            from: window.addr,
            bytes: window.done().unwrap_or_default(),
        }
    }
}

impl Memory for StackWindow<'_> {
    fn read(&self, addr: ProcAddr, buf: &mut [u8]) -> Result<(), ReadError> {
        let at_hand = || {
            let start = usize::try_from(addr.distance_from(self.from)?).ok()?;
            self.bytes.get(start..start.checked_add(buf.len())?)
        };
        match at_hand() {
            Some(bytes) => {
                buf.copy_from_slice(bytes);
                Ok(())
            }
            None => self.behind.read(addr, buf),
        }
    }
}
