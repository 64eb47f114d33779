//! Lines, addresses and inlined calls of real Go programs, and reading all of one.

use std::sync::Arc;

use crate::fixture::{Build, build, line_of, open};
use crate::go_programs::{function, info};
use spelunk_dwarf::{Binary, BuildId, FileAddr, FileOffset, LoadBias, LocationError, ProcAddr, Variable};

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
                let line_of = |pc| {
                    let frames = binary.frames_at(pc);
                    frames.first().and_then(|f| Some((f.file.clone()?, f.line)))
                };
                // Go's linker may begin a wrapper's rows behind its first instruction; what is before has the first line there is.
                let lines_from_here = (pc.0..function.end.0).map(|pc| line_of(FileAddr(pc)));
                let expected = lines_from_here.flatten().next();
                assert_eq!(binary.line_at(pc), expected, "{} {pc}", function.name);
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
