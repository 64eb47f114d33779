//! Why goroutines wait, in the runtime's own words.

use std::sync::Arc;

use spelunk_dwarf::{ProcAddr, RuntimeLayout};

use super::Stopped;
use crate::value::BulkRead;

/// The field is one byte wide.
const MAX_REASONS: u64 = 256;
/// The runtime's texts are a few words.
const MAX_LENGTH: u64 = 256;

/// The texts of `runtime.waitReasonStrings`.
pub(super) struct WaitReasons(Vec<Option<Arc<str>>>);

impl WaitReasons {
    /// Reads them from the program: they come and go with Go's versions.
    pub(super) fn read(p: &dyn Stopped, layout: &RuntimeLayout) -> WaitReasons {
        let Some((at, count)) = layout.wait_reasons else {
            return WaitReasons(Vec::new());
        };
        let mut headers = vec![0; 16 * count.min(MAX_REASONS) as usize];
        if p.memory().read(p.bias().to_proc(at), &mut headers).is_err() {
            return WaitReasons(Vec::new());
        }
        let (words, _) = headers.as_chunks::<8>();
        let mut reads: Vec<BulkRead> = words
            .as_chunks::<2>()
            .0
            .iter()
            .map(|[pointer, len]| {
                let len = u64::from_le_bytes(*len).min(MAX_LENGTH);
                BulkRead::new(ProcAddr(u64::from_le_bytes(*pointer)), len as usize)
            })
            .collect();
        p.memory().read_many(&mut reads);
        let text = |read: &BulkRead| read.done().map(|bytes| Arc::from(String::from_utf8_lossy(bytes)));
        WaitReasons(reads.iter().map(text).collect())
    }

    /// The text for a value of `g.waitreason`; empty for none.
    pub(super) fn text(&self, reason: u8) -> Arc<str> {
        match self.0.get(usize::from(reason)) {
            Some(Some(text)) => Arc::clone(text),
            _ if reason == 0 => Arc::from(""),
            _ => Arc::from(format!("unknown wait reason {reason}")),
        }
    }
}
