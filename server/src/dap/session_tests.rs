//! Sessions over a real stream, with a target that does what the test says: the order of messages is the subject here.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use crossbeam_channel::Sender;
use serde_json::{Value, json};
use spelunk_dwarf::{FileAddr, Kind, ProcAddr, Type, TypeId};
use tokio::{
    io::{AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::{
    codec::{Frame as Message, FrameReader, encode},
    session::serve,
    target::{Launcher, Target},
};
use crate::{
    debugger::{
        BreakpointId, BreakpointState, DebugError, EndWith, Event, ExceptionFilters, FunctionBreakpoint,
        InstructionBreakpoint, LaunchSpec, SourceBreakpoint, StepKind, Stop, StopReason,
    },
    inspect::{Frame, FrameRef, Goroutine, GoroutineStatus, Location, Registers, ScopedValue, Stack, Tid, Whose},
    transport::Connection,
    value::{Content, LoadConfig, Value as GoValue},
};

const PID: i32 = 4321;

/// What the target was told, and its way to tell.
#[derive(Default)]
struct Script {
    calls: Mutex<Vec<String>>,
    events: Mutex<Option<Sender<Event>>>,
    /// What happens as soon as the target runs.
    on_resume: Mutex<Vec<Event>>,
    /// The stop that the target is at.
    stop: Mutex<Option<Stop>>,
}

impl Script {
    fn note(&self, call: impl Into<String>) {
        self.calls.lock().expect("not poisoned").push(call.into());
    }

    fn calls(&self) -> Vec<String> {
        self.calls.lock().expect("not poisoned").clone()
    }

    fn send(&self, event: Event) {
        if let Event::Stopped(stop) = &event {
            *self.stop.lock().expect("not poisoned") = Some(stop.clone());
        }
        let sender = self.events.lock().expect("not poisoned").clone();
        sender.expect("a target").send(event).expect("a session");
    }
}

struct Scripted(Arc<Script>);

struct ScriptedTarget(Arc<Script>);

impl Launcher for Scripted {
    fn launch(&self, spec: &LaunchSpec, events: Sender<Event>) -> Result<Box<dyn Target>, DebugError> {
        self.0.note(format!("launch {:?}", spec.args));
        *self.0.events.lock().expect("not poisoned") = Some(events);
        Ok(Box::new(ScriptedTarget(self.0.clone())))
    }

    fn attach(&self, pid: i32, events: Sender<Event>) -> Result<Box<dyn Target>, DebugError> {
        self.0.note(format!("attach {pid}"));
        *self.0.events.lock().expect("not poisoned") = Some(events);
        Ok(Box::new(ScriptedTarget(self.0.clone())))
    }
}

impl Target for ScriptedTarget {
    fn pid(&self) -> i32 {
        PID
    }

    fn resume(&self) -> Result<(), DebugError> {
        self.0.note("resume");
        self.go_on();
        Ok(())
    }

    fn resume_unless_stopped(&self) -> Result<(), DebugError> {
        self.0.note("resume unless stopped");
        Ok(())
    }

    fn set_source_breakpoints(&self, file: &str, wanted: &[SourceBreakpoint]) -> Vec<BreakpointState> {
        self.0.note(format!("breakpoints {file} {}", wanted.len()));
        let state = |(index, wanted): (usize, &SourceBreakpoint)| BreakpointState {
            id: BreakpointId(index as i64 + 1),
            verified: wanted.log_message.is_some(),
            message: wanted.log_message.is_none().then(|| "it would stop".to_owned()),
            file: Some(file.to_owned()),
            line: Some(wanted.line),
        };
        wanted.iter().enumerate().map(state).collect()
    }

    fn set_function_breakpoints(&self, wanted: &[FunctionBreakpoint]) -> Vec<BreakpointState> {
        let state = |(index, _): (usize, &FunctionBreakpoint)| at_line(index as i64 + 11, 5);
        wanted.iter().enumerate().map(state).collect()
    }

    fn set_instruction_breakpoints(&self, wanted: &[InstructionBreakpoint]) -> Vec<BreakpointState> {
        let state = |(index, wanted): (usize, &InstructionBreakpoint)| {
            self.0.note(format!("instruction {}", wanted.addr));
            at_line(index as i64 + 21, 6)
        };
        wanted.iter().enumerate().map(state).collect()
    }

    fn set_exception_filters(&self, filters: ExceptionFilters) -> Vec<BreakpointState> {
        self.0.note(format!("{filters:?}"));
        filters
            .unrecovered_panic
            .then(|| at_line(-1, 1000))
            .into_iter()
            .collect()
    }

    fn halt(&self) -> Result<(), DebugError> {
        self.0.note("halt");
        self.0.send(stopped(StopReason::Pause));
        Ok(())
    }

    fn step(&self, whose: Whose, kind: StepKind) -> Result<(), DebugError> {
        self.0.note(format!("step {whose:?} {kind:?}"));
        self.go_on();
        Ok(())
    }

    fn stop(&self) -> Option<Stop> {
        self.0.stop.lock().expect("not poisoned").clone()
    }

    fn goroutines(&self, _start: usize, _count: usize) -> Result<(Vec<Goroutine>, Option<usize>), DebugError> {
        match self.stop() {
            Some(_) => Ok((vec![goroutine(1), goroutine(7)], None)),
            None => Ok((Vec::new(), None)),
        }
    }

    fn goroutine(&self, id: i64) -> Result<Goroutine, DebugError> {
        match (self.stop(), id) {
            (Some(_), 1 | 7) => Ok(goroutine(id)),
            _ => Err(DebugError::Failed(format!("unknown goroutine {id}"))),
        }
    }

    fn stack(&self, whose: Whose, depth: usize) -> Result<Stack, DebugError> {
        match whose {
            Whose::Goroutine(id) => self.goroutine(id).map(|_| ())?,
            Whose::Thread(_) => return Err(DebugError::Failed("no stack".to_owned())),
        }
        let frames: Vec<Frame> = [
            "example.org/a/shop.(*Cart).Add",
            "main.main",
            "runtime.main",
            "runtime.goexit",
        ]
        .into_iter()
        .map(frame)
        .collect();
        let complete = depth >= frames.len();
        Ok(Stack {
            frames: frames.into_iter().take(depth).collect(),
            complete,
            error: None,
        })
    }

    fn locals(&self, _frame: FrameRef, _config: LoadConfig) -> Result<Vec<ScopedValue>, DebugError> {
        Ok(Vec::new())
    }

    fn return_values(&self, _whose: Whose, _config: LoadConfig) -> Result<Vec<GoValue>, DebugError> {
        Ok(Vec::new())
    }

    fn package_variables(&self, _package: &str, _config: LoadConfig) -> Result<Vec<GoValue>, DebugError> {
        Ok(Vec::new())
    }

    fn registers(&self, _frame: FrameRef) -> Result<Vec<(String, String)>, DebugError> {
        Ok(vec![("Rip".to_owned(), "0x1".to_owned())])
    }

    fn evaluate(&self, frame: FrameRef, expression: &str, _config: LoadConfig) -> Result<GoValue, DebugError> {
        self.0.note(format!("evaluate {expression} in frame {}", frame.frame));
        match expression {
            "(*msgs).arg.(data)" => Ok(text("out of luck")),
            "answer" => Ok(text("42")),
            _ => Err(DebugError::Failed(format!(
                "could not find symbol value for {expression}"
            ))),
        }
    }

    fn reload(
        &self,
        _frame: FrameRef,
        value: &GoValue,
        _range: Option<std::ops::Range<u64>>,
        _config: LoadConfig,
    ) -> Result<GoValue, DebugError> {
        Ok(value.clone())
    }

    fn set_variable(&self, _frame: FrameRef, what: &str, to: &str) -> Result<(), DebugError> {
        self.0.note(format!("set {what} to {to}"));
        Ok(())
    }

    fn read_memory(&self, _addr: ProcAddr, len: usize) -> Result<Vec<u8>, DebugError> {
        Ok(vec![7; len])
    }

    fn write_memory(&self, addr: ProcAddr, bytes: &[u8]) -> Result<(), DebugError> {
        self.0.note(format!("write {bytes:?} at {addr}"));
        Ok(())
    }

    fn source_files(&self) -> Result<Vec<String>, DebugError> {
        Ok(vec!["/s/main.go".to_owned(), "/go/fmt/print.go".to_owned()])
    }

    fn end(self: Box<Self>, how: EndWith) -> Result<(), DebugError> {
        self.0.note(format!("end {how:?}"));
        let sender = self.0.events.lock().expect("not poisoned").take();
        if let (EndWith::Kill, Some(sender)) = (how, sender) {
            // The session may have seen the exit before; it does not listen any longer then.
            let _ = sender.send(Event::Exited {
                pid: PID,
                status: Some(-9),
            });
        }
        Ok(())
    }
}

impl ScriptedTarget {
    fn go_on(&self) {
        *self.0.stop.lock().expect("not poisoned") = None;
        for event in std::mem::take(&mut *self.0.on_resume.lock().expect("not poisoned")) {
            self.0.send(event);
        }
    }
}

fn at_line(id: i64, line: u32) -> BreakpointState {
    BreakpointState {
        id: BreakpointId(id),
        verified: true,
        message: None,
        file: Some("/s/main.go".to_owned()),
        line: Some(line),
    }
}

fn location(function: &str) -> Location {
    Location {
        pc: ProcAddr(0x1000),
        file: Some("/s/main.go".into()),
        line: 7,
        function: Some(function.into()),
    }
}

fn goroutine(id: i64) -> Goroutine {
    let place = location("main.main");
    Goroutine {
        id,
        addr: ProcAddr(1),
        thread: (id == 1).then_some(Tid(PID)),
        status: GoroutineStatus::Running,
        wait_reason: "".into(),
        wait_since: 0,
        stack_hi: ProcAddr(2),
        current: place.clone(),
        user_current: place.clone(),
        go_statement: place.clone(),
        start: place,
        labels: vec![("kind".to_owned(), "batch".to_owned())],
        is_system: id == 7,
    }
}

fn frame(function: &str) -> Frame {
    Frame {
        pc: ProcAddr(0x1000),
        lookup_pc: FileAddr(0x1000),
        location: location(function),
        info: None,
        inline_depth: 0,
        cfa: ProcAddr(0x2000),
        registers: Registers::default(),
        on_system_stack: false,
        return_address_at: None,
    }
}

fn text(text: &str) -> GoValue {
    let ty = Type {
        id: TypeId::UNKNOWN,
        name: "string".into(),
        size: 16,
        kind: Kind::String,
        runtime_type: None,
        dict_index: None,
    };
    GoValue {
        content: Content::String {
            bytes: text.as_bytes().to_vec(),
            len: text.len() as i64,
        },
        ..GoValue::not_loaded(Arc::new(ty), ProcAddr(0x3000))
    }
}

fn stopped(reason: StopReason) -> Event {
    Event::Stopped(Stop {
        reason,
        whose: Whose::Goroutine(1),
        step_interrupted: false,
    })
}

/// A client, and the session that serves it.
struct Client {
    reader: FrameReader<ReadHalf<DuplexStream>>,
    writer: WriteHalf<DuplexStream>,
    seq: i64,
    interrupt: CancellationToken,
    serving: JoinHandle<std::io::Result<()>>,
    script: Arc<Script>,
}

impl Client {
    fn new() -> Client {
        let script = Arc::new(Script::default());
        let (ours, theirs) = tokio::io::duplex(4096);
        let interrupt = CancellationToken::new();
        let (launcher, interrupted) = (Arc::new(Scripted(script.clone())), interrupt.clone());
        let connection = Connection {
            stream: Box::new(theirs),
            local: "here".to_owned(),
        };
        let serving = tokio::spawn(async move { serve(connection, launcher, interrupted.cancelled()).await });
        let (reader, writer) = tokio::io::split(ours);
        Client {
            reader: FrameReader::new(reader),
            writer,
            seq: 0,
            interrupt,
            serving,
            script,
        }
    }

    async fn raw(&mut self, bytes: &[u8]) {
        self.writer.write_all(bytes).await.expect("the session reads");
    }

    async fn send(&mut self, command: &str, arguments: Value) -> i64 {
        self.seq += 1;
        let mut message = json!({"seq": self.seq, "type": "request", "command": command});
        if !arguments.is_null() {
            message["arguments"] = arguments;
        }
        let mut bytes = bytes::BytesMut::new();
        encode(message.to_string().as_bytes(), &mut bytes);
        self.raw(&bytes).await;
        self.seq
    }

    /// The next message, in short: `event NAME`, `ok COMMAND`, `refused COMMAND ID TEXT`, `CATEGORY: OUTPUT`.
    async fn next(&mut self) -> String {
        let read = tokio::time::timeout(Duration::from_secs(10), self.reader.next());
        let message = match read.await.expect("a message in time").expect("a readable message") {
            Some(Message::Message(message)) => message,
            Some(other) => panic!("{other:?}"),
            None => return "end".to_owned(),
        };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        if message["type"] == "event" {
            return match text(&message["event"]).as_str() {
                "output" => format!(
                    "{}: {}",
                    text(&message["body"]["category"]),
                    text(&message["body"]["output"])
                ),
                "exited" => format!("event exited {}", message["body"]["exitCode"]),
                "stopped" => format!("event stopped {}", message["body"]),
                name => format!("event {name}"),
            };
        }
        let command = text(&message["command"]);
        if message["success"] == true {
            let body = &message["body"];
            return match ["breakpoints", "threads", "stackFrames"]
                .iter()
                .find_map(|name| body.get(name))
            {
                Some(list) if command == "stackTrace" => format!("ok {command} {list} of {}", body["totalFrames"]),
                Some(list) => format!("ok {command} {list}"),
                None => format!("ok {command}"),
            };
        }
        let error = &message["body"]["error"];
        format!("refused {command} {} {}", error["id"], text(&error["format"]))
    }

    async fn expect(&mut self, expected: &[&str]) {
        for expected in expected {
            assert_eq!(&self.next().await, expected);
        }
    }

    async fn ask(&mut self, command: &str, arguments: Value, expected: &[&str]) {
        self.send(command, arguments).await;
        self.expect(expected).await;
    }

    async fn launch(&mut self, further: Value) {
        let program = std::env::current_exe().expect("a program");
        let mut arguments = json!({"mode": "exec", "program": program});
        for (name, value) in further.as_object().expect("attributes") {
            arguments[name] = value.clone();
        }
        self.ask(
            "launch",
            arguments,
            &["event process", "event initialized", "ok launch"],
        )
        .await;
    }

    async fn attach(&mut self) {
        let expected = ["event capabilities", "event initialized", "ok attach"];
        self.ask("attach", json!({"processId": std::process::id()}), &expected)
            .await;
    }

    async fn run(&mut self) {
        let expected = [
            "console: Type 'dlv help' for list of commands.\n",
            "ok configurationDone",
        ];
        self.ask("configurationDone", Value::Null, &expected).await;
    }

    /// Waits for the end of the session and returns what the target was told.
    async fn finish(self) -> Vec<String> {
        drop((self.reader, self.writer));
        tokio::time::timeout(Duration::from_secs(10), self.serving)
            .await
            .expect("the session ends")
            .expect("without a panic")
            .expect("without an error");
        self.script.calls()
    }
}

fn log(text: &str) -> Event {
    Event::Log {
        goroutine: 1,
        text: text.to_owned(),
        file: "/s/main.go".to_owned(),
        line: 7,
    }
}

fn exited(status: i32) -> Event {
    Event::Exited {
        pid: PID,
        status: Some(status),
    }
}

#[tokio::test]
async fn a_logpoint_from_launch_to_disconnect() {
    let mut client = Client::new();
    client
        .ask("initialize", json!({"adapterID": "go"}), &["ok initialize"])
        .await;
    client.launch(json!({})).await;
    let wanted = json!({"source": {"path": "/s/main.go"}, "breakpoints": [{"line": 7, "logMessage": "hi"}, {"line": 8}, {"line": 7}]});
    let states = r#"ok setBreakpoints [{"id":1,"verified":true,"source":{"name":"main.go","path":"/s/main.go"},"line":7},{"id":2,"verified":false,"message":"it would stop","source":{"name":"main.go","path":"/s/main.go"},"line":8},{"verified":false,"message":"breakpoint already exists"}]"#;
    client.ask("setBreakpoints", wanted, &[states]).await;
    *client.script.on_resume.lock().expect("not poisoned") = vec![log("hi"), exited(3)];
    client.run().await;
    client
        .expect(&["stdout: > [Go 1]: hi\n", "event exited 3", "event terminated"])
        .await;
    let expected = [
        "console: Process 4321 has exited with status 3\n",
        "console: Detaching\n",
        "ok disconnect",
        "event terminated",
        "end",
    ];
    client.ask("disconnect", Value::Null, &expected).await;
    let calls = client.finish().await;
    assert_eq!(calls, ["launch []", "breakpoints /s/main.go 2", "resume", "end Kill"]);
}

#[tokio::test]
async fn what_an_attached_program_logs_waits_until_the_client_is_ready() {
    let mut client = Client::new();
    client.attach().await;
    client.script.send(log("early"));
    // The event is on its way while the client still configures.
    tokio::time::sleep(Duration::from_millis(50)).await;
    client
        .ask(
            "setExceptionBreakpoints",
            json!({"filters": []}),
            &["ok setExceptionBreakpoints"],
        )
        .await;
    client.run().await;
    client.expect(&["stdout: > [Go 1]: early\n"]).await;
    let expected = [
        "console: Detaching without terminating target process\n",
        "ok disconnect",
        "event terminated",
        "end",
    ];
    client
        .ask("disconnect", json!({"terminateDebuggee": false}), &expected)
        .await;
    assert_eq!(client.finish().await.last().map(String::as_str), Some("end Detach"));
}

#[tokio::test]
async fn an_attached_program_ends_when_the_client_says_so() {
    let mut client = Client::new();
    client.attach().await;
    client.run().await;
    let expected = [
        "console: Detaching and terminating target process\n",
        "ok disconnect",
        "event terminated",
        "end",
    ];
    client
        .ask("disconnect", json!({"terminateDebuggee": true}), &expected)
        .await;
    assert_eq!(client.finish().await.last().map(String::as_str), Some("end Kill"));
}

#[tokio::test]
async fn while_the_program_runs_what_needs_a_stop_is_refused_and_the_rest_served() {
    let mut client = Client::new();
    client.launch(json!({})).await;
    client.run().await;
    for command in [
        "continue",
        "next",
        "stackTrace",
        "variables",
        "evaluate",
        "modules",
        "configurationDone",
    ] {
        let refusal = format!("refused {command} 4000 Unable to process `{command}`: debuggee is running");
        client.ask(command, json!({"threadId": 1}), &[&refusal]).await;
    }
    let current = r#"ok threads [{"id":-1,"name":"Current"}]"#;
    client.ask("threads", Value::Null, &[current]).await;
    let none = json!({"source": {"path": "/s/main.go"}, "breakpoints": []});
    client.ask("setBreakpoints", none, &["ok setBreakpoints []"]).await;
    client
        .ask(
            "terminate",
            Value::Null,
            &["ok terminate", "event exited -9", "event terminated"],
        )
        .await;
    client.finish().await;
}

#[tokio::test]
async fn stop_on_entry_holds_the_program_until_continue() {
    let mut client = Client::new();
    client.launch(json!({"stopOnEntry": true})).await;
    let expected = [
        r#"event stopped {"reason":"entry","threadId":1,"allThreadsStopped":true}"#,
        "console: Type 'dlv help' for list of commands.\n",
        "ok configurationDone",
    ];
    client.ask("configurationDone", Value::Null, &expected).await;
    let refusal = "refused stackTrace 2004 Unable to produce stack trace: unknown goroutine 1";
    client.ask("stackTrace", json!({"threadId": 1}), &[refusal]).await;
    client
        .ask("threads", Value::Null, &[r#"ok threads [{"id":1,"name":"Dummy"}]"#])
        .await;
    client.ask("pause", json!({"threadId": 1}), &["ok pause"]).await;
    let expected = [
        "event continued",
        "ok next",
        r#"event stopped {"reason":"error","text":"unknown goroutine 1","allThreadsStopped":true}"#,
    ];
    client.ask("next", json!({"threadId": 1}), &expected).await;
    assert!(!client.script.calls().contains(&"resume".to_owned()));
    *client.script.on_resume.lock().expect("not poisoned") = vec![exited(0)];
    client
        .ask(
            "continue",
            json!({"threadId": 1}),
            &["ok continue", "event exited 0", "event terminated"],
        )
        .await;
    client.finish().await;
}

#[tokio::test]
async fn stops_are_told_with_their_reasons_in_delves_words() {
    let mut client = Client::new();
    client.launch(json!({})).await;
    client
        .ask(
            "setFunctionBreakpoints",
            json!({"breakpoints": [{"name": "main.main"}]}),
            &[r#"ok setFunctionBreakpoints [{"id":11,"verified":true,"source":{"name":"main.go","path":"/s/main.go"},"line":5}]"#],
        )
        .await;
    client
        .ask(
            "setInstructionBreakpoints",
            json!({"breakpoints": [{"instructionReference": "0x10", "offset": 2}, {"instructionReference": "x"}]}),
            &[concat!(
                r#"ok setInstructionBreakpoints [{"id":21,"verified":true,"source":{"name":"main.go","path":"/s/main.go"},"line":6},"#,
                r#"{"verified":false,"message":"strconv.ParseInt: parsing \"x\": invalid syntax"}]"#
            )],
        )
        .await;
    client
        .ask(
            "setExceptionBreakpoints",
            json!({"filters": ["unrecovered-panic"]}),
            &[r#"ok setExceptionBreakpoints [{"id":-1,"verified":true,"source":{"name":"main.go","path":"/s/main.go"},"line":1000}]"#],
        )
        .await;
    client.run().await;
    let panic = StopReason::UnrecoveredPanic { value: None };
    let stops = [
        (
            StopReason::Breakpoint(vec![BreakpointId(3)]),
            r#"{"reason":"breakpoint","threadId":1,"allThreadsStopped":true,"hitBreakpointIds":[3]}"#,
        ),
        (
            StopReason::Breakpoint(vec![BreakpointId(11)]),
            r#"{"reason":"function breakpoint","threadId":1,"allThreadsStopped":true,"hitBreakpointIds":[11]}"#,
        ),
        (
            StopReason::Breakpoint(vec![BreakpointId(21)]),
            r#"{"reason":"instruction breakpoint","threadId":1,"allThreadsStopped":true,"hitBreakpointIds":[21]}"#,
        ),
        (
            StopReason::HardcodedBreakpoint,
            r#"{"reason":"breakpoint","threadId":1,"allThreadsStopped":true}"#,
        ),
        (
            panic,
            r#"{"description":"panic","reason":"exception","threadId":1,"text":"\"out of luck\"","allThreadsStopped":true,"hitBreakpointIds":[-1]}"#,
        ),
        (
            StopReason::Failed("no way".to_owned()),
            r#"{"description":"runtime error","text":"no way","reason":"exception","threadId":1,"allThreadsStopped":true}"#,
        ),
    ];
    for (reason, told) in stops {
        client.script.send(stopped(reason));
        client.expect(&[&format!("event stopped {told}")]).await;
        client.ask("continue", json!({"threadId": 1}), &["ok continue"]).await;
    }
    client.finish().await;
}

#[tokio::test]
async fn a_pause_is_answered_before_its_stop_and_wins_over_a_breakpoint() {
    let mut client = Client::new();
    client.launch(json!({})).await;
    client.run().await;
    let paused = r#"event stopped {"reason":"pause","threadId":1,"allThreadsStopped":true}"#;
    client.ask("pause", json!({"threadId": 1}), &["ok pause", paused]).await;
    client
        .script
        .send(stopped(StopReason::Breakpoint(vec![BreakpointId(1)])));
    client.expect(&[paused]).await;
    // Answered and nothing else: it stands still already.
    client.ask("pause", json!({"threadId": 1}), &["ok pause"]).await;
    client.finish().await;
}

#[tokio::test]
async fn a_step_is_said_to_go_on_answered_and_arrives() {
    let mut client = Client::new();
    client.launch(json!({})).await;
    client.run().await;
    client.script.send(stopped(StopReason::Step));
    client.next().await;
    let arrived = r#"event stopped {"reason":"step","threadId":1,"allThreadsStopped":true}"#;
    for (command, granularity, kind) in [
        ("next", "line", "Over"),
        ("stepIn", "statement", "Into"),
        ("stepOut", "", "Out"),
        ("next", "instruction", "OverInstruction"),
        ("stepIn", "instruction", "IntoInstruction"),
    ] {
        *client.script.on_resume.lock().expect("not poisoned") = vec![stopped(StopReason::Step)];
        let arguments = json!({"threadId": 1, "granularity": granularity});
        client
            .ask(
                command,
                arguments,
                &["event continued", &format!("ok {command}"), arrived],
            )
            .await;
        let step = format!("step Goroutine(1) {kind}");
        assert_eq!(client.script.calls().last(), Some(&step));
    }
    let refused =
        r#"event stopped {"reason":"error","threadId":1,"text":"unknown goroutine 9","allThreadsStopped":true}"#;
    client
        .ask("next", json!({"threadId": 9}), &["event continued", "ok next", refused])
        .await;
    client.finish().await;
}

#[tokio::test]
async fn a_step_that_waits_is_told_and_no_other_is_taken() {
    let mut client = Client::new();
    client.launch(json!({})).await;
    client.run().await;
    client.script.send(Event::Stopped(Stop {
        reason: StopReason::Breakpoint(vec![BreakpointId(1)]),
        whose: Whose::Goroutine(1),
        step_interrupted: true,
    }));
    let waits = "console: Step interrupted by a breakpoint. Use 'Continue' to resume the original step command.\n";
    client.next().await;
    client.expect(&[waits]).await;
    let why = "Unable to step while the previous step is interrupted by a breakpoint.\nUse 'Continue' to resume the original step command.";
    let told = json!({"reason": "exception", "description": "invalid command", "threadId": 1, "text": why, "allThreadsStopped": true});
    let expected = [
        "event continued",
        "ok next",
        &format!("console: invalid command: {why}\n"),
        &format!("event stopped {told}"),
        waits,
    ];
    client.ask("next", json!({"threadId": 1}), &expected).await;
    client
        .ask("exceptionInfo", json!({"threadId": 1}), &["ok exceptionInfo"])
        .await;
    assert!(!client.script.calls().iter().any(|call| call.starts_with("step")));
    client.finish().await;
}

#[tokio::test]
async fn frames_and_values_have_numbers_until_the_program_moves() {
    let mut client = Client::new();
    client.launch(json!({})).await;
    client.run().await;
    client.script.send(stopped(StopReason::Step));
    client.next().await;
    let threads =
        r#"ok threads [{"id":1,"name":"* [Go 1] main.main (Thread 4321)"},{"id":7,"name":"[Go 7] main.main"}]"#;
    client.ask("threads", Value::Null, &[threads]).await;
    client
        .ask(
            "evaluate",
            json!({"expression": "dlv config hideSystemGoroutines true", "context": "repl"}),
            &["event invalidated", "ok evaluate"],
        )
        .await;
    let threads = r#"ok threads [{"id":1,"name":"* [Go 1] main.main (Thread 4321)"}]"#;
    client.ask("threads", Value::Null, &[threads]).await;
    let frame = |id: i64, name: &str, hint: &str| {
        format!(
            r#"{{"id":{id},"name":"{name}","line":7,"column":0,"instructionPointerReference":"0x1000","source":{{"name":"main.go","path":"/s/main.go"}}{hint}}}"#
        )
    };
    let subtle = r#","presentationHint":"subtle""#;
    let first = format!("ok stackTrace [{}] of 51", frame(1000, "shop.(*Cart).Add", ""));
    client
        .ask(
            "stackTrace",
            json!({"threadId": 1, "startFrame": 0, "levels": 1}),
            &[&first],
        )
        .await;
    let rest = format!(
        "ok stackTrace [{},{},{}] of 4",
        frame(1001, "main.main", ""),
        frame(1002, "runtime.main", subtle),
        frame(1003, "runtime.goexit", subtle)
    );
    client
        .ask(
            "stackTrace",
            json!({"threadId": 1, "startFrame": 1, "levels": 19}),
            &[&rest],
        )
        .await;
    client
        .ask(
            "evaluate",
            json!({"expression": "answer", "frameId": 1001, "context": "watch"}),
            &["ok evaluate"],
        )
        .await;
    assert_eq!(
        client.script.calls().last().map(String::as_str),
        Some("evaluate answer in frame 1")
    );
    let refusal = "refused evaluate 2009 Unable to evaluate expression: could not find symbol value for x";
    client
        .ask("evaluate", json!({"expression": "x", "context": "repl"}), &[refusal])
        .await;
    client.ask("continue", json!({"threadId": 1}), &["ok continue"]).await;
    client.script.send(stopped(StopReason::Step));
    client.next().await;
    let refusal = "refused scopes 2005 Unable to list locals: unknown frame id 1000";
    client.ask("scopes", json!({"frameId": 1000}), &[refusal]).await;
    let refusal = "refused variables 2008 Unable to lookup variable: unknown reference 1000";
    client
        .ask("variables", json!({"variablesReference": 1000}), &[refusal])
        .await;
    client.finish().await;
}

#[tokio::test]
async fn a_restart_keeps_breakpoints_and_takes_new_arguments() {
    let mut client = Client::new();
    client.launch(json!({"args": ["a"]})).await;
    let wanted = json!({"source": {"path": "/s/main.go"}, "breakpoints": [{"line": 7, "logMessage": "hi"}]});
    client.send("setBreakpoints", wanted).await;
    client.next().await;
    client.run().await;
    let arguments = json!({"arguments": {"request": "launch", "args": ["b"]}});
    client
        .ask("restart", arguments, &["ok restart", "event initialized"])
        .await;
    client.run().await;
    let calls = client.finish().await;
    let expected = [
        "launch [\"a\"]",
        "breakpoints /s/main.go 1",
        "resume",
        "end Kill",
        "launch [\"b\"]",
        "breakpoints /s/main.go 1",
        "ExceptionFilters { unrecovered_panic: true, fatal_throw: true }",
        "resume",
        "end Kill",
    ];
    assert_eq!(calls, expected);
}

#[tokio::test]
async fn the_end_of_the_connection_and_a_signal_end_the_session() {
    for attached in [false, true] {
        let how = if attached { "end Detach" } else { "end Kill" };
        for signal in [false, true] {
            let mut client = Client::new();
            if attached {
                client.attach().await;
            } else {
                client.launch(json!({})).await;
            }
            client.run().await;
            if signal {
                client.interrupt.cancel();
                assert!(client.next().await.starts_with("console: Detaching "));
                client.expect(&["end"]).await;
            }
            assert_eq!(client.finish().await.last().map(String::as_str), Some(how));
        }
    }
}

#[tokio::test]
async fn messages_that_make_no_sense_are_answered_and_the_session_goes_on() {
    let mut client = Client::new();
    client.raw(b"Content-Length: 5\r\n\r\n{\"a\":").await;
    assert!(
        client
            .next()
            .await
            .starts_with("refused  8888 Internal Error: the body is not JSON")
    );
    client.raw(b"Content-Length: 2\r\n\r\n[]").await;
    assert!(client.next().await.starts_with("refused  8888 Internal Error: "));
    client
        .ask(
            "bogus",
            json!({}),
            &["refused  8888 Internal Error: Request command 'bogus' is not supported (seq: 1)"],
        )
        .await;
    let refusal = "refused threads 3000 No debug session started: Use launch or attach request first.";
    client.ask("threads", Value::Null, &[refusal]).await;
    client.launch(json!({})).await;
    client.send("setBreakpoints", json!("x")).await;
    assert!(client.next().await.starts_with("refused setBreakpoints 2002 "));
    client.send("setBreakpoints", json!({"source": {"path": 3}})).await;
    assert!(client.next().await.starts_with("refused setBreakpoints 2002 "));
    client
        .ask(
            "initialize",
            json!({"pathFormat": "uri"}),
            &["refused initialize 3002 Failed to initialize: Unsupported 'pathFormat' value 'uri'."],
        )
        .await;
    client.finish().await;
}

#[tokio::test]
async fn an_idle_client_sees_a_log_message_at_once_and_a_burst_is_complete() {
    let mut client = Client::new();
    client.launch(json!({})).await;
    client.run().await;
    // A busy machine may be late now and then; a buffer that waits for a timer would be late each time.
    let mut soonest = Duration::MAX;
    for _ in 0..20 {
        let sent = Instant::now();
        client.script.send(log("one"));
        client.expect(&["stdout: > [Go 1]: one\n"]).await;
        soonest = soonest.min(sent.elapsed());
    }
    assert!(soonest < Duration::from_millis(50), "{soonest:?}");

    // More than all buffers hold: the sender has to wait for the client.
    let script = client.script.clone();
    let sender = std::thread::spawn(move || {
        for number in 0..20_000 {
            script.send(log(&number.to_string()));
        }
    });
    for number in 0..20_000 {
        assert_eq!(client.next().await, format!("stdout: > [Go 1]: {number}\n"));
    }
    sender.join().expect("all were sent");
    client.finish().await;
}

#[tokio::test]
async fn the_programs_output_arrives_as_text_before_its_exit() {
    let mut client = Client::new();
    client.launch(json!({"outputMode": "remote"})).await;
    let (first, second) = "ä\n".as_bytes().split_at(1);
    *client.script.on_resume.lock().expect("not poisoned") = vec![
        Event::Stdout(first.to_vec()),
        Event::Stderr(b"e".to_vec()),
        Event::Stdout(second.to_vec()),
        exited(0),
    ];
    client.run().await;
    client
        .expect(&["stderr: e", "stdout: ä\n", "event exited 0", "event terminated"])
        .await;
    client.finish().await;
}

#[tokio::test]
async fn an_unknown_exit_status_is_not_made_up() {
    let mut client = Client::new();
    client.attach().await;
    client.run().await;
    client.script.send(Event::Exited { pid: PID, status: None });
    assert!(client.next().await.contains("no longer tells its status"));
    client.expect(&["event terminated"]).await;
    client.finish().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_cannot_keep_the_session() {
    let mut client = Client::new();
    client.launch(json!({})).await;
    client.run().await;
    let script = client.script.clone();
    // The client reads none of these, and the sender is held up until the session lets go.
    let sender = std::thread::spawn(move || {
        let sender = script.events.lock().expect("not poisoned").clone().expect("a target");
        while sender.send(log("flood")).is_ok() {}
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    client.interrupt.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(5), &mut client.serving).await;
    ended
        .expect("in time")
        .expect("without a panic")
        .expect("without an error");
    sender.join().expect("the sender was told");
    assert_eq!(client.script.calls().last().map(String::as_str), Some("end Kill"));
}
