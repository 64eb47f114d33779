//! Line tables: which source line an address belongs to, and which files there are.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use gimli::{DebugLine, LineProgramHeader, SectionId};
use rayon::prelude::*;

use crate::error::DwarfError;
use crate::functions::Function;
use crate::parallel::in_pool;
use crate::sections::Reader;
use crate::units::UnitRecord;
use crate::{Binary, FileAddr};

/// What the names of one unit's files may take together, in bytes. Many entries can refer to one long name.
const MAX_FILE_NAMES: usize = 16 << 20;

/// A row of a line table: it holds up to the next row of its sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) addr: FileAddr,
    /// The number of the file in the unit's file table.
    pub(crate) file: u32,
    pub(crate) line: u32,
    pub(crate) is_stmt: bool,
    pub(crate) prologue_end: bool,
    /// Not code any more: the first address behind the sequence.
    pub(crate) end: bool,
}

/// What has been read so far of a line table.
#[derive(Debug, Default)]
pub(crate) struct LineTable {
    files: OnceLock<Arc<[Arc<str>]>>,
    rows: OnceLock<Rows>,
}

/// The rows of one line table: sequences of rows with ascending addresses.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    rows: Vec<Row>,
    /// The rows of each sequence, by its first address. The last row of each is its end.
    sequences: Vec<Range<usize>>,
}

impl Rows {
    fn push_sequence(&mut self, mut rows: Vec<Row>) {
        // The standard lets nothing but a sequence's end be its end, and asks for ascending addresses.
        rows.sort_by_key(|row| (row.addr, row.end));
        if rows.len() > 1 {
            let start = self.rows.len();
            self.rows.append(&mut rows);
            self.sequences.push(start..self.rows.len());
        }
    }

    fn finish(&mut self) {
        let rows = &self.rows;
        self.sequences.sort_by_key(|sequence| rows[sequence.start].addr);
    }

    /// The rows of the sequence that contains `pc`, and the index among them of the row that holds at `pc`.
    fn at(&self, pc: FileAddr) -> Option<(&[Row], usize)> {
        let end = self
            .sequences
            .partition_point(|sequence| self.rows[sequence.start].addr <= pc);
        let sequence = self.sequences.get(end.checked_sub(1)?)?;
        let rows = &self.rows[sequence.clone()];
        if rows.last().is_none_or(|last| last.addr <= pc) {
            return None;
        }
        let row = rows.partition_point(|row| row.addr <= pc).checked_sub(1)?;
        Some((rows, row))
    }

    /// The rows of the first sequence that starts in `range`.
    fn starting_in(&self, range: &Range<FileAddr>) -> Option<(&[Row], usize)> {
        let next = self
            .sequences
            .partition_point(|sequence| self.rows[sequence.start].addr < range.start);
        let rows = &self.rows[self.sequences.get(next)?.clone()];
        rows.first().filter(|row| row.addr < range.end).map(|_| (rows, 0))
    }

    /// The rows whose addresses are in `range`, ends of sequences left out.
    pub(crate) fn within(&self, range: Range<FileAddr>) -> impl Iterator<Item = &Row> {
        // Go's linker begins the sequence of a wrapper behind its first instruction.
        let (rows, first) = self
            .at(range.start)
            .or_else(|| self.starting_in(&range))
            .unwrap_or_default();
        // Several rows may share the first address.
        let first = rows[..first].partition_point(|row| row.addr < range.start);
        rows[first..]
            .iter()
            .filter(|row| !row.end)
            .take_while(move |row| row.addr < range.end)
    }

    /// All rows, ends of sequences included.
    pub(crate) fn all(&self) -> &[Row] {
        &self.rows
    }
}

/// The source files of the whole program, and which units have lines of each.
#[derive(Debug, Default)]
pub(crate) struct SourceFiles {
    names: Vec<Arc<str>>,
    units: HashMap<Arc<str>, Vec<u32>>,
}

