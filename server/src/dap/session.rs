//! One client's session: its state and its loop.

use std::{path::PathBuf, sync::Arc};

use tokio::sync::oneshot::error::TryRecvError;
use tokio::{
    io::{AsyncRead, ReadHalf},
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;

use super::{
    bench::{Bench, Look},
    codec::{Frame, FrameReader},
    debuggee::{Debuggee, State},
    events::Events,
    message::Request,
    outgoing::Outgoing,
    requests::no_debug::NoDebugProcess,
    settings::Settings,
    target::{Engine, Launcher, Target},
    worker::{Worker, WorkerGone},
};
use crate::{
    debugger::Event,
    handover,
    host::{Host, Status},
    toolchain::Binary,
    transport::Connection,
};

/// How much may gather before it is sent although more is waiting.
const BATCH: usize = 64 * 1024;

/// What a session debugs.
pub(crate) enum Phase {
    /// Nothing yet.
    Idle,
    /// A program without a debugger.
    NoDebug(NoDebugProcess),
    /// A program under debug.
    Debugging(Box<Debuggee>),
}

/// What comes next after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// The next request.
    Continue,
    /// The end of the session.
    Finish,
}

/// One client's session.
pub(crate) struct Session {
    pub(crate) out: Outgoing,
    pub(crate) events: Events,
    pub(crate) phase: Phase,
    pub(crate) launcher: Arc<dyn Launcher>,
    /// The user's choices.
    pub(crate) settings: Settings,
    /// Our end of the connection, as messages name it.
    pub(crate) address: String,
    /// The directory that relative paths are relative to.
    pub(crate) directory: PathBuf,
    /// What the session built; removed with it.
    pub(crate) binary: Option<Binary>,
    /// Cancelled when the client hangs up.
    pub(crate) gone: CancellationToken,
    /// The target that a headless server shares between its clients.
    pub(crate) host: Option<Arc<Host>>,
    pub(super) worker: Worker,
}

/// Serves one client until it disconnects, hangs up, or `interrupted` is done; then ends the target. It begins with `settings`.
pub(crate) async fn serve(
    connection: Connection,
    launcher: Arc<dyn Launcher>,
    settings: Settings,
    interrupted: impl Future<Output = ()>,
) -> std::io::Result<()> {
    serve_with(connection, launcher, settings, interrupted, None).await
}

/// Serves a client of a headless server, until it disconnects, hangs up, or `interrupted` is done. The target is the server's, and is ended with a client
/// only if that is the only one there can be, or wishes it.
pub(crate) async fn serve_remote(
    connection: Connection,
    host: Arc<Host>,
    settings: Settings,
    interrupted: impl Future<Output = ()>,
) -> std::io::Result<()> {
    serve_with(
        connection,
        Arc::new(Engine::default()),
        settings,
        interrupted,
        Some(host),
    )
    .await
}

async fn serve_with(
    connection: Connection,
    launcher: Arc<dyn Launcher>,
    settings: Settings,
    interrupted: impl Future<Output = ()>,
    host: Option<Arc<Host>>,
) -> std::io::Result<()> {
    let (reader, writer) = tokio::io::split(connection.stream);
    let gone = CancellationToken::new();
    let mut session = Session {
        out: Outgoing::new(Box::new(writer), gone.clone()),
        events: Events::default(),
        phase: Phase::Idle,
        launcher,
        settings,
        address: connection.local,
        directory: std::env::current_dir()?,
        binary: None,
        gone: gone.clone(),
        host,
        worker: Worker::start()?,
    };
    let (sender, mut frames) = mpsc::channel(16);
    let reading = tokio::spawn(read(reader, sender, gone));
    let by_signal = tokio::select! {
        () = session.run(&mut frames) => false,
        () = interrupted => true,
    };
    reading.abort();
    // The client may be gone, or may not read; the session ends all the same.
    session.out.hurry();
    session.shut_down(by_signal).await;
    if let Err(error) = session.out.close().await {
        tracing::debug!("the client did not read to the end: {error}");
    }
    // Whoever has ended the target has its answer now.
    if let Some(host) = &session.host
        && host.status() == Status::Detached
    {
        host.over().cancel();
    }
    Ok(())
}

/// Reads frames until the client hangs up.
async fn read(reader: ReadHalf<impl AsyncRead>, frames: mpsc::Sender<Frame>, gone: CancellationToken) {
    let mut reader = FrameReader::new(reader);
    loop {
        match reader.next().await {
            Ok(Some(frame)) => {
                if frames.send(frame).await.is_err() {
                    return;
                }
            }
            Ok(None) => break,
            Err(error) => {
                tracing::error!("DAP error: {error}");
                break;
            }
        }
    }
    gone.cancel();
}

