//! What the crate says about real Go programs, in several builds of one fixture.

use std::sync::Arc;

use crate::fixture::{Build, build, line_of, open};
use spelunk_dwarf::{
    Abi, Absence, Binary, BuildId, DwarfReg, FileAddr, FileOffset, Function, FunctionInfo, Kind, LoadBias,
    LocationError, Piece, PieceKind, ProcAddr, TypeId, Variable, variables_of_function,
};

fn function<'b>(binary: &'b Binary, name: &str) -> &'b Function {
    binary
        .function_named(name)
        .unwrap_or_else(|| panic!("{name} is a function of the fixture"))
}

fn info(binary: &Binary, name: &str) -> Arc<FunctionInfo> {
    binary
        .function_info(function(binary, name))
        .unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn param<'i>(info: &'i FunctionInfo, name: &str) -> &'i Variable {
    info.params
        .iter()
        .find(|v| &*v.name == name)
        .unwrap_or_else(|| panic!("{} has a parameter {name}", info.name))
}

fn type_name(binary: &Binary, id: TypeId) -> String {
    binary
        .type_info(id)
        .map_or_else(|error| error.to_string(), |ty| ty.name.to_string())
}

/// The registers that a parameter is in when the function is entered.
fn registers_at_entry(binary: &Binary, info: &FunctionInfo, name: &str) -> Vec<&'static str> {
    let location = binary
        .location(info, param(info, name), info.low_pc)
        .unwrap_or_else(|e| panic!("{name}: {e}"));
    let register = |piece: &Piece| match piece.kind {
        PieceKind::Register(register) => register.name(),
        _ => None,
    };
    location
        .pieces
        .iter()
        .map(|piece| register(piece).unwrap_or_else(|| panic!("{name} is at {piece:?}")))
        .collect()
}

#[test]
fn a_binary_says_what_it_is() {
    for flags in Build::DESCRIBED {
        let Some(binary) = open(flags) else { return };
        let version = binary.go_version().expect("Go records its version");
        assert!(version.at_least(1, 21), "{version}");
        assert_eq!(binary.is_pie(), flags == Build::Pie);
        let id = binary.build_id();
        assert!(id.go.as_deref().is_some_and(|id| id.contains('/')), "{id:?}");
        assert_eq!(BuildId::of_file(binary.path()).expect("readable"), id);
    }
}

#[test]
fn functions_are_found_by_name_and_by_address() {
    for flags in Build::DESCRIBED {
        let Some(binary) = open(flags) else { return };
        for name in [
            "main.add",
            "main.(*Point).Move",
            "main.closure.func1",
            "fmt.Fprintln",
            "runtime.mallocgc",
        ] {
            let found = function(&binary, name);
            assert!(found.size() > 0 && found.abi == Abi::Internal, "{found:?}");
            let inside = found.entry.offset(found.size() as i64 - 1).expect("in range");
            assert_eq!(binary.function_at(inside), Some(found));
            assert_ne!(binary.function_at(found.end), Some(found));
        }
        assert!(binary.functions().is_sorted_by_key(|f| f.entry));
        assert_eq!(binary.function_named("main.doesNotExist"), None);
        assert_eq!(binary.function_at(FileAddr(0)), None);
        let start = binary.functions_named("runtime.rt0_go");
        assert!(start.iter().any(|f| f.abi == Abi::Abi0), "{start:?}");
    }
}

