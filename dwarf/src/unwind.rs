//! Call frame information: where the canonical frame address is, and where a caller's registers were saved.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};

use gimli::{BaseAddresses, CfaRule as GimliCfa, CieOrFde, DebugFrame, EhFrame, RegisterRule as GimliRule};
use gimli::{SectionId, UnwindContext, UnwindSection};

use crate::error::DwarfError;
use crate::location::DwarfReg;
use crate::sections::Reader;
use crate::{Binary, FileAddr};

/// The canonical frame address: the value of `register` plus `offset`. In Go code it is the value that the stack
/// pointer had before the call that entered the function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CfaRule {
    /// RSP in Go, often RBP in C.
    pub register: DwarfReg,
    /// In bytes.
    pub offset: i64,
}

/// Where the value that a register had in the caller is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegisterRule {
    /// In memory, this many bytes above the canonical frame address.
    AtCfa(i64),
    /// It is the canonical frame address plus this.
    IsCfa(i64),
    /// Still in the register.
    Unchanged,
    /// In another register.
    InRegister(DwarfReg),
    /// Not kept, or in a place that would have to be computed.
    Lost,
}

/// How to get from a frame to its caller's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnwindRow {
    /// The code this is valid for.
    pub range: Range<FileAddr>,
    /// The canonical frame address.
    pub cfa: CfaRule,
    /// Which entry stands for the return address; [`DwarfReg::RA`] on this processor.
    pub return_address: DwarfReg,
    /// The registers that have a rule. Others are unchanged, as far as the calling convention keeps them; the caller's
    /// RSP is the canonical frame address.
    pub registers: Vec<(DwarfReg, RegisterRule)>,
    /// The frame of a signal handler: the caller was interrupted, it did not call.
    pub is_signal_frame: bool,
}

/// `.debug_frame` holds absolute addresses.
const NO_BASES: BaseAddresses = BaseAddresses {
    eh_frame_hdr: gimli::SectionBaseAddresses {
        section: None,
        text: None,
        data: None,
    },
    eh_frame: gimli::SectionBaseAddresses {
        section: None,
        text: None,
        data: None,
    },
};

/// Of functions with more rows than this, none are kept: a real one has a few, and a damaged one could fill the memory.
const MAX_KEPT_ROWS: usize = 1 << 10;

/// Both sections with frame descriptions, sorted by the code they describe.
#[derive(Debug, Default)]
pub(crate) struct FrameTables {
    debug_frame: Vec<(Range<u64>, usize)>,
    eh_frame: Vec<(Range<u64>, usize)>,
    /// The rows of the functions that were asked for, sorted by address.
    rows: RwLock<HashMap<EntryId, Arc<[Arc<UnwindRow>]>>>,
}

/// An entry of one of the two sections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum EntryId {
    DebugFrame(usize),
    EhFrame(usize),
}

impl Binary {
    /// How the canonical frame address is computed at `pc`.
    pub fn cfa(&self, pc: FileAddr) -> Result<CfaRule, DwarfError> {
        self.unwind_row(pc).map(|row| row.cfa)
    }

    /// How to unwind from `pc`: from `.debug_frame`, which Go's linker writes, else from the `.eh_frame` of C code. All rows of a function are read when
    /// its first one is asked for, and kept.
    pub fn unwind_row(&self, pc: FileAddr) -> Result<Arc<UnwindRow>, DwarfError> {
        let tables = self.frame_tables.get_or_init(|| FrameTables {
            debug_frame: self
                .debug_frame()
                .map(|section| entries(&section, &NO_BASES))
                .unwrap_or_default(),
            eh_frame: self
                .eh_frame()
                .map(|section| entries(&section, &self.eh_bases()))
                .unwrap_or_default(),
            rows: RwLock::default(),
        });
        let in_debug_frame = find(&tables.debug_frame, pc).map(EntryId::DebugFrame);
        let entry = in_debug_frame
            .or_else(|| find(&tables.eh_frame, pc).map(EntryId::EhFrame))
            .ok_or(DwarfError::NoFrame(pc))?;
        let known = tables.rows.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(rows) = known.get(&entry) {
            return row_at(rows, pc).ok_or(DwarfError::NoFrame(pc));
        }
        drop(known);
        let read = match entry {
            EntryId::DebugFrame(offset) => read_rows(&self.debug_frame()?, &NO_BASES, offset, pc)?,
            EntryId::EhFrame(offset) => read_rows(&self.eh_frame()?, &self.eh_bases(), offset, pc)?,
        };
        match read {
            RowsRead::All(rows) => {
                let found = row_at(&rows, pc).ok_or(DwarfError::NoFrame(pc));
                let mut known = tables.rows.write().unwrap_or_else(PoisonError::into_inner);
                known.insert(entry, rows);
                found
            }
            RowsRead::One(row) => Ok(row),
        }
    }

