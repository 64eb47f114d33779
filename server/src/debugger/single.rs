//! Breakpoints that clients of Delve's JSON-RPC make, change and take away one by one (`service/debugger/debugger.go`, Delve 1.27.1).
//!
//! They belong to no group that an editor replaces as a whole, and two of them never share an address.

use spelunk_dwarf::{FileAddr, ProcAddr};

use super::breakpoints::{Carrier, Exception, GoroutineHits, Hits, Logical, Origin, ParsedTerms, Placed, Terms};
use super::control::{Control, Phase, failed};
use super::request::{BreakpointPlace, BreakpointRequest, BreakpointTerms, BreakpointView, LocationExpression, Shown};
use super::{BreakpointId, DebugError, ExceptionFilters};
use crate::location::{Find, Place, places_of_function, places_of_line, without_type_arguments};

/// What a breakpoint at places in several lines is said to lie in, in Delve's words.
const MULTIPLE: &str = "<multiple locations>";

impl Control {
    /// As [`super::Session::create_breakpoint`].
    pub(super) fn create_breakpoint(&mut self, request: BreakpointRequest) -> Result<BreakpointView, DebugError> {
        if !request.terms.name.is_empty() && self.breakpoint_named(&request.terms.name).is_some() {
            return Err(failed("breakpoint name already exists"));
        }
        if request.id != 0
            && let Some(known) = self.breakpoint_view(BreakpointId(request.id))
        {
            return Err(exists(&known.at, 0));
        }
        if self.phase == Phase::Held && self.binary.is_pie() {
            // Only a program that was executed lies somewhere.
            self.seize()?;
        }
        let id = if request.id > 0 {
            let id = BreakpointId(request.id);
            self.breakpoints.count_from(id);
            id
        } else {
            self.breakpoints.next_id()
        };
        let terms = Terms {
            log_message: None,
            condition: Some(request.terms.condition.clone()),
            hit_condition: Some(request.terms.hit_condition.clone()),
        };
        let parsed = ParsedTerms::of(&terms).map_err(failed)?;
        let mut logical = Logical {
            id,
            origin: Origin::Single,
            terms,
            parsed,
            places: Vec::new(),
            at: None,
            hits: Hits::Here(0),
            carrier: Carrier::Nothing,
            message: None,
            evaluated_at_stops: false,
            switched_off: None,
            placed: Some(Box::new(Placed {
                place: request.place,
                expression: request.expression,
            })),
            extra: request.terms,
            enabled: true,
            recorded: None,
            by_goroutine: GoroutineHits::default(),
            told_apart: false,
            shown: Shown::default(),
        };
        if let Some(expression) = logical.placed.as_ref().and_then(|placed| placed.expression.as_ref())
            && let Some(first) = self.find_expression(expression).first()
        {
            self.name_by_places(&mut logical.shown, &[*first]);
        }
        let done = self.switch_on(&mut logical);
        self.breakpoints.add(logical);
        self.spread(&[id]);
        if let Err(why) = done
            && !request.suspended
            && self.is_nowhere(id)
        {
            self.breakpoints.remove(id);
            return Err(why);
        }
        self.settle()?;
        self.breakpoint_view(id)
            .ok_or_else(|| failed(format!("no breakpoint with ID {}", id.0)))
    }

    /// As [`super::Session::amend_breakpoint`].
    pub(super) fn amend_breakpoint(
        &mut self,
        id: BreakpointId,
        terms: BreakpointTerms,
        enabled: bool,
    ) -> Result<(), DebugError> {
        if let Some(exception) = Exception::ALL.into_iter().find(|exception| exception.id() == id) {
            return self.amend_exception(exception, &terms, enabled);
        }
        let Some(logical) = self.breakpoints.get(id) else {
            return Err(failed(format!("no breakpoint with ID {}", id.0)));
        };
        let parsed_terms = Terms {
            log_message: logical.terms.log_message.clone(),
            condition: Some(terms.condition.clone()),
            hit_condition: Some(terms.hit_condition.clone()),
        };
        let parsed = ParsedTerms::of(&parsed_terms).map_err(failed)?;
        let Some(mut logical) = self.breakpoints.remove(id) else {
            return Err(failed(format!("no breakpoint with ID {}", id.0)));
        };
        let was_enabled = logical.enabled;
        let stays = was_enabled
            && enabled
            && parsed.condition == logical.parsed.condition
            && parsed.hit_condition == logical.parsed.hit_condition
            && terms.hits_per_goroutine == logical.extra.hits_per_goroutine
            && terms.is_carried_like(&logical.extra);
        let mut done = Ok(());
        if !stays {
            self.disarm(&mut logical);
        }
        logical.terms = parsed_terms;
        logical.parsed = parsed;
        logical.extra = terms;
        logical.enabled = enabled;
        if enabled && !stays {
            done = if was_enabled {
                self.rearm(&mut logical)
            } else {
                self.switch_on(&mut logical)
            };
        }
        self.breakpoints.put_back(logical);
        if !stays {
            self.spread(&[id]);
        }
        done?;
        self.settle()
    }

