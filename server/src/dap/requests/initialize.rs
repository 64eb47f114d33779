//! `initialize`: what the client wants, and what the server can do.

use dap::types::{Capabilities, ExceptionBreakpointsFilter};
use serde::Deserialize;

use super::breakpoints::{FATAL_THROW, UNRECOVERED_PANIC};
use crate::dap::{errors::FAILED_TO_INITIALIZE, message::Request, session::Session, settings::ClientCapabilities};

/// The arguments that matter. Missing ones mean what Delve takes them to mean.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(clippy::struct_excessive_bools, reason = "the members are the protocol's")]
struct Arguments {
    path_format: String,
    lines_start_at1: bool,
    columns_start_at1: bool,
    supports_variable_type: bool,
    supports_variable_paging: bool,
    supports_invalidated_event: bool,
}

impl Default for Arguments {
    fn default() -> Arguments {
        Arguments {
            path_format: "path".to_owned(),
            lines_start_at1: true,
            columns_start_at1: true,
            supports_variable_type: false,
            supports_variable_paging: false,
            supports_invalidated_event: false,
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
        self.settings.client = ClientCapabilities {
            variable_type: arguments.supports_variable_type,
            variable_paging: arguments.supports_variable_paging,
            invalidated_event: arguments.supports_invalidated_event,
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

/// Delve's capabilities, without that of watching variables, which is refused here, and with that of numbers in hexadecimal, which it does not have.
fn capabilities() -> Capabilities {
    let filter = |filter: &str, label: &str| ExceptionBreakpointsFilter {
        filter: filter.to_owned(),
        label: label.to_owned(),
        default: Some(true),
        ..ExceptionBreakpointsFilter::default()
    };
    Capabilities {
        supports_configuration_done_request: Some(true),
        supports_function_breakpoints: Some(true),
        supports_conditional_breakpoints: Some(true),
        supports_hit_conditional_breakpoints: Some(true),
        supports_evaluate_for_hovers: Some(true),
        exception_breakpoint_filters: Some(vec![
            filter(UNRECOVERED_PANIC, "Unrecovered Panics"),
            filter(FATAL_THROW, "Fatal Throws"),
        ]),
        supports_set_variable: Some(true),
        supports_restart_request: Some(true),
        supports_exception_info_request: Some(true),
        supports_delayed_stack_trace_loading: Some(true),
        supports_log_points: Some(true),
        supports_read_memory_request: Some(true),
        supports_write_memory_request: Some(true),
        supports_disassemble_request: Some(true),
        supports_clipboard_context: Some(true),
        supports_value_formatting_options: Some(true),
        supports_stepping_granularity: Some(true),
        supports_instruction_breakpoints: Some(true),
        ..Capabilities::default()
    }
}
