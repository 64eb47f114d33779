//! The target, and what the client was shown of it at this stop.

use std::{collections::BTreeMap, sync::Arc};

use serde::Deserialize;
use spelunk_dwarf::ProcAddr;

use super::{container::Container, handles::Handles, settings::Settings, target::Target};
use crate::inspect::{FrameRef, Tid, Whose};
use crate::value::Style;

/// What lies on the debugger's thread.
#[derive(Default)]
pub(crate) struct Bench {
    /// The target, while there is one.
    pub(crate) target: Option<Box<dyn Target>>,
    /// Frames that the client knows by number.
    pub(crate) frames: Handles<FrameRef>,
    /// Scopes and values with parts that the client knows by number.
    pub(crate) containers: Handles<Arc<Container>>,
    /// Strings and slices whose memory the client may read: where each begins, and how long it is.
    pub(crate) memory: BTreeMap<String, (ProcAddr, i64)>,
}

/// A look at the stopped target.
pub(crate) struct Look<'a> {
    /// The target.
    pub(crate) target: &'a dyn Target,
    /// As in [`Bench`].
    pub(crate) frames: &'a mut Handles<FrameRef>,
    /// As in [`Bench`].
    pub(crate) containers: &'a mut Handles<Arc<Container>>,
    /// As in [`Bench`].
    pub(crate) memory: &'a mut BTreeMap<String, (ProcAddr, i64)>,
    /// The user's choices.
    pub(crate) settings: &'a Settings,
    /// How numbers are to be written in this answer.
    pub(crate) format: ValueFormat,
}

/// How the client wants the values of one answer to be written (DAP, `ValueFormat`).
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ValueFormat {
    /// Integers in hexadecimal.
    pub(crate) hex: bool,
}

impl Bench {
    /// Forgets what the client was shown: the target has moved.
    pub(crate) fn reset(&mut self) {
        self.frames.reset();
        self.containers.reset();
        self.memory.clear();
    }

    /// A look at the target, if there is one.
    pub(crate) fn look<'a>(&'a mut self, settings: &'a Settings) -> Option<Look<'a>> {
        Some(Look {
            target: self.target.as_deref()?,
            frames: &mut self.frames,
            containers: &mut self.containers,
            memory: &mut self.memory,
            settings,
            format: ValueFormat::default(),
        })
    }
}

impl Look<'_> {
    /// How values are written.
    pub(crate) fn style(&self) -> Style {
        Style {
            hexadecimal: self.format.hex,
            ..self.settings.style()
        }
    }

    /// The goroutine, or the thread without one, that is looked at where the client names none: that of the last stop.
    pub(crate) fn selected(&self) -> Whose {
        self.target
            .stop()
            .map_or(Whose::Thread(Tid(self.target.pid())), |stop| stop.whose)
    }

    /// The frame that is looked at where the client names none.
    pub(crate) fn selected_frame(&self) -> FrameRef {
        FrameRef {
            whose: self.selected(),
            frame: 0,
            deferred: 0,
        }
    }
}
