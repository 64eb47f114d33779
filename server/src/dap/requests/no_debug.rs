//! `noDebug`: a program that runs without a debugger, and ends with the session.

use std::{
    fs::File,
    io,
    process::{Command, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::Child,
};
use tokio_util::sync::CancellationToken;

use crate::{
    dap::{
        config::LaunchConfig,
        events::Events,
        message::Request,
        outgoing::NO_BODY,
        session::{Phase, Session},
    },
    debugger::{Event, EventSender, LaunchSpec, go_reason},
};

/// How long the end of a killed program is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long the program's output is read after its end: something that it started may hold the pipes open for ever.
const LAST_OUTPUT: Duration = Duration::from_millis(500);

/// A program that runs without a debugger.
pub(crate) struct NoDebugProcess {
    pid: u32,
    /// Whether its end has been reported.
    pub(crate) exited: bool,
    kill: CancellationToken,
}

impl NoDebugProcess {
    /// Kills it, if it still runs.
    pub(crate) fn kill(&self) {
        self.kill.cancel();
    }
}

/// Starts a program. Its output and its end arrive as events. The error is a sentence for the client.
pub(super) fn start(spec: &LaunchSpec, config: &LaunchConfig, events: &mut Events) -> Result<NoDebugProcess, String> {
    let mut command = Command::new(&spec.program);
    command.args(&spec.args);
    for (name, value) in &spec.env {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    if let Some(cwd) = &spec.cwd {
        // A missing working directory would be reported as a missing program.
        std::fs::read_dir(cwd).map_err(|error| format!("chdir {}: {}", cwd.display(), go_reason(&error)))?;
        command.current_dir(cwd);
    }
    let directory = spec.cwd.clone().unwrap_or_default();
    let failed = |what: &str, error: &io::Error| format!("could not {what} file: {}", go_reason(error));
    if !config.stdin_from.is_empty() {
        let file = File::open(directory.join(&config.stdin_from)).map_err(|error| failed("open stdin", &error))?;
        command.stdin(file);
    }
    let redirect = |path: &str, what: &str| -> Result<Stdio, String> {
        if spec.capture_output {
            Ok(Stdio::piped())
        } else if path.is_empty() {
            Ok(Stdio::inherit())
        } else {
            File::create(directory.join(path))
                .map(Stdio::from)
                .map_err(|error| failed(what, &error))
        }
    };
    command.stdout(redirect(&config.stdout_to, "create stdout")?);
    command.stderr(redirect(&config.stderr_to, "create stderr")?);

    let mut command = tokio::process::Command::from(command);
    let mut child = command
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("fork/exec {}: {}", spec.program.display(), go_reason(&error)))?;
    let pid = child.id().unwrap_or_default();
    let kill = CancellationToken::new();
    let sender = events.connect();
    let stdout = child
        .stdout
        .take()
        .map(|pipe| tokio::spawn(forward(pipe, Event::Stdout, sender.clone())));
    let stderr = child
        .stderr
        .take()
        .map(|pipe| tokio::spawn(forward(pipe, Event::Stderr, sender.clone())));
    let killed = kill.clone();
    tokio::spawn(async move {
        let status = wait(&mut child, &killed).await;
        let read = async {
            for pipe in [stdout, stderr].into_iter().flatten() {
                // A reader that failed has nothing further to say.
                let _ = pipe.await;
            }
        };
        let _ = tokio::time::timeout(LAST_OUTPUT, read).await;
        // The session may be over; nobody is left to be told then.
        let _ = sender
            .send_from_task(Event::Exited {
                pid: i32::try_from(pid).unwrap_or_default(),
                status: Some(status),
            })
            .await;
    });
    Ok(NoDebugProcess {
        pid,
        exited: false,
        kill,
    })
}

/// Waits for the end, which a kill brings about. Like Go, says -1 for a program that a signal ended.
async fn wait(child: &mut Child, killed: &CancellationToken) -> i32 {
    let status = tokio::select! {
        status = child.wait() => status,
        () = killed.cancelled() => {
            // It may have ended by itself in this very moment.
            let _ = child.start_kill();
            child.wait().await
        }
    };
    status.ok().and_then(|status| status.code()).unwrap_or(-1)
}

async fn forward(mut pipe: impl AsyncRead + Unpin, event: fn(Vec<u8>) -> Event, sender: EventSender) {
    let mut bytes = vec![0; 8192];
    while let Ok(read @ 1..) = pipe.read(&mut bytes).await {
        if sender.send_from_task(event(bytes[..read].to_vec())).await.is_err() {
            return;
        }
    }
}

impl Session {
    /// What a client without a debugger is told when its program ends.
    pub(in crate::dap) fn tell_no_debug_exit(&mut self, pid: i32, status: i32) {
        self.out
            .console(&format!("Process {pid} has exited with status {status}"));
        self.tell_exit(Some(status));
    }

    /// Answers `disconnect`.
    pub(super) async fn disconnect_no_debug(&mut self, request: &Request) {
        let Phase::NoDebug(process) = &self.phase else { return };
        if process.exited {
            self.out.respond(request, NO_BODY);
            return self.tell_terminated();
        }
        self.out.console(&format!("Terminating process {}", process.pid));
        process.kill();
        let exit = async {
            loop {
                match self.events.next().await {
                    Event::Exited { pid, status } => return (pid, status),
                    other => drop(other),
                }
            }
        };
        let exited = tokio::time::timeout(PATIENCE, exit).await;
        if let Ok((pid, Some(status))) = exited {
            self.out
                .console(&format!("Process {pid} has exited with status {status}"));
            self.out.respond(request, NO_BODY);
            self.tell_exit(Some(status));
        } else {
            self.out.respond(request, NO_BODY);
            self.tell_terminated();
        }
    }
}