    fn debug_frame(&self) -> Result<DebugFrame<Reader<'_>>, DwarfError> {
        let mut section: DebugFrame<Reader<'_>> = self.section(SectionId::DebugFrame)?.into();
        section.set_address_size(8);
        Ok(section)
    }

    fn eh_frame(&self) -> Result<EhFrame<Reader<'_>>, DwarfError> {
        let mut section: EhFrame<Reader<'_>> = self.section(SectionId::EhFrame)?.into();
        section.set_address_size(8);
        Ok(section)
    }

    /// What the relative pointers of `.eh_frame` are relative to.
    fn eh_bases(&self) -> BaseAddresses {
        let address = |name| self.elf().section(name).map_or(0, |section| section.addr);
        BaseAddresses::default()
            .set_eh_frame(address(".eh_frame"))
            .set_text(address(".text"))
            .set_got(address(".got"))
    }
}

fn find(table: &[(Range<u64>, usize)], pc: FileAddr) -> Option<usize> {
    let end = table.partition_point(|(range, _)| range.start <= pc.0);
    let (range, offset) = table.get(end.checked_sub(1)?)?;
    range.contains(&pc.0).then_some(*offset)
}

/// Which code each entry of a section describes; what follows a damaged entry cannot be read.
fn entries<'a, S: UnwindSection<Reader<'a>>>(section: &S, bases: &BaseAddresses) -> Vec<(Range<u64>, usize)> {
    let mut found = Vec::new();
    let mut entries = section.entries(bases);
    while let Ok(Some(entry)) = entries.next() {
        if let CieOrFde::Fde(partial) = entry
            && let Ok(entry) = partial.parse(S::cie_from_offset)
        {
            found.push((entry.initial_address()..entry.end_address(), entry.offset()));
        }
    }
    found.sort_by_key(|(range, offset)| (range.start, *offset));
    found
}

fn row_at(rows: &[Arc<UnwindRow>], pc: FileAddr) -> Option<Arc<UnwindRow>> {
    let end = rows.partition_point(|row| row.range.start <= pc);
    let row = rows.get(end.checked_sub(1)?)?;
    row.range.contains(&pc).then(|| Arc::clone(row))
}

/// What was read of an entry.
enum RowsRead {
    /// Its usable rows, sorted by address.
    All(Arc<[Arc<UnwindRow>]>),
    /// Only the row that was asked for, of an entry with more rows than are kept or with one that cannot be used.
    One(Arc<UnwindRow>),
}

fn read_rows<'a, S: UnwindSection<Reader<'a>>>(
    section: &S,
    bases: &BaseAddresses,
    offset: usize,
    pc: FileAddr,
) -> Result<RowsRead, DwarfError> {
    let entry = section.fde_from_offset(bases, S::Offset::from(offset), S::cie_from_offset)?;
    let facts = EntryFacts {
        return_address: DwarfReg(entry.cie().return_address_register().0),
        is_signal_frame: entry.is_signal_trampoline(),
    };
    let mut context = UnwindContext::new();
    let mut table = entry.rows(section, bases, &mut context)?;
    let mut rows = Vec::new();
    let mut all = true;
    while let Some(row) = table.next_row()? {
        let here = row.contains(pc.0);
        match read_row(row, &facts) {
            Ok(row) if here && !all => return Ok(RowsRead::One(Arc::new(row))),
            Ok(row) if all => rows.push(Arc::new(row)),
            Err(error) if here => return Err(error),
            // What cannot be used is an error of its own where it is asked for, so it cannot simply be missing among the rows that are kept.
            Ok(_) | Err(_) => all = false,
        }
        if all && rows.len() > MAX_KEPT_ROWS {
            all = false;
        }
        if !all && let Some(found) = row_at(&rows, pc) {
            return Ok(RowsRead::One(found));
        }
    }
    if all {
        // The standard asks for ascending addresses.
        rows.sort_by_key(|row| row.range.start);
        return Ok(RowsRead::All(rows.into()));
    }
    Err(DwarfError::NoFrame(pc))
}

/// What holds for all rows of an entry.
struct EntryFacts {
    return_address: DwarfReg,
    is_signal_frame: bool,
}

fn read_row(row: &gimli::UnwindTableRow<usize>, facts: &EntryFacts) -> Result<UnwindRow, DwarfError> {
    let start = FileAddr(row.start_address());
    let cfa = match row.cfa() {
        // A table that never defines the address leaves gimli's default behind: nothing plus nothing.
        GimliCfa::RegisterAndOffset { register, offset } if (register.0, *offset) != (0, 0) => CfaRule {
            register: DwarfReg(register.0),
            offset: *offset,
        },
        GimliCfa::RegisterAndOffset { .. } => return Err(DwarfError::NoFrame(start)),
        GimliCfa::Expression(_) => {
            return Err(DwarfError::Unsupported(format!(
                "the frame address at {start} is computed by an expression"
            )));
        }
    };
    let registers = row.registers().map(|(register, rule)| {
        let rule = match rule {
            GimliRule::Offset(offset) => RegisterRule::AtCfa(*offset),
            GimliRule::ValOffset(offset) => RegisterRule::IsCfa(*offset),
            GimliRule::SameValue => RegisterRule::Unchanged,
            GimliRule::Register(other) => RegisterRule::InRegister(DwarfReg(other.0)),
            _ => RegisterRule::Lost,
        };
        (DwarfReg(register.0), rule)
    });
    Ok(UnwindRow {
        range: start..FileAddr(row.end_address()),
        cfa,
        return_address: facts.return_address,
        registers: registers.collect(),
        is_signal_frame: facts.is_signal_frame,
    })
}