#[test]
fn parameters_arrive_in_the_registers_of_the_internal_abi() {
    for flags in Build::DESCRIBED {
        let Some(binary) = open(flags) else { return };
        let add = info(&binary, "main.add");
        assert_eq!(registers_at_entry(&binary, &add, "x"), ["rax"]);
        assert_eq!(registers_at_entry(&binary, &add, "y"), ["rbx"]);
        assert_eq!(add.decl_line, line_of("func add("));
        assert_eq!(add.optimized, !matches!(flags, Build::Debug | Build::Uncompressed));

        let mixed = info(&binary, "main.mixed");
        assert_eq!(registers_at_entry(&binary, &mixed, "p"), ["rax"]);
        assert_eq!(registers_at_entry(&binary, &mixed, "s"), ["rbx", "rcx"]);
        assert_eq!(registers_at_entry(&binary, &mixed, "xs"), ["rdi", "rsi", "r8"]);
        assert_eq!(registers_at_entry(&binary, &mixed, "m"), ["r9"]);
        assert_eq!(registers_at_entry(&binary, &mixed, "e"), ["r10", "r11"]);
        // What no longer fits into registers comes on the stack: i first, then c.
        let place = |name| {
            binary
                .location(&mixed, param(&mixed, name), mixed.low_pc)
                .map(|l| l.pieces)
        };
        assert_eq!(
            place("i"),
            Ok(vec![Piece {
                kind: PieceKind::CfaOffset(0),
                size: 16
            }])
        );
        assert_eq!(
            place("c"),
            Ok(vec![Piece {
                kind: PieceKind::CfaOffset(16),
                size: 8
            }])
        );

        let many = info(&binary, "main.many");
        let integers = ["rax", "rbx", "rcx", "rdi", "rsi", "r8", "r9", "r10", "r11"];
        for (name, register) in ["a", "b", "c", "d", "e", "f", "g", "h", "i"].into_iter().zip(integers) {
            assert_eq!(registers_at_entry(&binary, &many, name), [register]);
        }
        assert_eq!(registers_at_entry(&binary, &many, "fl"), ["xmm0"]);
        let j = binary.location(&many, param(&many, "j"), many.low_pc).map(|l| l.pieces);
        assert_eq!(
            j,
            Ok(vec![Piece {
                kind: PieceKind::CfaOffset(0),
                size: 8
            }])
        );

        let names: Vec<(&str, bool)> = mixed.params.iter().map(|v| (&*v.name, v.is_result)).collect();
        let expected = ["p", "s", "xs", "m", "e", "i", "c"]
            .map(|name| (name, false))
            .into_iter();
        assert_eq!(
            names,
            expected.chain([("~r0", true), ("~r1", true)]).collect::<Vec<_>>()
        );
    }
}

#[test]
fn parameters_are_spilled_to_their_homes() {
    for flags in [Build::Debug, Build::Uncompressed] {
        let Some(binary) = open(flags) else { return };
        let mixed = info(&binary, "main.mixed");
        let pc = binary
            .statements(mixed.decl_file.as_deref().expect("known"), line_of("if p == nil"))
            .first()
            .expect("has code")
            .addr;
        let home = |name| binary.location(&mixed, param(&mixed, name), pc).map(|l| l.pieces);
        // Above the stack arguments (24 bytes) is the room for the register arguments, in order.
        assert_eq!(
            home("p"),
            Ok(vec![Piece {
                kind: PieceKind::CfaOffset(24),
                size: 8
            }])
        );
        assert_eq!(
            home("s"),
            Ok(vec![Piece {
                kind: PieceKind::CfaOffset(32),
                size: 16
            }])
        );
        assert_eq!(
            home("xs"),
            Ok(vec![Piece {
                kind: PieceKind::CfaOffset(48),
                size: 24
            }])
        );

        let result = param(&mixed, "~r0");
        let location = binary
            .location(&mixed, result, pc)
            .expect("results have a home without optimisation");
        assert!(
            matches!(
                location.pieces[..],
                [Piece {
                    kind: PieceKind::CfaOffset(..0),
                    size: 16
                }]
            ),
            "{location:?}"
        );
    }
}

#[test]
fn what_is_nowhere_is_not_given_a_place() {
    let Some(binary) = open(Build::Optimized) else { return };
    let calls_small = info(&binary, "main.callsSmall");
    let result = param(&calls_small, "~r0");
    assert_eq!(
        binary.location(&calls_small, result, calls_small.low_pc),
        Err(LocationError::OptimizedOut(Absence::Empty))
    );
    let add = info(&binary, "main.add");
    // x is dead behind the call of Printf and the addition.
    let last = FileAddr(add.high_pc.0 - 1);
    let ranges = binary.locations(&add, param(&add, "y")).expect("y has a list");
    if !ranges.iter().any(|range| range.range.contains(&last)) {
        let error = binary
            .location(&add, param(&add, "y"), last)
            .expect_err("it is dead there");
        assert!(error.is_optimized_out());
        let text = error.to_string();
        assert!(text.starts_with("could not find loclist entry at 0x"), "{text}");
        assert!(text.ends_with(&format!(" for address {last}")), "{text}");
    }
    assert!(
        ranges.iter().any(|range| range.range.contains(&add.low_pc)),
        "{ranges:?}"
    );
}

