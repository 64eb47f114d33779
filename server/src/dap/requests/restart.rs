//! `restart`: the same program once more, built anew if it was built.

use dap::events::Event as DapEvent;
use serde_json::Value;

use super::launch::LaunchFailure;
use crate::{
    dap::{
        config::LaunchConfig,
        debuggee::{Origin, State},
        errors::{CANNOT_RESTART, FAILED_TO_RESTART, NOTHING_TO_RESTART},
        message::Request,
        outgoing::NO_BODY,
        session::Session,
    },
    debugger::EndWith,
    toolchain::Build,
};

impl Session {
    /// Answers `restart`. The answer comes first, as editors wait for it, and a refusal is a second one.
    pub(super) async fn on_restart(&mut self, request: &Request) {
        self.out.respond(request, NO_BODY);
        let Some(debuggee) = self.debuggee() else {
            return self.out.refuse(request, NOTHING_TO_RESTART, "Debugger is not running");
        };
        if let Origin::Remote { attached: false } = debuggee.origin {
            return self.on_restart_remote(request).await;
        }
        let Origin::Launched { spec, build } = &debuggee.origin else {
            return self
                .out
                .refuse(request, CANNOT_RESTART, "cannot restart process spelunk did not create");
        };
        let (mut spec, build) = (spec.clone(), build.clone());
        let was_gone = matches!(debuggee.state, State::Exited(_));
        let mut stop_on_entry = debuggee.stop_on_entry;
        let sources = debuggee.source_breakpoints.clone();
        let functions = debuggee.function_breakpoints.clone();
        let instructions = debuggee.instruction_breakpoints.clone();
        let exceptions = debuggee.exception_filters;

        let mut rebuild = true;
        if let Some(arguments) = launch_arguments(&request.arguments) {
            let Ok(config) = LaunchConfig::read(arguments) else {
                return self
                    .out
                    .refuse(request, CANNOT_RESTART, "unable to unmarshal launch args");
            };
            rebuild = arguments.get("rebuild").and_then(Value::as_bool).unwrap_or(true);
            stop_on_entry = config.common.stop_on_entry;
            self.settings.configure(&config.common);
            if arguments.get("args").is_some_and(|args| !args.is_null()) {
                spec.args = config.args;
            }
        }

        if let Err(error) = self.end(EndWith::Kill).await {
            tracing::warn!("the program that is restarted did not end properly: {error}");
        }
        let status = match self.debuggee().map(|debuggee| debuggee.state) {
            Some(State::Exited(status)) => status,
            _ => None,
        };
        let built = match &build {
            Some(build) if rebuild => self.rebuild(build).await,
            _ => Ok(()),
        };
        let started = match built {
            Ok(()) => self.start(&spec).await.map_err(|failure| match failure {
                LaunchFailure::Refused(text) => text,
                LaunchFailure::Build => "could not rebuild process".to_owned(),
            }),
            Err(text) => Err(text),
        };
        if let Err(text) = started {
            self.out.refuse(request, FAILED_TO_RESTART, &text);
            // There is no program any more.
            if !was_gone {
                self.tell_exit(status);
            }
            return;
        }
        if let Some(debuggee) = self.debuggee() {
            debuggee.stop_on_entry = stop_on_entry;
            debuggee.origin = Origin::Launched { spec, build };
            debuggee.source_breakpoints.clone_from(&sources);
            debuggee.function_breakpoints.clone_from(&functions);
            debuggee.instruction_breakpoints.clone_from(&instructions);
            debuggee.exception_filters = exceptions;
        }
        if let Err(why) = self.follow_children().await {
            tracing::warn!("children are not followed: {why}");
        }
        if let Err(why) = self.limit_probes().await {
            return self.out.refuse(request, FAILED_TO_RESTART, &why);
        }
        // Clients send their breakpoints again after `initialized`; those that do not, keep what they had.
        let restored = self
            .call(move |target| {
                let mut set = (Vec::new(), Vec::new());
                if let Some(target) = target {
                    for (file, wanted) in &sources {
                        target.set_source_breakpoints(file, wanted);
                    }
                    set.0 = target.set_function_breakpoints(&functions);
                    set.1 = target.set_instruction_breakpoints(&instructions);
                    target.set_exception_filters(exceptions);
                }
                set
            })
            .await;
        match (restored, self.debuggee()) {
            (Ok((functions, instructions)), Some(debuggee)) => {
                debuggee.on_functions = functions.iter().map(|state| state.id).collect();
                debuggee.on_instructions = instructions.iter().map(|state| state.id).collect();
            }
            (Ok(_), None) => {}
            (Err(gone), _) => return self.out.refuse(request, FAILED_TO_RESTART, &gone.to_string()),
        }
        self.out.event(&DapEvent::Initialized);
    }

    /// Builds into the place of the running binary. The old file stays in use until its process is gone.
    async fn rebuild(&mut self, build: &Build) -> Result<(), String> {
        tokio::select! {
            built = build.rebuild_quietly() => built,
            () = self.gone.cancelled() => Err("the client hung up during the build".to_owned()),
        }
    }
}

/// The launch configuration that came with the request, if one did.
pub(in crate::dap) fn launch_arguments(arguments: &Value) -> Option<&Value> {
    let inner = arguments.get("arguments")?;
    (inner.get("request").and_then(Value::as_str) == Some("launch")).then_some(inner)
}
