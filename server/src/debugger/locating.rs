//! Location expressions, looked up where the program stands.

use super::DebugError;
use super::control::{Control, failed};
use super::request::renamed;
use crate::inspect::FrameRef;
use crate::location::{Find, Found, Here, LocationSpec};

/// A location expression, and how it is to be looked up.
#[derive(Clone, Debug)]
pub(crate) struct LocationQuery {
    /// The expression.
    pub(crate) text: String,
    /// Whether lines without code are places, too.
    pub(crate) lines_without_code: bool,
    /// How the client calls the directories of the sources: (in the binary, at the client).
    pub(crate) rules: Vec<(String, String)>,
    /// The path that the program was started by.
    pub(crate) program: String,
}

impl Control {
    /// As [`super::Session::find_location`].
    pub(super) fn find_location(&mut self, at: Option<FrameRef>, query: &LocationQuery) -> Result<Found, DebugError> {
        let spec = LocationSpec::parse(&query.text).map_err(failed)?;
        let context = at.and_then(|at| self.context(at.whose));
        let frame = at.and_then(|at| self.frame(at).ok());
        let rename = |path: &str| renamed(&query.rules, path);
        let here = frame.as_ref().and_then(|frame| {
            Some(Here {
                pc: frame.lookup_pc,
                scope: self.scope(frame, context).ok()?,
            })
        });
        let find = Find {
            binary: &self.binary,
            bias: self.bias,
            program: &query.program,
            here,
            lines_without_code: query.lines_without_code,
            rename: &rename,
        };
        find.find(&spec, &query.text).map_err(failed)
    }
}
