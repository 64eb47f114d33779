//! What the user chose about views of a stopped program. Some of it can be changed later, by `dlv config` in the
//! console.

use std::num::NonZeroU32;

use super::{config::CommonConfig, substitute_path::SubstitutePath};
use crate::{
    debugger::{FollowChildren, ProbeLimits},
    value::{LoadConfig, Style},
};

/// What the client said that it can do (`initialize`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClientCapabilities {
    /// It shows types.
    pub(crate) variable_type: bool,
    /// It asks for elements in portions.
    pub(crate) variable_paging: bool,
    /// It knows the `invalidated` event.
    pub(crate) invalidated_event: bool,
}

/// Choices of a session. The names of those that can be changed are those of the launch configuration.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a choice of its own")]
pub(crate) struct Settings {
    /// What the client can do.
    pub(crate) client: ClientCapabilities,
    /// How many frames of a stack are answered where the client names no number.
    pub(crate) stack_trace_depth: usize,
    /// Bytes of a string that are loaded; 0 for the default.
    pub(crate) max_string_len: u32,
    /// Elements of an array, slice or map that are loaded; 0 for the default.
    pub(crate) max_array_values: u32,
    /// Whether there is a scope with the package's variables.
    pub(crate) show_global_variables: bool,
    /// Whether there is a scope with the registers.
    pub(crate) show_registers: bool,
    /// Which goroutines are shown, in the language of Delve's `goroutines` command.
    pub(crate) goroutine_filters: String,
    /// Keys of the labels that are part of a goroutine's name; `*` alone for all.
    pub(crate) show_pprof_labels: Vec<String>,
    /// Whether the runtime's own goroutines are left out.
    pub(crate) hide_system_goroutines: bool,
    /// The client's paths and the binary's.
    pub(crate) paths: SubstitutePath,
    /// Whether child processes are debugged too, and which.
    pub(crate) follow_exec: (bool, String),
    /// Whether strings are shown as they are, without quotes and escapes.
    pub(crate) show_raw_strings: bool,
    /// What probes may do to the program.
    pub(crate) probes: ProbeSettings,
}

/// What the user has said about probes; what is absent follows from how the session begins.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct ProbeSettings {
    /// Whether a logpoint may stop an attached program.
    pub(crate) allow_stop_for_logpoints: Option<bool>,
    /// Messages per second of each logpoint; 0 for any number.
    pub(crate) logpoint_rate_limit: Option<u32>,
    /// Percent of one core that each breakpoint's probes may take; 0 for any.
    pub(crate) probe_cpu_limit: Option<f64>,
}

/// How much of one core each breakpoint's probes may take of a program that others depend on, in percent.
const CPU_LIMIT_OF_ATTACHED: f64 = 20.0;

impl ProbeSettings {
    /// What holds in a session that has attached to its program, or has launched it.
    pub(crate) fn limits(&self, is_attached: bool) -> ProbeLimits {
        let cpu = self
            .probe_cpu_limit
            .unwrap_or(if is_attached { CPU_LIMIT_OF_ATTACHED } else { 0.0 });
        ProbeLimits {
            may_stop_for_logpoints: self.allow_stop_for_logpoints.unwrap_or(false),
            messages_per_second: self.logpoint_rate_limit.and_then(NonZeroU32::new),
            share_of_core: (cpu > 0.0).then_some(cpu / 100.0),
        }
    }
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            client: ClientCapabilities::default(),
            stack_trace_depth: 50,
            max_string_len: 0,
            max_array_values: 0,
            show_global_variables: false,
            show_registers: false,
            goroutine_filters: String::new(),
            show_pprof_labels: Vec::new(),
            hide_system_goroutines: false,
            paths: SubstitutePath::default(),
            follow_exec: (false, String::new()),
            show_raw_strings: false,
            probes: ProbeSettings::default(),
        }
    }
}

/// The settings that are not Delve's; its clients do not expect them in the list of all.
pub(crate) const OF_PROBES: [&str; 3] = ["allowStopForLogpoints", "logpointRateLimit", "probeCpuLimit"];

/// Which view a changed setting concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Area {
    /// Scopes and variables.
    Variables,
    /// The list of goroutines.
    Threads,
}

