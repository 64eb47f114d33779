//! A client of Go's `net/rpc/jsonrpc`: JSON-RPC 1.0 over one TCP connection, with calls in flight side by side.

use std::collections::HashMap;
use std::io::{BufReader, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use jsonrpsee::types::Id;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use crate::dap_client::STEP;
use crate::failure::{Attempt, Failure, Result};

/// A call that was sent and not yet answered.
#[derive(Debug)]
pub struct Pending {
    id: Id<'static>,
    method: String,
}

#[derive(Deserialize)]
struct Reply {
    #[serde(deserialize_with = "owned_id")]
    id: Id<'static>,
    result: Value,
    error: Value,
}

fn owned_id<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Id<'static>, D::Error> {
    Id::deserialize(deserializer).map(Id::into_owned)
}

/// One connection to a headless server.
pub struct RpcClient {
    stream: TcpStream,
    incoming: Receiver<std::result::Result<Reply, String>>,
    arrived: HashMap<Id<'static>, Reply>,
    sent: u64,
}

impl RpcClient {
    /// A connection to `HOST:PORT`.
    #[track_caller]
    pub fn connect(address: &str) -> Result<RpcClient> {
        let stream = TcpStream::connect(address).attempt(format_args!("connecting to {address}"))?;
        stream.set_nodelay(true).attempt("setting TCP_NODELAY")?;
        let reader = stream.try_clone().attempt("cloning the connection")?;
        let (sender, incoming) = channel();
        std::thread::spawn(move || {
            let mut replies = serde_json::Deserializer::from_reader(BufReader::new(reader)).into_iter::<Reply>();
            loop {
                let reply = match replies.next() {
                    Some(reply) => reply.map_err(|error| format!("reading a reply: {error}")),
                    None => Err("the server closed the connection".into()),
                };
                let failed = reply.is_err();
                if sender.send(reply).is_err() || failed {
                    return;
                }
            }
        });
        Ok(RpcClient {
            stream,
            incoming,
            arrived: HashMap::new(),
            sent: 0,
        })
    }

    /// Sends a call; its one parameter is an object, as the server's methods want it.
    #[track_caller]
    pub fn send(&mut self, method: &str, parameter: &Value) -> Result<Pending> {
        self.send_parameters(method, Some(json!([parameter])))
    }

    /// Sends a call with whatever stands for its parameters, or without any.
    #[track_caller]
    pub fn send_parameters(&mut self, method: &str, parameters: Option<Value>) -> Result<Pending> {
        let id = Id::Number(self.sent);
        self.sent += 1;
        let mut call = json!({"method": format!("RPCServer.{method}"), "id": id});
        if let Some(parameters) = parameters {
            call["params"] = parameters;
        }
        self.stream
            .write_all(format!("{call}\n").as_bytes())
            .attempt(format_args!("sending RPCServer.{method}"))?;
        Ok(Pending {
            id,
            method: method.to_owned(),
        })
    }

    /// Waits for the answer to a call; an error that the server answers is the inner `Err`.
    #[track_caller]
    pub fn wait(&mut self, pending: &Pending, limit: Duration) -> Result<std::result::Result<Value, String>> {
        self.wait_briefly(pending, limit)?.ok_or_else(|| {
            Failure::new(format!(
                "waiting for the answer to RPCServer.{}: not within {limit:?}",
                pending.method
            ))
        })
    }

    /// As [`RpcClient::wait`]; `None` where there is no answer in time.
    #[track_caller]
    pub fn wait_briefly(
        &mut self,
        pending: &Pending,
        limit: Duration,
    ) -> Result<Option<std::result::Result<Value, String>>> {
        let end = Instant::now() + limit;
        let what = format!("waiting for the answer to RPCServer.{}", pending.method);
        loop {
            if let Some(reply) = self.arrived.remove(&pending.id) {
                return Ok(Some(match reply.error {
                    Value::Null => Ok(reply.result),
                    Value::String(text) => Err(text),
                    other => Err(other.to_string()),
                }));
            }
            match self
                .incoming
                .recv_timeout(end.saturating_duration_since(Instant::now()))
            {
                Ok(Ok(reply)) => drop(self.arrived.insert(reply.id.clone(), reply)),
                Ok(Err(problem)) => return Err(Failure::new(format!("{what}: {problem}"))),
                Err(RecvTimeoutError::Timeout) => return Ok(None),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Failure::new(format!("{what}: the connection is closed")));
                }
            }
        }
    }

    /// A call that must succeed.
    #[track_caller]
    pub fn call(&mut self, method: &str, parameter: &Value) -> Result<Value> {
        let pending = self.send(method, parameter)?;
        self.wait(&pending, STEP)?
            .map_err(|text| Failure::new(format!("RPCServer.{method} failed: {text}")))
    }

    /// A call that must fail; answers the error's text.
    #[track_caller]
    pub fn refused(&mut self, method: &str, parameter: &Value) -> Result<String> {
        let pending = self.send(method, parameter)?;
        match self.wait(&pending, STEP)? {
            Ok(result) => Err(Failure::new(format!("RPCServer.{method} should have failed: {result}"))),
            Err(text) => Ok(text),
        }
    }

    /// Waits until the server has closed the connection.
    #[track_caller]
    pub fn until_closed(&mut self, limit: Duration) -> Result<()> {
        let end = Instant::now() + limit;
        loop {
            match self
                .incoming
                .recv_timeout(end.saturating_duration_since(Instant::now()))
            {
                Ok(Ok(reply)) => drop(self.arrived.insert(reply.id.clone(), reply)),
                Ok(Err(_)) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) => {
                    return Err(Failure::new(format!(
                        "the server has not closed the connection within {limit:?}"
                    )));
                }
            }
        }
    }
}

impl Drop for RpcClient {
    fn drop(&mut self) {
        // The thread that reads holds the connection, too.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}
