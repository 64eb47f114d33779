//! `scopes`.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    dap::{
        bench::Look,
        container::{Container, Parts},
        errors::{
            Refusal, UNABLE_TO_FIND_FUNCTION, UNABLE_TO_LIST_GLOBALS, UNABLE_TO_LIST_LOCALS, UNABLE_TO_LIST_REGISTERS,
        },
        function_name,
        message::Request,
        session::Session,
    },
    inspect::FrameRef,
};

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Arguments {
    frame_id: i64,
}

impl Session {
    /// Answers `scopes`.
    pub(super) async fn on_scopes(&mut self, request: &Request) {
        let arguments: Arguments = match request.arguments() {
            Ok(arguments) => arguments,
            Err(text) => return self.out.refuse(request, UNABLE_TO_LIST_LOCALS, &text),
        };
        let looked = self.inspect(move |at| Ok(scopes(at, arguments.frame_id))).await;
        match looked.unwrap_or_else(|why| Err((UNABLE_TO_LIST_LOCALS, why))) {
            Ok(scopes) => self.out.respond(request, Some(&json!({"scopes": scopes}))),
            Err((refusal, why)) => self.out.refuse(request, refusal, &why),
        }
    }
}

fn scopes(at: &mut Look<'_>, id: i64) -> Result<Vec<Value>, (Refusal, String)> {
    let Some(frame) = at.frames.get(id).copied() else {
        return Err((UNABLE_TO_LIST_LOCALS, format!("unknown frame id {id}")));
    };
    let config = at.settings.load_config();
    let stack = at
        .target
        .stack(frame.whose, frame.frame + 1)
        .map_err(|why| (UNABLE_TO_FIND_FUNCTION, why.to_string()))?;
    let info = stack.frames.get(frame.frame).and_then(|frame| frame.info.clone());
    let Some(info) = info else {
        return Err((UNABLE_TO_FIND_FUNCTION, String::new()));
    };
    let locals = at
        .target
        .locals(frame, config)
        .map_err(|why| (UNABLE_TO_LIST_LOCALS, why.to_string()))?;
    let warning = if info.optimized {
        " (warning: optimized function)"
    } else {
        ""
    };
    let mut scopes = vec![scope(
        at,
        &format!("Locals{warning}"),
        Parts::Locals(locals),
        String::new(),
        Some(frame),
    )];
    // What a function returned belongs to the place that a step out of it has reached.
    if frame.frame == 0
        && let Ok(returned) = at.target.return_values(frame.whose, config)
        && !returned.is_empty()
    {
        scopes.push(scope(
            at,
            "Return values",
            Parts::Variables(returned),
            String::new(),
            Some(frame),
        ));
    }
    if at.settings.show_global_variables {
        let package = current_package(at).map_err(|why| (UNABLE_TO_LIST_GLOBALS, why))?;
        let mut globals = at
            .target
            .package_variables(&package, config)
            .map_err(|why| (UNABLE_TO_LIST_GLOBALS, why.to_string()))?;
        let prefix = format!("{package}.");
        for global in &mut globals {
            if let Some(name) = global.name.strip_prefix(&prefix) {
                global.name = name.to_owned();
            }
        }
        let name = format!("Globals (package {package})");
        scopes.push(scope(at, &name, Parts::Variables(globals), package, None));
    }
    if at.settings.show_registers {
        let registers = at
            .target
            .registers(frame)
            .map_err(|why| (UNABLE_TO_LIST_REGISTERS, why.to_string()))?;
        scopes.push(scope(
            at,
            "Registers",
            Parts::Registers(registers),
            String::new(),
            Some(frame),
        ));
    }
    Ok(scopes)
}

fn scope(at: &mut Look<'_>, name: &str, parts: Parts, expression: String, frame: Option<FrameRef>) -> Value {
    let container = Container {
        parts,
        expression,
        start: 0,
        frame,
    };
    json!({"name": name, "variablesReference": at.containers.create(Arc::new(container)), "expensive": false})
}

/// The package of the code that the selected goroutine is in.
fn current_package(at: &Look<'_>) -> Result<String, String> {
    let stack = at.target.stack(at.selected(), 1).map_err(|error| error.to_string())?;
    let function = stack.frames.first().and_then(|frame| frame.info.as_ref());
    function
        .map(|function| function_name::package(&function.name).to_owned())
        .ok_or_else(|| "unable to determine current package due to unspecified function location".to_owned())
}
