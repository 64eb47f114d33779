//! What plain plans capture from a running Go program: registers, stack, strings, slices, pointers.

mod common;

use common::{Fixture, Mode, probe_set, records, register, three_words, word};
use spelunk_bpf::{
    ChunkKind, Flags, Follow, FollowKind, GoroutineSource, Index, Origin, Plan, Reg, Root, RootError, RootSource,
    Status,
};

fn follow(kind: FollowKind) -> Follow {
    Follow {
        kind,
        layout: None,
        then: Vec::new(),
    }
}

fn string(at: u32, max: u32) -> Follow {
    follow(FollowKind::String {
        at_ptr: at,
        at_len: at + 8,
        max,
    })
}

#[test]
fn a_string_argument_is_captured_with_its_goroutine() {
    let Some(mut set) = probe_set() else { return };
    let Some(mut fixture) = Fixture::start(Mode::Exe) else {
        return;
    };
    let plan = Plan {
        follows: vec![string(0, 100)],
        ..fixture.plan(three_words())
    };
    let (site, _link) = fixture.probe(&mut set, "main.str", &plan);
    let (_, goroutine) = fixture.run("str 5");
    let records = records(&set, &plan);
    assert_eq!(records.len(), 1);
    let record = &records[0];
    assert_eq!(record.site, site);
    assert_eq!(record.flags, Flags(0));
    assert_eq!(record.goroutine, goroutine);
    assert_eq!(record.process, fixture.child.id());
    assert_eq!(record.ip, fixture.binary.entry("main.str") + fixture.bias());
    assert!(record.stack_hi > record.sp && record.stack_hi - record.sp < 1 << 20);
    assert_eq!(record.root_word(1), 15);
    let chunk = &record.chunks[0];
    assert_eq!(chunk.addr, record.root_word(0));
    assert_eq!(chunk.bytes, b"abcabcabcabcabc");
    assert_eq!((chunk.count, chunk.wanted), (15, 15));
    assert_eq!(chunk.status, Status::Captured);
    assert_eq!(chunk.kind, ChunkKind::String);
    assert_eq!(chunk.origin, Origin::Follow(0));
    assert_eq!(record.chunks.len(), 1);
    let counters = set.counters(site).expect("counters");
    assert_eq!((counters.hits, counters.emitted), (1, 1));
}

/// Runs scenarios with a plan at a function's entry, and gives the records.
fn capture(fixture: &mut Fixture, function: &str, plan: &Plan, scenarios: &[&str]) -> Option<Vec<common::OwnedRecord>> {
    let mut set = probe_set()?;
    let (site, _link) = fixture.probe(&mut set, function, plan);
    for scenario in scenarios {
        fixture.run(scenario);
    }
    let records = records(&set, plan);
    let counters = set.counters(site).expect("counters");
    assert_eq!(counters.emitted, records.len() as u64);
    assert_eq!(counters.hits, counters.emitted);
    Some(records)
}

#[test]
fn integers_come_from_their_registers() {
    let Some(mut fixture) = Fixture::start(Mode::Exe) else {
        return;
    };
    let plan = fixture.plan(vec![
        register(Reg::Rax),
        register(Reg::Rbx),
        register(Reg::Rcx),
        register(Reg::Rdi),
    ]);
    let Some(records) = capture(&mut fixture, "main.ints", &plan, &["ints"]) else {
        return;
    };
    let record = &records[0];
    assert_eq!(record.root_word(0).cast_signed(), -5);
    assert_eq!(record.root_word(1), 1 << 40);
    assert_eq!(record.root_word(2) & 0xff, 200);
    assert_eq!(record.root_word(3) & 0xff, 1);
    assert!(record.chunks.is_empty());
}

