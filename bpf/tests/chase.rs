//! What the chase captures from a running Go program: layouts, interfaces, runtime types.

mod common;

use common::{Fixture, Mode, OwnedRecord, probe_set, records, three_words, word};
use spelunk_bpf::{
    ChunkKind, Edge, EdgeKind, Flags, Follow, FollowKind, Layout, LayoutId, Origin, Plan, ProbeSet, RuntimeTypeEntry,
    Status,
};

fn edge(at: u32, kind: EdgeKind) -> Edge {
    Edge { at, kind }
}

/// A layout of one string of at most 64 bytes.
fn string_layout(set: &mut ProbeSet) -> LayoutId {
    set.add_layout(&Layout {
        rechecked: false,
        size: 16,
        edges: vec![edge(0, EdgeKind::String { max: 64 })],
    })
    .expect("room")
}

/// The fixture's `Node`, whose `Next` leads to the same layout.
fn node_layout(set: &mut ProbeSet) -> LayoutId {
    let tags = string_layout(set);
    let node = set.reserve_layout().expect("room");
    let layout = Layout {
        rechecked: false,
        size: 56,
        edges: vec![
            edge(8, EdgeKind::String { max: 64 }),
            edge(
                24,
                EdgeKind::Pointer {
                    target: Some(node),
                    size: 56,
                },
            ),
            edge(
                32,
                EdgeKind::Slice {
                    target: Some(tags),
                    elem_size: 16,
                    max_elems: 10,
                },
            ),
        ],
    };
    set.set_layout(node, &layout).expect("room");
    node
}

fn node_follow(layout: LayoutId) -> Follow {
    Follow {
        kind: FollowKind::Pointer {
            at: 0,
            offset: 0,
            size: 56,
        },
        layout: Some(layout),
        then: Vec::new(),
    }
}

/// Checks a list of the fixture from its first node on; gives how many nodes were captured.
fn check_list(record: &OwnedRecord, first: u64, prefix: &str) -> u64 {
    let mut addr = first;
    let mut nodes = 0;
    while addr != 0 {
        let node = record.at(addr);
        if node.status != Status::Captured {
            assert_eq!(node.status, Status::NoRoom);
            break;
        }
        nodes += 1;
        assert_eq!(word(&node.bytes), nodes);
        let name = word(&node.bytes[8..]);
        if record
            .chunks
            .iter()
            .any(|chunk| chunk.addr == name && chunk.status == Status::Captured)
        {
            assert_eq!(record.string(&node.bytes, 8), format!("{prefix}{nodes}"));
        }
        let tags = record.chunks.iter().find(|chunk| chunk.addr == word(&node.bytes[32..]));
        if let Some(tags) = tags.filter(|tags| tags.status == Status::Captured) {
            assert_eq!((tags.count, tags.elem_size, tags.kind), (3, 16, ChunkKind::Slice));
            if !record.flags.has(Flags::NO_ROOM) {
                assert_eq!(record.string(&tags.bytes, 0), format!("t{nodes}"));
                assert_eq!(record.string(&tags.bytes, 16), "");
                assert_eq!(record.string(&tags.bytes, 32), format!("u{nodes}"));
            }
        }
        addr = word(&node.bytes[24..]);
        if !record.chunks.iter().any(|chunk| chunk.addr == addr) {
            break;
        }
    }
    nodes
}

#[test]
fn a_list_is_chased_through_a_recursive_layout() {
    let Some(mut set) = probe_set() else { return };
    let Some(mut fixture) = Fixture::start(Mode::Exe) else {
        return;
    };
    let node = node_layout(&mut set);
    let plan = Plan {
        follows: vec![node_follow(node)],
        max_record: 4096,
        ..fixture.plan(three_words())
    };
    let (_, _link) = fixture.probe(&mut set, "main.ptr", &plan);
    for scenario in ["ptr 1", "ptr 5", "ptr 1000", "ptr-nil", "ptr-fault"] {
        fixture.run(scenario);
    }
    let records = records(&set, &plan);
    assert_eq!(records.len(), 5);
    let nodes = |index: usize| check_list(&records[index], records[index].root_word(0), "node");
    assert_eq!(nodes(0), 1);
    assert_eq!(records[0].flags, Flags(0));
    // One node has a name, the next, its tags, and two tags that are not empty.
    assert_eq!(records[0].chunks.len(), 5);
    assert_eq!(nodes(1), 5);
    assert_eq!(records[1].chunks.len(), 25);
    assert_eq!(records[1].flags, Flags(0));
    // Breadth first: the record fills up before the list ends.
    let long = nodes(2);
    assert!((8..30).contains(&long), "{long} nodes");
    assert!(records[2].flags.has(Flags::NO_ROOM));
    assert!(records[3].chunks.is_empty());
    assert_eq!(records[4].chunks.len(), 1);
    assert_eq!(records[4].chunks[0].status, Status::Fault);
}

