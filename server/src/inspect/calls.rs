//! Calls that an expression needs: made ready to be injected, and what they have returned.
//!
//! An expression with calls is evaluated again and again. Each time it comes to the first call that was not made yet, which [`CallBook`] hands out as a
//! [`CallRequest`]; what that returns is kept under its key, and stands for it from then on.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use spelunk_dwarf::{DwarfReg, FunctionInfo, PieceKind, ProcAddr, TypeId};

use super::FrameScope;
use super::allocation::string_of;
use super::assign::{Assignment, Write};
use super::escape::Escape;
use crate::expr::{Call, EvalError, Expr, Operand, ParseError, parse, sides_of_assignment};
use crate::trace::{PassedAt, Signature, placed};
use crate::value::{LoadConfig, Memory, Origin, ReadError, Traits, Value, made_up_address};

/// What the runtime sets aside for arguments beyond those that the convention puts on the stack: one word for each register of arguments, as their spill
/// space may be aligned (Go's src/cmd/compile/abi-internal.md).
pub(super) const REGISTER_ROOM: u64 = 8 * (9 + 15);

/// Tells the calls that one expression needs apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CallKey {
    /// The expression of the function, or of the text or literal that room is made for, by its address.
    site: usize,
    /// For a call that makes room for an argument of that number; the receiver does not count. A text that stands for itself has the number 0.
    room_for: Option<usize>,
}

impl CallKey {
    pub(super) fn of(expr: &Expr) -> CallKey {
        CallKey {
            site: std::ptr::from_ref(expr).addr(),
            room_for: None,
        }
    }

    /// For the call that makes room for an argument of that number.
    pub(super) fn with_room_for(self, number: usize) -> CallKey {
        CallKey {
            room_for: Some(number),
            ..self
        }
    }
}

/// Where a result is when its function has returned.
#[derive(Clone, Debug)]
pub(crate) struct ResultPlace {
    /// Its name, in the compiler's words for those that have none.
    pub(crate) name: String,
    /// Its type.
    pub(crate) ty: TypeId,
    /// In bytes.
    pub(crate) size: u64,
    /// Registers, or the offset from the canonical frame address; `None` where nobody knows.
    pub(crate) place: Option<PassedAt>,
    /// What its function's description says of it.
    pub(crate) origin: Option<Origin>,
}

/// A call that is to be made.
#[derive(Clone, Debug)]
pub(crate) struct CallRequest {
    /// Where its results go.
    pub(crate) key: CallKey,
    /// The function's first instruction.
    pub(crate) entry: ProcAddr,
    /// What the context register points to.
    pub(crate) closure: Option<ProcAddr>,
    /// Arguments in registers: a register and its low bytes.
    pub(crate) registers: Vec<(DwarfReg, [u8; 8])>,
    /// Arguments on the stack, by their offsets from the canonical frame address.
    pub(crate) stack: Vec<(i64, Vec<u8>)>,
    /// How much of the stack arguments and results take, in bytes.
    pub(crate) frame_size: u64,
    /// Where the results will be.
    pub(crate) results: Vec<ResultPlace>,
    /// What is to be written where the result points: it was allocated for this.
    pub(crate) fill: Vec<u8>,
}

/// A result of a call, kept.
#[derive(Clone, Debug)]
struct Kept {
    name: String,
    ty: TypeId,
    origin: Option<Origin>,
    /// Made up.
    addr: ProcAddr,
    /// Bytes that nobody knows are missing.
    bytes: Vec<Option<u8>>,
}

/// The calls that were made for one expression.
#[derive(Debug, Default)]
pub(crate) struct CallBook {
    results: HashMap<CallKey, Vec<Kept>>,
    /// How much room results take, in bytes.
    used: u64,
    pub(super) wanted: RefCell<Option<CallRequest>>,
    /// Stacks into which arguments must not point.
    pub(crate) stacks: Vec<Range<u64>>,
    /// Whether they are looked at for that.
    pub(super) check_escape: bool,
}

impl CallBook {
    /// None yet. With `check_escape`, no function is to be handed a pointer into one of `stacks`.
    pub(crate) fn new(stacks: Vec<Range<u64>>, check_escape: bool) -> CallBook {
        CallBook {
            stacks,
            check_escape,
            ..CallBook::default()
        }
    }

