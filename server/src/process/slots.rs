//! Where copies of instructions run: executable memory in the traced process, one slot for each instruction that ever had a site.
//!
//! The memory is mapped into the process below its code, in reach of 32-bit displacements. Code that ran at the start and never runs again would need no
//! mapping, but there is little of it, none that all programs and libraries have, and a profile or traceback that meets it would name the wrong function.
//! A slot is never used for another instruction while the process is traced, so no thread can be overtaken in one.

use std::collections::HashMap;

use super::displaced::{CannotDisplace, Copied, Displaced, Progress, SLOT_SIZE, displace};

/// The size of one mapping.
pub(super) const ARENA_SIZE: u64 = 64 << 10;

/// An instruction that had a site at some time, and how it is executed.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    /// The instruction.
    pub(super) addr: u64,
    /// Its bytes; another one may be here after the program wrote its own code.
    bytes: Vec<u8>,
    /// How it is executed.
    pub(super) how: How,
}

/// How an instruction under a site is executed.
#[derive(Clone, Debug)]
pub(super) enum How {
    /// By setting registers.
    Emulate(super::displaced::Emulation),
    /// By a copy at this address.
    Run(u64, Copied),
}

#[derive(Debug)]
struct Arena {
    base: u64,
    used: u64,
    /// The instructions whose slots are here, in the order of the slots.
    instructions: Vec<u64>,
}

/// All slots of a process.
#[derive(Debug, Default)]
pub(super) struct Slots {
    arenas: Vec<Arena>,
    by_instruction: HashMap<u64, Slot>,
}

/// What is needed before an instruction can have a site.
pub(super) enum Preparation {
    /// It has all it needs.
    Ready,
    /// This code must be written to this address, and then [`Slots::written`] called.
    Write(u64, Vec<u8>, Slot),
    /// A mapping near the instruction must be made, and then [`Slots::add_arena`] called.
    NeedsArena,
}

impl Slot {
    /// The instruction's bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Slots {
    /// Prepares for a site at `addr`, where the program has `bytes`.
    pub(super) fn prepare(&mut self, addr: u64, bytes: &[u8]) -> Result<Preparation, CannotDisplace> {
        if self
            .by_instruction
            .get(&addr)
            .is_some_and(|known| bytes.starts_with(&known.bytes))
        {
            return Ok(Preparation::Ready);
        }
        let displaced = displace(addr, bytes)?;
        let length = iced_x86::Decoder::with_ip(64, bytes, addr, iced_x86::DecoderOptions::NONE)
            .decode()
            .len();
        let bytes = bytes.get(..length).unwrap_or_default().to_vec();
        match displaced {
            Displaced::Emulated(emulation) => {
                let how = How::Emulate(emulation);
                self.by_instruction.insert(addr, Slot { addr, bytes, how });
                Ok(Preparation::Ready)
            }
            Displaced::Copied(copied) => {
                for arena in &self.arenas {
                    if arena.used + SLOT_SIZE > ARENA_SIZE {
                        continue;
                    }
                    let at = arena.base + arena.used;
                    match copied.encode(at) {
                        Ok(code) => {
                            let how = How::Run(at, copied);
                            return Ok(Preparation::Write(at, code, Slot { addr, bytes, how }));
                        }
                        Err(CannotDisplace::TooFar) => {}
                        Err(error) => return Err(error),
                    }
                }
                Ok(Preparation::NeedsArena)
            }
        }
    }

    /// The code of a slot was written.
    pub(super) fn written(&mut self, slot: Slot) {
        if let How::Run(at, _) = slot.how
            && let Some(arena) = self.arenas.iter_mut().find(|arena| arena.contains(at))
        {
            arena.used += SLOT_SIZE;
            arena.instructions.push(slot.addr);
        }
        self.by_instruction.insert(slot.addr, slot);
    }

    /// A mapping of [`ARENA_SIZE`] was made.
    pub(super) fn add_arena(&mut self, base: u64) {
        self.arenas.push(Arena {
            base,
            used: 0,
            instructions: Vec::new(),
        });
    }

    /// Whether no thread can be in a slot.
    pub(super) fn is_empty(&self) -> bool {
        self.arenas.is_empty()
    }

    /// The addresses of all mappings.
    pub(super) fn arenas(&self) -> Vec<u64> {
        self.arenas.iter().map(|arena| arena.base).collect()
    }

    /// The instruction at `addr`, if it ever had a site.
    pub(super) fn of_instruction(&self, addr: u64) -> Option<&Slot> {
        self.by_instruction.get(&addr)
    }

