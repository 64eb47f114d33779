//! Damaged programs: whatever the file says, nothing panics, hangs or eats the memory.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::fixture::{Build, build};
use spelunk_dwarf::{Binary, FileAddr, FileOffset, ProcAddr, TypeId};

/// A small generator of numbers that only look random, so that a failure can be repeated.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        // xorshift64
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

/// Asks everything there is to ask, of a few functions.
fn ask(bytes: Vec<u8>, numbers: &mut Numbers) {
    let Ok(binary) = Binary::from_bytes(bytes, Path::new("damaged")) else {
        return;
    };
    let _ = (
        binary.build_id(),
        binary.go_version(),
        binary.is_pie(),
        binary.symbol_named("runtime.tlsg"),
    );
    let count = binary.functions().len();
    let mut functions: Vec<_> = (0..6)
        .filter_map(|_| binary.functions().get(numbers.below(count)))
        .collect();
    functions.extend(
        ["main.mixed", "main.main"]
            .iter()
            .filter_map(|name| binary.function_named(name)),
    );
    for function in functions {
        let pcs = [
            function.entry,
            FileAddr(function.entry.0.wrapping_add(function.size() / 2)),
            FileAddr(numbers.next()),
        ];
        for pc in pcs {
            let _ = (
                binary.line_at(pc),
                binary.statement_range(pc),
                binary.frames_at(pc),
                binary.unwind_row(pc),
            );
            let _ = (
                binary.function_at(pc),
                binary.file_offset(pc),
                binary.code(pc, 64),
                binary.read_only(pc, 64),
            );
        }
        let _ = binary.prologue_end(function);
        let Ok(info) = binary.function_info(function) else {
            continue;
        };
        for scoped in pcs
            .iter()
            .flat_map(|pc| binary.variables_in_scope(&info, *pc, info.decl_line + 3))
        {
            let _ = binary.locations(&info, scoped.variable);
            follow_type(&binary, scoped.variable.ty);
        }
        if let Some(file) = &info.decl_file {
            let _ = binary.statements(file, info.decl_line);
            let _ = binary.statements(file, info.decl_line + 1);
        }
    }
    let _ = binary.inlined_calls_of("main.small");
    let _ = (
        binary.runtime_layout(),
        binary.global_named("main.Global"),
        binary.files().len(),
    );
    for (_, id) in binary.runtime_types().into_iter().take(20) {
        follow_type(&binary, id);
    }
    let _ = binary.type_info(TypeId(numbers.next() % 1_000_000));
    let _ = binary.load_bias_of(ProcAddr(numbers.next()), FileOffset(numbers.next() % 1_000_000));
}

fn follow_type(binary: &Binary, id: TypeId) {
    let Ok(ty) = binary.type_info(id) else { return };
    let _ = (ty.package(), binary.constants_of(id));
    if let spelunk_dwarf::Kind::Struct { fields } = &ty.kind {
        for field in fields.iter().take(10) {
            let _ = binary.type_info(field.ty);
        }
    }
}

/// Where the sections are that something is read from: every section that is not the program's code or data.
fn interesting_ranges(file: &[u8]) -> Vec<std::ops::Range<usize>> {
    let number = |at: usize, size: usize| {
        file.get(at..at + size).map_or(0, |bytes| {
            bytes.iter().rev().fold(0u64, |n, b| (n << 8) | u64::from(*b))
        }) as usize
    };
    let (headers, count, names) = (number(0x28, 8), number(0x3c, 2), number(0x3e, 2));
    let field = |section: usize, at: usize, size: usize| number(headers + section * 64 + at, size);
    let mut ranges = vec![0..64, headers..headers + count * 64, 64..64 + number(0x38, 2) * 56];
    for section in 0..count {
        let name = &file[field(names, 24, 8) + field(section, 0, 4)..];
        let wanted: [&[u8]; 5] = [b".debug_", b".symtab", b".strtab", b".note", b".go.buildinfo"];
        if wanted.iter().any(|prefix| name.starts_with(prefix)) {
            let start = field(section, 24, 8);
            ranges.push(start..start + field(section, 32, 8));
        }
    }
    ranges
}

fn mutate(flags: Build, mutations: usize, seed: u64) {
    let Some(path) = build(flags) else { return };
    let original = std::fs::read(path).expect("just built");
    let ranges = interesting_ranges(&original);
    assert!(ranges.len() > 8, "{ranges:?}");
    let mut numbers = Numbers(seed);
    let start = Instant::now();
    for _ in 0..mutations {
        let mut bytes = original.clone();
        for _ in 0..=numbers.below(24) {
            let range = &ranges[numbers.below(ranges.len())];
            let at = range.start + numbers.below(range.len());
            match numbers.below(4) {
                0 => bytes[at] ^= 1 << numbers.below(8),
                1 => bytes[at] = 0xff,
                2 => bytes[at] = 0,
                _ => {
                    for byte in bytes.iter_mut().skip(at).take(8) {
                        *byte = numbers.next() as u8;
                    }
                }
            }
        }
        if numbers.below(10) == 0 {
            bytes.truncate(numbers.below(original.len()));
        }
        ask(bytes, &mut numbers);
        // A slow machine tries fewer.
        if start.elapsed() > Duration::from_secs(60) {
            break;
        }
    }
}

#[test]
fn uncompressed_sections_may_be_damaged() {
    mutate(Build::Uncompressed, 200, 0x5eed_0001);
}

#[test]
fn compressed_sections_may_be_damaged() {
    mutate(Build::Optimized, 100, 0x5eed_0002);
}

#[test]
fn types_may_refer_to_themselves() {
    let Some(path) = build(Build::Uncompressed) else { return };
    let mut bytes = std::fs::read(&path).expect("just built");
    let binary = Binary::open(&path).expect("sound");
    let big = binary.type_named("main.Big").expect("described");
    drop(binary);
    let ranges = interesting_ranges(&bytes);
    let info = ranges
        .iter()
        .max_by_key(|range| range.len())
        .expect("there are sections")
        .clone();
    // Whatever in the entries looks like a reference to another entry now refers to one and the same.
    let target = (big.0 as u32).to_le_bytes();
    let mut changed = 0;
    for at in info.clone().step_by(4) {
        let value = u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        if (value as usize) < info.len() && value > 0x1000 {
            bytes[at..at + 4].copy_from_slice(&target);
            changed += 1;
        }
    }
    assert!(changed > 100);
    ask(bytes, &mut Numbers(7));
}
