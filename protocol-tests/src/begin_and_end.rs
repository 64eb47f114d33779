//! Ways in which a session begins and ends, and what each leaves behind: which processes live, whether they run, whether the program's code is its own again, and
//! whether anybody still listens.

use std::fmt;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::child::{ChildGroup, descendants, is_alive, tracer_of, wait_until};
use crate::dap_client::{DapConnection, DapServer, STEP};
use crate::failure::{Attempt, Failure, Result};
use crate::headless::Headless;
use crate::rpc_client::{Pending, RpcClient};
use crate::stage::Stage;
use crate::toolchain::{Build, Built};

/// How long what has to end may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long something is watched that is not to happen.
const WATCHED: Duration = Duration::from_millis(300);

/// How a session begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// `dap`, and an editor that launches.
    EditorLaunches,
    /// `dap`, and an editor that attaches.
    EditorAttaches,
    /// `exec --headless` with its one client.
    Exec,
    /// `attach --headless` with its one client.
    Attach,
    /// `exec --headless --accept-multiclient` with a client.
    ExecForMany,
    /// `attach --headless --accept-multiclient` with a client.
    AttachForMany,
    /// `exec --headless --accept-multiclient`, and an editor that attaches to the server.
    EditorJoinsExec,
    /// `attach --headless --accept-multiclient`, and an editor that attaches to the server.
    EditorJoinsAttach,
}

/// What the program does when the session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum While {
    /// It runs.
    Running,
    /// It stands at a breakpoint.
    Stopped,
    /// It is within a step that takes its time, and the breakpoint is still there.
    Stepping,
}

/// How a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The editor's `disconnect`, with `terminateDebuggee` and `suspendDebuggee`, or without them.
    Disconnect(Option<bool>, Option<bool>),
    /// The client's `Detach`, with `Kill`.
    Detach(bool),
    /// The client closes its connection without a word.
    Vanish,
    /// The server gets a signal.
    Signal(Signal),
    /// The program ends by itself.
    Exits,
    /// The program is killed by somebody else.
    Killed,
    /// The program crashes.
    Crashes,
}

/// What has become of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerIs {
    /// It has ended by itself with this status.
    Gone(i32),
    /// It answers.
    Serving,
}

/// What has become of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgramIs {
    /// It has ended.
    Gone,
    /// It runs.
    Running,
    /// It is there and stands still.
    Standing,
}

/// What a session leaves behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// The server.
    pub server: ServerIs,
    /// The program.
    pub program: ProgramIs,
    /// What should not be there: processes of the server's, breakpoints in the program's code, a tracer, an open port.
    pub litter: Vec<String>,
}

/// One cell of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// How it begins.
    pub begin: Begin,
    /// What goes on.
    pub during: While,
    /// How it ends.
    pub end: End,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, {:?}, {:?}", self.begin, self.during, self.end)
    }
}

impl Begin {
    /// All of them.
    pub const ALL: [Begin; 8] = [
        Begin::EditorLaunches,
        Begin::EditorAttaches,
        Begin::Exec,
        Begin::Attach,
        Begin::ExecForMany,
        Begin::AttachForMany,
        Begin::EditorJoinsExec,
        Begin::EditorJoinsAttach,
    ];

    /// Whether the program was there before the session.
    pub fn attaches(self) -> bool {
        matches!(
            self,
            Begin::EditorAttaches | Begin::Attach | Begin::AttachForMany | Begin::EditorJoinsAttach
        )
    }

    /// Whether the client is an editor.
    pub fn is_an_editors(self) -> bool {
        matches!(
            self,
            Begin::EditorLaunches | Begin::EditorAttaches | Begin::EditorJoinsExec | Begin::EditorJoinsAttach
        )
    }

    /// Whether other clients may come afterwards.
    pub fn is_for_many(self) -> bool {
        matches!(
            self,
            Begin::ExecForMany | Begin::AttachForMany | Begin::EditorJoinsExec | Begin::EditorJoinsAttach
        )
    }
}

