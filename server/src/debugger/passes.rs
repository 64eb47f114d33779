//! Tracepoints that kernel probes carry: what they collect, and their passings, which nobody stops for.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};

use spelunk_bpf::{Flags, HitCounts, RecordView};
use spelunk_dwarf::{Binary, FileAddr, Function, FunctionInfo, PieceKind, ProcAddr, ScopedVariable, Variable};

use super::breakpoints::{GoroutineHits, Logical, count_of_goroutine};
use super::hit_condition::HitCondition;
use super::recording::CallEnd;
use super::request::{BreakpointView, Tally};
use crate::expr::{Expr, Part, PlainName, Template, parse};
use crate::inspect::Tid;
use crate::trace::{LogSite, Unfit};
use crate::value::{LoadConfig, Origin, Traits, Value};

/// How many passings may wait to be told.
const MOST_WAITING: usize = 4096;
/// How many bytes of the kernel's records may.
const MOST_WAITING_BYTES: usize = 8 << 20;

/// How much waits to be told, of all tracepoints of a session together.
#[derive(Clone, Debug, Default)]
pub(super) struct Backlog(Arc<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    passes: AtomicUsize,
    bytes: AtomicUsize,
}

/// A place in a backlog, given up when it is dropped.
#[derive(Debug)]
struct Slot {
    backlog: Backlog,
    bytes: usize,
}

impl Backlog {
    /// A place for a passing whose record has so many bytes, if there is one.
    fn enter(&self, bytes: usize) -> Option<Slot> {
        let slot = Slot {
            backlog: self.clone(),
            bytes,
        };
        let passes = self.0.passes.fetch_add(1, Ordering::Relaxed);
        let waiting = self.0.bytes.fetch_add(bytes, Ordering::Relaxed);
        // Dropped where it is one too many.
        (passes < MOST_WAITING && waiting <= MOST_WAITING_BYTES).then_some(slot)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.backlog.0.passes.fetch_sub(1, Ordering::Relaxed);
        self.backlog.0.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A tracepoint was passed, and the program runs on.
#[derive(Debug)]
pub(crate) struct Pass {
    /// The tracepoint as it was set; without its hits.
    pub(crate) tracepoint: Arc<BreakpointView>,
    /// Whose hit it was for the tracepoint, and for its goroutine, counted from 1.
    pub(crate) number: (u64, u64),
    /// The thread.
    pub(crate) thread: Tid,
    /// The goroutine; 0 on a thread that has none.
    pub(crate) goroutine: i64,
    /// The address.
    pub(crate) pc: ProcAddr,
    /// The parameters and results, if they were to be loaded.
    pub(crate) arguments: Vec<Value>,
    /// The tracepoint's expressions, with their values or why they have none.
    pub(crate) variables: Vec<(String, Result<Value, String>)>,
    /// Of a function whose calls are recorded: what was, for [`Pass::parameters`].
    pub(crate) recorded: Option<Recorded>,
    /// Counts the hits of each goroutine.
    by_goroutine: GoroutineHits,
    _slot: Slot,
}

/// A call or a return as it was recorded.
pub(crate) struct Recorded {
    /// Which.
    pub(crate) end: CallEnd,
    owner: Arc<PassOwner>,
    record: Box<[u8]>,
}

impl std::fmt::Debug for Recorded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Recorded({:?}, {} bytes)", self.end, self.record.len())
    }
}

impl Pass {
    /// The hits of the tracepoint with this one. Those of other goroutines may have gone on.
    pub(crate) fn tally(&self) -> Tally {
        let by_goroutine = self.by_goroutine.lock().unwrap_or_else(PoisonError::into_inner);
        let mut tally = Tally {
            total: self.number.0,
            by_goroutine: by_goroutine.clone(),
        };
        tally.by_goroutine.insert(self.goroutine, self.number.1);
        tally
    }

    /// What a recorded call was passed, or what it returned, loaded as far as `config` says and the record goes.
    pub(crate) fn parameters(&self, binary: &Binary, config: LoadConfig) -> Vec<Value> {
        let Some(recorded) = &self.recorded else {
            return Vec::new();
        };
        let Ok(record) = RecordView::new(&recorded.record) else {
            return Vec::new();
        };
        let collection = &recorded.owner.collection;
        let configs = vec![config; collection.arguments.len()];
        let values = recorded.owner.site.values(binary, &record, &configs).into_iter();
        let is_wanted = |value: &Value| {
            let wanted = match recorded.end {
                CallEnd::Call => Traits::ARGUMENT,
                CallEnd::Return => Traits::RESULT,
            };
            value.traits.has(wanted)
        };
        let all = collection.arguments.iter().zip(values);
        all.map(|(argument, value)| argument.value(value))
            .filter(is_wanted)
            .collect()
    }
}

/// A variable of the function that is collected.
struct Described {
    name: String,
    /// Stands for it where it cannot be read.
    unread: Value,
    traits: Traits,
    origin: Origin,
}

