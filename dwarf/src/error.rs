//! What can go wrong, said so that the user knows what was attempted and what to do.

use std::io;
use std::path::PathBuf;

/// Why a file cannot be opened as a Go program.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no such file.
    #[error("{}: no such file", path.display())]
    Absent {
        /// The file asked for.
        path: PathBuf,
    },
    /// The file may not be read by this user.
    #[error("{}: permission denied: this user may not read the file", path.display())]
    Permission {
        /// The file asked for.
        path: PathBuf,
    },
    /// It is a directory.
    #[error("{}: is a directory, not a program", path.display())]
    Directory {
        /// The path asked for.
        path: PathBuf,
    },
    /// It is a device, a pipe, a socket.
    #[error("{}: is not a regular file", path.display())]
    NotRegular {
        /// The path asked for.
        path: PathBuf,
    },
    /// Reading or mapping it failed for another reason.
    #[error("{}: could not read the file: {source}", path.display())]
    Io {
        /// The file asked for.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It does not begin as an ELF file does.
    #[error("{}: not an ELF file, so not a program for Linux", path.display())]
    NotElf {
        /// The file asked for.
        path: PathBuf,
    },
    /// ELF, but 32-bit or big-endian, or for another processor.
    #[error("{}: not a program for 64-bit x86 ({found}); only linux/amd64 is supported", path.display())]
    WrongMachine {
        /// The file asked for.
        path: PathBuf,
        /// What the file is for.
        found: String,
    },
    /// ELF, but an object file or a core file.
    #[error("{}: not an executable ({found})", path.display())]
    NotExecutable {
        /// The file asked for.
        path: PathBuf,
        /// What kind of ELF file it is.
        found: &'static str,
    },
    /// An executable that the Go linker did not write.
    #[error("{}: not a Go program (neither Go build information nor a Go function table is in it)", path.display())]
    NotGo {
        /// The file asked for.
        path: PathBuf,
    },
    /// A Go program without DWARF, neither in it nor in a file of its own.
    #[error(
        "{}: no debug information: the program was stripped; build it without -ldflags='-s -w' and do not run strip on it{}",
        path.display(),
        looked_for(looked)
    )]
    Stripped {
        /// The file asked for.
        path: PathBuf,
        /// The files that could have had it, and are not there or of another build.
        looked: Vec<PathBuf>,
    },
    /// The file contradicts itself.
    #[error("{}: malformed ELF file: {what}", path.display())]
    Malformed {
        /// The file asked for.
        path: PathBuf,
        /// Which part, and why.
        what: String,
    },
}

/// Why the debug information does not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DwarfError {
    /// A section or an entry in it is damaged.
    #[error("malformed debug information: {0}")]
    Malformed(String),
    /// The section is compressed in a way we cannot undo, or a rule is of a form that Go's toolchain does not emit.
    #[error("unsupported debug information: {0}")]
    Unsupported(String),
    /// The function has code but the compiler or assembler described nothing of it.
    #[error("no debug information for function {0}")]
    NoFunction(String),
    /// No unwind table entry covers the address.
    #[error("no frame information for address {0}")]
    NoFrame(crate::FileAddr),
    /// A type or field that the Go runtime should have is not described.
    #[error("the debug information does not describe {0}, which this Go version's runtime should have")]
    NoRuntime(String),
}

/// The end of a sentence that says where debug information is missing.
fn looked_for(files: &[PathBuf]) -> String {
    if files.is_empty() {
        return String::new();
    }
    let files: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
    format!("; none that is of this build is in {}", files.join(", "))
}

impl DwarfError {
    /// Names the part that could not be read.
    pub(crate) fn at(what: &str, error: impl std::fmt::Display) -> DwarfError {
        DwarfError::Malformed(format!("{what}: {error}"))
    }
}

impl From<gimli::Error> for DwarfError {
    fn from(error: gimli::Error) -> Self {
        DwarfError::Malformed(error.to_string())
    }
}

/// Why a variable has no place at an address. The texts of [`LocationError::OptimizedOut`] are Delve's, which shows
/// them as `(unreadable TEXT)`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// The compiler keeps the value nowhere.
    #[error("{0}")]
    OptimizedOut(Absence),
    /// A location expression that needs more than registers and the frame.
    #[error("location uses {0}, which cannot be evaluated")]
    Unsupported(String),
    /// A damaged location.
    #[error("malformed location: {0}")]
    Malformed(String),
}

/// How the compiler says that it keeps a value nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Absence {
    /// It has places, but none at this address.
    #[error("could not find loclist entry at {list:#x} for address {pc}")]
    NotHere {
        /// Where the list of places is in its section.
        list: u64,
        /// The address asked for.
        pc: crate::FileAddr,
    },
    /// Its place is described by nothing, or by pieces that are all nowhere.
    #[error("empty OP stack")]
    Empty,
    /// It has no description of a place.
    #[error("no location attribute Location")]
    NoAttribute,
    /// What is described as the whole is a register that is too small for it: one component, of which nobody says which (see
    /// [`crate::Variable::is_taken_apart`]).
    #[error("optimized out but for a part of it")]
    PartInRegister,
}

impl LocationError {
    /// Whether the value simply does not exist at the address, as opposed to being described wrongly.
    pub fn is_optimized_out(&self) -> bool {
        matches!(self, LocationError::OptimizedOut(_))
    }
}

impl From<gimli::Error> for LocationError {
    fn from(error: gimli::Error) -> Self {
        LocationError::Malformed(error.to_string())
    }
}
