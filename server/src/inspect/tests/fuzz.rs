//! Fuzz targets: the value loader and the evaluator, over memory that holds anything.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use spelunk_dwarf::{Field, Kind, LoadBias, ProcAddr, Type, TypeId};

use super::program::{Build, build};
use super::values_hostile::{Noise, frame, mixed, noise};
use crate::expr::fuzz::WORDS;
use crate::fuzz::{check, input::text_of};
use crate::inspect::{FrameScope, GoroutineContext};
use crate::value::{LoadConfig, Loader, Style};

/// Limits that a client may ask for.
fn limits() -> impl Strategy<Value = LoadConfig> {
    let number = || select(vec![0, 1, 64, 4096, u32::MAX]);
    (number(), number(), number(), number(), any::<bool>()).prop_map(|(strings, elements, fields, deep, follow)| {
        LoadConfig {
            follow_pointers: follow,
            max_variable_recurse: deep,
            max_string_len: strings,
            max_array_values: elements,
            max_struct_fields: (fields != u32::MAX).then_some(fields),
        }
    })
}

/// A type as no compiler would describe it, made of types that there are.
fn odd(noise: &Noise, some: &[TypeId]) -> Arc<Type> {
    let number = |which: u64| mixed(noise.seed ^ which);
    let any = |which: u64| some[(number(which) % some.len() as u64) as usize];
    // Small, large, or nearly nothing.
    let size = |which: u64| number(which) >> (number(which + 1) & 63);
    let field = |which: u64| Field {
        name: "f".into(),
        ty: any(which + 2),
        offset: size(which),
        embedded: number(which + 3) & 1 == 1,
        bits: number(which + 4)
            .is_multiple_of(4)
            .then(|| (size(which + 5), size(which + 6))),
    };
    let kind = match number(1) % 11 {
        0 => Kind::Array {
            elem: any(2),
            len: size(3),
            stride: size(5),
        },
        1 => Kind::Struct {
            fields: (0..number(7) % 40).map(|which| field(100 + 8 * which)).collect(),
        },
        2 => Kind::Slice { elem: any(2) },
        3 => Kind::Map {
            key: any(2),
            elem: any(3),
            header: any(4),
        },
        4 => Kind::Chan {
            elem: any(2),
            header: any(3),
        },
        5 => Kind::Interface {
            empty: number(2) & 1 == 1,
        },
        6 => Kind::Pointer { elem: any(2) },
        7 => [Kind::Int, Kind::Uint, Kind::Float, Kind::Complex][(number(2) % 4) as usize].clone(),
        8 => Kind::Func,
        9 => Kind::String,
        _ => Kind::Other("no type".to_owned()),
    };
    Arc::new(Type {
        id: TypeId::UNKNOWN,
        name: "odd".into(),
        size: size(9),
        kind,
        runtime_type: None,
        dict_index: None,
    })
}

#[test]
fn values_of_any_memory() {
    let Some(binary) = build("values", Build::Debug) else {
        return;
    };
    let types: Vec<TypeId> = binary.runtime_types().into_iter().map(|(_, id)| id).collect();
    check(
        &(noise(), limits(), any::<Index>(), any::<bool>()),
        |(noise, config, which, is_odd)| {
            let loader = Loader {
                binary: &binary,
                bias: LoadBias::default(),
                memory: &noise,
                config,
            };
            let at = ProcAddr(0xc000_0000_0000);
            let ty = if is_odd {
                odd(&noise, &types)
            } else {
                let Ok(ty) = binary.type_info(*which.get(&types)) else {
                    return;
                };
                ty
            };
            let value = loader.load_typed("x", Arc::clone(&ty), at);
            let _ = value.text(Style::default());
            drop(value);
            let _ = loader.load_range("x", ty, at, noise.seed >> 56, u64::MAX >> (noise.seed & 63));
        },
    );
}

/// Variables of the program, which go with the words.
const NAMES: [&str; 16] = [
    "n", "u8", "c128", "s", "p", "ppp", "arr", "sl", "m", "m2", "ch", "iface", "closure", "nested", "list", "main",
];

#[test]
fn expressions_on_any_memory() {
    let Some(binary) = build("values", Build::Optimized) else {
        return;
    };
    let expression = || {
        (text_of(&WORDS), text_of(&NAMES), text_of(&WORDS)).prop_map(|(a, b, c)| match a.len() % 3 {
            0 => a,
            1 => a + &b,
            _ => b + &c,
        })
    };
    check(
        &(noise(), limits(), expression(), expression()),
        |(noise, config, what, to)| {
            let frame = frame(&binary, noise.seed);
            let scope =
                FrameScope::new(&binary, LoadBias::default(), &noise, &frame).with_goroutine(Some(GoroutineContext {
                    addr: ProcAddr(0xc000_0000_0000),
                    stack_hi: ProcAddr(0xc000_0001_0000),
                    thread: None,
                }));
            if let Ok(value) = scope.evaluate(&what, config) {
                let _ = value.text(Style::default());
            }
            let _ = scope.assign(&what, &to, &mut |_| Ok(()));
        },
    );
}
