//! Registers.

use super::{Methods, RpcError, scope};
use crate::debugger::RegisterText;
use crate::host::{Host, HostError};
use crate::inspect::{Tid, Whose};
use crate::rpc::go_json::{Slice, wire};
use crate::rpc::wire::{EvalScope, Register};

wire! { "rpc2";
    /// Asks for registers: of a frame if one is given, else of a thread.
    pub(crate) struct ListRegistersIn {
        /// The thread; 0: the selected one.
        thread_id: isize = "ThreadID",
        /// Whether those for floating point and vectors are wanted.
        include_floating: bool = "IncludeFp",
        /// The frame.
        scope: Option<Box<EvalScope>> = "Scope",
    }

    /// Answers it.
    pub(crate) struct ListRegistersOut {
        /// All of them as one text.
        text: String = "Registers",
        /// One by one.
        registers: Slice<Register> = "Regs",
    }
}

/// Adds them.
pub(super) fn register(methods: &mut Methods) {
    methods.add(
        "RPCServer.ListRegisters",
        "The registers of a frame or a thread.",
        list_registers,
    );
}

fn list_registers(host: &Host, asked: &ListRegistersIn) -> Result<ListRegistersOut, RpcError> {
    let rest = match host.at_rest() {
        // Delve looks for the thread first, and a process that is gone has none.
        Err(HostError::Exited { .. }) if asked.thread_id != 0 && asked.scope.is_none() => {
            return Err(format!("couldn't find thread {}", asked.thread_id).into());
        }
        rest => rest?,
    };
    let list = if let Some(scope) = &asked.scope {
        rest.session.frame_registers(scope::frame(&rest, scope)?)?
    } else {
        let selected = || match rest.selected {
            Whose::Thread(thread) => Some(thread),
            Whose::Goroutine(id) => rest.session.goroutine(id).ok()?.thread,
        };
        let thread = match i32::try_from(asked.thread_id) {
            Ok(0) => rest.thread.or_else(selected).unwrap_or(Tid(rest.session.pid())),
            Ok(thread) => Tid(thread),
            Err(_) => return Err(format!("couldn't find thread {}", asked.thread_id).into()),
        };
        rest.session.thread_registers(thread)?
    };
    let wanted = list
        .into_iter()
        .filter(|register| asked.include_floating || !register.is_floating);
    let wanted: Vec<RegisterText> = wanted.collect();
    let width = wanted.iter().map(|register| register.name.len()).max().unwrap_or(0);
    let lines = wanted
        .iter()
        .map(|register| format!("{:>width$} = {}\n", register.name, register.value));
    Ok(ListRegistersOut {
        text: lines.collect(),
        registers: wanted.iter().map(Register::of).collect(),
    })
}

impl Register {
    fn of(register: &RegisterText) -> Register {
        Register {
            name: register.name.clone(),
            value: register.value.clone(),
            dwarf_number: register.number as isize,
        }
    }
}
