//! Calls and returns that kernel probes record without stopping the target: what `dlv trace --ebpf` asks for.

use super::breakpoints::ONE_TARGET_ONLY;
use super::variables::variables_of;
use super::{Methods, RpcError};
use crate::debugger::{CallEnd, Pass};
use crate::host::Host;
use crate::rpc::go_json::{Slice, wire};
use crate::rpc::wire::{Breakpoint, LoadConfig as WireLoadConfig, TracepointResult};

wire! { "rpc2";
    /// Asks for a function's calls and returns to be recorded.
    pub(crate) struct CreateEBPFTracepointIn {
        /// Its whole name.
        function_name: String = "FunctionName",
    }

    /// Says that it is done.
    pub(crate) struct CreateEBPFTracepointOut {
        /// Always empty.
        breakpoint: Breakpoint = "Breakpoint",
    }

    /// Asks for what was recorded.
    pub(crate) struct GetBufferedTracepointsIn {
        /// How far to load parameters and results; as a short line shows them without it.
        load_config: Option<Box<WireLoadConfig>> = "LoadCfg",
    }

    /// What was recorded.
    pub(crate) struct GetBufferedTracepointsOut {
        /// Since it was asked for last, in order; `null` for nothing.
        tracepoint_results: Slice<TracepointResult> = "TracepointResults",
    }
}

/// Adds them.
pub(super) fn register(methods: &mut Methods) {
    methods.add(
        "RPCServer.CreateEBPFTracepoint",
        "Has kernel probes record the calls and returns of a function, without stopping the target.",
        create_ebpf_tracepoint,
    );
    methods.add(
        "RPCServer.GetBufferedTracepoints",
        "The calls and returns that were recorded since it was called last.",
        get_buffered_tracepoints,
    );
}

fn create_ebpf_tracepoint(host: &Host, asked: &CreateEBPFTracepointIn) -> Result<CreateEBPFTracepointOut, RpcError> {
    let session = host.session()?;
    if session.processes()?.len() > 1 {
        return Err(ONE_TARGET_ONLY.into());
    }
    session.record_function(&asked.function_name)?;
    Ok(CreateEBPFTracepointOut::default())
}

fn get_buffered_tracepoints(
    host: &Host,
    asked: &GetBufferedTracepointsIn,
) -> Result<GetBufferedTracepointsOut, RpcError> {
    // What Delve loads where nobody says (`service/debugger/debugger.go`).
    let short = WireLoadConfig {
        max_string_len: 64,
        max_struct_fields: 3,
        ..WireLoadConfig::default()
    };
    let config = asked.load_config.as_deref().unwrap_or(&short).limits();
    let fetched = host.fetch_recorded();
    if fetched.is_empty() {
        return Ok(GetBufferedTracepointsOut::default());
    }
    let program = host.last_session()?.program()?;
    let result = |pass: &Pass| {
        let end = pass.recorded.as_ref().map(|recorded| recorded.end);
        let values = Slice::nil_if_empty(variables_of(&pass.parameters(program.binary(), config)));
        let function = program.function_at(pass.pc);
        let at = program.binary().line_at(program.bias().to_file(pass.pc));
        let (file, line) = at.map_or_else(Default::default, |(file, line)| (file.to_string(), line as isize));
        let is_ret = end == Some(CallEnd::Return);
        let (input_params, return_params) = if is_ret {
            (Slice::default(), values)
        } else {
            (values, Slice::default())
        };
        TracepointResult {
            file,
            line,
            is_ret,
            function_name: function.map(|function| function.name.to_string()).unwrap_or_default(),
            goroutine_id: isize::try_from(pass.goroutine).unwrap_or_default(),
            input_params,
            return_params,
            ..TracepointResult::default()
        }
    };
    Ok(GetBufferedTracepointsOut {
        tracepoint_results: fetched.iter().map(|pass| result(pass)).collect(),
    })
}
