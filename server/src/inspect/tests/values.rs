//! Variables and expressions of real frames, held against what Delve 1.27.1 says of the same program (`values/expected`).

use std::collections::BTreeMap;
use std::path::Path;

use super::program::{Build, Program, Snapshot, eventually};
use crate::inspect::{Frame, FrameScope, GoroutineContext, Stopped, Whose, Write, goroutines, stack};
use crate::value::{Content, LoadConfig, Style, Value, is_made_up};

/// The frames of the fixture's own functions on its first goroutine, innermost first.
pub(super) fn frames(stopped: &Snapshot<'_>) -> (Vec<Frame>, GoroutineContext) {
    let (all, _) = goroutines(stopped, 0, 0).expect("the list can be read");
    let main = all.iter().find(|g| g.id == 1).expect("the first goroutine runs");
    let stack = stack(stopped, Whose::Goroutine(1), 100).expect("its stack can be read");
    let own = |frame: &Frame| {
        frame
            .location
            .function
            .as_deref()
            .is_some_and(|name| name.starts_with("main."))
    };
    let context = GoroutineContext {
        addr: main.addr,
        stack_hi: main.stack_hi,
        thread: main.thread,
    };
    (stack.frames.into_iter().filter(own).collect(), context)
}

/// The program at its n-th pause, once it rests there.
fn paused<T>(build: Build, pause: &str, look: impl Fn(&FrameScope<'_>, &Snapshot<'_>) -> T) -> Option<T> {
    let program = Program::start("values", build, &[pause])?;
    let seen = eventually(|| {
        let stopped = program.stop();
        let (frames, goroutine) = frames(&stopped);
        let names: Vec<_> = frames
            .iter()
            .filter_map(|frame| frame.location.function.as_deref())
            .collect();
        let at = names.iter().position(|name| *name == "main.pause")?;
        let scope = FrameScope::new(stopped.binary(), stopped.bias(), stopped.memory(), frames.get(at + 1)?)
            .with_goroutine(Some(goroutine));
        Some(look(&scope, &stopped))
    });
    Some(seen.expect("the program rests"))
}

/// Addresses differ from run to run.
fn masked(text: &str) -> String {
    let address = regex::Regex::new("0x[0-9a-f]{6,16}").expect("the pattern is right");
    address.replace_all(text, "0xADDR").into_owned()
}

/// A value as Delve's DAP server shows it.
fn shown(scope: &FrameScope<'_>, value: Value) -> String {
    // It loads what a pointer points to that stands in no memory.
    let value = match &value.content {
        Content::Pointer(pointee) if value.addr.0 == 0 && !pointee.is_loaded() => scope
            .reload(&value, None, LoadConfig::DAP)
            .expect("the pointee is loaded"),
        _ => value,
    };
    let text = value.text(Style {
        shorten_types: true,
        ..Style::default()
    });
    match value.content {
        Content::Uint(n) => format!("{text} = {n:#x}"),
        _ => text,
    }
}

fn shown_type(value: &Value) -> String {
    match &value.content {
        Content::Interface(held) => format!("{}({})", value.ty.name, held.ty.name),
        _ => value.ty.name.to_string(),
    }
}

/// What Delve said: kind (`local`, `value` or `error`), name or expression, type, text.
fn expected(name: &str) -> Vec<[String; 4]> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/inspect/tests/values/expected")
        .join(name);
    let text = std::fs::read_to_string(path).expect("the expected texts are there");
    let line = |line: &str| {
        let mut parts = line.splitn(4, '\t').map(str::to_owned);
        std::array::from_fn(|_| parts.next().unwrap_or_default())
    };
    text.lines().map(line).collect()
}

/// Whether a text is the one expected, of which Delve shows a start only when it is long.
fn same(wanted: &str, found: &str) -> bool {
    // 256 bytes, before addresses were masked.
    const SHOWN: usize = 200;
    match wanted.strip_suffix("...") {
        Some(start) if wanted.len() >= SHOWN => found.starts_with(start),
        _ => wanted == found,
    }
}

