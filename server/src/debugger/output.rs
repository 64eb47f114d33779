//! What the target writes to its standard output and error, when the debugger captures it.
//!
//! A thread for each of the two waits for it. Before a stop is told, the thread that tells it empties the pipes itself, so that what was written before the
//! stop is sent before it.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{Event, EventSender};

/// How much is read at once, in bytes.
const CHUNK: usize = 8 << 10;
/// How much is emptied out of one pipe before a stop, in bytes: what a pipe can hold. A child that the target has started may go on writing.
const MOST: usize = 1 << 20;

/// How long the ends of the pipes are waited for after the target's own end.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often it is looked whether they have come.
const POLL: Duration = Duration::from_millis(1);

/// The reading end of a pipe and where to send what comes out of it.
struct Pipe {
    file: File,
    wrap: fn(Vec<u8>) -> Event,
    events: EventSender,
    /// Held while bytes are between the pipe and the events, so that they keep their order.
    reading: Mutex<()>,
}

impl Pipe {
    /// How many bytes wait.
    fn waiting(&self) -> usize {
        let mut count: libc::c_int = 0;
        // SAFETY: FIONREAD writes one int, to a variable that lives as long as the call.
        let done = unsafe { libc::ioctl(self.file.as_raw_fd(), libc::FIONREAD, &raw mut count) };
        if done == 0 {
            usize::try_from(count).unwrap_or(0)
        } else {
            0
        }
    }

    /// Sends what waits, at most a chunk; answers how many bytes that was, or `None` at the end of the pipe. With `wait` it waits for the first byte.
    fn forward(&self, wait: bool) -> Option<usize> {
        if wait {
            let mut fds = [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
            while poll(&mut fds, PollTimeout::NONE) == Err(nix::errno::Errno::EINTR) {}
        }
        let _reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = self.waiting();
        if waiting == 0 && !wait {
            return Some(0);
        }
        if waiting == 0 && !self.is_closed() {
            // The other thread was quicker.
            return Some(0);
        }
        let mut buffer = vec![0; CHUNK];
        match (&self.file).read(&mut buffer) {
            Ok(0) => None,
            Ok(length) => {
                buffer.truncate(length);
                self.events.send((self.wrap)(buffer)).ok()?;
                Some(length)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Some(0),
            Err(_) => None,
        }
    }

    /// Whether all writers are gone.
    fn is_closed(&self) -> bool {
        let mut fds = [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).is_ok()
            && fds
                .iter()
                .filter_map(PollFd::revents)
                .any(|events| events.intersects(PollFlags::POLLHUP | PollFlags::POLLERR))
    }
}

/// The captured output of a target.
#[derive(Default)]
pub(super) struct Outputs {
    pipes: Vec<Arc<Pipe>>,
    threads: Vec<JoinHandle<()>>,
}

impl Outputs {
    /// Sends what comes out of `source` as events from now on.
    pub(super) fn forward(
        &mut self,
        source: Option<File>,
        name: &str,
        wrap: fn(Vec<u8>) -> Event,
        events: &EventSender,
    ) {
        let Some(file) = source else { return };
        let pipe = Arc::new(Pipe {
            file,
            wrap,
            events: events.clone(),
            reading: Mutex::new(()),
        });
        let forwarded = Arc::clone(&pipe);
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || while forwarded.forward(true).is_some() {});
        self.pipes.push(pipe);
        self.threads.extend(thread.ok());
    }

    /// Sends all that has been written and not been sent.
    pub(super) fn flush(&self) {
        for pipe in &self.pipes {
            let mut sent = 0;
            while sent < MOST {
                match pipe.forward(false) {
                    None | Some(0) => break,
                    Some(length) => sent += length,
                }
            }
        }
    }

    /// Returns when all that the target wrote has been sent, after its end. What has inherited its output may keep it open, and write to it, as long as it
    /// likes; that is forwarded too, but not waited for.
    pub(super) fn finish(self) {
        let deadline = Instant::now() + PATIENCE;
        while self.threads.iter().any(|thread| !thread.is_finished()) {
            if Instant::now() > deadline {
                return self.flush();
            }
            thread::sleep(POLL);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_flush_sends_what_was_written_in_order() {
        let (read, write) = nix::unistd::pipe().expect("a pipe");
        let mut write = File::from(write);
        let (events, sent) = crate::debugger::event_queue();
        let mut outputs = Outputs::default();
        outputs.forward(Some(File::from(read)), "test-output", Event::Stdout, &events);
        let mut expected = Vec::new();
        let mut received = Vec::new();
        for number in 0..200 {
            let line = format!("line {number}\n");
            write.write_all(line.as_bytes()).expect("room in the pipe");
            expected.extend_from_slice(line.as_bytes());
            outputs.flush();
            for event in std::iter::from_fn(|| sent.try_recv()) {
                let Event::Stdout(bytes) = event else {
                    panic!("not output: {event:?}")
                };
                received.extend(bytes);
            }
            assert_eq!(received, expected);
        }
        drop(write);
        outputs.finish();
    }

    #[test]
    fn one_who_keeps_the_output_open_is_not_waited_for() {
        let (read, write) = nix::unistd::pipe().expect("a pipe");
        let mut write = File::from(write);
        let (events, sent) = crate::debugger::event_queue();
        let mut outputs = Outputs::default();
        outputs.forward(Some(File::from(read)), "test-output", Event::Stdout, &events);
        write.write_all(b"last words").expect("room in the pipe");
        outputs.finish();
        let said: Vec<u8> = std::iter::from_fn(|| sent.try_recv())
            .flat_map(|event| {
                if let Event::Stdout(bytes) = event {
                    bytes
                } else {
                    Vec::new()
                }
            })
            .collect();
        assert_eq!(said, b"last words");
    }
}
