//! What the crate says about real Go programs: functions, parameters, types, variables, in several builds of one fixture.

use std::sync::Arc;

use crate::fixture::{Build, line_of, open};
use spelunk_dwarf::{
    Abi, Absence, Binary, BuildId, DwarfReg, FileAddr, Function, FunctionInfo, Kind, LocationError, Piece, PieceKind,
    TypeId, Variable, variables_of_function,
};

pub(crate) fn function<'b>(binary: &'b Binary, name: &str) -> &'b Function {
    binary
        .function_named(name)
        .unwrap_or_else(|| panic!("{name} is a function of the fixture"))
}

pub(crate) fn info(binary: &Binary, name: &str) -> Arc<FunctionInfo> {
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
fn each_instruction_has_one_row_to_unwind_by() {
    for flags in Build::DESCRIBED {
        let Some(binary) = open(flags) else { return };
        let add = function(&binary, "main.add");
        for pc in (add.entry.0..add.end.0).map(FileAddr) {
            let row = binary.unwind_row(pc).expect("described");
            assert!(row.range.contains(&pc), "{pc}: {row:?}");
            // Nothing is read twice.
            assert!(Arc::ptr_eq(&row, &binary.unwind_row(pc).expect("known")));
        }
        let rows = |name| binary.unwind_row(function(&binary, name).entry).expect("described");
        assert_ne!(rows("main.add"), rows("main.main"));
    }
}

#[test]
fn the_runtime_describes_what_a_debugger_looks_at() {
    for flags in Build::DESCRIBED {
        let Some(binary) = open(flags) else { return };
        let layout = binary.runtime_layout().expect("the runtime is described");
        assert!(layout.allgs.is_some() && layout.fing_status.is_some());
        assert!(layout.g_waitsince.is_some() && layout.g_labels.is_some());
        assert!(layout.m_vdso_sp.is_some() && layout.m_vdso_pc.is_some());
        // Go 1.21 has 34 reasons to wait, and none was ever taken away.
        assert!(layout.wait_reasons.is_some_and(|(_, count)| (30..256).contains(&count)));
        let start = function(&binary, "_rt0_amd64_linux");
        assert_eq!(binary.entry_point(), start.entry);
        assert_eq!(binary.is_go_code(start.entry), Some(true));
        assert_eq!(binary.is_go_code(FileAddr(1)), None);
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
