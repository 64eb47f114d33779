//! An open Go program: the bytes of its file, and what has been read from them so far.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use memmap2::Mmap;

use crate::derived::DerivedTypes;
use crate::elf::{Elf, ElfError, Segment};
use crate::entry_index::EntryIndex;
use crate::error::{DwarfError, OpenError};
use crate::frames::Symbolizer;
use crate::function_info::FunctionInfoCache;
use crate::functions::FunctionTable;
use crate::inlined::InlinedIndex;
use crate::lines::SourceFiles;
use crate::runtime::RuntimeLayout;
use crate::sections::{Files, Sections};
use crate::separate::{self, DebugDirectories, Separate};
use crate::types::TypeCache;
use crate::units::Units;
use crate::unwind::FrameTables;
use crate::{FileAddr, FileOffset, LoadBias, ProcAddr};

/// A Go executable and its debug information.
///
/// Opening maps the file and reads its headers. Everything else is read when first asked for and then kept, so a
/// `Binary` is meant to be shared (`Arc<Binary>`) between threads.
#[derive(Debug)]
pub struct Binary {
    path: PathBuf,
    contents: Contents,
    elf: Elf,
    /// Where the debug information is, if not in the program.
    separate: Option<Separate>,
    pub(crate) sections: Sections,
    pub(crate) prefetched: OnceLock<()>,
    pub(crate) units: OnceLock<Result<Units, DwarfError>>,
    pub(crate) functions: OnceLock<FunctionTable>,
    pub(crate) function_infos: FunctionInfoCache,
    pub(crate) types: TypeCache,
    pub(crate) derived: DerivedTypes,
    pub(crate) runtime_types_range: OnceLock<Option<Range<u64>>>,
    pub(crate) runtime_layout: OnceLock<Result<RuntimeLayout, DwarfError>>,
    pub(crate) source_files: OnceLock<SourceFiles>,
    pub(crate) entry_index: OnceLock<Result<EntryIndex, DwarfError>>,
    pub(crate) inlined_index: OnceLock<Result<InlinedIndex, DwarfError>>,
    pub(crate) frame_tables: OnceLock<FrameTables>,
    pub(crate) symbolizer: OnceLock<Result<Symbolizer, DwarfError>>,
}

/// The bytes of a file.
#[derive(Debug)]
pub(crate) enum Contents {
    Mapped(Mmap),
    Owned(Vec<u8>),
}

impl Contents {
    pub(crate) fn open(path: &Path) -> Result<Contents, OpenError> {
        let failed = |error: io::Error| OpenError::from_io(path, error);
        // Asking before opening keeps us from hanging on a pipe.
        let metadata = std::fs::metadata(path).map_err(failed)?;
        if metadata.is_dir() {
            return Err(OpenError::Directory { path: path.to_owned() });
        }
        if !metadata.is_file() {
            return Err(OpenError::NotRegular { path: path.to_owned() });
        }
        let file = File::open(path).map_err(failed)?;
        Contents::map(&file, path)
    }

    pub(crate) fn map(file: &File, path: &Path) -> Result<Contents, OpenError> {
        let failed = |error: io::Error| OpenError::from_io(path, error);
        if file.metadata().map_err(failed)?.len() == 0 {
            return Ok(Contents::Owned(Vec::new()));
        }
        // SAFETY: the mapping is private and only read. Should somebody truncate the file in place meanwhile, reading
        // beyond its new end raises SIGBUS, as it would in the program itself, which maps the same file; Go's
        // toolchain replaces executables by new files and never shortens one.
        let map = unsafe { Mmap::map(file) }.map_err(failed)?;
        Ok(Contents::Mapped(map))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Contents::Mapped(map) => map,
            Contents::Owned(bytes) => bytes,
        }
    }
}

impl OpenError {
    pub(crate) fn from_io(path: &Path, error: io::Error) -> OpenError {
        let path = path.to_owned();
        match error.kind() {
            io::ErrorKind::NotFound => OpenError::Absent { path },
            io::ErrorKind::PermissionDenied => OpenError::Permission { path },
            _ => OpenError::Io { path, source: error },
        }
    }

    pub(crate) fn from_elf(path: &Path, error: ElfError) -> OpenError {
        let path = path.to_owned();
        match error {
            ElfError::NotElf => OpenError::NotElf { path },
            ElfError::WrongMachine(found) => OpenError::WrongMachine { path, found },
            ElfError::NotExecutable(found) => OpenError::NotExecutable { path, found },
            ElfError::Malformed(what) => OpenError::Malformed { path, what },
        }
    }
}

impl Binary {
    /// Opens the Go program at `path`. If its debug information is in a file of its own, that is looked for where distributions put it.
    pub fn open(path: &Path) -> Result<Binary, OpenError> {
        Binary::open_with(path, &DebugDirectories::default())
    }

    /// Opens the Go program at `path`. If its debug information is in a file of its own, that is looked for beside the program and in these directories.
    pub fn open_with(path: &Path, directories: &DebugDirectories) -> Result<Binary, OpenError> {
        Binary::new(path.to_owned(), Contents::open(path)?, Some(directories))
    }

    /// Reads a program from a file that is already open, such as `/proc/PID/exe`; `name` is what [`Binary::path`] and
    /// messages call it.
    pub fn from_file(file: &File, name: &Path) -> Result<Binary, OpenError> {
        Binary::new(
            name.to_owned(),
            Contents::map(file, name)?,
            Some(&DebugDirectories::default()),
        )
    }

    /// Reads a program from memory; `name` is what [`Binary::path`] and messages call it. Its debug information must be in it.
    pub fn from_bytes(bytes: Vec<u8>, name: &Path) -> Result<Binary, OpenError> {
        Binary::new(name.to_owned(), Contents::Owned(bytes), None)
    }