/// Where spelunk says something else, and why; an empty text stands for anything.
const EXPLAINED: [(&str, &str); 11] = [
    // Operators wrap round at the size of their type, as in Go.
    ("^u8", "55 = 0x37"),
    ("-u8", "56 = 0x38"),
    // Numbers that are not finite are numbers.
    ("inf + 1", "+Inf"),
    ("nan == nan", "false"),
    // What lies at an address may be taken for anything of the same size.
    ("(*[2]int)(pp)", "*[2]int [3,4]"),
    ("*(*[2]int)(pp)", "[2]int [3,4]"),
    ("uintptr(pp) == uintptr(uns)", "true"),
    // The order of a map's entries differs from run to run.
    ("m2", ""),
    ("m3", ""),
    // The struct differs between versions of Go.
    ("mu", ""),
    // The text is what the clipboard gets, which the session asks for with other limits.
    ("long", ""),
];

/// Compares a frame's locals and expressions with what Delve says; answers the differences.
fn differences(scope: &FrameScope<'_>, expected: &[[String; 4]]) -> Vec<String> {
    let mut differences = Vec::new();
    // DWARF says what a closure captured since Go 1.23.
    let knows_captured = scope
        .binary
        .go_version()
        .is_some_and(|version| (version.major, version.minor) >= (1, 23));
    let locals: Vec<(String, String, String)> = scope
        .locals(LoadConfig::DAP)
        .into_iter()
        .map(|local| {
            let name = if local.shadowed {
                format!("({})", local.value.name)
            } else {
                local.value.name.clone()
            };
            let ty = shown_type(&local.value);
            (name, ty, masked(&shown(scope, local.value)))
        })
        .collect();
    let wanted: Vec<&[String; 4]> = expected.iter().filter(|line| line[0] == "local").collect();
    // The compiler numbers what it makes up as it likes.
    let unnumbered = |name: &str| name.split('_').next().unwrap_or(name).to_owned();
    let names: Vec<String> = locals.iter().map(|(name, ..)| unnumbered(name)).collect();
    let wanted_names: Vec<String> = wanted.iter().map(|line| unnumbered(&line[1])).collect();
    if names != wanted_names {
        differences.push(format!("the variables are {names:?}\n  instead of {wanted_names:?}"));
    }
    let by_name: BTreeMap<&str, (&str, &str)> = locals
        .iter()
        .map(|(name, ty, text)| (name.as_str(), (ty.as_str(), text.as_str())))
        .collect();
    for line in expected {
        let [kind, name, ty, text] = line;
        if name.starts_with("closure.") && !knows_captured {
            continue;
        }
        let (found_type, found) = match kind.as_str() {
            "local" => match by_name.get(name.as_str()) {
                Some((ty, text)) => ((*ty).to_owned(), (*text).to_owned()),
                None => continue,
            },
            _ => match scope.evaluate(name, LoadConfig::DAP) {
                Ok(value) => (shown_type(&value), masked(&shown(scope, value))),
                Err(error) => (String::new(), error.to_string()),
            },
        };
        let explained = EXPLAINED.iter().find(|(explained, _)| explained == name);
        if let Some((_, instead)) = explained {
            if !instead.is_empty() && *instead != found {
                differences.push(format!("{kind} {name}: {found}\n  instead of {instead}"));
            }
        } else if !same(text, &found) {
            differences.push(format!("{kind} {name}: {found}\n  instead of {text}"));
        } else if *ty != found_type {
            differences.push(format!("{kind} {name} has the type {found_type}\n  instead of {ty}"));
        }
    }
    differences
}

