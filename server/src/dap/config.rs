//! Attributes of `launch` and `attach` requests: which there are, and what is said about wrong ones.
//!
//! The attributes, their defaults and the texts are those of Delve's `LaunchConfig` and `AttachConfig`
//! (`service/dap/types.go`); unknown attributes are ignored, as editors add their own.

use serde_json::Value;

use super::substitute_path::SubstitutePath;
use crate::{debugger::ClientPaths, toolchain::BuildFlags};

/// What is asked for by a `launch` request.
#[derive(Clone, Debug)]
pub(crate) struct LaunchConfig {
    /// `debug`, `test`, `exec`, `replay` or `core`.
    pub(crate) mode: String,
    /// Package or file to build, or binary to run.
    pub(crate) program: String,
    /// Arguments for the program.
    pub(crate) args: Vec<String>,
    /// The program's working directory.
    pub(crate) cwd: String,
    /// Further flags for the build.
    pub(crate) build_flags: BuildFlags,
    /// Where the build puts its binary.
    pub(crate) output: String,
    /// Run without a debugger.
    pub(crate) no_debug: bool,
    /// A recording, for mode `replay`.
    pub(crate) trace_dir_path: String,
    /// A core file, for mode `core`.
    pub(crate) core_file_path: String,
    /// The directory that relative paths are relative to, and that the toolchain runs in.
    pub(crate) dlv_cwd: String,
    /// Changes to the environment of the toolchain and of the program.
    pub(crate) env: Environment,
    /// `local` or `remote`: whether the program's output goes to our own or to the client.
    pub(crate) output_mode: String,
    /// A file for the program's standard input.
    pub(crate) stdin_from: String,
    /// A file for the program's standard output.
    pub(crate) stdout_to: String,
    /// A file for the program's standard error.
    pub(crate) stderr_to: String,
    /// What `attach` has too.
    pub(crate) common: CommonConfig,
}

/// What is asked for by an `attach` request.
#[derive(Clone, Debug)]
pub(crate) struct AttachConfig {
    /// `local` or `remote`.
    pub(crate) mode: String,
    /// The process.
    pub(crate) process_id: i64,
    /// The beginning of the command line of a process to wait for.
    pub(crate) wait_for: String,
    /// Where the client has what the program was built from, as `dlv substitute-path-guess-helper` says it.
    pub(crate) guess_substitute_path: Option<ClientPaths>,
    /// What `launch` has too.
    pub(crate) common: CommonConfig,
}

/// Attributes of both.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is an attribute that users write")]
pub(crate) struct CommonConfig {
    /// Debug child processes too.
    pub(crate) follow_exec: bool,
    /// Stop before the first statement.
    pub(crate) stop_on_entry: bool,
    /// How to debug.
    pub(crate) backend: String,
    /// Client's paths and the binary's.
    pub(crate) substitute_path: SubstitutePath,
    /// Which child processes, as a regular expression over their command lines.
    pub(crate) follow_exec_regex: String,
    /// How many frames of a stack are answered unless asked otherwise.
    pub(crate) stack_trace_depth: i64,
    /// Bytes of a string that are loaded.
    pub(crate) max_string_len: i64,
    /// Elements of an array, slice or map that are loaded.
    pub(crate) max_array_values: i64,
    /// Show a scope with the package's variables.
    pub(crate) show_global_variables: bool,
    /// Show a scope with the registers.
    pub(crate) show_registers: bool,
    /// Leave the runtime's own goroutines out.
    pub(crate) hide_system_goroutines: bool,
    /// Which goroutines to show.
    pub(crate) goroutine_filters: String,
    /// Keys of the labels to show.
    pub(crate) show_pprof_labels: Vec<String>,
    /// Show strings without quotes and escapes.
    pub(crate) show_raw_strings: bool,
    /// Not one of Delve's: a logpoint may stop an attached program at each hit, where it cannot be served otherwise.
    pub(crate) allow_stop_for_logpoints: Option<bool>,
    /// Not one of Delve's: messages per second of each logpoint; 0 for any number.
    pub(crate) logpoint_rate_limit: Option<i64>,
    /// Not one of Delve's: how much of one core each breakpoint's probes may take, in percent; 0 for any.
    pub(crate) probe_cpu_limit: Option<f64>,
}

