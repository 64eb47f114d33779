//! The variables and expressions of one frame.

use std::ops::Range;
use std::sync::Arc;

use spelunk_dwarf::{Binary, Kind, LoadBias, ProcAddr, Type, TypeId, Variable, dictionary_of};

use super::calls::CallBook;
use super::frame_memory::{FrameMemory, Place};
use super::package_variables::origin_of_global;
use super::{Frame, ScopedValue, Stack, Tid};
use crate::expr::{
    BreakpointName, Call, Const, EvalError, Evaluator, Expr, Operand, PlainName, Scope, Unary, What, find_global, parse,
};
use crate::trace::package_of;
use crate::value::{Content, LoadConfig, Loader, Memory, Origin, Traits, Value, is_made_up};

/// The most bytes of a variable in registers that are kept for another frame.
const MAX_KEPT: usize = 4096;

/// What the debugger knows that expressions can name, asked only where one does.
#[derive(Clone, Copy)]
pub(crate) struct Around<'a> {
    /// How often a breakpoint was hit; `None` if there is no such breakpoint.
    pub(crate) hits: &'a dyn Fn(BreakpointName<'_>) -> Option<u64>,
    /// The frames of the goroutine, the innermost first.
    pub(crate) frames: &'a dyn Fn() -> Option<Arc<Stack>>,
}

/// The goroutine that a frame belongs to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GoroutineContext {
    /// Where its `runtime.g` is.
    pub(crate) addr: ProcAddr,
    /// The upper end of its stack.
    pub(crate) stack_hi: ProcAddr,
    /// The thread that runs it.
    pub(crate) thread: Option<Tid>,
}

/// The variables and expressions of one frame. Variables in registers, or in pieces, are at made-up addresses (see [`crate::value::is_made_up`]), which mean
/// the same variable whenever a scope of this frame is made.
pub(crate) struct FrameScope<'a> {
    /// Whose types describe the memory.
    pub(super) binary: &'a Arc<Binary>,
    pub(super) bias: LoadBias,
    pub(super) memory: FrameMemory<'a>,
    frame: &'a Frame,
    goroutine: Option<GoroutineContext>,
    around: Option<Around<'a>>,
    /// Where calls are allowed: those that were made, and what they returned.
    pub(super) calls: Option<&'a CallBook>,
}

