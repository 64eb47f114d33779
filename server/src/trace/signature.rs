//! What a function is passed and returns: DWARF's parameters brought together with the places that the calling convention gives them.

use spelunk_dwarf::{Abi, Binary, DICTIONARY, DwarfError, FunctionInfo, Kind, PieceKind, TypeId, Variable};

use super::abi::{self, AbiRegister, Assignment, Convention, INTEGER_REGISTERS, Place};
use super::capture::{abi_register, placed};
use super::sites::StackGrowth;

/// Dictionaries may be longer than the words that parameters name.
const MAX_DICTIONARY_WORDS: u64 = 256;

/// A parameter or result, and where it is passed.
pub(crate) struct Passed<'i> {
    /// What DWARF says of it; nothing for a dictionary that the optimiser had no use for, and which is passed all the same.
    pub(crate) variable: Option<&'i Variable>,
    /// The type that is passed. A variable that escapes to the heap is described as a pointer, but passed as itself.
    pub(crate) ty: TypeId,
    /// Where.
    pub(crate) place: Place,
}

impl Passed<'_> {
    /// Its name in the source.
    pub(crate) fn name(&self) -> &str {
        self.variable.map_or(DICTIONARY, Variable::display_name)
    }

    /// The floating-point registers it takes.
    pub(crate) fn float_registers(&self) -> impl Iterator<Item = usize> {
        self.parts().iter().filter_map(|part| match part.register {
            AbiRegister::Float(n) => Some(n),
            AbiRegister::Integer(_) => None,
        })
    }

    pub(crate) fn parts(&self) -> &[abi::RegisterPart] {
        match &self.place {
            Place::Registers { parts, .. } => parts,
            Place::Stack(_) => &[],
        }
    }

    /// Whether it is still where it was passed after the stack has grown.
    pub(crate) fn survives(&self, growth: &StackGrowth) -> bool {
        self.parts().iter().all(|part| match part.register {
            AbiRegister::Integer(n) => growth.saves(n),
            AbiRegister::Float(n) => growth.saves_float(n),
        })
    }
}

/// How many integer registers parameters or results use, counted from the first.
pub(crate) fn integer_registers(passed: &[Passed<'_>]) -> usize {
    let of = |one: &Passed<'_>| {
        one.parts()
            .iter()
            .filter(|part| matches!(part.register, AbiRegister::Integer(_)))
            .count()
    };
    passed.iter().map(of).sum::<usize>().min(INTEGER_REGISTERS)
}

/// A function's parameters and results.
pub(crate) struct Signature<'i> {
    /// What DWARF says of the function.
    pub(crate) info: &'i FunctionInfo,
    /// How it is called.
    pub(crate) convention: Convention,
    /// The receiver, the dictionary of a generic function and the parameters, in the order in which they are passed.
    pub(crate) params: Vec<Passed<'i>>,
    /// The results.
    pub(crate) results: Vec<Passed<'i>>,
    /// Whether DWARF agrees with the convention, as far as it says anything. If a later compiler changed the convention, this is what keeps wrong values
    /// from being shown: parameters are then where DWARF says, and nowhere else.
    pub(crate) understood: bool,
    /// How many words of its dictionary say what the types of parameters and results stand for.
    pub(crate) dictionary_words: u64,
}

impl<'i> Signature<'i> {
    /// Works out where everything is passed.
    pub(crate) fn of(binary: &Binary, info: &'i FunctionInfo) -> Result<Signature<'i>, DwarfError> {
        let convention = if info.abi == Abi::Internal {
            Convention::Internal
        } else {
            Convention::Stack
        };
        let (results, params): (Vec<_>, Vec<_>) = once_each(&info.params).partition(|variable| variable.is_result);
        let results = described(binary, info, &results)?;
        let params = described(binary, info, &params)?;
        let assigned = |params: Described<'i>| assign(binary, info, convention, params, results.clone());
        let mut signature = assigned(params.clone())?;
        if let Some(at) = place_of_dropped_dictionary(binary, &info.name, &params)
            && let Some(ty) = binary.type_named("uintptr")
        {
            let mut with = params;
            with.insert(at, (None, ty));
            let with = assigned(with)?;
            if with.understood {
                signature = with;
            }
        }
        let types = signature.params.iter().chain(&signature.results).map(|one| one.ty);
        signature.dictionary_words = dictionary_words(binary, types);
        Ok(signature)
    }
}

/// How many words of a dictionary say what these types stand for, from its first on.
pub(super) fn dictionary_words(binary: &Binary, types: impl Iterator<Item = TypeId>) -> u64 {
    let indices = types.filter_map(|ty| binary.type_info(ty).ok()?.dict_index);
    indices
        .map(|index| index.saturating_add(1))
        .max()
        .unwrap_or(0)
        .min(MAX_DICTIONARY_WORDS)
}

/// Parameters or results with the types that are passed.
type Described<'i> = Vec<(Option<&'i Variable>, TypeId)>;

