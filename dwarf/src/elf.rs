//! The ELF file's own tables: segments, sections, notes. Small, and read when the file is opened.

use std::ops::Range;

use object::LittleEndian;
use object::elf;
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader};

use crate::{FileAddr, FileOffset};

const LE: LittleEndian = LittleEndian;

/// Why the headers were refused; the caller adds the path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ElfError {
    NotElf,
    WrongMachine(String),
    NotExecutable(&'static str),
    Malformed(String),
}

/// One `PT_LOAD` program header.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Where the segment's first byte is loaded.
    pub start: FileAddr,
    /// Where its bytes are in the file; the rest up to `memory_size` is zero.
    pub file: Range<u64>,
    /// Its size in memory, in bytes.
    pub memory_size: u64,
    /// May be written at run time.
    pub writable: bool,
    /// Holds code.
    pub executable: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Section {
    pub(crate) name: Box<str>,
    pub(crate) kind: elf::SectionType,
    pub(crate) addr: u64,
    /// Bytes in the file; `None` for sections without (`SHT_NOBITS`) or that lie outside of the file.
    pub(crate) file: Option<Range<usize>>,
    pub(crate) compressed: bool,
    pub(crate) link: usize,
}

/// The `PT_TLS` program header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tls {
    pub(crate) addr: u64,
    pub(crate) memory_size: u64,
    pub(crate) align: u64,
}

#[derive(Debug)]
pub(crate) struct Elf {
    pub(crate) is_pie: bool,
    pub(crate) entry: FileAddr,
    pub(crate) segments: Vec<Segment>,
    pub(crate) sections: Vec<Section>,
    pub(crate) tls: Option<Tls>,
    /// Address ranges that the loader relocates and then makes read-only.
    relro: Vec<Range<u64>>,
    /// The loader patches segments that are otherwise read-only.
    text_relocations: bool,
}

impl Elf {
    pub(crate) fn parse(data: &[u8]) -> Result<Elf, ElfError> {
        // The identification comes first, so that each kind of foreign file gets its own answer.
        if data.get(..4) != Some(&elf::ELFMAG) {
            return Err(ElfError::NotElf);
        }
        match data {
            [_, _, _, _, 2, 1, ..] => {}
            [_, _, _, _, 1, ..] => return Err(ElfError::WrongMachine("32-bit".to_owned())),
            [_, _, _, _, 2, 2, ..] => return Err(ElfError::WrongMachine("64-bit, big-endian".to_owned())),
            _ => return Err(malformed("the identification bytes", "unknown class or byte order")),
        }
        let header = elf::FileHeader64::<LittleEndian>::parse(data).map_err(|e| malformed("the file header", e))?;
        let machine = header.e_machine(LE);
        if machine != elf::EM_X86_64 {
            return Err(ElfError::WrongMachine(match machine {
                elf::EM_AARCH64 => "arm64".to_owned(),
                elf::EM_RISCV => "riscv64".to_owned(),
                elf::EM_PPC64 => "ppc64".to_owned(),
                other => format!("machine number {}", other.0),
            }));
        }
        let is_pie = match header.e_type(LE) {
            elf::ET_EXEC => false,
            elf::ET_DYN => true,
            elf::ET_REL => return Err(ElfError::NotExecutable("an object file")),
            elf::ET_CORE => return Err(ElfError::NotExecutable("a core file")),
            _ => return Err(ElfError::NotExecutable("an unknown kind of ELF file")),
        };

        let mut parsed = Elf {
            is_pie,
            entry: FileAddr(header.e_entry(LE)),
            segments: Vec::new(),
            sections: Vec::new(),
            tls: None,
            relro: Vec::new(),
            text_relocations: false,
        };
        let programs = header
            .program_headers(LE, data)
            .map_err(|e| malformed("the program headers", e))?;
        for program in programs {
            parsed.add_program_header(program, data);
        }
        let sections = header
            .sections(LE, data)
            .map_err(|e| malformed("the section headers", e))?;
        for section in sections.iter() {
            let name = sections
                .section_name(LE, section)
                .map_err(|e| malformed("the section names", e))?;
            let file = section.file_range(LE).and_then(|(offset, size)| {
                let start = usize::try_from(offset).ok()?;
                let end = start.checked_add(usize::try_from(size).ok()?)?;
                (end <= data.len()).then_some(start..end)
            });
            let flags = section.sh_flags(LE);
            parsed.sections.push(Section {
                name: String::from_utf8_lossy(name).into(),
                kind: section.sh_type(LE),
                addr: section.sh_addr(LE),
                file,
                compressed: flags.contains(elf::SHF_COMPRESSED),
                link: section.sh_link(LE) as usize,
            });
        }
        Ok(parsed)
    }