#[test]
fn a_cycle_ends_with_the_record() {
    let Some(mut set) = probe_set() else { return };
    let Some(mut fixture) = Fixture::start(Mode::Exe) else {
        return;
    };
    let node = node_layout(&mut set);
    let plan = Plan {
        follows: vec![node_follow(node)],
        max_record: 32768,
        ..fixture.plan(three_words())
    };
    let (_, _link) = fixture.probe(&mut set, "main.ptr", &plan);
    fixture.run("cycle");
    let records = records(&set, &plan);
    let record = &records[0];
    assert!(record.flags.has(Flags::NO_ROOM));
    let node = record.at(record.root_word(0));
    assert_eq!(word(&node.bytes), 7);
    assert_eq!(record.string(&node.bytes, 8), "seven");
}

#[test]
fn each_element_of_a_slice_is_chased() {
    let Some(mut set) = probe_set() else { return };
    let Some(mut fixture) = Fixture::start(Mode::Exe) else {
        return;
    };
    let strings = string_layout(&mut set);
    let plan = Plan {
        follows: vec![Follow {
            kind: FollowKind::Slice {
                at_ptr: 0,
                at_len: 8,
                elem_size: 16,
                max_elems: 64,
            },
            layout: Some(strings),
            then: Vec::new(),
        }],
        max_record: 8192,
        ..fixture.plan(three_words())
    };
    let (_, _link) = fixture.probe(&mut set, "main.strs", &plan);
    for scenario in ["strs 0", "strs 3", "strs 64", "strs 100"] {
        fixture.run(scenario);
    }
    let records = records(&set, &plan);
    assert!(records[0].chunks.is_empty());
    for (record, count) in records[1..].iter().zip([3, 64, 64]) {
        let slice = record.at(record.root_word(0));
        assert_eq!(slice.layout, strings.number());
        assert_eq!(slice.count, count);
        for index in 0..count as usize {
            assert_eq!(record.string(&slice.bytes, 16 * index), format!("element-{index}"));
        }
        assert_eq!(record.flags, Flags(0));
        let chased = record.chunks.iter().filter(|chunk| chunk.origin == Origin::Chase);
        assert_eq!(chased.count(), count as usize);
    }
    assert_eq!(records[3].chunks[0].status, Status::Truncated);
}

#[test]
fn layouts_with_many_edges_are_followed_to_the_last() {
    let Some(mut set) = probe_set() else { return };
    let Some(mut fixture) = Fixture::start(Mode::Exe) else {
        return;
    };
    // Twenty strings side by side are one element with twenty edges.
    let edges = (0..20).map(|at| edge(16 * at, EdgeKind::String { max: 64 }));
    let layout = set
        .add_layout(&Layout {
            rechecked: false,
            size: 320,
            edges: edges.collect(),
        })
        .expect("room");
    let plan = Plan {
        follows: vec![Follow {
            kind: FollowKind::Pointer {
                at: 0,
                offset: 0,
                size: 320,
            },
            layout: Some(layout),
            then: Vec::new(),
        }],
        max_record: 4096,
        ..fixture.plan(three_words())
    };
    let (_, _link) = fixture.probe(&mut set, "main.strs", &plan);
    fixture.run("strs 20");
    let records = records(&set, &plan);
    let record = &records[0];
    let element = record.at(record.root_word(0));
    for index in 0..20 {
        assert_eq!(record.string(&element.bytes, 16 * index), format!("element-{index}"));
    }
}

/// Tells the kernel about the fixture's types; those left out are unknown to it.
fn set_types(set: &mut ProbeSet, fixture: &Fixture) -> (LayoutId, LayoutId) {
    let strings = string_layout(set);
    let node = node_layout(set);
    let big = set
        .add_layout(&Layout {
            rechecked: false,
            size: 32,
            edges: vec![edge(16, EdgeKind::String { max: 64 })],
        })
        .expect("room");
    let entry = |direct, size, layout| RuntimeTypeEntry {
        direct,
        size,
        layouts: [layout, None, None, layout],
    };
    let types = [
        ("type:string", entry(false, 16, Some(strings))),
        ("type:int", entry(false, 8, None)),
        ("type:Big", entry(false, 32, Some(big))),
        ("type:*Node", entry(true, 8, Some(node))),
        ("itab:Big", entry(false, 32, Some(big))),
    ];
    let bias = fixture.bias();
    set.set_runtime_types(types.map(|(name, entry)| (fixture.fact(name).wrapping_sub(bias), entry)))
        .expect("room");
    (node, big)
}

fn interface(non_empty: bool, level: u8) -> Follow {
    Follow {
        kind: FollowKind::Interface {
            at: 0,
            non_empty,
            level,
        },
        layout: None,
        then: Vec::new(),
    }
}

