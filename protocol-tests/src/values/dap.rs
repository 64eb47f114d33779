//! What an editor is shown: scopes and their variables, opened to a depth and in portions, and expressions in each context.

use std::path::Path;

use serde_json::{Value, json};

use super::normalise::{ValueNormaliser, is_unordered};
use super::program::{Program, Ready, Stop};
use super::{Observation, Observed};
use crate::dap_client::{DapClient, Response, STEP, SourceBreakpoint};
use crate::failure::{Attempt, Result};
use crate::stage::Stage;

/// How many levels below a variable are opened.
const DEPTH: usize = 3;
/// How many rows are looked at below one variable.
const ROWS: usize = 120;
/// The contexts of the protocol, as they are called here and there.
const CONTEXTS: [(&str, &str); 4] = [
    ("DAP watch", "watch"),
    ("DAP hover", "hover"),
    ("DAP repl", "repl"),
    ("DAP clipboard", "clipboard"),
];

struct Look<'a> {
    client: DapClient,
    normaliser: ValueNormaliser,
    observed: &'a mut Vec<Observation>,
    /// The number and name of the stop and the frame.
    place: String,
    frame: i64,
}

/// Looks at a program through a server.
pub fn observe(server: &Path, program: &Program, ready: &Ready) -> Observed {
    Observed::by(|observed| session(server, program, ready, observed))
}

fn session(server: &Path, program: &Program, ready: &Ready, observed: &mut Vec<Observation>) -> Result<()> {
    let mut stage = Stage::new()?;
    let built = stage.copy(program.folder(), &ready.built)?;
    let mut client = DapClient::start(server)?;
    client.keep_no_transcript();
    client.launch(json!({
        "request": "launch", "mode": "exec", "program": built.program, "args": ready.args, "showGlobalVariables": true,
        "stopOnEntry": false,
    }))?;
    let mut files: Vec<&str> = ready.stops.iter().map(|stop| stop.file.as_str()).collect();
    files.sort_unstable();
    files.dedup();
    for file in files {
        let lines: Vec<SourceBreakpoint> = ready
            .stops
            .iter()
            .filter(|stop| stop.file == file)
            .map(|stop| SourceBreakpoint::stop(stop.line))
            .collect();
        client.set_breakpoints(file, &lines)?;
    }
    client.configuration_done()?;
    let mut look = Look {
        client,
        normaliser: ValueNormaliser::new(stage.paths()),
        observed,
        place: String::new(),
        frame: 0,
    };
    for number in 1..=program.stops {
        let event = look.client.event_where("a stop or the end", STEP, |event| {
            matches!(event.event.as_str(), "stopped" | "terminated")
        })?;
        if event.event == "terminated" {
            break;
        }
        let mut thread = event.body["threadId"].clone();
        if look.stop(number, &thread, program, ready)? {
            look.client.request("stepOut", json!({"threadId": thread}))?;
            thread = look.client.event("stopped")?.body["threadId"].clone();
            look.returned(&thread)?;
        }
        look.client.request("continue", json!({"threadId": thread}))?;
    }
    look.client.request("disconnect", json!({}))?;
    look.client.until_closed()
}

