//! Programs with C code in them: two languages, two compilers, another linker.

use spelunk_dwarf::{Kind, PieceKind};

use crate::fixture::open_cgo;

#[test]
fn c_functions_are_described_beside_go_functions() {
    let Some(binary) = open_cgo() else { return };
    let in_go = binary
        .function_info(binary.function_named("main.inGo").expect("linked"))
        .expect("described");
    let in_c = binary
        .function_info(binary.function_named("use_point").expect("linked"))
        .expect("described");
    assert!(in_go.is_go && !in_c.is_go);
    assert!(
        in_c.decl_file.as_deref().is_some_and(|file| file.ends_with("main.go")),
        "{:?}",
        in_c.decl_file
    );

    let names: Vec<_> = in_c
        .params
        .iter()
        .chain(&in_c.scope.variables)
        .map(|v| &*v.name)
        .collect();
    assert_eq!(names, ["p", "color", "sum"]);
    // gcc keeps variables below the canonical frame address when it does not optimise.
    for variable in in_c.params.iter().chain(&in_c.scope.variables) {
        let location = binary.location(&in_c, variable, in_c.low_pc).expect("in the frame");
        assert!(
            matches!(location.pieces[0].kind, PieceKind::CfaOffset(..0)),
            "{location:?}"
        );
    }
    let row = binary.unwind_row(in_c.low_pc).expect(".eh_frame describes it");
    assert_eq!(row.cfa.offset, 8);
    assert_eq!(binary.is_go_code(in_c.low_pc), Some(false));
}

#[test]
fn c_types_have_the_names_that_delve_gives_them() {
    let Some(binary) = open_cgo() else { return };
    let function = binary
        .function_info(binary.function_named("use_point").expect("linked"))
        .expect("described");
    let pointer = binary.type_info(function.params[0].ty).expect("a type");
    assert_eq!(&*pointer.name, "*point_t");
    let Kind::Pointer { elem } = pointer.kind else {
        panic!("{pointer:?}")
    };
    let point = binary.type_info(elem).expect("a type");
    let Kind::Struct { fields } = &point.kind else {
        panic!("{point:?}")
    };
    let name = |id| binary.type_info(id).expect("a type").name.to_string();
    let shown: Vec<_> = fields
        .iter()
        .map(|f| (&*f.name, name(f.ty), f.offset, f.bits.map(|(_, n)| n)))
        .collect();
    let expected = [
        ("x", "int", 0, None),
        ("name", "*const char", 8, None),
        ("flags", "unsigned int", 16, Some(3)),
    ];
    assert_eq!(
        shown,
        expected.map(|(field, ty, offset, bits)| (field, ty.to_owned(), offset, bits))
    );
    let color = binary.type_info(function.params[1].ty).expect("a type");
    assert_eq!((&*color.name, color.size), ("color", 4));
    assert_eq!(color.kind, Kind::Int);
    assert!(binary.type_named("C.point").is_some() && binary.type_named("point").is_none());
}

#[test]
fn thread_local_variables_of_c_move_g() {
    let Some(binary) = open_cgo() else { return };
    // The block holds runtime.tlsg and `calls`: two words, g in the lower one.
    assert_eq!(binary.runtime_layout().expect("described").tls_g_offset, -16);
}

#[test]
fn lines_of_c_code_have_statements() {
    let Some(binary) = open_cgo() else { return };
    let function = binary.function_named("use_point").expect("linked");
    let info = binary.function_info(function).expect("described");
    let file = info.decl_file.clone().expect("known");
    let body = binary.statements(&file, info.decl_line + 2);
    assert!(body.iter().any(|s| function.contains(s.addr)), "{body:?}");
    let declaration = binary.prologue_end(function).expect("has a line table");
    assert!(declaration >= function.entry);
    assert!(
        binary
            .statements(&file, info.decl_line)
            .iter()
            .all(|s| s.function == function.entry)
    );
}
