//! The memory of the process.

use spelunk_dwarf::ProcAddr;

use super::{Methods, RpcError};
use crate::host::Host;
use crate::rpc::go_json::wire;
use crate::rpc::wire::Bytes;

wire! { "rpc2";
    /// Asks for bytes of memory.
    pub(crate) struct ExamineMemoryIn {
        /// From where on.
        address: u64 = "Address",
        /// How many, at most 65536.
        length: isize = "Length",
    }

    /// Answers it.
    pub(crate) struct ExaminedMemoryOut {
        /// The bytes.
        memory: Bytes = "Mem",
        /// Whether numbers begin with their lowest byte; they do.
        is_little_endian: bool = "IsLittleEndian",
    }
}

/// More bytes are not given at once (`ExamineMemoryLengthLimit` in `service/rpc2/server.go`).
const MAX_LENGTH: usize = 1 << 16;

/// Adds them.
pub(super) fn register(methods: &mut Methods) {
    methods.add(
        "RPCServer.ExamineMemory",
        "Bytes of the process's memory, as they would be without a debugger.",
        examine_memory,
    );
}

fn examine_memory(host: &Host, asked: &ExamineMemoryIn) -> Result<ExaminedMemoryOut, RpcError> {
    let length = match usize::try_from(asked.length) {
        Ok(length) if length <= MAX_LENGTH => length,
        Ok(_) => return Err(format!("len must be less than or equal to {MAX_LENGTH}").into()),
        Err(_) => return Err("len must not be negative".into()),
    };
    let rest = host.at_rest()?;
    let bytes = if length == 0 {
        Vec::new()
    } else {
        // Delve names the kernel's error.
        let read = rest.session.read_memory(ProcAddr(asked.address), length);
        read.map_err(|_| "input/output error")?
    };
    if bytes.len() < length {
        return Err("input/output error".into());
    }
    Ok(ExaminedMemoryOut {
        memory: Bytes(Some(bytes)),
        is_little_endian: true,
    })
}