    /// Where in the original code a thread stands whose program counter is in a slot: the instruction's address, how far it is, and whether it can be
    /// interrupted half-way. `None` when `pc` is in no slot.
    pub(super) fn place(&self, pc: u64) -> Option<Place> {
        let arena = self.arenas.iter().find(|arena| arena.contains(pc))?;
        let offset = pc - arena.base;
        let instruction = *arena.instructions.get((offset / SLOT_SIZE) as usize)?;
        let slot = self.by_instruction.get(&instruction)?;
        let How::Run(at, copied) = &slot.how else {
            return None;
        };
        if *at != pc - offset % SLOT_SIZE {
            // The slot of what was at this address before.
            return None;
        }
        Some(Place {
            instruction,
            progress: copied.progress(offset % SLOT_SIZE),
            restarts: copied.restarts(),
        })
    }
}

/// A program counter in a slot, in terms of the original code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The original instruction.
    pub(super) instruction: u64,
    /// Whether it has been executed.
    pub(super) progress: Progress,
    /// Whether it may be interrupted half-way, to be begun again.
    pub(super) restarts: bool,
}

impl Place {
    /// The program counter and the stack pointer as they would be without the slot.
    pub(super) fn original(&self, sp: u64) -> (u64, u64) {
        match self.progress {
            Progress::Before { pushed } => (self.instruction, sp.wrapping_add(pushed)),
            Progress::After(next) => (next, sp),
        }
    }
}

impl Arena {
    fn contains(&self, addr: u64) -> bool {
        (self.base..self.base + ARENA_SIZE).contains(&addr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: u64 = 0x3f_0000;

    fn insert(slots: &mut Slots, addr: u64, bytes: &[u8]) -> Option<u64> {
        match slots.prepare(addr, bytes).expect("an instruction") {
            Preparation::Write(at, _, slot) => {
                slots.written(slot);
                Some(at)
            }
            Preparation::Ready => None,
            Preparation::NeedsArena => panic!("there is an arena"),
        }
    }

    #[test]
    fn each_instruction_keeps_its_slot() {
        let mut slots = Slots::default();
        assert!(matches!(slots.prepare(0x40_1000, &[0x55]), Ok(Preparation::NeedsArena)));
        slots.add_arena(BASE);
        assert_eq!(insert(&mut slots, 0x40_1000, &[0x55, 0x90]), Some(BASE));
        assert_eq!(
            insert(&mut slots, 0x40_2000, &[0x48, 0x89, 0xe5, 0x90]),
            Some(BASE + SLOT_SIZE)
        );
        assert_eq!(
            insert(&mut slots, 0x40_1000, &[0x55, 0xcc]),
            None,
            "known, whatever is behind it"
        );
        assert_eq!(insert(&mut slots, 0x40_3000, &[0xeb, 0]), None, "a jump needs none");
        assert_eq!(
            insert(&mut slots, 0x40_1000, &[0x53]),
            Some(BASE + 2 * SLOT_SIZE),
            "another instruction has come to the same address"
        );
    }

    #[test]
    fn a_program_counter_in_a_slot_is_one_in_the_original_code() {
        let mut slots = Slots::default();
        slots.add_arena(BASE);
        insert(&mut slots, 0x40_1000, &[0x55]);
        // call +0
        insert(&mut slots, 0x40_2000, &[0xe8, 0, 0, 0, 0]);
        let original = |pc| slots.place(pc).map(|place| place.original(0x1000));
        assert_eq!(original(BASE), Some((0x40_1000, 0x1000)));
        assert_eq!(original(BASE + 1), Some((0x40_1001, 0x1000)));
        assert_eq!(original(BASE + SLOT_SIZE), Some((0x40_2000, 0x1000)));
        assert_eq!(
            original(BASE + SLOT_SIZE + 5),
            Some((0x40_2000, 0x1008)),
            "the return address is taken back"
        );
        assert_eq!(original(BASE + 2 * SLOT_SIZE), None, "no slot there yet");
        assert_eq!(original(BASE - 1), None);
    }

    #[test]
    fn an_arena_that_is_full_or_far_away_is_not_used() {
        let mut slots = Slots::default();
        slots.add_arena(BASE);
        for number in 0..ARENA_SIZE / SLOT_SIZE {
            assert!(insert(&mut slots, 0x40_0000 + number, &[0x55]).is_some());
        }
        assert!(matches!(slots.prepare(0x50_0000, &[0x55]), Ok(Preparation::NeedsArena)));
        slots.add_arena(0x7fff_0000_0000);
        assert!(matches!(slots.prepare(0x50_0000, &[0x55]), Ok(Preparation::NeedsArena)));
    }
}