impl Default for CommonConfig {
    fn default() -> CommonConfig {
        CommonConfig {
            follow_exec: false,
            stop_on_entry: false,
            backend: "default".to_owned(),
            substitute_path: SubstitutePath::default(),
            follow_exec_regex: String::new(),
            stack_trace_depth: 0,
            max_string_len: 0,
            max_array_values: 0,
            show_global_variables: false,
            show_registers: false,
            hide_system_goroutines: false,
            goroutine_filters: String::new(),
            show_pprof_labels: Vec::new(),
            show_raw_strings: false,
            allow_stop_for_logpoints: None,
            logpoint_rate_limit: None,
            probe_cpu_limit: None,
        }
    }
}

impl LaunchConfig {
    /// Reads the arguments of a `launch` request. The error is the first one's text.
    pub(crate) fn read(arguments: &Value) -> Result<LaunchConfig, String> {
        let mut config = LaunchConfig {
            mode: "debug".to_owned(),
            program: String::new(),
            args: Vec::new(),
            cwd: String::new(),
            build_flags: BuildFlags::None,
            output: String::new(),
            no_debug: false,
            trace_dir_path: String::new(),
            core_file_path: String::new(),
            dlv_cwd: String::new(),
            env: Vec::new(),
            output_mode: String::new(),
            stdin_from: String::new(),
            stdout_to: String::new(),
            stderr_to: String::new(),
            common: CommonConfig::default(),
        };
        for (name, value) in attributes(arguments, "dap.LaunchConfig")? {
            match name.as_str() {
                "mode" => set(&mut config.mode, name, string(name, value)?),
                "program" => set(&mut config.program, name, string(name, value)?),
                "args" => set(&mut config.args, name, strings(name, value)?),
                "cwd" => set(&mut config.cwd, name, string(name, value)?),
                "buildFlags" => set(&mut config.build_flags, name, build_flags(value)?),
                "output" => set(&mut config.output, name, string(name, value)?),
                "noDebug" => set(&mut config.no_debug, name, boolean(name, value)?),
                "traceDirPath" => set(&mut config.trace_dir_path, name, string(name, value)?),
                "coreFilePath" => set(&mut config.core_file_path, name, string(name, value)?),
                "dlvCwd" => set(&mut config.dlv_cwd, name, string(name, value)?),
                "env" => set(&mut config.env, name, environment(name, value)?),
                "outputMode" => set(&mut config.output_mode, name, string(name, value)?),
                "stdinFrom" => set(&mut config.stdin_from, name, string(name, value)?),
                "stdoutTo" => set(&mut config.stdout_to, name, string(name, value)?),
                "stderrTo" => set(&mut config.stderr_to, name, string(name, value)?),
                _ => config.common.read(name, value)?,
            }
        }
        // An empty attribute means its default, as in launch configurations that editors fill in from forms.
        if config.mode.is_empty() {
            "debug".clone_into(&mut config.mode);
        }
        Ok(config)
    }
}

impl AttachConfig {
    /// Reads the arguments of an `attach` request. The error is the first one's text.
    pub(crate) fn read(arguments: &Value) -> Result<AttachConfig, String> {
        let mut config = AttachConfig {
            mode: "local".to_owned(),
            process_id: 0,
            wait_for: String::new(),
            guess_substitute_path: None,
            common: CommonConfig::default(),
        };
        for (name, value) in attributes(arguments, "dap.AttachConfig")? {
            match name.as_str() {
                "mode" => set(&mut config.mode, name, string(name, value)?),
                "processId" => set(&mut config.process_id, name, integer(name, value)?),
                "waitFor" => set(&mut config.wait_for, name, string(name, value)?),
                "guessSubstitutePath" => config.guess_substitute_path = client_paths(name, value)?,
                _ => config.common.read(name, value)?,
            }
        }
        if config.mode.is_empty() {
            "local".clone_into(&mut config.mode);
        }
        Ok(config)
    }
}

