//! The compilation units: where each begins, which code it covers, how to read its entries.
//!
//! Only the root entry of each unit is read here, so the index of a large program costs a few milliseconds.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use gimli::{
    Abbreviations, AttributeValue, DebugAddrBase, DebugInfoOffset, DebugLineOffset, DebugLocListsBase,
    DebugRngListsBase, DebugStrOffsetsBase, SectionId,
};

use crate::error::DwarfError;
use crate::function_info::Subprograms;
use crate::lines::LineTable;
use crate::sections::Reader;
use crate::{Binary, FileAddr};

/// Sections that nearly every question needs.
const CORE: [SectionId; 10] = [
    SectionId::DebugInfo,
    SectionId::DebugLocLists,
    SectionId::DebugLoc,
    SectionId::DebugLine,
    SectionId::DebugRngLists,
    SectionId::DebugRanges,
    SectionId::DebugAddr,
    SectionId::DebugStr,
    SectionId::DebugLineStr,
    SectionId::DebugStrOffsets,
];

/// More ranges than any toolchain writes for one entry; a list that claims more is damaged.
const MAX_RANGES: usize = 1 << 16;

/// More ranges than the units of any program have together.
const MAX_UNIT_RANGES: usize = 1 << 22;

/// What is kept of a unit: enough to read its entries again without looking at its root.
#[derive(Debug)]
pub(crate) struct UnitRecord {
    /// Where its header is in `.debug_info`.
    pub(crate) offset: usize,
    /// Where the next unit's header is.
    pub(crate) end: usize,
    pub(crate) is_go: bool,
    /// Compiled with optimisations: its producer does not name the flag `-N`.
    pub(crate) optimized: bool,
    pub(crate) comp_dir: Option<Box<str>>,
    /// Import path and name of the package, where the name is not the last element of the path: `mod` of `example.org/mod/v2`.
    package: Option<(Box<str>, Box<str>)>,
    pub(crate) line_program: Option<DebugLineOffset>,
    abbreviations: Arc<Abbreviations>,
    low_pc: u64,
    str_offsets_base: DebugStrOffsetsBase,
    addr_base: DebugAddrBase,
    loclists_base: DebugLocListsBase,
    rnglists_base: DebugRngListsBase,
    pub(crate) subprograms: OnceLock<Result<Subprograms, DwarfError>>,
    pub(crate) lines: Arc<LineTable>,
}

/// All units, by their place in `.debug_info`, and the code they cover, by address.
#[derive(Debug, Default)]
pub(crate) struct Units {
    pub(crate) records: Vec<UnitRecord>,
    ranges: Vec<(Range<u64>, u32)>,
}

impl Units {
    /// The unit whose code contains `pc`.
    pub(crate) fn at(&self, pc: FileAddr) -> Option<usize> {
        let end = self.ranges.partition_point(|(range, _)| range.start <= pc.0);
        // Units do not overlap in a sound file; looking at a few neighbours is for the others.
        let near = &self.ranges[end.saturating_sub(4)..end];
        near.iter()
            .rev()
            .find(|(range, _)| range.contains(&pc.0))
            .map(|(_, unit)| *unit as usize)
    }

    /// The unit whose entries include the one at `offset` of `.debug_info`.
    pub(crate) fn with_entry(&self, offset: usize) -> Option<usize> {
        let index = self
            .records
            .partition_point(|unit| unit.offset <= offset)
            .checked_sub(1)?;
        (offset < self.records.get(index)?.end).then_some(index)
    }
}

/// A unit ready for reading: the sections, gimli's view of it, and our record.
pub(crate) struct Unit<'a> {
    pub(crate) index: usize,
    pub(crate) record: &'a UnitRecord,
    pub(crate) dwarf: &'a gimli::Dwarf<Reader<'a>>,
    pub(crate) inner: gimli::Unit<Reader<'a>>,
}

pub(crate) type Entry<'a> = gimli::DebuggingInformationEntry<Reader<'a>>;

