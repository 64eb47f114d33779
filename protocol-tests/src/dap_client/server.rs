//! The process of a server that clients connect to.

use std::path::Path;
use std::process::Command;

use super::STEP;
use crate::child::ChildGroup;
use crate::failure::Result;
use crate::toolchain::Go;

/// A DAP server process.
pub struct DapServer {
    /// The process; a session's target is a child of it.
    pub process: ChildGroup,
    /// `HOST:PORT`, as the server said it.
    pub address: String,
}

impl DapServer {
    /// `PROGRAM dap --listen=127.0.0.1:0`, once it listens.
    #[track_caller]
    pub fn start(program: &Path) -> Result<DapServer> {
        DapServer::start_by(dap_command(program))
    }

    /// As [`DapServer::start`], by a command that begins with `PROGRAM dap`.
    #[track_caller]
    pub fn start_by(mut command: Command) -> Result<DapServer> {
        command.arg("--listen=127.0.0.1:0");
        let process = ChildGroup::start(&mut command)?;
        let address = process
            .stdout
            .wait_for("the line `DAP server listening at:`", STEP, |text| {
                let line = text
                    .lines()
                    .find_map(|line| line.strip_prefix("DAP server listening at: "))?;
                text.ends_with('\n').then(|| line.trim().to_owned())
            })?;
        Ok(DapServer { process, address })
    }
}

pub(super) fn dap_command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.arg("dap");
    if let Ok(go) = Go::find() {
        command.env("PATH", go.path_variable());
    }
    command
}
