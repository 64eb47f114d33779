//! Plans a logpoint, and reads its records.

use std::sync::Arc;

use spelunk_bpf::{CountedHits, Goroutines, RecordView};
use spelunk_dwarf::{Abi, Binary, FileAddr, Function, FunctionInfo, LoadBias, ProcAddr};

use super::abi::Convention;
use super::capture::PlanBuilder;
use super::choice::later;
use super::function::{Runtime, SiteKind, SitePlan};
use super::layouts::Layouts;
use super::lower::AtLine;
use super::paths::{Building, Named};
use super::record::Live;
use super::record_scope::{RecordScope, SiteCondition};
use super::stopping::cfa_offset;
use super::terms::{Terms, Unfit, may_be_unknown};
use crate::expr::{EvalError, Expr, Part, Template};
use crate::value::{LoadConfig, Style, Value};

/// A logpoint at one address.
pub(crate) struct LogSite {
    /// The probe.
    pub(crate) site: SitePlan,
    /// The message; expressions that have no value here carry the reason.
    parts: Vec<LogPart>,
    /// What the names mean: variables of the site by their index.
    names: Vec<Named>,
    /// The roots of the number of a hit and of that among its goroutine's, where the kernel tells goroutines apart.
    numbers: Option<(usize, usize)>,
}

#[derive(Debug, PartialEq)]
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
    /// Plans a logpoint with the number `id` at `pc` of `function`, which is on `line`, for hits that pass `terms`. What of the message cannot be evaluated there
    /// says so in the text. The site may be a later instruction of the same statement, see [`super::choice`].
    pub(crate) fn plan(
        &mut self,
        id: u64,
        function: &Function,
        pc: FileAddr,
        line: u32,
        template: &Template,
        terms: Terms<'_>,
    ) -> Result<LogSite, Unfit> {
        let info = self.binary.function_info(function)?;
        let first = self.plan_at(id, &info, pc, line, template, terms)?;
        let Some(later) = later(self.binary, function, pc) else {
            return Ok(first);
        };
        match self.plan_at(id, &info, later.addr, line, template, terms) {
            Ok(moved) if moved.reads_as(&first) && later.keeps_what_is_read_by(&moved.site.plan) => Ok(moved),
            _ => Ok(first),
        }
    }

    pub(super) fn plan_at(
        &mut self,
        id: u64,
        info: &FunctionInfo,
        pc: FileAddr,
        line: u32,
        template: &Template,
        terms: Terms<'_>,
    ) -> Result<LogSite, Unfit> {
        let cfa_offset = cfa_offset(self.binary, info, pc)?;
        let convention = if info.abi == Abi::Internal {
            Convention::Internal
        } else {
            Convention::Stack
        };
        let names = AtLine {
            binary: self.binary,
            info,
            pc,
            line,
            cfa_offset,
        };
        let gate = terms.gate(self.binary, &names)?;
        let mut site = Building {
            binary: self.binary,
            info,
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
        if let Some(condition) = terms.condition
            && gate.condition.as_ref().is_some_and(may_be_unknown)
        {
            // Where the kernel finds no value the interpreter decides, as far as the record goes; what is missing then is told with the hit.
            site.capture_what_can_be(condition);
        }
        let dictionary = site.capture_dictionary();
        let tells_apart = terms.hits.is_some_and(|hits| hits.goroutines != Goroutines::Together);
        let numbers = tells_apart.then(|| {
            let mut number = |among| site.builder.number_of_hit(among);
            (number(CountedHits::All), number(CountedHits::OfGoroutine))
        });
        let (goroutine, offsets) = (self.runtime.goroutine(convention), self.runtime.offsets);
        let plan = Arc::new(site.builder.finish(goroutine, offsets, gate));
        let (variables, names) = (site.variables, site.names);
        let condition = terms.condition.map(|condition| {
            Arc::new(SiteCondition {
                condition: condition.clone(),
                variables: variables.clone(),
                names: names.clone(),
            })
        });
        let site = SitePlan {
            kind: SiteKind::Line(id),
            function: info.name.clone(),
            entry: info.low_pc,
            addr: pc,
            cfa_offset,
            variables,
            fragile: Vec::new(),
            dictionary,
            condition,
            only_with_call: false,
            plan,
        };
        Ok(LogSite {
            site,
            parts,
            names,
            numbers,
        })
    }
}

impl LogSite {
    /// As [`SitePlan::holds`].
    pub(crate) fn holds(
        &self,
        binary: &Binary,
        record: &RecordView<'_>,
        live: Option<Live<'_>>,
    ) -> Result<bool, EvalError> {
        self.site.holds(binary, record, live)
    }

    /// The number of a hit and that among its goroutine's, each 0 where the kernel has not counted it; `None` where it does not tell goroutines apart.
    pub(crate) fn numbers(&self, record: &RecordView<'_>) -> Option<(u64, u64)> {
        let number = |root| {
            let bytes = record.root(&self.site.plan, root).ok()?;
            Some(u64::from_le_bytes(bytes.try_into().ok()?))
        };
        let (all, of_goroutine) = self.numbers?;
        Some((number(all)?, number(of_goroutine)?))
    }

    /// An address in the process that a record is of.
    pub(crate) fn in_process(&self, addr: FileAddr, record: &RecordView<'_>) -> ProcAddr {
        LoadBias::between(self.site.addr, ProcAddr(record.ip())).to_proc(addr)
    }

    /// Whether its records say the same as those of another site.
    fn reads_as(&self, other: &LogSite) -> bool {
        let (a, b) = (&self.site, &other.site);
        (
            &a.plan,
            &a.variables,
            &a.dictionary,
            a.cfa_offset,
            &self.parts,
            &self.names,
        ) == (
            &b.plan,
            &b.variables,
            &b.dictionary,
            b.cfa_offset,
            &other.parts,
            &other.names,
        )
    }

    /// The values of the expressions of a record, in order, each with the reason where it has none; the limits of each are those of `configs`, at most
    /// [`LoadConfig::DAP`].
    pub(crate) fn values(
        &self,
        binary: &Binary,
        record: &RecordView<'_>,
        configs: &[LoadConfig],
    ) -> Vec<Result<Value, String>> {
        let scope = RecordScope::new(binary, &self.site, (&self.site.variables, &self.names), record, None);
        let load = |(part, config): (&LogPart, &LoadConfig)| match part {
            LogPart::Text(text) => Err(text.clone()),
            LogPart::Error(why) => Err(why.clone()),
            LogPart::Value(expr) => {
                let evaluator = scope.evaluator(*config);
                match evaluator.operand(expr) {
                    Ok(operand) => Ok(evaluator.load(&operand, &expr.to_string())),
                    Err(error) => Err(error.to_string()),
                }
            }
        };
        self.parts.iter().zip(configs).map(load).collect()
    }

    /// The message of a record; with `live`, of one that was made at a stop.
    pub(crate) fn message(&self, binary: &Binary, record: &RecordView<'_>, live: Option<Live<'_>>) -> String {
        let scope = RecordScope::new(binary, &self.site, (&self.site.variables, &self.names), record, live);
        let evaluator = scope.evaluator(LoadConfig::DAP);
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
