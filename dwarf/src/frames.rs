//! From an address to the calls the source code shows there, inlined ones included.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use gimli::{EndianArcSlice, LittleEndian, SectionId};

use crate::error::DwarfError;
use crate::{Binary, FileAddr};

/// One call at an address, as the source code shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The function's name.
    pub function: Arc<str>,
    /// The source file of what runs in it.
    pub file: Option<Arc<str>>,
    /// The line of what runs in it: for all but the first frame, that of the call that was inlined. 0 when unknown.
    pub line: u32,
    /// Whether the call was inlined into the next frame's function.
    pub inlined: bool,
}

type Shared = EndianArcSlice<LittleEndian>;

/// addr2line's tables. They fill up with use and cannot be shared between threads, hence the lock.
pub(crate) struct Symbolizer(Mutex<addr2line::Context<Shared>>);

impl fmt::Debug for Symbolizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Symbolizer")
    }
}

impl Binary {
    /// The calls at `pc`, innermost first: those that were inlined, then the function whose code it is. For a return
    /// address, ask for the address before it. Empty for code without debug information.
    pub fn frames_at(&self, pc: FileAddr) -> Vec<Frame> {
        let symbolizer = self.symbolizer.get_or_init(|| self.new_symbolizer());
        let Ok(Symbolizer(context)) = symbolizer else {
            return Vec::new();
        };
        let context = context.lock().unwrap_or_else(PoisonError::into_inner);
        read_frames(&context, pc).unwrap_or_default()
    }

    fn new_symbolizer(&self) -> Result<Symbolizer, DwarfError> {
        let dwarf = gimli::Dwarf::load(|id| -> Result<Shared, DwarfError> {
            // Location lists are large, and nothing here looks at them.
            let bytes = match id {
                SectionId::DebugLoc | SectionId::DebugLocLists => &[],
                id => self.section(id)?.slice(),
            };
            Ok(Shared::new(Arc::from(bytes), LittleEndian))
        })?;
        let context = addr2line::Context::from_dwarf(dwarf)?;
        Ok(Symbolizer(Mutex::new(context)))
    }
}

fn read_frames(context: &addr2line::Context<Shared>, pc: FileAddr) -> Result<Vec<Frame>, gimli::Error> {
    let mut frames: Vec<Frame> = Vec::new();
    let mut found = context.find_frames(pc.0).skip_all_loads()?;
    while let Some(frame) = found.next()? {
        let Some(function) = frame.function else { continue };
        let location = frame.location;
        frames.push(Frame {
            function: function.raw_name()?.as_ref().into(),
            // addr2line joins the unit's directory to relative paths, which for Go is the current one.
            file: location
                .as_ref()
                .and_then(|l| l.file)
                .map(|file| file.strip_prefix("./").unwrap_or(file).into()),
            line: location.and_then(|l| l.line).unwrap_or(0),
            inlined: true,
        });
    }
    if let Some(outermost) = frames.last_mut() {
        outermost.inlined = false;
    }
    Ok(frames)
}
