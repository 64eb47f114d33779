//! Bytes as no well-behaved client sends them, and what comes back.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use serde_json::Value;

use crate::dap_client::STEP;
use crate::failure::{Attempt, Failure, Result};

/// Sends bytes over a connection of their own, closes its sending half, and answers each line that comes back, until the server closes it.
#[track_caller]
pub(super) fn exchange(address: &str, bytes: &[u8]) -> Result<Value> {
    let mut stream = TcpStream::connect(address).attempt(format_args!("connecting to {address}"))?;
    stream.set_read_timeout(Some(STEP)).attempt("setting a limit")?;
    // A server that has heard enough may have closed the connection before all is sent.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let mut received = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => received.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
            Err(error) => {
                return Err(Failure::new(format!(
                    "reading what the server answers to {:?}: {error}; so far {:?}",
                    String::from_utf8_lossy(bytes),
                    String::from_utf8_lossy(&received)
                )));
            }
        }
    }
    // Lines stay texts: the order of members, and how an id is written, are part of what is compared.
    let text = String::from_utf8_lossy(&received).into_owned();
    Ok(text.split_inclusive('\n').map(Value::from).collect())
}