/// All cells that can be.
pub fn cells() -> Vec<Cell> {
    let mut ends = vec![
        End::Detach(false),
        End::Detach(true),
        End::Vanish,
        End::Signal(Signal::SIGINT),
        End::Signal(Signal::SIGTERM),
        End::Exits,
        End::Killed,
        End::Crashes,
    ];
    for terminate in [None, Some(false), Some(true)] {
        for suspend in [None, Some(false), Some(true)] {
            ends.push(End::Disconnect(terminate, suspend));
        }
    }
    let mut cells = Vec::new();
    for begin in Begin::ALL {
        for during in [While::Running, While::Stopped, While::Stepping] {
            for end in &ends {
                let cell = Cell {
                    begin,
                    during,
                    end: *end,
                };
                if cell.can_be() {
                    cells.push(cell);
                }
            }
        }
    }
    cells
}

impl Cell {
    fn can_be(self) -> bool {
        match self.end {
            End::Disconnect(..) => self.begin.is_an_editors(),
            End::Detach(_) => !self.begin.is_an_editors(),
            // A program that stands still does nothing by itself.
            End::Exits | End::Crashes => self.during != While::Stopped,
            _ => true,
        }
    }

    /// What is to be left: Delve's behaviour, where it is not an accident.
    pub fn expected(self) -> (ServerIs, ProgramIs) {
        let let_go = if self.begin.attaches() {
            ProgramIs::Running
        } else {
            ProgramIs::Gone
        };
        let as_before = match self.during {
            While::Stopped => ProgramIs::Standing,
            While::Running | While::Stepping => ProgramIs::Running,
        };
        match self.end {
            End::Disconnect(Some(true), _) | End::Detach(true) => (ServerIs::Gone(0), ProgramIs::Gone),
            // Delve leaves the program as it is, whatever `suspendDebuggee` says.
            End::Disconnect(_, Some(true)) if self.begin.is_for_many() => (ServerIs::Serving, ProgramIs::Standing),
            End::Disconnect(..) | End::Vanish if self.begin.is_for_many() => (ServerIs::Serving, as_before),
            End::Disconnect(..) | End::Detach(false) | End::Vanish | End::Signal(_) => (ServerIs::Gone(0), let_go),
            End::Exits | End::Killed => (ServerIs::Serving, ProgramIs::Gone),
            // The runtime's report of the signal is stopped at.
            End::Crashes => (ServerIs::Serving, ProgramIs::Standing),
        }
    }

    /// Plays it with the debugger `program`. `expected` says what is waited for longest; what is, is answered.
    #[track_caller]
    pub fn play(self, program: &Path, expected: (ServerIs, ProgramIs)) -> Result<Left> {
        let mut scene = Scene::begin(self.begin, program)?;
        scene.bring_to(self.during)?;
        if scene.target == 0 {
            // Before it was first moved on it may have been a process that did not execute its program yet.
            scene.target = launched(&scene.server, &scene.built)?;
        }
        let family = descendants(scene.server.pid());
        scene.end(self.end)?;
        scene.left(expected, &family)
    }
}

impl Cell {
    /// Plays it, and says what is otherwise than expected.
    pub fn judged(self, program: &Path) -> Result<()> {
        let (server, program_is) = self.expected();
        let left = self.play(program, (server, program_is))?;
        let expected = Left {
            server,
            program: program_is,
            litter: Vec::new(),
        };
        if left == expected {
            return Ok(());
        }
        Err(Failure::new(format!("expected {expected:?}, and there is {left:?}")))
    }
}

/// Who drives the session.
enum Driver {
    Editor(Box<DapConnection>),
    Client(RpcClient, Option<Pending>),
}

/// One session.
struct Scene {
    server: ChildGroup,
    address: String,
    driver: Option<Driver>,
    built: Built,
    folder: PathBuf,
    target: i32,
    begin: Begin,
    has_disconnected: bool,
    _stage: Stage,
}

