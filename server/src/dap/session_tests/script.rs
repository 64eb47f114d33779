//! A target that does what the test says, and notes what it is told.

use std::{
    ops::Range,
    sync::{Arc, Mutex},
};

use spelunk_dwarf::{FileAddr, Kind, ProcAddr, Type, TypeId};

use crate::{
    dap::target::{Launcher, Target},
    debugger::{
        BreakpointId, BreakpointState, CallOutcome, CallWish, ClientPaths, DebugError, EndWith, Event, EventSender,
        ExceptionFilters, FollowChildren, FunctionBreakpoint, InstructionBreakpoint, LaunchSpec, ProbeAccount,
        ProbeLimits, ProbeState, SourceBreakpoint, StepKind, Stop, StopReason, Surroundings,
    },
    inspect::{Frame, FrameRef, Goroutine, GoroutineStatus, Location, Registers, ScopedValue, Stack, Tid, Whose},
    value::{Content, LoadConfig, Value as GoValue},
};

pub(super) const PID: i32 = 4321;

/// What the target was told, and its way to tell.
#[derive(Default)]
pub(super) struct Script {
    calls: Mutex<Vec<String>>,
    pub(super) events: Mutex<Option<EventSender>>,
    /// What happens as soon as the target runs.
    pub(super) on_resume: Mutex<Vec<Event>>,
    /// The stop that the target is at.
    stop: Mutex<Option<Stop>>,
}

impl Script {
    fn note(&self, call: impl Into<String>) {
        self.calls.lock().expect("not poisoned").push(call.into());
    }

    pub(super) fn calls(&self) -> Vec<String> {
        self.calls.lock().expect("not poisoned").clone()
    }

    pub(super) fn send(&self, event: Event) {
        if let Event::Stopped(stop) = &event {
            *self.stop.lock().expect("not poisoned") = Some(stop.clone());
        }
        let sender = self.events.lock().expect("not poisoned").clone();
        sender.expect("a target").send(event).expect("a session");
    }
}

pub(super) struct Scripted(pub(super) Arc<Script>);

pub(super) struct ScriptedTarget(Arc<Script>);

impl Launcher for Scripted {
    fn launch(&self, spec: &LaunchSpec, events: EventSender) -> Result<Box<dyn Target>, DebugError> {
        self.0.note(format!("launch {:?}", spec.args));
        *self.0.events.lock().expect("not poisoned") = Some(events);
        Ok(Box::new(ScriptedTarget(self.0.clone())))
    }

