//! Logical breakpoints and the probes that carry them.
//!
//! Architecture invariant: the user's breakpoint is not the address. A breakpoint owns its sites: one for each body and inlined copy of its line.

use std::sync::Arc;
use std::thread;

use crossbeam_channel::Sender;
use spelunk_bpf::{Link, RecordView};
use spelunk_dwarf::{Binary, BuildId};

use super::{BreakpointId, BreakpointState, Event, FunctionBreakpoint, SourceBreakpoint};
use crate::expr::Template;
use crate::trace::{Engine, Installed, LogPlanner, LogSite, Place, Reader};
use crate::value::LoadConfig;

/// Why a breakpoint that should stop the program is not verified.
const CANNOT_STOP: &str = "this version sets logpoints only: stopping the program comes with a later one. Give the breakpoint a log message to see its values without a stop";
/// Why a breakpoint with a condition is not verified.
const NO_CONDITIONS: &str =
    "conditions and hit conditions are not evaluated by this version; a logpoint without one is";

/// All breakpoints of a session.
pub(super) struct Breakpoints {
    binary: Arc<Binary>,
    place: Place,
    events: Sender<Event>,
    engine: Option<Engine<Owner>>,
    reader: Option<Reader>,
    in_files: Vec<InFile>,
    on_functions: Vec<(FunctionBreakpoint, BreakpointId)>,
    last_id: i64,
    lost: u64,
    /// Set when nothing may be probed any more, with the reason.
    refused: Option<String>,
}

/// A line breakpoint.
struct InFile {
    /// The file as the client names it.
    file: String,
    wanted: SourceBreakpoint,
    state: BreakpointState,
    link: Option<Link>,
}

/// What the reader of records needs of a logpoint.
struct Owner {
    site: LogSite,
    file: String,
    line: u32,
}

impl Breakpoints {
    pub(super) fn new(binary: Arc<Binary>, place: Place, events: Sender<Event>) -> Breakpoints {
        Breakpoints {
            binary,
            place,
            events,
            engine: None,
            reader: None,
            in_files: Vec::new(),
            on_functions: Vec::new(),
            last_id: 0,
            lost: 0,
            refused: None,
        }
    }

    /// The build id of the analysed file.
    pub(super) fn build_id(&self) -> BuildId {
        self.binary.build_id()
    }

    /// Takes out all probes for good and tells the client why.
    pub(super) fn refuse(&mut self, why: &str) {
        self.refused = Some(why.to_owned());
        close_links(
            self.in_files
                .iter_mut()
                .filter_map(|breakpoint| breakpoint.link.take())
                .collect(),
        );
        let _ = self.events.send(Event::Notice(why.to_owned()));
    }

    fn next_id(&mut self) -> BreakpointId {
        self.last_id += 1;
        BreakpointId(self.last_id)
    }

    /// Replaces the breakpoints of a file. What the client sends again unchanged stays as it is.
    pub(super) fn set_in_file(&mut self, file: &str, wanted: &[SourceBreakpoint]) -> Vec<BreakpointState> {
        let (mut old, others): (Vec<_>, Vec<_>) =
            self.in_files.drain(..).partition(|breakpoint| breakpoint.file == file);
        self.in_files = others;
        let mut kept: Vec<Option<InFile>> = wanted
            .iter()
            .map(|wanted| {
                old.iter()
                    .position(|breakpoint| breakpoint.wanted == *wanted)
                    .map(|index| old.swap_remove(index))
            })
            .collect();
        // What is gone must not log any more when this is answered, what is new must not wait for it.
        close_links(old.into_iter().filter_map(|breakpoint| breakpoint.link).collect());
        let mut states = Vec::with_capacity(wanted.len());
        for (wanted, kept) in wanted.iter().zip(&mut kept) {
            let breakpoint = match kept.take() {
                Some(kept) => kept,
                None => self.set_line(file, wanted),
            };
            states.push(breakpoint.state.clone());
            self.in_files.push(breakpoint);
        }
        states
    }

    fn set_line(&mut self, file: &str, wanted: &SourceBreakpoint) -> InFile {
        let id = self.next_id();
        let mut state = BreakpointState {
            id,
            verified: false,
            message: None,
            file: None,
            line: None,
        };
        let link = match self.install(id, file, wanted) {
            Ok((link, file, line)) => {
                state = BreakpointState {
                    verified: true,
                    file: Some(file),
                    line: Some(line),
                    ..state
                };
                Some(link)
            }
            Err(why) => {
                state.message = Some(why);
                None
            }
        };
        InFile {
            file: file.to_owned(),
            wanted: wanted.clone(),
            state,
            link,
        }
    }