#[test]
fn interfaces_are_followed_by_their_concrete_type() {
    for mode in [Mode::Exe, Mode::Pie] {
        let Some(mut set) = probe_set() else { return };
        let Some(mut fixture) = Fixture::start(mode) else {
            return;
        };
        let (node, big) = set_types(&mut set, &fixture);
        let plan = Plan {
            follows: vec![interface(false, 0)],
            ..fixture.plan(three_words())
        };
        let (_, _link) = fixture.probe(&mut set, "main.empty", &plan);
        fixture.run("empty");
        let records = records(&set, &plan);
        assert_eq!(records.len(), 7);
        let value = |index: usize| records[index].at(records[index].root_word(1));

        let string = value(0);
        assert_eq!((string.kind, string.status), (ChunkKind::Interface, Status::Captured));
        assert_eq!(records[0].string(&string.bytes, 0), "in an interface in an interface ");
        assert_eq!(word(&value(1).bytes), 123_456);
        assert_eq!(records[1].chunks.len(), 1);

        let pointee = value(2);
        assert_eq!((pointee.layout, pointee.bytes.len()), (node.number(), 56));
        assert_eq!(word(&pointee.bytes), 42);
        assert_eq!(records[2].string(&pointee.bytes, 8), "pointed");

        let boxed = value(3);
        assert_eq!((boxed.layout, boxed.elem_size), (big.number(), 32));
        assert_eq!(records[3].string(&boxed.bytes, 16), "big");

        assert!(records[4].chunks.is_empty(), "nil");
        // A map and an array, whose types the table lacks.
        for (index, size) in [(5, 8), (6, 24)] {
            let chunk = value(index);
            assert_eq!(chunk.status, Status::UnknownType);
            assert_eq!((chunk.bytes.len(), chunk.wanted), (size, size as u32));
        }
        assert_eq!(word(&value(6).bytes[16..]), 9);
    }
}

#[test]
fn interfaces_with_methods_are_found_by_itab_or_by_its_type() {
    let Some(mut set) = probe_set() else { return };
    let Some(mut fixture) = Fixture::start(Mode::Pie) else {
        return;
    };
    set_types(&mut set, &fixture);
    let plan = Plan {
        follows: vec![interface(true, 3)],
        ..fixture.plan(three_words())
    };
    let (_, _link) = fixture.probe(&mut set, "main.named", &plan);
    fixture.run("named");
    let records = records(&set, &plan);
    assert_eq!(records.len(), 3);
    let value = |index: usize| records[index].at(records[index].root_word(1));
    assert_eq!(records[0].string(&value(0).bytes, 16), "named");
    // The table has this one's type and not its itab.
    assert_eq!(records[1].string(&value(1).bytes, 8), "named node");
    assert!(records[2].chunks.is_empty());
}

#[test]
fn a_level_without_layout_copies_the_value_and_follows_nothing() {
    let Some(mut set) = probe_set() else { return };
    let Some(mut fixture) = Fixture::start(Mode::Exe) else {
        return;
    };
    set_types(&mut set, &fixture);
    let plan = Plan {
        follows: vec![interface(false, 1)],
        ..fixture.plan(three_words())
    };
    let (_, _link) = fixture.probe(&mut set, "main.empty", &plan);
    fixture.run("empty");
    let records = records(&set, &plan);
    assert_eq!(records[0].chunks.len(), 1, "the string's header only");
    assert_eq!(records[0].chunks[0].bytes.len(), 16);
    assert!(records[2].chunks.is_empty(), "a pointer's word is in the root");
    assert_eq!(records[3].chunks[0].bytes.len(), 32);
}

#[test]
fn interfaces_within_what_is_chased_are_followed() {
    let Some(mut set) = probe_set() else { return };
    let Some(mut fixture) = Fixture::start(Mode::Pie) else {
        return;
    };
    set_types(&mut set, &fixture);
    let kind = |non_empty| EdgeKind::Interface { non_empty, level: 0 };
    let holder = set
        .add_layout(&Layout {
            rechecked: false,
            size: 32,
            edges: vec![edge(0, kind(false)), edge(16, kind(true))],
        })
        .expect("room");
    let plan = Plan {
        follows: vec![Follow {
            kind: FollowKind::Slice {
                at_ptr: 0,
                at_len: 8,
                elem_size: 32,
                max_elems: 8,
            },
            layout: Some(holder),
            then: Vec::new(),
        }],
        max_record: 4096,
        ..fixture.plan(three_words())
    };
    let (_, _link) = fixture.probe(&mut set, "main.holders", &plan);
    fixture.run("holders");
    let records = records(&set, &plan);
    let record = &records[0];
    let holders = record.at(record.root_word(0));
    let value = |at: usize| record.at(word(&holders.bytes[at + 8..]));
    assert_eq!(record.string(&value(0).bytes, 0), "first");
    assert_eq!(record.string(&value(16).bytes, 16), "second");
    assert_eq!(word(&value(32).bytes), 44);
    assert_eq!(record.string(&value(32).bytes, 8), "third");
    assert_eq!(value(0).origin, Origin::Chase);
    assert_eq!(record.flags, Flags(0));
}
