//! Plans a logpoint, and reads its records.

use std::sync::Arc;

use spelunk_bpf::RecordView;
use spelunk_dwarf::{Abi, Binary, FileAddr, Function, Kind, ProcAddr};

use super::abi::Convention;
use super::capture::{Captured, PlanBuilder};
use super::function::{Runtime, SiteKind, SitePlan};
use super::layouts::Layouts;
use super::line::canonical_frame_address;
use super::paths::{Building, Named, package_of};
use super::record::{Live, RecordMemory};
use crate::expr::{EvalError, Evaluator, Expr, Operand, Part, Scope, Template, Variable, What, find_global};
use crate::value::{LoadConfig, Loader, Style, Value};

/// A logpoint at one address.
pub(crate) struct LogSite {
    /// The probe.
    pub(crate) site: SitePlan,
    /// The message; expressions that have no value here carry the reason.
    parts: Vec<LogPart>,
    /// What the names mean: variables of the site by their index.
    names: Vec<Named>,
}

enum LogPart {
    Text(String),
    Value(Expr),
    Error(String),
}

/// Plans logpoints of one binary.
pub(crate) struct LogPlanner<'a, 'b> {
    /// The binary.
    pub(crate) binary: &'a Binary,
    /// Its runtime.
    pub(crate) runtime: Runtime,
    /// Layouts for what is followed.
    pub(crate) layouts: &'a mut Layouts<'b>,
}

impl LogPlanner<'_, '_> {
    /// Plans a logpoint with the number `id` at `pc` of `function`, which is on `line`. What of the message cannot be evaluated there says so in the text; only a binary
    /// without usable debug information fails as a whole.
    pub(crate) fn plan(
        &mut self,
        id: u64,
        function: &Function,
        pc: FileAddr,
        line: u32,
        template: &Template,
    ) -> Result<LogSite, String> {
        let info = self.binary.function_info(function).map_err(|error| error.to_string())?;
        let rule = self.binary.cfa(pc).map_err(|error| error.to_string())?;
        if rule.register != spelunk_dwarf::DwarfReg::RSP {
            return Err(format!(
                "the frame of {} at {pc} is not found from the stack pointer",
                info.name
            ));
        }
        let cfa_offset = rule.offset;
        let convention = if info.abi == Abi::Internal {
            Convention::Internal
        } else {
            Convention::Stack
        };
        let mut site = Building {
            binary: self.binary,
            info: &info,
            pc,
            line,
            builder: PlanBuilder::new(self.layouts, cfa_offset),
            variables: Vec::new(),
            names: Vec::new(),
        };
        let mut parts = Vec::with_capacity(template.parts.len());
        for part in &template.parts {
            parts.push(match part {
                Part::Text(text) => LogPart::Text(text.clone()),
                Part::Value(Err(error)) => LogPart::Error(error.to_string()),
                Part::Value(Ok(expr)) => match site.capture(expr) {
                    Ok(()) => LogPart::Value(expr.clone()),
                    Err(error) => LogPart::Error(error.to_string()),
                },
            });
        }
        let plan = Arc::new(
            site.builder
                .finish(self.runtime.goroutine(convention), self.runtime.offsets),
        );
        let (variables, names) = (site.variables, site.names);
        let site = SitePlan {
            kind: SiteKind::Line(id),
            function: info.name.clone(),
            entry: info.low_pc,
            addr: pc,
            cfa_offset,
            variables,
            fragile: Vec::new(),
            dictionary: None,
            plan,
        };
        Ok(LogSite { site, parts, names })
    }
}

/// What names mean in a record.
struct RecordScope<'a, 'r> {
    names: &'a [Named],
    variables: Vec<Variable>,
    memory: &'a RecordMemory<'r>,
    binary: &'a Binary,
    /// The function's package.
    package: &'a str,
}

impl RecordScope<'_, '_> {
    fn find(&self, name: &str) -> Result<Option<Operand>, EvalError> {
        use crate::value::Memory;
        let Some(index) = self
            .names
            .iter()
            .position(|known| known.name == name && known.missing.is_none())
        else {
            return Ok(None);
        };
        let Some(variable) = self.variables.get(index).copied() else {
            return Ok(None);
        };
        if self.names.get(index).is_some_and(|named| named.escaped)
            && let Kind::Pointer { elem } = self.binary.type_info(variable.ty)?.kind
        {
            let target = self.memory.read_uint(variable.addr, 8)?;
            let addr = ProcAddr(target);
            return Variable { ty: elem, addr }.operand(self.binary).map(Some);
        }
        variable.operand(self.binary).map(Some)
    }
}

impl Scope for RecordScope<'_, '_> {
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
        // Constants and functions are in the file.
        let found = find_global(self.binary, self.memory.bias(), package.unwrap_or(self.package), name)?;
        Ok(found.filter(|found| !matches!(found.what, What::Place(_))))
    }
}

impl LogSite {
    /// The message of a record; with `live`, of one that was made at a stop.
    pub(crate) fn message(&self, binary: &Binary, record: &RecordView<'_>, live: Option<Live<'_>>) -> String {
        let site = &self.site;
        let mut memory = RecordMemory::new(binary, site.addr, record, live);
        let cfa = canonical_frame_address(site, record);
        let place = |(number, variable): (usize, &Captured)| Variable {
            ty: variable.ty,
            addr: memory.variable(variable, &site.plan, record, cfa, number),
        };
        let variables = site.variables.iter().enumerate().map(place).collect();
        let scope = RecordScope {
            names: &self.names,
            variables,
            memory: &memory,
            binary,
            package: package_of(&site.function),
        };
        let loader = Loader {
            binary,
            bias: memory.bias(),
            memory: &memory,
            config: LoadConfig::DAP,
        };
        let evaluator = Evaluator { loader, scope: &scope };
        let mut text = String::new();
        for part in &self.parts {
            match part {
                LogPart::Text(plain) => text.push_str(plain),
                LogPart::Error(why) => text.extend(["{eval err: ", why, "}"]),
                LogPart::Value(expr) => match evaluator.operand(expr) {
                    Ok(operand) => text.push_str(&message_text(&evaluator.load(&operand, ""))),
                    Err(error) => text.extend(["{eval err: ", &error.to_string(), "}"]),
                },
            }
        }
        text
    }
}

/// A value as Delve's DAP server shows it: unsigned integers in hexadecimal too.
fn message_text(value: &Value) -> String {
    let text = value.text(Style {
        shorten_types: true,
        ..Style::default()
    });
    match value.content {
        crate::value::Content::Uint(n) => format!("{text} = {n:#x}"),
        _ => text,
    }
}
