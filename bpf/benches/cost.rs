//! What a hit costs, what loading costs, and how fast the ring is drained. To be run on a quiet machine: `cargo bench -p spelunk-bpf`.

#[path = "../tests/common/mod.rs"]
mod common;

use std::time::Duration;

use common::{Fixture, Mode, register, three_words};
use spelunk_bpf::{
    Comparison, Condition, Follow, FollowKind, Gate, GoroutineSource, Options, Plan, ProbeSet, Reg, Term, Text,
};

/// Batches of 1,000 calls, of which the fastest counts.
const BATCHES: u32 = 1000;

fn string(max: u32) -> Follow {
    Follow {
        kind: FollowKind::String {
            at_ptr: 0,
            at_len: 8,
            max,
        },
        layout: None,
        then: Vec::new(),
    }
}

fn nanoseconds_per_hit() {
    let Some(mut fixture) = Fixture::start(Mode::Exe) else {
        return;
    };
    let mut set = ProbeSet::new(Options::default()).expect("a probe set");
    let ring = set.ring();
    std::thread::spawn(move || while ring.drain(Duration::from_millis(10), |_| {}).is_ok() {});
    // The fixture gives the nanoseconds of 1,000 calls.
    let time = |fixture: &mut Fixture| fixture.run(&format!("least {BATCHES}")).0 as f64 / 1000.0;
    let base = time(&mut fixture);
    println!("no probe: {base:.0} ns per call");
    let plain = fixture.plan(vec![register(Reg::Rax)]);
    let plans = [
        (
            "no goroutine, one register",
            Plan {
                goroutine: GoroutineSource::None,
                max_record: 256,
                ..plain.clone()
            },
        ),
        (
            "one register",
            Plan {
                max_record: 256,
                ..plain.clone()
            },
        ),
        (
            "three registers and a string",
            Plan {
                follows: vec![string(64)],
                max_record: 256,
                ..fixture.plan(three_words())
            },
        ),
        (
            "the same, goroutine by TLS",
            Plan {
                follows: vec![string(64)],
                goroutine: GoroutineSource::Tls { offset: -8 },
                max_record: 256,
                ..fixture.plan(three_words())
            },
        ),
        (
            "three registers and eight strings",
            Plan {
                follows: vec![string(64); 8],
                max_record: 1024,
                ..fixture.plan(three_words())
            },
        ),
    ];
    for (name, plan) in plans {
        let (site, link) = fixture.probe(&mut set, "main.work", &plan);
        let cost = time(&mut fixture) - base;
        drop(link);
        let counters = set.counters(site).expect("counters");
        println!(
            "{name}: {cost:.0} ns per hit, {} of {} lost",
            counters.ring_full, counters.hits
        );
    }
}