    /// One of the debugger's own: all but its conditions can be changed.
    fn amend_exception(
        &mut self,
        exception: Exception,
        terms: &BreakpointTerms,
        enabled: bool,
    ) -> Result<(), DebugError> {
        let id = exception.id().0;
        if self.own.get(&exception.id()).is_some_and(|own| own.is_cleared) {
            return Err(failed(format!("no breakpoint with ID {id}")));
        }
        if !(terms.condition.is_empty() && terms.hit_condition.is_empty()) {
            return Err(failed(format!(
                "breakpoint {id} is the debugger's own and cannot have a condition"
            )));
        }
        let mut filters: ExceptionFilters = self.exceptions;
        match exception {
            Exception::UnrecoveredPanic => filters.unrecovered_panic = enabled,
            Exception::FatalThrow => filters.fatal_throw = enabled,
        }
        if filters != self.exceptions {
            self.set_exception_filters(filters);
        }
        self.own.entry(exception.id()).or_default().terms = Some(terms.clone());
        Ok(())
    }

    /// As [`super::Session::clear_breakpoint`].
    pub(super) fn clear_breakpoint(&mut self, id: BreakpointId) -> Result<BreakpointView, DebugError> {
        let view = self
            .breakpoint_view(id)
            .ok_or_else(|| failed(format!("no breakpoint with ID {}", id.0)))?;
        if let Some(exception) = Exception::ALL.into_iter().find(|exception| exception.id() == id) {
            self.amend_exception(exception, &BreakpointTerms::default(), false)?;
            self.own.entry(id).or_default().is_cleared = true;
        } else {
            self.withdraw(&[id]);
            self.remove_breakpoints(&[id]);
            self.guard_probes();
        }
        for ids in self.standing.values_mut() {
            ids.retain(|standing| *standing != id);
        }
        Ok(view)
    }

    /// Finds where a breakpoint lies and puts it into the program.
    pub(super) fn switch_on(&mut self, logical: &mut Logical) -> Result<(), DebugError> {
        let places = match &logical.placed {
            Some(placed) => self.find_placed(logical.id, placed)?,
            None => logical.places.clone(),
        };
        if self.phase == Phase::Exited {
            let (pid, status) = (self.pid, self.exited_with.unwrap_or_default());
            return Err(failed(format!("Process {pid} has exited with status {status}")));
        }
        if let Some(why) = &self.refused {
            return Err(failed(why));
        }
        // The last one decides whether the breakpoint exists already, as in Delve.
        let mut taken = None;
        logical.places.clear();
        for addr in places {
            taken = self.owner_of(addr, logical.id);
            if taken.is_none() {
                logical.places.push(addr);
            }
        }
        if let Some((at, addr)) = taken {
            logical.places.clear();
            return Err(exists(&at, addr.0));
        }
        self.name_places(logical);
        self.rearm(logical)
    }

    /// Puts a breakpoint whose places are known into the program, if it can ever act there.
    fn rearm(&mut self, logical: &mut Logical) -> Result<(), DebugError> {
        if logical.places.is_empty() || !self.can_still_act(logical) {
            return Ok(());
        }
        self.arm(logical).map_err(failed)
    }

