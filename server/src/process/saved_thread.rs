//! Everything that a thread's registers are, taken down before the program is made to call a function on that thread, and put back afterwards.

use std::ops::Range;

use libc::user_regs_struct;
use spelunk_dwarf::{DwarfReg, ProcAddr};

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

    /// Sets a general register, or the lower half of a vector one (XMM), to `bytes`, of which the first eight or sixteen count; answers whether there is such a
    /// register.
    pub(crate) fn set_register(&mut self, register: DwarfReg, bytes: &[u8]) -> bool {
        if register.is_xmm() {
            return set_xmm(&mut self.vectors, usize::from(register.0 - FIRST_XMM), bytes);
        }
        let mut fields = super::registers::fields(&mut self.general);
        let Some(field) = fields.get_mut(usize::from(register.0)) else {
            return false;
        };
        let mut value = field.to_le_bytes();
        for (to, from) in value.iter_mut().zip(bytes) {
            *to = *from;
        }
        **field = u64::from_le_bytes(value);
        true
    }
}

/// DWARF's number of XMM0 (System V ABI for x86-64, figure 3.36).
const FIRST_XMM: u16 = 17;

/// Sets a register in an area of XSAVE: the legacy region has XMM0 at byte 160, and the header, at byte 512, says in bit 1 that these registers are not in
/// their initial state (Intel SDM volume 1, sections 13.4.1 and 13.4.2).
fn set_xmm(area: &mut [u8], number: usize, bytes: &[u8]) -> bool {
    const XMM: usize = 160;
    const HEADER: usize = 512;
    const SSE: u8 = 1 << 1;

    let at = XMM + 16 * number;
    if area.len() <= HEADER || number >= 16 {
        return false;
    }
    let Some(slot) = area.get_mut(at..at + 16) else {
        return false;
    };
    for (to, from) in slot.iter_mut().zip(bytes) {
        *to = *from;
    }
    if let Some(header) = area.get_mut(HEADER) {
        *header |= SSE;
    }
    true
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_register_is_set_in_its_place_and_marked() {
        let mut area = vec![0; 832];
        assert!(set_xmm(&mut area, 15, &[7; 16]));
        let set: Vec<usize> = (0..area.len()).filter(|at| area[*at] != 0).collect();
        assert_eq!(set, (400..416).chain([512]).collect::<Vec<_>>());
        assert_eq!(area[512], 2);
        assert!(!set_xmm(&mut area, 16, &[7; 16]));
        assert!(!set_xmm(&mut [0; 512], 0, &[7; 16]), "there is no header");
    }
}