impl Binary {
    /// Whether a Go compiler or assembler wrote the code at `pc`, rather than a C compiler; `None` for code without debug information.
    pub fn is_go_code(&self, pc: FileAddr) -> Option<bool> {
        let units = self.units().ok()?;
        units.records.get(units.at(pc)?).map(|record| record.is_go)
    }

    /// The import paths of the packages of that name whose path does not end in it, such as `example.org/mod/v2` for `mod`, in the order of the units.
    pub fn packages_named<'b>(&'b self, name: &'b str) -> impl Iterator<Item = &'b str> {
        let records = self.units().map_or(&[][..], |units| &units.records);
        records.iter().filter_map(move |record| {
            let (path, known) = record.package.as_ref()?;
            (**known == *name).then_some(&**path)
        })
    }

    /// The sections that describe entries, without line programs and unwind tables.
    pub(crate) fn dwarf(&self) -> Result<gimli::Dwarf<Reader<'_>>, DwarfError> {
        self.prefetched
            .get_or_init(|| self.sections.prefetch(self.bytes_of_files(), &CORE));
        let get = |id| self.section(id);
        Ok(gimli::Dwarf {
            debug_abbrev: get(SectionId::DebugAbbrev)?.into(),
            debug_addr: get(SectionId::DebugAddr)?.into(),
            debug_info: get(SectionId::DebugInfo)?.into(),
            debug_line_str: get(SectionId::DebugLineStr)?.into(),
            debug_str: get(SectionId::DebugStr)?.into(),
            debug_str_offsets: get(SectionId::DebugStrOffsets)?.into(),
            ranges: gimli::RangeLists::new(
                get(SectionId::DebugRanges)?.into(),
                get(SectionId::DebugRngLists)?.into(),
            ),
            // Damaged location lists shall cost no more than the locations.
            locations: gimli::LocationLists::new(
                get(SectionId::DebugLoc).unwrap_or_default().into(),
                get(SectionId::DebugLocLists).unwrap_or_default().into(),
            ),
            ..gimli::Dwarf::default()
        })
    }

    pub(crate) fn section(&self, id: SectionId) -> Result<Reader<'_>, DwarfError> {
        self.sections.get(self.bytes_of_files(), id)
    }

    pub(crate) fn units(&self) -> Result<&Units, DwarfError> {
        self.units
            .get_or_init(|| read_units(&self.dwarf()?))
            .as_ref()
            .map_err(Clone::clone)
    }

    pub(crate) fn unit<'a>(
        &'a self,
        dwarf: &'a gimli::Dwarf<Reader<'a>>,
        index: usize,
    ) -> Result<Unit<'a>, DwarfError> {
        let record = self
            .units()?
            .records
            .get(index)
            .ok_or_else(|| DwarfError::Malformed(format!("there is no unit {index}")))?;
        let header = dwarf.unit_header(DebugInfoOffset(record.offset))?;
        let unit = gimli::Unit {
            header,
            abbreviations: Arc::clone(&record.abbreviations),
            name: None,
            comp_dir: None,
            low_pc: record.low_pc,
            str_offsets_base: record.str_offsets_base,
            addr_base: record.addr_base,
            loclists_base: record.loclists_base,
            rnglists_base: record.rnglists_base,
            line_program: None,
            dwo_id: None,
        };
        Ok(Unit {
            index,
            record,
            dwarf,
            inner: unit,
        })
    }

    /// The unit with the entry at `offset` of `.debug_info`, and where in the unit the entry is.
    pub(crate) fn unit_with_entry<'a>(
        &'a self,
        dwarf: &'a gimli::Dwarf<Reader<'a>>,
        offset: usize,
    ) -> Result<(Unit<'a>, gimli::UnitOffset), DwarfError> {
        let missing = || DwarfError::Malformed(format!("no entry can be at {offset:#x} of .debug_info"));
        let index = self.units()?.with_entry(offset).ok_or_else(missing)?;
        let unit = self.unit(dwarf, index)?;
        let within = DebugInfoOffset(offset)
            .to_unit_offset(&unit.inner.header)
            .ok_or_else(missing)?;
        Ok((unit, within))
    }
}

