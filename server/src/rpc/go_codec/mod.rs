//! Go's `net/rpc/jsonrpc` codec, version 1.0, as Delve serves it (`service/rpccommon/server.go`, Delve 1.27.1).
//!
//! Calls may be pipelined. They are answered in the order in which they came, but those that take their time (`MethodPage::is_asynchronous`): behind one of
//! these the next is looked at as soon as the target moves. What must always get through, a halt and a question for the state that is not to wait, is not
//! even kept by a call that waits for the target to rest; but it does not overtake a command that is about to move it.

mod framing;
#[cfg(test)]
mod fuzz;
mod message;

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncWriteExt, WriteHalf};
use tokio::sync::{Mutex, Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::go_json;
use super::methods::{CallContext, Service, StateIn};
use super::wire::DebuggerCommand;
use crate::transport::{Connection, Duplex};
use framing::Requests;
use message::Request;

/// How many requests of a client may wait for their turn before no more are read.
const WAITING: usize = 1024;

/// How many calls of a client may be under way that others need not wait for.
const UNDER_WAY: u32 = 256;

/// How long a client that sends no more is answered what it has asked.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// One client.
struct Client {
    service: Arc<Service>,
    writer: Mutex<WriteHalf<Box<dyn Duplex>>>,
    /// Cancelled when it is gone.
    gone: CancellationToken,
    under_way: Arc<Semaphore>,
    /// As much for calls that get through; they take no time.
    urgent: Arc<Semaphore>,
    /// How many calls that may move the target wait for their turn, or have theirs and have not moved it yet.
    moves: watch::Sender<usize>,
}

/// Serves one client until it hangs up, sends what is no request, or the server is `ending`.
pub(crate) async fn serve(connection: Connection, service: Arc<Service>, ending: CancellationToken) {
    let (reader, writer) = tokio::io::split(connection.stream);
    let client = Arc::new(Client {
        service,
        writer: Mutex::new(writer),
        gone: CancellationToken::new(),
        under_way: Arc::new(Semaphore::new(UNDER_WAY as usize)),
        urgent: Arc::new(Semaphore::new(UNDER_WAY as usize)),
        moves: watch::Sender::new(0),
    });
    let (queue, mut waiting) = mpsc::channel(WAITING);
    let answering = {
        let client = Arc::clone(&client);
        tokio::spawn(async move {
            while let Some(request) = waiting.recv().await {
                client.in_turn(request).await;
            }
        })
    };
    let _gone = client.gone.clone().drop_guard();
    let mut requests = Requests::new(reader);
    loop {
        let text = tokio::select! {
            text = requests.next() => text,
            () = ending.cancelled() => break,
        };
        let text = match text {
            Ok(Some(text)) => text,
            Ok(None) => break,
            Err(error) => {
                tracing::debug!("{error}");
                break;
            }
        };
        tracing::debug!("<- {text}");
        let request = match Request::read(&text) {
            Ok(request) => request,
            Err(error) => {
                tracing::debug!("{error}");
                break;
            }
        };
        if gets_through(&request) {
            client.start(request).await;
            continue;
        }
        if client.is_asynchronous(&request) {
            client.moves.send_modify(|moves| *moves += 1);
        }
        if queue.send(request).await.is_err() {
            break;
        }
    }
    drop(queue);
    // A client that has only ended its own half reads the answers to what it had sent before. What takes longer goes on, but is answered to nobody.
    let stop = answering.abort_handle();
    let answered = async {
        let _ = answering.await;
        if ending.is_cancelled() {
            // With the target gone, all of them are answered.
            let _ = client.under_way.acquire_many(UNDER_WAY).await;
            let _ = client.urgent.acquire_many(UNDER_WAY).await;
        }
    };
    if tokio::time::timeout(LAST_ANSWERS, answered).await.is_err() {
        stop.abort();
    }
}

/// Whether a request is not to wait for those in front of it.
fn gets_through(request: &Request) -> bool {
    let Ok(argument) = &request.argument else { return false };
    match request.method.as_str() {
        "RPCServer.Command" => go_json::decode::<DebuggerCommand>(argument).is_ok_and(|command| command.name == "halt"),
        "RPCServer.State" => go_json::decode::<StateIn>(argument).is_ok_and(|asked| asked.non_blocking),
        _ => false,
    }
}

impl Client {
    /// Answers a request whose turn it is, and returns when it is that of the next.
    async fn in_turn(self: &Arc<Client>, request: Request) {
        if !self.is_asynchronous(&request) {
            return self.answer(request, self.context()).await;
        }
        let context = self.context();
        let set_up = Arc::clone(&context.set_up);
        // Too many of them are waited for like any other call.
        let Ok(permit) = Arc::clone(&self.under_way).acquire_owned().await else {
            return;
        };
        let client = Arc::clone(self);
        let mut call = tokio::spawn(async move {
            client.answer(request, context).await;
            drop(permit);
        });
        tokio::select! {
            () = set_up.notified() => {}
            _ = &mut call => {}
        }
        self.moves.send_modify(|moves| *moves = moves.saturating_sub(1));
    }

    fn is_asynchronous(&self, request: &Request) -> bool {
        let page = self.service.methods().pages.get(request.method.as_str());
        page.is_some_and(|page| page.is_asynchronous)
    }

    /// Waits until a call that gets through finds what the calls in front of it have set moving: until they have done so, or the target moves.
    async fn moved(&self) {
        let mut moves = self.moves.subscribe();
        tokio::select! {
            _ = moves.wait_for(|moves| *moves == 0) => {}
            () = self.service.host().departure() => {}
            () = self.gone.cancelled() => {}
        }
    }

    /// Answers a request beside all others. Waits only for a client that sends many and reads no answers.
    async fn start(self: &Arc<Client>, request: Request) {
        let Ok(permit) = Arc::clone(&self.urgent).acquire_owned().await else {
            return;
        };
        let client = Arc::clone(self);
        tokio::spawn(async move {
            client.moved().await;
            let context = client.context();
            client.answer(request, context).await;
            drop(permit);
        });
    }

    fn context(&self) -> CallContext {
        CallContext {
            gone: self.gone.clone(),
            ..CallContext::default()
        }
    }

    async fn answer(&self, request: Request, context: CallContext) {
        let Request { method, argument, id } = request;
        let answer = match argument {
            _ if !self.service.has(&method) => {
                tracing::debug!("can't find method {method}");
                Err(format!("unknown method: {method}"))
            }
            Err(why) => Err(format!("malformed request body: {why}")),
            Ok(argument) => {
                let answer = self.service.call(&method, argument, context).await;
                answer.map_err(|error| error.0)
            }
        };
        let line = message::response(&id, &answer);
        tracing::debug!("-> {}", line.trim_end());
        let mut writer = self.writer.lock().await;
        crate::handover::stay_awake();
        let written = async {
            writer.write_all(line.as_bytes()).await?;
            writer.flush().await
        };
        tokio::select! {
            written = written => {
                if let Err(error) = written {
                    tracing::debug!("writing response: {error}");
                }
            }
            () = self.gone.cancelled() => {}
        }
    }
}
