//! The debug sections: found by name, inflated when somebody first needs them.

use std::io::Read;
use std::sync::OnceLock;

use flate2::read::ZlibDecoder;
use gimli::SectionId;

use crate::elf::{Elf, Section};
use crate::error::DwarfError;
use crate::parallel::in_pool;

/// A reader over borrowed section bytes. Only little-endian files are opened.
pub(crate) type Reader<'data> = gimli::EndianSlice<'data, gimli::LittleEndian>;

/// zlib cannot shrink data by more than this factor, so a header that promises more is lying.
const MAX_INFLATION: u64 = 1032;

/// The sections whose contents we use, in the order in which they are worth starting to inflate: the largest first.
const USED: [SectionId; 13] = [
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
    SectionId::DebugAbbrev,
    SectionId::DebugFrame,
    SectionId::EhFrame,
];

/// The bytes of a program, and of the file that has its debug information, if that is another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Files<'data> {
    pub(crate) program: &'data [u8],
    pub(crate) separate: &'data [u8],
}

/// Which file a section is in.
#[derive(Clone, Copy, Debug)]
enum Owner {
    Program,
    Separate,
}

/// The inflated sections; `None` in a slot means that the file's own bytes serve.
#[derive(Debug)]
pub(crate) struct Sections {
    located: [Option<(Owner, Section)>; USED.len()],
    inflated: [OnceLock<Result<Option<Vec<u8>>, DwarfError>>; USED.len()],
}

impl Sections {
    /// The sections of a program, and of the file that has what the program lacks: there a section without bytes stands for one of the program's.
    pub(crate) fn new(program: &Elf, separate: Option<&Elf>) -> Sections {
        let located = |id: SectionId| {
            let own = find(program, id).map(|section| (Owner::Program, section));
            let other = || Some((Owner::Separate, find(separate?, id)?));
            let (owner, section) = own.filter(|(_, section)| section.file.is_some()).or_else(other)?;
            Some((owner, section.clone()))
        };
        Sections {
            located: USED.map(located),
            inflated: Default::default(),
        }
    }

    /// The contents of a section, empty when the file has no such section.
    pub(crate) fn get<'a>(&'a self, files: Files<'a>, id: SectionId) -> Result<Reader<'a>, DwarfError> {
        let Some(slot) = USED.iter().position(|used| *used == id) else {
            return Ok(Reader::default());
        };
        let Some((owner, section)) = &self.located[slot] else {
            return Ok(Reader::default());
        };
        let data = match owner {
            Owner::Program => files.program,
            Owner::Separate => files.separate,
        };
        let raw = section
            .file
            .clone()
            .and_then(|range| data.get(range))
            .unwrap_or_default();
        let bytes = match self.inflated[slot].get_or_init(|| inflate(section, raw)) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => raw,
            Err(error) => return Err(error.clone()),
        };
        Ok(Reader::new(bytes, gimli::LittleEndian))
    }

    /// Inflates all of `ids` side by side, so that the following calls of [`Sections::get`] find them ready.
    pub(crate) fn prefetch(&self, files: Files<'_>, ids: &[SectionId]) {
        in_pool(|| {
            rayon::scope(|scope| {
                for id in USED.iter().filter(|id| ids.contains(id)) {
                    scope.spawn(move |_| {
                        // An error stays in the slot, for whoever asks for the section.
                        let _ = self.get(files, *id);
                    });
                }
            });
        });
    }
}

/// The section under its own name, or under the one that old linkers gave to compressed sections.
fn find(elf: &Elf, id: SectionId) -> Option<&Section> {
    elf.section(id.name())
        .or_else(|| elf.section(&format!(".z{}", id.name().strip_prefix('.')?)))
}

