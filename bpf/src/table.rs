//! A kernel array that this process has in its memory: entries are read and written without a system call each.

use std::io;
use std::marker::PhantomData;
use std::mem::offset_of;
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

use crate::error::BpfError;
use crate::maps::SiteEntry;

/// The entries of an array map that was made with [`crate::sys::MMAPABLE`].
pub(crate) struct Table<T> {
    start: NonNull<T>,
    entries: u32,
    bytes: NonZeroUsize,
    entry: PhantomData<T>,
}

// SAFETY: the memory is shared with the kernel in any case; entries are plain integers that are only copied in and out, volatile, so that any
// interleaving gives some value that was written.
unsafe impl<T: aya::Pod> Send for Table<T> {}
// SAFETY: as above.
unsafe impl<T: aya::Pod> Sync for Table<T> {}

impl<T: aya::Pod> Table<T> {
    /// Maps the `entries` entries of the array `fd`, which `what` names in errors. Entries of a kernel array stand at multiples of eight bytes.
    pub(crate) fn map(fd: &OwnedFd, entries: u32, what: &str) -> Result<Table<T>, BpfError> {
        let failed = |source| BpfError::system(format!("mapping {what}"), source);
        let bytes = size_of::<T>()
            .checked_mul(entries as usize)
            .and_then(NonZeroUsize::new)
            .filter(|_| size_of::<T>().is_multiple_of(8))
            .ok_or_else(|| failed(io::ErrorKind::InvalidInput.into()))?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice; it is unmapped once, when this is dropped.
        let start = unsafe { mmap(None, bytes, protection, MapFlags::MAP_SHARED, fd, 0) };
        let start = start.map_err(|error| failed(error.into()))?.cast();
        Ok(Table {
            start,
            entries,
            bytes,
            entry: PhantomData,
        })
    }

    fn at(&self, index: u32) -> Option<NonNull<T>> {
        // SAFETY: the index is below the number of entries that were mapped.
        (index < self.entries).then(|| unsafe { self.start.add(index as usize) })
    }

    /// An entry; `None` beyond the end.
    pub(crate) fn get(&self, index: u32) -> Option<T> {
        // SAFETY: `at` gives places inside of the mapping, aligned for T because the mapping begins at a page and entries at multiples of their size.
        self.at(index).map(|place| unsafe { place.read_volatile() })
    }

    /// Writes an entry; false beyond the end.
    pub(crate) fn set(&self, index: u32, entry: T) -> bool {
        // SAFETY: as in `get`.
        self.at(index)
            .map(|place| unsafe { place.write_volatile(entry) })
            .is_some()
    }
}

impl Table<SiteEntry> {
    /// Sets and clears bits in the state of a site, of which other threads may change others; false beyond the end.
    pub(crate) fn change_state(&self, index: u32, set: u32, clear: u32) -> bool {
        let Some(place) = self.at(index) else { return false };
        // SAFETY: `at` gives places inside of the mapping, aligned to eight bytes, which live as long as `self`; the state lies within the entry, aligned to
        // four. Nobody writes it otherwise once the site is there.
        let state = unsafe { AtomicU32::from_ptr(place.byte_add(offset_of!(SiteEntry, state)).cast().as_ptr()) };
        state.fetch_and(!clear, Ordering::Relaxed);
        state.fetch_or(set, Ordering::Relaxed);
        true
    }
}

impl Table<u64> {
    /// Adds to an entry that programs in the kernel add to as well; answers what it was before, or `None` beyond the end.
    pub(crate) fn fetch_add(&self, index: u32, by: u64) -> Option<u64> {
        // SAFETY: `at` gives places inside of the mapping, aligned to eight bytes, which live as long as `self`; all who write there while others do use
        // atomic operations.
        self.at(index)
            .map(|place| unsafe { AtomicU64::from_ptr(place.as_ptr()) }.fetch_add(by, Ordering::Relaxed))
    }
}

impl<T> Drop for Table<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `map` with this length, and nothing refers to it any more.
        let _ = unsafe { munmap(self.start.cast(), self.bytes.get()) };
    }
}
