//! A Debug Adapter Protocol client over TCP, for tests: every wait has a name and an end, and everything sent and received is kept.

mod connection;
mod message;
mod server;

use std::net::{TcpListener, TcpStream};
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::child::{ChildGroup, Finished};
use crate::failure::{Attempt, Result};
pub use connection::DapConnection;
pub use message::{Breakpoint, Event, Message, Response, SourceBreakpoint};
pub use server::DapServer;
use server::dap_command;

/// How long one step of a session may take; a launch that builds has its own limit.
pub const STEP: Duration = Duration::from_secs(30);
/// How long a `launch` with a build may take.
pub const BUILD: Duration = Duration::from_secs(120);

/// A client in one session with a server of its own.
pub struct DapClient {
    server: ChildGroup,
    connection: DapConnection,
}

impl Deref for DapClient {
    type Target = DapConnection;

    fn deref(&self) -> &DapConnection {
        &self.connection
    }
}

impl DerefMut for DapClient {
    fn deref_mut(&mut self) -> &mut DapConnection {
        &mut self.connection
    }
}

impl DapClient {
    /// Starts `PROGRAM dap` and connects to it.
    #[track_caller]
    pub fn start(program: &Path) -> Result<DapClient> {
        DapClient::start_by(dap_command(program))
    }

    /// As [`DapClient::start`], by a command that begins with `PROGRAM dap`.
    #[track_caller]
    pub fn start_by(command: Command) -> Result<DapClient> {
        let server = DapServer::start_by(command)?;
        let stream = TcpStream::connect(&server.address).attempt(format_args!("connecting to {}", server.address))?;
        DapClient::over(server.process, stream)
    }

    /// As [`DapClient::start`], with these variables in the server's environment.
    #[track_caller]
    pub fn start_with(program: &Path, variables: &[(&str, &str)]) -> Result<DapClient> {
        let mut command = dap_command(program);
        command.envs(variables.iter().copied());
        DapClient::start_by(command)
    }

    /// Starts `PROGRAM dap --client-addr`, which connects to us.
    #[track_caller]
    pub fn start_reverse(program: &Path) -> Result<DapClient> {
        let listener = TcpListener::bind("127.0.0.1:0").attempt("listening for the server")?;
        let address = listener.local_addr().attempt("asking for our own address")?;
        let mut command = dap_command(program);
        command.arg(format!("--client-addr={address}"));
        let process = ChildGroup::start(&mut command)?;
        listener
            .set_nonblocking(true)
            .attempt("making the listener wait with a limit")?;
        let stream =
            crate::child::wait_until("a connection from `dap --client-addr`", STEP, || listener.accept().ok())?.0;
        stream.set_nonblocking(false).attempt("making the connection wait")?;
        DapClient::over(process, stream)
    }

    fn over(server: ChildGroup, stream: TcpStream) -> Result<DapClient> {
        let connection = DapConnection::over(stream, server.stderr.clone())?;
        Ok(DapClient { server, connection })
    }

    /// The server's process.
    pub fn server(&mut self) -> &mut ChildGroup {
        &mut self.server
    }

    /// `disconnect`, and waits until the server has ended by itself.
    #[track_caller]
    pub fn disconnect(mut self, arguments: Value) -> Result<Finished> {
        self.request("disconnect", arguments)?;
        self.server.finish_within(STEP)
    }

    /// Closes the connection without a word; answers the server's process.
    pub fn hang_up(self) -> ChildGroup {
        self.connection.close();
        self.server
    }
}
