//! Where the Go runtime keeps what a debugger needs, for the Go version at hand: everything comes from the binary's
//! own debug information, nothing from tables by version.

use std::ops::Range;

use crate::elf::Tls;
use crate::error::DwarfError;
use crate::types::{Kind, TypeId};
use crate::{Binary, FileAddr};

/// Offsets, in bytes, in the runtime's structures (`runtime/runtime2.go`), and where its variables are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeLayout {
    /// `g.goid`, a `uint64`.
    pub g_goid: u64,
    /// `g.stack.lo`.
    pub g_stack_lo: u64,
    /// `g.stack.hi`: the stack begins here and grows down. Distances from it survive a copy of the stack.
    pub g_stack_hi: u64,
    /// `g.m`: a pointer to the `m` that runs the goroutine, nil when none does.
    pub g_m: u64,
    /// `g.atomicstatus`, a `uint32`.
    pub g_atomicstatus: u64,
    /// `g.sched.sp`, `g.sched.pc` and `g.sched.bp`: the registers of a goroutine that does not run.
    pub g_sched_sp: u64,
    /// See [`RuntimeLayout::g_sched_sp`].
    pub g_sched_pc: u64,
    /// See [`RuntimeLayout::g_sched_sp`].
    pub g_sched_bp: u64,
    /// `g.startpc`: the goroutine's first function.
    pub g_startpc: u64,
    /// `g.gopc`: the `go` statement that started it.
    pub g_gopc: u64,
    /// `g.waitreason`, a `uint8`.
    pub g_waitreason: u64,
    /// `m.curg`: the goroutine of a thread that is on a system stack.
    pub m_curg: u64,
    /// `m.g0`: the goroutine that stands for the thread's system stack.
    pub m_g0: u64,
    /// `m.procid`: the thread's id in the kernel, a `uint64`.
    pub m_procid: u64,
    /// `abi.Type.Size_`, a `uintptr`.
    pub type_size: u64,
    /// `abi.Type.Kind_`, a `uint8`.
    pub type_kind: u64,
    /// `abi.Type.TFlag`, a `uint8`.
    pub type_tflag: u64,
    /// `abi.ITab.Type`: what the first word of an interface with methods points to has the concrete type here.
    pub itab_type: u64,
    /// Where the thread's `g` is, relative to the FS base: -8 in a pure Go program.
    pub tls_g_offset: i64,
    /// `runtime.allgs`, a `[]*g`.
    pub allgs: Option<FileAddr>,
    /// `g.waitsince`, an `int64`: nanoseconds by the runtime's own clock, set by the garbage collector.
    pub g_waitsince: Option<u64>,
    /// `g.labels`: a pointer to what `runtime/pprof` hung on the goroutine.
    pub g_labels: Option<u64>,
    /// `g.runningCleanups`, a `bool`: whether a cleanup goroutine is calling user code. Since Go 1.25.
    pub g_running_cleanups: Option<u64>,
    /// `m.vdsoSP` and `m.vdsoPC`: while the thread is in the kernel's shared object, the stack pointer and program counter of the runtime function's
    /// caller. The first is 0 otherwise.
    pub m_vdso_sp: Option<u64>,
    /// See [`RuntimeLayout::m_vdso_sp`].
    pub m_vdso_pc: Option<u64>,
    /// `runtime.waitReasonStrings`, an array of strings: where it is, and how many it has.
    pub wait_reasons: Option<(FileAddr, u64)>,
    /// `runtime.fingStatus`, a `uint32`: what the finalizer goroutine does. Its bit `fingRunningFinalizer` is set while it calls user code.
    pub fing_status: Option<FileAddr>,
}

/// The bit of [`RuntimeLayout::fing_status`] that stands for a running finalizer (`fingRunningFinalizer` in `runtime/mfinal.go`, Go 1.20 to
/// 1.27).
pub const FING_RUNNING_FINALIZER: u32 = 1 << 1;

impl Binary {
    /// The layout of the runtime, read once and kept. The error names what is missing.
    pub fn runtime_layout(&self) -> Result<RuntimeLayout, DwarfError> {
        self.runtime_layout.get_or_init(|| self.read_runtime_layout()).clone()
    }

