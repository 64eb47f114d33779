//! All registers of a thread that a debugger's user may want to see: those that neither stacks nor variables need, too.

use spelunk_dwarf::DwarfReg;

use super::error::ProcessError;
use super::inferior::Inferior;
use super::ptrace;
use crate::inspect::{Registers, Tid};

/// Room for the area of XSAVE with AVX-512 and what follows it.
const XSAVE_AREA: usize = 4096;
/// Where the area says which of its parts are filled (Intel SDM volume 1, section 13.4.2).
const XSTATE_BV: usize = 512;
/// The upper halves of the 256-bit registers (section 13.5.3): their bit, and where they are in the standard format on every processor.
const AVX: u64 = 1 << 2;
const AVX_AREA: usize = 576;

/// A thread's registers.
#[derive(Clone, Debug)]
pub(crate) struct MachineRegisters {
    /// The general ones, the flags, and the base of thread-local storage.
    pub(crate) general: Registers,
    /// ES, CS, SS, DS, FS, GS.
    pub(crate) segments: [u64; 6],
    /// The base of GS.
    pub(crate) gs_base: u64,
    /// The stack of the floating-point unit, ST(0) first: 80 bits each.
    pub(crate) x87: [[u8; 10]; 8],
    /// Its control word.
    pub(crate) control: u16,
    /// Its status word.
    pub(crate) status: u16,
    /// The control and status of vector instructions.
    pub(crate) mxcsr: u32,
    /// XMM0 to XMM15.
    pub(crate) vectors: [[u8; 16]; 16],
    /// The upper halves of YMM0 to YMM15; `None` where the thread has not used them, or the processor has none.
    pub(crate) upper: Option<[[u8; 16]; 16]>,
}

impl Inferior {
    /// All registers of a stopped thread.
    pub(crate) fn machine_registers(&self, thread: Tid) -> Result<MachineRegisters, ProcessError> {
        let general = self.registers(thread)?;
        let raw = ptrace::registers(thread).map_err(ProcessError::system("read registers"))?;
        let floating = ptrace::fp_registers(thread).map_err(ProcessError::system("read floating-point registers"))?;
        let mut x87 = [[0; 10]; 8];
        for (register, words) in x87.iter_mut().zip(floating.st_space.chunks_exact(4)) {
            let bytes = words.iter().flat_map(|word| word.to_le_bytes());
            for (to, from) in register.iter_mut().zip(bytes) {
                *to = from;
            }
        }
        let mut vectors = [[0; 16]; 16];
        for (number, vector) in (17..).zip(&mut vectors) {
            *vector = general.vector(DwarfReg(number)).unwrap_or_default();
        }
        Ok(MachineRegisters {
            general,
            segments: [raw.es, raw.cs, raw.ss, raw.ds, raw.fs, raw.gs],
            gs_base: raw.gs_base,
            x87,
            control: floating.cwd,
            status: floating.swd,
            mxcsr: floating.mxcsr,
            vectors,
            upper: upper_halves(thread),
        })
    }
}

/// The upper halves of the 256-bit registers.
fn upper_halves(thread: Tid) -> Option<[[u8; 16]; 16]> {
    let mut area = vec![0; XSAVE_AREA];
    let filled = ptrace::xsave(thread, &mut area).ok()?;
    parse_upper_halves(area.get(..filled)?)
}

fn parse_upper_halves(area: &[u8]) -> Option<[[u8; 16]; 16]> {
    let filled = area.get(XSTATE_BV..XSTATE_BV + 8)?.try_into().ok()?;
    if u64::from_le_bytes(filled) & AVX == 0 {
        return None;
    }
    let halves = area.get(AVX_AREA..AVX_AREA + 256)?;
    let mut upper = [[0; 16]; 16];
    for (half, bytes) in upper.iter_mut().zip(halves.as_chunks::<16>().0) {
        *half = *bytes;
    }
    Some(upper)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upper_halves_are_there_only_where_the_thread_has_used_them() {
        let mut area = vec![0; 1024];
        area[AVX_AREA + 16] = 7;
        assert_eq!(parse_upper_halves(&area), None);
        area[XSTATE_BV] = 0b111;
        assert_eq!(parse_upper_halves(&area).map(|upper| upper[1][0]), Some(7));
        assert_eq!(parse_upper_halves(&area[..600]), None);
        assert_eq!(parse_upper_halves(&[]), None);
    }
}