#[test]
fn stack_arguments_globals_and_bad_addresses_are_roots_too() {
    for mode in [Mode::Exe, Mode::Pie] {
        let Some(mut fixture) = Fixture::start(mode) else {
            return;
        };
        // Nine integer registers; the tenth argument is the first on the stack, above the
        // return address that the call pushed: at RSP + 8 before the push of RBP.
        let plan = fixture.plan(vec![
            Root {
                source: RootSource::Stack { offset: 8 },
                size: 24,
            },
            Root {
                source: RootSource::Absolute {
                    addr: fixture.binary.symbol("main.global"),
                },
                size: 32,
            },
            Root {
                source: RootSource::Memory {
                    reg: Reg::Rax,
                    offset: 0xdead_0000,
                },
                size: 12,
            },
            register(Reg::Rax),
        ]);
        let Some(records) = capture(&mut fixture, "main.many", &plan, &["many"]) else {
            return;
        };
        let record = &records[0];
        let words = |index: usize| -> Vec<u64> {
            let bytes = record.roots[index].as_ref().expect("readable");
            bytes.chunks(8).map(word).collect()
        };
        assert_eq!(words(0), [10, 11, 12]);
        assert_eq!(words(1), [11, 22, 33, 44]);
        assert_eq!(record.roots[2], Err(RootError::Fault));
        assert_eq!(words(3), [1]);
    }
}

#[test]
fn strings_that_are_long_nil_unreadable_or_lies() {
    let Some(mut fixture) = Fixture::start(Mode::Exe) else {
        return;
    };
    let plan = Plan {
        follows: vec![string(0, 64)],
        ..fixture.plan(three_words())
    };
    let scenarios = ["str 21", "str 22", "str-nil", "str-fault", "str-huge", "str-negative"];
    let Some(records) = capture(&mut fixture, "main.str", &plan, &scenarios) else {
        return;
    };
    let chunk = |index: usize| -> Option<(Status, usize, u32)> {
        let record: &common::OwnedRecord = &records[index];
        assert!(record.chunks.len() < 2);
        record
            .chunks
            .first()
            .map(|chunk| (chunk.status, chunk.bytes.len(), chunk.wanted))
    };
    assert_eq!(chunk(0), Some((Status::Captured, 63, 63)));
    assert_eq!(chunk(1), Some((Status::Truncated, 64, 66)));
    assert_eq!(chunk(2), None);
    assert_eq!(chunk(3), Some((Status::Fault, 0, 10)));
    assert_eq!(chunk(4), Some((Status::Truncated, 64, u32::MAX)));
    assert_eq!(chunk(5), Some((Status::OutOfRange, 0, u32::MAX)));
    assert_eq!(records[1].chunks[0].bytes, "abc".repeat(22).as_bytes()[..64]);
}

#[test]
fn slices_are_cut_at_whole_elements() {
    let Some(mut fixture) = Fixture::start(Mode::Exe) else {
        return;
    };
    let plan = Plan {
        follows: vec![follow(FollowKind::Slice {
            at_ptr: 0,
            at_len: 8,
            elem_size: 4,
            max_elems: 5,
        })],
        ..fixture.plan(three_words())
    };
    let Some(records) = capture(&mut fixture, "main.nums", &plan, &["nums 3", "nums 50", "nums 0"]) else {
        return;
    };
    let numbers = |index: usize| -> Vec<u32> {
        records[index].chunks[0]
            .bytes
            .chunks(4)
            .map(|bytes| u32::from_le_bytes(bytes.try_into().expect("4 bytes")))
            .collect()
    };
    assert_eq!(numbers(0), [0, 1, 4]);
    assert_eq!(numbers(1), [0, 1, 4, 9, 16]);
    let chunk = &records[1].chunks[0];
    assert_eq!((chunk.status, chunk.count, chunk.wanted), (Status::Truncated, 5, 50));
    assert_eq!(chunk.elem_size, 4);
    assert!(records[2].chunks.is_empty());
}

/// `Node` of the fixture: ID at 0, Name at 8, Next at 24, Tags at 32.
fn node(at: u32, then: Vec<Follow>) -> Follow {
    Follow {
        kind: FollowKind::Pointer {
            at,
            offset: 0,
            size: 56,
        },
        layout: None,
        then,
    }
}