    fn new(path: PathBuf, contents: Contents, directories: Option<&DebugDirectories>) -> Result<Binary, OpenError> {
        let elf = Elf::parse(contents.bytes()).map_err(|error| OpenError::from_elf(&path, error))?;
        let has = |names: &[&str]| names.iter().any(|name| elf.section(name).is_some());
        if !has(&[
            ".go.buildinfo",
            ".gopclntab",
            ".data.rel.ro.gopclntab",
            ".note.go.buildid",
        ]) {
            return Err(OpenError::NotGo { path });
        }
        let separate = if separate::has_debug_information(&elf) {
            None
        } else {
            let found = match directories {
                Some(directories) => separate::find(&path, &elf, contents.bytes(), directories),
                None => Err(Vec::new()),
            };
            Some(found.map_err(|looked| OpenError::Stripped {
                path: path.clone(),
                looked,
            })?)
        };
        Ok(Binary {
            sections: Sections::new(&elf, separate.as_ref().map(|separate| &separate.elf)),
            separate,
            path,
            contents,
            elf,
            prefetched: OnceLock::new(),
            units: OnceLock::new(),
            functions: OnceLock::new(),
            function_infos: FunctionInfoCache::default(),
            types: TypeCache::default(),
            derived: DerivedTypes::default(),
            runtime_types_range: OnceLock::new(),
            runtime_layout: OnceLock::new(),
            source_files: OnceLock::new(),
            entry_index: OnceLock::new(),
            inlined_index: OnceLock::new(),
            frame_tables: OnceLock::new(),
            symbolizer: OnceLock::new(),
        })
    }

    /// The path the file was opened under.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn elf(&self) -> &Elf {
        &self.elf
    }

    /// The whole file.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.contents.bytes()
    }

    /// The bytes of the program, and of the file that has its debug information.
    pub(crate) fn bytes_of_files(&self) -> Files<'_> {
        Files {
            program: self.bytes(),
            separate: self.separate.as_ref().map_or(&[], |separate| separate.contents.bytes()),
        }
    }

    /// The headers and bytes of the files that may have a symbol table, the program first.
    pub(crate) fn with_symbols(&self) -> impl Iterator<Item = (&Elf, &[u8])> {
        let separate = self.separate.as_ref();
        let separate = separate.map(|separate| (&separate.elf, separate.contents.bytes()));
        std::iter::once((&self.elf, self.bytes())).chain(separate)
    }

    /// Whether the loader may place the program anywhere (`-buildmode=pie`): only then is a [`LoadBias`] not zero.
    pub fn is_pie(&self) -> bool {
        self.elf.is_pie
    }

    /// Where the dynamic loader's section `.dynamic` is; `None` in a program that needs no loader.
    pub fn dynamic_section(&self) -> Option<Range<FileAddr>> {
        let section = self.elf.section(".dynamic")?;
        let size = section.file.as_ref()?.len() as u64;
        Some(FileAddr(section.addr)..FileAddr(section.addr.checked_add(size)?))
    }

    /// The loadable segments, in the order of the program headers.
    pub fn segments(&self) -> &[Segment] {
        &self.elf.segments
    }

    /// Where the kernel or the dynamic loader starts the program (the ELF header's `e_entry`).
    pub fn entry_point(&self) -> FileAddr {
        self.elf.entry
    }

    /// Where in the file the byte at `address` is; `None` outside of the loaded segments and in zero-filled memory.
    pub fn file_offset(&self, address: FileAddr) -> Option<FileOffset> {
        self.elf.file_offset(address)
    }

    /// Where the byte at `offset` of the file is loaded; `None` for parts of the file that are not.
    pub fn file_addr(&self, offset: FileOffset) -> Option<FileAddr> {
        self.elf.file_addr(offset)
    }

    /// `len` bytes at `address` as the file has them, whatever the program makes of them later; `None` unless one
    /// loaded segment has them all in the file.
    pub fn code(&self, address: FileAddr, len: usize) -> Option<&[u8]> {
        let (_, range) = self.elf.backed(address, len)?;
        self.bytes().get(range)
    }

    /// `len` bytes at `address` if they can never differ from these in a running process: they are in the file, in a
    /// segment that is not writable, and the loader relocates nothing there (in a position-independent program that
    /// excludes `.data.rel.ro`, and with it type links and interface tables).
    pub fn read_only(&self, address: FileAddr, len: usize) -> Option<&[u8]> {
        let (segment, range) = self.elf.backed(address, len)?;
        if !self.elf.never_changes(segment, address, len) {
            return None;
        }
        self.bytes().get(range)
    }

    /// The load bias of a process, from one of its executable mappings of this file: where the mapping starts, and
    /// at which offset of the file (both as `/proc/PID/maps` gives them). `None` when no code of this file can have
    /// been mapped from there.
    pub fn load_bias_of(
        &self,
        first_exec_mapping_start: ProcAddr,
        mapping_file_offset: FileOffset,
    ) -> Option<LoadBias> {
        const PAGE: u64 = 4096;
        let offset = mapping_file_offset.0;
        let segment = self.elf.segments.iter().find(|segment| {
            // The kernel maps whole pages: a mapping may begin before the segment's first byte.
            let first_page = segment.file.start - segment.file.start % PAGE;
            segment.executable && (first_page..segment.file.end).contains(&offset)
        })?;
        let address = segment.start.0.checked_add(offset)?.checked_sub(segment.file.start)?;
        Some(LoadBias::between(FileAddr(address), first_exec_mapping_start))
    }
}
