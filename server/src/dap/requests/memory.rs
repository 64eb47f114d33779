//! Requests for raw memory, instructions and watched variables, which are refused.

use crate::dap::{
    debuggee::State,
    errors::{NO_DATA_BREAKPOINT_INFO, Refusal, UNABLE_TO_DISASSEMBLE, UNABLE_TO_READ_MEMORY, UNABLE_TO_WRITE_MEMORY},
    message::Request,
    session::Session,
};

impl Session {
    /// Refuses what is not announced, with the number that Delve gives a failure of it.
    pub(super) fn refuse_raw_access(&mut self, request: &Request, state: State) {
        let (refusal, what): (Refusal, &str) = match request.command.as_str() {
            "readMemory" => (UNABLE_TO_READ_MEMORY, "reading memory"),
            "writeMemory" => (UNABLE_TO_WRITE_MEMORY, "writing memory"),
            "disassemble" => (UNABLE_TO_DISASSEMBLE, "disassembly"),
            _ => (NO_DATA_BREAKPOINT_INFO, "watching a variable"),
        };
        let why = self
            .obituary(state)
            .unwrap_or_else(|| format!("{what} is not available in this version of spelunk"));
        self.out.refuse(request, refusal, &why);
    }
}