impl Scene {
    #[track_caller]
    fn begin(begin: Begin, program: &Path) -> Result<Scene> {
        let mut stage = Stage::new()?;
        let built = stage.fixture("lasting", Build::NoOpt)?;
        let folder = stage.scratch();
        let (target, words) = (
            built.program.to_string_lossy().into_owned(),
            folder.to_string_lossy().into_owned(),
        );
        let mut attached = None;
        if begin.attaches() {
            attached = Some(stage.companion(Command::new(&target).arg(&words))?);
            beats(&folder)?;
        }
        let pid = attached.map(|pid| pid.to_string()).unwrap_or_default();
        let scene = match begin {
            Begin::EditorLaunches | Begin::EditorAttaches => {
                let DapServer { process, address } = DapServer::start(program)?;
                let mut editor = DapConnection::connect(&address)?;
                match attached {
                    None => editor.launch(json!({"mode": "exec", "program": target, "args": [words]}))?,
                    Some(pid) => editor.attach(json!({"mode": "local", "processId": pid}))?,
                }
                (process, address, Driver::Editor(Box::new(editor)))
            }
            Begin::Exec | Begin::Attach | Begin::ExecForMany | Begin::AttachForMany => {
                let server = headless(program, begin, &pid, &target, &words)?;
                let mut client = server.connect()?;
                // It listens before it has attached.
                client.call("IsMulticlient", &json!({}))?;
                (server.server, server.address, Driver::Client(client, None))
            }
            Begin::EditorJoinsExec | Begin::EditorJoinsAttach => {
                let server = headless(program, begin, &pid, &target, &words)?;
                let mut editor = DapConnection::connect(&server.address)?;
                editor.attach(json!({"mode": "remote"}))?;
                (server.server, server.address, Driver::Editor(Box::new(editor)))
            }
        };
        let (server, address, driver) = scene;
        Ok(Scene {
            server,
            address,
            driver: Some(driver),
            built,
            folder,
            target: attached.unwrap_or(0),
            begin,
            has_disconnected: false,
            _stage: stage,
        })
    }

    /// Brings the program to what it is to do at the end.
    #[track_caller]
    fn bring_to(&mut self, during: While) -> Result<()> {
        let (path, line) = (self.built.source("main.go"), self.built.line("main.go", "// idles")?);
        match self.driver.as_mut().attempt("driving a session that is over")? {
            Driver::Editor(editor) => {
                if during != While::Running {
                    let breakpoints = json!({"source": {"path": path}, "breakpoints": [{"line": line}]});
                    editor.request("setBreakpoints", breakpoints)?;
                }
                editor.configuration_done()?;
                if during != While::Running {
                    let stop = editor.event_where("a stop at the breakpoint", STEP, |event| {
                        event.event == "stopped" && event.body["reason"] == "breakpoint"
                    })?;
                    if during == While::Stepping {
                        self.hold()?;
                        let thread = stop.body["threadId"].clone();
                        if let Some(Driver::Editor(editor)) = &mut self.driver {
                            editor.request("next", json!({"threadId": thread}))?;
                        }
                    }
                }
            }
            Driver::Client(client, running) => {
                if during == While::Running {
                    *running = Some(client.send("Command", &json!({"name": "continue"}))?);
                } else {
                    client.call("CreateBreakpoint", &json!({"Breakpoint": {"file": path, "line": line}}))?;
                    client.call("Command", &json!({"name": "continue"}))?;
                    if during == While::Stepping {
                        self.hold()?;
                        if let Some(Driver::Client(client, running)) = &mut self.driver {
                            *running = Some(client.send("Command", &json!({"name": "next"}))?);
                        }
                    }
                }
            }
        }
        if during == While::Stopped {
            return Ok(());
        }
        // It is seen to run before the end comes.
        beats(&self.folder)?;
        Ok(())
    }

    fn tell(&self, what: &str) -> Result<()> {
        fs::write(self.folder.join(what), "").attempt(format_args!("telling the program to {what}"))
    }