impl Described {
    /// What DWARF says of a variable at an address.
    fn of(
        binary: &Binary,
        info: &FunctionInfo,
        scoped: &ScopedVariable<'_>,
        (addr, in_process): (FileAddr, ProcAddr),
    ) -> Result<Described, Unfit> {
        let variable = scoped.variable;
        let name = variable.display_name();
        if let Some(register) = hidden_register(binary, info, variable, addr) {
            return Err(Unfit::Unusable(format!(
                "{name} is in register {register}, which a probe cannot read"
            )));
        }
        let mut location = binary.location_text(variable, addr, in_process.0);
        if variable.escaped() && !location.is_empty() {
            location.push_str(" (escaped)");
        }
        let mut unread = Value::not_loaded(binary.type_info(variable.ty)?, ProcAddr(0));
        name.clone_into(&mut unread.name);
        Ok(Described {
            name: name.to_owned(),
            unread,
            traits: Traits::default()
                .with_if(variable.escaped(), Traits::ESCAPED)
                .with_if(scoped.shadowed, Traits::SHADOWED)
                .with_if(variable.is_param && !variable.is_result, Traits::ARGUMENT)
                .with_if(variable.is_result, Traits::RESULT)
                .with_if(
                    !(variable.escaped() || is_in_memory(binary, info, variable, addr)),
                    Traits::MADE_UP,
                ),
            origin: Origin {
                location: location.into(),
                decl_line: variable.decl_line,
            },
        })
    }

    /// Its value as clients see it.
    fn value(&self, read: Result<Value, String>) -> Value {
        let mut value = read.unwrap_or_else(|why| Value {
            unreadable: Some(why),
            ..self.unread.clone()
        });
        value.traits = value.traits.with(self.traits);
        value.origin = Some(self.origin.clone());
        value
    }
}

/// What a tracepoint collects at one address: expressions, those for arguments first.
pub(super) struct Collection {
    arguments: Vec<Described>,
    variables: Vec<(String, Option<Described>)>,
    configs: Vec<LoadConfig>,
    /// The same as the values of a log message.
    pub(super) template: Template,
}

impl Collection {
    /// What a breakpoint collects at an address of a function, in the file and in the process.
    pub(super) fn of(
        binary: &Binary,
        function: &Function,
        at: (FileAddr, ProcAddr),
        line: u32,
        logical: &Logical,
    ) -> Result<Collection, Unfit> {
        let terms = &logical.extra;
        let mut collection = Collection {
            arguments: Vec::new(),
            variables: Vec::new(),
            configs: Vec::new(),
            template: Template { parts: Vec::new() },
        };
        let info = binary.function_info(function)?;
        let in_scope = binary.variables_in_scope(&info, at.0, line);
        if let Some(asked) = &terms.load_args {
            let parameters = in_scope
                .iter()
                .filter(|scoped| scoped.variable.is_param || scoped.variable.is_result);
            for scoped in parameters {
                let described = Described::of(binary, &info, scoped, at)?;
                if collection.arguments.iter().any(|other| other.name == described.name) {
                    return Err(Unfit::Unusable(format!("two parameters are called {}", described.name)));
                }
                collection.configs.push(asked.config());
                let value = Part::Value(Ok(Expr::Name(described.name.clone())));
                collection.template.parts.push(value);
                collection.arguments.push(described);
            }
        }
        for expression in &terms.variables {
            let parsed = parse(expression);
            // Inner variables come last and hide the outer ones.
            let plain = match parsed.as_ref().map(Expr::plain_name) {
                Ok(Some(PlainName::Own(name))) => {
                    let mut inner_first = in_scope.iter().rev();
                    inner_first.find(|scoped| scoped.variable.display_name() == name)
                }
                _ => None,
            };
            let described = plain
                .map(|scoped| Described::of(binary, &info, scoped, at))
                .transpose()?;
            collection.variables.push((expression.clone(), described));
            collection.configs.push(LoadConfig::FULL);
            collection.template.parts.push(Part::Value(parsed));
        }
        Ok(collection)
    }
}

/// Whether a variable lies in memory, in one piece.
fn is_in_memory(binary: &Binary, info: &FunctionInfo, variable: &Variable, addr: FileAddr) -> bool {
    binary.location(info, variable, addr).is_ok_and(|location| {
        let pieces = location.pieces.as_slice();
        matches!(pieces, [piece] if matches!(piece.kind, PieceKind::CfaOffset(_) | PieceKind::Addr(_)))
    })
}

/// A register that a variable is in and that the kernel does not show to probes.
fn hidden_register(binary: &Binary, info: &FunctionInfo, variable: &Variable, addr: FileAddr) -> Option<&'static str> {
    let location = binary.location(info, variable, addr).ok()?;
    location.pieces.iter().find_map(|piece| match piece.kind {
        PieceKind::Register(register) if register.is_xmm() => register.name(),
        _ => None,
    })
}

