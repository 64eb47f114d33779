//! Values of variables and expressions.

use super::{Bytes, ReflectKind, VariableFlags};
use crate::rpc::go_json::{Slice, wire};

wire! { "api";
    /// A variable, or the value of an expression.
    pub(crate) struct Variable {
        /// Its name: of a field the field's, of an element none.
        name: String = "name",
        /// Its address.
        addr: u64 = "addr",
        /// Whether the address is all there is, because a pointer was not followed.
        only_addr: bool = "onlyAddr",
        /// Its type as it was declared.
        type_name: String = "type",
        /// Its type without names for other types.
        real_type: String = "realType",
        /// What is special about it.
        flags: VariableFlags = "flags",
        /// The kind of its type.
        kind: ReflectKind = "kind",
        /// Its value, where that is a single one; of a function its name.
        value: String = "value",
        /// The bytes of a string that are not UTF-8.
        string_value_bytes: Bytes = "StringValueBytes",
        /// Elements of an array, slice, map or channel, fields of a struct, bytes of a string.
        len: i64 = "len",
        /// The capacity of a slice or channel.
        cap: i64 = "cap",
        /// Elements, fields, keys and values by turns, what a pointer or an interface leads to.
        children: Slice<Variable> = "children",
        /// Where the elements, the bytes of a string, the function or the channel are.
        base: u64 = "base",
        /// Why it cannot be read.
        unreadable: String = "unreadable",
        /// Where DWARF says it is.
        location_expr: String = "LocationExpr",
        /// The line of its declaration.
        decl_line: i64 = "DeclLine",
    }
}
