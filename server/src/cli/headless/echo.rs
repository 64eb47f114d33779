//! What the program writes, written where the server writes: with `--capture-output` it comes to the server first.

use std::io::{self, Write};
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::debugger::{Event, EventReceiver};
use crate::host::Host;

/// Writes what the program writes to the server's own standard output and error, from now on and as long as there is a program. Where nobody reads these,
/// the program waits, as it would if it wrote there itself.
///
/// The channel that is returned is closed when all has been written.
pub(super) fn echo(host: &Arc<Host>) -> oneshot::Receiver<()> {
    let (events, runtime) = (host.subscribe_to_all(), Handle::current());
    let (written, done) = oneshot::channel();
    let thread = std::thread::Builder::new().name("target-echo".to_owned());
    let spawned = thread.spawn(move || {
        runtime.block_on(write_all(events));
        drop(written);
    });
    if let Err(error) = spawned {
        tracing::error!("what the program writes is not shown: {error}");
    }
    done
}

async fn write_all(events: EventReceiver) {
    while let Some(event) = events.recv().await {
        // Nobody can be told that they cannot be written to; subscribers are still served.
        let _ = match event {
            Event::Stdout(bytes) => write(io::stdout().lock(), &bytes),
            Event::Stderr(bytes) => write(io::stderr().lock(), &bytes),
            _ => Ok(()),
        };
    }
}

fn write(mut to: impl Write, bytes: &[u8]) -> io::Result<()> {
    to.write_all(bytes)?;
    to.flush()
}