    fn add_program_header(&mut self, program: &elf::ProgramHeader64<LittleEndian>, data: &[u8]) {
        let start = program.p_vaddr(LE);
        let memory_size = program.p_memsz(LE);
        let (offset, file_size) = program.file_range(LE);
        match program.p_type(LE) {
            elf::PT_LOAD => {
                // A segment may not promise bytes that the file lacks: what is missing reads as absent.
                let length = data.len() as u64;
                let file_start = offset.min(length);
                let file_end = offset.saturating_add(file_size.min(memory_size)).min(length);
                self.segments.push(Segment {
                    start: FileAddr(start),
                    file: file_start..file_end.max(file_start),
                    memory_size,
                    writable: program.p_flags(LE).contains(elf::PF_W),
                    executable: program.p_flags(LE).contains(elf::PF_X),
                });
            }
            elf::PT_TLS => {
                self.tls = Some(Tls {
                    addr: start,
                    memory_size,
                    align: program.p_align(LE),
                });
            }
            elf::PT_GNU_RELRO => self.relro.push(start..start.saturating_add(memory_size)),
            elf::PT_DYNAMIC => {
                let bytes = usize::try_from(offset)
                    .ok()
                    .and_then(|o| data.get(o..))
                    .unwrap_or_default();
                let bytes = bytes.get(..usize::try_from(file_size).unwrap_or(0)).unwrap_or(bytes);
                self.text_relocations |= has_text_relocations(bytes);
            }
            _ => {}
        }
    }

    pub(crate) fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|s| &*s.name == name)
    }

    pub(crate) fn file_offset(&self, address: FileAddr) -> Option<FileOffset> {
        let (segment, within) = self.segment_at(address)?;
        let offset = segment.file.start.checked_add(within)?;
        (offset < segment.file.end).then_some(FileOffset(offset))
    }

    pub(crate) fn file_addr(&self, offset: FileOffset) -> Option<FileAddr> {
        let segment = self.segments.iter().find(|s| s.file.contains(&offset.0))?;
        segment.start.0.checked_add(offset.0 - segment.file.start).map(FileAddr)
    }

    /// The loaded segment that holds `address`, and how far into it the address is.
    fn segment_at(&self, address: FileAddr) -> Option<(&Segment, u64)> {
        self.segments.iter().find_map(|segment| {
            let within = address.distance_from(segment.start)?;
            (within < segment.memory_size).then_some((segment, within))
        })
    }

    /// The place in the file of `len` bytes at `address`, when one segment backs all of them from the file.
    pub(crate) fn backed(&self, address: FileAddr, len: usize) -> Option<(&Segment, Range<usize>)> {
        let (segment, within) = self.segment_at(address)?;
        let start = segment.file.start.checked_add(within)?;
        let end = start.checked_add(len as u64)?;
        if end > segment.file.end {
            return None;
        }
        Some((segment, usize::try_from(start).ok()?..usize::try_from(end).ok()?))
    }

    /// Whether the bytes at `address` are, in every process, those of the file.
    pub(crate) fn never_changes(&self, segment: &Segment, address: FileAddr, len: usize) -> bool {
        let end = address.0.saturating_add(len as u64);
        !segment.writable
            && !self.text_relocations
            && !self
                .relro
                .iter()
                .any(|range| range.start < end && address.0 < range.end)
    }

    pub(crate) fn is_executable_address(&self, address: u64) -> bool {
        self.segment_at(FileAddr(address))
            .is_some_and(|(segment, _)| segment.executable)
    }
}

