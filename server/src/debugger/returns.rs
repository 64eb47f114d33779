//! What a function has returned, read where it has just returned to.
//!
//! The registers hold the results there and nowhere else, and DWARF does not say which: Go's calling convention does, as for traces.

use std::sync::Arc;

use spelunk_dwarf::{Binary, FileAddr, FunctionInfo, LoadBias, ProcAddr, TypeId};

use super::DebugError;
use super::control::{Control, failed};
use super::temporary::Returning;
use crate::inspect::{Registers, Tid, Whose};
use crate::trace::{Convention, PassedAt, RegisterPart, Signature};
use crate::value::{LoadConfig, Loader, Memory, ReadError, Value, made_up_address};

/// A function that has returned, and where it has put its results.
#[derive(Clone)]
pub(super) struct Returned {
    /// The function.
    pub(super) function: Arc<FunctionInfo>,
    /// The canonical frame address that it had.
    pub(super) cfa: ProcAddr,
    /// The thread that it returned on.
    pub(super) thread: Tid,
}

impl Control {
    /// What a function that a step has come from leaves to be read.
    pub(super) fn returned(&self, thread: Tid, returning: &Returning) -> Returned {
        let stack_hi = self.passer(thread, FileAddr(0)).and_then(|passer| passer.goroutine);
        let hi = stack_hi
            .filter(|goroutine| !goroutine.on_system_stack)
            .map_or(0, |goroutine| goroutine.stack_hi.0);
        Returned {
            function: Arc::clone(&returning.function),
            cfa: ProcAddr(hi.wrapping_add_signed(returning.frame)),
            thread,
        }
    }

    /// As [`super::Session::return_values`].
    pub(super) fn return_values(&mut self, whose: Whose, config: LoadConfig) -> Result<Vec<Value>, DebugError> {
        self.require_stopped()?;
        let Some((_, returned)) = self.seen.returned.clone().filter(|(to, _)| *to == whose) else {
            return Ok(Vec::new());
        };
        let inferior = self.traced()?;
        let registers = inferior.registers(returned.thread).map_err(failed)?;
        let memory = self.traced_memory()?;
        read_results(&self.binary, self.bias, &**memory, &registers, &returned, config).map_err(failed)
    }
}

/// The bytes of a value of `size` bytes that registers carry; padding is zero, and what no known register has is missing.
pub(super) fn from_registers(registers: &Registers, parts: &[RegisterPart], size: usize) -> Vec<Option<u8>> {
    let mut bytes = vec![Some(0u8); size];
    for part in parts {
        let value = part.register.dwarf().and_then(|register| {
            if register.is_xmm() {
                registers.vector(register)?.first_chunk::<8>().copied()
            } else {
                registers.general(register).map(u64::to_le_bytes)
            }
        });
        for index in 0..part.size.min(8) {
            let byte = value.filter(|_| !part.blank).map(|value| value[index as usize]);
            let at = usize::try_from(part.offset + index).ok();
            if let Some(slot) = at.and_then(|at| bytes.get_mut(at)) {
                *slot = byte;
            }
        }
    }
    bytes
}

/// Loads the results of a function from the registers it has returned with.
fn read_results(
    binary: &Binary,
    bias: LoadBias,
    memory: &dyn Memory,
    registers: &Registers,
    returned: &Returned,
    config: LoadConfig,
) -> Result<Vec<Value>, spelunk_dwarf::DwarfError> {
    let info = &*returned.function;
    if !info.is_go {
        return Ok(Vec::new());
    }
    let signature = Signature::of(binary, info)?;
    let mut results = Results {
        memory,
        in_registers: Vec::new(),
    };
    let mut places: Vec<(String, TypeId, ProcAddr)> = Vec::new();
    for result in &signature.results {
        let addr = match &result.place {
            PassedAt::Stack(offset) => ProcAddr(returned.cfa.0.wrapping_add_signed(*offset)),
            PassedAt::Registers { parts, .. } => {
                let size = usize::try_from(binary.type_info(result.ty)?.size).unwrap_or(0);
                let bytes = from_registers(registers, parts, size);
                results.in_registers.push(bytes);
                made_up_address(results.in_registers.len() - 1)
            }
        };
        places.push((result.name().to_owned(), result.ty, addr));
    }
    let loader = Loader {
        binary,
        bias,
        memory: &results,
        config,
    };
    Ok(places
        .iter()
        .map(|(name, ty, addr)| {
            // A convention that is not understood names no registers.
            if signature.understood || signature.convention == Convention::Stack {
                loader.load(name, *ty, *addr)
            } else {
                let mut value = loader.load(name, *ty, ProcAddr(0));
                value.unreadable = Some(format!("the calling convention of {} is not known", info.name));
                value
            }
        })
        .collect())
}

/// The process's memory, and the results that lie in registers at made-up addresses.
struct Results<'a> {
    memory: &'a dyn Memory,
    /// The bytes of each; those that nobody put anywhere are missing.
    in_registers: Vec<Vec<Option<u8>>>,
}

impl Memory for Results<'_> {
    fn read(&self, addr: ProcAddr, buf: &mut [u8]) -> Result<(), ReadError> {
        for (number, bytes) in self.in_registers.iter().enumerate() {
            let start = made_up_address(number).0;
            let Some(offset) = addr
                .0
                .checked_sub(start)
                .and_then(|offset| usize::try_from(offset).ok())
            else {
                continue;
            };
            let within = offset.checked_add(buf.len()).and_then(|end| bytes.get(offset..end));
            if let Some(within) = within {
                for (to, from) in buf.iter_mut().zip(within) {
                    *to = from.ok_or(ReadError::Blank)?;
                }
                return Ok(());
            }
        }
        self.memory.read(addr, buf)
    }
}
