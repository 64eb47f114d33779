//! Values and expressions over memory that holds anything: no panic, no endless loop, no unbounded memory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use spelunk_dwarf::{Binary, DwarfReg, FileAddr, LoadBias, ProcAddr};

use super::program::{Build, build};
use crate::expr::fuzz::WORDS;
use crate::inspect::{Frame, FrameScope, GoroutineContext, Location, Registers};
use crate::value::{Content, LoadConfig, Loader, Memory, ReadError, Style, Value};

/// A memory that is filled with what `seed` says.
#[derive(Debug)]
pub(super) struct Noise {
    pub(super) seed: u64,
    /// How many of 16 words are small numbers: lengths and indices that look real.
    small: u64,
    /// How many of 16 words point back into a few pages, so that structures are cyclic.
    near: u64,
    /// How many of 16 pages are missing.
    missing: u64,
}

pub(super) fn mixed(value: u64) -> u64 {
    // The finaliser of splitmix64.
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}

impl Noise {
    fn word(&self, number: u64) -> u64 {
        let raw = mixed(self.seed ^ number);
        match raw >> 60 {
            kind if kind < self.small => raw & 0x3f,
            kind if kind < self.small + self.near => 0xc000_0000_0000 + (raw & 0x3ff8),
            _ => raw,
        }
    }
}

impl Memory for Noise {
    fn read(&self, addr: ProcAddr, buf: &mut [u8]) -> Result<(), ReadError> {
        let mut at = addr.0;
        let mut rest = buf;
        while !rest.is_empty() {
            if mixed(self.seed ^ (at >> 12)) % 16 < self.missing {
                return Err(ReadError::Fault(ProcAddr(at)));
            }
            let in_word = (at & 7) as usize;
            let word = self.word(at >> 3).to_le_bytes();
            let (now, later) = rest.split_at_mut(rest.len().min(8 - in_word));
            now.copy_from_slice(&word[in_word..in_word + now.len()]);
            at = at.wrapping_add(now.len() as u64);
            rest = later;
        }
        Ok(())
    }
}

prop_compose! {
    pub(super) fn noise()(seed in any::<u64>(), small in 0u64..8, near in 0u64..9, missing in 0u64..6) -> Noise {
        Noise { seed, small, near, missing }
    }
}

/// A frame of the fixture's `main`, in the middle of it.
pub(super) fn frame(binary: &Binary, seed: u64) -> Frame {
    let function = binary
        .function_named("main.main")
        .expect("the program has a main function");
    let info = binary.function_info(function).expect("it is described");
    let pc = FileAddr(info.low_pc.0 + seed % (info.high_pc.0 - info.low_pc.0));
    let mut registers = Registers::default();
    for number in 0..17 {
        registers.set_general(DwarfReg(number), Some(mixed(seed ^ u64::from(number))));
    }
    Frame {
        enclosing: None,
        pc: ProcAddr(pc.0),
        lookup_pc: pc,
        location: Location {
            pc: ProcAddr(pc.0),
            file: None,
            line: 10_000,
            function: Some(Arc::from("main.main")),
        },
        info: Some(info),
        inline_depth: 0,
        cfa: ProcAddr(0xc000_0000_1000),
        registers,
        on_system_stack: false,
        return_address_at: None,
    }
}

/// How many values there are in a value.
fn count(value: &Value) -> usize {
    let all = |values: &[Value]| values.iter().map(count).sum::<usize>();
    1 + match &value.content {
        Content::Pointer(inside) | Content::Interface(inside) => count(inside),
        Content::Slice { elements, .. } | Content::Array { elements, .. } => all(elements),
        Content::Struct { fields, .. } | Content::Chan { fields, .. } => all(fields),
        Content::Func { captured, .. } => all(captured),
        Content::Map { entries, .. } => entries.iter().map(|(key, entry)| count(key) + count(entry)).sum(),
        _ => 0,
    }
}

/// What takes longer than this, even here and now, has met something without end.
const PATIENCE: Duration = Duration::from_secs(15);