fn malformed(what: &str, why: impl std::fmt::Display) -> ElfError {
    ElfError::Malformed(format!("{what}: {why}"))
}

/// Looks for `DT_TEXTREL`, or the flag that replaces it, among the dynamic section's pairs.
fn has_text_relocations(dynamic: &[u8]) -> bool {
    const DT_TEXTREL: u64 = 22;
    const DT_FLAGS: u64 = 30;
    const DF_TEXTREL: u64 = 4;
    dynamic.as_chunks::<16>().0.iter().any(|pair| {
        let (tag, value) = pair.split_at(8);
        let number = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_le_bytes);
        number(tag) == DT_TEXTREL || (number(tag) == DT_FLAGS && number(value) & DF_TEXTREL != 0)
    })
}

/// The contents of the note named `owner` with type `kind` in `section`, when it is a well-formed note section.
pub(crate) fn note<'data>(section: &'data [u8], owner: &[u8], kind: u32) -> Option<&'data [u8]> {
    let mut rest = section;
    loop {
        let word = |at: usize| Some(u32::from_le_bytes(rest.get(at..at + 4)?.try_into().ok()?));
        let (name_size, size, note_kind) = (word(0)? as usize, word(4)? as usize, word(8)?);
        let name_end = 12usize.checked_add(name_size)?;
        let start = name_end.checked_next_multiple_of(4)?;
        let end = start.checked_add(size)?;
        let name = rest.get(12..name_end)?;
        let contents = rest.get(start..end)?;
        if note_kind == kind && name.strip_suffix(b"\0").unwrap_or(name) == owner {
            return Some(contents);
        }
        rest = rest.get(end.checked_next_multiple_of(4)?..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_files_are_told_apart() {
        assert_eq!(Elf::parse(b"#!/bin/sh\n").err(), Some(ElfError::NotElf));
        assert_eq!(Elf::parse(b"").err(), Some(ElfError::NotElf));
        assert_eq!(
            Elf::parse(b"\x7fELF\x01\x01").err(),
            Some(ElfError::WrongMachine("32-bit".to_owned()))
        );
        assert_eq!(
            Elf::parse(b"\x7fELF\x02\x02").err(),
            Some(ElfError::WrongMachine("64-bit, big-endian".to_owned()))
        );
        assert!(matches!(
            Elf::parse(b"\x7fELF\x02\x01\x01").err(),
            Some(ElfError::Malformed(_))
        ));
    }

    #[test]
    fn notes_are_found_by_owner_and_type() {
        let mut section = Vec::new();
        for (owner, kind, contents) in [(&b"GNU\0"[..], 3u32, &b"abcde"[..]), (&b"Go\0\0"[..], 4, &b"x/y"[..])] {
            section.extend_from_slice(&(owner.len() as u32).to_le_bytes());
            section.extend_from_slice(&(contents.len() as u32).to_le_bytes());
            section.extend_from_slice(&kind.to_le_bytes());
            section.extend_from_slice(owner);
            section.extend_from_slice(contents);
            section.resize(section.len().next_multiple_of(4), 0);
        }
        assert_eq!(note(&section, b"GNU", 3), Some(&b"abcde"[..]));
        assert_eq!(note(&section, b"Go\0", 4), Some(&b"x/y"[..]));
        assert_eq!(note(&section, b"GNU", 1), None);
        assert_eq!(note(&section[..18], b"GNU", 3), None);
    }

    #[test]
    fn text_relocations_are_noticed_by_tag_or_flag() {
        let pair = |tag: u64, value: u64| [tag.to_le_bytes(), value.to_le_bytes()].concat();
        assert!(has_text_relocations(&[pair(1, 7), pair(22, 0)].concat()));
        assert!(has_text_relocations(&pair(30, 4)));
        assert!(!has_text_relocations(&pair(30, 8)));
    }
}