    fn hold(&self) -> Result<()> {
        self.tell("hold")
    }

    #[track_caller]
    fn end(&mut self, end: End) -> Result<()> {
        match end {
            End::Exits => return self.tell("exit"),
            End::Crashes => return self.tell("crash"),
            End::Killed => {
                return kill(Pid::from_raw(self.target), Signal::SIGKILL).attempt("killing the program");
            }
            End::Signal(signal) => return self.server.signal(signal),
            End::Vanish => {
                if let Some(Driver::Editor(editor)) = &self.driver {
                    editor.close();
                }
                self.driver = None;
                return Ok(());
            }
            End::Disconnect(..) | End::Detach(_) => {}
        }
        match (end, self.driver.as_mut()) {
            (End::Disconnect(terminate, suspend), Some(Driver::Editor(editor))) => {
                let mut arguments = json!({});
                for (name, value) in [("terminateDebuggee", terminate), ("suspendDebuggee", suspend)] {
                    if let Some(value) = value {
                        arguments[name] = Value::Bool(value);
                    }
                }
                editor.request("disconnect", arguments)?;
                self.has_disconnected = true;
                editor.until_closed()
            }
            (End::Detach(kill), Some(Driver::Client(client, running))) => {
                if running.is_some() {
                    client.call("Command", &json!({"name": "halt"}))?;
                }
                client.call("Detach", &json!({"Kill": kill})).map(drop)
            }
            _ => Err(Failure::new("an end that this session does not know")),
        }
    }

    /// What is left.
    #[track_caller]
    fn left(mut self, expected: (ServerIs, ProgramIs), family: &[i32]) -> Result<Left> {
        let server = self.server_is(expected.0)?;
        let program = self.program_is(expected.1);
        let mut litter = Vec::new();
        if let ServerIs::Gone(_) = server {
            let gone = |pid: &i32| *pid == self.target || !is_alive(*pid);
            if wait_until("the server's processes to end", PATIENCE, || {
                family.iter().all(gone).then_some(())
            })
            .is_err()
            {
                let left: Vec<&i32> = family.iter().filter(|pid| !gone(pid)).collect();
                litter.push(format!("processes {left:?}"));
            }
            if std::net::TcpStream::connect(&self.address).is_ok() {
                litter.push("the port is open".into());
            }
        }
        if program != ProgramIs::Gone && !matches!(server, ServerIs::Serving) {
            if tracer_of(self.target).unwrap_or(0) != 0 {
                litter.push("the program is traced".into());
            }
            let changed = changed_code(self.target)?;
            if changed != 0 {
                litter.push(format!("{changed} bytes of the program's code are not its own"));
            }
        }
        if program == ProgramIs::Gone && matches!(server, ServerIs::Serving) && is_alive(self.target) {
            litter.push("the program's process".into());
        }
        Ok(Left {
            server,
            program,
            litter,
        })
    }

    #[track_caller]
    fn server_is(&mut self, expected: ServerIs) -> Result<ServerIs> {
        let limit = match expected {
            ServerIs::Gone(_) => PATIENCE,
            ServerIs::Serving => WATCHED,
        };
        match self.server.finish_within(limit) {
            Ok(ended) => Ok(ServerIs::Gone(ended.code())),
            Err(_) if matches!(expected, ServerIs::Gone(_)) => Ok(ServerIs::Serving),
            Err(_) => {
                // It has to answer, too.
                if self.begin.is_for_many() {
                    ask_state(&mut RpcClient::connect(&self.address)?)?;
                }
                match self.driver.as_mut() {
                    Some(Driver::Client(client, _)) => ask_state(client)?,
                    Some(Driver::Editor(editor)) if !self.has_disconnected => {
                        editor.try_request("threads", Value::Null)?;
                    }
                    _ => {}
                }
                Ok(ServerIs::Serving)
            }
        }
    }

