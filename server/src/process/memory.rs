//! The memory of a traced process, with the patches of the debugger hidden.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::unix::fs::FileExt;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use nix::sys::uio::{RemoteIoVec, process_vm_readv, process_vm_writev};
use nix::unistd::Pid;
use spelunk_dwarf::ProcAddr;

use crate::value::{BulkRead, Memory, ReadError};

/// The breakpoint instruction.
pub(super) const INT3: u8 = 0xcc;
/// The unit in which memory is present or not.
const PAGE: u64 = 4096;
/// How many ranges one system call takes (`UIO_MAXIOV` in include/uapi/linux/uio.h).
const MAX_RANGES: usize = 1024;

/// A process's memory, as it would be without a debugger: where an int3 was put, the original byte is read, and what is written goes under the int3.
///
/// Usable from any thread, also while the process runs; then what is read may be changing. Nothing is remembered but the patches.
#[derive(Debug)]
pub(crate) struct ProcessMemory {
    pid: i32,
    /// `/proc/PID/mem`. It stays with the program it was opened on, so it is opened anew when another is executed.
    file: RwLock<File>,
    /// The original bytes by the address of the int3 that hides each. Held while memory is read or written, so that a patch and its entry come and go as one.
    patches: RwLock<BTreeMap<u64, u8>>,
}

fn open(pid: i32) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(format!("/proc/{pid}/mem"))
}

/// Whether an access failed because the process has no memory any more: the kernel then writes nothing, and says so by that number.
pub(super) fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WriteZero || error.raw_os_error() == Some(libc::ESRCH)
}

impl ProcessMemory {
    pub(super) fn open(pid: i32) -> io::Result<ProcessMemory> {
        Ok(ProcessMemory {
            pid,
            file: RwLock::new(open(pid)?),
            patches: RwLock::default(),
        })
    }

    /// Another program was executed: nothing is patched any more.
    pub(super) fn replaced(&self) -> io::Result<()> {
        let new = open(self.pid)?;
        self.patches_mut().clear();
        *self.file.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    fn patches(&self) -> RwLockReadGuard<'_, BTreeMap<u64, u8>> {
        self.patches.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn patches_mut(&self) -> RwLockWriteGuard<'_, BTreeMap<u64, u8>> {
        self.patches.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an int3 of ours is at `addr`.
    pub(super) fn is_patched(&self, addr: u64) -> bool {
        self.patches().contains_key(&addr)
    }

    /// All patches: addresses and original bytes.
    pub(super) fn all_patches(&self) -> Vec<(u64, u8)> {
        self.patches().iter().map(|(addr, byte)| (*addr, *byte)).collect()
    }

    /// Puts an int3 over `original`; whether there is one already is the caller's to know.
    pub(super) fn patch(&self, addr: u64, original: u8) -> io::Result<()> {
        let mut patches = self.patches_mut();
        self.file().write_all_at(&[INT3], addr)?;
        patches.insert(addr, original);
        Ok(())
    }

    /// Takes the int3 at `addr` out; `false` when there was none. In a process that was killed there is nothing left to restore.
    pub(super) fn restore(&self, addr: u64) -> io::Result<bool> {
        let mut patches = self.patches_mut();
        let Some(original) = patches.get(&addr) else {
            return Ok(false);
        };
        match self.file().write_all_at(&[*original], addr) {
            Ok(()) => {}
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error),
        }
        patches.remove(&addr);
        Ok(true)
    }

    fn file(&self) -> RwLockReadGuard<'_, File> {
        self.file.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads several ranges at once, one system call for a thousand of them; each has a result of its own.
    ///
    /// This is what a debugger needs for the structures of all goroutines. A range that cannot be read costs one call more.
    pub(crate) fn read_many(&self, ranges: &mut [(ProcAddr, &mut [u8])]) -> Vec<Result<(), ReadError>> {
        let mut results = Vec::with_capacity(ranges.len());
        let patches = self.patches();
        let mut left = ranges;
        while !left.is_empty() {
            let batch = left.len().min(MAX_RANGES);
            let (now, _) = left.split_at_mut(batch);
            let read = read_vectored(self.pid, now);
            // The kernel stops at the first byte that it cannot read, so what is complete comes first.
            let mut room = read;
            let mut complete = 0;
            for (_, buf) in now.iter() {
                match room.checked_sub(buf.len()) {
                    Some(rest) => room = rest,
                    None => break,
                }
                complete += 1;
            }
            for (addr, buf) in now.iter_mut().take(complete) {
                mask(&patches, addr.0, buf);
                results.push(Ok(()));
            }
            if let Some((addr, buf)) = now.get_mut(complete) {
                results.push(self.read_through(*addr, buf).map(|()| mask(&patches, addr.0, buf)));
                complete += 1;
            }
            left = left.split_at_mut(complete).1;
        }
        results
    }

