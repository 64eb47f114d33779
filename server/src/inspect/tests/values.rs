//! Variables and expressions of real frames, held against what Delve 1.27.1 says of the same program (`values/expected`).

use std::collections::BTreeMap;
use std::path::Path;

use super::program::{Build, Program, Snapshot, eventually};
use crate::inspect::{Frame, FrameScope, GoroutineContext, Stopped, Whose, goroutines, stack};
use crate::value::{Content, LoadConfig, Style, Value};

/// The frames of the fixture's own functions on its first goroutine, innermost first.
fn frames(stopped: &Snapshot<'_>) -> (Vec<Frame>, GoroutineContext) {
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
fn paused<T>(build: Build, pause: &str, look: impl Fn(&FrameScope<'_>) -> T) -> Option<T> {
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
        Some(look(&scope))
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
const EXPLAINED: [(&str, &str); 13] = [
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
    // Types have the names that they have in Go.
    ("(*main.Point)(s)", "can not convert \"s\" to *main.Point"),
    ("(*main.Point)(f64)", "can not convert \"f64\" to *main.Point"),
    // Composite literals are not evaluated yet.
    ("shop.Order{}", "expression *ast.CompositeLit not implemented"),
    // The order of a map's entries differs from run to run, and so do the names of what the compiler makes up.
    ("m2", ""),
    (".autotmp_225", ""),
    // The text is what the clipboard gets, which the session asks for with other limits.
    ("long", ""),
];

/// Compares a frame's locals and expressions with what Delve says; answers the differences.
fn differences(scope: &FrameScope<'_>, expected: &[[String; 4]]) -> Vec<String> {
    let mut differences = Vec::new();
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
    let names: Vec<&str> = locals.iter().map(|(name, ..)| name.as_str()).collect();
    let wanted_names: Vec<&str> = wanted.iter().map(|line| line[1].as_str()).collect();
    if names != wanted_names {
        differences.push(format!("the variables are {names:?}\n  instead of {wanted_names:?}"));
    }
    let by_name: BTreeMap<&str, (&str, &str)> = locals
        .iter()
        .map(|(name, ty, text)| (name.as_str(), (ty.as_str(), text.as_str())))
        .collect();
    for line in expected {
        let [kind, name, ty, text] = line;
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
    let Some(found) = paused(Build::Debug, "1", |scope| differences(scope, &expected("main.tsv"))) else {
        return;
    };
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn parameters_results_dictionaries_and_captured_variables_read_as_with_delve() {
    for pause in ["2", "3", "4", "5"] {
        let name = format!("pause{pause}.tsv");
        let Some(found) = paused(Build::Debug, pause, |scope| differences(scope, &expected(&name))) else {
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
            let Some(found) = paused(build, pause, |scope| {
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
