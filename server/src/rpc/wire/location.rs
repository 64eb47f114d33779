//! Places in the program's code.

use crate::rpc::go_json::{Slice, wire};

wire! { "api";
    /// A place in the code.
    pub(crate) struct Location {
        /// The address.
        pc: u64 = "pc",
        /// The source file.
        file: String = "file",
        /// The line in it.
        line: isize = "line",
        /// The function.
        function: Option<Box<Function>> = "function" omitempty,
        /// All addresses, for an answer of `FindLocation`.
        pcs: Slice<u64> = "pcs" omitempty,
        /// The process of each of them.
        pc_pids: Slice<isize> = "pcpids" omitempty,
    }

    /// A function.
    pub(crate) struct Function {
        /// Its name with its package.
        name: String = "name",
        /// Its first address.
        value: u64 = "value",
        /// Always 0.
        type_number: u8 = "type",
        /// Always 0.
        go_type: u64 = "goType",
        /// Whether the compiler optimised it.
        optimized: bool = "optimized",
    }
}
