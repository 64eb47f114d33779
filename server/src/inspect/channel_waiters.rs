//! The goroutines that wait for a channel: the queues of `runtime.sudog` in `runtime.hchan` (`runtime/chan.go`, `runtime/runtime2.go`).

use spelunk_dwarf::{Binary, Kind, ProcAddr};

use super::FrameScope;
use crate::expr::{EvalError, parse};
use crate::value::{LoadConfig, Memory};

/// More do not wait for one channel; a list that claims more was overwritten.
const MAX_WAITING: usize = 1 << 20;

/// Where the runtime keeps the queues.
struct Queues {
    receivers: u64,
    senders: u64,
    goroutine: u64,
    next: u64,
    goid: u64,
}

impl Queues {
    /// From the binary's own debug information; `None` when the runtime is not laid out as any known one.
    fn of(binary: &Binary) -> Option<Queues> {
        let offset = |name: &str, path: &str| binary.field_offset(binary.type_named(name)?, path).ok();
        Some(Queues {
            receivers: offset("runtime.hchan", "recvq.first")?,
            senders: offset("runtime.hchan", "sendq.first")?,
            goroutine: offset("runtime.sudog", "g")?,
            next: offset("runtime.sudog", "next")?,
            goid: offset("runtime.g", "goid")?,
        })
    }
}

impl FrameScope<'_> {
    /// The goroutines that wait for the channel that an expression names, receivers first: at most `count` from the `start`th on. None for what is no
    /// channel.
    pub(crate) fn waiting_on(&self, channel: &str, start: usize, count: usize) -> Result<Vec<i64>, EvalError> {
        let parsed = parse(channel)?;
        let loader = self.loader(LoadConfig::FULL);
        let evaluator = self.evaluator(&loader);
        let operand = evaluator.evaluate(&parsed)?;
        if !matches!(operand.kind(), Some(Kind::Chan { .. })) {
            return Ok(Vec::new());
        }
        let base = evaluator.pointer(&operand)?;
        let queues = Queues::of(self.binary).ok_or_else(|| {
            EvalError::Refused("the debug information does not describe the runtime's channels".to_owned())
        })?;
        let mut waiting = Vec::new();
        if base == 0 {
            return Ok(waiting);
        }
        let word = |addr: u64, offset: u64| self.memory.read_uint(ProcAddr(addr.wrapping_add(offset)), 8);
        let mut passed = 0;
        for queue in [queues.receivers, queues.senders] {
            let mut waiter = word(base, queue)?;
            while waiter != 0 && waiting.len() < count && passed < MAX_WAITING {
                let id = word(word(waiter, queues.goroutine)?, queues.goid)?;
                if passed >= start {
                    waiting.push(id.cast_signed());
                }
                passed += 1;
                waiter = word(waiter, queues.next)?;
            }
        }
        Ok(waiting)
    }
}