#[test]
fn the_frame_address_follows_the_stack_pointer() {
    for flags in Build::DESCRIBED {
        let Some(binary) = open(flags) else { return };
        let add = function(&binary, "main.add");
        let entry = binary.unwind_row(add.entry).expect("described");
        assert_eq!((entry.cfa.register, entry.cfa.offset), (DwarfReg::RSP, 8));
        let code = binary.code(add.entry, add.size() as usize).expect("in the file");
        let call = code.iter().position(|byte| *byte == 0xe8).expect("it calls Printf") as i64;
        let deep = binary
            .cfa(add.entry.offset(call).expect("in range"))
            .expect("described");
        assert_eq!(deep.register, DwarfReg::RSP);
        assert!(deep.offset > 16, "{deep:?}");
        assert!(binary.cfa(FileAddr(1)).is_err());
    }
}

#[test]
fn types_of_every_kind_are_described() {
    for flags in Build::DESCRIBED {
        let Some(binary) = open(flags) else { return };
        let receiver = param(&info(&binary, "main.(*Big).Size"), "b").ty;
        let pointer = binary.type_info(receiver).expect("a type");
        assert_eq!(&*pointer.name, "*main.Big");
        let Kind::Pointer { elem } = pointer.kind else {
            panic!("{pointer:?}")
        };
        let big = binary.type_info(elem).expect("a type");
        assert_eq!((&*big.name, big.package()), ("main.Big", Some("main")));
        let Kind::Struct { fields } = &big.kind else {
            panic!("{big:?}")
        };
        let field = |name: &str| {
            let field = fields
                .iter()
                .find(|f| &*f.name == name)
                .unwrap_or_else(|| panic!("Big has a field {name}"));
            (field, binary.type_info(field.ty).expect("a type"))
        };
        let shown: Vec<(&str, String, u64)> = fields
            .iter()
            .map(|f| (&*f.name, type_name(&binary, f.ty), f.offset))
            .collect();
        let expected = [
            ("Inner", "main.Inner", 0),
            ("Point", "*main.Point", 16),
            ("A", "[4]int32", 24),
            ("M", "map[string]*main.Big", 40),
            ("C", "chan int", 48),
            ("F", "func(int, string) error", 56),
            ("I", "interface {}", 64),
            ("E", "error", 80),
            ("R", "[]int32", 96),
            ("Anon", "struct { Q int8; Z string }", 120),
            ("Next", "*main.Big", 144),
            ("B", "bool", 152),
            ("F32", "float32", 156),
            ("C128", "complex128", 160),
            ("U", "uintptr", 176),
        ];
        assert_eq!(shown, expected.map(|(name, ty, offset)| (name, ty.to_owned(), offset)));
        assert_eq!(big.size, 184);
        assert!(field("Inner").0.embedded && field("Point").0.embedded && !field("A").0.embedded);

        let (_, array) = field("A");
        let Kind::Array { elem, len, stride } = array.kind else {
            panic!("{array:?}")
        };
        assert_eq!(
            (type_name(&binary, elem).as_str(), len, stride, array.size),
            ("int32", 4, 4, 16)
        );
        let (_, map) = field("M");
        let Kind::Map { key, elem, header } = map.kind else {
            panic!("{map:?}")
        };
        assert_eq!(
            (type_name(&binary, key), type_name(&binary, elem)),
            ("string".into(), "*main.Big".into())
        );
        assert!(matches!(
            binary.type_info(header).expect("a type").kind,
            Kind::Struct { .. }
        ));
        assert_eq!(map.size, 8);
        let (_, channel) = field("C");
        let Kind::Chan { elem, header } = channel.kind else {
            panic!("{channel:?}")
        };
        assert_eq!(type_name(&binary, elem), "int");
        assert!(binary.field_offset(header, "qcount").is_ok());
        let (_, slice) = field("R");
        let Kind::Slice { elem } = slice.kind else {
            panic!("{slice:?}")
        };
        assert_eq!((type_name(&binary, elem).as_str(), slice.size), ("int32", 24));
        let kind = |name| (field(name).1.kind.clone(), field(name).1.size);
        assert_eq!(kind("F"), (Kind::Func, 8));
        assert_eq!(kind("I"), (Kind::Interface { empty: true }, 16));
        assert_eq!(kind("E"), (Kind::Interface { empty: false }, 16));
        assert_eq!(kind("B"), (Kind::Bool, 1));
        assert_eq!(kind("F32"), (Kind::Float, 4));
        assert_eq!(kind("C128"), (Kind::Complex, 16));
        assert_eq!(kind("U"), (Kind::Uintptr, 8));
        let (_, anonymous) = field("Anon");
        let Kind::Struct { fields } = &anonymous.kind else {
            panic!("{anonymous:?}")
        };
        assert_eq!(
            fields.iter().map(|f| (&*f.name, f.offset)).collect::<Vec<_>>(),
            [("Q", 0), ("Z", 8)]
        );
        assert_eq!(
            binary.type_info(fields[0].ty).map(|ty| (ty.kind.clone(), ty.size)),
            Ok((Kind::Int, 1))
        );
        assert!(binary.type_info(TypeId::UNKNOWN).is_err());
        assert!(binary.type_info(TypeId(1)).is_err());
    }
}

