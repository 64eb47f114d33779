//! What a client of Delve's JSON-RPC is shown: lists of variables, and expressions, each with several limits.

use std::path::Path;

use serde_json::{Value, json};

use super::normalise::ValueNormaliser;
use super::program::{Program, Ready, Stop};
use super::{Observation, Observed};
use crate::dap_client::STEP;
use crate::failure::Result;
use crate::headless::Headless;
use crate::rpc_client::RpcClient;
use crate::stage::Stage;

/// The limits: those of `dlv connect`, little, much.
fn limits() -> [(&'static str, Value); 3] {
    let limits = |follow: bool, recurse: i64, string: i64, array: i64, fields: i64| json!({"FollowPointers": follow, "MaxVariableRecurse": recurse, "MaxStringLen": string, "MaxArrayValues": array, "MaxStructFields": fields});
    [
        ("usual", limits(true, 1, 64, 64, -1)),
        ("little", limits(false, 0, 3, 2, 1)),
        ("much", limits(true, 4, 1000, 200, -1)),
    ]
}

struct Look<'a> {
    client: RpcClient,
    normaliser: ValueNormaliser,
    observed: &'a mut Vec<Observation>,
    place: String,
}

/// Looks at a program through a server.
pub fn observe(server: &Path, program: &Program, ready: &Ready) -> Observed {
    Observed::by(|observed| session(server, program, ready, observed))
}

fn session(server: &Path, program: &Program, ready: &Ready, observed: &mut Vec<Observation>) -> Result<()> {
    let mut stage = Stage::new()?;
    let built = stage.copy(program.folder(), &ready.built)?;
    let path = built.program.to_string_lossy().into_owned();
    let mut words = vec![path.as_str(), "--"];
    words.extend(ready.args.iter().map(String::as_str));
    let headless = Headless::start(server, "exec", &words)?;
    let mut look = Look {
        client: headless.connect()?,
        normaliser: ValueNormaliser::new(stage.paths()),
        observed,
        place: String::new(),
    };
    for stop in &ready.stops {
        let breakpoint = json!({"file": stop.file, "line": stop.line});
        // The optimiser may have left nothing of a line.
        let answer = look.ask("CreateBreakpoint", &json!({"Breakpoint": breakpoint}))?;
        look.keep("RPC CreateBreakpoint", &stop.name, answer["error"].clone());
    }
    for number in 1..=program.stops {
        let answer = look.ask("Command", &json!({"name": "continue"}))?;
        let state = &answer["State"];
        if state["exited"] == true || answer["error"].is_string() {
            break;
        }
        let line = &state["currentThread"]["line"];
        if look.stop(number, line, program, ready)? {
            let command = json!({"name": "stepOut", "ReturnInfoLoadConfig": limits()[0].1});
            let state = look.ask("Command", &command)?;
            look.each(
                "RPC return values",
                "usual",
                &state["State"]["currentThread"]["ReturnValues"],
            );
        }
    }
    look.client.call("Detach", &json!({"Kill": true}))?;
    headless.finish().map(drop)
}

impl Look<'_> {
    fn keep(&mut self, context: &'static str, what: &str, answer: Value) {
        let title = self.normaliser.text(&format!("{}: {what}", self.place));
        let answer = self.normaliser.answer(answer);
        self.observed.push(Observation { context, title, answer });
    }

    fn ask(&mut self, method: &str, argument: &Value) -> Result<Value> {
        let pending = self.client.send(method, argument)?;
        Ok(match self.client.wait(&pending, STEP)? {
            Ok(result) => result,
            Err(text) => json!({"error": text}),
        })
    }

    /// Looks at a stop; answers whether it is left by a step out.
    fn stop(&mut self, number: usize, line: &Value, program: &Program, ready: &Ready) -> Result<bool> {
        let stop = ready.stops.iter().find(|stop| *line == stop.line);
        for frame in 0..program.frames {
            let name = stop.map_or("?", |stop| &stop.name);
            self.place = match frame {
                0 => format!("{number} {name}"),
                _ => format!("{number} {name}, frame {frame}"),
            };
            let scope = json!({"GoroutineID": -1, "Frame": frame});
            let mut names = self.list("RPC ListFunctionArgs", "ListFunctionArgs", "Args", &scope)?;
            names.extend(self.list("RPC ListLocalVars", "ListLocalVars", "Variables", &scope)?);
            if frame == 0
                && let Some(stop) = stop
            {
                names.extend(stop.expressions.iter().cloned());
            }
            for expression in names {
                for (limits, configuration) in limits() {
                    let argument = json!({"Scope": scope, "Expr": expression, "Cfg": configuration});
                    let answer = self.ask("Eval", &argument)?;
                    self.keep("RPC Eval", &format!("{expression}, {limits}"), answer);
                }
            }
        }
        let here = json!({"GoroutineID": -1, "Frame": 0});
        for (to, value) in stop.into_iter().flat_map(|stop| &stop.assignments) {
            let answer = self.ask("Set", &json!({"Scope": here, "Symbol": to, "Value": value}))?;
            let after = self.ask("Eval", &json!({"Scope": here, "Expr": to, "Cfg": limits()[0].1}))?;
            self.keep(
                "RPC Set",
                &format!("{to} = {value}"),
                json!({"answer": answer, "after": after}),
            );
        }
        if number == 1 {
            for (limits, configuration) in limits() {
                let argument = json!({"Filter": "^main\\.", "Cfg": configuration});
                let answer = self.ask("ListPackageVars", &argument)?;
                self.each("RPC ListPackageVars", limits, &answer["Variables"]);
            }
        }
        Ok(stop.is_some_and(Stop::steps_out))
    }

    /// Variables of a frame, each an observation; answers their names.
    fn list(&mut self, context: &'static str, method: &str, member: &str, scope: &Value) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for (limits, configuration) in limits() {
            let answer = self.ask(method, &json!({"Scope": scope, "Cfg": configuration}))?;
            if let Some(error) = answer["error"].as_str() {
                self.keep(context, limits, error.into());
            }
            names = self.each(context, limits, &answer[member]);
        }
        Ok(names)
    }

    fn each(&mut self, context: &'static str, limits: &str, variables: &Value) -> Vec<String> {
        let mut names = Vec::new();
        for variable in variables.as_array().into_iter().flatten() {
            let name = variable["name"].as_str().unwrap_or_default().to_owned();
            self.keep(context, &format!("{name}, {limits}"), variable.clone());
            names.push(name);
        }
        names
    }
}
