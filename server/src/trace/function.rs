//! Plans the tracing of a function: one site where calls are seen, one for each return.

use std::sync::Arc;

use spelunk_bpf::{GoroutineSource, Plan, RuntimeOffsets};
use spelunk_dwarf::{
    Abi, Binary, DwarfError, FileAddr, Function, FunctionInfo, Kind, Location, PieceKind, TypeId, Variable,
};

use super::abi::{self, AbiRegister, Convention, INTEGER_REGISTERS, Place};
use super::capture::{Captured, Home, PlanBuilder, abi_register, placed};
use super::layouts::Layouts;
use super::sites::{FunctionCode, ReturnSite, SiteError, StackGrowth};

/// What the compiler calls the dictionary of a generic function among its parameters.
const DICTIONARY: &str = ".dict";
/// Dictionaries may be longer than the words that parameters name.
const MAX_DICTIONARY_WORDS: u64 = 256;

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
    /// For a generic function's call: where its dictionary is, which says what the type parameters stand for.
    pub(crate) dictionary: Option<Dictionary>,
    /// What the kernel copies.
    pub(crate) plan: Arc<Plan>,
}

/// The dictionary that the caller of a generic function passes (Go's cmd/compile/internal/noder/reader.go): an array of words, of which types name some by index.
#[derive(Clone, Debug)]
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
}

/// A parameter or result with the type that is passed: a variable that escapes to the heap is described as a pointer, but passed as itself.
struct Passed<'i> {
    /// What DWARF says of it; nothing for a dictionary that the optimiser had no use for, and which is passed all the same.
    variable: Option<&'i Variable>,
    ty: TypeId,
}

impl Passed<'_> {
    fn name(&self) -> &str {
        self.variable.map_or(DICTIONARY, Variable::display_name)
    }

    fn escaped(&self) -> bool {
        self.variable.is_some_and(Variable::escaped)
    }
}

