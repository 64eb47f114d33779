//! The `bpf(2)` calls that aya does not make: loading generated instructions, `uprobe_multi` links,
//! and updates of many map entries at once.
//!
//! The structures are the parts of `union bpf_attr` (`include/uapi/linux/bpf.h`) that each command
//! reads; the kernel takes a shorter structure as one whose rest is zero.

use std::ffi::CStr;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::insn::Insn;

const BPF_MAP_CREATE: libc::c_long = 0;
const BPF_MAP_LOOKUP_ELEM: libc::c_long = 1;
const BPF_MAP_UPDATE_ELEM: libc::c_long = 2;
const BPF_MAP_DELETE_ELEM: libc::c_long = 3;
const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_PROG_TEST_RUN: libc::c_long = 10;
const BPF_RAW_TRACEPOINT_OPEN: libc::c_long = 17;
const BPF_BTF_LOAD: libc::c_long = 18;
const BPF_MAP_LOOKUP_BATCH: libc::c_long = 24;
const BPF_MAP_UPDATE_BATCH: libc::c_long = 26;
const BPF_LINK_CREATE: libc::c_long = 28;

const BPF_PROG_TYPE_KPROBE: u32 = 2;
const BPF_PROG_TYPE_RAW_TRACEPOINT: u32 = 17;
const BPF_TRACE_UPROBE_MULTI: u32 = 48;

/// The licence that generated programs declare: they call helpers that are for GPL programs only.
const LICENSE: &CStr = c"Dual MIT/GPL";

/// Errno 524, which has no name in user space: the kernel does not know how to run the instruction
/// under a probe.
pub(crate) const ENOTSUPP: i32 = 524;

/// Kinds of map that are made here.
#[derive(Clone, Copy, Debug)]
pub(crate) enum MapType {
    Hash = 1,
    Array = 2,
    ProgArray = 3,
    LruHash = 9,
    Ringbuf = 27,
}

/// `BPF_F_MMAPABLE`: a process can have an array in its memory.
pub(crate) const MMAPABLE: u32 = 1 << 10;
/// `BPF_F_NO_PREALLOC`: entries take memory when they are made.
pub(crate) const NO_PREALLOC: u32 = 1;

#[repr(C)]
#[derive(Default)]
struct MapCreate {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    inner_map_fd: u32,
    numa_node: u32,
    map_name: [u8; 16],
}

#[repr(C)]
#[derive(Default)]
struct MapUpdate {
    map_fd: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// The `batch` member of `union bpf_attr`, `include/uapi/linux/bpf.h`.
#[repr(C)]
#[derive(Default)]
struct MapBatch {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

#[repr(C)]
#[derive(Default)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
    prog_btf_fd: u32,
    func_info_rec_size: u32,
    func_info: u64,
    func_info_cnt: u32,
    line_info_rec_size: u32,
}

#[repr(C)]
#[derive(Default)]
struct TestRun {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
    flags: u32,
    cpu: u32,
}

#[repr(C)]
#[derive(Default)]
struct RawTracepointOpen {
    name: u64,
    prog_fd: u32,
    padding: u32,
}

#[repr(C)]
#[derive(Default)]
struct BtfLoad {
    btf: u64,
    btf_log_buf: u64,
    btf_size: u32,
    btf_log_size: u32,
    btf_log_level: u32,
    padding: u32,
}

#[repr(C)]
#[derive(Default)]
struct LinkCreate {
    prog_fd: u32,
    target_fd: u32,
    attach_type: u32,
    flags: u32,
    path: u64,
    offsets: u64,
    ref_ctr_offsets: u64,
    cookies: u64,
    cnt: u32,
    uprobe_flags: u32,
    pid: i32,
    padding: u32,
}

/// `struct bpf_func_info`: which BTF type the function at an instruction has.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct FuncInfo {
    pub(crate) insn: u32,
    pub(crate) type_id: u32,
}

/// Makes one `bpf` call.
///
/// # Safety
/// Every address in `attr` must be valid for what `command` reads and writes there, for the whole call.
unsafe fn bpf<T>(command: libc::c_long, attr: &mut T) -> io::Result<i32> {
    // SAFETY: `attr` is live and as large as said; the caller vouches for what it points to.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<T>()) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result as i32)
    }
}

