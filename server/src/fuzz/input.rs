//! Input of all sorts: noise, pieces of what is right, and what is nearly right.

use proptest::prelude::*;
use proptest::sample::{Index, select};

/// A change of some bytes.
#[derive(Clone, Debug)]
enum Change {
    Set(Index, u8),
    Insert(Index, u8),
    Remove(Index, usize),
    Repeat(Index, usize, usize),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Insert(at, byte)),
        (any::<Index>(), 1usize..20).prop_map(|(at, count)| Change::Remove(at, count)),
        (any::<Index>(), 1usize..8, 1usize..40).prop_map(|(at, count, times)| Change::Repeat(at, count, times)),
    ]
}

fn changed(mut bytes: Vec<u8>, changes: Vec<Change>) -> Vec<u8> {
    for change in changes {
        if bytes.is_empty() {
            break;
        }
        let length = bytes.len();
        match change {
            Change::Set(at, byte) => bytes[at.index(length)] = byte,
            Change::Insert(at, byte) => bytes.insert(at.index(length), byte),
            Change::Remove(at, count) => {
                let at = at.index(length);
                bytes.drain(at..(at + count).min(length));
            }
            Change::Repeat(at, count, times) => {
                let at = at.index(length);
                let end = (at + count).min(length);
                let part = bytes[at..end].repeat(times);
                bytes.splice(end..end, part);
            }
        }
    }
    bytes
}

/// Bytes: some of these one behind the other, with changes; or noise.
pub(crate) fn bytes_like(right: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let nearly = (
        prop::collection::vec(select(right), 1..6),
        prop::collection::vec(change(), 0..6),
    );
    prop_oneof![
        6 => nearly.prop_map(|(pieces, changes)| changed(pieces.concat().into_bytes(), changes)),
        1 => prop::collection::vec(any::<u8>(), 0..300),
    ]
}

/// Text: some of these words, with or without blanks between them; as [`bytes_like`]; any text; or one word so often that whoever calls himself for each
/// needs an end.
pub(crate) fn text_of(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    let some = || prop::collection::vec(select(words), 1..14);
    let often = (select(words), 1usize..50_000, select(words));
    prop_oneof![
        4 => some().prop_map(|words| words.join(" ")),
        4 => some().prop_map(|words| words.concat()),
        2 => bytes_like(words).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        1 => ".{0,60}",
        1 => often.prop_map(|(word, times, last)| word.repeat(times) + last),
    ]
}
