//! Where the target stands.

use crate::rpc::go_json::wire;

wire! { "api";
    /// How far values are loaded.
    pub(crate) struct LoadConfig {
        /// Whether pointers are followed.
        follow_pointers: bool = "FollowPointers",
        /// How deep nested values are loaded.
        max_variable_recurse: isize = "MaxVariableRecurse",
        /// How many bytes of a string.
        max_string_len: isize = "MaxStringLen",
        /// How many elements of an array, slice or map.
        max_array_values: isize = "MaxArrayValues",
        /// How many fields of a struct; -1: all.
        max_struct_fields: isize = "MaxStructFields",
    }

    /// In which frame something is to be looked at.
    pub(crate) struct EvalScope {
        /// The goroutine; -1: the selected one.
        goroutine_id: i64 = "GoroutineID",
        /// The frame, 0 being the innermost.
        frame: isize = "Frame",
        /// The number of a deferred call of that frame, from 1 on; 0: the frame itself.
        deferred_call: isize = "DeferredCall",
    }
}
