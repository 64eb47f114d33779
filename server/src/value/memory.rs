//! Where values are read from.

use spelunk_dwarf::ProcAddr;

/// Variables that lie in no memory get addresses from here on: no canonical address of x86-64, so nothing else is there.
const MADE_UP: u64 = 0xbeef_0000_0000_0000;
/// The room between two of them.
const MADE_UP_STRIDE: u64 = 1 << 32;

/// An address for the `number`th variable that lies in registers.
pub(crate) fn made_up_address(number: usize) -> ProcAddr {
    ProcAddr(MADE_UP + MADE_UP_STRIDE * (number as u64 & 0xffff))
}

/// Whether an address was made up for a variable in registers, and means nothing to a reader.
pub(crate) fn is_made_up(addr: ProcAddr) -> bool {
    (MADE_UP..MADE_UP + (1 << 48)).contains(&addr.0)
}

/// Something that can be read at process addresses.
pub(crate) trait Memory {
    /// Fills `buf` from `addr`. Either all of it is filled, or an error says why not; on an error the content of `buf` is unspecified.
    fn read(&self, addr: ProcAddr, buf: &mut [u8]) -> Result<(), ReadError>;

    /// Reads a little-endian unsigned integer of 1, 2, 4 or 8 bytes.
    fn read_uint(&self, addr: ProcAddr, size: u64) -> Result<u64, ReadError> {
        let mut raw = [0u8; 8];
        let wanted = usize::try_from(size)
            .ok()
            .filter(|size| matches!(size, 1 | 2 | 4 | 8))
            .ok_or(ReadError::BadSize(size))?;
        self.read(addr, &mut raw[..wanted])?;
        Ok(u64::from_le_bytes(raw))
    }

    /// Does many reads; what became of each is in it. A process can do them in few system calls, so whoever knows beforehand what it will need asks this way.
    fn read_many(&self, reads: &mut [BulkRead]) {
        for read in reads {
            read.result = self.read(read.addr, &mut read.bytes);
        }
    }
}

/// One of many reads that are done together.
#[derive(Clone, Debug)]
pub(crate) struct BulkRead {
    /// Where to read.
    pub(crate) addr: ProcAddr,
    /// What was read; as long as what is to be read.
    pub(crate) bytes: Vec<u8>,
    /// Whether `bytes` was filled; otherwise its content is unspecified.
    pub(crate) result: Result<(), ReadError>,
}

impl BulkRead {
    /// A read of `len` bytes that has not been done yet.
    pub(crate) fn new(addr: ProcAddr, len: usize) -> BulkRead {
        BulkRead {
            addr,
            bytes: vec![0; len],
            result: Err(ReadError::Fault(addr)),
        }
    }

    /// What was read; `None` where nothing could be.
    pub(crate) fn done(&self) -> Option<&[u8]> {
        self.result.is_ok().then_some(&*self.bytes)
    }
}

/// Why bytes could not be read. Each text reads well behind "unreadable".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReadError {
    /// The target has nothing there, or the page was not present when the probe was hit.
    #[error("no memory at {0}")]
    Fault(ProcAddr),
    /// The record does not hold these bytes.
    #[error("memory at {0} was not captured")]
    NotCaptured(ProcAddr),
    /// The bytes are in a register that a kernel probe cannot see.
    #[error("in register {0}")]
    InRegister(String),
    /// The bytes are in a register whose value in this frame nobody kept: a callee may have changed it since. The text is Delve's.
    #[error("could not read {size} bytes from register {register} (size: 0)")]
    UnknownRegister {
        /// By its number in DWARF.
        register: u16,
        /// How many bytes of it were wanted.
        size: u64,
    },
    /// The bytes are on the heap, where a pointer in the frame leads that was not followed.
    #[error("it escaped to the heap and was not captured")]
    Escaped,
    /// The compiler kept no copy.
    #[error("optimized out")]
    OptimizedOut,
    /// A blank field of a struct in registers: the convention reserves a register, and nobody need fill it.
    #[error("blank fields are not passed")]
    Blank,
    /// The record had no room left.
    #[error("no room in the record for memory at {0}")]
    NoRoom(ProcAddr),
    /// An interface holds a type that the binary's debug information does not describe.
    #[error("runtime type {0} is not known")]
    UnknownType(ProcAddr),
    /// An integer of a size that Go does not have.
    #[error("integer of {0} bytes")]
    BadSize(u64),
}
