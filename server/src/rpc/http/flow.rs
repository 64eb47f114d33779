//! How much one client may have under way.
//!
//! jsonrpsee makes a task of each message as soon as it has read it, and each answer waits until the client reads it. So a client that asks and never reads,
//! or asks faster than can be answered, is read no further: what it sends then waits in the socket, and with itself.
//!
//! [`Flow`] keeps the accounts of a connection, [`Metered`] is its stream, and [`Paced`] stands between jsonrpsee and the methods.

use std::collections::BTreeSet;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use jsonrpsee::MethodResponse;
use jsonrpsee::core::middleware::{Batch, Notification, RpcServiceT};
use jsonrpsee::types::Request;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Notify, Semaphore, SemaphorePermit};

use crate::transport::Duplex;

/// How many calls may be unanswered before no more are read. Commands that wait for the target are among them.
const MOST_CALLS: usize = 256;
/// How many bytes of answers may wait for the client before no more calls are read, or begun.
const MOST_UNREAD: usize = 1 << 20;
/// How many calls that are not made to wait may be worked at together; what looks at the target waits all the same while it runs. Each may make a large answer.
const MOST_AT_WORK: usize = 16;
/// How many bytes are read before the calls in them are begun.
const MOST_AT_ONCE: usize = 4 << 10;

/// The accounts of one connection.
pub(super) struct Flow {
    state: Mutex<State>,
    /// Told when something was read by the client.
    drained: Notify,
    /// For those that are worked at.
    work: Semaphore,
}

#[derive(Default)]
struct State {
    /// Calls that were begun and are not answered.
    calls: usize,
    /// Bytes of answers that the connection has not taken yet. What else is written, such as notices, is counted as if it were of them, so there may be more,
    /// as many as jsonrpsee's own buffer of answers holds.
    unread: usize,
    /// Whether the connection takes nothing at the moment.
    stalled: bool,
    /// Who wants to read.
    reader: Option<Waker>,
}

impl State {
    fn may_read(&self) -> bool {
        self.calls < MOST_CALLS && self.unread <= MOST_UNREAD && !self.stalled
    }
}

