//! `attach`: debug a process that runs already. It goes on running.

use std::time::Duration;

use dap::{
    events::{CapabilitiesEventBody, Event as DapEvent},
    types::{Capabilities, OutputEventCategory},
};

use crate::dap::{
    config::AttachConfig,
    debuggee::{Debuggee, Origin},
    errors::FAILED_TO_ATTACH,
    message::Request,
    outgoing::NO_BODY,
    session::{Phase, Session},
    substitute_path::SubstitutePath,
};
use crate::debugger::{ClientPaths, check_backend};
use crate::process::{existing, process_with_prefix};

/// How often the list of processes is looked through for one that is waited for.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

impl Session {
    /// Answers `attach`.
    pub(super) async fn on_attach(&mut self, request: &Request) {
        if let Err(text) = self.attach(request).await {
            self.out.refuse_visibly(request, FAILED_TO_ATTACH, &text);
        }
    }

    async fn attach(&mut self, request: &Request) -> Result<(), String> {
        let config =
            AttachConfig::read(&request.arguments).map_err(|error| format!("invalid debug configuration - {error}"))?;
        if config.common.follow_exec {
            self.out.output(
                OutputEventCategory::Important,
                "Follow exec not supported in attach request yet.".to_owned(),
            );
        }
        match config.mode.as_str() {
            "local" => {}
            "remote" => {
                self.attach_remote(&config).await?;
                return self.finish_attach(request, config).await;
            }
            other => {
                return Err(format!(
                    "invalid debug configuration - unsupported 'mode' attribute {other:?}"
                ));
            }
        }
        if self.debuggee().is_some() || self.host.is_some() {
            return Err(format!(
                "debug session already in progress at {} - use remote mode to connect to a server with an active debug session",
                self.address
            ));
        }
        if config.process_id == 0 && config.wait_for.is_empty() {
            return Err("The 'processId' or 'waitFor' attribute is missing in debug configuration".to_owned());
        }
        if config.process_id != 0 && !config.wait_for.is_empty() {
            return Err(
                "'processId' and 'waitFor' are mutually exclusive, and can't be specified at the same time".to_owned(),
            );
        }
        if config.process_id < 0 {
            return Err(format!("invalid process ID: {}", config.process_id));
        }
        check_backend(&config.common.backend)
            .map_err(|error| format!("could not attach to pid {}: {error}", config.process_id))?;
        let pid = if config.wait_for.is_empty() {
            existing(config.process_id)
                .ok_or_else(|| format!("could not attach to pid {}: no such process", config.process_id))?
        } else {
            self.wait_for(&config.wait_for).await?
        };

        let sender = self.events.connect();
        let launcher = self.launcher.clone();
        self.call(move |target| launcher.attach(pid, sender).map(|new| *target = Some(new)))
            .await
            .map_err(|gone| gone.to_string())?
            .map_err(|error| error.to_string())?;
        let mut debuggee = Debuggee::new(pid, Origin::Attached);
        debuggee.stop_on_entry = config.common.stop_on_entry;
        self.phase = Phase::Debugging(Box::new(debuggee));
        self.settings.configure(&config.common);
        self.limit_probes().await?;
        // The user chooses at the end whether the process ends with the session.
        let capabilities = Capabilities {
            support_terminate_debuggee: Some(true),
            ..Capabilities::default()
        };
        self.out
            .event(&DapEvent::Capabilities(CapabilitiesEventBody { capabilities }));
        self.finish_attach(request, config).await
    }

    /// Lets the client configure the session.
    async fn finish_attach(&mut self, request: &Request, config: AttachConfig) -> Result<(), String> {
        if let Some(client) = config.guess_substitute_path
            && config.common.substitute_path.rules().is_empty()
        {
            self.settings.paths = SubstitutePath::new(self.guess_paths(client).await?);
        }
        self.out.event(&DapEvent::Initialized);
        self.out.respond(request, NO_BODY);
        Ok(())
    }

    /// Which of the client's directories are which of the program's, as far as its functions tell.
    async fn guess_paths(&mut self, client: ClientPaths) -> Result<Vec<(String, String)>, String> {
        let guessed = self.call(move |target| {
            let target = target.as_deref().ok_or("the program is no longer debugged")?;
            target.guess_paths(&client).map_err(|error| error.to_string())
        });
        guessed.await.map_err(|gone| gone.to_string())?
    }

    /// Waits until there is a process whose command line begins with `prefix`, or the client has hung up.
    async fn wait_for(&mut self, prefix: &str) -> Result<i32, String> {
        loop {
            if let Some(pid) = process_with_prefix(prefix) {
                return Ok(pid);
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_AGAIN) => {}
                () = self.gone.cancelled() => return Err("the client hung up while waiting for a process".to_owned()),
            }
        }
    }
}
