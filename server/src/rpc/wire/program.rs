//! The program: its registers, code, types, packages and libraries.

use super::{Bytes, Location, ReflectKind};
use crate::rpc::go_json::{Slice, StringMap, wire};

wire! { "api";
    /// A register.
    pub(crate) struct Register {
        /// Its name.
        name: String = "Name",
        /// What it holds.
        value: String = "Value",
        /// Its number in DWARF.
        dwarf_number: isize = "DwarfNumber",
    }

    /// An instruction.
    pub(crate) struct AsmInstruction {
        /// Where it is.
        loc: Location = "Loc",
        /// Where it calls.
        dest_loc: Option<Box<Location>> = "DestLoc",
        /// Its text.
        text: String = "Text",
        /// Its bytes.
        bytes: Bytes = "Bytes",
        /// Whether there is a breakpoint.
        breakpoint: bool = "Breakpoint",
        /// Whether the thread is there.
        at_pc: bool = "AtPC",
    }

    /// A shared library or plugin.
    pub(crate) struct Image {
        /// Its path.
        path: String = "Path",
        /// Where it is.
        address: u64 = "Address",
        /// Why it could not be read.
        load_error: String = "LoadError",
        /// Whether it was built with `-trimpath`.
        trimpath: bool = "Trimpath",
    }

    /// A package and where it was built.
    pub(crate) struct PackageBuildInfo {
        /// Its import path.
        import_path: String = "ImportPath",
        /// Its directory.
        directory_path: String = "DirectoryPath",
        /// Its source files.
        files: Slice<String> = "Files",
    }

    /// How far a dump of the program's memory has got.
    pub(crate) struct DumpState {
        /// Whether it goes on.
        dumping: bool = "Dumping",
        /// Whether it is finished.
        all_done: bool = "AllDone",
        /// Threads that are written.
        threads_done: isize = "ThreadsDone",
        /// All threads.
        threads_total: isize = "ThreadsTotal",
        /// Bytes that are written.
        mem_done: u64 = "MemDone",
        /// All bytes.
        mem_total: u64 = "MemTotal",
        /// Why it failed.
        err: String = "Err",
    }

    /// A point of a recording.
    pub(crate) struct Checkpoint {
        /// Its number.
        id: isize = "ID",
        /// When.
        when: String = "When",
        /// Where.
        place: String = "Where",
    }

    /// What a client knows of its own directories.
    pub(crate) struct GuessSubstitutePathIn {
        /// The import path of the main package, as the client has it.
        import_path_of_main_package: String = "ImportPathOfMainPackage",
        /// The client's GOROOT.
        client_goroot: String = "ClientGOROOT",
        /// The directories of modules, by their paths.
        client_module_directories: StringMap<String> = "ClientModuleDirectories",
    }

    /// What a type is.
    pub(crate) struct TypeInfo {
        /// Its kind.
        kind: ReflectKind = "Kind",
        /// Its size in bytes.
        size: i64 = "Size",
        /// What it is a name for.
        real_type: String = "RealType",
        /// The fields of a struct.
        fields: Slice<TypeInfoField> = "Fields",
        /// Its methods.
        methods: Slice<TypeInfoMethod> = "Methods",
    }

    /// A field of a struct.
    pub(crate) struct TypeInfoField {
        /// Its name.
        name: String = "Name",
        /// Its type.
        type_name: String = "Type",
    }

    /// A method of a type.
    pub(crate) struct TypeInfoMethod {
        /// Its name.
        name: String = "Name",
    }
}