#[test]
fn any_memory_can_be_loaded_and_printed() {
    let Some(binary) = build("values", Build::Debug) else {
        return;
    };
    let types: Vec<_> = binary.runtime_types().into_iter().map(|(_, id)| id).collect();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(30));
    let result = runner.run(&(noise(), any::<prop::sample::Index>()), |(noise, first)| {
        // Some types in each case, all of them over the run.
        for ty in types.iter().cycle().skip(first.index(types.len())).take(20) {
            let loader = Loader {
                binary: &binary,
                bias: LoadBias::default(),
                memory: &noise,
                config: LoadConfig::DAP,
            };
            let start = Instant::now();
            let value = loader.load("x", *ty, ProcAddr(0xc000_0000_0000));
            let made = count(&value);
            prop_assert!(made < 150_000, "{made} values for {}", value.ty.name);
            let style = Style {
                newlines: noise.seed & 1 == 1,
                ..Style::default()
            };
            let text = value.text(style);
            prop_assert!(
                text.len() < 64 << 20,
                "{} bytes of text for {}",
                text.len(),
                value.ty.name
            );
            prop_assert!(start.elapsed() < PATIENCE, "loading {} takes too long", value.ty.name);
            let info = binary
                .type_info(*ty)
                .map_err(|error| TestCaseError::fail(error.to_string()))?;
            loader.load_range(
                "x",
                info,
                ProcAddr(0xc000_0000_0010),
                noise.seed >> 56,
                u64::MAX >> (noise.seed & 63),
            );
        }
        Ok(())
    });
    assert!(result.is_ok(), "{result:?}");
}

/// Words that expressions of the fixture are made of: its own, and those of any program.
fn word() -> impl Strategy<Value = &'static str> {
    let own = prop::sample::select(vec![
        "u8",
        "i64",
        "f64",
        "c128",
        "s",
        "p",
        "pp",
        "ppp",
        "arr",
        "sl",
        "m",
        "m2",
        "ch",
        "iface",
        "shape",
        "err",
        "closure",
        "nested",
        "list",
        "X",
        "Base",
        "Next",
        "*main.Point",
        "(*main.Point)",
        "*(*\"main.Nested\")",
        "len",
        "cap",
        "real",
        "min",
        ".",
        "}",
        "data",
        "_RAX",
        "XMM0",
        "func()",
        "chan",
        "0xc000000000",
        "18446744073709551615",
    ]);
    prop_oneof![own, prop::sample::select(&WORDS[..])]
}

/// What an expression sees of a goroutine that runs on any memory.
pub(super) fn any_goroutine() -> GoroutineContext {
    GoroutineContext {
        addr: ProcAddr(0xc000_0000_0000),
        stack_hi: ProcAddr(0xc000_0001_0000),
        thread: None,
    }
}

#[test]
fn any_expression_can_be_evaluated_on_any_memory() {
    let Some(binary) = build("values", Build::Optimized) else {
        return;
    };
    let expression = prop_oneof![
        prop::collection::vec(word(), 1..12).prop_map(|words| words.join(" ")),
        prop::collection::vec(word(), 1..12).prop_map(|words| words.concat()),
        ".{0,40}",
    ];
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(1500));
    let result = runner.run(&(noise(), expression.clone(), expression), |(noise, what, to)| {
        let start = Instant::now();
        let frame = frame(&binary, noise.seed);
        let scope = FrameScope::new(&binary, LoadBias::default(), &noise, &frame).with_goroutine(Some(any_goroutine()));
        if let Ok(value) = scope.evaluate(&what, LoadConfig::DAP) {
            let _ = value.text(Style::default());
            let _ = scope.reload(&value, Some(noise.seed >> 50..u64::MAX), LoadConfig::DAP);
        }
        let _ = scope.assign(&what, &to, &mut |_| Ok(()));
        prop_assert!(start.elapsed() < PATIENCE, "evaluating takes too long");
        Ok(())
    });
    assert!(result.is_ok(), "{result:?}");
}

#[test]
fn the_variables_of_any_frame_can_be_listed_on_any_memory() {
    for build_flags in [Build::Debug, Build::Optimized] {
        let Some(binary) = build("values", build_flags) else {
            return;
        };
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(4));
        let result = runner.run(&noise(), |noise| {
            let start = Instant::now();
            let frame = frame(&binary, noise.seed);
            let scope = FrameScope::new(&binary, LoadBias::default(), &noise, &frame);
            prop_assert!(scope.locals(LoadConfig::DAP).len() < 1000);
            prop_assert!(start.elapsed() < 4 * PATIENCE, "listing takes too long");
            Ok(())
        });
        assert!(result.is_ok(), "{result:?}");
    }
}