    fn read_runtime_layout(&self) -> Result<RuntimeLayout, DwarfError> {
        let g = self.runtime_struct(&["runtime.g"])?;
        let m = self.runtime_struct(&["runtime.m"])?;
        let abi_type = self.runtime_struct(&["internal/abi.Type", "runtime._type"])?;
        // Renamed in Go 1.22.
        let itab = self.runtime_struct(&["internal/abi.ITab", "runtime.itab"])?;
        Ok(RuntimeLayout {
            g_goid: self.field_offset(g, "goid")?,
            g_stack_lo: self.field_offset(g, "stack.lo")?,
            g_stack_hi: self.field_offset(g, "stack.hi")?,
            g_m: self.field_offset(g, "m")?,
            g_atomicstatus: self.field_offset(g, "atomicstatus")?,
            g_sched_sp: self.field_offset(g, "sched.sp")?,
            g_sched_pc: self.field_offset(g, "sched.pc")?,
            g_sched_bp: self.field_offset(g, "sched.bp")?,
            g_startpc: self.field_offset(g, "startpc")?,
            g_gopc: self.field_offset(g, "gopc")?,
            g_waitreason: self.field_offset(g, "waitreason")?,
            m_curg: self.field_offset(m, "curg")?,
            m_g0: self.field_offset(m, "g0")?,
            m_procid: self.field_offset(m, "procid")?,
            type_size: self.field_offset(abi_type, "Size_")?,
            type_kind: self.field_offset(abi_type, "Kind_")?,
            type_tflag: self.field_offset(abi_type, "TFlag")?,
            itab_type: self
                .field_offset(itab, "Type")
                .or_else(|_| self.field_offset(itab, "_type"))?,
            tls_g_offset: tls_g_offset(self.elf().tls, self.symbols_named(["runtime.tlsg"])[0]),
            allgs: self.global_named("runtime.allgs").map(|(_, addr)| addr),
            g_waitsince: self.field_offset(g, "waitsince").ok(),
            g_labels: self.field_offset(g, "labels").ok(),
            g_running_cleanups: self.field_offset(g, "runningCleanups").ok(),
            m_vdso_sp: self.field_offset(m, "vdsoSP").ok(),
            m_vdso_pc: self.field_offset(m, "vdsoPC").ok(),
            wait_reasons: self.wait_reasons(),
            fing_status: self.global_named("runtime.fingStatus").map(|(_, addr)| addr),
        })
    }

    fn wait_reasons(&self) -> Option<(FileAddr, u64)> {
        let (ty, addr) = self.global_named("runtime.waitReasonStrings")?;
        match self.type_info(ty).ok()?.kind {
            Kind::Array { len, .. } => Some((addr, len)),
            _ => None,
        }
    }

    fn runtime_struct(&self, names: &[&str]) -> Result<TypeId, DwarfError> {
        let found = names.iter().find_map(|name| self.type_named(name));
        found.ok_or_else(|| DwarfError::NoRuntime(format!("the type {}", names[0])))
    }

    /// The offset of a field, or of a field of a field, in a struct: `goid`, `stack.hi`.
    pub fn field_offset(&self, id: TypeId, path: &str) -> Result<u64, DwarfError> {
        let mut offset = 0u64;
        let mut id = id;
        for name in path.split('.') {
            let ty = self.type_info(id)?;
            let missing = || DwarfError::NoRuntime(format!("the field {path} ({name} in {})", ty.name));
            let Kind::Struct { fields } = &ty.kind else {
                return Err(missing());
            };
            let field = fields.iter().find(|field| &*field.name == name).ok_or_else(missing)?;
            offset = offset.saturating_add(field.offset);
            id = field.ty;
        }
        Ok(offset)
    }

    /// The runtime's type descriptions lie here, between the linker's symbols `runtime.types` and `runtime.etypes`;
    /// `None` without a symbol table.
    pub(crate) fn runtime_types_range(&self) -> Option<Range<u64>> {
        let range = self.runtime_types_range.get_or_init(|| {
            let [start, end] = self.symbols_named(["runtime.types", "runtime.etypes"]);
            Some(start?..end?)
        });
        range.clone()
    }
}

/// Where `g` is relative to the FS base. Without a symbol `runtime.tlsg` or thread-local storage Go uses the word below
/// the base. Otherwise the symbol's value counts from the start of the executable's block, which ends at the FS base
/// and is padded so that its start keeps the alignment that the program header asks for (variant II of ELF TLS).
fn tls_g_offset(tls: Option<Tls>, tlsg: Option<u64>) -> i64 {
    let (Some(tls), Some(tlsg)) = (tls, tlsg) else {
        return -8;
    };
    let align = tls.align.max(1);
    let padding = 0u64.wrapping_sub(tls.addr).wrapping_sub(tls.memory_size) % align;
    let block = tls.memory_size.wrapping_add(padding);
    tlsg.wrapping_sub(block).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g_is_found_in_thread_local_storage() {
        assert_eq!(tls_g_offset(None, None), -8);
        assert_eq!(
            tls_g_offset(
                Some(Tls {
                    addr: 0,
                    memory_size: 8,
                    align: 8
                }),
                Some(0)
            ),
            -8
        );
        // A cgo program whose C library brings variables of its own: 0x148 bytes below the base.
        assert_eq!(
            tls_g_offset(
                Some(Tls {
                    addr: 0x4000,
                    memory_size: 0x150,
                    align: 8
                }),
                Some(8)
            ),
            -0x148
        );
        // 12 bytes aligned to 8 occupy 16.
        assert_eq!(
            tls_g_offset(
                Some(Tls {
                    addr: 0x4000,
                    memory_size: 12,
                    align: 8
                }),
                Some(0)
            ),
            -16
        );
        assert_eq!(
            tls_g_offset(
                Some(Tls {
                    addr: 0,
                    memory_size: 8,
                    align: 0
                }),
                Some(0)
            ),
            -8
        );
    }
}