#[test]
fn generic_functions_have_a_body_for_each_shape() {
    for flags in Build::DESCRIBED {
        let Some(binary) = open(flags) else { return };
        let shapes: Vec<_> = binary
            .functions()
            .iter()
            .filter(|f| f.name.starts_with("main.Pair[go.shape.") && f.name.ends_with(".Show"))
            .collect();
        assert_eq!(shapes.len(), 2, "{shapes:?}");
        let string_int = shapes
            .iter()
            .find(|f| f.name.contains("go.shape.string"))
            .expect("instantiated");
        let show = binary.function_info(string_int).expect("described");
        let receiver = param(&show, "p");
        let ty = binary.type_info(receiver.ty).expect("a type");
        assert_eq!((ty.size, ty.dict_index.is_some()), (24, true));
        assert!(matches!(ty.kind, Kind::Struct { .. }));
        assert_eq!(registers_at_entry(&binary, &show, "p"), ["rax", "rbx", "rcx"]);
        // The dictionary comes behind the receiver; optimised code that does not need it does not keep it.
        let dictionary = show.params.iter().find(|v| v.is_internal());
        if !show.optimized {
            assert_eq!(dictionary.map(|v| &*v.name), Some(".dict"));
            assert_eq!(registers_at_entry(&binary, &show, ".dict"), ["rdi"]);
        }
        // The concrete type is known as well.
        let concrete = binary.type_named("main.Pair[string,int]").expect("known by name");
        assert_eq!(binary.type_info(concrete).map(|ty| ty.size), Ok(24));
    }
}

#[test]
fn runtime_types_lead_back_to_types() {
    for flags in Build::DESCRIBED {
        let Some(binary) = open(flags) else { return };
        let layout = binary.runtime_layout().expect("the runtime is described");
        let all = binary.runtime_types();
        assert!(all.len() > 200, "{}", all.len());
        // The size that the runtime's own description has must be the one that DWARF has.
        for (address, id) in &all {
            let ty = binary.type_info(*id).expect("a type");
            assert_eq!(binary.type_by_runtime(*address), Some(*id));
            assert_eq!(ty.runtime_type, Some(*address), "{}", ty.name);
            let size = binary
                .code(address.offset(layout.type_size as i64).expect("in range"), 8)
                .expect("in the file");
            assert_eq!(
                u64::from_le_bytes(size.try_into().expect("eight bytes")),
                ty.size,
                "{}",
                ty.name
            );
        }
        let names: Vec<String> = all.iter().map(|(_, id)| type_name(&binary, *id)).collect();
        for name in ["int", "string", "*main.Point", "main.Color", "error", "map[string]int"] {
            assert!(names.iter().any(|known| known == name), "{name} has a runtime type");
        }
        assert_eq!(layout.tls_g_offset, -8);
        assert!(layout.g_goid > layout.g_stack_hi && layout.g_stack_hi == 8);
        assert!(layout.allgs.is_some());
    }
}