/// Conditions that are false at each hit of `main.work("hello, kernel", n)` with n below 1,000, which leaves the string at `kept`.
fn false_conditions(kept: u64) -> [(&'static str, Condition); 7] {
    let argument = || Text {
        address: Term::Register(Reg::Rax),
        len: Term::Register(Reg::Rbx),
    };
    let integer = |left, right| Condition::Compare {
        comparison: Comparison::Equal,
        signed: true,
        left,
        right: Term::Const(right),
    };
    let bytes = |text, literal: &[u8]| Condition::Bytes {
        text,
        literal: literal.to_vec(),
        prefix: false,
    };
    let load = |base, offset| Term::Load {
        base: Box::new(base),
        offset,
        width: 8,
        signed: true,
    };
    [
        ("nothing", Condition::Always(false)),
        ("an integer", integer(Term::Register(Reg::Rcx), -1)),
        ("a string of another length", bytes(argument(), b"hello, kernels")),
        ("a string of the same length", bytes(argument(), b"hello, Kernel")),
        (
            "a string of the same length in memory",
            bytes(
                Text {
                    address: load(Term::Address(kept), 0),
                    len: load(Term::Address(kept), 8),
                },
                b"hello, Kernel",
            ),
        ),
        (
            "a number behind a pointer",
            integer(load(Term::Register(Reg::Rax), 0), -1),
        ),
        ("the goroutine's id", integer(load(Term::Goroutine, GOID), -1)),
    ]
}

/// `g.goid` of the Go versions that are likely here; for the time that reading it takes, any offset would do.
const GOID: i64 = 152;

fn nanoseconds_per_false_condition() {
    let Some(mut fixture) = Fixture::start(Mode::Exe) else {
        return;
    };
    let mut set = ProbeSet::new(Options::default()).expect("a probe set");
    let time = |fixture: &mut Fixture| fixture.run(&format!("least {BATCHES}")).0 as f64 / 1000.0;
    let base = time(&mut fixture);
    let (site, link) = fixture.probe(&mut set, "main.work", &fixture.plan(three_words()));
    set.watch().switch_off(site);
    let cost = time(&mut fixture) - base;
    drop(link);
    println!("switched off: {cost:.0} ns per hit");
    for (name, condition) in false_conditions(fixture.binary.symbol("main.kept")) {
        let plan = Plan {
            gate: Gate {
                condition: Some(condition),
                ..Gate::default()
            },
            ..fixture.plan(three_words())
        };
        let (site, link) = fixture.probe(&mut set, "main.work", &plan);
        let cost = time(&mut fixture) - base;
        drop(link);
        let counters = set.counters(site).expect("counters");
        assert_eq!(counters.condition_false, counters.hits);
        println!("false condition on {name}: {cost:.0} ns per hit");
    }
}

fn milliseconds_to_load_300_plans() {
    let mut set = ProbeSet::new(Options::default()).expect("a probe set");
    let layout = set.add_layout(&spelunk_bpf::Layout::default()).expect("room");
    let mut load = |name: &str, layout, strings: usize, max_record| {
        let plans: Vec<Plan> = (1..=300)
            .map(|n| Plan {
                roots: three_words(),
                follows: vec![Follow { layout, ..string(n) }; strings],
                goroutine: GoroutineSource::R14,
                runtime: spelunk_bpf::RuntimeOffsets {
                    goid: 152,
                    stack_hi: 8,
                    m: 48,
                    curg: 184,
                },
                max_record,
                gate: Gate::default(),
                stops: false,
            })
            .collect();
        let begin = std::time::Instant::now();
        set.add_plans(&plans).expect("the plans load");
        println!("300 plans of {name}: {:?}", begin.elapsed());
    };
    load("a string", None, 1, 256);
    load("registers and a string", None, 1, 512);
    load("registers and eight strings", None, 8, 1024);
    load("registers, a string and a chase", Some(layout), 1, 4096);
}

fn records_drained_per_second() {
    let Some(mut fixture) = Fixture::start(Mode::Exe) else {
        return;
    };
    let mut set = ProbeSet::new(Options::default()).expect("a probe set");
    let plan = Plan {
        follows: vec![string(64)],
        max_record: 256,
        ..fixture.plan(three_words())
    };
    let (_, _link) = fixture.probe(&mut set, "main.work", &plan);
    let mut best = 0.0f64;
    for _ in 0..10 {
        fixture.run("loop 50000");
        let begin = std::time::Instant::now();
        let mut bytes = 0;
        let records = set
            .drain(Duration::ZERO, |record| {
                bytes += record.root(&plan, 0).map_or(0, <[u8]>::len);
                bytes += record.chunks().map(|chunk| chunk.bytes.len()).sum::<usize>();
            })
            .expect("the ring drains");
        assert_eq!(bytes, records * (8 + "hello, kernel".len()));
        best = best.max(records as f64 / begin.elapsed().as_secs_f64());
    }
    println!("{:.1} million records per second", best / 1e6);
}

fn main() {
    // `cargo test --benches` passes a flag of its own; measuring belongs to `cargo bench`.
    if std::env::args().any(|argument| argument == "--bench") {
        nanoseconds_per_hit();
        nanoseconds_per_false_condition();
        milliseconds_to_load_300_plans();
        records_drained_per_second();
    }
}