    /// Reads what the plain way refuses: memory that the program itself may not read, for instance.
    fn read_through(&self, addr: ProcAddr, buf: &mut [u8]) -> Result<(), ReadError> {
        let file = self.file();
        let mut done = 0;
        while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let at = addr.0.wrapping_add(done as u64);
            match file.read_at(rest, at) {
                Ok(count) if count > 0 => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                _ => return Err(ReadError::Fault(ProcAddr(at))),
            }
        }
        Ok(())
    }

    /// As many bytes as there are from `addr` on, at most `buf.len()`.
    pub(super) fn read_prefix(&self, addr: u64, buf: &mut [u8]) -> usize {
        let patches = self.patches();
        let to_page_end = usize::try_from(PAGE - addr % PAGE).unwrap_or(usize::MAX);
        for len in [buf.len(), buf.len().min(to_page_end)] {
            if let Some(part) = buf.get_mut(..len)
                && self.read_through(ProcAddr(addr), part).is_ok()
            {
                mask(&patches, addr, part);
                return len;
            }
        }
        0
    }

    /// Writes `bytes`. An int3 within stays, and what was written there appears when it is taken out.
    ///
    /// Memory that the program may not write (its code, its constants) is written too, by a copy of the page that is the process's own.
    pub(crate) fn write(&self, addr: ProcAddr, bytes: &[u8]) -> Result<(), WriteError> {
        let failed = |error| WriteError {
            addr,
            len: bytes.len(),
            error,
        };
        let end = addr
            .0
            .checked_add(bytes.len() as u64)
            .ok_or_else(|| failed(io::Error::from_raw_os_error(libc::EFAULT)))?;
        let mut patches = self.patches_mut();
        let mut patched = bytes.to_vec();
        for (at, _) in patches.range(addr.0..end) {
            if let Some(byte) = patched.get_mut((at - addr.0) as usize) {
                *byte = INT3;
            }
        }
        let remote = [RemoteIoVec {
            base: addr.0 as usize,
            len: patched.len(),
        }];
        let plain = process_vm_writev(Pid::from_raw(self.pid), &[IoSlice::new(&patched)], &remote);
        if plain != Ok(patched.len()) {
            self.file().write_all_at(&patched, addr.0).map_err(failed)?;
        }
        for (at, original) in patches.range_mut(addr.0..end) {
            if let Some(byte) = bytes.get((at - addr.0) as usize) {
                *original = *byte;
            }
        }
        Ok(())
    }
}

/// Memory that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("could not write {len} bytes at {addr}: {error}")]
pub(crate) struct WriteError {
    addr: ProcAddr,
    len: usize,
    error: io::Error,
}

impl From<WriteError> for io::Error {
    fn from(error: WriteError) -> io::Error {
        error.error
    }
}

/// Reads as many bytes of the ranges, in order, as the kernel gives.
fn read_vectored(pid: i32, ranges: &mut [(ProcAddr, &mut [u8])]) -> usize {
    let remote: Vec<RemoteIoVec> = ranges
        .iter()
        .map(|(addr, buf)| RemoteIoVec {
            base: addr.0 as usize,
            len: buf.len(),
        })
        .collect();
    let mut local: Vec<IoSliceMut<'_>> = ranges.iter_mut().map(|(_, buf)| IoSliceMut::new(buf)).collect();
    process_vm_readv(Pid::from_raw(pid), &mut local, &remote).unwrap_or(0)
}

/// Puts the original bytes over what was read at `addr`.
fn mask(patches: &BTreeMap<u64, u8>, addr: u64, buf: &mut [u8]) {
    let Some(end) = addr.checked_add(buf.len() as u64) else {
        return;
    };
    for (at, original) in patches.range(addr..end) {
        if let Some(byte) = buf.get_mut((at - addr) as usize) {
            *byte = *original;
        }
    }
}