impl CommonConfig {
    fn read(&mut self, name: &str, value: &Value) -> Result<(), String> {
        let path = format!("LaunchAttachCommonConfig.{name}");
        match name {
            "followExec" => set(&mut self.follow_exec, name, boolean(&path, value)?),
            "stopOnEntry" => set(&mut self.stop_on_entry, name, boolean(&path, value)?),
            "backend" => set(&mut self.backend, name, string(&path, value)?.map(or_default)),
            "substitutePath" => set(&mut self.substitute_path, name, substitute_path(&path, value)?),
            "followExecRegex" => set(&mut self.follow_exec_regex, name, string(&path, value)?),
            "stackTraceDepth" => set(&mut self.stack_trace_depth, name, integer(&path, value)?),
            "maxStringLen" => set(&mut self.max_string_len, name, integer(&path, value)?),
            "maxArrayValues" => set(&mut self.max_array_values, name, integer(&path, value)?),
            "showGlobalVariables" => set(&mut self.show_global_variables, name, boolean(&path, value)?),
            "showRegisters" => set(&mut self.show_registers, name, boolean(&path, value)?),
            "hideSystemGoroutines" => set(&mut self.hide_system_goroutines, name, boolean(&path, value)?),
            "goroutineFilters" => set(&mut self.goroutine_filters, name, string(&path, value)?),
            "showPprofLabels" => set(&mut self.show_pprof_labels, name, strings(&path, value)?),
            "showRawStrings" => set(&mut self.show_raw_strings, name, boolean(&path, value)?),
            "allowStopForLogpoints" => self.allow_stop_for_logpoints = boolean(&path, value)?,
            "logpointRateLimit" => self.logpoint_rate_limit = not_negative(name, integer(&path, value)?)?,
            "probeCpuLimit" => self.probe_cpu_limit = not_negative(name, float(&path, value)?)?,
            _ => {}
        }
        Ok(())
    }
}

/// Names to set, and names to unset.
type Environment = Vec<(String, Option<String>)>;

fn or_default(backend: String) -> String {
    if backend.is_empty() {
        "default".to_owned()
    } else {
        backend
    }
}

/// Takes over a value unless it was `null`.
fn set<T>(place: &mut T, name: &str, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    } else {
        tracing::debug!("launch attribute {name} is null and keeps its default");
    }
}

fn attributes<'value>(
    arguments: &'value Value,
    kind: &str,
) -> Result<impl Iterator<Item = (&'value String, &'value Value)>, String> {
    match arguments {
        Value::Object(fields) => Ok(fields.iter()),
        Value::Null => Err("unexpected end of JSON input".to_owned()),
        other => Err(mismatch(other, "", kind)),
    }
}

/// What Go's decoder says about a value of the wrong type.
fn mismatch(value: &Value, path: &str, wanted: &str) -> String {
    let found = match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "bool".to_owned(),
        // For an integer the decoder names the number that does not fit.
        Value::Number(number) if wanted == "int" => format!("number {number}"),
        Value::Number(_) => "number".to_owned(),
        Value::String(_) => "string".to_owned(),
        Value::Array(_) => "array".to_owned(),
        Value::Object(_) => "object".to_owned(),
    };
    format!("cannot unmarshal {found} into {path:?} of type {wanted}")
}

fn string(path: &str, value: &Value) -> Result<Option<String>, String> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone())),
        other => Err(mismatch(other, path, "string")),
    }
}

fn boolean(path: &str, value: &Value) -> Result<Option<bool>, String> {
    match value {
        Value::Null => Ok(None),
        Value::Bool(truth) => Ok(Some(*truth)),
        other => Err(mismatch(other, path, "bool")),
    }
}

fn integer(path: &str, value: &Value) -> Result<Option<i64>, String> {
    match value {
        Value::Null => Ok(None),
        other => other.as_i64().map(Some).ok_or_else(|| mismatch(other, path, "int")),
    }
}

fn float(path: &str, value: &Value) -> Result<Option<f64>, String> {
    match value {
        Value::Null => Ok(None),
        other => other.as_f64().map(Some).ok_or_else(|| mismatch(other, path, "float64")),
    }
}

fn not_negative<N: PartialOrd + Default>(name: &str, number: Option<N>) -> Result<Option<N>, String> {
    if number.as_ref().is_some_and(|number| *number < N::default()) {
        return Err(format!("the '{name}' attribute must not be negative"));
    }
    Ok(number)
}

