//! What names mean in a record, and whether a condition holds there that the kernel could not decide.

use spelunk_bpf::{Flags, RecordView};
use spelunk_dwarf::{Binary, Kind, ProcAddr, TypeId};

use super::capture::Captured;
use super::function::SitePlan;
use super::line::{TypeArguments, canonical_frame_address, dictionary};
use super::paths::{Named, package_of};
use super::record::{Live, RecordMemory};
use crate::expr::{EvalError, Evaluator, Expr, Operand, Scope, Variable, What, find_global};
use crate::value::{LoadConfig, Loader, Memory};

/// A condition as a site keeps it, for hits at which the kernel found no value, and for those that nobody has looked at yet.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SiteCondition {
    /// The condition.
    pub(super) condition: Expr,
    /// The variables that it may read, as the site's plan captures them.
    pub(super) variables: Vec<Captured>,
    /// Their names, in the same order.
    pub(super) names: Vec<Named>,
}

/// What names mean in a record.
pub(super) struct RecordScope<'r> {
    binary: &'r Binary,
    memory: RecordMemory<'r>,
    names: &'r [Named],
    variables: Vec<Variable>,
    /// What the type parameters of a generic function stand for, as far as it is known.
    arguments: TypeArguments,
    /// The function's package.
    package: &'r str,
    goroutine: Option<ProcAddr>,
    frame_offset: i64,
    thread: i64,
}

impl<'r> RecordScope<'r> {
    /// The scope of a record of `site`, which holds `variables` with their `names`. With `live`, of a record that was made at a stop.
    pub(super) fn new(
        binary: &'r Binary,
        site: &'r SitePlan,
        (variables, names): (&[Captured], &'r [Named]),
        record: &RecordView<'r>,
        live: Option<Live<'r>>,
    ) -> RecordScope<'r> {
        let arguments = dictionary(binary, site, record, live).map_or_else(Vec::new, |(_, arguments)| arguments);
        let mut memory = RecordMemory::new(binary, site.addr, record, live);
        let cfa = canonical_frame_address(site, record);
        let place = |(number, variable): (usize, &Captured)| Variable {
            ty: variable.ty,
            addr: memory.variable(variable, &site.plan, record, cfa, number),
        };
        let variables = variables.iter().enumerate().map(place).collect();
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
            arguments,
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
                Some(self.binary.type_info(self.actual_type(variable.ty)?)?),
                why.clone(),
            )));
        }
        let found = match self.binary.type_info(variable.ty)?.kind {
            Kind::Pointer { elem } if named.escaped => Variable {
                ty: elem,
                addr: ProcAddr(self.memory.read_uint(variable.addr, 8)?),
            },
            _ => variable,
        };
        let ty = self.actual_type(found.ty)?;
        Variable { ty, ..found }.operand(self.binary).map(Some)
    }

    /// The type that a variable has in this call: that of a generic function's is a shape, which many types share.
    fn actual_type(&self, declared: TypeId) -> Result<TypeId, EvalError> {
        let index = self.binary.type_info(declared)?.dict_index;
        let argument = index.and_then(|index| *self.arguments.get(usize::try_from(index).ok()?)?);
        Ok(argument.unwrap_or(declared))
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

impl SitePlan {
    /// Whether the condition holds at the hit that `record` is of. The kernel's records are of hits at which it held, unless they say that this was left open
    /// ([`Flags::CONDITION_UNKNOWN`]); nobody has looked yet at those that are made at a stop, which come with `live`. The error is the interpreter's, where the
    /// condition has no value or reads what is not in the record.
    pub(crate) fn holds(
        &self,
        binary: &Binary,
        record: &RecordView<'_>,
        live: Option<Live<'_>>,
    ) -> Result<bool, EvalError> {
        let Some(condition) = &self.condition else {
            return Ok(true);
        };
        if live.is_none() && !record.flags().has(Flags::CONDITION_UNKNOWN) {
            return Ok(true);
        }
        let variables = (&condition.variables[..], &condition.names[..]);
        RecordScope::new(binary, self, variables, record, live).truth(&condition.condition)
    }
}