impl Session {
    async fn run(&mut self, frames: &mut mpsc::Receiver<Frame>) {
        loop {
            tokio::select! {
                frame = frames.recv() => {
                    let Some(frame) = frame else { return };
                    if self.on_frame(frame).await == Next::Finish {
                        return;
                    }
                    handover::stay_awake();
                }
                event = self.events.next() => self.on_event(event).await,
            }
            while self.out.waiting() < BATCH
                && let Some(event) = self.events.waiting()
            {
                self.on_event(event).await;
            }
            if let Err(error) = self.out.flush().await {
                tracing::debug!("the client cannot be written to: {error}");
                return;
            }
        }
    }

    async fn on_frame(&mut self, frame: Frame) -> Next {
        let message = match frame {
            Frame::Message(message) => message,
            Frame::Malformed(reason) => {
                self.out.internal_error(0, &reason);
                return Next::Continue;
            }
        };
        tracing::debug!("[<- from client]{message}");
        match Request::read(message) {
            Ok(request) => self.on_request(&request).await,
            Err(other) => {
                self.out.internal_error(other.seq, &other.reason);
                Next::Continue
            }
        }
    }

    /// Calls the debugger, and goes on telling the client about events meanwhile.
    pub(crate) async fn call<R: Send + 'static>(
        &mut self,
        call: impl FnOnce(&mut Option<Box<dyn Target>>) -> R + Send + 'static,
    ) -> Result<R, WorkerGone> {
        self.work(|bench| call(&mut bench.target)).await
    }

    /// Looks into the target, as [`Session::call`]; `None` where there is none.
    pub(crate) async fn look<R: Send + 'static>(
        &mut self,
        look: impl FnOnce(&mut Look<'_>) -> R + Send + 'static,
    ) -> Result<Option<R>, WorkerGone> {
        let settings = self.settings.clone();
        let look = move |bench: &mut Bench| bench.look(&settings).map(|mut at| look(&mut at));
        // Nothing moves a stopped target but the client, who waits for the answer.
        if !self.debuggee().is_some_and(|debuggee| debuggee.state == State::Stopped) {
            return self.work(look).await;
        }
        match self.worker.call_here(look) {
            Ok(looked) => looked,
            Err(look) => self.work(look).await,
        }
    }

    /// As [`Session::look`], for what may fail with a sentence.
    pub(crate) async fn inspect<R: Send + 'static>(
        &mut self,
        look: impl FnOnce(&mut Look<'_>) -> Result<R, String> + Send + 'static,
    ) -> Result<R, String> {
        match self.look(look).await {
            Ok(Some(found)) => found,
            Ok(None) => Err("the program is no longer debugged".to_owned()),
            Err(gone) => Err(gone.to_string()),
        }
    }

    /// What is said about the program when it is gone.
    pub(crate) fn obituary(&mut self, state: State) -> Option<String> {
        match state {
            State::Exited(status) => self.debuggee().map(|debuggee| debuggee.obituary(status)),
            _ => None,
        }
    }

    async fn work<R: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Bench) -> R + Send + 'static,
    ) -> Result<R, WorkerGone> {
        let mut answer = self.worker.call(work);
        if let Some(answered) = handover::at_once(|| match answer.try_recv() {
            Err(TryRecvError::Empty) => None,
            answered => Some(answered),
        }) {
            return answered.map_err(|_| WorkerGone);
        }
        loop {
            tokio::select! {
                answered = &mut answer => return answered.map_err(|_| WorkerGone),
                event = self.events.next() => self.on_event(event).await,
            }
            // A client that hung up is noticed by the loop; what it is owed goes nowhere.
            let _ = self.out.flush().await;
        }
    }

    /// Calls the debugger, and keeps what happens meanwhile for after the answer.
    pub(crate) async fn call_first<R: Send + 'static>(
        &mut self,
        call: impl FnOnce(&mut Option<Box<dyn Target>>) -> R + Send + 'static,
    ) -> (Result<R, WorkerGone>, Vec<Event>) {
        let mut answer = self.worker.call(|bench| call(&mut bench.target));
        let mut meanwhile = Vec::new();
        loop {
            tokio::select! {
                answered = &mut answer => return (answered.map_err(|_| WorkerGone), meanwhile),
                // The debugger must not be held up by a full channel.
                event = self.events.next() => meanwhile.push(event),
            }
        }
    }

    /// The program under debug, if there is one.
    pub(crate) fn debuggee(&mut self) -> Option<&mut Debuggee> {
        match &mut self.phase {
            Phase::Debugging(debuggee) => Some(debuggee),
            _ => None,
        }
    }

    /// Changes where the program stands.
    pub(crate) fn set_state(&mut self, state: State) {
        if let Some(debuggee) = self.debuggee() {
            debuggee.state = state;
        }
    }
}
