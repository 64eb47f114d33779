//! `threads`.

use serde_json::json;

use crate::dap::{debuggee::State, message::Request, session::Session};

impl Session {
    /// Answers `threads`. A client needs one thread to pause or to continue; goroutines can be listed only while the
    /// program is stopped, so these are the placeholders that Delve sends then.
    pub(super) fn on_threads(&mut self, request: &Request, state: State) {
        let thread = match state {
            State::Running => json!({"id": -1, "name": "Current"}),
            _ => json!({"id": 1, "name": "Dummy"}),
        };
        self.out.respond(request, Some(&json!({"threads": [thread]})));
    }
}