impl<'a> FrameScope<'a> {
    /// The scope of `frame`, one of a process that `binary` describes. Cheap: nothing is read before it is asked for.
    pub(crate) fn new(
        binary: &'a Arc<Binary>,
        bias: LoadBias,
        memory: &'a dyn Memory,
        frame: &'a Frame,
    ) -> FrameScope<'a> {
        FrameScope {
            binary,
            bias,
            memory: FrameMemory::new(binary, bias, memory, frame),
            frame,
            goroutine: None,
            around: None,
            calls: None,
        }
    }

    /// The same where functions of the program may be called.
    pub(crate) fn with_calls(mut self, calls: &'a CallBook) -> FrameScope<'a> {
        self.memory.results = Some(calls);
        self.calls = Some(calls);
        self
    }

    /// The same with what `runtime.curg`, `runtime.frameoff` and `runtime.threadid` mean.
    pub(crate) fn with_goroutine(self, goroutine: Option<GoroutineContext>) -> FrameScope<'a> {
        FrameScope { goroutine, ..self }
    }

    /// The same with what expressions can name beyond the frame.
    pub(crate) fn with_around(self, around: Around<'a>) -> FrameScope<'a> {
        let around = Some(around);
        FrameScope { around, ..self }
    }

    /// Parameters and results, then locals, each sorted by the depth of their block and their line.
    pub(crate) fn locals(&self, config: LoadConfig) -> Vec<ScopedValue> {
        let loader = self.loader(config);
        let mut found: Vec<ScopedValue> = Vec::with_capacity(self.memory.variables.len());
        for (number, scoped) in self.memory.variables.iter().enumerate() {
            let variable = scoped.variable;
            let name = variable.display_name();
            let mut value = match self.operand(number, variable) {
                Ok(operand) => self.evaluator(&loader).load(&operand, name),
                Err(error) => unreadable(name, variable.ty, &error.to_string()),
            };
            self.describe(&mut value, number);
            let is_passed = self.is_passed(number, variable);
            found.push(ScopedValue {
                value,
                is_parameter: is_passed && !variable.is_result,
                is_result: is_passed && variable.is_result,
                shadowed: scoped.shadowed,
                decl_line: variable.decl_line,
            });
        }
        found.sort_by_key(|scoped| !(scoped.is_parameter || scoped.is_result));
        found
    }

    /// Evaluates a Go expression; the value's name is the expression.
    pub(crate) fn evaluate(&self, expr: &str, config: LoadConfig) -> Result<Value, EvalError> {
        let parsed = parse(expr)?;
        let loader = self.loader(config);
        let evaluator = self.evaluator(&loader);
        let operand = evaluator.evaluate(&parsed)?;
        let mut value = evaluator.load(&operand, expr);
        match parsed.plain_name() {
            Some(PlainName::Own(name)) => {
                if let Some(number) = self.number_of(name) {
                    name.clone_into(&mut value.name);
                    self.describe(&mut value, number);
                } else {
                    if let Some(package) = self.own_package() {
                        self.describe_global(&mut value, package, name);
                    }
                    // Registers come after all other names.
                    if value.origin.is_none() && value.addr.0 == 0 && self.register(name).is_some() {
                        name.trim_start_matches('_').clone_into(&mut value.name);
                        value.traits = Traits::REGISTER;
                    }
                }
            }
            Some(PlainName::Qualified(package, name)) => {
                match self.describe_global(&mut value, package, name) {
                    Some(full) => value.name = full,
                    // What stands before the point may be a variable.
                    None => self.describe_derived(&mut value, &parsed),
                }
            }
            None => self.describe_derived(&mut value, &parsed),
        }
        mark_made_up(&mut value, &parsed);
        Ok(value)
    }

    /// Adds to the value of an expression what it takes over from the variable that it is about: a pointer to it knows it, a conversion to its own type is
    /// the variable itself, and a part of it is where it is.
    fn describe_derived(&self, value: &mut Value, parsed: &Expr) {
        let number_of = |expr: &Expr| match expr.plain_name()? {
            PlainName::Own(name) => Some((self.number_of(name)?, name.to_owned())),
            PlainName::Qualified(..) => None,
        };
        match parsed.bare() {
            Expr::Unary(Unary::Address, inner) => {
                if let (Some((number, name)), Content::Pointer(pointee)) = (number_of(inner), &mut value.content) {
                    self.describe(pointee, number);
                    pointee.name = name;
                }
            }
            Expr::Call(_, arguments) => {
                if let [argument] = arguments.as_slice()
                    && let Some((number, name)) = number_of(argument)
                    && matches!(self.memory.place(number), Place::Memory(addr) | Place::Parts(addr, _) if addr == value.addr)
                    && value.addr.0 != 0
                {
                    self.describe(value, number);
                    value.name = name;
                }
            }
            // The receiver of a method may be the variable, or point to it.
            Expr::Field(base, _) => {
                if let Some((number, name)) = number_of(base)
                    && let Content::Func { captured, .. } = &mut value.content
                    && let [receiver] = captured.as_mut_slice()
                {
                    let named = match &mut receiver.content {
                        Content::Pointer(target) if receiver.name.is_empty() => &mut **target,
                        _ => receiver,
                    };
                    let variable = self.memory.variables.get(number).map(|scoped| scoped.variable);
                    let operand = variable.and_then(|variable| self.operand(number, variable).ok());
                    // What is embedded in it may lie where it does.
                    if named.name == name && operand.and_then(|x| x.ty).is_some_and(|ty| ty.id == named.ty.id) {
                        self.describe(named, number);
                    }
                }
            }
            Expr::Slice(base, ..) => {
                if let Some((number, _)) = number_of(base) {
                    let mut whole = Value::not_loaded(Arc::clone(&value.ty), ProcAddr(0));
                    if let Place::Parts(addr, _) = self.memory.place(number) {
                        whole.addr = addr;
                    }
                    self.describe(&mut whole, number);
                    value.traits = value.traits.with(whole.traits);
                }
            }
            _ => {}
        }
    }

    /// Adds to a value what the function's description says of the variable of that number.
    fn describe(&self, value: &mut Value, number: usize) {
        let Some(scoped) = self.memory.variables.get(number) else {
            return;
        };
        let (variable, owner) = (scoped.variable, self.memory.owner(number));
        let is_passed = self.is_passed(number, variable);
        let behind = self.bias.to_file(owner.pc);
        let mut location = self.binary.location_text(variable, behind, owner.pc.0);
        if location.is_empty() && value.unreadable.is_none() {
            // The call is the last instruction for which the place is known.
            location = self.binary.location_text(variable, owner.lookup_pc, owner.pc.0);
        }
        if variable.escaped() && !location.is_empty() {
            location.push_str(" (escaped)");
        }
        value.traits = value
            .traits
            .with_if(variable.escaped(), Traits::ESCAPED)
            .with_if(scoped.shadowed, Traits::SHADOWED)
            .with_if(is_passed && !variable.is_result, Traits::ARGUMENT)
            .with_if(is_passed && variable.is_result, Traits::RESULT)
            .with_if(is_made_up(value.addr), Traits::MADE_UP);
        value.origin = Some(Origin {
            location: location.into(),
            decl_line: variable.decl_line,
        });
    }

    /// Whether a variable is a parameter or result to who reads the source. What a closure that is called on the spot captured is passed to it, too, as a pointer.
    fn is_passed(&self, number: usize, variable: &Variable) -> bool {
        (variable.is_param || variable.is_result) && !variable.escaped() && !self.memory.is_in_body(number)
    }

    /// Adds to the value of a package's variable what its description says.
    fn describe_global(&self, value: &mut Value, package: &str, name: &str) -> Option<String> {
        let at = self.bias.to_file(value.addr);
        let ends = |full: &str| {
            let rest = full.strip_suffix(name).and_then(|rest| rest.strip_suffix('.'));
            rest.is_some_and(|path| path == package || path.ends_with(&format!("/{package}")))
        };
        let mut globals = self.binary.globals().iter();
        let global = globals.find(|global| global.addr == at && ends(&global.name))?;
        value.origin = Some(origin_of_global(self.binary, global));
        Some(global.name.to_string())
    }

    /// The number of the innermost variable of a name.
    fn number_of(&self, name: &str) -> Option<usize> {
        let mut variables = self.memory.variables.iter().enumerate().rev();
        let found = variables.find(|(_, scoped)| scoped.variable.display_name() == name);
        found.map(|(number, _)| number)
    }

    /// The package of the frame's function.
    fn own_package(&self) -> Option<&str> {
        let function = self.frame.location.function.as_deref();
        let function = function.or(self.frame.info.as_deref().map(|info| &*info.name));
        function.map(package_of)
    }

    /// Whether a condition holds here.
    pub(crate) fn truth(&self, condition: &Expr) -> Result<bool, EvalError> {
        let loader = self.loader(LoadConfig::FULL);
        self.evaluator(&loader).truth(condition)
    }

    /// Loads a value again, further: as a whole, or of an array, slice or map the elements or entries that `range` names; its length stays that of the whole.
    /// The value must come from a scope of this frame.
    pub(crate) fn reload(
        &self,
        value: &Value,
        range: Option<Range<u64>>,
        config: LoadConfig,
    ) -> Result<Value, EvalError> {
        let loader = self.loader(config);
        let whole = range.is_none();
        let range = range.unwrap_or(0..u64::from(config.max_array_values));
        let (start, count) = (range.start, range.end.saturating_sub(range.start));
        if value.addr.0 != 0 {
            let ty = Arc::clone(&value.ty);
            return Ok(if whole {
                loader.load_typed(&value.name, ty, value.addr)
            } else {
                loader.load_range(&value.name, ty, value.addr, start, count)
            });
        }
        let mut again = value.clone();
        match (&value.ty.kind, &value.content) {
            (Kind::Pointer { .. }, Content::Pointer(pointee)) if pointee.addr.0 != 0 => {
                let ty = Arc::clone(&pointee.ty);
                let pointee = loader.load_typed(&pointee.name, ty, pointee.addr);
                again.content = Content::Pointer(Box::new(pointee));
            }
            // A part of a slice stands in no memory, but its elements do.
            (Kind::Slice { elem }, Content::Slice { base, len, cap, .. }) if *base != 0 => {
                let stride = self.binary.type_info(*elem)?.size;
                let first = base.wrapping_add(start.wrapping_mul(stride));
                let left = len.saturating_sub_unsigned(start).max(0);
                let limited = self.loader(LoadConfig {
                    max_array_values: u32::try_from(count).unwrap_or(u32::MAX),
                    ..config
                });
                let part = limited.load_slice(&value.name, Arc::clone(&value.ty), first, left, *cap);
                again.unreadable = part.unreadable;
                if let Content::Slice { elements, .. } = part.content {
                    again.content = Content::Slice {
                        base: *base,
                        len: *len,
                        cap: *cap,
                        elements,
                    };
                }
            }
            _ => {}
        }
        Ok(again)
    }

    pub(super) fn loader(&self, config: LoadConfig) -> Loader<'_> {
        Loader {
            binary: self.binary,
            bias: self.bias,
            memory: &self.memory,
            config,
        }
    }

    pub(super) fn evaluator<'s>(&'s self, loader: &Loader<'s>) -> Evaluator<'s> {
        Evaluator {
            loader: *loader,
            scope: self,
        }
    }

    /// A variable where it is. One that escaped is where the pointer says that stands for it.
    fn operand(&self, number: usize, variable: &Variable) -> Result<Operand, EvalError> {
        let owner = self.memory.owner(number);
        let ty = self.binary.type_info(self.actual_type(owner, variable.ty))?;
        let addr = match self.memory.place(number) {
            Place::Memory(addr) | Place::Parts(addr, _) => addr,
            Place::Nowhere(why) => {
                let ty = match ty.kind {
                    Kind::Pointer { elem } if variable.escaped() => self.binary.type_info(elem)?,
                    _ => ty,
                };
                return Ok(Operand::unreadable(Some(ty), why));
            }
        };
        let Kind::Pointer { elem } = ty.kind else {
            return Ok(Operand::place(ty, addr));
        };
        if !variable.escaped() {
            return Ok(Operand::place(ty, addr));
        }
        let elem = self.binary.type_info(self.actual_type(owner, elem))?;
        Ok(match self.memory.read_uint(addr, 8) {
            Ok(0) => Operand::unreadable(Some(elem), "no address for escaped variable"),
            Ok(target) => Operand::place(elem, ProcAddr(target)),
            Err(why) => Operand::unreadable(Some(elem), why.to_string()),
        })
    }

    /// The type a variable really has: that of a generic function's variable is a shape that many types share, with an index into the dictionary.
    fn actual_type(&self, frame: &Frame, declared: TypeId) -> TypeId {
        let index = self.binary.type_info(declared).ok().and_then(|info| info.dict_index);
        index
            .and_then(|index| self.type_argument(frame, index))
            .unwrap_or(declared)
    }

    fn type_argument(&self, frame: &Frame, index: u64) -> Option<TypeId> {
        let word = self.dictionary(frame)?.0.checked_add(index.checked_mul(8)?)?;
        let runtime_type = self.memory.read_uint(ProcAddr(word), 8).ok()?;
        self.binary.type_by_runtime(self.bias.to_file(ProcAddr(runtime_type)))
    }

    /// Where the dictionary of the generic function is.
    fn dictionary(&self, frame: &Frame) -> Option<ProcAddr> {
        let info = frame.info.as_deref()?;
        let pc = frame.lookup_pc;
        let (params, scope) = match frame.inline_depth.checked_sub(1) {
            None => (&info.params, &info.scope),
            Some(call) => {
                let scope = *info.scope.inlined_at(pc).get(call)?;
                (&scope.params, scope)
            }
        };
        match self.memory.place_of(frame, dictionary_of(params, scope)?) {
            Place::Memory(addr) => Some(ProcAddr(self.memory.read_uint(addr, 8).ok()?)),
            Place::Parts(_, parts) => match &parts.first()?.source {
                super::frame_memory::Source::Register(_, bytes) => {
                    Some(ProcAddr(u64::from_le_bytes(bytes.as_slice().try_into().ok()?)))
                }
                super::frame_memory::Source::Memory(at) => Some(ProcAddr(self.memory.read_uint(*at, 8).ok()?)),
                _ => None,
            },
            Place::Nowhere(_) => None,
        }
    }
}

