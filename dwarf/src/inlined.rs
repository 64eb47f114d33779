//! Where functions were inlined: one look at all units, taken when first needed and kept.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use gimli::{AttributeValue, constants as dw};
use rayon::prelude::*;

use crate::error::DwarfError;
use crate::parallel::in_pool;
use crate::units::Unit;
use crate::{Binary, FileAddr};

/// One inlined copy of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InlinedSite {
    /// The lowest range of the copy. A copy may be scattered over more ranges.
    pub range: Range<FileAddr>,
    /// The entry of the function that contains it.
    pub caller: FileAddr,
    /// The source file of the call.
    pub call_file: Option<Arc<str>>,
    /// The line of the call.
    pub call_line: u32,
}

/// A copy as it is kept: file names are looked up when asked for.
#[derive(Clone, Debug)]
struct Copy {
    /// The entry of the function in `.debug_info`.
    origin: usize,
    range: Range<FileAddr>,
    unit: u32,
    call_file: u64,
    call_line: u32,
}

#[derive(Debug, Default)]
pub(crate) struct InlinedIndex {
    /// Sorted by origin and address.
    copies: Vec<Copy>,
    /// The origins of each function that was inlined somewhere.
    origins: HashMap<Box<str>, Vec<usize>>,
    /// Their names, sorted.
    names: Vec<Box<str>>,
    /// The copies called from each line, by index.
    by_line: HashMap<u32, Vec<u32>>,
}

impl Binary {
    fn inlined_index(&self) -> Result<&InlinedIndex, DwarfError> {
        self.inlined_index
            .get_or_init(|| self.read_inlined_index())
            .as_ref()
            .map_err(Clone::clone)
    }

    fn read_inlined_index(&self) -> Result<InlinedIndex, DwarfError> {
        let dwarf = self.dwarf()?;
        let count = self.units()?.records.len();
        let copies: Vec<Vec<Copy>> = in_pool(|| {
            (0..count)
                .into_par_iter()
                .map(|index| {
                    let mut copies = Vec::new();
                    // A damaged unit contributes what can be read of it.
                    let _ = self.read_unit_copies(index, &mut copies);
                    copies
                })
                .collect()
        });
        let mut index = InlinedIndex {
            copies: copies.into_iter().flatten().collect(),
            ..InlinedIndex::default()
        };
        index.copies.sort_by_key(|copy| (copy.origin, copy.range.start));
        for of_one in index.copies.chunk_by(|a, b| a.origin == b.origin) {
            let Some(origin) = of_one.first().map(|copy| copy.origin) else {
                continue;
            };
            if let Some(name) = self.function_name_at(&dwarf, origin) {
                index.origins.entry(Box::from(&*name)).or_default().push(origin);
            }
        }
        index.names = index.origins.keys().cloned().collect();
        index.names.sort_unstable();
        for (number, copy) in (0u32..).zip(&index.copies) {
            index.by_line.entry(copy.call_line).or_default().push(number);
        }
        Ok(index)
    }

    fn read_unit_copies(&self, index: usize, copies: &mut Vec<Copy>) -> Result<(), DwarfError> {
        let dwarf = self.dwarf()?;
        let unit = self.unit(&dwarf, index)?;
        let mut entries = unit.inner.entries_raw(None)?;
        while !entries.is_empty() {
            let Some(abbreviation) = entries.read_abbreviation()? else {
                continue;
            };
            if abbreviation.tag() != dw::DW_TAG_inlined_subroutine {
                entries.skip_attributes(abbreviation.attributes())?;
                continue;
            }
            let mut origin = None;
            let (mut low, mut high, mut list) = (None, None, None);
            let (mut call_file, mut call_line) = (0, 0);
            for specification in abbreviation.attributes() {
                let attribute = entries.read_attribute(*specification)?;
                match attribute.name() {
                    dw::DW_AT_abstract_origin => origin = unit.reference_value(&attribute.value()),
                    dw::DW_AT_low_pc => low = unit.address_value(attribute.value()),
                    dw::DW_AT_high_pc => high = Some(attribute),
                    dw::DW_AT_ranges => list = Some(attribute.value()),
                    dw::DW_AT_call_file => {
                        if let AttributeValue::FileIndex(file) = attribute.value() {
                            call_file = file;
                        }
                    }
                    dw::DW_AT_call_line => call_line = attribute.udata_value().unwrap_or(0) as u32,
                    _ => {}
                }
            }
            let range = match (list, low, high) {
                (Some(list), ..) => first_range(&unit, list)?,
                (None, Some(low), Some(high)) => {
                    let end = match high.udata_value() {
                        Some(size) => low.0.checked_add(size).map(FileAddr),
                        None => unit.address_value(high.value()),
                    };
                    end.map(|end| low..end)
                }
                _ => None,
            };
            if let (Some(origin), Some(range)) = (origin, range) {
                copies.push(Copy {
                    origin,
                    range,
                    unit: unit.index as u32,
                    call_file,
                    call_line,
                });
            }
        }
        Ok(())
    }

    /// Where the function named `name` was inlined, sorted by address within each package that has copies.
    pub fn inlined_calls_of(&self, name: &str) -> Vec<InlinedSite> {
        let Ok(index) = self.inlined_index() else {
            return Vec::new();
        };
        let origins = index.origins.get(name).map_or(&[][..], Vec::as_slice);
        let copies = origins.iter().flat_map(|origin| {
            let start = index.copies.partition_point(|copy| copy.origin < *origin);
            index.copies[start..]
                .iter()
                .take_while(move |copy| copy.origin == *origin)
        });
        copies
            .map(|copy| InlinedSite {
                range: copy.range.clone(),
                caller: self
                    .function_at(copy.range.start)
                    .map_or(copy.range.start, |function| function.entry),
                call_file: self.call_file(copy),
                call_line: copy.call_line,
            })
            .collect()
    }

    /// The names of all functions that were inlined somewhere, sorted. Some have a body of their own as well, some
    /// have none ([`Binary::function_named`] tells).
    pub fn inlined_functions(&self) -> &[Box<str>] {
        self.inlined_index().map(|index| &*index.names).unwrap_or_default()
    }

    /// The lowest addresses of the copies that were inlined for calls on a line.
    pub(crate) fn inlined_calls_from(&self, file: &str, line: u32) -> Vec<FileAddr> {
        let Ok(index) = self.inlined_index() else {
            return Vec::new();
        };
        let numbers = index.by_line.get(&line).map_or(&[][..], Vec::as_slice);
        let copies = numbers.iter().filter_map(|number| index.copies.get(*number as usize));
        copies
            .filter(|copy| self.call_file(copy).as_deref() == Some(file))
            .map(|copy| copy.range.start)
            .collect()
    }

    fn call_file(&self, copy: &Copy) -> Option<Arc<str>> {
        let record = self.units().ok()?.records.get(copy.unit as usize)?;
        self.file_of_unit(record, copy.call_file)
    }
}

/// The first range of a list that is not empty.
fn first_range<'a>(
    unit: &Unit<'a>,
    list: AttributeValue<crate::sections::Reader<'a>>,
) -> Result<Option<Range<FileAddr>>, DwarfError> {
    /// How many empty ranges to look behind for one with code.
    const PATIENCE: usize = 64;
    let Some(mut ranges) = unit.dwarf.attr_ranges(&unit.inner, list)? else {
        return Ok(None);
    };
    for _ in 0..PATIENCE {
        let Some(range) = ranges.next()? else { break };
        if range.begin < range.end {
            return Ok(Some(FileAddr(range.begin)..FileAddr(range.end)));
        }
    }
    Ok(None)
}