    /// A place among made-up addresses behind all that frames use: they number their variables from the lower end on (`frame_memory`).
    fn start() -> u64 {
        made_up_address(0xffff).0 + (3000 << 20)
    }

    /// Whether an address is that of a result.
    pub(super) fn has(&self, addr: ProcAddr) -> bool {
        (CallBook::start()..CallBook::start() + self.used).contains(&addr.0)
    }

    /// The address that a call which made room has returned.
    pub(super) fn room_at(&self, key: CallKey) -> Result<Option<u64>, EvalError> {
        match self.results.get(&key).map(Vec::as_slice) {
            Some([room]) => Ok(Some(self.read_uint(room.addr, 8)?)),
            _ => Ok(None),
        }
    }

    /// Keeps what a call has returned: the bytes of each result.
    pub(crate) fn keep(&mut self, key: CallKey, results: Vec<(ResultPlace, Vec<Option<u8>>)>) {
        let mut kept = Vec::with_capacity(results.len());
        for (place, bytes) in results {
            let addr = ProcAddr(CallBook::start() + self.used);
            // A value without bytes has an address, too.
            self.used += (bytes.len() as u64).max(1).next_multiple_of(16);
            kept.push(Kept {
                name: place.name,
                ty: place.ty,
                origin: place.origin,
                addr,
                bytes,
            });
        }
        self.results.insert(key, kept);
    }
}

impl Memory for CallBook {
    fn read(&self, addr: ProcAddr, buf: &mut [u8]) -> Result<(), ReadError> {
        for kept in self.results.values().flatten() {
            let offset = addr
                .0
                .checked_sub(kept.addr.0)
                .and_then(|offset| usize::try_from(offset).ok());
            let within = offset.and_then(|offset| kept.bytes.get(offset..offset.checked_add(buf.len())?));
            if let Some(within) = within {
                for (to, from) in buf.iter_mut().zip(within) {
                    *to = from.ok_or(ReadError::Blank)?;
                }
                return Ok(());
            }
        }
        Err(ReadError::Fault(addr))
    }
}

/// What is evaluated with calls.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum CallStatement {
    /// An expression, and its text.
    Expression(Expr, String),
    /// `what = value`.
    Assignment(Box<Assignment>),
}

impl CallStatement {
    /// Parses either.
    pub(crate) fn parse(text: &str) -> Result<CallStatement, ParseError> {
        Ok(match sides_of_assignment(text) {
            Some((what, to)) => CallStatement::Assignment(Box::new(Assignment::parse(what, to)?)),
            None => CallStatement::Expression(parse(text)?, text.to_owned()),
        })
    }
}

/// How far the evaluation of an expression has come.
#[derive(Debug)]
pub(crate) enum Reached {
    /// Its end: the value, or the results where the expression is a call.
    Values(Vec<Value>),
    /// The end of an assignment: what is to be changed, while the program still keeps alive what was returned.
    Changes(Vec<Write>),
    /// A call that is to be made first.
    Call(Box<CallRequest>),
}