impl Look<'_> {
    fn keep(&mut self, context: &'static str, what: &str, answer: Value) {
        let title = self.normaliser.text(&format!("{}: {what}", self.place));
        let answer = self.normaliser.answer(answer);
        self.observed.push(Observation { context, title, answer });
    }

    /// Looks at a stop; answers whether it is left by a step out.
    fn stop(&mut self, number: usize, thread: &Value, program: &Program, ready: &Ready) -> Result<bool> {
        let arguments = json!({"threadId": thread, "startFrame": 0, "levels": program.frames});
        let stack = self.client.request("stackTrace", arguments)?;
        let frames = stack["stackFrames"].as_array().cloned().unwrap_or_default();
        let line = frames.first().attempt("looking at the stack")?["line"].clone();
        let stop = ready.stops.iter().find(|stop| line == stop.line);
        for (depth, frame) in frames.iter().enumerate() {
            let name = stop.map_or("?", |stop| &stop.name);
            self.place = match depth {
                0 => format!("{number} {name}"),
                _ => format!("{number} {name}, frame {depth}"),
            };
            self.frame = frame["id"].as_i64().unwrap_or_default();
            self.frame(depth, stop)?;
        }
        Ok(stop.is_some_and(Stop::steps_out))
    }

    /// What the function has returned that was stepped out of, beside the variables of its caller.
    fn returned(&mut self, thread: &Value) -> Result<()> {
        let arguments = json!({"threadId": thread, "startFrame": 0, "levels": 1});
        let stack = self.client.request("stackTrace", arguments)?;
        self.frame = stack["stackFrames"][0]["id"].as_i64().unwrap_or_default();
        let scopes = self.client.request("scopes", json!({"frameId": self.frame}))?;
        let scope = &scopes["scopes"][0];
        let arguments = json!({"variablesReference": scope["variablesReference"]});
        for variable in self.variables("returned", arguments)? {
            let name = variable["name"].as_str().unwrap_or_default().to_owned();
            let mut rows = ROWS;
            self.row("DAP return values", &name, &variable, DEPTH, &mut rows)?;
        }
        Ok(())
    }

    fn frame(&mut self, depth: usize, stop: Option<&Stop>) -> Result<()> {
        let scopes = self.client.request("scopes", json!({"frameId": self.frame}))?;
        let mut names: Vec<String> = Vec::new();
        for scope in scopes["scopes"].as_array().cloned().unwrap_or_default() {
            let scope_name = scope["name"].as_str().unwrap_or_default().to_owned();
            let is_global = scope_name.starts_with("Globals");
            if is_global && (depth != 0 || !self.place.starts_with("1 ")) {
                continue;
            }
            let context = if is_global { "DAP globals" } else { "DAP variables" };
            let mut shown = scope.clone();
            shown["variablesReference"] = true.into();
            self.keep(context, &scope_name, shown);
            let arguments = json!({"variablesReference": scope["variablesReference"]});
            for variable in self.variables(&scope_name, arguments)? {
                let name = variable["name"].as_str().unwrap_or_default().to_owned();
                let mut rows = ROWS;
                self.row(context, &name, &variable, DEPTH, &mut rows)?;
                names.push(variable["evaluateName"].as_str().unwrap_or(&name).to_owned());
            }
        }
        if let Some(stop) = stop.filter(|_| depth == 0) {
            names.extend(stop.expressions.iter().cloned());
        }
        for name in names {
            for (context, word) in CONTEXTS {
                self.evaluate(context, word, &name, DEPTH - 1)?;
            }
        }
        if let Some(stop) = stop.filter(|_| depth == 0) {
            let scope = scopes["scopes"][0]["variablesReference"].clone();
            for (to, value) in &stop.assignments {
                self.assign(&scope, to, value)?;
            }
        }
        Ok(())
    }

    /// `setVariable`, of a variable of the scope, or of the part of another that the last field or index names.
    fn assign(&mut self, scope: &Value, to: &str, value: &str) -> Result<()> {
        let (reference, name) = match to.rfind(['.', '[']) {
            Some(at) if !to.starts_with('*') => {
                let reference = self.reference(&to[..at])?;
                (reference, to[at..].trim_start_matches('.'))
            }
            _ => (scope.clone(), to),
        };
        let arguments = json!({"variablesReference": reference, "name": name, "value": value});
        let set = self.client.try_request("setVariable", arguments)?;
        let arguments = json!({"expression": to, "frameId": self.frame, "context": "watch"});
        let after = self.client.try_request("evaluate", arguments)?;
        let both = json!({"answer": answer(&set), "after": answer(&after)});
        self.keep("DAP setVariable", &format!("{to} = {value}"), both);
        Ok(())
    }

    /// The handle of what an expression means, or of what that points to.
    fn reference(&mut self, expression: &str) -> Result<Value> {
        let arguments = json!({"expression": expression, "frameId": self.frame, "context": "watch"});
        let found = self.client.try_request("evaluate", arguments)?.body;
        let is_pointer = found["type"].as_str().is_some_and(|name| name.starts_with('*'));
        if !is_pointer || found["variablesReference"] == 0 {
            return Ok(found["variablesReference"].clone());
        }
        let arguments = json!({"variablesReference": found["variablesReference"]});
        let target = self.client.request("variables", arguments)?;
        Ok(target["variables"][0]["variablesReference"].clone())
    }

    /// The rows of a handle; a refusal is an observation of its own.
    fn variables(&mut self, path: &str, arguments: Value) -> Result<Vec<Value>> {
        let response = self.client.try_request("variables", arguments)?;
        if !response.success {
            self.keep("DAP variables, refused", path, answer(&response));
        }
        Ok(response.body["variables"].as_array().cloned().unwrap_or_default())
    }

    /// A variable as it stands in a list, and what is in it.
    fn row(
        &mut self,
        context: &'static str,
        path: &str,
        variable: &Value,
        depth: usize,
        rows: &mut usize,
    ) -> Result<()> {
        if *rows == 0 {
            return Ok(());
        }
        *rows -= 1;
        self.keep(context, path, variable.clone());
        let reference = &variable["variablesReference"];
        if reference.as_i64().unwrap_or(0) == 0 || depth == 0 || is_unordered(variable) {
            return Ok(());
        }
        let indexed = variable["indexedVariables"].as_i64().unwrap_or(0);
        let parts = self.variables(path, json!({"variablesReference": reference}))?;
        for (index, part) in parts.iter().enumerate() {
            // Maps have names that come from the entries; a number tells equal ones apart.
            let name = part["name"].as_str().unwrap_or_default();
            self.row(context, &format!("{path} > {index} {name}"), part, depth - 1, rows)?;
        }
        if indexed > 1 {
            for (start, count) in [(1, 2), (indexed - 1, 5), (indexed + 3, 1)] {
                let arguments =
                    json!({"variablesReference": reference, "filter": "indexed", "start": start, "count": count});
                let path = format!("{path} > {start}+{count}");
                for part in self.variables(&path, arguments)? {
                    let path = format!("{path} {}", part["name"].as_str().unwrap_or_default());
                    self.keep("DAP variables, in portions", &path, part);
                }
            }
            let arguments = json!({"variablesReference": reference, "filter": "named"});
            for part in self.variables(path, arguments)? {
                let path = format!("{path} > named {}", part["name"].as_str().unwrap_or_default());
                self.keep("DAP variables, in portions", &path, part);
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, context: &'static str, word: &str, expression: &str, depth: usize) -> Result<()> {
        let arguments = json!({"expression": expression, "frameId": self.frame, "context": word});
        let response = self.client.try_request("evaluate", arguments)?;
        self.keep(context, expression, answer(&response));
        // Below an expression other names stand than below a variable.
        if word == "watch" && response.success {
            let mut rows = ROWS / 4;
            let reference = &response.body["variablesReference"];
            if reference.as_i64().unwrap_or(0) == 0 || is_unordered(&response.body) {
                return Ok(());
            }
            for part in self.variables(expression, json!({"variablesReference": reference}))? {
                let name = part["name"].as_str().unwrap_or_default().to_owned();
                self.row(context, &format!("{expression} > {name}"), &part, depth - 1, &mut rows)?;
                // The name that the server gives to evaluate it is evaluated.
                if let Some(name) = part["evaluateName"].as_str()
                    && rows > 0
                {
                    let arguments = json!({"expression": name, "frameId": self.frame, "context": "watch"});
                    let response = self.client.try_request("evaluate", arguments)?;
                    self.keep("DAP evaluateName", name, answer(&response));
                }
            }
        }
        Ok(())
    }
}

/// What a request was answered, be it done or refused.
fn answer(response: &Response) -> Value {
    if response.success {
        response.body.clone()
    } else {
        json!({"message": response.message, "error": response.body["error"]})
    }
}
