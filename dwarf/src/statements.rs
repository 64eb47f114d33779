//! Which addresses a line breakpoint gets.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::functions::Function;
use crate::{Binary, FileAddr};

/// A place where a line's code begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The first instruction.
    pub addr: FileAddr,
    /// The entry of the function whose code it is in.
    pub function: FileAddr,
    /// For code that was inlined into that function: the function whose code it is.
    pub inlined: Option<Arc<str>>,
}

/// A row of a line table that belongs to the line asked for.
struct Candidate {
    addr: FileAddr,
    is_stmt: bool,
}

impl Binary {
    /// Where the code of `file`:`line` begins: one address for each function that contains it, and one for each copy
    /// inlined into another function; generic functions have a body for each shape of their type arguments. The
    /// choice among several rows is Delve's: the lowest address that is a statement, and if that is the function's
    /// entry, the first one behind the prologue. A line that only calls functions that were inlined has the first
    /// addresses of these. Sorted by address; empty when the line has no code.
    pub fn statements(&self, file: &str, line: u32) -> Vec<Statement> {
        let mut candidates = self.rows_of_line(file, line);
        if candidates.is_empty() {
            let calls = self.inlined_calls_from(file, line).into_iter();
            candidates = calls.map(|addr| Candidate { addr, is_stmt: true }).collect();
        }
        candidates.sort_by_key(|candidate| candidate.addr);
        let mut by_function: BTreeMap<FileAddr, (&Function, Vec<Candidate>)> = BTreeMap::new();
        for candidate in candidates {
            if let Some(function) = self.function_at(candidate.addr) {
                by_function
                    .entry(function.entry)
                    .or_insert_with(|| (function, Vec::new()))
                    .1
                    .push(candidate);
            }
        }
        let mut statements: Vec<Statement> = by_function
            .into_values()
            .flat_map(|(function, rows)| self.statements_in(function, &rows))
            .collect();
        statements.sort_by_key(|statement| statement.addr);
        statements.dedup();
        statements
    }

    fn rows_of_line(&self, file: &str, line: u32) -> Vec<Candidate> {
        let Ok(units) = self.units() else { return Vec::new() };
        let mut found = Vec::new();
        for record in self
            .units_of_file(file)
            .iter()
            .filter_map(|unit| units.records.get(*unit as usize))
        {
            let names = self.files_of_unit(record);
            let is_file = |number: u32| names.get(number as usize).is_some_and(|name| &**name == file);
            let rows = self.rows_of_unit(record).all().iter();
            let rows = rows.filter(|row| row.line == line && !row.end && is_file(row.file));
            found.extend(rows.map(|row| Candidate {
                addr: row.addr,
                is_stmt: row.is_stmt,
            }));
        }
        found
    }

    /// Chooses among the rows of one line in one function.
    fn statements_in(&self, function: &Function, rows: &[Candidate]) -> Vec<Statement> {
        // Wrappers around deferred calls repeat the line of the `defer`, and are not what anybody means.
        if function.name.contains("·dwrap·") {
            return Vec::new();
        }
        let info = self.function_info(function).ok();
        if info.as_ref().is_some_and(|info| info.is_wrapper) {
            return Vec::new();
        }
        let mut inlined: Vec<(u32, usize, &Range<FileAddr>, &Arc<str>)> = Vec::new();
        if let Some(info) = &info {
            let mut number = 0;
            info.scope.each_inlined(0, &mut |depth, scope| {
                number += 1;
                if let Some(call) = &scope.inlined {
                    inlined.extend(scope.ranges.iter().map(|range| (depth, number, range, &call.name)));
                }
            });
        }
        // The innermost call comes first.
        inlined.sort_by_key(|(depth, ..)| std::cmp::Reverse(*depth));

        let mut by_copy: BTreeMap<usize, (Option<&Arc<str>>, Vec<&Candidate>)> = BTreeMap::new();
        for row in rows {
            let call = inlined.iter().find(|(_, _, range, _)| range.contains(&row.addr));
            let (copy, name) = call.map_or((0, None), |(_, number, _, name)| (*number, Some(*name)));
            by_copy.entry(copy).or_insert_with(|| (name, Vec::new())).1.push(row);
        }
        let mut statements = Vec::new();
        for (copy, (name, rows)) in by_copy {
            let Some(chosen) = rows.iter().find(|row| row.is_stmt).or(rows.first()) else {
                continue;
            };
            let mut addr = chosen.addr;
            if copy == 0 && addr == function.entry {
                addr = self.behind_prologue_on_line(function).unwrap_or(addr);
            }
            statements.push(Statement {
                addr,
                function: function.entry,
                inlined: name.cloned(),
            });
        }
        statements
    }

    /// The end of the prologue if it is still on the line of the entry, else the first statement.
    fn behind_prologue_on_line(&self, function: &Function) -> Option<FileAddr> {
        let (_, rows) = self.rows_at(function.entry)?;
        let range = function.entry..function.end;
        let (_, line) = self.line_at(function.entry)?;
        let marked = rows
            .within(range.clone())
            .find(|row| row.prologue_end)
            .filter(|row| row.line == line);
        marked
            .or_else(|| rows.within(range).find(|row| row.is_stmt))
            .map(|row| row.addr)
    }
}
