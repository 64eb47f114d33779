//! What the server is, and what it debugs.

use super::{Methods, RpcError};
use crate::host::{Host, Origin};
use crate::rpc::go_json::wire;

wire! { "rpc2";
    /// Asks whether several clients may come.
    pub(crate) struct IsMulticlientIn {}

    /// Answers it.
    pub(crate) struct IsMulticlientOut {
        /// Whether the server was started with `--accept-multiclient`.
        is_multiclient: bool = "IsMulticlient",
    }

    /// Asks whether the target was there before the server.
    pub(crate) struct AttachedToExistingProcessIn {}

    /// Answers it.
    pub(crate) struct AttachedToExistingProcessOut {
        /// Whether it was.
        answer: bool = "Answer",
    }
}

/// Adds them.
pub(super) fn register(methods: &mut Methods) {
    methods.add(
        "RPCServer.IsMulticlient",
        "Whether several clients may be connected at once.",
        is_multiclient,
    );
    methods.add(
        "RPCServer.AttachedToExistingProcess",
        "Whether the target was running before the server.",
        attached_to_existing_process,
    );
}

#[allow(clippy::unnecessary_wraps, reason = "methods can fail")]
fn is_multiclient(host: &Host, _: &IsMulticlientIn) -> Result<IsMulticlientOut, RpcError> {
    Ok(IsMulticlientOut {
        is_multiclient: host.is_multiclient(),
    })
}

#[allow(clippy::unnecessary_wraps, reason = "methods can fail")]
fn attached_to_existing_process(
    host: &Host,
    _: &AttachedToExistingProcessIn,
) -> Result<AttachedToExistingProcessOut, RpcError> {
    Ok(AttachedToExistingProcessOut {
        answer: matches!(host.recipe().origin, Origin::Attach { .. }),
    })
}