#[test]
fn nested_follows_go_through_pointers() {
    let Some(mut fixture) = Fixture::start(Mode::Exe) else {
        return;
    };
    let tags = follow(FollowKind::Slice {
        at_ptr: 32,
        at_len: 40,
        elem_size: 16,
        max_elems: 2,
    });
    let tags = Follow {
        then: vec![string(0, 32)],
        ..tags
    };
    let plan = Plan {
        follows: vec![node(
            0,
            vec![
                string(8, 64),
                node(24, vec![node(24, vec![string(8, 64)]), string(8, 64)]),
                tags,
            ],
        )],
        ..fixture.plan(three_words())
    };
    let Some(records) = capture(
        &mut fixture,
        "main.ptr",
        &plan,
        &["ptr 3", "ptr 1", "ptr-nil", "ptr-fault"],
    ) else {
        return;
    };
    let full = &records[0];
    let first = full.at(full.root_word(0));
    assert_eq!(word(&first.bytes), 1);
    assert_eq!(full.string(&first.bytes, 8), "node1");
    let second = full.at(word(&first.bytes[24..]));
    assert_eq!(full.string(&second.bytes, 8), "node2");
    let third = full.at(word(&second.bytes[24..]));
    assert_eq!(full.string(&third.bytes, 8), "node3");
    let tags = full.at(word(&first.bytes[32..]));
    assert_eq!((tags.count, tags.wanted, tags.status), (2, 3, Status::Truncated));
    assert_eq!(full.string(&tags.bytes, 0), "t1");
    let origins: Vec<_> = full.chunks.iter().map(|chunk| chunk.origin).collect();
    let expected: Vec<_> = (0..8).map(Origin::Follow).collect();
    assert_eq!(origins, expected);

    let origins: Vec<_> = records[1].chunks.iter().map(|chunk| chunk.origin).collect();
    assert_eq!(origins, [0, 1, 6, 7].map(Origin::Follow));
    assert!(records[2].chunks.is_empty());
    let fault = &records[3].chunks;
    assert_eq!(fault.len(), 1);
    assert_eq!((fault[0].status, fault[0].bytes.len()), (Status::Fault, 0));
    assert_eq!(fault[0].addr, 0xdead_0000);
}

#[test]
fn elements_are_found_by_constant_and_by_captured_index() {
    let Some(mut fixture) = Fixture::start(Mode::Exe) else {
        return;
    };
    let element = |index| {
        follow(FollowKind::Element {
            at_ptr: 0,
            at_len: Some(8),
            elem_size: 8,
            index,
        })
    };
    let plan = Plan {
        follows: vec![
            element(Index::Const(2)),
            element(Index::Const(4)),
            // The index is in RDI, behind the slice's three words.
            element(Index::Root {
                at: 24,
                size: 1,
                signed: true,
            }),
            element(Index::Const(u64::MAX)),
        ],
        ..fixture.plan([three_words(), vec![register(Reg::Rdi)]].concat())
    };
    let Some(records) = capture(&mut fixture, "main.index", &plan, &["index 3", "index -1"]) else {
        return;
    };
    let element = |record: usize, index: usize| {
        let chunk = &records[record].chunks[index];
        assert_eq!(chunk.kind, ChunkKind::Element);
        (chunk.status, chunk.bytes.first().copied())
    };
    assert_eq!(element(0, 0), (Status::Captured, Some(102)));
    assert_eq!(element(0, 1), (Status::OutOfRange, None));
    assert_eq!(element(0, 2), (Status::Captured, Some(103)));
    assert_eq!(element(0, 3), (Status::OutOfRange, None));
    assert_eq!(element(1, 2), (Status::OutOfRange, None));
}