impl FrameScope<'_> {
    /// Evaluates a statement as far as the calls go that were made for it. The scope must allow calls.
    pub(crate) fn evaluate_with_calls(
        &self,
        statement: &CallStatement,
        config: LoadConfig,
    ) -> Result<Reached, EvalError> {
        let book = self.calls.ok_or(EvalError::Call)?;
        book.wanted.replace(None);
        let reached = match statement {
            CallStatement::Expression(parsed, text) => self.values_with_calls(book, parsed, text, config),
            CallStatement::Assignment(assignment) => self.changes_of(assignment).map(Reached::Changes),
        };
        match reached {
            Err(EvalError::CallPending) => {
                let wanted = book.wanted.take().ok_or(EvalError::Call)?;
                Ok(Reached::Call(Box::new(wanted)))
            }
            reached => reached,
        }
    }

    fn values_with_calls(
        &self,
        book: &CallBook,
        parsed: &Expr,
        text: &str,
        config: LoadConfig,
    ) -> Result<Reached, EvalError> {
        let loader = self.loader(config);
        let evaluator = self.evaluator(&loader);
        let operand = evaluator.evaluate(parsed)?;
        if let Expr::Call(function, _) = parsed.bare()
            && let Some(kept) = book.results.get(&CallKey::of(function))
        {
            let load = |kept: &Kept| {
                let mut value = loader.load(&kept.name, kept.ty, kept.addr);
                value.traits = value.traits.with(Traits::RESULT).with(Traits::MADE_UP);
                value.origin.clone_from(&kept.origin);
                value
            };
            return Ok(Reached::Values(kept.iter().map(load).collect()));
        }
        if parsed.plain_name().is_some() {
            return Ok(Reached::Values(vec![self.evaluate(text, config)?]));
        }
        // What is computed has no name here.
        Ok(Reached::Values(vec![evaluator.load(&operand, "")]))
    }

    /// What a call has returned, if it was made.
    pub(super) fn kept_result(&self, book: &CallBook, call: &Call<'_>) -> Result<Operand, EvalError> {
        match book.results.get(&CallKey::of(call.function)).map(Vec::as_slice) {
            Some([]) => Ok(Operand::unreadable(None, "no return values")),
            Some([one]) => Ok(Operand::place(self.binary.type_info(one.ty)?, one.addr)),
            Some(_) => Ok(Operand::unreadable(None, "the function has several results")),
            None => {
                let wanted = self.request(book, call)?;
                book.wanted.replace(Some(wanted));
                Err(EvalError::CallPending)
            }
        }
    }

    fn request(&self, book: &CallBook, call: &Call<'_>) -> Result<CallRequest, EvalError> {
        let info = self.called(call)?;
        let signature = Signature::of(self.binary, &info)?;
        let params = &signature.params;
        let receiver = call.callee.receiver.as_ref();
        // Not every version of Go describes a receiver without a name as a parameter (Go 1.21 does not); the others are then not where they would be alone.
        let all_described = signature.understood && !params.is_empty();
        let receiver = receiver.filter(|_| all_described || call.arguments.len() + 1 == params.len());
        let given = call.arguments.len() + usize::from(receiver.is_some());
        if given > params.len() {
            return Err(EvalError::Refused("too many arguments".to_owned()));
        }
        if given < params.len() {
            return Err(EvalError::Refused("not enough arguments".to_owned()));
        }
        let mut request = CallRequest {
            key: CallKey::of(call.function),
            entry: call.callee.entry,
            closure: call.callee.closure,
            registers: Vec::new(),
            stack: Vec::new(),
            frame_size: REGISTER_ROOM,
            results: Vec::new(),
            fill: Vec::new(),
        };
        let whole = call.function.to_string();
        let arguments = receiver.map(|receiver| (receiver, whole.clone(), None)).into_iter();
        let arguments = arguments.chain(
            (0..)
                .zip(&call.arguments)
                .map(|(number, (value, source))| (value, source.to_string(), Some(number))),
        );
        for (param, (value, source, number)) in params.iter().zip(arguments) {
            let ty = self.binary.type_info(param.ty)?;
            let target = Operand::place(Arc::clone(&ty), ProcAddr(0));
            let bytes = match self.text_to_allocate(value, &target) {
                Some(text) => {
                    let key = CallKey {
                        room_for: number,
                        ..request.key
                    };
                    match book.room_at(key)? {
                        Some(address) => string_of(address, text),
                        None => return self.allocation(key, None, text),
                    }
                }
                None => self.bytes_of(&target, value, &source).map_err(|error| match number {
                    Some(_) => error,
                    None => EvalError::Refused(format!("could not set call receiver: {error}")),
                })?,
            };
            if let Some(path) = self.escaping(book, param.ty, &bytes, param.name()) {
                let (function, name) = (&info.name, param.name());
                let prefix = if number.is_none() {
                    "could not set call receiver: "
                } else {
                    ""
                };
                return Err(EvalError::Refused(format!(
                    "{prefix}cannot use {source} as argument {name} in function {function}: stack object passed to escaping pointer: {path}"
                )));
            }
            request.frame_size = request.frame_size.saturating_add(ty.size.next_multiple_of(8));
            let place = if signature.understood { Some(&param.place) } else { None };
            self.pass(&mut request, &info, param.variable, (param.ty, place), &bytes)?;
        }
        for result in &signature.results {
            let size = self.binary.type_info(result.ty)?.size;
            request.frame_size = request.frame_size.saturating_add(size.next_multiple_of(8));
            let is_known = signature.understood || matches!(result.place, PassedAt::Registers { .. });
            request.results.push(ResultPlace {
                name: result.name().to_owned(),
                ty: result.ty,
                size,
                place: is_known.then(|| result.place.clone()),
                origin: result.variable.map(|variable| Origin {
                    location: self
                        .binary
                        .location_text(variable, info.low_pc, call.callee.entry.0)
                        .into(),
                    decl_line: variable.decl_line,
                }),
            });
        }
        Ok(request)
    }

    /// The part of a value that points into a stack, by its path from `name`, where that is looked at.
    pub(super) fn escaping(&self, book: &CallBook, ty: TypeId, value: &[u8], name: &str) -> Option<String> {
        let escape = Escape {
            binary: self.binary,
            memory: &self.memory,
            stacks: &book.stacks,
        };
        book.check_escape.then(|| escape.of(ty, value, name)).flatten()
    }

    /// What the debug information says of the function that a call is of, if that can be called.
    fn called(&self, call: &Call<'_>) -> Result<Arc<FunctionInfo>, EvalError> {
        let function = self.binary.function_at(self.bias.to_file(call.callee.entry));
        let info = function.and_then(|function| self.binary.function_info(function).ok());
        let info =
            info.ok_or_else(|| EvalError::Refused(format!("could not find DIE for function \"{}\"", call.function)))?;
        if !info.is_go {
            return Err(EvalError::Refused("not a Go function".to_owned()));
        }
        if info.optimized {
            // Its debug information need not name all that it is passed.
            return Err(EvalError::Refused(format!(
                "can not call optimized function {} when regabi is in use",
                info.name
            )));
        }
        Ok(info)
    }

    /// Puts an argument where the function expects it: where the convention says, else where the debug information says that it is at the entry.
    fn pass(
        &self,
        request: &mut CallRequest,
        info: &FunctionInfo,
        variable: Option<&spelunk_dwarf::Variable>,
        (ty, place): (TypeId, Option<&PassedAt>),
        bytes: &[u8],
    ) -> Result<(), EvalError> {
        let unknown = || {
            let name = variable.map_or("?", spelunk_dwarf::Variable::display_name);
            EvalError::Refused(format!("could not get argument location of {name}"))
        };
        let part = |offset: u64, size: u64| {
            let start = usize::try_from(offset).ok()?;
            bytes.get(start..start.checked_add(usize::try_from(size).ok()?)?)
        };
        let word = |part: &[u8]| {
            let mut word = [0; 8];
            for (to, from) in word.iter_mut().zip(part) {
                *to = *from;
            }
            word
        };
        match place {
            Some(PassedAt::Stack(offset)) => request.stack.push((*offset, bytes.to_vec())),
            Some(PassedAt::Registers { parts, .. }) => {
                for piece in parts {
                    let register = piece.register.dwarf().ok_or_else(unknown)?;
                    let value = word(part(piece.offset, piece.size).ok_or_else(unknown)?);
                    request.registers.push((register, value));
                }
            }
            None => {
                let variable = variable.ok_or_else(unknown)?;
                let location = self
                    .binary
                    .location(info, variable, info.low_pc)
                    .map_err(|_| unknown())?;
                let pieces = placed(self.binary, ty, &location);
                if pieces.is_empty() && !bytes.is_empty() {
                    return Err(unknown());
                }
                for (offset, piece) in pieces {
                    let value = part(offset, u64::from(piece.size)).ok_or_else(unknown)?;
                    match &piece.kind {
                        PieceKind::Register(register) => request.registers.push((*register, word(value))),
                        PieceKind::CfaOffset(at) => request.stack.push((*at, value.to_vec())),
                        _ => return Err(unknown()),
                    }
                }
            }
        }
        Ok(())
    }
}
