//! What the binary says about the program, for whoever asks without stopping it.

use std::sync::Arc;

use spelunk_dwarf::{Binary, LoadBias, ProcAddr};

use super::control::{Control, Phase};

/// The binary of a target, and where it lies in the process. It outlives the process.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    binary: Arc<Binary>,
    bias: LoadBias,
}

/// A function as a process has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Function {
    /// Its name with its package.
    pub(crate) name: Arc<str>,
    /// Its first instruction.
    pub(crate) entry: ProcAddr,
    /// Whether it was compiled with optimisations.
    pub(crate) optimized: bool,
}

impl Program {
    /// The binary.
    pub(crate) fn binary(&self) -> &Arc<Binary> {
        &self.binary
    }

    /// Where the binary lies in the process.
    pub(crate) fn bias(&self) -> LoadBias {
        self.bias
    }

    /// The function whose code an address is in, calls that were inlined there not told apart.
    pub(crate) fn function_at(&self, pc: ProcAddr) -> Option<Function> {
        let function = self.binary.function_at(self.bias.to_file(pc))?;
        let info = self.binary.function_info(function).ok();
        Some(Function {
            name: Arc::from(&*function.name),
            entry: self.bias.to_proc(function.entry),
            // What has no description was compiled by somebody else, as a release.
            optimized: info.is_none_or(|info| info.optimized),
        })
    }
}

impl Control {
    /// As [`super::Session::program`].
    pub(super) fn program(&mut self) -> Program {
        if self.phase == Phase::Held {
            // Only a program that was executed lies somewhere; where it fails to be, whoever looks at the target is told why.
            let _ = self.seize();
        }
        Program {
            binary: Arc::clone(&self.binary),
            bias: self.bias,
        }
    }
}