#[test]
fn what_does_not_fit_in_the_record_is_said() {
    let Some(mut fixture) = Fixture::start(Mode::Exe) else {
        return;
    };
    // 256 bytes: the header, three roots, and 128 for chunks.
    let plan = Plan {
        follows: vec![string(0, 40), string(0, 1000), string(0, 1000), string(0, 8)],
        max_record: 256,
        ..fixture.plan(three_words())
    };
    let Some(records) = capture(&mut fixture, "main.str", &plan, &["str 100", "str 1"]) else {
        return;
    };
    let statuses = |index: usize| -> Vec<_> {
        let chunks = &records[index].chunks;
        chunks.iter().map(|chunk| (chunk.status, chunk.bytes.len())).collect()
    };
    assert!(records[0].flags.has(Flags::NO_ROOM));
    assert_eq!(
        statuses(0),
        [(Status::Truncated, 40), (Status::Truncated, 16)],
        "the third and fourth have not even room for a header"
    );
    // Short ones fit although their bounds do not.
    assert_eq!(statuses(1), [(Status::Captured, 3); 3]);
}

#[test]
fn a_system_stack_names_the_goroutine_it_serves() {
    let Some(mut set) = probe_set() else { return };
    let Some(mut fixture) = Fixture::start(Mode::Exe) else {
        return;
    };
    let plan = fixture.plan(Vec::new());
    // The go statement runs newproc1 on the system stack.
    let (_, _link) = fixture.probe(&mut set, "runtime.newproc1", &plan);
    let (_, goroutine) = fixture.run("go");
    let records = records(&set, &plan);
    let record = records
        .iter()
        .find(|record| record.goroutine == goroutine)
        .expect("newproc1 ran for the scenario's goroutine");
    assert!(record.flags.has(Flags::SYSTEM_STACK));
    assert!(!record.flags.has(Flags::NO_GOROUTINE));
}

#[test]
fn thread_local_storage_gives_the_same_goroutine() {
    let Some(mut set) = probe_set() else { return };
    let Some(mut fixture) = Fixture::start(Mode::Exe) else {
        return;
    };
    let plan = Plan {
        goroutine: GoroutineSource::Tls { offset: -8 },
        ..fixture.plan(Vec::new())
    };
    let none = Plan {
        goroutine: GoroutineSource::None,
        ..plan.clone()
    };
    let wrong = Plan {
        goroutine: GoroutineSource::Tls {
            offset: 0x7fff_0000_0000,
        },
        ..plan.clone()
    };
    let (site, _link) = fixture.probe(&mut set, "main.str", &plan);
    let (none_site, _link) = fixture.probe(&mut set, "main.ptr", &none);
    let (_, _link) = fixture.probe(&mut set, "main.nums", &wrong);
    let (_, goroutine) = fixture.run("str 1");
    fixture.run("ptr 1");
    fixture.run("nums 1");
    let records = records(&set, &plan);
    assert_eq!(records.len(), 3);
    for record in records {
        if record.site == site {
            assert_eq!((record.goroutine, record.flags), (goroutine, Flags(0)));
        } else {
            assert_eq!(record.goroutine, 0, "site {:?} of {none_site:?}", record.site);
            assert_eq!(record.flags, Flags(Flags::NO_GOROUTINE));
        }
    }
}

#[test]
fn the_distance_from_the_stacks_end_survives_its_growth() {
    let Some(mut fixture) = Fixture::start(Mode::Exe) else {
        return;
    };
    let plan = Plan {
        max_record: 256,
        ..fixture.plan(vec![register(Reg::Rax)])
    };
    let Some(records) = capture(&mut fixture, "main.recurse", &plan, &["recurse 2000"]) else {
        return;
    };
    assert_eq!(records.len(), 2001);
    let ends: std::collections::HashSet<_> = records.iter().map(|record| record.stack_hi).collect();
    assert!(ends.len() > 1, "the stack has not moved");
    let frame = |record: &common::OwnedRecord| record.stack_hi - record.sp;
    let step = frame(&records[1]) - frame(&records[0]);
    for pair in records.windows(2) {
        assert_eq!(frame(&pair[1]) - frame(&pair[0]), step);
    }
}
