//! `variables` and `setVariable`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::call::MAX_STRING;
use crate::{
    dap::{
        bench::{Look, ValueFormat},
        container::{Container, Parts, Variable},
        debuggee::CallPurpose,
        errors::{Refusal, UNABLE_TO_LOOKUP_TO_SET, UNABLE_TO_LOOKUP_VARIABLE, UNABLE_TO_SET_VARIABLE},
        message::Request,
        session::Session,
    },
    debugger::CallWish,
    value::{Content, LoadConfig},
};

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Arguments {
    variables_reference: i64,
    filter: String,
    start: i64,
    count: i64,
    format: ValueFormat,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct SetArguments {
    variables_reference: i64,
    name: String,
    value: String,
}

#[derive(Serialize)]
struct Variables {
    variables: Vec<Variable>,
}

impl Session {
    /// Answers `variables`.
    pub(super) async fn on_variables(&mut self, request: &Request) {
        let arguments: Arguments = match request.arguments() {
            Ok(arguments) => arguments,
            Err(text) => return self.out.refuse(request, UNABLE_TO_LOOKUP_VARIABLE, &text),
        };
        match self.inspect(move |at| variables(at, &arguments)).await {
            Ok(variables) => self.out.respond_directly(request, &Variables { variables }),
            Err(why) => self.out.refuse(request, UNABLE_TO_LOOKUP_VARIABLE, &why),
        }
    }

    /// Answers `setVariable`.
    pub(super) async fn on_set_variable(&mut self, request: &Request) {
        let arguments: SetArguments = match request.arguments() {
            Ok(arguments) => arguments,
            Err(text) => return self.out.refuse(request, UNABLE_TO_SET_VARIABLE, &text),
        };
        let value = arguments.value.clone();
        let set = self.inspect(move |at| Ok(set(at, &arguments))).await;
        match set.unwrap_or_else(|why| Err((UNABLE_TO_SET_VARIABLE, why))) {
            Ok(Set::Done { type_name }) => self.has_set(request, &value, &type_name),
            Ok(Set::ByCall { wish, type_name }) => {
                self.begin_call(request, wish, CallPurpose::Set { value, type_name })
                    .await;
            }
            Err((refusal, why)) => self.out.refuse(request, refusal, &why),
        }
    }

    /// Answers `setVariable` where the variable has been set.
    pub(super) fn has_set(&mut self, request: &Request, value: &str, type_name: &str) {
        let mut body = json!({"value": value});
        if !type_name.is_empty() {
            body["type"] = type_name.into();
        }
        self.out.respond(request, Some(&body));
        if self.settings.client.invalidated_event {
            self.out.event_with("invalidated", &json!({"areas": ["all"]}));
        }
    }
}

/// How a variable is set.
enum Set {
    /// It has been.
    Done {
        /// Its type, for clients that show types.
        type_name: String,
    },
    /// The program has to make room for a string.
    ByCall {
        /// The assignment.
        wish: CallWish,
        /// As above.
        type_name: String,
    },
}

fn variables(at: &mut Look<'_>, arguments: &Arguments) -> Result<Vec<Variable>, String> {
    at.format = arguments.format;
    let reference = arguments.variables_reference;
    let mut container = at
        .containers
        .get(reference)
        .cloned()
        .ok_or_else(|| format!("unknown reference {reference}"))?;
    let (named, indexed) = match arguments.filter.as_str() {
        "" => (true, true),
        filter => (filter == "named", filter == "indexed"),
    };
    if arguments.filter == "indexed" {
        let start = u64::try_from(arguments.start).unwrap_or(0);
        let count = u64::try_from(arguments.count).unwrap_or(0);
        if let Some(portion) = portion(at, &container, start, count)? {
            container = Arc::new(portion);
        }
    }
    let mut variables = Vec::new();
    if named {
        variables.extend(at.told_of_the_whole(&container));
    }
    if indexed {
        variables.extend(at.parts(&container));
    }
    Ok(variables)
}

/// The part of a list or map from `start` on; `None` where that is what is there already.
fn portion(at: &Look<'_>, container: &Container, start: u64, count: u64) -> Result<Option<Container>, String> {
    const NO_LIST: &str = "variable to reslice is not an array, slice, or map";
    let Parts::Value(value) = &container.parts else {
        return Err(NO_LIST.to_owned());
    };
    let (loaded, len) = match &value.content {
        Content::Slice { elements, len, .. } | Content::Array { elements, len } => (elements.len(), Some(*len)),
        Content::Map { entries, len, .. } => (entries.len(), Some(*len)),
        Content::Struct { fields, .. } => (fields.len(), None),
        _ => (0, None),
    };
    if start == 0 && count == loaded as u64 {
        return Ok(None);
    }
    let len = u64::try_from(len.ok_or(NO_LIST)?).unwrap_or(0);
    if start > len {
        // A map has no order that an entry could be beyond.
        return match &value.content {
            Content::Map { .. } => Ok(Some(without_parts(container, start))),
            _ => Err("index out of bounds".to_owned()),
        };
    }
    // Lists within the elements are limited to as many as were asked for, be there fewer here or not.
    let range = start..start.saturating_add(count);
    let mut config = at.settings.load_config();
    config.max_array_values = u32::try_from(count).unwrap_or(u32::MAX);
    let frame = container.frame.unwrap_or_else(|| at.selected_frame());
    let part = at
        .target
        .reload(frame, value, Some(range), config)
        .map_err(|error| error.to_string())?;
    Ok(Some(Container {
        parts: Parts::Value(Box::new(part)),
        expression: container.expression.clone(),
        start,
        frame: container.frame,
    }))
}

/// A container of nothing, for a portion behind the end.
fn without_parts(container: &Container, start: u64) -> Container {
    Container {
        parts: Parts::Variables(Vec::new()),
        start,
        ..container.clone()
    }
}

/// Assigns, or says what assigns. To a string where a goroutine stands anything may be assigned that `call` allows, as in Delve; in the frames around it, where
/// nothing can be called, what needs no room in the program.
fn set(at: &mut Look<'_>, arguments: &SetArguments) -> Result<Set, (Refusal, String)> {
    let reference = arguments.variables_reference;
    let container = at
        .containers
        .get(reference)
        .cloned()
        .ok_or_else(|| (UNABLE_TO_LOOKUP_TO_SET, format!("unknown reference {reference}")))?;
    let failed = |why: String| (UNABLE_TO_SET_VARIABLE, why);
    let part = at
        .parts(&container)
        .into_iter()
        .find(|part| part.name == arguments.name)
        .ok_or_else(|| failed("failed to find the named variable".to_owned()))?;
    if part.evaluate_name.is_empty() {
        return Err(failed("cannot set the variable without evaluate name".to_owned()));
    }
    let frame = container.frame.unwrap_or_else(|| at.selected_frame());
    let before = at
        .target
        .evaluate(frame, &part.evaluate_name, at.settings.load_config())
        .map_err(|why| (UNABLE_TO_LOOKUP_TO_SET, why.to_string()))?;
    let type_name = at.type_name(&before);
    if matches!(before.content, Content::String { .. }) && frame.frame == 0 {
        let wish = CallWish {
            whose: frame.whose,
            expression: format!("{}={}", part.evaluate_name, arguments.value),
            config: LoadConfig {
                max_string_len: MAX_STRING,
                ..at.settings.load_config()
            },
            check_escape: true,
        };
        return Ok(Set::ByCall { wish, type_name });
    }
    at.target
        .set_variable(frame, &part.evaluate_name, &arguments.value)
        .map_err(|why| failed(why.to_string()))?;
    Ok(Set::Done { type_name })
}