impl Flow {
    /// Of a connection on which nothing was said.
    pub(super) fn new() -> Arc<Flow> {
        Arc::new(Flow {
            state: Mutex::default(),
            drained: Notify::new(),
            work: Semaphore::new(MOST_AT_WORK),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the accounts, and wakes who waits for that.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        change(&mut state);
        let reader = if state.may_read() { state.reader.take() } else { None };
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// A call has begun. It is over when what is returned is dropped.
    fn begin(self: &Arc<Flow>) -> Call {
        self.change(|state| state.calls += 1);
        Call(Arc::clone(self))
    }

    /// Waits for a turn to work at a call whose answer may be large.
    async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        let turn = self.work.acquire().await.ok();
        loop {
            let drained = self.drained.notified();
            if self.state().unread <= MOST_UNREAD {
                return turn;
            }
            drained.await;
        }
    }

    /// An answer is about to be written.
    fn owe(&self, bytes: usize) {
        self.change(|state| state.unread = state.unread.saturating_add(bytes));
    }

    /// The connection has taken some bytes, or takes none now.
    fn wrote(&self, bytes: Poll<usize>) {
        self.change(|state| match bytes {
            Poll::Ready(bytes) => {
                state.unread = state.unread.saturating_sub(bytes);
                state.stalled = false;
            }
            Poll::Pending => state.stalled = true,
        });
        self.drained.notify_waiters();
    }
}

/// A call that is not answered.
struct Call(Arc<Flow>);

impl Drop for Call {
    fn drop(&mut self) {
        self.0.change(|state| state.calls = state.calls.saturating_sub(1));
    }
}

/// A connection that is read as far as its accounts allow.
pub(super) struct Metered {
    stream: Box<dyn Duplex>,
    flow: Arc<Flow>,
    /// Whether something was read since others had their turn.
    has_read: bool,
}

impl Metered {
    /// A connection with its accounts.
    pub(super) fn new(stream: Box<dyn Duplex>, flow: Arc<Flow>) -> Metered {
        Metered {
            stream,
            flow,
            has_read: false,
        }
    }
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.has_read {
            // The calls that were read are tasks by now, which have not begun: they go first, and then count.
            self.has_read = false;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        {
            let mut state = self.flow.state();
            if !state.may_read() {
                state.reader = Some(context.waker().clone());
                return Poll::Pending;
            }
        }
        let mut part = [0; MOST_AT_ONCE];
        let room = buffer.remaining().min(MOST_AT_ONCE);
        let mut part = ReadBuf::new(&mut part[..room]);
        let read = Pin::new(&mut self.stream).poll_read(context, &mut part);
        if matches!(read, Poll::Ready(Ok(()))) {
            buffer.put_slice(part.filled());
            self.has_read = true;
        }
        read
    }
}

impl AsyncWrite for Metered {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.flow.wrote(match &written {
            Poll::Ready(written) => Poll::Ready(*written.as_ref().unwrap_or(&0)),
            Poll::Pending => Poll::Pending,
        });
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// The methods, called as the accounts of a connection allow.
#[derive(Clone)]
pub(super) struct Paced<S> {
    service: S,
    flow: Arc<Flow>,
    /// The methods that may wait for the target, and have a short answer: they keep nobody from his turn.
    waiting: Arc<BTreeSet<&'static str>>,
}

impl<S> Paced<S> {
    /// Calls `service`.
    pub(super) fn new(service: S, flow: Arc<Flow>, waiting: Arc<BTreeSet<&'static str>>) -> Paced<S> {
        Paced { service, flow, waiting }
    }
}

impl<S> RpcServiceT for Paced<S>
where
    S: RpcServiceT<
            MethodResponse = MethodResponse,
            BatchResponse = MethodResponse,
            NotificationResponse = MethodResponse,
        > + Clone
        + Send
        + Sync
        + 'static,
{
    type MethodResponse = MethodResponse;
    type NotificationResponse = MethodResponse;
    type BatchResponse = MethodResponse;

    fn call<'a>(&self, request: Request<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let Paced { service, flow, waiting } = self.clone();
        async move {
            let _call = flow.begin();
            let _turn = if waiting.contains(request.method_name()) {
                None
            } else {
                flow.turn().await
            };
            let answer = service.call(request).await;
            flow.owe(answer.as_json().get().len());
            answer
        }
    }

    fn batch<'a>(&self, requests: Batch<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let Paced { service, flow, .. } = self.clone();
        async move {
            let _call = flow.begin();
            let _turn = flow.turn().await;
            let answer = service.batch(requests).await;
            flow.owe(answer.as_json().get().len());
            answer
        }
    }

    fn notification<'a>(&self, notification: Notification<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        // Nobody waits for an answer to it, and nothing is done.
        let service = self.service.clone();
        async move { service.notification(notification).await }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    /// Whether something can be read now.
    async fn is_read(stream: &mut Metered) -> bool {
        let mut byte = [0];
        let within = std::time::Duration::from_millis(100);
        tokio::time::timeout(within, stream.read_exact(&mut byte)).await.is_ok()
    }

    #[tokio::test]
    async fn who_does_not_read_is_not_read() {
        let flow = Flow::new();
        let (mut client, ours) = duplex(64 << 10);
        let mut stream = Metered::new(Box::new(ours), Arc::clone(&flow));
        client.write_all(&[1; 100]).await.expect("there is room");
        assert!(is_read(&mut stream).await);
        let calls: Vec<Call> = (0..MOST_CALLS).map(|_| flow.begin()).collect();
        assert!(!is_read(&mut stream).await, "too many calls");
        drop(calls);
        assert!(is_read(&mut stream).await);
        flow.owe(MOST_UNREAD + 1);
        assert!(!is_read(&mut stream).await, "too much to write");
        stream.write_all(&[2; 8]).await.expect("there is room");
        assert!(is_read(&mut stream).await);
        let within = std::time::Duration::from_millis(100);
        let full = tokio::time::timeout(within, stream.write_all(&vec![2; 1 << 20])).await;
        assert!(full.is_err(), "nobody reads");
        assert!(!is_read(&mut stream).await, "the client takes nothing");
        let mut taken = vec![0; 1 << 10];
        client.read_exact(&mut taken).await.expect("it was written");
        stream.write_all(&[2; 8]).await.expect("there is room");
        assert!(is_read(&mut stream).await);
    }

    #[tokio::test]
    async fn work_waits_for_the_client_and_for_its_turn() {
        let flow = Flow::new();
        let within = std::time::Duration::from_millis(100);
        let mut turns = Vec::new();
        for _ in 0..MOST_AT_WORK {
            turns.push(flow.turn().await);
        }
        assert!(tokio::time::timeout(within, flow.turn()).await.is_err());
        turns.clear();
        flow.owe(MOST_UNREAD + 2);
        assert!(tokio::time::timeout(within, flow.turn()).await.is_err());
        let waiting = Arc::clone(&flow);
        let waiting = tokio::spawn(async move { waiting.turn().await.is_some() });
        tokio::task::yield_now().await;
        flow.wrote(Poll::Ready(2));
        assert!(waiting.await.expect("it does not panic"));
    }
}
