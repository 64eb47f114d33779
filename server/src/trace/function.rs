//! Plans the tracing of a function: one site where calls are seen, one for each return.

use std::sync::Arc;

use spelunk_bpf::{CallEnd, Gate, GoroutineSource, Mark, Plan, RuntimeOffsets};
use spelunk_dwarf::{Binary, DICTIONARY, DwarfError, FileAddr, Function, FunctionInfo, Location, PieceKind, Variable};

use super::abi::{self, AbiRegister, Convention, Place};
use super::capture::{Captured, Home, Part, PlanBuilder};
use super::layouts::Layouts;
use super::lower::{AtCall, LowerError, UNUSED};
use super::paths::{Building, Named};
use super::record_scope::SiteCondition;
use super::signature::{Passed, Signature, integer_registers};
use super::sites::{FunctionCode, ReturnSite, SiteError, StackGrowth};
use super::terms::{Terms, Unfit, may_be_unknown};

/// What a record from a site means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SiteKind {
    /// The function was called.
    Call,
    /// The function was called and is about to grow its stack; its call is seen once more when it has.
    Growth,
    /// The function returns.
    Return,
    /// A goroutine recovers from a panic: the calls above the recovering frame will not return.
    Recovery,
    /// A goroutine ends: none of its calls will return.
    GoroutineExit,
    /// A line was passed; the number is the logpoint's.
    Line(u64),
}

/// One probe and what its records hold.
#[derive(Clone, Debug)]
pub(crate) struct SitePlan {
    /// What a record means.
    pub(crate) kind: SiteKind,
    /// The function's name as messages show it.
    pub(crate) function: Arc<str>,
    /// Where the function begins.
    pub(crate) entry: FileAddr,
    /// The probed instruction.
    pub(crate) addr: FileAddr,
    /// The canonical frame address is rsp plus this.
    pub(crate) cfa_offset: i64,
    /// The variables in a record, in the order in which they are shown.
    pub(crate) variables: Vec<Captured>,
    /// For a call: the indices of variables that the growth of the stack may have overwritten. If it was grown, they are in the record of [`SiteKind::Growth`].
    pub(crate) fragile: Vec<usize>,
    /// In a generic function: where its dictionary is, which says what the type parameters stand for.
    pub(crate) dictionary: Option<Dictionary>,
    /// What must be true of a hit, where something must, for those who decide it instead of the kernel.
    pub(crate) condition: Option<Arc<SiteCondition>>,
    /// For a return: whether it is shown only if its call was, because not all calls are.
    pub(crate) only_with_call: bool,
    /// What the kernel copies.
    pub(crate) plan: Arc<Plan>,
}

/// The dictionary that the caller of a generic function passes (Go's cmd/compile/internal/noder/reader.go): an array of words, of which types name some by index.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Dictionary {
    /// The pointer to it.
    pub(crate) pointer: Captured,
    /// How many of its words are captured.
    pub(crate) words: u64,
}