fn assign<'i>(
    binary: &Binary,
    info: &'i FunctionInfo,
    convention: Convention,
    params: Described<'i>,
    results: Described<'i>,
) -> Result<Signature<'i>, DwarfError> {
    let types = |described: &Described<'i>| described.iter().map(|(_, ty)| *ty).collect::<Vec<_>>();
    let Assignment {
        params: param_places,
        results: result_places,
    } = abi::assign(binary, convention, &types(&params), &types(&results))?;
    let passed = |described: Described<'i>, places: Vec<Place>| -> Vec<Passed<'i>> {
        described
            .into_iter()
            .zip(places)
            .map(|((variable, ty), place)| Passed { variable, ty, place })
            .collect()
    };
    let params = passed(params, param_places);
    let understood = params.iter().all(|param| agrees(binary, info, param));
    Ok(Signature {
        info,
        convention,
        params,
        results: passed(results, result_places),
        understood,
        dictionary_words: 0,
    })
}

/// The parameters and results of a function, each once: with optimisations the compiler describes a named result twice.
fn once_each(variables: &[Variable]) -> impl Iterator<Item = &Variable> {
    let mut seen = std::collections::HashSet::new();
    variables.iter().filter(move |variable| {
        let name = variable.display_name();
        name == "_" || seen.insert(name)
    })
}

fn described<'i>(
    binary: &Binary,
    function: &FunctionInfo,
    variables: &[&'i Variable],
) -> Result<Described<'i>, DwarfError> {
    let one = |variable: &&'i Variable| {
        let info = binary.type_info(variable.ty)?;
        let ty = match info.kind {
            Kind::Pointer { elem } if variable.escaped() && !is_passed_by_pointer(binary, function, variable) => elem,
            _ => variable.ty,
        };
        Ok((Some(*variable), ty))
    };
    variables.iter().map(one).collect()
}

/// Whether the pointer to an escaped variable is itself what is passed, as to a closure that is called where it is written: it is in a register when the function begins. The
/// pointer to a parameter that escapes is made later.
fn is_passed_by_pointer(binary: &Binary, function: &FunctionInfo, variable: &Variable) -> bool {
    binary
        .location(function, variable, function.low_pc)
        .is_ok_and(|location| matches!(&location.pieces[..], [piece] if matches!(piece.kind, PieceKind::Register(_))))
}

/// Where the dictionary stands among the parameters of a generic function whose DWARF does not name it: first, or behind the receiver.
fn place_of_dropped_dictionary(binary: &Binary, function: &str, params: &Described<'_>) -> Option<usize> {
    let named = |(variable, _): &(Option<&Variable>, TypeId)| {
        variable.is_some_and(|variable| variable.display_name() == DICTIONARY)
    };
    if !function.contains("[go.shape.") || params.iter().any(named) {
        return None;
    }
    let (generic, rest) = function.rsplit_once(']')?;
    if rest.is_empty() {
        return Some(0);
    }
    // `pkg.(*T[…]).M` and `pkg.T[…].M` are methods if their first parameter is a T; else they are functions inside of a generic one, which get the dictionary otherwise.
    let name = |text: &str| text.chars().filter(|c| !"(*)".contains(*c)).collect::<String>();
    let (_, receiver) = params.first()?;
    let receiver = binary.type_info(*receiver).ok()?;
    (name(&receiver.name) == name(&format!("{generic}]"))).then_some(1)
}

/// Whether DWARF, where it says anything of a parameter at the function's entry, says what the calling convention says.
fn agrees(binary: &Binary, info: &FunctionInfo, param: &Passed<'_>) -> bool {
    let Some(variable) = param.variable.filter(|variable| !variable.escaped()) else {
        return true;
    };
    let Ok(location) = binary.location(info, variable, info.low_pc) else {
        return true;
    };
    let pieces = &location.pieces[..];
    match &param.place {
        // Of a value of several words the compiler may describe one alone, without saying which.
        Place::Stack(offset) => {
            let size = binary.type_info(param.ty).map_or(8, |info| info.size as i64);
            let inside = |known: i64| (*offset..*offset + size.max(1)).contains(&known);
            pieces.iter().all(|piece| match piece.kind {
                PieceKind::CfaOffset(known) => inside(known),
                PieceKind::Register(_) => false,
                _ => true,
            })
        }
        Place::Registers { parts, .. } => {
            let somewhere = |number: u16| parts.iter().any(|part| Some(part.register) == abi_register(number));
            // A piece alone may stand for any of the components; more than one are in order.
            if let ([piece], [_, _, ..]) = (pieces, &parts[..]) {
                return !matches!(&piece.kind, PieceKind::Register(number) if !somewhere(number.0));
            }
            placed(binary, param.ty, &location)
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
