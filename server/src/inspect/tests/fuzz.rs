//! Fuzz targets: the value loader and the evaluator, over memory that holds anything.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use spelunk_dwarf::{Field, Kind, LoadBias, ProcAddr, Type, TypeId};

use super::program::{Build, build};
use super::values_hostile::{Noise, any_goroutine, frame, mixed, noise};
use crate::expr::fuzz::WORDS;
use crate::fuzz::{check, input::text_of};
use crate::inspect::FrameScope;
use crate::value::{Content, LoadConfig, Loader, Memory, ReadError, Style};

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
                FrameScope::new(&binary, LoadBias::default(), &noise, &frame).with_goroutine(Some(any_goroutine()));
            if let Ok(value) = scope.evaluate(&what, config) {
                let _ = value.text(Style::default());
            }
            let _ = scope.assign(&what, &to, &mut |_| Ok(()));
        },
    );
}

/// Slices without end, one behind the other, whose elements are nowhere.
struct Claims;

impl Memory for Claims {
    fn read(&self, addr: ProcAddr, buf: &mut [u8]) -> Result<(), ReadError> {
        for (at, byte) in (addr.0..).zip(buf) {
            // Where the elements begin, how many there are, and how many there could be.
            let words = [0xdead_0000_u64, 1 << 40, 1 << 40];
            let offset = at.checked_sub(START).filter(|offset| *offset < 1 << 20);
            let offset = offset.ok_or(ReadError::Fault(ProcAddr(at)))?;
            *byte = words[(offset / 8 % 3) as usize].to_le_bytes()[(offset % 8) as usize];
        }
        Ok(())
    }
}

/// Where they are.
const START: u64 = 0xc000_0000_0000;

/// Room was once made for as many elements as a list claims to have: thousands of lists in one value took gigabytes.
#[test]
fn lists_take_as_much_as_they_have_whatever_they_claim() {
    let Some(binary) = build("values", Build::Debug) else {
        return;
    };
    let elem = binary.type_named("[]int").expect("every program has it");
    let list = Arc::new(Type {
        id: TypeId::UNKNOWN,
        name: "[30000][]int".into(),
        size: 30_000 * 24,
        kind: Kind::Array {
            elem,
            len: 30_000,
            stride: 24,
        },
        runtime_type: None,
        dict_index: None,
    });
    check(&Just(()), |()| {
        let loader = Loader {
            binary: &binary,
            bias: LoadBias::default(),
            memory: &Claims,
            config: LoadConfig {
                max_array_values: u32::MAX,
                ..LoadConfig::DAP
            },
        };
        let value = loader.load_typed("x", Arc::clone(&list), ProcAddr(START));
        let Content::Array { elements, .. } = value.content else {
            panic!("it is an array");
        };
        assert!(elements.len() > 1000, "only {} lists", elements.len());
    });
}