/// Delve's `api.GuessSubstitutePathIn`, whose fields Go matches without regard to case.
fn client_paths(path: &str, value: &Value) -> Result<Option<ClientPaths>, String> {
    let fields = match value {
        Value::Null => return Ok(None),
        Value::Object(fields) => fields,
        other => return Err(mismatch(other, path, "api.GuessSubstitutePathIn")),
    };
    let mut paths = ClientPaths::default();
    for (name, value) in fields {
        let inner = |name: &str| format!("{path}.{name}");
        if name.eq_ignore_ascii_case("ImportPathOfMainPackage") {
            set(&mut paths.main_package, name, string(&inner(name), value)?);
        } else if name.eq_ignore_ascii_case("ClientGOROOT") {
            set(&mut paths.goroot, name, string(&inner(name), value)?);
        } else if name.eq_ignore_ascii_case("ClientModuleDirectories") {
            let modules = match value {
                Value::Null => continue,
                Value::Object(modules) => modules,
                other => return Err(mismatch(other, &inner(name), "map[string]string")),
            };
            for (module, directory) in modules {
                let directory = string(&inner(name), directory)?.unwrap_or_default();
                paths.modules.insert(module.clone(), directory);
            }
        }
    }
    Ok(Some(paths))
}

fn strings(path: &str, value: &Value) -> Result<Option<Vec<String>>, String> {
    match value {
        Value::Null => Ok(None),
        Value::Array(elements) => elements
            .iter()
            .map(|element| string(path, element).map(Option::unwrap_or_default))
            .collect::<Result<_, _>>()
            .map(Some),
        other => Err(mismatch(other, path, "[]string")),
    }
}

fn environment(path: &str, value: &Value) -> Result<Option<Environment>, String> {
    match value {
        Value::Null => Ok(None),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| Ok((name.clone(), string(path, value)?)))
            .collect::<Result<_, _>>()
            .map(Some),
        other => Err(mismatch(other, path, "map[string]*string")),
    }
}

fn build_flags(value: &Value) -> Result<Option<BuildFlags>, String> {
    let wrong = || mismatch(value, "buildFlags", "[]string or string");
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(BuildFlags::Text(text.clone()))),
        Value::Array(_) => strings("buildFlags", value)
            .map(|flags| flags.map(BuildFlags::List))
            .map_err(|_| wrong()),
        _ => Err(wrong()),
    }
}