#[test]
fn globals_and_constants_are_known() {
    for flags in Build::DESCRIBED {
        let Some(binary) = open(flags) else { return };
        let (ty, addr) = binary.global_named("main.Global").expect("a package variable");
        assert_eq!(type_name(&binary, ty), "main.Big");
        // It is initialised statically: a pointer (relocated when the program may be anywhere) and the length 6.
        let bytes = binary.code(addr, 16).expect("in the file");
        assert_eq!(&bytes[8..], 6u64.to_le_bytes());
        assert_eq!(binary.read_only(addr, 16), None, "variables are not constant");
        assert_eq!(binary.global_named("main.nothing"), None);

        let color = param(&info(&binary, "main.mixed"), "c").ty;
        let mut constants = binary.constants_of(color).to_vec();
        constants.sort_by_key(|(_, value)| *value);
        let expected = [("main.Red", 0), ("main.Green", 1), ("main.Blue", 2)];
        assert_eq!(constants, expected.map(|(name, value)| (name.to_owned(), value)));
    }
}

#[test]
fn variables_are_visible_by_scope_and_line() {
    for flags in [Build::Debug, Build::Uncompressed] {
        let Some(binary) = open(flags) else { return };
        let shadow = info(&binary, "main.shadow");
        let file = shadow.decl_file.clone().expect("known");
        let at = |text: &str| {
            let line = line_of(text);
            let pc = binary
                .statements(&file, line)
                .first()
                .unwrap_or_else(|| panic!("{text} has code"))
                .addr;
            binary
                .variables_in_scope(&shadow, pc, line)
                .iter()
                .map(|s| (s.variable.display_name().to_owned(), s.shadowed))
                .collect::<Vec<_>>()
        };
        let names = |pairs: &[(&str, bool)]| pairs.iter().map(|(n, s)| ((*n).to_owned(), *s)).collect::<Vec<_>>();
        assert_eq!(at("w := v"), names(&[("v", false), ("~r0", false)]));
        assert_eq!(
            at("fmt.Println(w)"),
            names(&[("v", false), ("~r0", false), ("w", true), ("w", false)])
        );
        assert_eq!(at("return w"), names(&[("v", false), ("~r0", false), ("w", false)]));

        let escapes = info(&binary, "main.escapes");
        let v = escapes
            .scope
            .variables
            .iter()
            .find(|v| v.display_name() == "v")
            .expect("declared");
        assert!(v.escaped());
        assert_eq!(type_name(&binary, v.ty), "*int");

        let closure = info(&binary, "main.closure.func1");
        let captured: Vec<_> = closure
            .scope
            .variables
            .iter()
            .filter_map(|v| Some((v.display_name(), v.closure_offset?)))
            .collect();
        // The attribute came with Go 1.23.
        if binary.go_version().is_some_and(|version| version.at_least(1, 23)) {
            assert_eq!(captured, [("k", 8), ("n", 16)]);
            let visible = variables_of_function(&closure, closure.low_pc, closure.decl_line);
            assert_eq!(visible.len(), 4);
        }
    }
}

#[test]
fn lines_lead_to_statements_and_back() {
    for flags in Build::DESCRIBED {
        let Some(binary) = open(flags) else { return };
        let file = info(&binary, "main.add").decl_file.clone().expect("known");
        if flags == Build::Trimpath {
            assert_eq!(&*file, "example.com/kinds/main.go");
        } else {
            assert_eq!(&*file, crate::fixture::source().join("main.go").to_str().expect("text"));
        }
        assert!(binary.files().contains(&file));
        let line = line_of("z = x + y");
        let [statement] = &binary.statements(&file, line)[..] else {
            panic!("one place adds")
        };
        assert_eq!(statement.function, function(&binary, "main.add").entry);
        assert_eq!(binary.line_at(statement.addr), Some((Arc::clone(&file), line)));
        let range = binary.statement_range(statement.addr).expect("in a line table");
        assert!(range.contains(&statement.addr) && range.end > range.start);
        assert_ne!(binary.line_at(range.end).map(|(_, line)| line), Some(line));

        // The declaration's line means the first place where the arguments have arrived.
        let add = function(&binary, "main.add");
        let declaration = binary.statements(&file, line_of("func add("));
        let behind = binary.prologue_end(add).expect("has a line table");
        assert!(behind > add.entry && behind < add.end);
        assert!(declaration.iter().any(|s| s.addr == behind), "{declaration:?} {behind}");

        assert_eq!(binary.statements(&file, line_of("type Big struct")), []);
        assert_eq!(binary.statements(&file, 1_000_000), []);
        assert_eq!(binary.statements("/nowhere.go", 1), []);
        assert_eq!(binary.line_at(FileAddr(1)), None);
    }
}