/// Why a function cannot be traced.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FunctionError {
    /// Its debug information is broken or missing.
    #[error("{0}")]
    Dwarf(#[from] DwarfError),
    /// Its code offers no site.
    #[error("{0}")]
    Site(#[from] SiteError),
    /// What a call must pass cannot be decided.
    #[error("{0}")]
    Unfit(#[from] Unfit),
}

/// What is the same for all sites of a binary.
#[derive(Clone, Copy)]
pub(crate) struct Runtime {
    /// Offsets in `runtime.g` and `runtime.m`.
    pub(crate) offsets: RuntimeOffsets,
    /// Where `g` is relative to the thread's FS base.
    pub(crate) tls_g: i64,
}

impl Runtime {
    /// Reads the layout from the binary's own types.
    pub(crate) fn of(binary: &Binary) -> Result<Runtime, DwarfError> {
        let layout = binary.runtime_layout()?;
        let narrow = |offset: u64| u32::try_from(offset).unwrap_or(u32::MAX);
        let offsets = RuntimeOffsets {
            goid: narrow(layout.g_goid),
            stack_hi: narrow(layout.g_stack_hi),
            m: narrow(layout.g_m),
            curg: narrow(layout.m_curg),
        };
        Ok(Runtime {
            offsets,
            tls_g: layout.tls_g_offset,
        })
    }

    /// Where a function of that convention has `g`.
    pub(crate) fn goroutine(&self, convention: Convention) -> GoroutineSource {
        match convention {
            Convention::Internal => GoroutineSource::R14,
            Convention::Stack => GoroutineSource::Tls { offset: self.tls_g },
        }
    }
}

/// Plans tracing functions of one binary.
pub(crate) struct FunctionPlanner<'a, 'b> {
    /// The binary.
    pub(crate) binary: &'a Binary,
    /// Its runtime.
    pub(crate) runtime: Runtime,
    /// Layouts for what is followed.
    pub(crate) layouts: &'a mut Layouts<'b>,
    /// What a call must pass to be seen. A return is seen if its call was.
    pub(crate) terms: Terms<'a>,
    /// Whether only some calls are seen, by these terms or by others.
    pub(crate) only_some: bool,
    /// Who decides that.
    pub(crate) decides: Decides,
}

/// Who decides conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decides {
    /// The kernel, at the hit.
    Kernel,
    /// The interpreter, while the thread stands still.
    Interpreter,
}

impl FunctionPlanner<'_, '_> {
    /// The sites of a function: its returns, the growth of its stack where that matters, then its call.
    pub(crate) fn plan(&mut self, function: &Function) -> Result<Vec<SitePlan>, FunctionError> {
        let info = self.binary.function_info(function)?;
        let len = usize::try_from(function.size()).unwrap_or(0);
        let bytes = self.binary.code(function.entry, len).ok_or(SiteError::Undecodable)?;
        let code = FunctionCode::decode(bytes, function.entry)?;
        let signature = Signature::of(self.binary, &info)?;

        let mut sites: Vec<SitePlan> = code
            .return_sites()
            .iter()
            .map(|site| self.ret(&signature, site))
            .collect();
        let growth = match code.stack_growth() {
            // Arguments on the stack, or none, survive any growth.
            Err(SiteError::UnknownStackGrowth) if signature.params.iter().all(|param| param.parts().is_empty()) => None,
            found => found?,
        };
        let call = self.call(&signature, &code, growth.as_ref())?;
        if !call.fragile.is_empty()
            && let Some(growth) = growth
        {
            sites.push(self.growth(&signature, &call, &growth));
        }
        // A function may consist of a `ret` alone. Of the probes on one instruction the kernel runs the last first (kernel/events/uprobes.c, consumer_add).
        sites.push(call);
        Ok(sites)
    }

    fn call(
        &mut self,
        signature: &Signature<'_>,
        code: &FunctionCode,
        growth: Option<&StackGrowth>,
    ) -> Result<SitePlan, FunctionError> {
        let floats: Vec<usize> = signature.params.iter().flat_map(Passed::float_registers).collect();
        let site = code.entry_site(&floats)?;
        let mut builder = PlanBuilder::new(self.layouts, site.cfa_offset);
        builder.argument_registers(integer_registers(&signature.params));
        let mut variables = Vec::with_capacity(signature.params.len());
        for param in &signature.params {
            let (parts, home) = if signature.understood {
                let parts = builder.passed(param.ty, &param.place, &site.float_homes, !signature.info.optimized);
                (parts, place_home(&param.place))
            } else {
                located(&mut builder, self.binary, signature.info, param, site.addr)
            };
            builder.follow_all(param.ty, &parts);
            variables.push(Captured {
                name: param.name().to_owned(),
                ty: param.ty,
                home,
                parts,
            });
        }
        let lost = |param: &Passed<'_>| growth.is_some_and(|growth| !param.survives(growth));
        let loses_dictionary = signature
            .params
            .iter()
            .any(|param| param.name() == DICTIONARY && lost(param));
        // Without its dictionary nothing of a generic function can be named, so then all of it comes from before.
        let shown = signature.params.iter().filter(|param| param.name() != DICTIONARY);
        let fragile: Vec<usize> = shown
            .enumerate()
            .filter(|(_, param)| loses_dictionary || lost(param))
            .map(|(index, _)| index)
            .collect();
        let words = if loses_dictionary && fragile.is_empty() {
            0
        } else {
            signature.dictionary_words
        };
        let dictionary = take_dictionary(&mut builder, &mut variables, words);
        let (binary, terms, decides) = (self.binary, self.terms, self.decides);
        let names = AtCall {
            binary,
            function: &signature.info.name,
            params: &variables,
            fragile: &fragile,
            roots: builder.roots(),
            cfa_offset: site.cfa_offset,
        };
        let mark = self.only_some.then_some(Mark {
            end: CallEnd::Call,
            cfa_offset: site.cfa_offset,
        });
        let gate = match (terms.gate(binary, &names), decides) {
            (Ok(gate), Decides::Kernel) => Gate { mark, ..gate },
            // What is beyond the kernel need not be beyond the interpreter.
            (Ok(_) | Err(LowerError::NotLowered(_)), Decides::Interpreter) => Gate::default(),
            (Err(why), _) => return Err(Unfit::from(why).into()),
        };
        let mut building = Building {
            binary,
            info: signature.info,
            pc: site.addr,
            line: signature.info.decl_line,
            builder,
            names: named(&variables, &fragile),
            variables: variables.clone(),
        };
        if let Some(condition) = terms.condition
            && gate.condition.as_ref().is_some_and(may_be_unknown)
        {
            // Where the kernel finds no value the interpreter decides, as far as the record goes; what is missing then is told with the hit.
            building.capture_what_can_be(condition);
        }
        let condition = terms.condition.map(|condition| {
            Arc::new(SiteCondition {
                condition: condition.clone(),
                variables: building.variables,
                names: building.names,
            })
        });
        let plan = Arc::new(building.builder.finish(
            self.runtime.goroutine(signature.convention),
            self.runtime.offsets,
            gate,
        ));
        Ok(SitePlan {
            kind: SiteKind::Call,
            function: signature.info.name.clone(),
            entry: signature.info.low_pc,
            addr: site.addr,
            cfa_offset: site.cfa_offset,
            variables,
            fragile,
            dictionary,
            condition,
            only_with_call: false,
            plan,
        })
    }

    /// The site where a function's arguments can be seen before its stack grows.
    fn growth(&mut self, signature: &Signature<'_>, call: &SitePlan, growth: &StackGrowth) -> SitePlan {
        // The frame is that of the first instruction: rsp points to the return address.
        let cfa_offset = 8;
        let mut builder = PlanBuilder::new(self.layouts, cfa_offset);
        builder.argument_registers(integer_registers(&signature.params));
        let mut variables = Vec::with_capacity(signature.params.len());
        for param in &signature.params {
            let parts = builder.passed(param.ty, &param.place, &[], !signature.info.optimized);
            builder.follow_all(param.ty, &parts);
            variables.push(Captured {
                name: param.name().to_owned(),
                ty: param.ty,
                home: place_home(&param.place),
                parts,
            });
        }
        let words = call.dictionary.as_ref().map_or(0, |dictionary| dictionary.words);
        let dictionary = take_dictionary(&mut builder, &mut variables, words);
        let plan = Arc::new(builder.finish(call.plan.goroutine, self.runtime.offsets, Gate::default()));
        let fragile = Vec::new();
        SitePlan {
            kind: SiteKind::Growth,
            addr: growth.call,
            cfa_offset,
            variables,
            fragile,
            dictionary,
            condition: None,
            only_with_call: false,
            plan,
            ..call.clone()
        }
    }

    /// The gate of a return: it passes if its call did.
    fn return_gate(&self, cfa_offset: i64) -> Gate {
        let marked = self.only_some && self.decides == Decides::Kernel;
        let end = CallEnd::Return;
        Gate {
            mark: marked.then_some(Mark { end, cfa_offset }),
            ..Gate::default()
        }
    }

    fn ret(&mut self, signature: &Signature<'_>, site: &ReturnSite) -> SitePlan {
        let info = signature.info;
        let results = &signature.results;
        let home = |result: &Passed<'_>, pc| home_in_frame(self.binary, info, result, pc);
        // Without optimisation each result has a home in the frame, and a floating-point one can be read there as long as the frame is whole.
        let in_floats = |result: &Passed<'_>| result.float_registers().next().is_some();
        let epilogue = site.epilogue.filter(|(addr, _)| {
            results.iter().any(in_floats)
                && results
                    .iter()
                    .all(|result| !in_floats(result) || home(result, *addr).is_some())
        });
        let (addr, cfa_offset) = epilogue.unwrap_or((site.ret, 8));
        let homes: Vec<Option<i64>> = results.iter().map(|result| home(result, addr)).collect();
        let gate = self.return_gate(cfa_offset);
        let mut builder = PlanBuilder::new(self.layouts, cfa_offset);
        builder.argument_registers(integer_registers(results));
        let mut variables = Vec::with_capacity(results.len());
        for (result, home) in results.iter().zip(homes) {
            let float_homes = match (&result.place, home) {
                (Place::Registers { parts, .. }, Some(home)) if epilogue.is_some() => float_parts(parts, home),
                _ => Vec::new(),
            };
            let parts = builder.passed(result.ty, &result.place, &float_homes, !info.optimized);
            builder.follow_all(result.ty, &parts);
            let home = match result.place {
                Place::Stack(offset) => Home::Cfa(offset),
                Place::Registers { .. } => home.map_or(Home::Nowhere, Home::Cfa),
            };
            variables.push(Captured {
                name: result.name().to_owned(),
                ty: result.ty,
                home,
                parts,
            });
        }
        let plan = Arc::new(builder.finish(self.runtime.goroutine(signature.convention), self.runtime.offsets, gate));
        SitePlan {
            kind: SiteKind::Return,
            function: info.name.clone(),
            entry: info.low_pc,
            addr,
            cfa_offset,
            variables,
            fragile: Vec::new(),
            dictionary: None,
            condition: None,
            only_with_call: self.only_some,
            plan,
        }
    }
}

/// The names of parameters, and which of them have no place.
fn named(params: &[Captured], fragile: &[usize]) -> Vec<Named> {
    let name = |(index, param): (usize, &Captured)| Named {
        name: param.name.clone(),
        escaped: false,
        missing: fragile.contains(&index).then(|| UNUSED.to_owned()),
    };
    params.iter().enumerate().map(name).collect()
}

/// Takes the dictionary out of the variables, which are those that are shown, and has the first of its words captured.
fn take_dictionary(builder: &mut PlanBuilder<'_, '_>, variables: &mut Vec<Captured>, words: u64) -> Option<Dictionary> {
    let at = variables.iter().position(|variable| variable.name == DICTIONARY)?;
    Dictionary::captured(builder, variables.remove(at), words)
}

impl Dictionary {
    /// Has the first words of the dictionary captured that `pointer` points to; nothing where no type needs it.
    pub(super) fn captured(builder: &mut PlanBuilder<'_, '_>, pointer: Captured, words: u64) -> Option<Dictionary> {
        if words == 0 {
            return None;
        }
        builder.follow_pointer(&pointer.parts, 8 * words as u32);
        Some(Dictionary { pointer, words })
    }
}

/// Parts and home of a parameter by DWARF alone.
fn located(
    builder: &mut PlanBuilder<'_, '_>,
    binary: &Binary,
    info: &FunctionInfo,
    param: &Passed<'_>,
    pc: FileAddr,
) -> (Vec<Part>, Home) {
    let Some(variable) = param.variable else {
        return (Vec::new(), Home::Nowhere);
    };
    match binary.location(info, variable, pc) {
        Ok(location) if !may_be_a_part(binary, info, variable, &location) => {
            (builder.located(param.ty, &location), location_home(&location))
        }
        _ => (Vec::new(), Home::Nowhere),
    }
}

/// Go's compiler takes no larger values apart, in bytes: they stay in memory (cmd/compile/internal/ssa/value.go, `CanSSA`).
const LARGEST_TAKEN_APART: u64 = 4 * 8;

/// Whether a location that seems to be the whole variable's may be that of one component. Never a wrong value: then it is none.
pub(crate) fn may_be_a_part(binary: &Binary, info: &FunctionInfo, variable: &Variable, location: &Location) -> bool {
    let several = || {
        binary
            .type_info(variable.ty)
            .is_ok_and(|ty| ty.size <= LARGEST_TAKEN_APART)
            && abi::components(binary, variable.ty).is_some_and(|components| components.len() > 1)
    };
    info.optimized && variable.is_taken_apart() && !location.is_divided && several()
}

/// The address of a variable that lies in memory as a whole.
pub(crate) fn location_home(location: &Location) -> Home {
    match &location.pieces[..] {
        [piece] => match piece.kind {
            PieceKind::CfaOffset(offset) => Home::Cfa(offset),
            PieceKind::Addr(addr) => Home::Absolute(addr),
            _ => Home::Nowhere,
        },
        _ => Home::Nowhere,
    }
}

fn place_home(place: &Place) -> Home {
    match place {
        Place::Stack(offset) => Home::Cfa(*offset),
        Place::Registers { spill, .. } => spill.map_or(Home::Nowhere, Home::Cfa),
    }
}

/// A result's offset from the canonical frame address, if it lies in the frame at `pc`. One that escaped has only a pointer there; with optimisations, homes are stale.
fn home_in_frame(binary: &Binary, info: &FunctionInfo, passed: &Passed<'_>, pc: FileAddr) -> Option<i64> {
    let variable = passed
        .variable
        .filter(|variable| !info.optimized && !variable.escaped())?;
    match location_home(&binary.location(info, variable, pc).ok()?) {
        Home::Cfa(offset) => Some(offset),
        _ => None,
    }
}

/// Where the floating-point parts of a result lie that has a home in the frame.
fn float_parts(parts: &[abi::RegisterPart], home: i64) -> Vec<(usize, i64)> {
    let at = |part: &abi::RegisterPart| match part.register {
        AbiRegister::Float(n) => Some((n, home + part.offset as i64)),
        AbiRegister::Integer(_) => None,
    };
    parts.iter().filter_map(at).collect()
}