impl Settings {
    /// Takes over what a launch configuration says. Numbers that are not positive and an empty list of path rules
    /// leave what was.
    pub(crate) fn configure(&mut self, config: &CommonConfig) {
        if let Some(depth) = usize::try_from(config.stack_trace_depth)
            .ok()
            .filter(|depth| *depth > 0)
        {
            self.stack_trace_depth = depth;
        }
        if let Some(len) = positive(config.max_string_len) {
            self.max_string_len = len;
        }
        if let Some(len) = positive(config.max_array_values) {
            self.max_array_values = len;
        }
        self.show_global_variables = config.show_global_variables;
        self.show_registers = config.show_registers;
        self.goroutine_filters.clone_from(&config.goroutine_filters);
        self.show_pprof_labels.clone_from(&config.show_pprof_labels);
        self.hide_system_goroutines = config.hide_system_goroutines;
        self.show_raw_strings = config.show_raw_strings;
        self.probes = ProbeSettings {
            allow_stop_for_logpoints: config.allow_stop_for_logpoints.or(self.probes.allow_stop_for_logpoints),
            logpoint_rate_limit: config
                .logpoint_rate_limit
                .map(|limit| u32::try_from(limit).unwrap_or(u32::MAX)),
            probe_cpu_limit: config.probe_cpu_limit,
        };
        self.follow_exec = (config.follow_exec, config.follow_exec_regex.clone());
        if !config.substitute_path.rules().is_empty() {
            self.paths = config.substitute_path.clone();
        }
    }

    /// Which of the processes that the program starts are followed.
    pub(crate) fn follow(&self) -> Result<Option<FollowChildren>, String> {
        let (follows, regex) = &self.follow_exec;
        let follow = follows.then(|| FollowChildren::matching(regex));
        follow.transpose().map_err(|error| error.to_string())
    }

    /// How much of a value is loaded.
    pub(crate) fn load_config(&self) -> LoadConfig {
        let or = |chosen: u32, default: u32| if chosen > 0 { chosen } else { default };
        LoadConfig {
            max_string_len: or(self.max_string_len, LoadConfig::DAP.max_string_len),
            max_array_values: or(self.max_array_values, LoadConfig::DAP.max_array_values),
            ..LoadConfig::DAP
        }
    }

    /// How a value is printed.
    pub(crate) fn style(&self) -> Style {
        Style {
            newlines: false,
            shorten_types: true,
            raw_strings: self.show_raw_strings,
            hexadecimal: false,
        }
    }

    /// All settings that `dlv config` shows, one a line.
    pub(crate) fn list(&self) -> String {
        NAMES.iter().map(|name| self.show(name)).collect()
    }

    /// One setting with its value; nothing for a name that there is not.
    pub(crate) fn show(&self, name: &str) -> String {
        let list = |parts: &[String]| format!("[{}]", parts.join(" "));
        let value = match name {
            "stackTraceDepth" => self.stack_trace_depth.to_string(),
            "maxStringLen" => self.max_string_len.to_string(),
            "maxArrayValues" => self.max_array_values.to_string(),
            "showGlobalVariables" => self.show_global_variables.to_string(),
            "showRegisters" => self.show_registers.to_string(),
            "goroutineFilters" => format!("{:?}", self.goroutine_filters),
            "showPprofLabels" => list(&self.show_pprof_labels),
            "hideSystemGoroutines" => self.hide_system_goroutines.to_string(),
            "substitutePath" => {
                let rules: Vec<String> = self
                    .paths
                    .rules()
                    .iter()
                    .map(|(client, server)| format!("[{client} {server}]"))
                    .collect();
                list(&rules)
            }
            "followExec" => self.follow_exec.0.to_string(),
            "followExecRegex" => format!("{:?}", self.follow_exec.1),
            "showRawStrings" => self.show_raw_strings.to_string(),
            "allowStopForLogpoints" => self.probes.allow_stop_for_logpoints.unwrap_or(false).to_string(),
            "logpointRateLimit" => self.probes.logpoint_rate_limit.unwrap_or(0).to_string(),
            "probeCpuLimit" => match self.probes.probe_cpu_limit {
                Some(percent) => percent.to_string(),
                None => "default".to_owned(),
            },
            _ => return String::new(),
        };
        format!("{name}\t{value}\n")
    }

