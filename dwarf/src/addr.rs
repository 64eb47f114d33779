//! Addresses with types, so that a place in the file, a place in a running process and a byte of the
//! file cannot be taken for one another. They differ as soon as a binary is position independent.

use std::fmt;

macro_rules! address {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub u64);

        impl $name {
            /// The address `delta` bytes further on (or back, when negative); `None` when that leaves the 64-bit space.
            pub fn offset(self, delta: i64) -> Option<Self> {
                self.0.checked_add_signed(delta).map(Self)
            }

            /// How many bytes lie from `start` up to here; `None` when `start` lies behind.
            pub fn distance_from(self, start: Self) -> Option<u64> {
                self.0.checked_sub(start.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:#x})"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }

        impl fmt::LowerHex for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::LowerHex::fmt(&self.0, f)
            }
        }
    };
}

address! {
    /// A virtual address as the linker assigned it: what symbol tables and DWARF speak of.
    FileAddr
}
address! {
    /// A virtual address in a running process.
    ProcAddr
}
address! {
    /// A byte offset in the ELF file: what a uprobe is attached to.
    FileOffset
}

/// How far the loader moved the program: a process address is a file address plus this.
///
/// It is zero for executables that are not position independent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct LoadBias(i64);

impl LoadBias {
    /// The bias under which `file` is found at `process`.
    pub fn between(file: FileAddr, process: ProcAddr) -> LoadBias {
        LoadBias(process.0.wrapping_sub(file.0).cast_signed())
    }

    /// Where `address` is in the process; arithmetic wraps, as the processor's does.
    pub fn to_proc(self, address: FileAddr) -> ProcAddr {
        ProcAddr(address.0.wrapping_add_signed(self.0))
    }

    /// Which file address is found at `address`; arithmetic wraps, as the processor's does.
    pub fn to_file(self, address: ProcAddr) -> FileAddr {
        FileAddr(address.0.wrapping_sub(self.0.cast_unsigned()))
    }

    /// The bias in bytes.
    pub fn bytes(self) -> i64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bias_converts_both_ways() {
        let bias = LoadBias::between(FileAddr(0x40_1000), ProcAddr(0x5555_5555_5000));
        assert_eq!(bias.to_proc(FileAddr(0x40_1234)), ProcAddr(0x5555_5555_5234));
        assert_eq!(bias.to_file(ProcAddr(0x5555_5555_5234)), FileAddr(0x40_1234));
        let down = LoadBias::between(FileAddr(0x40_1000), ProcAddr(0x1000));
        assert_eq!(down.bytes(), -0x40_0000);
        assert_eq!(down.to_file(ProcAddr(0x1010)), FileAddr(0x40_1010));
    }

    #[test]
    fn offsets_do_not_wrap() {
        assert_eq!(FileAddr(8).offset(-9), None);
        assert_eq!(FileAddr(u64::MAX).offset(1), None);
        assert_eq!(FileAddr(8).offset(-8), Some(FileAddr(0)));
        assert_eq!(FileAddr(8).distance_from(FileAddr(9)), None);
    }

    #[test]
    fn addresses_print_in_hexadecimal() {
        assert_eq!(FileAddr(0x4a_0720).to_string(), "0x4a0720");
        assert_eq!(format!("{:?}", ProcAddr(16)), "ProcAddr(0x10)");
    }
}