#[test]
fn inlined_calls_are_found() {
    for flags in [Build::Optimized, Build::Pie, Build::Trimpath] {
        let Some(binary) = open(flags) else { return };
        let caller = info(&binary, "main.callsSmall");
        let file = caller.decl_file.clone().expect("known");
        assert!(binary.inlined_functions().iter().any(|name| &**name == "main.small"));
        let sites = binary.inlined_calls_of("main.small");
        let lines: Vec<u32> = sites
            .iter()
            .filter(|s| s.caller == caller.low_pc)
            .map(|s| s.call_line)
            .collect();
        assert_eq!(lines.len(), 2, "{sites:?}");
        assert!(lines.contains(&line_of("r := small(q)")) && lines.contains(&line_of("r += small(")));
        assert!(sites.iter().all(|site| site.call_file.as_ref() == Some(&file)));

        // The line within the callee has one statement for each copy.
        let copies = binary.statements(&file, line_of("b := a * 3"));
        let copies: Vec<_> = copies.iter().filter(|s| s.function == caller.low_pc).collect();
        assert_eq!(copies.len(), 2, "{copies:?}");
        assert!(copies.iter().all(|s| s.inlined.as_deref() == Some("main.small")));

        let pc = copies[0].addr;
        let frames = binary.frames_at(pc);
        let names: Vec<_> = frames.iter().map(|f| (&*f.function, f.inlined)).collect();
        assert_eq!(names, [("main.small", true), ("main.callsSmall", false)]);
        assert_eq!(frames[0].line, line_of("b := a * 3"));
        assert_eq!(frames[0].file, Some(Arc::clone(&file)));
        let visible = binary.variables_in_scope(&caller, pc, line_of("return b + 1"));
        let names: Vec<_> = visible.iter().map(|s| &*s.variable.name).collect();
        assert!(names.contains(&"a") && !names.contains(&"q"), "{names:?}");
        assert!(
            visible
                .iter()
                .all(|s| s.inlined.is_some_and(|call| &*call.name == "main.small"))
        );
    }
}

#[test]
fn every_function_can_be_read() {
    for flags in [Build::Debug, Build::Optimized, Build::Pie] {
        let Some(binary) = open(flags) else { return };
        let (mut found, mut damaged) = (0, 0);
        for function in binary.functions() {
            let Ok(info) = binary.function_info(function) else {
                panic!("{} is not described", function.name)
            };
            assert_eq!(
                (info.low_pc, info.high_pc),
                (function.entry, function.end),
                "{}",
                function.name
            );
            let mut scopes = vec![&info.scope];
            let mut variables: Vec<&Variable> = info.params.iter().collect();
            while let Some(scope) = scopes.pop() {
                variables.extend(scope.params.iter().chain(&scope.variables));
                scopes.extend(&scope.children);
            }
            for variable in variables {
                let ty = binary
                    .type_info(variable.ty)
                    .unwrap_or_else(|e| panic!("{}: {e}", variable.name));
                for range in binary
                    .locations(&info, variable)
                    .unwrap_or_else(|e| panic!("{}: {e}", variable.name))
                {
                    match range.location {
                        Ok(location) => {
                            let size: u64 = location.pieces.iter().map(|piece| u64::from(piece.size)).sum();
                            assert_eq!(size, ty.size, "{} in {}", variable.name, info.name);
                            found += 1;
                        }
                        Err(error) => {
                            assert!(
                                !matches!(error, LocationError::Unsupported(_)),
                                "{}: {error}",
                                info.name
                            );
                            damaged += usize::from(!error.is_optimized_out());
                        }
                    }
                }
            }
        }
        // Go describes a few variables of which only one half is left as if that half were all.
        assert!(
            found > 10_000 && damaged * 200 < found,
            "{found} locations, {damaged} damaged"
        );
    }
}

