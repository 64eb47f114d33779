//! Gates on a Go program: what passes them, and what is counted of the rest.

mod common;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use common::{Fixture, Mode, OwnedRecord, probe_set, records, register, three_words};
use spelunk_bpf::{
    BpfError, Comparison, Condition, Flags, Gate, GoroutineSource, Goroutines, HitCount, HitTest, Operation, Options,
    Plan, ProbeSet, RateLimit, Reg, Site, SiteCosts, SiteId, Term, Text,
};

fn constant(number: i64) -> Term {
    Term::Const(number)
}

fn load(base: Term, offset: i64) -> Term {
    Term::Load {
        base: Box::new(base),
        offset,
        width: 8,
        signed: true,
    }
}

fn compare(left: Term, comparison: Comparison, right: Term) -> Condition {
    Condition::Compare {
        comparison,
        signed: true,
        left,
        right,
    }
}

fn remainder(left: Term, right: i64) -> Term {
    Term::Arithmetic {
        operation: Operation::Rem,
        signed: true,
        left: Box::new(left),
        right: Box::new(constant(right)),
    }
}

/// The string argument of `main.work` or `main.str`.
fn argument() -> Text {
    Text {
        address: Term::Register(Reg::Rax),
        len: Term::Register(Reg::Rbx),
    }
}

fn bytes(text: Text, literal: &str, prefix: bool) -> Condition {
    Condition::Bytes {
        text,
        literal: literal.into(),
        prefix,
    }
}

fn gated(fixture: &Fixture, gate: Gate) -> Plan {
    Plan {
        gate,
        max_record: 256,
        ..fixture.plan(three_words())
    }
}

/// Every hit is accounted for.
fn check_sum(set: &ProbeSet, site: SiteId) {
    let counters = set.counters(site).expect("counters");
    let sum = counters.emitted + counters.ring_full + counters.condition_false + counters.throttled + counters.idle;
    assert_eq!(counters.hits, sum + counters.unplanned, "{counters:?}");
}

/// Probes `function` with a condition while `scenario` runs: the records.
fn passing(
    set: &mut ProbeSet,
    fixture: &mut Fixture,
    function: &str,
    condition: Condition,
    scenario: &str,
) -> Vec<OwnedRecord> {
    let plan = gated(
        fixture,
        Gate {
            condition: Some(condition),
            ..Gate::default()
        },
    );
    let (site, link) = fixture.probe(set, function, &plan);
    fixture.run(scenario);
    link.detach();
    let records = records(set, &plan);
    let counters = set.counters(site).expect("counters");
    check_sum(set, site);
    assert_eq!(counters.emitted, records.len() as u64);
    let unknown = records
        .iter()
        .filter(|record| record.flags.has(Flags::CONDITION_UNKNOWN));
    assert_eq!(counters.faults, unknown.count() as u64);
    records
}

#[test]
fn only_hits_pass_whose_condition_is_true() {
    for mode in [Mode::Exe, Mode::Pie] {
        let Some(mut set) = probe_set() else { return };
        let Some(mut fixture) = Fixture::start(mode) else {
            return;
        };
        let n = || Term::Register(Reg::Rcx);
        let mut numbers = |condition, scenario| -> Vec<u64> {
            let records = passing(&mut set, &mut fixture, "main.work", condition, scenario);
            assert!(records.iter().all(|record| record.flags == Flags::default()));
            records.iter().map(|record| record.root_word(2)).collect()
        };
        let each_hundredth = compare(remainder(n(), 100), Comparison::Equal, constant(7));
        assert_eq!(numbers(each_hundredth, "loop 500"), [7, 107, 207, 307, 407]);
        let both = Condition::And(
            Box::new(compare(n(), Comparison::Greater, constant(17))),
            Box::new(bytes(argument(), "hello, kernel", false)),
        );
        assert_eq!(numbers(both, "loop 20"), [18, 19]);
        assert_eq!(numbers(bytes(argument(), "hello, ", true), "loop 2"), [0, 1]);
        assert!(numbers(bytes(argument(), "hello, Kernel", false), "loop 20").is_empty());
        assert!(numbers(bytes(argument(), "hello, ", false), "loop 20").is_empty());
        let itself = Condition::SameBytes {
            left: argument(),
            right: argument(),
        };
        assert_eq!(numbers(itself, "loop 2"), [0, 1]);
        // `main.global` is 11, 22, 33, 44 wherever the program lies.
        let global = |offset| load(Term::Address(fixture.binary.symbol("main.global")), offset);
        let (first, third) = (global(0), global(16));
        let mut numbers = |condition, scenario| {
            let records = passing(&mut set, &mut fixture, "main.work", condition, scenario);
            records.iter().map(|record| record.root_word(2)).collect::<Vec<_>>()
        };
        assert_eq!(numbers(compare(n(), Comparison::Equal, first), "loop 50"), [11]);
        assert_eq!(
            numbers(compare(n(), Comparison::GreaterOrEqual, third), "loop 35"),
            [33, 34]
        );
    }
}