    /// Puts a logpoint into the target; answers the file and line it lies on.
    fn install(
        &mut self,
        id: BreakpointId,
        file: &str,
        wanted: &SourceBreakpoint,
    ) -> Result<(Link, String, u32), String> {
        if let Some(why) = &self.refused {
            return Err(why.clone());
        }
        let template = wanted
            .log_message
            .as_deref()
            .map(Template::parse)
            .transpose()
            .map_err(|error| error.to_string())?;
        let statements = self.binary.statements(file, wanted.line);
        if statements.is_empty() {
            return Err(self.no_statement(file, wanted.line));
        }
        let template = template.ok_or(CANNOT_STOP)?;
        if wanted.condition.is_some() || wanted.hit_condition.is_some() {
            return Err(NO_CONDITIONS.to_owned());
        }
        self.start_engine()?;
        let engine = self.engine.as_mut().ok_or("the engine is gone")?;
        let (binary, runtime) = (self.binary.clone(), engine.runtime());
        let planned = engine.with_layouts(|layouts| {
            let mut planner = LogPlanner {
                binary: &binary,
                runtime,
                layouts,
            };
            let plan = |statement: &spelunk_dwarf::Statement| {
                let function = binary.function_at(statement.addr).ok_or("no function there")?;
                planner.plan(id.0.unsigned_abs(), function, statement.addr, wanted.line, &template)
            };
            statements.iter().map(plan).collect::<Result<Vec<_>, String>>()
        })?;
        let (file, line) = self.binary.line_at(statements[0].addr).map_or_else(
            || (file.to_owned(), wanted.line),
            |(file, line)| (file.to_string(), line),
        );
        let owned = planned
            .into_iter()
            .map(|site| {
                (
                    site.site.clone(),
                    Owner {
                        site,
                        file: file.clone(),
                        line,
                    },
                )
            })
            .collect();
        let link = engine.install(&self.place, owned).map_err(|error| error.to_string())?;
        Ok((link, file, line))
    }

    fn no_statement(&self, file: &str, line: u32) -> String {
        if self.binary.files().iter().any(|known| **known == *file) {
            format!("could not find statement at {file}:{line}, please use a line with a statement")
        } else {
            format!("could not find file {file}")
        }
    }

    /// The first logpoint makes the tables and the reader; a session without any needs no privileges.
    fn start_engine(&mut self) -> Result<(), String> {
        if self.engine.is_some() {
            return Ok(());
        }
        let mut engine = Engine::new(self.binary.clone(), LoadConfig::DAP).map_err(|error| error.to_string())?;
        let (binary, events) = (self.binary.clone(), self.events.clone());
        let log = move |site: &Arc<Installed<Owner>>, record: &RecordView<'_>| {
            let owner = &site.owner;
            let _ = events.send(Event::Log {
                goroutine: record.goroutine(),
                text: owner.site.message(&binary, record, None),
                file: owner.file.clone(),
                line: owner.line,
            });
        };
        self.reader = engine.read(log, || {});
        self.engine = Some(engine);
        Ok(())
    }

    /// Replaces the function breakpoints. They stop the program by nature, so none is verified yet.
    pub(super) fn set_on_functions(&mut self, wanted: &[FunctionBreakpoint]) -> Vec<BreakpointState> {
        let old = std::mem::take(&mut self.on_functions);
        let mut states = Vec::with_capacity(wanted.len());
        for wanted in wanted {
            let known = old.iter().find(|(old, _)| old == wanted).map(|(_, id)| *id);
            let id = known.unwrap_or_else(|| self.next_id());
            self.on_functions.push((wanted.clone(), id));
            let name = &wanted.function;
            let known = self.binary.function_named(name).is_some();
            let message = if known {
                CANNOT_STOP.to_owned()
            } else {
                format!("location {name:?} not found")
            };
            states.push(BreakpointState {
                id,
                verified: false,
                message: Some(message),
                file: None,
                line: None,
            });
        }
        states
    }

    /// Takes out all probes and hands over what they have recorded.
    pub(super) fn finish(&mut self) {
        close_links(
            self.in_files
                .iter_mut()
                .filter_map(|breakpoint| breakpoint.link.take())
                .collect(),
        );
        if let Some(reader) = self.reader.take() {
            reader.finish();
        }
        let Some(engine) = self.engine.take() else { return };
        let counters = engine.counters();
        if counters.ring_full > self.lost {
            self.lost = counters.ring_full;
            let text = format!(
                "{} of {} log messages were lost because the ring was full",
                counters.ring_full, counters.hits
            );
            let _ = self.events.send(Event::Notice(text));
        }
        self.refused.get_or_insert_with(|| "the session has ended".to_owned());
    }
}

/// Takes links out: each takes some 40 ms, whatever its size, so they go in parallel.
fn close_links(links: Vec<Link>) {
    thread::scope(|scope| {
        for link in links {
            scope.spawn(move || drop(link));
        }
    });
}