#[test]
fn many_threads_may_ask_at_once() {
    use rayon::prelude::*;

    fn shared<T: Send + Sync>(_: &T) {}
    for _ in 0..5 {
        let Some(binary) = open(Build::Optimized) else { return };
        shared(&binary);
        // The first task of each thread meets an unread binary, and rayon hands out further ones while it waits.
        let parts: Vec<usize> = binary
            .functions()
            .par_iter()
            .filter(|f| f.name.starts_with("main.") || f.name.starts_with("fmt."))
            .map(|function| {
                let info = binary.function_info(function).expect("described");
                let typed = info.params.iter().filter(|v| binary.type_info(v.ty).is_ok()).count();
                let _ = (binary.type_named("main.Big"), binary.frames_at(function.entry));
                let file = info.decl_file.as_deref().unwrap_or_default();
                typed + binary.inlined_calls_of(&function.name).len() + binary.statements(file, info.decl_line).len()
            })
            .collect();
        assert!(parts.len() > 50 && parts.iter().sum::<usize>() > 100, "{parts:?}");
    }
}

#[test]
fn our_line_table_agrees_with_addr2line() {
    for flags in [Build::Debug, Build::Optimized] {
        let Some(binary) = open(flags) else { return };
        let mut compared = 0;
        for function in binary
            .functions()
            .iter()
            .filter(|f| f.name.starts_with("main.") || f.name.starts_with("fmt."))
        {
            let info = binary.function_info(function).expect("described");
            for step in 0..function.size() {
                let pc = FileAddr(function.entry.0 + step);
                let frames = binary.frames_at(pc);
                let innermost = frames.first().and_then(|f| Some((f.file.clone()?, f.line)));
                assert_eq!(binary.line_at(pc), innermost, "{} {pc}", function.name);
                let inlined = info.scope.inlined_at(pc);
                let ours = inlined
                    .iter()
                    .rev()
                    .filter_map(|scope| scope.inlined.as_ref())
                    .map(|call| &call.name);
                let ours: Vec<_> = ours.chain([&info.name]).collect();
                assert_eq!(ours, frames.iter().map(|f| &f.function).collect::<Vec<_>>(), "{pc}");
                compared += 1;
            }
        }
        assert!(compared > 10_000, "{compared}");
    }
}

#[test]
fn addresses_and_offsets_convert() {
    for flags in [Build::Debug, Build::Pie] {
        let Some(binary) = open(flags) else { return };
        let add = function(&binary, "main.add");
        let offset = binary.file_offset(add.entry).expect("code is in the file");
        assert_eq!(binary.file_addr(offset), Some(add.entry));
        let file = std::fs::read(binary.path()).expect("readable");
        let code = binary.code(add.entry, 16).expect("in the file");
        assert_eq!(&file[offset.0 as usize..][..16], code);
        assert_eq!(binary.read_only(add.entry, 16), Some(code));
        assert_eq!(binary.file_offset(FileAddr(1)), None);
        assert_eq!(binary.code(add.entry, usize::MAX), None);

        let text = binary
            .segments()
            .iter()
            .find(|s| s.executable)
            .expect("programs have code");
        let bias = binary
            .load_bias_of(ProcAddr(0x7000_0000_0000), FileOffset(text.file.start))
            .expect("code");
        assert_eq!(bias.to_proc(text.start), ProcAddr(0x7000_0000_0000));
        assert_eq!(binary.load_bias_of(ProcAddr(0), FileOffset(u64::MAX)), None);
        let unmoved = binary.load_bias_of(ProcAddr(text.start.0), FileOffset(text.file.start));
        assert_eq!(unmoved, Some(LoadBias::default()));
    }
    // Where the loader relocates, the file's bytes are not the program's.
    let Some(binary) = open(Build::Pie) else { return };
    let types = binary.symbol_named("runtime.types").expect("a symbol");
    assert!(binary.code(types, 64).is_some());
    assert_eq!(binary.read_only(types, 64), None);
}

#[test]
fn a_stripped_program_is_refused_with_advice() {
    let Some(path) = build(Build::Stripped) else { return };
    let message = Binary::open(&path).expect_err("nothing is left").to_string();
    assert!(
        message.contains(path.to_str().expect("text")) && message.contains("-ldflags='-s -w'"),
        "{message}"
    );
    assert!(!BuildId::of_file(&path).expect("has a build id").is_empty());
}