#[test]
fn conditions_look_behind_pointers_and_say_where_they_cannot() {
    let Some(mut set) = probe_set() else { return };
    let Some(mut fixture) = Fixture::start(Mode::Exe) else {
        return;
    };
    let node = || Term::Register(Reg::Rax);
    // node.Next.ID, node.Next.Name.
    let next = || load(node(), 24);
    let id = || compare(load(next(), 0), Comparison::Equal, constant(2));
    let name = Text {
        address: load(next(), 8),
        len: load(next(), 16),
    };
    let name = || bytes(name.clone(), "node2", false);
    let mut outcomes = |condition: Condition, scenario| -> Vec<bool> {
        let records = passing(&mut set, &mut fixture, "main.ptr", condition, scenario);
        let known = |record: &OwnedRecord| !record.flags.has(Flags::CONDITION_UNKNOWN);
        records.iter().map(known).collect()
    };
    assert_eq!(outcomes(id(), "ptr 3"), [true]);
    assert_eq!(outcomes(name(), "ptr 3"), [true]);
    assert!(outcomes(Condition::Not(Box::new(name())), "ptr 3").is_empty());
    // A nil pointer, and one to nowhere: no value, and the hit is handed on.
    assert_eq!(outcomes(id(), "ptr 1"), [false]);
    assert_eq!(outcomes(id(), "ptr-nil"), [false]);
    assert_eq!(outcomes(id(), "ptr-fault"), [false]);
    // What is not looked at does no harm.
    let guarded = |rest| {
        Condition::And(
            Box::new(compare(node(), Comparison::NotEqual, constant(0))),
            Box::new(rest),
        )
    };
    assert!(outcomes(guarded(id()), "ptr-nil").is_empty());
    let nil = compare(node(), Comparison::Equal, constant(0));
    assert_eq!(
        outcomes(Condition::Or(Box::new(nil), Box::new(id())), "ptr-nil"),
        [true]
    );
}

#[test]
fn the_goroutine_is_found_by_register_and_by_thread_local_storage() {
    let Some(mut set) = probe_set() else { return };
    let Some(mut fixture) = Fixture::start(Mode::Exe) else {
        return;
    };
    let (_, goroutine) = fixture.run("str 1");
    let goid = load(Term::Goroutine, i64::from(fixture.runtime().goid));
    for source in [GoroutineSource::R14, GoroutineSource::Tls { offset: -8 }] {
        for (wanted, expected) in [(goroutine, 1), (goroutine + 1, 0)] {
            let condition = compare(goid.clone(), Comparison::Equal, constant(wanted));
            let plan = Plan {
                goroutine: source,
                ..gated(
                    &fixture,
                    Gate {
                        condition: Some(condition),
                        ..Gate::default()
                    },
                )
            };
            let (_, link) = fixture.probe(&mut set, "main.str", &plan);
            fixture.run("str 1");
            link.detach();
            assert_eq!(records(&set, &plan).len(), expected, "{source:?}");
        }
    }
}

