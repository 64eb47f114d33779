//! A program's memory may hold anything: whatever is read, looking at it ends, and ends soon.

use std::sync::Arc;

use proptest::prelude::*;
use spelunk_dwarf::{Binary, DwarfReg, LoadBias, ProcAddr};

use super::program::{Build, build};
use crate::inspect::{InspectError, Registers, Stopped, Tid, Whose, goroutines, running_goroutine, stack, unwind};
use crate::value::{Memory, ReadError};

/// A little memory, where the program's data and the pointers in it lead: the same bytes over and over.
struct Nonsense {
    bytes: Vec<u8>,
    /// Where the runtime's list of goroutines is.
    allgs: u64,
}

/// Where pointers lead, and how far there is something.
const HEAP: u64 = 0xc000_0000;
const HEAP_SIZE: u64 = 1 << 13;

impl Memory for Nonsense {
    fn read(&self, addr: ProcAddr, buf: &mut [u8]) -> Result<(), ReadError> {
        let end = addr.0.saturating_add(buf.len() as u64);
        let inside = |start: u64, size: u64| addr.0 >= start && end <= start + size;
        if !inside(self.allgs, 64) && !inside(HEAP, HEAP_SIZE) {
            return Err(ReadError::Fault(addr));
        }
        let mut at = addr.0 as usize % self.bytes.len();
        let mut rest = buf;
        while !rest.is_empty() {
            let len = rest.len().min(self.bytes.len() - at);
            let (now, later) = rest.split_at_mut(len);
            now.copy_from_slice(&self.bytes[at..at + len]);
            rest = later;
            at = 0;
        }
        Ok(())
    }
}

struct Stopping {
    binary: Arc<Binary>,
    memory: Nonsense,
    registers: Registers,
}

impl Stopped for Stopping {
    fn binary(&self) -> &Arc<Binary> {
        &self.binary
    }

    fn bias(&self) -> LoadBias {
        LoadBias::default()
    }

    fn memory(&self) -> &dyn Memory {
        &self.memory
    }

    fn threads(&self) -> Vec<Tid> {
        vec![Tid(1)]
    }

    fn registers(&self, _: Tid) -> Result<Registers, InspectError> {
        Ok(self.registers.clone())
    }
}

/// Code addresses of functions that unwinding treats specially, and of others.
fn code(binary: &Binary) -> Vec<u64> {
    let names = [
        "runtime.systemstack",
        "runtime.mcall",
        "runtime.newstack",
        "runtime.morestack",
        "runtime.systemstack_switch",
        "runtime.asmcgocall",
        "runtime.cgocallback",
        "runtime.sigtramp",
        "runtime.sigreturn__sigaction",
        "runtime.sigpanic",
        "runtime.asyncPreempt",
        "runtime.clone",
        "runtime.goexit",
        "runtime.nanotime1",
        "time.now",
        "runtime.mstart",
        "main.main",
        "main.deep",
        "runtime.gopark",
    ];
    let functions = names.iter().filter_map(|name| binary.function_named(name));
    functions
        .flat_map(|f| [f.entry.0, f.entry.0 + 1, f.entry.0 + f.size() / 2])
        .collect()
}

#[test]
fn nonsense_comes_to_an_end() {
    let Some(binary) = build("fixture", Build::Optimized) else {
        return;
    };
    let code = code(&binary);
    let layout = binary.runtime_layout().expect("it is a Go program");
    let word = prop_oneof![
        prop::sample::select(code.clone()),
        // Pointers into memory of which there is little, so that they meet.
        (0u64..64).prop_map(|n| HEAP + 8 * n),
        0u64..64,
        any::<u64>(),
    ];
    let general = prop_oneof![
        prop::sample::select(code),
        (0u64..64).prop_map(|n| HEAP + 8 * n),
        any::<u64>()
    ];
    let strategy = (prop::collection::vec(word, 64), prop::collection::vec(general, 18));
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(1000)
    });
    let outcome = runner.run(&strategy, |(memory, values)| {
        let mut registers = Registers::default();
        for (number, value) in (0u16..17).zip(&values) {
            registers.set_general(DwarfReg(number), Some(*value));
        }
        registers.fs_base = values.last().copied();
        let stopped = Stopping {
            binary: Arc::clone(&binary),
            memory: Nonsense {
                bytes: memory.into_iter().flat_map(u64::to_le_bytes).collect(),
                allgs: layout.allgs.map_or(0, |at| at.0),
            },
            registers: registers.clone(),
        };
        let found = unwind(&binary, LoadBias::default(), &stopped.memory, &registers, 500);
        prop_assert!(found.frames.len() <= 500);
        let _ = running_goroutine(&stopped.memory, &layout, &registers);
        let _ = stack(&stopped, Whose::Thread(Tid(1)), 500);
        let (some, _) = goroutines(&stopped, 0, 3).unwrap_or_default();
        for g in some {
            let _ = stack(&stopped, Whose::Goroutine(g.id), 500);
        }
        Ok(())
    });
    outcome.expect("every case ends");
}