    /// Who has an address: a breakpoint that was made before, by what it is called and its address.
    fn owner_of(&self, addr: FileAddr, id: BreakpointId) -> Option<(Shown, ProcAddr)> {
        let is_there = |other: &&Logical| {
            other.id != id && !matches!(other.carrier, Carrier::Nothing) && other.places.contains(&addr)
        };
        let is_taken = self.breakpoints.iter().any(|other| is_there(&other))
            || super::breakpoints::wanted_exceptions(self.exceptions)
                .any(|exception| exception.places(&self.binary).contains(&addr));
        is_taken.then(|| {
            let (file, line) = self.line_of(addr);
            let at = Shown {
                file,
                line,
                function: String::new(),
            };
            (at, self.to_proc(addr))
        })
    }

    /// The file and line of an address, as far as there are such.
    pub(super) fn line_of(&self, addr: FileAddr) -> (String, i64) {
        let at = self.binary.function_at(addr).and_then(|_| self.binary.line_at(addr));
        at.map_or_else(Default::default, |(file, line)| (file.to_string(), i64::from(line)))
    }

    /// Says what a breakpoint is called by where it lies: it keeps what it was called before.
    fn name_places(&self, logical: &mut Logical) {
        self.name_by_places(&mut logical.shown, &logical.places);
        logical.at = self.line_of_places(&logical.places);
    }

    /// The same for what it is called alone.
    pub(super) fn name_by_places(&self, shown: &mut Shown, places: &[FileAddr]) {
        for addr in places {
            let (file, line) = self.line_of(*addr);
            if shown.file.is_empty() && shown.line == 0 {
                shown.file = file;
                shown.line = line;
            } else if shown.file != file || shown.line != line {
                MULTIPLE.clone_into(&mut shown.file);
                shown.line = 0;
            }
            if let Some(function) = self.binary.function_at(*addr) {
                shown.function = without_type_arguments(&function.name).unwrap_or_else(|| function.name.to_string());
            }
        }
    }

    fn find_placed(&self, id: BreakpointId, placed: &Placed) -> Result<Vec<FileAddr>, DebugError> {
        match &placed.place {
            BreakpointPlace::Line(file, line) => places_of_line(&self.binary, file, *line).map_err(failed),
            BreakpointPlace::Function(name, line) => places_of_function(&self.binary, name, *line).map_err(failed),
            BreakpointPlace::Addresses(addresses) => self.find_addresses(addresses),
            BreakpointPlace::Nowhere => match &placed.expression {
                Some(expression) => Ok(self.find_expression(expression)),
                None => Err(failed(format!("breakpoint {} can not be enabled", id.0))),
            },
        }
    }

    /// Those of these addresses that are in the target in focus.
    fn find_addresses(&self, addresses: &[(i32, ProcAddr)]) -> Result<Vec<FileAddr>, DebugError> {
        let in_code = |addr: ProcAddr| {
            let file = self.bias.to_file(addr);
            match self.binary.code(file, 1) {
                Some(_) => Ok(file),
                None => Err(failed(format!(
                    "could not write breakpoint at {addr:#x}: it is not in the program's code"
                ))),
            }
        };
        let ours = addresses.iter().filter(|(pid, _)| *pid == self.pid);
        ours.map(|(_, addr)| in_code(*addr)).collect()
    }

    /// The addresses of a location expression; none where it means no single place, which may change with the program.
    fn find_expression(&self, expression: &LocationExpression) -> Vec<FileAddr> {
        let rename = |path: &str| expression.renamed(path);
        let find = Find {
            binary: &self.binary,
            bias: self.bias,
            program: &expression.program,
            here: None,
            lines_without_code: false,
            rename: &rename,
        };
        match find.find(&expression.spec, &expression.text) {
            Ok(found) => match found.places.as_slice() {
                [Place::Code(addresses)] => addresses.iter().map(|addr| self.bias.to_file(*addr)).collect(),
                _ => Vec::new(),
            },
            Err(why) => {
                tracing::debug!("the location expression {:?} means nothing now: {why}", expression.text);
                Vec::new()
            }
        }
    }

    /// What follows every change: the program is traced if something is to stop it, and probes are looked after.
    fn settle(&mut self) -> Result<(), DebugError> {
        self.guard_probes();
        if self.sites.is_empty() { Ok(()) } else { self.trace() }
    }
}

/// In Delve's words.
fn exists(at: &Shown, addr: u64) -> DebugError {
    failed(format!("Breakpoint exists at {}:{} at {addr:x}", at.file, at.line))
}