impl FunctionPlanner<'_, '_> {
    /// The sites of a function: its returns, the growth of its stack where that matters, then its call.
    pub(crate) fn plan(&mut self, function: &Function) -> Result<Vec<SitePlan>, FunctionError> {
        let info = self.binary.function_info(function)?;
        let len = function
            .end
            .distance_from(function.entry)
            .and_then(|len| usize::try_from(len).ok())
            .unwrap_or(0);
        let bytes = self.binary.code(function.entry, len).ok_or(SiteError::Undecodable)?;
        let code = FunctionCode::decode(bytes, function.entry)?;
        let convention = if info.abi == Abi::Internal {
            Convention::Internal
        } else {
            Convention::Stack
        };
        let (results, params): (Vec<_>, Vec<_>) = once_each(&info.params).partition(|variable| variable.is_result);
        let mut params = self.passed(&params)?;
        let results = self.passed(&results)?;
        let types = |passed: &[Passed<'_>]| passed.iter().map(|one| one.ty).collect::<Vec<_>>();
        let mut assignment = abi::assign(self.binary, convention, &types(&params), &types(&results))?;
        if let Some(at) = self.place_of_dropped_dictionary(&info.name, &params)
            && let Some(ty) = self.binary.type_named("uintptr")
        {
            params.insert(at, Passed { variable: None, ty });
            let with = abi::assign(self.binary, convention, &types(&params), &types(&results))?;
            let agrees = |params: &[Passed<'_>], places: &[Place]| {
                params
                    .iter()
                    .zip(places)
                    .all(|(param, place)| self.agrees(&info, param, place))
            };
            if agrees(&params, &with.params) {
                assignment = with;
            } else {
                params.remove(at);
            }
        }
        let name: Arc<str> = Arc::from(&*info.name);

        let mut sites = Vec::new();
        for site in code.return_sites() {
            sites.push(self.ret(&info, &name, convention, &site, &results, &assignment.results)?);
        }
        // A function may consist of a `ret` alone. Of the probes on one instruction the kernel runs the last first (kernel/events/uprobes.c, consumer_add).
        let indices = params
            .iter()
            .chain(&results)
            .filter_map(|one| self.binary.type_info(one.ty).ok()?.dict_index);
        let words = indices.map(|index| index.saturating_add(1)).max().unwrap_or(0);
        let call = self.call(&info, &name, convention, &code, &params, &assignment.params, words)?;
        if !call.fragile.is_empty()
            && let Some(growth) = code.stack_growth()
        {
            sites.push(self.growth(&call, &growth, &params, &assignment.params)?);
        }
        sites.push(call);
        Ok(sites)
    }

    fn passed<'i>(&self, variables: &[&'i Variable]) -> Result<Vec<Passed<'i>>, DwarfError> {
        let one = |variable: &&'i Variable| {
            let mut ty = variable.ty;
            if variable.escaped()
                && let Kind::Pointer { elem } = self.binary.type_info(ty)?.kind
            {
                ty = elem;
            }
            Ok(Passed {
                variable: Some(variable),
                ty,
            })
        };
        variables.iter().map(one).collect()
    }

    /// Where the dictionary stands among the parameters of a generic function whose DWARF does not name it: first, or behind the receiver.
    fn place_of_dropped_dictionary(&self, function: &str, params: &[Passed<'_>]) -> Option<usize> {
        if !function.contains("[go.shape.") || params.iter().any(|param| param.name() == DICTIONARY) {
            return None;
        }
        let (generic, rest) = function.rsplit_once(']')?;
        if rest.is_empty() {
            return Some(0);
        }
        // `pkg.(*T[…]).M` and `pkg.T[…].M` are methods if their first parameter is a T; else they are functions inside of a generic one, which get the dictionary otherwise.
        let name = |text: &str| text.chars().filter(|c| !"(*)".contains(*c)).collect::<String>();
        let receiver = self.binary.type_info(params.first()?.ty).ok()?;
        (name(&receiver.name) == name(&format!("{generic}]"))).then_some(1)
    }

    fn call(
        &mut self,
        info: &FunctionInfo,
        name: &Arc<str>,
        convention: Convention,
        code: &FunctionCode,
        params: &[Passed<'_>],
        places: &[Place],
        dictionary_words: u64,
    ) -> Result<SitePlan, FunctionError> {
        let understood = params
            .iter()
            .zip(places)
            .all(|(param, place)| self.agrees(info, param, place));
        let site = code.entry_site(&float_registers(places))?;
        let mut builder = PlanBuilder::new(self.layouts, site.cfa_offset);
        builder.argument_registers(integer_registers(places));
        let mut variables = Vec::with_capacity(params.len());
        for (param, place) in params.iter().zip(places) {
            let (parts, home) = if understood {
                (
                    builder.passed(param.ty, place, &site.float_homes, !info.optimized),
                    place_home(place),
                )
            } else {
                located(&mut builder, self.binary, info, param, site.addr)
            };
            builder.follow_all(param.ty, &parts);
            variables.push(Captured {
                name: param.name().to_owned(),
                ty: param.ty,
                home,
                parts,
            });
        }
        let (fragile, keeps_dictionary) = fragile_variables(code, &variables, params, places);
        let dictionary = variables
            .iter()
            .position(|variable| variable.name == DICTIONARY)
            .map(|at| variables.remove(at));
        let words = dictionary_words.min(MAX_DICTIONARY_WORDS);
        let known = words != 0 && (keeps_dictionary || !fragile.is_empty());
        let dictionary = dictionary
            .filter(|_| known)
            .map(|pointer| Dictionary { pointer, words });
        if let Some(dictionary) = &dictionary {
            builder.follow_pointer(&dictionary.pointer.parts, 8 * words as u32);
        }
        let plan = Arc::new(builder.finish(self.runtime.goroutine(convention), self.runtime.offsets));
        Ok(SitePlan {
            kind: SiteKind::Call,
            function: name.clone(),
            entry: info.low_pc,
            addr: site.addr,
            cfa_offset: site.cfa_offset,
            variables,
            fragile,
            dictionary,
            plan,
        })
    }

    /// The site where a function's arguments can be seen before its stack grows.
    fn growth(
        &mut self,
        call: &SitePlan,
        growth: &StackGrowth,
        params: &[Passed<'_>],
        places: &[Place],
    ) -> Result<SitePlan, FunctionError> {
        // The frame is that of the first instruction: rsp points to the return address.
        let mut builder = PlanBuilder::new(self.layouts, 8);
        builder.argument_registers(integer_registers(places));
        let mut variables = Vec::with_capacity(params.len());
        for (param, place) in params.iter().zip(places) {
            // Blank fields were left out of the call's parts already, where they are not passed.
            let parts = builder.passed(param.ty, place, &[], false);
            builder.follow_all(param.ty, &parts);
            variables.push(Captured {
                name: param.name().to_owned(),
                ty: param.ty,
                home: place_home(place),
                parts,
            });
        }
        let dictionary = variables
            .iter()
            .position(|variable| variable.name == DICTIONARY)
            .map(|at| variables.remove(at));
        let words = call.dictionary.as_ref().map_or(0, |dictionary| dictionary.words);
        let dictionary = dictionary
            .filter(|_| words != 0)
            .map(|pointer| Dictionary { pointer, words });
        if let Some(dictionary) = &dictionary {
            builder.follow_pointer(&dictionary.pointer.parts, 8 * words as u32);
        }
        let plan = Arc::new(builder.finish(call.plan.goroutine, self.runtime.offsets));
        Ok(SitePlan {
            kind: SiteKind::Growth,
            addr: growth.call,
            cfa_offset: 8,
            variables,
            fragile: Vec::new(),
            dictionary,
            plan,
            ..call.clone()
        })
    }

    fn ret(
        &mut self,
        info: &FunctionInfo,
        name: &Arc<str>,
        convention: Convention,
        site: &ReturnSite,
        results: &[Passed<'_>],
        places: &[Place],
    ) -> Result<SitePlan, FunctionError> {
        // Without optimisation each result has a home in the frame, and a floating-point one can be read there as long as the frame is whole.
        let floats = float_registers(places);
        let homes = match site.epilogue {
            Some((addr, _)) if !floats.is_empty() && !info.optimized => results
                .iter()
                .map(|result| home_in_frame(self.binary, info, result, addr))
                .collect(),
            _ => vec![None; results.len()],
        };
        let readable = homes
            .iter()
            .zip(places)
            .all(|(home, place)| home.is_some() || float_registers(std::slice::from_ref(place)).is_empty());
        let (addr, cfa_offset) = match site.epilogue {
            Some(epilogue) if !floats.is_empty() && !info.optimized && readable => epilogue,
            _ => (site.ret, 8),
        };
        let whole_frame = addr != site.ret;
        let mut builder = PlanBuilder::new(self.layouts, cfa_offset);
        builder.argument_registers(integer_registers(places));
        let mut variables = Vec::with_capacity(results.len());
        for ((result, place), home) in results.iter().zip(places).zip(homes) {
            let float_homes = match (home, place) {
                (Some(home), Place::Registers { parts, .. }) if whole_frame => float_parts(parts, home),
                _ => Vec::new(),
            };
            let parts = builder.passed(result.ty, place, &float_homes, !info.optimized);
            builder.follow_all(result.ty, &parts);
            let home = match place {
                Place::Stack(offset) => Home::Cfa(*offset),
                Place::Registers { .. } => {
                    home_in_frame(self.binary, info, result, site.ret).map_or(Home::Nowhere, Home::Cfa)
                }
            };
            variables.push(Captured {
                name: result.name().to_owned(),
                ty: result.ty,
                home,
                parts,
            });
        }
        let plan = Arc::new(builder.finish(self.runtime.goroutine(convention), self.runtime.offsets));
        Ok(SitePlan {
            kind: SiteKind::Return,
            function: name.clone(),
            entry: info.low_pc,
            addr,
            cfa_offset,
            variables,
            fragile: Vec::new(),
            dictionary: None,
            plan,
        })
    }

    /// Whether DWARF, where it says anything, says what the calling convention says. It always should; if a later compiler changed the convention, this is
    /// what keeps wrong values from being shown.
    fn agrees(&self, info: &FunctionInfo, param: &Passed<'_>, place: &Place) -> bool {
        if param.escaped() {
            return true;
        }
        let Some(variable) = param.variable else { return true };
        let Ok(location) = self.binary.location(info, variable, info.low_pc) else {
            return true;
        };
        let pieces = &location.pieces[..];
        match place {
            // Of a value of several words the compiler may describe one alone, without saying which.
            Place::Stack(offset) => {
                let size = self.binary.type_info(param.ty).map_or(8, |info| info.size as i64);
                let inside = |known: i64| (*offset..*offset + size.max(1)).contains(&known);
                pieces.iter().all(|piece| match piece.kind {
                    PieceKind::CfaOffset(known) => inside(known),
                    PieceKind::Register(_) => false,
                    _ => true,
                })
            }
            Place::Registers { parts, .. } => {
                // A piece alone may stand for any of the components; more than one are in order.
                if let ([piece], [_, _, ..]) = (pieces, &parts[..]) {
                    return match &piece.kind {
                        PieceKind::Register(number) => {
                            parts.iter().any(|part| Some(part.register) == abi_register(number.0))
                        }
                        _ => true,
                    };
                }
                placed(self.binary, param.ty, &location)
                    .iter()
                    .all(|(at, piece)| match &piece.kind {
                        PieceKind::Register(number) => parts
                            .iter()
                            .any(|part| part.offset == *at && Some(part.register) == abi_register(number.0)),
                        // Pieces that the optimiser has no use for are empty, and a part may have been spilled at once.
                        _ => true,
                    })
            }
        }
    }
}

/// The parameters and results of a function, each once: with optimisations the compiler describes a named result twice.
fn once_each(variables: &[Variable]) -> impl Iterator<Item = &Variable> {
    let mut seen = std::collections::HashSet::new();
    variables.iter().filter(move |variable| {
        let name = variable.display_name();
        name == "_" || seen.insert(name)
    })
}

/// The indices, among the variables that are shown, of parameters in registers that do not survive the growth of the stack, and whether the dictionary does. One that does not is
/// reason enough for its generic function to be watched there, whichever parameters it has.
fn fragile_variables(
    code: &FunctionCode,
    variables: &[Captured],
    params: &[Passed<'_>],
    places: &[Place],
) -> (Vec<usize>, bool) {
    let Some(growth) = code.stack_growth() else {
        return (Vec::new(), true);
    };
    let survives = |place: &Place| match place {
        Place::Registers { parts, .. } => parts.iter().all(|part| match part.register {
            AbiRegister::Integer(n) => growth.saves(n),
            AbiRegister::Float(_) => true,
        }),
        Place::Stack(_) => true,
    };
    let dictionary_survives = params
        .iter()
        .zip(places)
        .all(|(param, place)| param.name() != DICTIONARY || survives(place));
    let shown = variables
        .iter()
        .zip(places)
        .filter(|(variable, _)| variable.name != DICTIONARY);
    let fragile = shown
        .enumerate()
        .filter(|(_, (_, place))| !dictionary_survives || !survives(place))
        .map(|(index, _)| index)
        .collect();
    (fragile, dictionary_survives)
}

/// Parts and home of a parameter by DWARF alone.
fn located(
    builder: &mut PlanBuilder<'_, '_>,
    binary: &Binary,
    info: &FunctionInfo,
    param: &Passed<'_>,
    pc: FileAddr,
) -> (Vec<super::capture::Part>, Home) {
    match param.variable.map(|variable| binary.location(info, variable, pc)) {
        Some(Ok(location)) => (builder.located(param.ty, &location), location_home(&location)),
        _ => (Vec::new(), Home::Nowhere),
    }
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
        Place::Stack(offset)
        | Place::Registers {
            spill: Some(offset), ..
        } => Home::Cfa(*offset),
        Place::Registers { spill: None, .. } => Home::Nowhere,
    }
}

/// A variable's offset from the canonical frame address, if it lies in the frame at `pc`; a variable that escaped has only a pointer there.
fn home_in_frame(binary: &Binary, info: &FunctionInfo, passed: &Passed<'_>, pc: FileAddr) -> Option<i64> {
    let variable = passed.variable.filter(|variable| !variable.escaped())?;
    match location_home(&binary.location(info, variable, pc).ok()?) {
        Home::Cfa(offset) => Some(offset),
        _ => None,
    }
}

/// How many integer registers the places use, counted from the first.
fn integer_registers(places: &[Place]) -> usize {
    let of = |place: &Place| match place {
        Place::Registers { parts, .. } => parts
            .iter()
            .filter(|part| matches!(part.register, AbiRegister::Integer(_)))
            .count(),
        Place::Stack(_) => 0,
    };
    places.iter().map(of).sum::<usize>().min(INTEGER_REGISTERS)
}

fn float_registers(places: &[Place]) -> Vec<usize> {
    let mut floats = Vec::new();
    for place in places {
        if let Place::Registers { parts, .. } = place {
            floats.extend(parts.iter().filter_map(|part| match part.register {
                AbiRegister::Float(n) => Some(n),
                AbiRegister::Integer(_) => None,
            }));
        }
    }
    floats
}

/// Where the floating-point parts of a result lie that has a home in the frame.
fn float_parts(parts: &[abi::RegisterPart], home: i64) -> Vec<(usize, i64)> {
    let at = |part: &abi::RegisterPart| match part.register {
        AbiRegister::Float(n) => Some((n, home + part.offset as i64)),
        AbiRegister::Integer(_) => None,
    };
    parts.iter().filter_map(at).collect()
}