/// Tells of a composite literal, or of what a pointer to one points to, that it is in no memory of the program.
fn mark_made_up(value: &mut Value, parsed: &Expr) {
    match parsed.bare() {
        Expr::Composite(..) => value.traits = value.traits.with_if(is_made_up(value.addr), Traits::MADE_UP),
        Expr::Unary(Unary::Address, inside) => {
            if let Content::Pointer(pointee) = &mut value.content {
                mark_made_up(pointee, inside);
            }
        }
        Expr::Field(base, _) => {
            if let Content::Func { captured, .. } = &mut value.content
                && let [receiver] = captured.as_mut_slice()
            {
                mark_made_up(receiver, base);
            }
        }
        Expr::Dereference(inside) => {
            if let Expr::Unary(Unary::Address, inside) = inside.bare() {
                mark_made_up(value, inside);
            }
        }
        _ => {}
    }
}

impl Scope for FrameScope<'_> {
    fn held(&self, target: &Operand, value: &Operand, source: &Expr) -> Result<Vec<u8>, EvalError> {
        if let Some(bytes) = self.allocated(source, value, target)? {
            return Ok(bytes);
        }
        if let (None, What::Const(Const::Text(text))) = (&value.ty, &value.what)
            && !text.is_empty()
        {
            return Err(super::assign::no_room_for_string());
        }
        self.bytes_of(target, value, &source.to_string())
    }

    fn pointer_to(&self, source: &Expr, literal: &Operand) -> Result<Operand, EvalError> {
        self.pointer_to_literal(source, literal)
    }

    fn keep(&self, bytes: Vec<u8>) -> Option<ProcAddr> {
        self.memory.keep(bytes)
    }

    fn hits_of(&self, breakpoint: BreakpointName<'_>) -> Result<Option<u64>, EvalError> {
        match &self.around {
            Some(around) => Ok((around.hits)(breakpoint)),
            None => Err(EvalError::NeedsStop("delve.bphitcount".to_owned())),
        }
    }

    fn frame_variable(&self, frame: usize, name: &str) -> Result<Option<Operand>, EvalError> {
        let stack = self.around.and_then(|around| (around.frames)());
        let stack = stack.ok_or_else(|| EvalError::NeedsStop("runtime.frame".to_owned()))?;
        let Some(frame) = stack.frames.get(frame) else {
            return Ok(None);
        };
        let scope = FrameScope::new(self.binary, self.bias, self.memory.process(), frame);
        let found = scope.variable(name)?;
        let (Some(ty), Some(addr)) = (
            found.as_ref().and_then(|found| found.ty.clone()),
            found.as_ref().and_then(|found| match found.what {
                What::Place(addr) if is_made_up(addr) => Some(addr),
                _ => None,
            }),
        ) else {
            return Ok(found);
        };
        // The address means something to that frame alone, so what is there is kept here.
        let mut bytes = vec![0; usize::try_from(ty.size).unwrap_or(usize::MAX).min(MAX_KEPT)];
        let kept = match scope.memory.read(addr, &mut bytes) {
            Ok(()) if bytes.len() as u64 == ty.size => self.memory.keep(bytes),
            Ok(()) => None,
            Err(why) => return Ok(Some(Operand::unreadable(Some(ty), why.to_string()))),
        };
        Ok(Some(match kept {
            Some(addr) => Operand::place(ty, addr),
            None => Operand::unreadable(Some(ty), "it is in registers of its frame; select the frame to see it"),
        }))
    }

    fn variable(&self, name: &str) -> Result<Option<Operand>, EvalError> {
        // Inner variables come last and shadow the outer ones.
        let number = self.number_of(name);
        let scoped = number.and_then(|number| Some((number, self.memory.variables.get(number)?)));
        match scoped {
            Some((number, scoped)) => self.operand(number, scoped.variable).map(Some),
            None => Ok(None),
        }
    }

    fn global(&self, package: Option<&str>, name: &str) -> Result<Option<Operand>, EvalError> {
        match package.or(self.own_package()) {
            Some(package) => find_global(self.binary, self.bias, package, name),
            None => Ok(None),
        }
    }

    fn goroutine(&self) -> Option<ProcAddr> {
        self.goroutine.map(|goroutine| goroutine.addr)
    }

    fn frame_offset(&self) -> Option<i64> {
        let stack_hi = self.goroutine.map_or(0, |goroutine| goroutine.stack_hi.0);
        Some(self.frame.cfa.0.wrapping_sub(stack_hi).cast_signed())
    }

    fn range_parent_offset(&self) -> Option<i64> {
        let outermost = self.frame.enclosing.as_deref().and_then(<[Frame]>::last);
        let stack_hi = self.goroutine.map_or(0, |goroutine| goroutine.stack_hi.0);
        Some(outermost.map_or(0, |frame| frame.cfa.0.wrapping_sub(stack_hi).cast_signed()))
    }

    fn thread(&self) -> Option<i64> {
        let thread = self.goroutine.and_then(|goroutine| goroutine.thread);
        Some(thread.map_or(0, |thread| i64::from(thread.0)))
    }

    fn register(&self, name: &str) -> Option<Const> {
        self.frame.registers.by_name(name)
    }

    fn may_call(&self) -> bool {
        self.calls.is_some()
    }

    fn result_of(&self, call: &Call<'_>) -> Result<Operand, EvalError> {
        match self.calls {
            Some(book) => self.kept_result(book, call),
            None => Err(EvalError::Call),
        }
    }
}

fn unreadable(name: &str, ty: TypeId, why: &str) -> Value {
    let ty = Type {
        id: ty,
        name: "?".into(),
        size: 0,
        kind: Kind::Void,
        runtime_type: None,
        dict_index: None,
    };
    let mut value = Value::not_loaded(Arc::new(ty), ProcAddr(0));
    name.clone_into(&mut value.name);
    value.unreadable = Some(why.to_owned());
    value
}