    fn program_is(&self, expected: ProgramIs) -> ProgramIs {
        let gone = || (!is_alive(self.target)).then_some(ProgramIs::Gone);
        let runs = || {
            let file = self.folder.join("beats");
            let before = fs::read_to_string(&file).unwrap_or_default();
            std::thread::sleep(Duration::from_millis(20));
            let after = fs::read_to_string(&file).unwrap_or_default();
            (before != after && is_alive(self.target)).then_some(ProgramIs::Running)
        };
        // What it did for a while: the first thing that is other than standing still.
        let watched = || {
            let end = Instant::now() + WATCHED;
            while Instant::now() < end {
                if let Some(state) = gone().or_else(runs) {
                    return state;
                }
            }
            gone().unwrap_or(ProgramIs::Standing)
        };
        let waited = match expected {
            ProgramIs::Gone => wait_until("the program's end", PATIENCE, gone),
            ProgramIs::Running => wait_until("the program to run", PATIENCE, runs),
            // It reads what it is told in its own time.
            ProgramIs::Standing => wait_until("the program to stand", PATIENCE, || {
                let state = watched();
                (state != ProgramIs::Running).then_some(state)
            }),
        };
        waited.unwrap_or_else(|_| watched())
    }
}

/// A server that serves answers.
#[track_caller]
fn ask_state(client: &mut RpcClient) -> Result<()> {
    let pending = client.send("State", &json!({"NonBlocking": true}))?;
    // Delve's answer for a program that has ended is an error.
    client.wait(&pending, STEP).map(drop)
}

fn headless(program: &Path, begin: Begin, pid: &str, target: &str, words: &str) -> Result<Headless> {
    let mut args: Vec<&str> = Vec::new();
    if begin.is_for_many() {
        args.push("--accept-multiclient");
    }
    if begin.attaches() {
        args.push(pid);
        return Headless::start(program, "attach", &args);
    }
    args.extend([target, "--", words]);
    Headless::start(program, "exec", &args)
}

/// The process that a server has started.
#[track_caller]
fn launched(server: &ChildGroup, built: &Built) -> Result<i32> {
    let wanted = fs::canonicalize(&built.program).attempt("finding the program")?;
    wait_until("the launched program", STEP, || {
        descendants(server.pid())
            .into_iter()
            .find(|pid| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == wanted))
    })
}

/// Waits until the program is seen to run.
#[track_caller]
fn beats(folder: &Path) -> Result<()> {
    let file = folder.join("beats");
    let first = fs::read_to_string(&file).unwrap_or_default();
    wait_until("the program to run", STEP, || {
        fs::read_to_string(&file)
            .is_ok_and(|now| now != first && !now.is_empty())
            .then_some(())
    })
}

/// How many bytes of the code of a process differ from its file's.
#[track_caller]
fn changed_code(pid: i32) -> Result<usize> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).attempt("reading the program's mappings")?;
    let exe = fs::read_link(format!("/proc/{pid}/exe")).attempt("finding the program's file")?;
    let file = fs::read(format!("/proc/{pid}/exe")).attempt("reading the program's file")?;
    let memory = fs::File::open(format!("/proc/{pid}/mem")).attempt("opening the program's memory")?;
    let mut changed = 0;
    for line in maps.lines() {
        let parts: Vec<&str> = line.split_whitespace().collect();
        let [range, rights, offset, .., path] = parts.as_slice() else {
            continue;
        };
        if !rights.contains('x') || Path::new(path) != exe {
            continue;
        }
        let (from, to) = range.split_once('-').attempt("reading a mapping")?;
        let number = |text: &str| u64::from_str_radix(text, 16).attempt("reading a mapping");
        let (from, to, offset) = (number(from)?, number(to)?, number(offset)?);
        let mut bytes = vec![0; (to - from) as usize];
        memory
            .read_exact_at(&mut bytes, from)
            .attempt("reading the program's code")?;
        let original = file.get(offset as usize..).unwrap_or_default();
        changed += bytes.iter().zip(original).filter(|(now, then)| now != then).count();
    }
    Ok(changed)
}
