//! How far the programs have filled a ring, and how far it has been read: the first words of the ring's first two pages
//! (`consumer_pos` and `producer_pos` of `struct bpf_ringbuf`, `kernel/bpf/ringbuf.c`).

use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use nix::unistd::{SysconfVar, sysconf};

use crate::error::BpfError;

/// Both positions of a ring, in bytes since it was made. They only grow.
pub(crate) struct Positions {
    start: NonNull<u8>,
    page: NonZeroUsize,
    bytes: NonZeroUsize,
}

// SAFETY: the memory is shared with the kernel in any case, and is only read, atomically.
unsafe impl Send for Positions {}

impl Positions {
    /// Maps the two pages of the ring `fd`.
    pub(crate) fn map(fd: &OwnedFd) -> Result<Positions, BpfError> {
        let failed = |source| BpfError::system("mapping the positions of the ring", source);
        let page = sysconf(SysconfVar::PAGE_SIZE).map_err(|error| failed(error.into()))?;
        let page = page
            .and_then(|page| usize::try_from(page).ok())
            .and_then(NonZeroUsize::new)
            .ok_or_else(|| failed(std::io::ErrorKind::Unsupported.into()))?;
        let bytes = page.saturating_add(page.get());
        // SAFETY: a new mapping at an address of the kernel's choice; it is unmapped once, when this is dropped.
        let start = unsafe { mmap(None, bytes, ProtFlags::PROT_READ, MapFlags::MAP_SHARED, fd, 0) };
        let start = start.map_err(|error| failed(error.into()))?.cast();
        Ok(Positions { start, page, bytes })
    }

    /// Where the next record to be read begins.
    pub(crate) fn consumer(&self) -> u64 {
        // SAFETY: the first word of a mapped page, aligned, which lives as long as `self`.
        unsafe { self.start.cast::<AtomicU64>().as_ref() }.load(Ordering::Acquire)
    }

    /// Where the next record to be made will begin.
    pub(crate) fn producer(&self) -> u64 {
        // SAFETY: the first word of the second mapped page, aligned, which lives as long as `self`.
        unsafe { self.start.add(self.page.get()).cast::<AtomicU64>().as_ref() }.load(Ordering::Acquire)
    }
}

impl Drop for Positions {
    fn drop(&mut self) {
        // SAFETY: mapped by `map` with this length, and nothing refers to it any more.
        let _ = unsafe { munmap(self.start.cast(), self.bytes.get()) };
    }
}
