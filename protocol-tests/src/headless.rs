//! A headless server on a program: `PROGRAM exec --headless ...`, started by a test and asked over any number of connections.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::child::{ChildGroup, Finished};
use crate::dap_client::STEP;
use crate::failure::Result;
use crate::rpc_client::RpcClient;
use crate::toolchain::Go;

/// The words before the address, on the first line of standard output.
const GREETING: &str = "API server listening at: ";

/// A running headless server. Dropping it kills it and what it debugs.
pub struct Headless {
    /// The server's process.
    pub server: ChildGroup,
    /// Where it listens: `HOST:PORT`, or a socket's path.
    pub address: String,
}

impl Headless {
    /// `PROGRAM COMMAND --headless --listen=127.0.0.1:0 ARGS`, once it listens.
    #[track_caller]
    pub fn start(program: &Path, command: &str, args: &[&str]) -> Result<Headless> {
        let mut words = vec!["--headless", "--api-version=2", "--listen=127.0.0.1:0"];
        words.extend(args);
        Headless::start_with(program, command, &words, |_| {})
    }

    /// `PROGRAM COMMAND ARGS`, once it listens; `change` has the last word about how it is started.
    #[track_caller]
    pub fn start_with(
        program: &Path,
        command: &str,
        args: &[&str],
        change: impl FnOnce(&mut Command),
    ) -> Result<Headless> {
        let mut line = Command::new(program);
        line.arg(command).args(args);
        // What a restart or `debug` builds is built by this run's toolchain.
        line.env("PATH", Go::find()?.path_variable())
            .env("GOTOOLCHAIN", "local");
        change(&mut line);
        let server = ChildGroup::start(&mut line)?;
        let address = listening(&server, STEP)?;
        Ok(Headless { server, address })
    }

    /// A new connection.
    #[track_caller]
    pub fn connect(&self) -> Result<RpcClient> {
        RpcClient::connect(&self.address)
    }

    /// Waits until the server has ended by itself.
    #[track_caller]
    pub fn finish(mut self) -> Result<Finished> {
        self.server.finish_within(STEP)
    }
}

/// Waits for the greeting of a server that was started with headless flags; answers the address in it.
#[track_caller]
pub fn listening(server: &ChildGroup, limit: Duration) -> Result<String> {
    server
        .stdout
        .wait_for("the line `API server listening at:`", limit, |text| {
            let (before, _) = text.rsplit_once('\n')?;
            let line = before.lines().find_map(|line| line.strip_prefix(GREETING))?;
            Some(line.trim().to_owned())
        })
}
