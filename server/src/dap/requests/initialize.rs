//! `initialize`: what the client wants, and what the server can do.

use dap::types::Capabilities;
use serde::Deserialize;

use crate::dap::{errors::FAILED_TO_INITIALIZE, message::Request, session::Session};

/// The arguments that matter. Missing ones mean what Delve takes them to mean.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Arguments {
    path_format: String,
    lines_start_at1: bool,
    columns_start_at1: bool,
}

impl Default for Arguments {
    fn default() -> Arguments {
        Arguments {
            path_format: "path".to_owned(),
            lines_start_at1: true,
            columns_start_at1: true,
        }
    }
}

impl Session {
    /// Answers `initialize`.
    pub(super) fn on_initialize(&mut self, request: &Request) {
        let arguments: Arguments = match request.arguments() {
            Ok(arguments) => arguments,
            Err(text) => return self.out.refuse(request, FAILED_TO_INITIALIZE, &text),
        };
        let wrong = if arguments.path_format != "path" {
            format!("Unsupported 'pathFormat' value '{}'.", arguments.path_format)
        } else if !arguments.lines_start_at1 {
            "Only 1-based line numbers are supported.".to_owned()
        } else if !arguments.columns_start_at1 {
            "Only 1-based column numbers are supported.".to_owned()
        } else {
            return self.out.respond(request, Some(&capabilities()));
        };
        self.out.refuse(request, FAILED_TO_INITIALIZE, &wrong);
    }
}

/// Delve's capabilities, without those that need a stopped program.
fn capabilities() -> Capabilities {
    Capabilities {
        supports_configuration_done_request: Some(true),
        supports_log_points: Some(true),
        supports_restart_request: Some(true),
        ..Capabilities::default()
    }
}