#[test]
fn every_kind_of_value_and_expression_reads_as_with_delve() {
    let Some(found) = paused(Build::Debug, "1", |scope, _| differences(scope, &expected("main.tsv"))) else {
        return;
    };
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn parameters_results_dictionaries_and_captured_variables_read_as_with_delve() {
    for pause in ["2", "3", "4", "5"] {
        let name = format!("pause{pause}.tsv");
        let Some(found) = paused(Build::Debug, pause, |scope, _| differences(scope, &expected(&name))) else {
            return;
        };
        assert!(found.is_empty(), "{}", found.join("\n"));
    }
}

/// The type of a generic function's variable is a shape where nothing leads to the dictionary any more; what follows the type is compared then.
fn without_type<'t>(text: &'t str, ty: &str) -> &'t str {
    text.strip_prefix(ty).unwrap_or(text)
}

#[test]
fn what_the_optimiser_left_is_right_or_says_that_it_is_not_there() {
    let truth = [
        ("1", "main.tsv"),
        ("2", "pause2.tsv"),
        ("3", "pause3.tsv"),
        ("4", "pause4.tsv"),
        ("5", "pause5.tsv"),
    ];
    for build in [Build::Optimized, Build::Pie] {
        for (pause, name) in truth {
            let truth = expected(name);
            let Some(found) = paused(build, pause, |scope, _| {
                scope
                    .locals(LoadConfig::DAP)
                    .into_iter()
                    .map(|local| {
                        let ty = local.value.ty.name.to_string();
                        (local.value.name.clone(), ty, masked(&shown(scope, local.value)))
                    })
                    .collect::<Vec<_>>()
            }) else {
                return;
            };
            let mut wrong = Vec::new();
            let mut readable = 0;
            for (name, ty, text) in &found {
                let right = truth.iter().find(|line| line[0] == "local" && line[1] == *name);
                let Some([_, _, right_type, right]) = right else {
                    continue;
                };
                if text.contains("(unreadable ") || EXPLAINED.iter().any(|(explained, _)| explained == name) {
                    continue;
                }
                readable += 1;
                let same_value = same(right, text)
                    || ty.contains("go.shape.")
                        && without_type(text, ty) == without_type(right, &crate::value::shorten_type(right_type));
                if !same_value {
                    wrong.push(format!("{name}: {text}\n  instead of {right}"));
                }
            }
            assert!(wrong.is_empty(), "{build:?}, pause {pause}: {}", wrong.join("\n"));
            // Of the closure's variables the optimiser keeps none beyond a call.
            assert!(
                readable > 0 || pause == "5",
                "{build:?}, pause {pause}: nothing was readable"
            );
        }
    }
}

