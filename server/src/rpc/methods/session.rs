//! What the server is, and what it debugs.

use super::{Methods, RpcError};
use crate::host::{Host, Origin, Status};
use crate::rpc::go_json::wire;

/// What clients take our version for: that of the Delve whose methods these are. `dlv connect` and editors parse it.
const DELVE_VERSION: &str = concat!("Version: 1.27.1\nBuild: spelunk ", env!("CARGO_PKG_VERSION"));

/// The oldest and the newest Go whose programs are debugged.
const GO_VERSIONS: (&str, &str) = ("1.21.0", "1.27.0");

wire! { "api";
    /// Asks who answers.
    pub(crate) struct GetVersionIn {}

    /// Answers it.
    pub(crate) struct GetVersionOut {
        /// The version of Delve that this server can stand in for, as Delve prints its own; and behind `Build:` our own.
        delve_version: String = "DelveVersion",
        /// The version of these methods: 2.
        api_version: isize = "APIVersion",
        /// How the target is debugged: always `native`.
        backend: String = "Backend",
        /// What the target was compiled with, as its debug information says; empty while it runs.
        target_go_version: String = "TargetGoVersion",
        /// The oldest Go whose programs are debugged.
        min_supported_version_of_go: String = "MinSupportedVersionOfGo",
        /// The newest.
        max_supported_version_of_go: String = "MaxSupportedVersionOfGo",
    }

    /// Chooses the version of the methods.
    pub(crate) struct SetAPIVersionIn {
        /// 2; there is no other.
        api_version: isize = "APIVersion",
    }

    /// Says that it is chosen.
    pub(crate) struct SetAPIVersionOut {}
}

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
    methods.add(
        "RPCServer.GetVersion",
        "The versions of the server, of these methods, and of what the target was compiled with.",
        get_version,
    );
    methods.add(
        "RPCServer.SetApiVersion",
        "Chooses the version of these methods. Only 2 is served.",
        set_api_version,
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

#[allow(clippy::unnecessary_wraps, reason = "methods can fail")]
fn get_version(host: &Host, _: &GetVersionIn) -> Result<GetVersionOut, RpcError> {
    let is_running = host.status() == Status::Running;
    let compiled_with = (!is_running).then(|| {
        let program = host.last_session().ok()?.program().ok()?;
        program.binary().go_version()
    });
    Ok(GetVersionOut {
        delve_version: DELVE_VERSION.to_owned(),
        api_version: 2,
        backend: "native".to_owned(),
        target_go_version: compiled_with
            .flatten()
            .map(|version| format!("Go cmd/compile {}", without_experiments(&version.raw)))
            .unwrap_or_default(),
        min_supported_version_of_go: GO_VERSIONS.0.to_owned(),
        max_supported_version_of_go: GO_VERSIONS.1.to_owned(),
    })
}

fn set_api_version(_: &Host, asked: &SetAPIVersionIn) -> Result<SetAPIVersionOut, RpcError> {
    if asked.api_version != 2 {
        return Err("unknown API version".into());
    }
    Ok(SetAPIVersionOut {})
}

/// `go1.26.8` of `go1.26.8-X:nodwarf5` and `go1.26.8 X:nodwarf5`: the compiler's own name for its version has no experiments.
fn without_experiments(version: &str) -> &str {
    let cut = version.find("X:").unwrap_or(version.len());
    version
        .get(..cut)
        .map_or(version, |version| version.trim_end_matches(['-', ' ']))
}

#[cfg(test)]
mod tests {
    use super::without_experiments;

    #[test]
    fn experiments_are_no_part_of_the_version() {
        assert_eq!(without_experiments("go1.26.8-X:norandomizedheapbase64"), "go1.26.8");
        assert_eq!(without_experiments("go1.21.3 X:nocoverageredesign"), "go1.21.3");
        assert_eq!(without_experiments("go1.27rc1"), "go1.27rc1");
    }
}