#[test]
fn hits_are_counted_once_whoever_comes() {
    let Some(mut set) = probe_set() else { return };
    let Some(mut fixture) = Fixture::start(Mode::Exe) else {
        return;
    };
    let counter = set.add_counter(1000).expect("room for a counter");
    let gate = |test, goroutines| Gate {
        condition: None,
        hits: Some(HitCount {
            counter,
            test,
            goroutines,
        }),
        rate: None,
        mark: None,
    };
    // Four goroutines on all CPUs: each number comes once.
    let plan = gated(&fixture, gate(HitTest::Multiple(100), Goroutines::Together));
    let (site, link) = fixture.probe(&mut set, "main.work", &plan);
    fixture.run("spread 500");
    link.detach();
    assert_eq!(records(&set, &plan).len(), 20);
    assert_eq!(set.hits(counter), 3000);
    assert_eq!(set.count_hit(counter), 3001);
    check_sum(&set, site);

    let plan = gated(
        &fixture,
        gate(HitTest::Compare(Comparison::Equal, 10), Goroutines::Apart),
    );
    let (site, link) = fixture.probe(&mut set, "main.work", &plan);
    fixture.run("spread 500");
    link.detach();
    let mut tenths = HashMap::new();
    for record in records(&set, &plan) {
        assert_eq!(record.root_word(2), 9);
        *tenths.entry(record.goroutine).or_insert(0) += 1;
    }
    assert_eq!(tenths.values().collect::<Vec<_>>(), [&1; 4], "{tenths:?}");
    assert_eq!(set.hits(counter), 5001, "all goroutines together");
    check_sum(&set, site);
    let apart = set.goroutine_hits(counter).expect("the table can be read");
    assert_eq!(apart.values().collect::<Vec<_>>(), [&500; 4], "{apart:?}");

    // Told, but compared together; and nothing of what was counted before.
    set.restart_counter(counter, 7).expect("entries can be taken out");
    assert_eq!(set.goroutine_hits(counter).expect("the table can be read").len(), 0);
    let before = apart.keys().map(|goroutine| (*goroutine, 1)).chain([(1, 6)]).collect();
    set.add_goroutine_hits(counter, fixture.pid(), &before)
        .expect("there is room");
    let plan = gated(&fixture, gate(HitTest::Multiple(100), Goroutines::Told));
    let (site, link) = fixture.probe(&mut set, "main.work", &plan);
    fixture.run("spread 500");
    link.detach();
    assert_eq!(records(&set, &plan).len(), 20);
    assert_eq!(set.hits(counter), 2007);
    let told = set.goroutine_hits(counter).expect("the table can be read");
    let sum: u64 = told.values().sum();
    assert_eq!((told.get(&1), sum), (Some(&6), 2010), "{told:?}");
    check_sum(&set, site);
}

#[test]
fn goroutines_that_find_no_room_pass_and_say_so() {
    if probe_set().is_none() {
        return;
    }
    let Some(mut fixture) = Fixture::start(Mode::Exe) else {
        return;
    };
    let mut set = ProbeSet::new(Options {
        max_goroutine_hits: 2,
        ..Options::default()
    })
    .expect("as the first one");
    let counter = set.add_counter(0).expect("room for a counter");
    let plan = gated(
        &fixture,
        Gate {
            condition: None,
            hits: Some(HitCount {
                counter,
                test: HitTest::Compare(Comparison::Equal, 3),
                goroutines: Goroutines::Apart,
            }),
            rate: None,
            mark: None,
        },
    );
    let (site, link) = fixture.probe(&mut set, "main.work", &plan);
    fixture.run("spread 50");
    link.detach();
    let records = records(&set, &plan);
    let (unknown, known): (Vec<_>, Vec<_>) = records.iter().partition(|record| record.flags.has(Flags::HITS_UNKNOWN));
    assert_eq!((known.len(), unknown.len()), (2, 100));
    assert_eq!(set.hits(counter), 200);
    check_sum(&set, site);
}

/// How many may pass in how many nanoseconds.
const MOST: u32 = 50;
const INTERVAL: u64 = 20_000_000;

#[test]
fn no_more_pass_than_the_rate_allows() {
    let Some(mut set) = probe_set() else { return };
    let Some(mut fixture) = Fixture::start(Mode::Exe) else {
        return;
    };
    let limiter = set.add_limiter().expect("room for a limiter");
    let plan = gated(
        &fixture,
        Gate {
            rate: Some(RateLimit {
                limiter,
                most: MOST,
                interval: INTERVAL,
            }),
            ..Gate::default()
        },
    );
    let (site, link) = fixture.probe(&mut set, "main.work", &plan);
    let begin = Instant::now();
    fixture.run("spread 50000");
    let intervals = begin.elapsed().as_nanos() as u64 / INTERVAL + 2;
    link.detach();
    let cpus = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let counters = set.counters(site).expect("counters");
    assert_eq!(counters.hits, 200_000);
    assert!(counters.throttled > 0);
    assert!(
        (u64::from(MOST)..=intervals * (u64::from(MOST) + cpus)).contains(&counters.emitted),
        "{counters:?} in {intervals} intervals"
    );
    check_sum(&set, site);
}

