//! Everything that a thread's registers are, taken down before the program is made to call a function on that thread, and put back afterwards.

use std::ops::Range;

use libc::user_regs_struct;
use spelunk_dwarf::ProcAddr;

use super::error::ProcessError;
use super::inferior::Inferior;
use super::ptrace;
use crate::inspect::Tid;

/// Room for the area of XSAVE with AVX-512 and AMX (Intel SDM volume 1, section 13.5): the kernel gives and takes it as a whole.
const XSAVE_ROOM: usize = 16 << 10;

/// A thread's registers, and what was known of the place where it stood.
#[derive(Clone, Debug)]
pub(crate) struct SavedThread {
    general: user_regs_struct,
    /// The area of XSAVE: floating-point and vector registers of every width.
    vectors: Vec<u8>,
    told_at: Option<u64>,
    back_at: Option<u64>,
    comes_back: Option<(u64, u64)>,
}

impl SavedThread {
    /// The stack pointer.
    pub(crate) fn sp(&self) -> ProcAddr {
        ProcAddr(self.general.rsp)
    }

    /// The program counter.
    pub(crate) fn pc(&self) -> ProcAddr {
        ProcAddr(self.general.rip)
    }
}

impl Inferior {
    /// Takes down the registers of a stopped thread, as they would be without slots.
    pub(crate) fn save_thread(&self, thread: Tid) -> Result<SavedThread, ProcessError> {
        let general = self.original_registers(thread, "save the registers of")?;
        let mut vectors = vec![0; XSAVE_ROOM];
        let filled =
            ptrace::xsave(thread, &mut vectors).map_err(ProcessError::system("read floating-point registers"))?;
        vectors.truncate(filled);
        let known = self.thread(thread)?;
        let now = known.registers().map_err(ProcessError::system("read registers"))?;
        // Whoever is in a slot was told of the site whose instruction is executed there.
        let told_at = known.told_at.or((now.rip != general.rip).then_some(general.rip));
        Ok(SavedThread {
            general,
            vectors,
            told_at,
            back_at: known.back_at,
            comes_back: known.comes_back,
        })
    }

    /// Puts registers back. Should the goroutine's stack have been moved since, from the addresses `from` on by `by` bytes, what pointed into it points there
    /// again, as the runtime would have it. A site where the thread stands then counts as told if it did before.
    pub(crate) fn restore_thread(
        &mut self,
        thread: Tid,
        saved: &SavedThread,
        moved: Option<(Range<u64>, u64)>,
    ) -> Result<(), ProcessError> {
        if !self.thread(thread)?.is_stopped() {
            return Err(ProcessError::NotStopped {
                thread,
                attempted: "restore the registers of",
            });
        }
        let mut general = saved.general;
        if let Some((from, by)) = moved {
            for register in super::registers::fields(&mut general) {
                if from.contains(register) {
                    *register = register.wrapping_add(by);
                }
            }
        }
        ptrace::set_xsave(thread, &saved.vectors).map_err(ProcessError::system("restore floating-point registers"))?;
        let known = self.thread_mut(thread)?;
        known.told_at = saved.told_at;
        known.back_at = saved.back_at;
        known.comes_back = saved.comes_back;
        known.set_registers(general);
        known
            .write_registers()
            .map_err(ProcessError::system("restore registers"))
    }

    /// Takes back that a stopped thread was told of a site where it stands now: it has been put there, and comes to it.
    pub(crate) fn forget_told(&mut self, thread: Tid) {
        if let Ok(known) = self.thread_mut(thread) {
            known.told_at = None;
        }
    }
}
