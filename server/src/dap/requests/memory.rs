//! `readMemory` and `writeMemory` of strings and slices.

use base64::{DecodeError, Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::{Value, json};
use spelunk_dwarf::ProcAddr;

use crate::dap::{
    bench::Look,
    debuggee::State,
    errors::{UNABLE_TO_READ_MEMORY, UNABLE_TO_WRITE_MEMORY},
    message::Request,
    session::Session,
};

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ReadArguments {
    memory_reference: String,
    offset: i64,
    count: i64,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct WriteArguments {
    memory_reference: String,
    offset: i64,
    data: String,
}

impl Session {
    /// Answers `readMemory`.
    pub(super) async fn on_read_memory(&mut self, request: &Request, state: State) {
        let arguments: ReadArguments = match request.arguments() {
            Ok(arguments) => arguments,
            Err(text) => return self.out.refuse(request, UNABLE_TO_READ_MEMORY, &text),
        };
        let read = match self.obituary(state) {
            Some(obituary) => Err(obituary),
            None => self.inspect(move |at| read(at, &arguments)).await,
        };
        match read {
            Ok(body) => self.out.respond(request, Some(&body)),
            Err(why) => self.out.refuse(request, UNABLE_TO_READ_MEMORY, &why),
        }
    }

    /// Answers `writeMemory`.
    pub(super) async fn on_write_memory(&mut self, request: &Request, state: State) {
        let arguments: WriteArguments = match request.arguments() {
            Ok(arguments) => arguments,
            Err(text) => return self.out.refuse(request, UNABLE_TO_WRITE_MEMORY, &text),
        };
        let written = match self.obituary(state) {
            Some(obituary) => Err(obituary),
            None => self.inspect(move |at| write(at, &arguments)).await,
        };
        match written {
            Ok(bytes) => {
                self.out.respond(request, Some(&json!({"bytesWritten": bytes})));
                if self.settings.client.invalidated_event {
                    self.out.event_with("invalidated", &json!({"areas": ["variables"]}));
                }
            }
            Err(why) => self.out.refuse(request, UNABLE_TO_WRITE_MEMORY, &why),
        }
    }
}

/// Where a reference points to, and how many bytes may be read there.
fn place(at: &Look<'_>, reference: &str) -> Result<(ProcAddr, i64), String> {
    let place = at.memory.get(reference).copied();
    place.ok_or_else(|| "unknown memoryReference".to_owned())
}

/// Reads what lies within the string or slice; the rest of what was asked for is called unreadable.
fn read(at: &Look<'_>, arguments: &ReadArguments) -> Result<Value, String> {
    if arguments.count < 0 {
        return Err("negative count".to_owned());
    }
    let (base, size) = place(at, &arguments.memory_reference)?;
    let size = size.max(0);
    let first = arguments.offset.clamp(0, size);
    let behind = arguments.offset.saturating_add(arguments.count).clamp(first, size);
    // An empty request is answered with the beginning, whatever its offset.
    let addr = ProcAddr(base.0.wrapping_add(if arguments.count == 0 { 0 } else { first as u64 }));
    let bytes = if behind > first {
        at.target
            .read_memory(addr, (behind - first) as usize)
            .map_err(|error| error.to_string())?
    } else {
        Vec::new()
    };
    let mut body = json!({"address": format!("{:#x}", addr.0)});
    if !bytes.is_empty() {
        body["data"] = STANDARD.encode(&bytes).into();
    }
    let missing = arguments.count - bytes.len() as i64;
    if missing > 0 {
        body["unreadableBytes"] = missing.into();
    }
    Ok(body)
}

/// Writes; answers how many bytes.
fn write(at: &Look<'_>, arguments: &WriteArguments) -> Result<usize, String> {
    if arguments.data.is_empty() {
        return Err("empty data".to_owned());
    }
    let (base, _) = place(at, &arguments.memory_reference)?;
    let bytes = STANDARD.decode(&arguments.data).map_err(|error| match error {
        // Go's words (`encoding/base64`, `CorruptInputError`).
        DecodeError::InvalidByte(at, _)
        | DecodeError::InvalidLength(at)
        | DecodeError::InvalidLastSymbol { offset: at, .. } => format!("illegal base64 data at input byte {at}"),
        DecodeError::InvalidPadding => DecodeError::InvalidPadding.to_string(),
    })?;
    let addr = ProcAddr(base.0.wrapping_add_signed(arguments.offset));
    at.target
        .write_memory(addr, &bytes)
        .map_err(|error| error.to_string())?;
    Ok(bytes.len())
}