#[test]
fn every_hit_is_accounted_for_under_overload() {
    if probe_set().is_none() {
        return;
    }
    let Some(mut fixture) = Fixture::start(Mode::Exe) else {
        return;
    };
    let mut set = ProbeSet::new(Options {
        ring_bytes: 64 << 10,
        ..Options::default()
    })
    .expect("as the first one");
    let counter = set.add_counter(0).expect("room for a counter");
    let limiter = set.add_limiter().expect("room for a limiter");
    let plan = gated(
        &fixture,
        Gate {
            condition: Some(compare(
                remainder(Term::Register(Reg::Rcx), 3),
                Comparison::NotEqual,
                constant(0),
            )),
            hits: Some(HitCount {
                counter,
                test: HitTest::Multiple(2),
                goroutines: Goroutines::Together,
            }),
            rate: Some(RateLimit {
                limiter,
                most: 1000,
                interval: 1_000_000,
            }),
            mark: None,
        },
    );
    let (site, link) = fixture.probe(&mut set, "main.work", &plan);
    fixture.run("spread 30000");
    link.detach();
    let emitted = records(&set, &plan).len() as u64;
    let counters = set.counters(site).expect("counters");
    check_sum(&set, site);
    assert_eq!(counters.hits, 120_000, "the program's own count");
    assert_eq!(set.hits(counter), 80_000);
    assert_eq!(counters.condition_false, 40_000 + 40_000);
    assert_eq!(counters.emitted, emitted);
    assert!(counters.ring_full > 0, "{counters:?}");
}

#[test]
fn what_a_site_costs_is_told_and_it_can_be_switched_off() {
    let Some(mut set) = probe_set() else { return };
    let Some(mut fixture) = Fixture::start(Mode::Exe) else {
        return;
    };
    let costs = SiteCosts {
        emulated: Duration::from_nanos(100),
        stepped: Duration::from_micros(10),
    };
    let plan = gated(&fixture, Gate::default());
    let watch = set.watch();
    let (emulated, link) = fixture.probe(&mut set, "main.work", &plan);
    fixture.run("loop 1000");
    let spent = watch.spent(emulated, costs);
    // A record takes some hundred nanoseconds on top; one in 16 was timed.
    let record = spent.saturating_sub(costs.emulated * 1000) / 1000;
    assert!((10..20_000).contains(&record.as_nanos()), "{spent:?}");
    assert_eq!(records(&set, &plan).len(), 1000);

    watch.switch_off(emulated);
    fixture.run("loop 500");
    assert!(records(&set, &plan).is_empty());
    let counters = watch.counters(emulated);
    assert_eq!((counters.hits, counters.emitted, counters.throttled), (1500, 1000, 500));
    check_sum(&set, emulated);
    assert_eq!(watch.spent(emulated, costs), spent + costs.emulated * 500);
    watch.switch_on(emulated);
    fixture.run("loop 10");
    assert_eq!(records(&set, &plan).len(), 10);

    watch.retire(emulated);
    fixture.run("loop 20");
    assert!(records(&set, &plan).is_empty());
    let counters = watch.counters(emulated);
    assert_eq!((counters.hits, counters.emitted, counters.idle), (1530, 1010, 20));
    check_sum(&set, emulated);
    link.detach();

    // The instruction behind `push %rbp` is `mov %rsp, %rbp`, which the kernel steps.
    let address = fixture.binary.entry("main.work") + 1;
    let site = Site {
        plan: set.add_plan(&plan).expect("it is loaded"),
        file_addr: address,
    };
    let stepped = set.add_site(site).expect("there is room");
    let link = set
        .attach(&fixture.target(), &[(fixture.binary.file_offset(address), stepped)])
        .expect("the probe attaches");
    fixture.run("loop 100");
    link.detach();
    assert!(watch.spent(stepped, costs) >= costs.stepped * 100);
    assert_eq!(watch.spent(SiteId::numbered(u32::MAX), costs), Duration::ZERO);
}

#[test]
fn foreign_counters_and_limiters_are_refused() {
    let Some(mut set) = probe_set() else { return };
    let mut other = probe_set().expect("as the first one");
    let counter = other.add_counter(0).expect("room for a counter");
    let limiter = other.add_limiter().expect("room for a limiter");
    let plan = |gate| Plan {
        roots: vec![register(Reg::Rax)],
        follows: vec![],
        goroutine: GoroutineSource::None,
        runtime: spelunk_bpf::RuntimeOffsets::default(),
        max_record: 256,
        gate,
        stops: false,
    };
    let hits = Gate {
        hits: Some(HitCount {
            counter,
            test: HitTest::Any,
            goroutines: Goroutines::Together,
        }),
        ..Gate::default()
    };
    let rate = Gate {
        rate: Some(RateLimit {
            limiter,
            most: 1,
            interval: 1000,
        }),
        ..Gate::default()
    };
    for gate in [hits, rate] {
        assert!(matches!(set.add_plan(&plan(gate.clone())), Err(BpfError::Foreign(_))));
        other.add_plan(&plan(gate)).expect("its own");
    }
}