    /// Changes a setting as `NAME VALUE` says; answers which view shows something else from now on.
    pub(crate) fn change(&mut self, name: &str, value: &str) -> Result<Option<Area>, String> {
        match name {
            "stackTraceDepth" => self.stack_trace_depth = number(name, value)?,
            "maxStringLen" => self.max_string_len = number(name, value)?,
            "maxArrayValues" => self.max_array_values = number(name, value)?,
            "showGlobalVariables" => self.show_global_variables = truth(name, value)?,
            "showRegisters" => self.show_registers = truth(name, value)?,
            "goroutineFilters" => self.goroutine_filters = unquoted(value),
            "showPprofLabels" => change_labels(&mut self.show_pprof_labels, value)?,
            "hideSystemGoroutines" => self.hide_system_goroutines = truth(name, value)?,
            "substitutePath" => change_paths(&mut self.paths, value)?,
            "showRawStrings" => self.show_raw_strings = truth(name, value)?,
            "allowStopForLogpoints" => self.probes.allow_stop_for_logpoints = Some(truth(name, value)?),
            "logpointRateLimit" => self.probes.logpoint_rate_limit = Some(number(name, value)?),
            "probeCpuLimit" => self.probes.probe_cpu_limit = percent(name, value)?,
            "followExec" => self.follow_exec.0 = truth(name, value)?,
            "followExecRegex" => {
                let regex = unquoted(value);
                FollowChildren::matching(&regex).map_err(|error| error.to_string())?;
                self.follow_exec.1 = regex;
            }
            _ => return Err(format!("{name:?} is not a configuration parameter")),
        }
        Ok(match name {
            "showGlobalVariables" | "showRegisters" => Some(Area::Variables),
            "goroutineFilters" | "hideSystemGoroutines" | "showPprofLabels" => Some(Area::Threads),
            _ => None,
        })
    }
}

/// The settings in the order in which they are listed.
const NAMES: [&str; 12] = [
    "stackTraceDepth",
    "maxStringLen",
    "maxArrayValues",
    "showGlobalVariables",
    "showRegisters",
    "goroutineFilters",
    "showPprofLabels",
    "hideSystemGoroutines",
    "substitutePath",
    "followExec",
    "followExecRegex",
    "showRawStrings",
];

fn positive(number: i64) -> Option<u32> {
    (number > 0).then(|| u32::try_from(number).unwrap_or(u32::MAX))
}

fn number<N: TryFrom<i64>>(name: &str, value: &str) -> Result<N, String> {
    let number: i64 = value
        .parse()
        .map_err(|_| format!("argument to {name:?} must be a number"))?;
    if number < 0 {
        return Err(format!("argument to {name:?} must be a number greater than zero"));
    }
    N::try_from(number).map_err(|_| format!("argument to {name:?} must be a number"))
}

/// A number that is not negative; `default` for what a session begins with.
fn percent(name: &str, value: &str) -> Result<Option<f64>, String> {
    if value == "default" {
        return Ok(None);
    }
    let number = value
        .parse::<f64>()
        .ok()
        .filter(|number| number.is_finite() && *number >= 0.0);
    match number {
        Some(number) => Ok(Some(number)),
        None => Err(format!(
            "argument to {name:?} must be a percentage, 0 for no limit, or default"
        )),
    }
}

fn truth(name: &str, value: &str) -> Result<bool, String> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(format!("argument to {name:?} must be true or false")),
    }
}

fn unquoted(value: &str) -> String {
    let inner = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inner.unwrap_or(value).to_owned()
}

/// `LABEL` adds, `-clear LABEL` removes one, `-clear` all.
fn change_labels(labels: &mut Vec<String>, value: &str) -> Result<(), String> {
    match fields(value).as_slice() {
        [] => {}
        [clear] if clear == "-clear" => labels.clear(),
        [clear, label] if clear == "-clear" => {
            let place = labels.iter().position(|one| one == label);
            labels.remove(place.ok_or_else(|| format!("could not find label {label:?}"))?);
        }
        [label] => labels.push(label.clone()),
        _ => return Err("too many arguments to \"config showPprofLabels\"".to_owned()),
    }
    Ok(())
}

/// `FROM TO` adds or replaces a rule, `FROM` removes it, `-clear` removes all.
fn change_paths(paths: &mut SubstitutePath, value: &str) -> Result<(), String> {
    let mut rules = paths.rules().to_vec();
    let given = fields(value);
    match given.as_slice() {
        [] => {}
        [clear] if clear == "-clear" => rules.clear(),
        [from] => {
            let place = rules.iter().position(|(client, _)| client == from);
            rules.remove(place.ok_or_else(|| format!("could not find rule for {from:?}"))?);
        }
        [clear, from] if clear == "-clear" => return change_paths(paths, &format!("\"{from}\"")),
        [from, to] => match rules.iter_mut().find(|(client, _)| client == from) {
            Some(rule) => rule.1.clone_from(to),
            None => rules.push((from.clone(), to.clone())),
        },
        _ => return Err("too many arguments to \"config substitutePath\"".to_owned()),
    }
    *paths = SubstitutePath::new(rules);
    Ok(())
}