fn substitute_path(path: &str, value: &Value) -> Result<Option<SubstitutePath>, String> {
    let rule = |element: &Value| {
        let wrong = || format!("cannot use {element} as 'substitutePath' of type {{\"from\":string, \"to\":string}}");
        let Value::Object(fields) = element else {
            return Err(wrong());
        };
        let part = |name: &str| {
            fields
                .get(name)
                .map_or(Ok(None), |value| string(path, value))
                .map_err(|_| wrong())
        };
        match (part("from")?, part("to")?) {
            (Some(from), Some(to)) => Ok((from, to)),
            _ => Err("'substitutePath' requires both 'from' and 'to' entries".to_owned()),
        }
    };
    match value {
        Value::Null => Ok(None),
        Value::Array(elements) => elements
            .iter()
            .map(rule)
            .collect::<Result<_, _>>()
            .map(|rules| Some(SubstitutePath::new(rules))),
        other => Err(mismatch(other, path, "[]dap.SubstitutePath")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn defaults_are_delves() {
        let config =
            LaunchConfig::read(&json!({"program": "x", "mode": "", "backend": "", "args": null, "__sessionId": 1}))
                .expect("a configuration");
        assert_eq!(
            (config.mode.as_str(), config.common.backend.as_str()),
            ("debug", "default")
        );
        assert!(config.args.is_empty() && !config.no_debug);
        let config = AttachConfig::read(&json!({"processId": 7})).expect("a configuration");
        assert_eq!((config.mode.as_str(), config.process_id), ("local", 7));
    }

    #[test]
    fn attributes_are_read() {
        let config = LaunchConfig::read(&json!({
            "mode": "exec", "program": "/p", "args": ["a", "b"], "env": {"A": "1", "B": null}, "buildFlags": ["-v"],
            "stopOnEntry": true, "substitutePath": [{"from": "/c", "to": "/s"}],
        }))
        .expect("a configuration");
        assert_eq!(config.args, ["a", "b"]);
        assert_eq!(
            config.env,
            [("A".to_owned(), Some("1".to_owned())), ("B".to_owned(), None)]
        );
        assert_eq!(config.build_flags, BuildFlags::List(vec!["-v".to_owned()]));
        assert_eq!(config.common.substitute_path.to_server("/c/main.go"), "/s/main.go");
        assert!(config.common.stop_on_entry);
    }

    #[test]
    fn the_clients_paths_are_read_whatever_the_case_of_their_names() {
        let config = AttachConfig::read(&json!({"processId": 7, "guessSubstitutePath": {
            "ImportPathOfMainPackage": "example.org/a", "clientGoroot": "/go",
            "ClientModuleDirectories": {"example.org/a": "/home/me/a"}, "more": 1,
        }}))
        .expect("a configuration");
        let paths = config.guess_substitute_path.expect("they were given");
        assert_eq!(
            (paths.main_package.as_str(), paths.goroot.as_str()),
            ("example.org/a", "/go")
        );
        assert_eq!(
            paths.modules.get("example.org/a").map(String::as_str),
            Some("/home/me/a")
        );
        let wrong = AttachConfig::read(&json!({"processId": 7, "guessSubstitutePath": []}));
        assert_eq!(
            wrong.expect_err("wrong"),
            r#"cannot unmarshal array into "guessSubstitutePath" of type api.GuessSubstitutePathIn"#
        );
    }

    #[test]
    fn limits_of_probes_are_read_and_must_not_be_negative() {
        let config = LaunchConfig::read(&json!({
            "program": "x", "allowStopForLogpoints": true, "logpointRateLimit": 100, "probeCpuLimit": 12.5,
        }))
        .expect("a configuration");
        assert_eq!(config.common.allow_stop_for_logpoints, Some(true));
        assert_eq!(config.common.logpoint_rate_limit, Some(100));
        assert_eq!(config.common.probe_cpu_limit, Some(12.5));
        for attribute in ["logpointRateLimit", "probeCpuLimit"] {
            let error = LaunchConfig::read(&json!({"program": "x", attribute: -1})).expect_err("wrong");
            assert_eq!(error, format!("the '{attribute}' attribute must not be negative"));
        }
    }

    /// Each text was taken from `dlv dap` 1.27.1.
    #[test]
    fn wrong_attributes_are_named_in_delves_words() {
        for (arguments, text) in [
            (
                json!({"mode": 3}),
                r#"cannot unmarshal number into "mode" of type string"#,
            ),
            (
                json!({"args": "x"}),
                r#"cannot unmarshal string into "args" of type []string"#,
            ),
            (
                json!({"args": [1]}),
                r#"cannot unmarshal number into "args" of type string"#,
            ),
            (
                json!({"env": []}),
                r#"cannot unmarshal array into "env" of type map[string]*string"#,
            ),
            (
                json!({"env": {"a": 3}}),
                r#"cannot unmarshal number into "env" of type string"#,
            ),
            (
                json!({"buildFlags": 3}),
                r#"cannot unmarshal number into "buildFlags" of type []string or string"#,
            ),
            (
                json!({"buildFlags": [1]}),
                r#"cannot unmarshal array into "buildFlags" of type []string or string"#,
            ),
            (
                json!({"substitutePath": 3}),
                r#"cannot unmarshal number into "LaunchAttachCommonConfig.substitutePath" of type []dap.SubstitutePath"#,
            ),
            (
                json!({"substitutePath": [3]}),
                r#"cannot use 3 as 'substitutePath' of type {"from":string, "to":string}"#,
            ),
            (
                json!({"substitutePath": [{"from": "a"}]}),
                "'substitutePath' requires both 'from' and 'to' entries",
            ),
            (
                json!({"stackTraceDepth": "x"}),
                r#"cannot unmarshal string into "LaunchAttachCommonConfig.stackTraceDepth" of type int"#,
            ),
            (
                json!({"stackTraceDepth": 1.5}),
                r#"cannot unmarshal number 1.5 into "LaunchAttachCommonConfig.stackTraceDepth" of type int"#,
            ),
            (
                json!({"noDebug": "x"}),
                r#"cannot unmarshal string into "noDebug" of type bool"#,
            ),
            (
                json!({"showPprofLabels": "x"}),
                r#"cannot unmarshal string into "LaunchAttachCommonConfig.showPprofLabels" of type []string"#,
            ),
            (
                json!("str"),
                r#"cannot unmarshal string into "" of type dap.LaunchConfig"#,
            ),
            (json!([1]), r#"cannot unmarshal array into "" of type dap.LaunchConfig"#),
            (json!(null), "unexpected end of JSON input"),
        ] {
            assert_eq!(LaunchConfig::read(&arguments).expect_err("wrong"), text, "{arguments}");
        }
        assert_eq!(
            AttachConfig::read(&json!({"processId": 1.5})).expect_err("wrong"),
            r#"cannot unmarshal number 1.5 into "processId" of type int"#
        );
    }
}
