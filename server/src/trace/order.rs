//! Puts records in the order of their times.
//!
//! A ring hands records out in the order in which their room was reserved, on whatever CPU; the time is taken afterwards. So a record may be younger than those behind
//! it, by some nanoseconds, or by as long as its program was held up in between.

use spelunk_bpf::RecordView;

/// Beyond this many bytes the room for records is given back when it is no longer needed.
const KEPT: usize = 1 << 20;

/// Whose order is never changed: a goroutine passes its probes one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Passer {
    process: u32,
    goroutine: i64,
    /// Tells system threads apart, which have no goroutine; 0 for a goroutine, which may change its thread.
    thread: u32,
}

/// A record that waits.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    time: u64,
    passer: Passer,
    start: usize,
    len: usize,
}

/// Records that wait until it is known that none before them is missing.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// By time.
    waiting: Vec<Waiting>,
    /// What the waiting records hold, and those that were released just now.
    bytes: Vec<u8>,
    /// Room for `bytes` to be moved to.
    spare: Vec<u8>,
}

impl Order {
    /// Takes the next record of the ring.
    pub(super) fn push(&mut self, record: &RecordView<'_>) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(record.bytes());
        let goroutine = record.goroutine();
        let mut new = Waiting {
            time: record.time(),
            passer: Passer {
                process: record.process(),
                goroutine,
                thread: if goroutine == 0 { record.thread() } else { 0 },
            },
            start,
            len: record.bytes().len(),
        };
        // Nearly always it belongs at the end, and hardly ever far from there.
        let mut at = self.waiting.len();
        while let Some(before) = at.checked_sub(1).and_then(|index| self.waiting.get(index)) {
            if before.time <= new.time {
                break;
            }
            if before.passer == new.passer {
                // Two CPUs may read the clock a little differently.
                new.time = before.time;
                break;
            }
            at -= 1;
        }
        self.waiting.insert(at, new);
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many bytes wait.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Until when records have to be released for room: at least half of them, and of those that are left none is older than the newest by more than `span`
    /// nanoseconds.
    pub(super) fn time_to_make_room(&self, span: u64) -> u64 {
        let newest = self.waiting.last().map_or(0, |last| last.time);
        let middle = self.waiting.get(self.waiting.len() / 2).map_or(0, |middle| middle.time);
        middle.max(newest.saturating_sub(span))
    }

    /// Hands out the records of the time until `until`, in order.
    pub(super) fn release(&mut self, until: u64, mut each: impl FnMut(&RecordView<'_>)) {
        let due = self.waiting.partition_point(|waiting| waiting.time <= until);
        if due == 0 {
            return;
        }
        for waiting in self.waiting.drain(..due) {
            let bytes = self.bytes.get(waiting.start..waiting.start + waiting.len);
            if let Some(record) = bytes.and_then(|bytes| RecordView::new(bytes).ok()) {
                each(&record);
            }
        }
        self.compact();
    }

    /// Gives the room of what was released back.
    fn compact(&mut self) {
        if self.waiting.is_empty() {
            self.bytes.clear();
            self.bytes.shrink_to(KEPT);
            return;
        }
        self.spare.clear();
        for waiting in &mut self.waiting {
            let start = self.spare.len();
            let bytes = self.bytes.get(waiting.start..waiting.start + waiting.len);
            self.spare.extend_from_slice(bytes.unwrap_or_default());
            waiting.start = start;
        }
        std::mem::swap(&mut self.bytes, &mut self.spare);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A record as the programs make it: the time at 16, the goroutine at 32, an empty rest.
    fn record(time: u64, goroutine: i64) -> Vec<u8> {
        let size = spelunk_bpf::HEADER_SIZE;
        let mut bytes = vec![0; size];
        bytes[..4].copy_from_slice(&(size as u32).to_le_bytes());
        bytes[16..24].copy_from_slice(&time.to_le_bytes());
        bytes[32..40].copy_from_slice(&goroutine.to_le_bytes());
        bytes[80..84].copy_from_slice(&(size as u32).to_le_bytes());
        bytes
    }

    fn push(order: &mut Order, time: u64, goroutine: i64) {
        let bytes = record(time, goroutine);
        order.push(&RecordView::new(&bytes).expect("a record"));
    }

    fn released(order: &mut Order, until: u64) -> Vec<(u64, i64)> {
        let mut all = Vec::new();
        order.release(until, |record| all.push((record.time(), record.goroutine())));
        all
    }

    #[test]
    fn late_records_come_before_younger_ones_and_no_later_than_they_may() {
        let mut order = Order::default();
        for (time, goroutine) in [(10, 1), (30, 2), (20, 1), (25, 3), (40, 1)] {
            push(&mut order, time, goroutine);
        }
        assert_eq!(released(&mut order, 9), []);
        assert_eq!(released(&mut order, 29), [(10, 1), (20, 1), (25, 3)]);
        push(&mut order, 35, 3);
        assert_eq!(released(&mut order, u64::MAX), [(30, 2), (35, 3), (40, 1)]);
        assert!(order.is_empty());
        assert_eq!(order.len(), 0, "no room is kept for what was released");
    }

    #[test]
    fn a_goroutines_own_order_stands_whatever_the_clocks_say() {
        let mut order = Order::default();
        for (time, goroutine) in [(10, 1), (30, 2), (29, 2), (31, 1)] {
            push(&mut order, time, goroutine);
        }
        assert_eq!(released(&mut order, u64::MAX), [(10, 1), (30, 2), (29, 2), (31, 1)]);
    }

    proptest! {
        #[test]
        fn times_never_go_back(delays in prop::collection::vec((0_u64..50, 1_i64..5), 1..200), every in 1_usize..20) {
            // Room is reserved at one moment after the other; the time is taken some delay later, but not before the goroutine's record before it was finished.
            let mut order = Order::default();
            let mut seen = Vec::new();
            let mut last = [0; 5];
            let mut expected = Vec::new();
            for (moment, (delay, goroutine)) in delays.into_iter().enumerate() {
                let moment = moment as u64;
                let time = (moment + delay).max(last[goroutine as usize] + 1);
                last[goroutine as usize] = time;
                expected.push((time, goroutine));
                push(&mut order, time, goroutine);
                if (moment as usize).is_multiple_of(every) {
                    // What is reserved from now on is at least this young.
                    seen.extend(released(&mut order, moment));
                }
            }
            seen.extend(released(&mut order, u64::MAX));
            prop_assert!(seen.is_sorted_by_key(|(time, _)| *time), "{:?}", seen);
            for goroutine in 1..5 {
                let own = |all: &[(u64, i64)]| all.iter().filter(|one| one.1 == goroutine).copied().collect::<Vec<_>>();
                prop_assert_eq!(own(&seen), own(&expected));
            }
        }
    }
}