/// Splits at spaces outside of double quotes.
pub(crate) fn fields(text: &str) -> Vec<String> {
    let mut fields = Vec::new();
    let mut field: Option<String> = None;
    let (mut quoted, mut escaped) = (false, false);
    for character in text.chars() {
        match character {
            _ if escaped => {
                escaped = false;
                field.get_or_insert_default().push(character);
            }
            '\\' if quoted => escaped = true,
            '"' => {
                quoted = !quoted;
                field.get_or_insert_default();
            }
            space if space.is_whitespace() && !quoted => fields.extend(field.take()),
            other => field.get_or_insert_default().push(other),
        }
    }
    fields.extend(field);
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_changed_is_shown() {
        let mut settings = Settings::default();
        for (name, value, shown) in [
            ("stackTraceDepth", "7", "stackTraceDepth\t7\n"),
            ("goroutineFilters", "\"-w user\"", "goroutineFilters\t\"-w user\"\n"),
            ("showPprofLabels", "a", "showPprofLabels\t[a]\n"),
            ("showPprofLabels", "\"b c\"", "showPprofLabels\t[a b c]\n"),
            ("showPprofLabels", "-clear a", "showPprofLabels\t[b c]\n"),
            ("substitutePath", "/a /b", "substitutePath\t[[/a /b]]\n"),
            ("substitutePath", "/a /c", "substitutePath\t[[/a /c]]\n"),
            ("substitutePath", "/a", "substitutePath\t[]\n"),
            ("showRegisters", "true", "showRegisters\ttrue\n"),
        ] {
            settings
                .change(name, value)
                .unwrap_or_else(|why| panic!("{name} {value}: {why}"));
            assert_eq!(settings.show(name), shown);
        }
        assert_eq!(settings.list().lines().count(), NAMES.len());
        assert_eq!(settings.change("hideSystemGoroutines", "true"), Ok(Some(Area::Threads)));
    }

    #[test]
    fn an_attached_program_is_protected_unless_the_user_says_otherwise() {
        let mut settings = Settings::default();
        assert_eq!(settings.probes.limits(true).share_of_core, Some(0.2));
        assert_eq!(settings.probes.limits(false), ProbeLimits::default());
        assert_eq!(settings.show("probeCpuLimit"), "probeCpuLimit\tdefault\n");
        for (value, attached, launched) in [
            ("0", None, None),
            ("50", Some(0.5), Some(0.5)),
            ("default", Some(0.2), None),
        ] {
            assert_eq!(settings.change("probeCpuLimit", value), Ok(None));
            let shares = (
                settings.probes.limits(true).share_of_core,
                settings.probes.limits(false).share_of_core,
            );
            assert_eq!(shares, (attached, launched), "{value}");
        }
        settings.change("logpointRateLimit", "7").expect("a number");
        assert_eq!(settings.probes.limits(false).messages_per_second, NonZeroU32::new(7));
        for value in ["-1", "much", "NaN", "inf"] {
            assert!(settings.change("probeCpuLimit", value).is_err(), "{value}");
        }
        let before = settings.list();
        assert!(OF_PROBES.iter().all(|name| !before.contains(name)));
    }

    #[test]
    fn wrong_values_are_refused_in_delves_words() {
        let mut settings = Settings::default();
        for (name, value, text) in [
            ("nothing", "1", "\"nothing\" is not a configuration parameter"),
            (
                "stackTraceDepth",
                "x",
                "argument to \"stackTraceDepth\" must be a number",
            ),
            (
                "stackTraceDepth",
                "-1",
                "argument to \"stackTraceDepth\" must be a number greater than zero",
            ),
            (
                "showRegisters",
                "yes",
                "argument to \"showRegisters\" must be true or false",
            ),
            ("substitutePath", "/x", "could not find rule for \"/x\""),
            ("showPprofLabels", "-clear x", "could not find label \"x\""),
            (
                "substitutePath",
                "a b c",
                "too many arguments to \"config substitutePath\"",
            ),
        ] {
            assert_eq!(settings.change(name, value), Err(text.to_owned()));
        }
        assert_eq!(settings, Settings::default());
    }

    #[test]
    fn fields_are_split_outside_of_quotes() {
        assert_eq!(fields(r#" a  "b c" d"e"f "" "\"" "#), ["a", "b c", "def", "", "\""]);
    }
}
