//! The lines of one function: what a step may land on.

use std::sync::Arc;

use crate::functions::Function;
use crate::{Binary, FileAddr};

/// A row of a function's line table: it holds from its address up to the next row's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineRow {
    /// The first instruction.
    pub addr: FileAddr,
    /// The source file; `None` when the table names none.
    pub file: Option<Arc<str>>,
    /// Its line; 0 when unknown.
    pub line: u32,
    /// Whether the compiler recommends the address for a breakpoint (`is_stmt`, DWARF 5 section 6.2.2).
    pub is_stmt: bool,
}

impl Binary {
    /// The rows of the line table within a function, in ascending order of addresses; several may share one address, and then stand in the table's order.
    /// Empty for code without debug information.
    pub fn line_rows(&self, function: &Function) -> Vec<LineRow> {
        let Some((record, rows)) = self.rows_at(function.entry) else {
            return Vec::new();
        };
        let rows = rows.within(function.entry..function.end);
        rows.map(|row| LineRow {
            addr: row.addr,
            file: self.file_of_unit(record, u64::from(row.file)),
            line: row.line,
            is_stmt: row.is_stmt,
        })
        .collect()
    }
}