impl Binary {
    pub(crate) fn line_header(
        &self,
        record: &UnitRecord,
    ) -> Result<Option<gimli::IncompleteLineProgram<Reader<'_>>>, DwarfError> {
        let Some(offset) = record.line_program else {
            return Ok(None);
        };
        let section: DebugLine<Reader<'_>> = self.section(SectionId::DebugLine)?.into();
        let program = section
            .program(offset, 8, None, None)
            .map_err(|e| DwarfError::at(".debug_line", e))?;
        Ok(Some(program))
    }

    /// The file table of a unit, by file number; empty when it is damaged.
    pub(crate) fn files_of_unit<'a>(&self, record: &'a UnitRecord) -> &'a [Arc<str>] {
        record.lines.files.get_or_init(|| {
            let read = || -> Result<Vec<Arc<str>>, DwarfError> {
                let dwarf = self.dwarf()?;
                let Some(program) = self.line_header(record)? else {
                    return Ok(Vec::new());
                };
                let header = program.header();
                let count = header.file_names().len() as u64;
                // Numbers begin at 0 in DWARF 5 and at 1 before.
                let last = if header.version() >= 5 { count } else { count + 1 };
                let mut files: Vec<Arc<str>> = Vec::new();
                let mut length = 0usize;
                for number in 0..last {
                    let name = file_name(&dwarf, header, record, number);
                    length = length.saturating_add(name.len());
                    if length > MAX_FILE_NAMES {
                        return Err(DwarfError::at(".debug_line", "the names of the files are too long"));
                    }
                    files.push(name.into());
                }
                Ok(files)
            };
            read().unwrap_or_default().into()
        })
    }

    /// The path of file `number` of a unit.
    pub(crate) fn file_of_unit(&self, record: &UnitRecord, number: u64) -> Option<Arc<str>> {
        let file = self.files_of_unit(record).get(usize::try_from(number).ok()?)?;
        (!file.is_empty()).then(|| Arc::clone(file))
    }

    /// The line table of a unit; when it is damaged, as far as it could be read.
    pub(crate) fn rows_of_unit<'a>(&self, record: &'a UnitRecord) -> &'a Rows {
        record.lines.rows.get_or_init(|| {
            let mut table = Rows::default();
            if let Ok(Some(program)) = self.line_header(record) {
                let mut rows = program.rows();
                let mut sequence = Vec::new();
                while let Ok(Some((_, row))) = rows.next_row() {
                    sequence.push(Row {
                        addr: FileAddr(row.address()),
                        file: u32::try_from(row.file_index()).unwrap_or(u32::MAX),
                        line: row.line().map_or(0, |line| u32::try_from(line.get()).unwrap_or(0)),
                        is_stmt: row.is_stmt(),
                        prologue_end: row.prologue_end(),
                        end: row.end_sequence(),
                    });
                    if row.end_sequence() {
                        table.push_sequence(std::mem::take(&mut sequence));
                    }
                }
            }
            table.finish();
            table
        })
    }

    /// The line table of the unit whose code contains `pc`.
    pub(crate) fn rows_at(&self, pc: FileAddr) -> Option<(&UnitRecord, &Rows)> {
        let units = self.units().ok()?;
        let record = units.records.get(units.at(pc)?)?;
        Some((record, self.rows_of_unit(record)))
    }

    /// The source file and line of the instruction at `pc`. Within code that was inlined it is the line of the callee.
    pub fn line_at(&self, pc: FileAddr) -> Option<(Arc<str>, u32)> {
        let (record, rows) = self.rows_at(pc)?;
        let row = match rows.at(pc) {
            Some((rows, at)) => rows.get(at)?,
            // Before the first row of its function.
            None => rows.within(pc..self.function_at(pc)?.end).next()?,
        };
        Some((self.file_of_unit(record, u64::from(row.file))?, row.line))
    }

    /// The addresses around `pc` that belong to the same line without a gap: from where the line begins, to where
    /// another one does.
    pub fn statement_range(&self, pc: FileAddr) -> Option<Range<FileAddr>> {
        let (_, rows) = self.rows_at(pc)?;
        let (rows, at) = rows.at(pc)?;
        let here = rows.get(at)?;
        let same = |row: &Row| !row.end && row.file == here.file && row.line == here.line;
        let before = rows[..at].iter().rev().take_while(|row| same(row)).count();
        let after = rows[at..].iter().find(|row| !same(row))?;
        Some(rows.get(at - before)?.addr..after.addr)
    }

    /// The first address behind the function's prologue, where the stack frame stands and the arguments have reached
    /// their homes: what the compiler marked (`DW_LNS_set_prologue_end`), else the function's first statement, which
    /// for functions without a frame is the entry. `None` for functions without line table.
    pub fn prologue_end(&self, function: &Function) -> Option<FileAddr> {
        let (_, rows) = self.rows_at(function.entry)?;
        let range = function.entry..function.end;
        let marked = rows.within(range.clone()).find(|row| row.prologue_end);
        marked
            .or_else(|| rows.within(range).find(|row| row.is_stmt))
            .map(|row| row.addr)
    }

    /// All source files that have a line table entry, sorted.
    pub fn files(&self) -> &[Arc<str>] {
        &self.source_files().names
    }

    /// The units with lines of `file`.
    pub(crate) fn units_of_file(&self, file: &str) -> &[u32] {
        self.source_files().units.get(file).map_or(&[], Vec::as_slice)
    }

    fn source_files(&self) -> &SourceFiles {
        self.source_files.get_or_init(|| {
            let Ok(units) = self.units() else {
                return SourceFiles::default();
            };
            let tables: Vec<&[Arc<str>]> = in_pool(|| {
                units
                    .records
                    .par_iter()
                    .map(|record| self.files_of_unit(record))
                    .collect()
            });
            let mut files = SourceFiles::default();
            for (index, table) in (0u32..).zip(tables) {
                for name in table.iter().filter(|name| !name.is_empty()) {
                    let units = files.units.entry(Arc::clone(name)).or_default();
                    if units.last() != Some(&index) {
                        units.push(index);
                    }
                }
            }
            files.names = files.units.keys().cloned().collect();
            files.names.sort_unstable();
            files
        })
    }
}