    fn attach(&self, pid: i32, events: EventSender) -> Result<Box<dyn Target>, DebugError> {
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
            is_pending: false,
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
        if let Whose::Goroutine(id) = whose {
            self.goroutine(id)?;
        }
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
            unreadable_at: None,
        })
    }

    fn locals(&self, _frame: FrameRef, _config: LoadConfig) -> Result<Vec<ScopedValue>, DebugError> {
        Ok(Vec::new())
    }

    fn return_values(&self, _whose: Whose, _config: LoadConfig) -> Result<Vec<GoValue>, DebugError> {
        Ok(Vec::new())
    }

    fn call_expression(&self, _: CallWish) -> Result<(), DebugError> {
        Err(DebugError::Failed("nothing is called here".to_owned()))
    }

    fn call_outcome(&self) -> Result<Option<CallOutcome>, DebugError> {
        Ok(None)
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
            "byte" => Ok(uint(200)),
            "numbers" => Ok(numbers(0..3)),
            "ages" => Ok(ages()),
            "point" => Ok(pointer()),
            _ => Err(DebugError::Failed(format!(
                "could not find symbol value for {expression}"
            ))),
        }
    }

    fn reload(
        &self,
        _frame: FrameRef,
        value: &GoValue,
        range: Option<Range<u64>>,
        _config: LoadConfig,
    ) -> Result<GoValue, DebugError> {
        Ok(match (&*value.ty.name, range) {
            ("[]int", Some(range)) => numbers(range),
            ("*main.Point", None) => pointer_to(point()),
            _ => return Err(DebugError::Failed("not in this script".to_owned())),
        })
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

    fn disassemble_around(&self, addr: ProcAddr, offset: i64, count: usize) -> Result<Surroundings, DebugError> {
        self.0.note(format!("disassemble {count} from {offset} at {addr}"));
        Ok(Surroundings::default())
    }

    fn source_files(&self) -> Result<Vec<String>, DebugError> {
        Ok(vec!["/s/main.go".to_owned(), "/go/fmt/print.go".to_owned()])
    }

    fn follow_children(&self, follow: Option<FollowChildren>) -> Result<(), DebugError> {
        if follow.is_some() {
            self.0.note("follow children");
        }
        Ok(())
    }

    fn processes(&self) -> Result<Vec<i32>, DebugError> {
        Ok(vec![self.pid()])
    }

    fn select_process(&self, pid: i32) -> Result<(), DebugError> {
        self.0.note(format!("select {pid}"));
        Ok(())
    }

    fn limit_probes(&self, limits: ProbeLimits) -> Result<(), DebugError> {
        // What every session begins with is of no interest.
        if limits != ProbeLimits::default() && limits.share_of_core != Some(0.2) {
            self.0.note(format!("{limits:?}"));
        }
        Ok(())
    }

    fn probe_accounts(&self) -> Result<Vec<ProbeAccount>, DebugError> {
        Ok(vec![ProbeAccount {
            id: BreakpointId(1),
            file: "/s/main.go".to_owned(),
            line: 7,
            state: ProbeState::InKernel,
            hits: 21,
            condition_false: 1,
            throttled: 2,
            ring_full: 3,
            idle: 4,
            emitted: 11,
            faults: 5,
            suppressed: 6,
        }])
    }

    fn guess_paths(&self, client: &ClientPaths) -> Result<Vec<(String, String)>, DebugError> {
        Ok(vec![(client.goroot.clone(), "/go".to_owned())])
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

pub(super) fn at_line(id: i64, line: u32) -> BreakpointState {
    BreakpointState {
        id: BreakpointId(id),
        verified: true,
        message: None,
        file: Some("/s/main.go".to_owned()),
        line: Some(line),
        is_pending: false,
    }
}

pub(super) fn location(function: &str) -> Location {
    Location {
        pc: ProcAddr(0x1000),
        file: Some("/s/main.go".into()),
        line: 7,
        function: Some(function.into()),
    }
}

pub(super) fn goroutine(id: i64) -> Goroutine {
    let place = location("main.main");
    Goroutine {
        id,
        addr: ProcAddr(1),
        thread: (id == 1).then_some(Tid(PID)),
        status: GoroutineStatus::Running,
        status_number: 2,
        wait_reason: "".into(),
        wait_reason_number: 0,
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

pub(super) fn frame(function: &str) -> Frame {
    Frame {
        enclosing: None,
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

fn value(name: &str, kind: Kind, size: u64, content: Content) -> GoValue {
    let ty = Type {
        id: TypeId::UNKNOWN,
        name: name.into(),
        size,
        kind,
        runtime_type: None,
        dict_index: None,
    };
    GoValue {
        content,
        ..GoValue::not_loaded(Arc::new(ty), ProcAddr(0x3000))
    }
}

pub(super) fn text(text: &str) -> GoValue {
    let content = Content::String {
        bytes: text.as_bytes().to_vec(),
        len: text.len() as i64,
    };
    value("string", Kind::String, 16, content)
}

fn int(number: i64) -> GoValue {
    value("int", Kind::Int, 8, Content::Int(number))
}

fn uint(number: u64) -> GoValue {
    value("uint8", Kind::Uint, 1, Content::Uint(number))
}

/// A portion of a list of five tens.
fn numbers(portion: Range<u64>) -> GoValue {
    const LEN: u64 = 5;
    let content = Content::Slice {
        base: 0x4000,
        len: LEN as i64,
        cap: 8,
        elements: (portion.start..portion.end.min(LEN))
            .map(|index| int(10 * index as i64))
            .collect(),
    };
    value("[]int", Kind::Slice { elem: TypeId::UNKNOWN }, 24, content)
}

/// A map with one entry.
fn ages() -> GoValue {
    let content = Content::Map {
        base: 0x5000,
        len: 1,
        entries: vec![(text("Ada"), int(36))],
        missing: None,
    };
    let kind = Kind::Map {
        key: TypeId::UNKNOWN,
        elem: TypeId::UNKNOWN,
        header: TypeId::UNKNOWN,
    };
    value("map[string]int", kind, 8, content)
}

fn point() -> GoValue {
    let x = GoValue {
        name: "X".to_owned(),
        ..int(3)
    };
    let content = Content::Struct {
        len: 1,
        fields: vec![x],
        summary: None,
    };
    value("main.Point", Kind::Struct { fields: [].into() }, 8, content)
}

/// A pointer to a struct that is loaded only when it is looked at.
fn pointer() -> GoValue {
    pointer_to(GoValue {
        content: Content::NotLoaded,
        ..point()
    })
}

fn pointer_to(pointee: GoValue) -> GoValue {
    let kind = Kind::Pointer { elem: TypeId::UNKNOWN };
    value("*main.Point", kind, 8, Content::Pointer(Box::new(pointee)))
}

pub(super) fn stopped(reason: StopReason) -> Event {
    Event::Stopped(Stop {
        reason,
        whose: Whose::Goroutine(1),
        step_interrupted: false,
    })
}

pub(super) fn log(text: &str) -> Event {
    Event::Log {
        goroutine: 1,
        text: text.to_owned(),
        file: "/s/main.go".to_owned(),
        line: 7,
    }
}

pub(super) fn exited(status: i32) -> Event {
    Event::Exited {
        pid: PID,
        status: Some(status),
    }
}