fn read_units(dwarf: &gimli::Dwarf<Reader<'_>>) -> Result<Units, DwarfError> {
    let mut units = Units::default();
    let mut abbreviations: HashMap<usize, Arc<Abbreviations>> = HashMap::new();
    let mut line_tables: HashMap<(usize, Option<Box<str>>), Arc<LineTable>> = HashMap::new();
    let mut headers = dwarf.units();
    while let Some(header) = headers
        .next()
        .map_err(|e| DwarfError::at("the unit headers of .debug_info", e))?
    {
        let Some(DebugInfoOffset(offset)) = header.debug_info_offset() else {
            continue;
        };
        let table = header.debug_abbrev_offset().0;
        let abbreviations = if let Some(known) = abbreviations.get(&table) {
            Arc::clone(known)
        } else {
            let parsed = dwarf
                .abbreviations(&header)
                .map_err(|e| DwarfError::at(".debug_abbrev", e))?;
            Arc::clone(abbreviations.entry(table).or_insert(parsed))
        };
        // A damaged root makes its unit unreadable, and only that one.
        if units.ranges.len() > MAX_UNIT_RANGES {
            return Err(DwarfError::Malformed(
                "the units have more ranges than there is code".to_owned(),
            ));
        }
        if let Ok((mut record, ranges)) = read_root(dwarf, header, offset, abbreviations) {
            let index = units.records.len() as u32;
            // Units may share a line table, which then is read once.
            if let Some(DebugLineOffset(table)) = record.line_program {
                let known = line_tables.entry((table, record.comp_dir.clone())).or_default();
                record.lines = Arc::clone(known);
            }
            units.records.push(record);
            units
                .ranges
                .extend(ranges.into_iter().map(|range| (range.start.0..range.end.0, index)));
        }
    }
    units.ranges.sort_by_key(|(range, _)| (range.start, range.end));
    Ok(units)
}

fn read_root<'a>(
    dwarf: &'a gimli::Dwarf<Reader<'a>>,
    header: gimli::UnitHeader<Reader<'a>>,
    offset: usize,
    abbreviations: Arc<Abbreviations>,
) -> Result<(UnitRecord, Vec<Range<FileAddr>>), DwarfError> {
    let encoding = header.encoding();
    let mut unit = gimli::Unit {
        header,
        abbreviations: Arc::clone(&abbreviations),
        name: None,
        comp_dir: None,
        low_pc: 0,
        str_offsets_base: DebugStrOffsetsBase::default_for_encoding_and_file(encoding, dwarf.file_type),
        addr_base: DebugAddrBase(0),
        loclists_base: DebugLocListsBase::default_for_encoding_and_file(encoding, dwarf.file_type),
        rnglists_base: DebugRngListsBase::default_for_encoding_and_file(encoding, dwarf.file_type),
        line_program: None,
        dwo_id: None,
    };
    let root = unit.entry(unit.header.root_offset())?;
    let mut line_program = None;
    for attribute in root.attrs() {
        // The bases come first: the other attributes may need them.
        match attribute.value() {
            AttributeValue::DebugStrOffsetsBase(base) => unit.str_offsets_base = base,
            AttributeValue::DebugAddrBase(base) => unit.addr_base = base,
            AttributeValue::DebugLocListsBase(base) => unit.loclists_base = base,
            AttributeValue::DebugRngListsBase(base) => unit.rnglists_base = base,
            AttributeValue::DebugLineRef(offset) => line_program = Some(offset),
            _ => {}
        }
    }
    if let Some(low) = root.attr_value(gimli::DW_AT_low_pc) {
        unit.low_pc = dwarf.attr_address(&unit, low)?.unwrap_or(0);
    }
    let ranges = ranges(dwarf, &unit, &root)?;
    let text = |name| {
        let value = root.attr_value(name)?;
        dwarf.attr_string(&unit, value).ok().map(|text| text.to_string_lossy())
    };
    let is_go = match root.attr_value(gimli::DW_AT_language) {
        Some(AttributeValue::Language(language)) => language == gimli::DW_LANG_Go,
        _ => false,
    };
    // Go writes `Go cmd/compile go1.26.8; -N -l regabi`; what follows the semicolon are the flags.
    let producer = text(gimli::DW_AT_producer).unwrap_or_default();
    let flags = producer.split_once(';').map_or("", |(_, flags)| flags);
    let package = text(crate::types::DW_AT_GO_PACKAGE_NAME)
        .zip(text(gimli::DW_AT_name))
        .filter(|(name, path)| path.rsplit('/').next() != Some(&**name))
        .map(|(name, path)| (path.into(), name.into()));
    let record = UnitRecord {
        offset,
        end: offset.saturating_add(header.length_including_self()),
        is_go,
        optimized: is_go && !flags.split_whitespace().any(|flag| flag == "-N"),
        comp_dir: text(gimli::DW_AT_comp_dir).map(Into::into),
        package,
        line_program,
        abbreviations,
        low_pc: unit.low_pc,
        str_offsets_base: unit.str_offsets_base,
        addr_base: unit.addr_base,
        loclists_base: unit.loclists_base,
        rnglists_base: unit.rnglists_base,
        subprograms: OnceLock::new(),
        lines: Arc::default(),
    };
    Ok((record, ranges))
}

