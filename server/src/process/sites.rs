//! Sites: places where every thread stops before the instruction is executed.

use std::fs::File;
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use spelunk_dwarf::ProcAddr;

use super::displaced::MAX_INSTRUCTION;
use super::error::{ProcessError, SiteError};
use super::inferior::Inferior;
use super::maps;
use super::memory::{INT3, is_gone};
use super::slots::{ARENA_SIZE, Preparation};

impl Inferior {
    /// Puts a site at an instruction; there may be one already. Threads may run meanwhile.
    ///
    /// A stopped thread that stands there passes it when it is resumed.
    pub(crate) fn insert_site(&mut self, addr: ProcAddr) -> Result<(), ProcessError> {
        self.try_to_insert(addr).map_err(|why| {
            let gone = matches!(&why, SiteError::Write(error) if is_gone(error))
                || matches!(why, SiteError::NoSlot(Errno::ESRCH));
            if gone || self.ended.is_some() {
                ProcessError::Ended(self.pid)
            } else {
                ProcessError::Site { addr, why }
            }
        })
    }

    fn try_to_insert(&mut self, addr: ProcAddr) -> Result<(), SiteError> {
        let ProcAddr(at) = addr;
        if self.memory.is_patched(at) {
            return Ok(());
        }
        let mut bytes = [0; MAX_INSTRUCTION];
        let len = self.memory.read_prefix(at, &mut bytes);
        let bytes = bytes.get(..len).unwrap_or_default();
        let original = *bytes.first().ok_or(SiteError::NoMemory)?;
        if original == INT3 && self.byte_in_file(at).is_some_and(|byte| byte != INT3) {
            return Err(SiteError::Occupied);
        }
        self.prepare_slot(at, bytes)?;
        self.memory.patch(at, original).map_err(SiteError::Write)?;
        self.has_come_under(at);
        Ok(())
    }

    /// Makes sure that the instruction at `at`, which is `bytes`, can be executed elsewhere.
    pub(super) fn prepare_slot(&mut self, at: u64, bytes: &[u8]) -> Result<(), SiteError> {
        loop {
            match self.slots.prepare(at, bytes).map_err(SiteError::Instruction)? {
                Preparation::Ready => return Ok(()),
                Preparation::Write(to, code, slot) => {
                    self.memory
                        .write(ProcAddr(to), &code)
                        .map_err(|error| SiteError::Write(error.into()))?;
                    self.slots.written(slot);
                }
                Preparation::NeedsArena => {
                    let base = self.map_near(at).map_err(SiteError::NoSlot)?;
                    self.slots.add_arena(base);
                }
            }
        }
    }

    /// Something that stops threads lies over the instruction at `at` from now on: it is not told to those that stand there.
    pub(super) fn has_come_under(&mut self, at: u64) {
        for thread in self.threads.values_mut() {
            if thread.is_stopped() && !thread.queued && thread.registers().is_ok_and(|raw| raw.rip == at) {
                thread.told_at = Some(at);
            }
        }
    }

    /// Takes a site out; there may be none. A hit that was not told yet is dropped.
    pub(crate) fn remove_site(&mut self, addr: ProcAddr) -> Result<(), ProcessError> {
        match self.memory.restore(addr.0) {
            Ok(_) => Ok(()),
            Err(_) if self.ended.is_some() => Ok(()),
            Err(error) => Err(ProcessError::Site {
                addr,
                why: SiteError::Write(error),
            }),
        }
    }

    /// Whether there is a site at `addr`.
    #[cfg(test)]
    pub(crate) fn has_site(&self, addr: ProcAddr) -> bool {
        self.memory.is_patched(addr.0)
    }

    /// The byte of the file that is mapped at `addr`; `None` where none is, or it cannot be read.
    fn byte_in_file(&self, addr: u64) -> Option<u8> {
        let maps = maps::of(self.pid).ok()?;
        let mapping = maps.iter().find(|mapping| mapping.addresses.contains(&addr))?;
        let proc = format!("/proc/{}", self.pid);
        let executable = std::fs::read_link(format!("{proc}/exe")).ok()?;
        let path = if executable.to_str() == Some(&mapping.name) {
            format!("{proc}/exe")
        } else if mapping.name.starts_with('/') {
            format!("{proc}/root{}", mapping.name)
        } else {
            return None;
        };
        let mut byte = [0];
        let offset = mapping.offset + (addr - mapping.addresses.start);
        File::open(path).ok()?.read_exact_at(&mut byte, offset).ok()?;
        Some(byte[0])
    }

    /// Maps memory for slots near an instruction.
    fn map_near(&mut self, addr: u64) -> Result<u64, Errno> {
        let maps = maps::of(self.pid).map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))?;
        let at = maps::free_near(&maps, addr, ARENA_SIZE).ok_or(Errno::ENOMEM)?;
        let protection = libc::PROT_READ | libc::PROT_EXEC;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
        let arguments = [at, ARENA_SIZE, protection as u64, flags as u64, u64::MAX, 0];
        self.call_in_process(libc::SYS_mmap, arguments)
    }
}
