//! The target, and what the client was shown of it at this stop.

use std::sync::Arc;

use super::{container::Container, handles::Handles, settings::Settings, target::Target};
use crate::inspect::{FrameRef, Tid, Whose};

/// What lies on the debugger's thread.
#[derive(Default)]
pub(crate) struct Bench {
    /// The target, while there is one.
    pub(crate) target: Option<Box<dyn Target>>,
    /// Frames that the client knows by number.
    pub(crate) frames: Handles<FrameRef>,
    /// Scopes and values with parts that the client knows by number.
    pub(crate) containers: Handles<Arc<Container>>,
}

/// A look at the stopped target.
pub(crate) struct Look<'a> {
    /// The target.
    pub(crate) target: &'a dyn Target,
    /// As in [`Bench`].
    pub(crate) frames: &'a mut Handles<FrameRef>,
    /// As in [`Bench`].
    pub(crate) containers: &'a mut Handles<Arc<Container>>,
    /// The user's choices.
    pub(crate) settings: &'a Settings,
}

impl Bench {
    /// Forgets what the client was shown: the target has moved.
    pub(crate) fn reset(&mut self) {
        self.frames.reset();
        self.containers.reset();
    }

    /// A look at the target, if there is one.
    pub(crate) fn look<'a>(&'a mut self, settings: &'a Settings) -> Option<Look<'a>> {
        Some(Look {
            target: self.target.as_deref()?,
            frames: &mut self.frames,
            containers: &mut self.containers,
            settings,
        })
    }
}

impl Look<'_> {
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
        }
    }
}