impl Memory for ProcessMemory {
    fn read(&self, addr: ProcAddr, buf: &mut [u8]) -> Result<(), ReadError> {
        let patches = self.patches();
        let len = buf.len();
        let mut range = [(addr, buf)];
        if read_vectored(self.pid, &mut range) != len {
            let [(_, buf)] = &mut range;
            self.read_through(addr, buf)?;
        }
        let [(_, buf)] = range;
        mask(&patches, addr.0, buf);
        Ok(())
    }

    fn read_many(&self, reads: &mut [BulkRead]) {
        let mut ranges: Vec<(ProcAddr, &mut [u8])> =
            reads.iter_mut().map(|read| (read.addr, &mut *read.bytes)).collect();
        let results = ProcessMemory::read_many(self, &mut ranges);
        for (read, result) in reads.iter_mut().zip(results) {
            read.result = result;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Our own process: its memory can be read and written like any other's.
    fn own() -> ProcessMemory {
        ProcessMemory::open(std::process::id() as i32).expect("our own memory opens")
    }

    fn at<T: ?Sized>(what: &T) -> ProcAddr {
        ProcAddr((&raw const *what).cast::<u8>() as u64)
    }

    #[test]
    fn patches_are_neither_read_nor_destroyed() {
        let memory = own();
        let bytes: Vec<u8> = (0..32).collect();
        let base = at(bytes.as_slice());
        memory.patch(base.0 + 7, 7).expect("patched");
        memory.patch(base.0 + 20, 20).expect("patched");
        let mut read = [0; 32];
        memory.read(base, &mut read).expect("readable");
        assert_eq!(
            read,
            *bytes
                .iter()
                .as_slice()
                .first_chunk::<32>()
                .map_or([0; 32], |_| std::array::from_fn(|i| i as u8))
                .as_slice()
        );
        memory.write(ProcAddr(base.0 + 5), &[0x55; 4]).expect("writable");
        let raw = |offset: usize| {
            // SAFETY: the vector is alive and has 32 bytes; volatile, as another way wrote them.
            unsafe { std::ptr::read_volatile(bytes.as_ptr().add(offset)) }
        };
        assert_eq!([raw(5), raw(6), raw(7), raw(8)], [0x55, 0x55, INT3, 0x55]);
        memory.read(ProcAddr(base.0 + 5), &mut read[..4]).expect("readable");
        assert_eq!(read[..4], [0x55; 4]);
        assert!(memory.restore(base.0 + 7).expect("restored"));
        assert!(!memory.restore(base.0 + 7).expect("nothing to do"));
        assert_eq!((raw(7), raw(20)), (0x55, INT3));
        assert!(memory.restore(base.0 + 20).expect("restored"));
    }

    #[test]
    fn many_ranges_are_read_at_once_and_a_bad_one_harms_no_other() {
        let memory = own();
        let source: Vec<u64> = (0..3000).collect();
        let mut buffers = vec![[0u8; 8]; source.len()];
        let mut ranges: Vec<(ProcAddr, &mut [u8])> = Vec::new();
        for (number, buffer) in buffers.iter_mut().enumerate() {
            let addr = if number % 1000 == 500 {
                ProcAddr(8)
            } else {
                at(&source[number])
            };
            ranges.push((addr, buffer));
        }
        let results = memory.read_many(&mut ranges);
        assert_eq!(results.len(), source.len());
        for (number, result) in results.iter().enumerate() {
            if number % 1000 == 500 {
                assert_eq!(*result, Err(ReadError::Fault(ProcAddr(8))));
            } else {
                assert_eq!(*result, Ok(()));
                assert_eq!(u64::from_ne_bytes(buffers[number]), number as u64);
            }
        }
    }

    #[test]
    fn what_is_not_there_is_an_error_and_never_zeros() {
        let memory = own();
        let mut buf = [0xaa; 16];
        assert_eq!(memory.read(ProcAddr(0), &mut buf), Err(ReadError::Fault(ProcAddr(0))));
        assert!(memory.read(ProcAddr(u64::MAX - 3), &mut buf).is_err());
        assert!(memory.write(ProcAddr(0), &buf).is_err());
        assert!(memory.write(ProcAddr(u64::MAX - 3), &buf).is_err());
        assert_eq!(memory.read_prefix(0, &mut buf), 0);
    }
}
