//! Prints what the debug information says about functions: `dump BINARY [--inlined] [FUNCTION...]`.
//!
//! A tool for developers of this crate. It also tells how long each step took. With `--inlined` it lists where the
//! functions were inlined as well, which takes a look at all units.

use std::io::{self, Write};
use std::path::Path;
use std::time::Instant;

use spelunk_dwarf::{Binary, DwarfError, Function, Kind, LocationRange, PieceKind, Scope, TypeId, Variable};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("usage: dump BINARY [--inlined] [FUNCTION...]")?;
    let (flags, names): (Vec<String>, Vec<String>) = arguments.partition(|argument| argument.starts_with("--"));
    let with_inlined = flags.iter().any(|flag| flag == "--inlined");
    let mut out = io::BufWriter::new(io::stdout().lock());

    let start = Instant::now();
    let binary = Binary::open(Path::new(&path))?;
    let opened = start.elapsed();
    let count = binary.functions().len();
    let listed = start.elapsed();
    let version = binary
        .go_version()
        .map_or_else(|| "of an unknown Go version".to_owned(), |version| version.raw);
    writeln!(
        out,
        "{path}: {version}, build id {}, {count} functions",
        binary.build_id()
    )?;
    for name in &names {
        let functions = binary.functions_named(name);
        if functions.is_empty() {
            writeln!(out, "no function {name}")?;
        }
        for function in functions {
            print_function(&mut out, &binary, function)?;
        }
        let sites = if with_inlined {
            binary.inlined_calls_of(name)
        } else {
            Vec::new()
        };
        for site in sites {
            let file = site.call_file.as_deref().unwrap_or("?").to_owned();
            writeln!(
                out,
                "inlined at {} for the call at {file}:{}",
                site.range.start, site.call_line
            )?;
        }
    }
    out.flush()?;
    eprintln!(
        "opened in {opened:?}, functions listed after {listed:?}, all printed after {:?}",
        start.elapsed()
    );
    Ok(())
}

fn print_function(
    out: &mut impl Write,
    binary: &Binary,
    function: &Function,
) -> Result<(), Box<dyn std::error::Error>> {
    writeln!(
        out,
        "{} {}..{} {:?}",
        function.name, function.entry, function.end, function.abi
    )?;
    let info = match binary.function_info(function) {
        Ok(info) => info,
        Err(error @ DwarfError::NoFunction(_)) => return Ok(writeln!(out, "  {error}")?),
        Err(error) => return Err(error.into()),
    };
    let file = info.decl_file.as_deref().unwrap_or("?");
    let optimized = if info.optimized { ", optimised" } else { "" };
    writeln!(out, "  declared at {file}:{}{optimized}", info.decl_line)?;
    if let Some(end) = binary.prologue_end(function) {
        let cfa = binary.cfa(end)?;
        let register = cfa.register.name().unwrap_or("?");
        writeln!(
            out,
            "  prologue ends at {end}, where the CFA is {register}{:+}",
            cfa.offset
        )?;
    }
    for variable in &info.params {
        let role = if variable.is_result { "result" } else { "parameter" };
        print_variable(out, binary, role, variable, &binary.locations(&info, variable)?, 2)?;
    }
    print_scope(out, binary, &info, &info.scope, 2)
}

fn print_scope(
    out: &mut impl Write,
    binary: &Binary,
    info: &spelunk_dwarf::FunctionInfo,
    scope: &Scope,
    indent: usize,
) -> Result<(), Box<dyn std::error::Error>> {
    for (role, variable) in scope
        .params
        .iter()
        .map(|v| ("parameter", v))
        .chain(scope.variables.iter().map(|v| ("variable", v)))
    {
        print_variable(out, binary, role, variable, &binary.locations(info, variable)?, indent)?;
    }
    for child in &scope.children {
        let what = match &child.inlined {
            Some(call) => format!("inlined {} from line {}", call.name, call.call_line),
            None => "block".to_owned(),
        };
        let ranges: Vec<String> = child
            .ranges
            .iter()
            .map(|range| format!("{}..{}", range.start, range.end))
            .collect();
        writeln!(out, "{:indent$}{what} {}", "", ranges.join(" "))?;
        print_scope(out, binary, info, child, indent + 2)?;
    }
    Ok(())
}

fn print_variable(
    out: &mut impl Write,
    binary: &Binary,
    role: &str,
    variable: &Variable,
    locations: &[LocationRange],
    indent: usize,
) -> io::Result<()> {
    let ty = describe_type(binary, variable.ty);
    writeln!(
        out,
        "{:indent$}{role} {} {ty} (line {})",
        "", variable.name, variable.decl_line
    )?;
    if locations.is_empty() {
        writeln!(out, "{:indent$}  nowhere", "")?;
    }
    for LocationRange { range, location } in locations {
        let place = match location {
            Ok(location) => {
                let pieces = location
                    .pieces
                    .iter()
                    .map(|piece| format!("{}:{}", place(&piece.kind), piece.size));
                pieces.collect::<Vec<_>>().join(" ")
            }
            Err(error) => error.to_string(),
        };
        writeln!(out, "{:indent$}  {}..{} {place}", "", range.start, range.end)?;
    }
    Ok(())
}

fn place(kind: &PieceKind) -> String {
    let name = |register: spelunk_dwarf::DwarfReg| {
        register
            .name()
            .map_or_else(|| format!("r#{}", register.0), str::to_owned)
    };
    match kind {
        PieceKind::Register(register) => name(*register),
        PieceKind::CfaOffset(offset) => format!("[cfa{offset:+}]"),
        PieceKind::RegisterOffset(register, offset) => format!("[{}{offset:+}]", name(*register)),
        PieceKind::Addr(address) => format!("[{address}]"),
        PieceKind::Const(bytes) => format!("{bytes:?}"),
        PieceKind::Empty => "-".to_owned(),
    }
}

/// The name, the size, and for structs the fields.
fn describe_type(binary: &Binary, id: TypeId) -> String {
    let ty = match binary.type_info(id) {
        Ok(ty) => ty,
        Err(error) => return format!("({error})"),
    };
    let detail = match &ty.kind {
        Kind::Struct { fields } => {
            let fields = fields.iter().map(|field| format!("{}@{}", field.name, field.offset));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(" "))
        }
        Kind::Interface { empty: true } => "empty".to_owned(),
        _ => String::new(),
    };
    format!(
        "{} [{} bytes{}{detail}]",
        ty.name,
        ty.size,
        if detail.is_empty() { "" } else { " " }
    )
}