/// Takes possession of a descriptor that a `bpf` call has just made.
fn own(fd: i32) -> OwnedFd {
    // SAFETY: the kernel made this descriptor for us, and nobody else knows it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn number(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

fn address<T>(slice: &[T]) -> u64 {
    slice.as_ptr() as u64
}

/// An object's name, cut to the 15 bytes that the kernel keeps.
fn object_name(name: &str) -> [u8; 16] {
    let mut out = [0; 16];
    for (to, from) in out.iter_mut().take(15).zip(name.bytes()) {
        *to = from;
    }
    out
}

pub(crate) fn map_create(
    map_type: MapType,
    name: &str,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
) -> io::Result<OwnedFd> {
    let mut attr = MapCreate {
        map_type: map_type as u32,
        key_size,
        value_size,
        max_entries,
        map_flags,
        map_name: object_name(name),
        ..MapCreate::default()
    };
    // SAFETY: the structure holds no addresses.
    unsafe { bpf(BPF_MAP_CREATE, &mut attr) }.map(own)
}

/// Puts a program into a program array.
pub(crate) fn set_program(map: BorrowedFd<'_>, index: u32, program: BorrowedFd<'_>) -> io::Result<()> {
    let value = number(program);
    let mut attr = MapUpdate {
        map_fd: number(map),
        key: std::ptr::from_ref(&index) as u64,
        value: std::ptr::from_ref(&value) as u64,
        ..MapUpdate::default()
    };
    // SAFETY: a program array has 4-byte keys and values, and both live until the call is over.
    unsafe { bpf(BPF_MAP_UPDATE_ELEM, &mut attr) }.map(drop)
}

/// An entry of a map whose keys and values have the sizes of `K` and `V`.
pub(crate) fn lookup<K: aya::Pod, V: aya::Pod + Default>(map: BorrowedFd<'_>, key: &K) -> io::Result<Option<V>> {
    let mut value = V::default();
    let mut attr = MapUpdate {
        map_fd: number(map),
        key: std::ptr::from_ref(key) as u64,
        value: std::ptr::from_mut(&mut value) as u64,
        ..MapUpdate::default()
    };
    // SAFETY: the callers make the map with the sizes of K and V, both live until the call is over, and any bytes are a value of V.
    match unsafe { bpf(BPF_MAP_LOOKUP_ELEM, &mut attr) } {
        Ok(_) => Ok(Some(value)),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Takes an entry out of a map whose keys have the size of `K`; one that is not there is no error.
pub(crate) fn remove<K: aya::Pod>(map: BorrowedFd<'_>, key: &K) -> io::Result<()> {
    let mut attr = MapUpdate {
        map_fd: number(map),
        key: std::ptr::from_ref(key) as u64,
        ..MapUpdate::default()
    };
    // SAFETY: the callers make the map with keys of the size of K, and this one lives until the call is over; the command reads neither value nor flags.
    match unsafe { bpf(BPF_MAP_DELETE_ELEM, &mut attr) } {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        done => done.map(drop),
    }
}

/// Sets many entries of a map whose keys and values have the sizes of `K` and `V`. Says how many
/// were set before an error.
pub(crate) fn update_batch<K: aya::Pod, V: aya::Pod>(map: BorrowedFd<'_>, keys: &[K], values: &[V]) -> io::Result<()> {
    let count = keys.len().min(values.len());
    if count == 0 {
        return Ok(());
    }
    let mut attr = MapBatch {
        keys: address(keys),
        values: address(values),
        count: u32::try_from(count).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?,
        map_fd: number(map),
        ..MapBatch::default()
    };
    // SAFETY: the callers make the map with the sizes of K and V, and both arrays have `count`
    // elements and outlive the call.
    unsafe { bpf(BPF_MAP_UPDATE_BATCH, &mut attr) }.map(drop)
}

/// Reads all entries of a hash map whose keys and values have the sizes of `K` and `V`, some thousands with each call. What is added meanwhile may be
/// among them or not.
pub(crate) fn entries<K: aya::Pod + Default, V: aya::Pod + Default>(map: BorrowedFd<'_>) -> io::Result<Vec<(K, V)>> {
    /// A bucket must fit whole (`generic_map_lookup_batch` of `kernel/bpf/hashtab.c` answers `ENOSPC`), and hardly has more than a few.
    const AT_ONCE: usize = 4096;
    let mut keys = vec![K::default(); AT_ONCE];
    let mut values = vec![V::default(); AT_ONCE];
    let mut entries = Vec::new();
    // Number of the bucket to go on with.
    let mut bucket: u32 = 0;
    let mut is_first = true;
    loop {
        let mut next: u32 = 0;
        let mut attr = MapBatch {
            in_batch: if is_first {
                0
            } else {
                std::ptr::from_ref(&bucket) as u64
            },
            out_batch: std::ptr::from_mut(&mut next) as u64,
            keys: keys.as_mut_ptr() as u64,
            values: values.as_mut_ptr() as u64,
            count: AT_ONCE as u32,
            map_fd: number(map),
            ..MapBatch::default()
        };
        // SAFETY: the callers make the map with the sizes of K and V, both arrays have `count` elements, any bytes are a value of theirs, and the kernel
        // reads and writes 4 bytes for a place in a hash map.
        let read = unsafe { bpf(BPF_MAP_LOOKUP_BATCH, &mut attr) };
        let count = (attr.count as usize).min(AT_ONCE);
        let is_last = match read {
            Ok(_) => false,
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
            Err(error) => return Err(error),
        };
        entries.extend(keys.iter().copied().zip(values.iter().copied()).take(count));
        if is_last {
            return Ok(entries);
        }
        (bucket, is_first) = (next, false);
    }
}

/// Loads type information.
pub(crate) fn btf_load(btf: &[u8]) -> io::Result<OwnedFd> {
    let mut attr = BtfLoad {
        btf: address(btf),
        btf_size: btf.len() as u32,
        ..BtfLoad::default()
    };
    // SAFETY: the kernel reads `btf_size` bytes of a live slice.
    unsafe { bpf(BPF_BTF_LOAD, &mut attr) }.map(own)
}

/// Loads a program that can be attached by a `uprobe_multi` link, or tail-called from one that is. With a
/// `log`, the verifier's words are written to it as a C string.
pub(crate) fn program_load(
    name: &str,
    insns: &[Insn],
    functions: Option<(BorrowedFd<'_>, &[FuncInfo])>,
    log: Option<&mut [u8]>,
) -> io::Result<OwnedFd> {
    let attr = ProgLoad {
        prog_type: BPF_PROG_TYPE_KPROBE,
        prog_name: object_name(name),
        expected_attach_type: BPF_TRACE_UPROBE_MULTI,
        ..ProgLoad::default()
    };
    load(attr, insns, functions, log)
}

/// Loads a program that can be attached to a raw tracepoint, or be [run at once](run_once). `log` as for [`program_load`].
pub(crate) fn raw_tracepoint_load(name: &str, insns: &[Insn], log: Option<&mut [u8]>) -> io::Result<OwnedFd> {
    let attr = ProgLoad {
        prog_type: BPF_PROG_TYPE_RAW_TRACEPOINT,
        prog_name: object_name(name),
        ..ProgLoad::default()
    };
    load(attr, insns, None, log)
}

/// Attaches a program to the raw tracepoint of that name, until the descriptor is closed.
pub(crate) fn raw_tracepoint_open(name: &CStr, program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut attr = RawTracepointOpen {
        name: name.as_ptr() as u64,
        prog_fd: number(program),
        ..RawTracepointOpen::default()
    };
    // SAFETY: the name is a C string that outlives the call.
    unsafe { bpf(BPF_RAW_TRACEPOINT_OPEN, &mut attr) }.map(own)
}

/// Runs a program for a raw tracepoint once, on the calling thread and with no arguments; answers what it returns.
pub(crate) fn run_once(program: &impl AsFd) -> io::Result<u32> {
    let mut attr = TestRun {
        prog_fd: number(program.as_fd()),
        ..TestRun::default()
    };
    // SAFETY: the structure holds no addresses.
    unsafe { bpf(BPF_PROG_TEST_RUN, &mut attr) }?;
    Ok(attr.retval)
}

fn load(
    mut attr: ProgLoad,
    insns: &[Insn],
    functions: Option<(BorrowedFd<'_>, &[FuncInfo])>,
    log: Option<&mut [u8]>,
) -> io::Result<OwnedFd> {
    attr.insn_cnt = insns.len() as u32;
    attr.insns = address(insns);
    attr.license = LICENSE.as_ptr() as u64;
    if let Some((btf, functions)) = functions {
        attr.prog_btf_fd = number(btf);
        attr.func_info_rec_size = size_of::<FuncInfo>() as u32;
        attr.func_info = address(functions);
        attr.func_info_cnt = functions.len() as u32;
    }
    if let Some(log) = log {
        attr.log_level = 1;
        attr.log_buf = log.as_mut_ptr() as u64;
        attr.log_size = log.len() as u32;
    }
    // SAFETY: instructions, function table and log are live slices of the lengths said, the log is
    // borrowed mutably, and the licence is a static C string.
    unsafe { bpf(BPF_PROG_LOAD, &mut attr) }.map(own)
}

/// Attaches `program` to all `offsets` of the file at `path`, each with its cookie; for the process
/// `pid` only, or for all with 0.
pub(crate) fn uprobe_multi_link(
    program: BorrowedFd<'_>,
    path: &CStr,
    offsets: &[u64],
    cookies: &[u64],
    pid: i32,
) -> io::Result<OwnedFd> {
    if offsets.len() != cookies.len() {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    let mut attr = LinkCreate {
        prog_fd: number(program),
        attach_type: BPF_TRACE_UPROBE_MULTI,
        path: path.as_ptr() as u64,
        offsets: address(offsets),
        cookies: address(cookies),
        cnt: offsets.len() as u32,
        pid,
        ..LinkCreate::default()
    };
    // SAFETY: the path is a C string, both arrays have `cnt` elements, and all outlive the call.
    unsafe { bpf(BPF_LINK_CREATE, &mut attr) }.map(own)
}

/// A descriptor's number, for the instructions that refer to it.
pub(crate) fn map_number(fd: &impl AsFd) -> i32 {
    fd.as_fd().as_raw_fd()
}
