//! Loads generated programs, and asks for the verifier's reasons where it refuses one.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;

use crate::asm::Code;
use crate::btf;
use crate::error::BpfError;
use crate::maps::Maps;
use crate::sys::{self, FuncInfo};

/// Bytes of verifier log to ask for, and how many of its last ones to report.
const LOG_BYTES: usize = 1 << 20;
const LOG_TAIL: usize = 2000;

/// Loads programs; those with callbacks share one piece of BTF, loaded when first needed.
#[derive(Default)]
pub(crate) struct Loader {
    btf: OnceLock<OwnedFd>,
}

impl Loader {
    pub(crate) fn load(&self, name: &str, code: &Code, maps: &Maps) -> Result<OwnedFd, BpfError> {
        let insns = maps.link(code);
        let mut functions = Vec::new();
        if !code.subprograms.is_empty() {
            functions.push(FuncInfo {
                insn: 0,
                type_id: btf::PROGRAM_TYPE,
            });
            functions.extend(code.subprograms.iter().map(|&insn| FuncInfo {
                insn: insn as u32,
                type_id: btf::CALLBACK_TYPE,
            }));
        }
        let functions = if functions.is_empty() {
            None
        } else {
            Some((self.btf()?.as_fd(), functions.as_slice()))
        };
        load_or_explain(|log| sys::program_load(name, &insns, functions, log))
    }

    fn btf(&self) -> Result<&OwnedFd, BpfError> {
        if let Some(fd) = self.btf.get() {
            return Ok(fd);
        }
        let fd = sys::btf_load(&btf::program_btf())
            .map_err(|source| BpfError::system("loading type information of programs", source))?;
        Ok(self.btf.get_or_init(|| fd))
    }
}

/// Loads a program for a raw tracepoint.
pub(crate) fn load_raw_tracepoint(name: &str, code: &Code, maps: &Maps) -> Result<OwnedFd, BpfError> {
    let insns = maps.link(code);
    load_or_explain(|log| sys::raw_tracepoint_load(name, &insns, log))
}

/// Loads without a log, which is quick, and again with one where that fails.
fn load_or_explain(load: impl Fn(Option<&mut [u8]>) -> io::Result<OwnedFd>) -> Result<OwnedFd, BpfError> {
    let source = match load(None) {
        Ok(program) => return Ok(program),
        Err(source) => source,
    };
    if matches!(source.raw_os_error(), Some(libc::EPERM)) {
        return Err(BpfError::system("loading a kernel program", source));
    }
    let mut log = vec![0; LOG_BYTES];
    match load(Some(&mut log)) {
        // It may have been a want of memory that has passed.
        Ok(program) => Ok(program),
        Err(_) => Err(refusal(source, &log)),
    }
}

/// What the verifier said last.
fn refusal(source: io::Error, log: &[u8]) -> BpfError {
    let end = log.iter().position(|&byte| byte == 0).unwrap_or(log.len());
    let text = String::from_utf8_lossy(&log[..end]);
    let text = text.trim_end();
    if text.is_empty() {
        return BpfError::system("loading a kernel program", source);
    }
    let mut start = text.len().saturating_sub(LOG_TAIL);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    BpfError::Verifier {
        source,
        log: text[start..].to_owned(),
    }
}

/// Whether the kernel's BTF is where it should be.
pub(crate) fn kernel_has_btf() -> Result<(), BpfError> {
    let path = btf::kernel_btf_path();
    match std::fs::File::open(&path) {
        Ok(_) => Ok(()),
        Err(source) => Err(BpfError::NoBtf { path, source }),
    }
}
