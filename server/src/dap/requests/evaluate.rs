//! `evaluate`: Go expressions, and in the console the commands of `dlv`.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    dap::{
        bench::{Look, ValueFormat},
        debuggee::State,
        errors::{UNABLE_TO_EVALUATE, UNABLE_TO_RUN_COMMAND},
        message::Request,
        present::{Manner, indexed_parts, named_parts},
        session::Session,
    },
    value::Content,
};

/// How many bytes of a string are loaded when the user looks at that string alone.
const MAX_SINGLE_STRING: u32 = 4 << 10;

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Arguments {
    expression: String,
    frame_id: i64,
    context: String,
    format: ValueFormat,
}

impl Session {
    /// Answers `evaluate`.
    pub(super) async fn on_evaluate(&mut self, request: &Request, state: State) {
        let arguments: Arguments = match request.arguments() {
            Ok(arguments) => arguments,
            Err(text) => return self.out.refuse(request, UNABLE_TO_EVALUATE, &text),
        };
        // In a console, a watch or a hover the editor shows the error in place.
        let visible = !matches!(arguments.context.as_str(), "watch" | "repl" | "hover");
        let expression = arguments.expression.clone();
        // What the mouse happens to rest on may read like a command.
        let acts = |word| after_word(&expression, word).is_some();
        if arguments.context == "hover" && (acts("dlv") || acts("call")) {
            let refusal = UNABLE_TO_EVALUATE;
            let why = "a hover does not change anything; commands and calls are for the console";
            return self.out.refuse_with(request, refusal.id, refusal.summary, why, visible);
        }
        if let Some(command) = after_word(&expression, "dlv") {
            return match self.on_console_command(command.trim_end()).await {
                Ok(text) => self
                    .out
                    .respond(request, Some(&json!({"result": text, "variablesReference": 0}))),
                Err(why) => {
                    let refusal = UNABLE_TO_RUN_COMMAND;
                    self.out
                        .refuse_with(request, refusal.id, refusal.summary, &why, visible);
                }
            };
        }
        let evaluated = if let Some(obituary) = self.obituary(state) {
            Err(obituary)
        } else if let Some(called) = after_word(&expression, "call") {
            return self.on_call(request, called, arguments.frame_id, visible).await;
        } else {
            self.inspect(move |at| evaluate(at, &arguments)).await
        };
        match evaluated {
            Ok(body) => self.out.respond_directly(request, &body),
            Err(why) => {
                let refusal = UNABLE_TO_EVALUATE;
                self.out
                    .refuse_with(request, refusal.id, refusal.summary, &why, visible);
            }
        }
    }
}

/// What follows `word` and a space, if something does.
fn after_word<'text>(text: &'text str, word: &str) -> Option<&'text str> {
    let rest = text.trim_start().strip_prefix(word)?;
    (rest.starts_with(char::is_whitespace) && !rest.trim().is_empty()).then(|| rest.trim_start())
}

fn evaluate(at: &mut Look<'_>, arguments: &Arguments) -> Result<Value, String> {
    at.format = arguments.format;
    let frame = at.frames.get(arguments.frame_id).copied();
    let place = frame.unwrap_or_else(|| at.selected_frame());
    let expression = arguments.expression.as_str();
    let mut config = at.settings.load_config();
    let mut value = at
        .target
        .evaluate(place, expression, config)
        .map_err(|error| error.to_string())?;
    let context = arguments.context.as_str();
    if matches!(context, "repl" | "variables" | "hover" | "clipboard")
        && let Content::String { bytes, len } = &value.content
        && (bytes.len() as i64) < *len
    {
        config.max_string_len = MAX_SINGLE_STRING;
        match at.target.evaluate(place, expression, config) {
            Ok(longer) => value = longer,
            Err(why) => tracing::debug!("failed to load more of {expression}: {why}"),
        }
    }
    // These two are asked for to copy the value.
    let manner = Manner {
        without_reference: false,
        in_full: matches!(context, "clipboard" | "variables"),
    };
    let shown = at.present(&mut value, &format!("({expression})"), frame, manner);
    let mut body = json!({"result": shown.text, "variablesReference": shown.reference});
    let type_name = at.type_name(&value);
    if !type_name.is_empty() {
        body["type"] = type_name.into();
    }
    for (name, number) in [
        ("indexedVariables", indexed_parts(&value)),
        ("namedVariables", named_parts(&value)),
    ] {
        if number > 0 {
            body[name] = number.into();
        }
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_words_with_something_behind_them() {
        assert_eq!(after_word(" dlv  help config", "dlv"), Some("help config"));
        for none in ["dlv", "dlv ", "dlvx help", "x dlv help"] {
            assert_eq!(after_word(none, "dlv"), None, "{none}");
        }
    }
}
