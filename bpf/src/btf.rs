//! The type information that a program with a callback has to bring, and the few facts that are
//! read from the kernel's own.
//!
//! The format is that of the kernel's `Documentation/bpf/btf.rst`.

use std::path::{Path, PathBuf};

use crate::error::{BTF_VARIABLE, BpfError, KERNEL_BTF};

const MAGIC: u16 = 0xeb9f;
const HEADER_LEN: u32 = 24;

const KIND_INT: u32 = 1;
const KIND_PTR: u32 = 2;
const KIND_ARRAY: u32 = 3;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
const KIND_FUNC: u32 = 12;
const KIND_FUNC_PROTO: u32 = 13;
const KIND_VAR: u32 = 14;
const KIND_DATASEC: u32 = 15;
const KIND_DECL_TAG: u32 = 17;
const KIND_ENUM64: u32 = 19;
const KIND_LAST: u32 = 19;

/// Type of a plan's program in [`program_btf`].
pub(crate) const PROGRAM_TYPE: u32 = 5;
/// Type of a `bpf_loop` callback in [`program_btf`].
pub(crate) const CALLBACK_TYPE: u32 = 7;

/// BTF for `static int probe(void *ctx)` and `static long chase(u64 step, void *place)`.
pub(crate) fn program_btf() -> Vec<u8> {
    let mut strings = vec![0u8];
    let mut string = |name: &str| {
        let at = strings.len() as u32;
        strings.extend(name.as_bytes());
        strings.push(0);
        at
    };
    let int = string("int");
    let long = string("long");
    let ctx = string("ctx");
    let probe = string("probe");
    let step = string("step");
    let place = string("place");
    let chase = string("chase");

    let info = |kind: u32, count: u32| kind << 24 | count;
    // A signed integer: encoding in bits 24 to 27, width in bits in the lowest 8.
    let signed = |bits: u32| 1 << 24 | bits;
    #[rustfmt::skip]
    let types: Vec<u32> = vec![
        int, info(KIND_INT, 0), 4, signed(32),          // 1
        long, info(KIND_INT, 0), 8, signed(64),         // 2
        0, info(KIND_PTR, 0), 0,                        // 3: void *
        0, info(KIND_FUNC_PROTO, 1), 1, ctx, 3,         // 4
        probe, info(KIND_FUNC, 0), 4,                   // 5: linkage 0, static
        0, info(KIND_FUNC_PROTO, 2), 2, step, 2, place, 3, // 6
        chase, info(KIND_FUNC, 0), 6,                   // 7
    ];
    let type_len = 4 * types.len() as u32;
    let mut out = Vec::new();
    out.extend(MAGIC.to_le_bytes());
    out.extend([1, 0]);
    for word in [HEADER_LEN, 0, type_len, type_len, strings.len() as u32] {
        out.extend(word.to_le_bytes());
    }
    for word in types {
        out.extend(word.to_le_bytes());
    }
    out.extend(strings);
    out
}

/// Where the kernel's BTF is to be read: [`BTF_VARIABLE`] may name another file.
pub(crate) fn kernel_btf_path() -> PathBuf {
    std::env::var_os(BTF_VARIABLE).map_or_else(|| PathBuf::from(KERNEL_BTF), PathBuf::from)
}

/// Offset in bytes of `task_struct.thread.fsbase`.
pub(crate) fn fsbase_offset(path: &Path) -> Result<u32, BpfError> {
    let bytes = read_kernel_btf(path)?;
    KernelTypes::parse(&bytes, path)?.offset(&["task_struct", "thread", "fsbase"])
}

/// The bytes of the kernel's BTF, for [`KernelTypes::parse`].
pub(crate) fn read_kernel_btf(path: &Path) -> Result<Vec<u8>, BpfError> {
    std::fs::read(path).map_err(|source| BpfError::NoBtf {
        path: path.to_owned(),
        source,
    })
}

/// The kernel's own types.
pub(crate) struct KernelTypes<'a> {
    types: Types<'a>,
    path: &'a Path,
}

impl<'a> KernelTypes<'a> {
    /// From the bytes of the file at `path`, which is named in errors.
    pub(crate) fn parse(bytes: &'a [u8], path: &'a Path) -> Result<KernelTypes<'a>, BpfError> {
        match Types::parse(bytes) {
            Some(types) => Ok(KernelTypes { types, path }),
            None => Err(bad(path, "it is damaged".to_owned())),
        }
    }

    /// Offset in bytes of a member, given by the name of a struct, of a member of it, of a member of that, and so on.
    pub(crate) fn offset(&self, member: &[&str]) -> Result<u32, BpfError> {
        let missing = || bad(self.path, format!("it has no {}", member.join(".")));
        let (name, members) = member.split_first().ok_or_else(missing)?;
        let mut id = self.types.struct_named(name).ok_or_else(missing)?;
        let mut bits = 0_u32;
        for name in members {
            let found = self.types.member(id, name).ok_or_else(missing)?;
            bits = bits.checked_add(found.bit_offset).ok_or_else(missing)?;
            id = found.type_id;
        }
        if bits.is_multiple_of(8) {
            Ok(bits / 8)
        } else {
            Err(bad(
                self.path,
                format!("the offset of {} makes no sense", member.join(".")),
            ))
        }
    }

    /// Size in bytes of the struct of that name.
    pub(crate) fn size(&self, name: &str) -> Result<u32, BpfError> {
        self.types
            .struct_named(name)
            .and_then(|id| word(self.types.section, self.types.start(id)? + 8))
            .ok_or_else(|| bad(self.path, format!("it has no {name}")))
    }
}