/// The code an entry covers, in the order of the list; empty ranges are left out.
fn ranges<'a>(
    dwarf: &gimli::Dwarf<Reader<'a>>,
    unit: &gimli::Unit<Reader<'a>>,
    entry: &Entry<'a>,
) -> Result<Vec<Range<FileAddr>>, DwarfError> {
    let mut ranges = Vec::new();
    let mut list = dwarf.die_ranges(unit, entry)?;
    while let Some(range) = list.next()? {
        if ranges.len() >= MAX_RANGES {
            return Err(DwarfError::Malformed(
                "an entry has more ranges than there is code".to_owned(),
            ));
        }
        if range.begin < range.end {
            ranges.push(FileAddr(range.begin)..FileAddr(range.end));
        }
    }
    Ok(ranges)
}

impl<'a> Unit<'a> {
    pub(crate) fn entry(&self, offset: gimli::UnitOffset) -> Result<Entry<'a>, DwarfError> {
        Ok(self.inner.entry(offset)?)
    }

    pub(crate) fn ranges(&self, entry: &Entry<'a>) -> Result<Vec<Range<FileAddr>>, DwarfError> {
        ranges(self.dwarf, &self.inner, entry)
    }

    pub(crate) fn string(&self, entry: &Entry<'a>, name: gimli::DwAt) -> Option<String> {
        self.string_value(entry.attr_value(name)?)
    }

    pub(crate) fn string_value(&self, value: AttributeValue<Reader<'a>>) -> Option<String> {
        let text = self.dwarf.attr_string(&self.inner, value).ok()?;
        Some(text.to_string_lossy().into_owned())
    }

    pub(crate) fn address_value(&self, value: AttributeValue<Reader<'a>>) -> Option<FileAddr> {
        self.dwarf.attr_address(&self.inner, value).ok()?.map(FileAddr)
    }

    /// The offset in `.debug_info` of the entry that an attribute refers to.
    pub(crate) fn reference(&self, entry: &Entry<'a>, name: gimli::DwAt) -> Option<usize> {
        self.reference_value(&entry.attr_value(name)?)
    }

    pub(crate) fn reference_value(&self, value: &AttributeValue<Reader<'a>>) -> Option<usize> {
        match value {
            AttributeValue::UnitRef(offset) => offset.to_debug_info_offset(&self.inner.header).map(|offset| offset.0),
            AttributeValue::DebugInfoRef(offset) => Some(offset.0),
            _ => None,
        }
    }
}

/// A number that fits; flags and signed numbers are `None`.
pub(crate) fn unsigned(entry: &Entry<'_>, name: gimli::DwAt) -> Option<u64> {
    entry.attr(name)?.udata_value()
}

/// Whether a flag is set.
pub(crate) fn flag(entry: &Entry<'_>, name: gimli::DwAt) -> bool {
    matches!(entry.attr_value(name), Some(AttributeValue::Flag(true)))
}