/// What is assigned to what, and what the target is then; `Err` with Delve's words for what is refused.
const ASSIGNED: [(&str, &str, Result<&str, &str>); 64] = [
    ("n", "9", Ok("9")),
    ("n", "n + 1", Ok("10")),
    ("n", "1.5", Err("can not convert 1.5 constant to int")),
    ("n", "nil", Err("mismatched types nil and int")),
    ("n", "i8", Err("can not convert value of type int8 to int")),
    ("u8", "300", Ok("44 = 0x2c")),
    ("u8", "-1", Ok("255 = 0xff")),
    ("i8", "200", Ok("-56")),
    ("b", "false", Ok("false")),
    ("b", "1", Err("can not convert 1 constant to bool")),
    ("f32", "2", Ok("2")),
    ("f64", "-0.125", Ok("-0.125")),
    ("f64", "n", Err("can not convert value of type int to float64")),
    ("c128", "2", Ok("(2 + 0i)")),
    (
        "c128",
        "c64",
        Err("can not convert value of type complex64 to complex128"),
    ),
    (
        "c64",
        "complex(1, 2)",
        Err("can not convert value of type complex128 to complex64"),
    ),
    ("c64", "1 + 2i", Ok("(1 + 2i)")),
    ("empty", "strs[1]", Ok("\"two\"")),
    ("s", "strs[0]", Ok("\"one\"")),
    ("s", "s[1:3]", Ok("\"ne\"")),
    ("s", "\"\"", Ok("\"\"")),
    (
        "s",
        "\"x\"",
        Err("literal string can not be allocated because function calls are not allowed without using 'call'"),
    ),
    ("s", "n", Err("can not convert value of type int to string")),
    ("color", "1", Ok("Green (1)")),
    ("color", "Blue", Ok("Blue (2)")),
    ("color", "n", Err("can not convert value of type int to main.Color")),
    ("p", "structs[1]", Ok("main.Point {X: 3, Y: 4}")),
    ("p.X", "77", Ok("77")),
    ("p", "*pp", Ok("main.Point {X: 77, Y: 4}")),
    ("pp", "&structs[0]", Ok("*main.Point {X: 1, Y: 2}")),
    ("pp", "nil", Ok("*main.Point nil")),
    ("pp", "0", Err("can not convert 0 constant to *main.Point")),
    ("ppp", "nil", Ok("**main.Point nil")),
    ("slcap", "sl[1:3]", Ok("[]int len: 2, cap: 3, [20,30]")),
    ("sl", "slcap", Ok("[]int len: 2, cap: 3, [20,30]")),
    ("sl[0]", "5", Ok("5")),
    ("sl", "nil", Ok("[]int len: 0, cap: 0, nil")),
    ("sl", "strs", Err("can not convert value of type []string to []int")),
    ("arr[1]", "9", Ok("9")),
    ("arr", "1", Err("can not convert 1 constant to [3]int")),
    ("m", "nestedM", Err("could not find symbol value for nestedM")),
    (
        "m",
        "m2",
        Err("can not convert value of type map[int]string to map[string]int"),
    ),
    ("m[\"only\"]", "5", Ok("5")),
    ("m[\"none\"]", "5", Err("key not found")),
    ("m", "nil", Ok("map[string]int nil")),
    ("iface", "ifaceS", Ok("interface {}(string) \"str\"")),
    ("iface", "ppp", Ok("interface {}(**main.Point) nil")),
    ("iface", "parr", Ok("interface {}(*[3]int) *[1,9,3]")),
    ("iface", "nil", Ok("interface {} nil")),
    ("iface", "n", Err("can not convert value of type int to interface {}")),
    ("iface", "1", Err("can not convert 1 constant to interface {}")),
    ("shapeNil", "shape", Ok("main.Shape(main.Point) {X: 3, Y: 4}")),
    ("shape", "nil", Ok("main.Shape nil")),
    (
        "shape",
        "p",
        Err("can not convert value of type main.Point to main.Shape"),
    ),
    ("fn", "nil", Ok("nil")),
    ("ch", "nil", Ok("chan int nil")),
    ("escaped", "1", Ok("1")),
    ("*pescaped", "2", Ok("2")),
    ("nested.Inner.B", "-3", Ok("-3")),
    ("order.Name", "porder.Name[1:]", Ok("\"rder\"")),
    ("counter", "1", Ok("1")),
    ("main.main", "nil", Err("can not assign to main.main")),
    ("n + 1", "2", Err("can not assign to \"n + 1\"")),
    ("missing", "1", Err("could not find symbol value for missing")),
];