fn bad(path: &Path, reason: String) -> BpfError {
    BpfError::BadBtf {
        path: path.to_owned(),
        reason,
    }
}

/// BTF with an index of its types.
struct Types<'a> {
    section: &'a [u8],
    strings: &'a [u8],
    /// Where type `i + 1` starts.
    starts: Vec<u32>,
}

/// Where a member is, and what it is.
#[derive(Clone, Copy)]
struct Member {
    type_id: u32,
    bit_offset: u32,
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

impl<'a> Types<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Types<'a>> {
        if bytes.get(..2)? != MAGIC.to_le_bytes() {
            return None;
        }
        let header = word(bytes, 4)? as usize;
        let section = |offset: u32, len: u32| {
            let start = header.checked_add(offset as usize)?;
            bytes.get(start..start.checked_add(len as usize)?)
        };
        let types = section(word(bytes, 8)?, word(bytes, 12)?)?;
        let strings = section(word(bytes, 16)?, word(bytes, 20)?)?;
        let mut starts = Vec::new();
        let mut at = 0;
        while at < types.len() {
            starts.push(at as u32);
            let info = word(types, at + 4)?;
            let count = (info & 0xffff) as usize;
            at += 12
                + match info >> 24 & 0x1f {
                    KIND_INT | KIND_VAR | KIND_DECL_TAG => 4,
                    KIND_ARRAY => 12,
                    KIND_STRUCT | KIND_UNION | KIND_DATASEC | KIND_ENUM64 => 12 * count,
                    KIND_ENUM | KIND_FUNC_PROTO => 8 * count,
                    kind if kind <= KIND_LAST => 0,
                    // An unknown kind has an unknown length.
                    _ => return None,
                };
        }
        Some(Types {
            section: types,
            strings,
            starts,
        })
    }

    fn start(&self, id: u32) -> Option<usize> {
        let index = (id as usize).checked_sub(1)?;
        self.starts.get(index).map(|&start| start as usize)
    }

    fn name_is(&self, at: u32, name: &str) -> bool {
        self.strings
            .get(at as usize..)
            .and_then(|rest| rest.get(..=name.len()))
            .is_some_and(|bytes| bytes.ends_with(&[0]) && bytes.starts_with(name.as_bytes()))
    }

    fn kind(&self, start: usize) -> Option<u32> {
        Some(word(self.section, start + 4)? >> 24 & 0x1f)
    }

    fn struct_named(&self, name: &str) -> Option<u32> {
        let index = self.starts.iter().position(|&start| {
            let start = start as usize;
            self.kind(start) == Some(KIND_STRUCT) && word(self.section, start).is_some_and(|at| self.name_is(at, name))
        })?;
        Some(index as u32 + 1)
    }

    fn member(&self, id: u32, name: &str) -> Option<Member> {
        self.member_within(id, name, 8)
    }

    /// Looks into unnamed structs and unions as well, to a depth.
    fn member_within(&self, id: u32, name: &str, depth: u32) -> Option<Member> {
        let start = self.start(id)?;
        if !matches!(self.kind(start)?, KIND_STRUCT | KIND_UNION) {
            return None;
        }
        let info = word(self.section, start + 4)?;
        // With the kind flag, the upper 8 bits are the width of a bit field.
        let mask = if info >> 31 == 1 { 0xff_ffff } else { u32::MAX };
        for index in 0..(info & 0xffff) as usize {
            let at = start + 12 + 12 * index;
            let type_id = word(self.section, at + 4)?;
            let bit_offset = word(self.section, at + 8)? & mask;
            let name_at = word(self.section, at)?;
            if self.name_is(name_at, name) {
                return Some(Member { type_id, bit_offset });
            }
            if name_at == 0
                && depth > 0
                && let Some(inner) = self.member_within(type_id, name, depth - 1)
            {
                return Some(Member {
                    bit_offset: bit_offset.checked_add(inner.bit_offset)?,
                    ..inner
                });
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn our_own_btf_is_well_formed() {
        let bytes = program_btf();
        let types = Types::parse(&bytes).expect("well-formed");
        assert_eq!(types.starts.len(), CALLBACK_TYPE as usize);
        for id in [PROGRAM_TYPE, CALLBACK_TYPE] {
            let start = types.start(id).expect("there is such a type");
            assert_eq!(types.kind(start), Some(KIND_FUNC));
        }
    }

    #[test]
    fn damaged_btf_is_an_error() {
        let bytes = program_btf();
        for len in 0..bytes.len() {
            // A cut may leave something that parses (strings are last), never a panic.
            let _ = Types::parse(&bytes[..len]);
        }
        assert!(Types::parse(b"not BTF at all, but long enough").is_none());
    }

    #[test]
    fn the_running_kernels_fsbase_is_found() {
        let path = Path::new(KERNEL_BTF);
        if !path.exists() {
            // `eprintln!` would be kept by the test runner and never seen.
            let _ = writeln!(std::io::stderr(), "SKIP: this kernel has no BTF");
            return;
        }
        let offset = fsbase_offset(path).expect("x86-64 kernels have it");
        assert!(offset > 64 && offset < 65536, "offset {offset}");
        assert_eq!(offset % 8, 0);
    }
}
