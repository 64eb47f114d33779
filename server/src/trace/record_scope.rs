//! What names mean in a record, and whether a condition holds there that the kernel could not decide.

use spelunk_bpf::RecordView;
use spelunk_dwarf::{Binary, Kind, ProcAddr};

use super::capture::Captured;
use super::function::SitePlan;
use super::line::canonical_frame_address;
use super::paths::{Named, package_of};
use super::record::{Live, RecordMemory};
use crate::expr::{EvalError, Evaluator, Expr, Operand, Scope, Variable, What, find_global};
use crate::value::{LoadConfig, Loader, Memory};

/// What names mean in a record.
pub(super) struct RecordScope<'r> {
    binary: &'r Binary,
    memory: RecordMemory<'r>,
    names: &'r [Named],
    variables: Vec<Variable>,
    /// The function's package.
    package: &'r str,
    goroutine: Option<ProcAddr>,
    frame_offset: i64,
    thread: i64,
}

impl<'r> RecordScope<'r> {
    /// The scope of a record of `site`; `names` are those of its variables. With `live`, of a record that was made at a stop.
    pub(super) fn new(
        binary: &'r Binary,
        site: &'r SitePlan,
        names: &'r [Named],
        record: &RecordView<'r>,
        live: Option<Live<'r>>,
    ) -> RecordScope<'r> {
        let mut memory = RecordMemory::new(binary, site.addr, record, live);
        let cfa = canonical_frame_address(site, record);
        let place = |(number, variable): (usize, &Captured)| Variable {
            ty: variable.ty,
            addr: memory.variable(variable, &site.plan, record, cfa, number),
        };
        let variables = site.variables.iter().enumerate().map(place).collect();
        // Each record has these two of its goroutine.
        let g = record.g();
        let offsets = site.plan.runtime;
        memory.know(
            g.wrapping_add(u64::from(offsets.goid)),
            &record.goroutine().to_le_bytes(),
        );
        memory.know(
            g.wrapping_add(u64::from(offsets.stack_hi)),
            &record.stack_hi().to_le_bytes(),
        );
        RecordScope {
            binary,
            memory,
            names,
            variables,
            package: package_of(&site.function),
            goroutine: (g != 0).then_some(ProcAddr(g)),
            frame_offset: cfa.0.wrapping_sub(record.stack_hi()).cast_signed(),
            thread: i64::from(record.thread()),
        }
    }

    /// Evaluates expressions here.
    pub(super) fn evaluator(&self, config: LoadConfig) -> Evaluator<'_> {
        let loader = Loader {
            binary: self.binary,
            bias: self.memory.bias(),
            memory: &self.memory,
            config,
        };
        Evaluator { loader, scope: self }
    }

    /// Whether a condition holds here.
    pub(super) fn truth(&self, condition: &Expr) -> Result<bool, EvalError> {
        self.evaluator(LoadConfig::FULL).truth(condition)
    }

    fn find(&self, name: &str) -> Result<Option<Operand>, EvalError> {
        let Some(index) = self.names.iter().position(|known| known.name == name) else {
            return Ok(None);
        };
        let (Some(named), Some(variable)) = (self.names.get(index), self.variables.get(index).copied()) else {
            return Ok(None);
        };
        if let Some(why) = &named.missing {
            return Ok(Some(Operand::unreadable(
                Some(self.binary.type_info(variable.ty)?),
                why.clone(),
            )));
        }
        if named.escaped
            && let Kind::Pointer { elem } = self.binary.type_info(variable.ty)?.kind
        {
            let addr = ProcAddr(self.memory.read_uint(variable.addr, 8)?);
            return Variable { ty: elem, addr }.operand(self.binary).map(Some);
        }
        variable.operand(self.binary).map(Some)
    }
}

impl Scope for RecordScope<'_> {
    fn variable(&self, name: &str) -> Result<Option<Operand>, EvalError> {
        self.find(name)
    }

    fn global(&self, package: Option<&str>, name: &str) -> Result<Option<Operand>, EvalError> {
        // A variable of the function's own package was captured under its bare name, which `variable` answers.
        let found = match package {
            Some(package) => self.find(&format!("{package}.{name}"))?,
            None => None,
        };
        if found.is_some() {
            return Ok(found);
        }
        let found = find_global(self.binary, self.memory.bias(), package.unwrap_or(self.package), name)?;
        // Constants and functions are in the file; a variable that was not captured is known where the program stands still.
        Ok(found.filter(|found| self.memory.is_live() || !matches!(found.what, What::Place(_))))
    }

    fn goroutine(&self) -> Option<ProcAddr> {
        self.goroutine
    }

    fn frame_offset(&self) -> Option<i64> {
        Some(self.frame_offset)
    }

    fn thread(&self) -> Option<i64> {
        Some(self.thread)
    }
}

/// Whether the condition of `site` holds at the hit that `record` is of, which the kernel left open. The error is the interpreter's, where the condition has no
/// value, or where what it reads is not in the record.
pub(super) fn holds(
    binary: &Binary,
    site: &SitePlan,
    names: &[Named],
    record: &RecordView<'_>,
    live: Option<Live<'_>>,
) -> Result<bool, EvalError> {
    match &site.condition {
        Some(condition) => RecordScope::new(binary, site, names, record, live).truth(condition),
        None => Ok(true),
    }
}