/// The path of a file in a line table; empty for numbers that stand for no file.
fn file_name(
    dwarf: &gimli::Dwarf<Reader<'_>>,
    header: &LineProgramHeader<Reader<'_>>,
    record: &UnitRecord,
    number: u64,
) -> String {
    let text = |value| dwarf.attr_line_string(value).ok().map(|text| text.to_string_lossy());
    // Before DWARF 5 number 0 stands for the unit itself, and gimli answers with what it was given for that.
    if header.version() < 5 && number == 0 {
        return String::new();
    }
    let Some(file) = header.file(number) else {
        return String::new();
    };
    let Some(name) = text(file.path_name()) else {
        return String::new();
    };
    let comp_dir = record.comp_dir.as_deref().unwrap_or("");
    let directory = match file.directory_index() {
        0 if header.version() < 5 => None,
        index => header.directory(index).and_then(text),
    };
    join_path(&[comp_dir, directory.as_deref().unwrap_or(""), &name])
}

/// Joins the parts of a path, starting over at an absolute one, and removes `.`, `..` and doubled slashes as Go's
/// `path.Join` does. Files of a build with `-trimpath` stay relative: `example.com/x/main.go`.
fn join_path(parts: &[&str]) -> String {
    let start = parts.iter().rposition(|part| part.starts_with('/')).unwrap_or(0);
    let absolute = parts.get(start).is_some_and(|part| part.starts_with('/'));
    let mut kept: Vec<&str> = Vec::new();
    for element in parts
        .get(start..)
        .unwrap_or_default()
        .iter()
        .flat_map(|part| part.split('/'))
    {
        match element {
            "" | "." => {}
            ".." if kept.last().is_some_and(|last| *last != "..") => {
                kept.pop();
            }
            ".." if absolute => {}
            element => kept.push(element),
        }
    }
    let joined = kept.join("/");
    if absolute { format!("/{joined}") } else { joined }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_join_as_in_go() {
        assert_eq!(join_path(&[".", "", "/src/main.go"]), "/src/main.go");
        assert_eq!(join_path(&[".", "", "example.com/x/main.go"]), "example.com/x/main.go");
        assert_eq!(join_path(&["/tmp/build", "sub/../c", "a.c"]), "/tmp/build/c/a.c");
        assert_eq!(join_path(&["/tmp", "/usr/include", "stdio.h"]), "/usr/include/stdio.h");
        assert_eq!(join_path(&["", "", "../x//./y.go"]), "../x/y.go");
        assert_eq!(join_path(&["/", "..", "x"]), "/x");
    }

    fn row(addr: u64, line: u32, end: bool) -> Row {
        Row {
            addr: FileAddr(addr),
            file: 1,
            line,
            is_stmt: true,
            prologue_end: false,
            end,
        }
    }

    #[test]
    fn rows_hold_up_to_the_next_one() {
        let mut rows = Rows::default();
        rows.push_sequence(vec![row(0x20, 5, false), row(0x28, 6, false), row(0x30, 6, true)]);
        rows.push_sequence(vec![row(0x10, 1, false), row(0x14, 2, false), row(0x18, 2, true)]);
        rows.finish();
        let line = |pc| rows.at(FileAddr(pc)).map(|(rows, at)| rows[at].line);
        assert_eq!(line(0xf), None);
        assert_eq!(line(0x10), Some(1));
        assert_eq!(line(0x17), Some(2));
        assert_eq!(line(0x18), None);
        assert_eq!(line(0x2f), Some(6));
        assert_eq!(line(0x30), None);
        let lines: Vec<u32> = rows
            .within(FileAddr(0x20)..FileAddr(0x29))
            .map(|row| row.line)
            .collect();
        assert_eq!(lines, [5, 6]);
        assert_eq!(rows.within(FileAddr(0x40)..FileAddr(0x50)).count(), 0);
    }
}