/// What the reader of records needs of a tracepoint's site.
pub(super) struct PassOwner {
    /// The probe.
    pub(super) site: LogSite,
    /// What is collected.
    pub(super) collection: Collection,
    /// The tracepoint.
    pub(super) tracepoint: Arc<BreakpointView>,
    /// Where it is, whatever instruction the probe is on.
    pub(super) addr: FileAddr,
    /// Counts the hits of each goroutine that the kernel does not count.
    pub(super) by_goroutine: GoroutineHits,
    /// The same as far as it was known to this one: `by_goroutine` takes in what the kernel has counted when the program ends, before the last hits are told.
    pub(super) beside_kernel: GoroutineHits,
    /// What was told last of the hits of each goroutine, where the kernel counts them.
    pub(super) last_told: GoroutineHits,
    /// Counts those that were told, where all are.
    pub(super) told: Arc<AtomicUsize>,
    /// Of which hits there is something to tell, and whether that is asked of each goroutine for itself.
    pub(super) hit_condition: Option<(HitCondition, bool)>,
    /// Which end of calls is recorded for later.
    pub(super) recorded: Option<CallEnd>,
}

impl PassOwner {
    /// What a record tells. Nothing, where the condition was left open by the kernel and turns out to be false. The error is how many are left out here: too many
    /// wait.
    pub(super) fn pass(
        self: &Arc<Self>,
        binary: &Binary,
        hits: (&HitCounts, spelunk_bpf::CounterId),
        record: &RecordView<'_>,
        backlog: &Backlog,
    ) -> Result<Option<Pass>, u64> {
        // What cannot be decided at all is told, as a stop would be.
        let left_open = record.flags().has(Flags::CONDITION_UNKNOWN);
        if left_open && self.site.holds(binary, record, None) == Ok(false) {
            return Ok(None);
        }
        let goroutine = record.goroutine();
        let Some((number, by_goroutine)) = self.count(hits, record, left_open) else {
            return Ok(None);
        };
        let slot = backlog.enter(record.bytes().len()).ok_or(1u64)?;
        let recorded = self.recorded.map(|end| Recorded {
            end,
            owner: Arc::clone(self),
            record: record.bytes().into(),
        });
        // What is recorded is loaded when it is fetched.
        let values = match recorded {
            Some(_) => Vec::new(),
            None => self.site.values(binary, record, &self.collection.configs),
        };
        let mut values = values.into_iter();
        let argument = |(argument, value): (&Described, Result<Value, String>)| argument.value(value);
        let arguments = self
            .collection
            .arguments
            .iter()
            .zip(values.by_ref())
            .map(argument)
            .collect();
        let variable = |((name, described), value): (&(String, Option<Described>), Result<Value, String>)| {
            let value = match described {
                Some(described) => value.map(|value| described.value(Ok(value))),
                None => value,
            };
            (name.clone(), value)
        };
        let variables = self.collection.variables.iter().zip(values).map(variable).collect();
        Ok(Some(Pass {
            tracepoint: Arc::clone(&self.tracepoint),
            by_goroutine: Arc::clone(by_goroutine),
            number,
            thread: Tid(record.thread().cast_signed()),
            goroutine,
            pc: self.site.in_process(self.addr, record),
            arguments,
            variables,
            recorded,
            _slot: slot,
        }))
    }

    /// The number of a hit and that among its goroutine's, and where those of the others are; nothing where the hit condition leaves it out.
    fn count(
        &self,
        (counts, counter): (&HitCounts, spelunk_bpf::CounterId),
        record: &RecordView<'_>,
        left_open: bool,
    ) -> Option<((u64, u64), &GoroutineHits)> {
        let goroutine = record.goroutine();
        let Some((in_kernel, of_goroutine)) = self.site.numbers(record) else {
            if left_open {
                counts.count_hit(counter);
            }
            let number = self.told.fetch_add(1, Ordering::Relaxed).saturating_add(1);
            let of_goroutine = count_of_goroutine(&self.by_goroutine, goroutine);
            return Some((
                (u64::try_from(number).unwrap_or(u64::MAX), of_goroutine),
                &self.by_goroutine,
            ));
        };
        let here = if of_goroutine == 0 {
            count_of_goroutine(&self.by_goroutine, goroutine);
            count_of_goroutine(&self.beside_kernel, goroutine)
        } else {
            let here = self.beside_kernel.lock().unwrap_or_else(PoisonError::into_inner);
            here.get(&goroutine).copied().unwrap_or_default()
        };
        let mut number = (in_kernel, here + of_goroutine);
        if left_open {
            let before = counts.of_goroutine(counter, record.process(), goroutine.cast_unsigned());
            number = (counts.count_hit(counter), here + before.unwrap_or_default());
            let holds = |(condition, is_apart): (HitCondition, bool)| {
                condition.holds(if is_apart { number.1 } else { number.0 })
            };
            if !self.hit_condition.is_none_or(holds) {
                return None;
            }
        }
        let mut told = self.last_told.lock().unwrap_or_else(PoisonError::into_inner);
        told.insert(goroutine, number.1);
        Some((number, &self.last_told))
    }
}