/// Undoes the compression of a section: `None` when there was none.
fn inflate(section: &Section, raw: &[u8]) -> Result<Option<Vec<u8>>, DwarfError> {
    let number = |range: std::ops::Range<usize>| -> Result<u64, DwarfError> {
        let bytes = raw
            .get(range)
            .ok_or_else(|| DwarfError::at(&section.name, "the compression header is cut off"))?;
        Ok(bytes
            .iter()
            .rev()
            .fold(0u64, |value, byte| (value << 8) | u64::from(*byte)))
    };
    if section.compressed {
        // Elf64_Chdr: ch_type, ch_reserved, ch_size, ch_addralign.
        let (kind, size) = (number(0..4)?, number(8..16)?);
        if kind != u64::from(object::elf::ELFCOMPRESS_ZLIB.0) {
            return Err(DwarfError::Unsupported(format!(
                "{} is compressed by method {kind}, not by zlib; build with -ldflags=-compressdwarf=false",
                section.name
            )));
        }
        return inflate_zlib(&section.name, raw.get(24..).unwrap_or_default(), size).map(Some);
    }
    if section.name.starts_with(".zdebug") && raw.starts_with(b"ZLIB") {
        let size = raw
            .get(4..12)
            .and_then(|bytes| bytes.try_into().ok())
            .map_or(0, u64::from_be_bytes);
        return inflate_zlib(&section.name, raw.get(12..).unwrap_or_default(), size).map(Some);
    }
    Ok(None)
}

fn inflate_zlib(name: &str, compressed: &[u8], size: u64) -> Result<Vec<u8>, DwarfError> {
    if size > (compressed.len() as u64).saturating_mul(MAX_INFLATION) {
        return Err(DwarfError::at(
            name,
            "the compression header promises more than the data can hold",
        ));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    ZlibDecoder::new(compressed)
        .take(size)
        .read_to_end(&mut bytes)
        .map_err(|error| DwarfError::at(name, format!("decompression failed: {error}")))?;
    if bytes.len() as u64 != size {
        return Err(DwarfError::at(name, "decompression ended early"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::ZlibEncoder};
    use std::io::Write;

    fn section(name: &str, compressed: bool) -> Section {
        Section {
            name: name.into(),
            kind: object::elf::SHT_PROGBITS,
            addr: 0,
            file: None,
            compressed,
            link: 0,
        }
    }

    fn deflate(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).expect("in memory");
        encoder.finish().expect("in memory")
    }

    #[test]
    fn both_compressed_forms_inflate() {
        let text = vec![7u8; 5000];
        let mut modern = [1u32.to_le_bytes(), 0u32.to_le_bytes()].concat();
        modern.extend_from_slice(&5000u64.to_le_bytes());
        modern.extend_from_slice(&1u64.to_le_bytes());
        modern.extend_from_slice(&deflate(&text));
        assert_eq!(inflate(&section(".debug_info", true), &modern), Ok(Some(text.clone())));

        let mut old = b"ZLIB".to_vec();
        old.extend_from_slice(&5000u64.to_be_bytes());
        old.extend_from_slice(&deflate(&text));
        assert_eq!(inflate(&section(".zdebug_info", false), &old), Ok(Some(text)));
        assert_eq!(inflate(&section(".debug_info", false), b"plain"), Ok(None));
    }

    #[test]
    fn lying_headers_are_refused() {
        let mut header = [1u32.to_le_bytes(), 0u32.to_le_bytes()].concat();
        header.extend_from_slice(&u64::MAX.to_le_bytes());
        header.extend_from_slice(&1u64.to_le_bytes());
        header.extend_from_slice(&deflate(b"small"));
        assert!(matches!(
            inflate(&section(".debug_info", true), &header),
            Err(DwarfError::Malformed(_))
        ));
        header[0] = 2;
        assert!(matches!(
            inflate(&section(".debug_info", true), &header),
            Err(DwarfError::Unsupported(_))
        ));
        assert!(matches!(
            inflate(&section(".debug_info", true), b"abc"),
            Err(DwarfError::Malformed(_))
        ));
        assert!(matches!(
            inflate_zlib(".debug_line", &deflate(b"four"), 5),
            Err(DwarfError::Malformed(_))
        ));
    }
}