#[test]
fn variables_are_assigned_to_and_refusals_are_delves() {
    let assign_all = |scope: &FrameScope<'_>, stopped: &Snapshot<'_>| {
        let mut wrong = Vec::new();
        for (what, to, wanted) in ASSIGNED {
            let result = scope.assign(what, to, &mut |change| match change {
                Write::Memory(addr, bytes) => stopped.write(addr, &bytes).map_err(|error| error.to_string()),
                Write::Register(..) => Err("nothing is in a register here".to_owned()),
            });
            let found = match result {
                Ok(()) => scope.evaluate(what, LoadConfig::DAP).map(|value| shown(scope, value)),
                Err(error) => Err(error),
            };
            let found = found.map_err(|error| error.to_string());
            if found.as_deref().map_err(String::as_str) != wanted {
                wrong.push(format!("{what} = {to}: {found:?}\n  instead of {wanted:?}"));
            }
        }
        wrong
    };
    let Some(wrong) = paused(Build::Debug, "1", assign_all) else {
        return;
    };
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn variables_in_registers_are_read_and_written() {
    let Some(program) = Program::start("values", Build::Optimized, &["0"]) else {
        return;
    };
    // Where the loop is stopped differs; what is known of a variable there must be right each time.
    let seen = eventually(|| {
        let mut seen = 0;
        let stopped = program.stop();
        let (frames, _) = frames(&stopped);
        let frame = frames.first()?;
        if frame.location.function.as_deref() != Some("main.spin") {
            return None;
        }
        let scope = FrameScope::new(stopped.binary(), stopped.bias(), stopped.memory(), frame);
        for local in scope.locals(LoadConfig::DAP) {
            let name = local.value.name.clone();
            if local.value.unreadable.is_some() {
                continue;
            }
            let made_up = is_made_up(local.value.addr);
            let text = shown(&scope, local.value);
            let right = match name.as_str() {
                "number" => text == "21" || text == "22",
                "half" => text == "2.5",
                "text" => text == "\"spun\"",
                "list" => text == "[]int len: 2, cap: 2, [4,5]",
                "point" => text.contains("unreadable") || text == "main.Point {X: 4, Y: 4}",
                "pointer" => text == "*main.Point {X: 4, Y: 4}",
                _ => continue,
            };
            assert!(right, "{name} is {text}");
            if !made_up || name != "number" {
                continue;
            }
            seen += 1;
            let mut changes = Vec::new();
            let assigned = scope.assign("number", "number + 1", &mut |change| {
                changes.push(change);
                Ok(())
            });
            assert_eq!(assigned, Ok(()));
            let number: u64 = text.parse().expect("a number");
            let [Write::Register(register, bytes)] = &changes[..] else {
                panic!("{changes:?}")
            };
            assert_eq!(frame.registers.general(*register), Some(number));
            assert_eq!(bytes, &(number + 1).to_le_bytes());
        }
        (seen > 0).then_some(seen)
    });
    assert!(
        seen.is_some(),
        "the loop was never stopped where its variable is in a register"
    );
}

#[test]
fn maps_are_read_whole_in_pages_and_by_key() {
    let look = |scope: &FrameScope<'_>, _: &Snapshot<'_>| {
        let map = scope.evaluate("m3", LoadConfig::DAP).expect("the map is read");
        let Content::Map { len, entries, .. } = &map.content else {
            panic!("{map:?}")
        };
        assert_eq!((*len, entries.len()), (3332, 64));
        let mut found = BTreeMap::new();
        for start in (0..4000).step_by(500) {
            let page = scope
                .reload(&map, Some(start..start + 500), LoadConfig::DAP)
                .expect("a page is read");
            let Content::Map { entries, missing, .. } = &page.content else {
                panic!("{page:?}")
            };
            assert_eq!(*missing, None);
            assert_eq!(entries.len() as u64, 3332u64.saturating_sub(start).min(500));
            for (key, entry) in entries {
                match (&key.content, &entry.content) {
                    (Content::Uint(key), Content::Int(entry)) => assert_eq!(found.insert(*key, *entry), None),
                    other => panic!("{other:?}"),
                }
            }
        }
        let wanted: BTreeMap<u64, i64> = (0..3333u64)
            .filter(|i| *i != 3)
            .map(|i| (i * 7, -i.cast_signed()))
            .collect();
        assert!(found == wanted, "the entries are not those that the program put in");
        for key in [0u64, 7, 70, 23324] {
            let entry = scope
                .evaluate(&format!("m3[{key}]"), LoadConfig::DAP)
                .expect("the key is there");
            assert_eq!(entry.text(Style::default()), (-(key / 7).cast_signed()).to_string());
        }
        let missing = scope
            .evaluate("m3[21]", LoadConfig::DAP)
            .map(|value| value.text(Style::default()));
        assert_eq!(
            missing.map_err(|error| error.to_string()),
            Err("key not found".to_owned())
        );
        let rest = scope.evaluate("m3[3331:]", LoadConfig::DAP).expect("the rest is read");
        assert!(
            matches!(&rest.content, Content::Map { entries, .. } if entries.len() == 1),
            "{rest:?}"
        );
    };
    paused(Build::Debug, "1", look);
    paused(Build::Optimized, "1", look);
}

#[test]
fn parts_of_arrays_slices_and_strings_are_read_on_demand() {
    let look = |scope: &FrameScope<'_>, _: &Snapshot<'_>| {
        let text = |value: &Value| value.text(Style::default());
        let big = scope.evaluate("big", LoadConfig::DAP).expect("the slice is read");
        let page = scope
            .reload(&big, Some(90..200), LoadConfig::DAP)
            .expect("a page is read");
        assert!(
            text(&page).contains("[8100,8281,8464,8649,8836,9025,9216,9409,9604,9801,"),
            "{}",
            text(&page)
        );
        let beyond = scope
            .reload(&big, Some(100..200), LoadConfig::DAP)
            .expect("an empty page is read");
        assert!(matches!(&beyond.content, Content::Slice { elements, len: 100, .. } if elements.is_empty()));
        // A part that stands in no memory, and a part of that.
        let part = scope.evaluate("big[10:]", LoadConfig::DAP).expect("the part is read");
        let page = scope
            .reload(&part, Some(1..3), LoadConfig::DAP)
            .expect("a page is read");
        assert!(text(&page).contains("[121,144,"), "{}", text(&page));
        let array = scope.evaluate("arr2", LoadConfig::DAP).expect("the array is read");
        let page = scope
            .reload(&array, Some(1..2), LoadConfig::DAP)
            .expect("a page is read");
        assert!(text(&page).contains("[[3,...+1 more],"), "{}", text(&page));
        let mut longer = LoadConfig::DAP;
        longer.max_string_len = 4096;
        let long = scope.evaluate("long", LoadConfig::DAP).expect("the string is read");
        assert!(text(&long).ends_with("...+188 more\""), "{}", text(&long));
        let whole = scope.reload(&long, None, longer).expect("the string is read again");
        assert_eq!(text(&whole).len(), 702);
        // What is deeper than the limits is loaded from where it is.
        let nested = scope
            .evaluate("nested.Next", LoadConfig::DAP)
            .expect("the pointer is read");
        let Content::Pointer(pointee) = &nested.content else {
            panic!("{nested:?}")
        };
        assert!(
            scope
                .reload(pointee, None, LoadConfig::DAP)
                .is_ok_and(|again| text(&again).starts_with("main.Nested {Base: main.Base {ID: 9,"))
        );
    };
    paused(Build::Debug, "1", look);
}

#[test]
fn the_body_of_a_loop_over_a_function_sees_what_it_uses_of_the_functions_around_it() {
    let look = |scope: &FrameScope<'_>, _: &Snapshot<'_>| {
        let text = |name: &str| match scope.evaluate(name, LoadConfig::DAP) {
            Ok(value) => value.text(Style::default()),
            Err(error) => error.to_string(),
        };
        let shown = ["i", "j", "name", "inner", "hidden", "outer", "sum", "local"].map(text);
        let not_here = "could not find symbol value for local";
        assert_eq!(shown, ["3", "3", "\"name\"", "6", "30", "\"outer\"", "36", not_here]);
        let locals = scope.locals(LoadConfig::DAP);
        assert!(
            locals.iter().all(|local| !local.value.name.starts_with(['.', '#'])),
            "{locals:?}"
        );
    };
    // Such loops came with Go 1.23; before, the program has no sixth pause.
    let Some(program) = Program::start("values", Build::Debug, &["0"]) else {
        return;
    };
    let version = program
        .binary
        .go_version()
        .map(|version| (version.major, version.minor));
    if version.is_some_and(|version| version >= (1, 23)) {
        paused(Build::Debug, "6", look);
    }
}
