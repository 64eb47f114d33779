//! Machine code as text, in the three syntaxes that Delve offers. Delve writes them with `golang.org/x/arch/x86/x86asm`, whose habits these follow: a
//! displacement of 32 bits has no sign, a condition has one name in Intel's syntax and another elsewhere, Go's syntax names registers without their size.
//!
//! The decoding is iced-x86's, which also has formatters; but their texts differ from these nearly everywhere.

mod gnu;
mod intel;
mod operand;
mod plan9;

use iced_x86::{Instruction, Mnemonic};

pub(crate) use operand::Symbol;

/// A syntax for machine code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavour {
    /// GNU's, as in `objdump`: sources first, registers with `%`.
    Gnu,
    /// Intel's: the destination first.
    Intel,
    /// That of Go's assembler.
    Go,
}

/// An instruction with what its text depends on.
pub(crate) struct Line<'a> {
    /// The instruction, decoded at its address in the process.
    pub(crate) instruction: &'a Instruction,
    /// Its bytes.
    pub(crate) bytes: &'a [u8],
    /// What is at an address: the function that begins there, or the variable that it lies in or behind.
    pub(crate) symbols: &'a dyn Fn(u64) -> Option<Symbol>,
}

impl Line<'_> {
    /// The text; `?` for bytes that are no instruction.
    pub(crate) fn text(&self, flavour: Flavour) -> String {
        if self.instruction.is_invalid() {
            return "?".to_owned();
        }
        match flavour {
            Flavour::Gnu => gnu::text(self),
            Flavour::Intel => intel::text(self),
            Flavour::Go => plan9::text(self),
        }
    }

    /// The mnemonic in lower case, conditions as GNU names them.
    fn mnemonic(&self) -> String {
        match self.instruction.mnemonic() {
            Mnemonic::Int3 => "int3".to_owned(),
            Mnemonic::Movsxd => "movsxd".to_owned(),
            Mnemonic::Sal => "shl".to_owned(),
            other => format!("{other:?}").to_lowercase(),
        }
    }

    /// The size of the operands that the prefixes ask for, in bytes, whatever the instruction makes of it.
    fn data_size(&self) -> u64 {
        let mut size = 4;
        for byte in self.bytes {
            match byte {
                0x66 => size = 2,
                0x26 | 0x2e | 0x36 | 0x3e | 0x64 | 0x65 | 0x67 | 0xf0 | 0xf2 | 0xf3 => {}
                0x40..=0x4f => return if byte & 8 == 0 { size } else { 8 },
                _ => break,
            }
        }
        size
    }

    /// Whether an operand is in memory.
    fn has_memory(&self) -> bool {
        self.memory_size() != 0 || self.instruction.mnemonic() == Mnemonic::Lea
    }

    /// The size of the operand in memory, in bytes; 0 without one, and for an address that is only computed.
    fn memory_size(&self) -> u64 {
        if self.instruction.mnemonic() == Mnemonic::Lea {
            return 0;
        }
        let any = (0..self.instruction.op_count()).any(|index| operand::is_memory(self.instruction, index));
        match self.instruction.mnemonic() {
            _ if !any => 0,
            // A line of the cache.
            Mnemonic::Prefetcht0 | Mnemonic::Prefetcht1 | Mnemonic::Prefetcht2 | Mnemonic::Prefetchnta => 64,
            _ => self.instruction.memory_size().size() as u64,
        }
    }

    /// `lock` and the like.
    fn prefix(&self) -> Option<&'static str> {
        if self.instruction.has_lock_prefix() {
            Some("lock")
        } else if self.instruction.has_repne_prefix() {
            Some("repne")
        } else if self.instruction.has_rep_prefix() && self.instruction.is_string_instruction() {
            Some("rep")
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use iced_x86::{Decoder, DecoderOptions};

    use super::*;

    /// The text of one instruction at 0x1000, where 0x2000 is the entry of `main.f` and 0x3000 the variable `main.v`.
    fn text(bytes: &[u8], flavour: Flavour) -> String {
        let instruction = Decoder::with_ip(64, bytes, 0x1000, DecoderOptions::NONE).decode();
        let symbols = |addr: u64| match addr {
            0x2000 => Some(("main.f", 0x2000)),
            0x3000..0x3100 => Some(("main.v", 0x3000)),
            _ => None,
        };
        let symbols = |addr: u64| {
            symbols(addr).map(|(name, start)| Symbol {
                name: name.to_owned(),
                start,
            })
        };
        let line = Line {
            instruction: &instruction,
            bytes,
            symbols: &symbols,
        };
        line.text(flavour)
    }

    #[test]
    fn instructions_read_as_in_delve() {
        // As dlv 1.27.1 shows them.
        let cases: [(&[u8], &str, &str, &str); 20] = [
            (&[0x55], "push %rbp", "push rbp", "PUSHQ BP"),
            (&[0x48, 0x89, 0xe5], "mov %rsp,%rbp", "mov rbp, rsp", "MOVQ SP, BP"),
            (
                &[0x4d, 0x3b, 0x66, 0x10],
                "cmp 0x10(%r14),%r12",
                "cmp r12, qword ptr [r14+0x10]",
                "CMPQ R12, 0x10(R14)",
            ),
            (
                &[0x4c, 0x8d, 0xa4, 0x24, 0x60, 0xff, 0xff, 0xff],
                "lea 0xffffff60(%rsp),%r12",
                "lea r12, ptr [rsp+0xffffff60]",
                "LEAQ 0xffffff60(SP), R12",
            ),
            (&[0x76, 0x0a], "jbe 0x100c", "jbe 0x100c", "JBE 0x100c"),
            (&[0x75, 0x0a], "jne 0x100c", "jnz 0x100c", "JNE 0x100c"),
            (
                &[0xe8, 0xfb, 0x0f, 0, 0],
                "callq main.f",
                "call main.f",
                "CALL main.f(SB)",
            ),
            (&[0x41, 0xff, 0xd4], "call *%r12", "call r12", "CALL R12"),
            (&[0xc3], "retq", "ret", "RET"),
            (&[0xcc], "int3", "int3", "INT $0x3"),
            (
                &[0x8b, 0x35, 0x02, 0x20, 0, 0],
                "mov main.v+8,%esi",
                "mov esi, dword ptr [main.v+8]",
                "MOVL main.v+8(SB), SI",
            ),
            (
                &[0x64, 0x4c, 0x8b, 0x34, 0x25, 0xf8, 0xff, 0xff, 0xff],
                "mov %fs:0xfffffff8,%r14",
                "mov r14, qword ptr fs:[0xfffffff8]",
                "MOVQ FS:0xfffffff8, R14",
            ),
            (
                &[0x0f, 0xb6, 0x9c, 0x24, 0x30, 1, 0, 0],
                "movzbl 0x130(%rsp),%ebx",
                "movzx ebx, byte ptr [rsp+0x130]",
                "MOVZX 0x130(SP), BX",
            ),
            (
                &[0x48, 0xc7, 0, 0, 0, 0, 0],
                "movq $0x0,(%rax)",
                "mov qword ptr [rax], 0x0",
                "MOVQ $0x0, 0(AX)",
            ),
            (
                &[0xf0, 0x49, 0x0f, 0xc1, 0x3a],
                "lock xadd %rdi,(%r10)",
                "lock xadd qword ptr [r10], rdi",
                "LOCK XADDQ DI, 0(R10)",
            ),
            (
                &[0x0f, 0x1f, 0],
                "nopl (%rax)",
                "nop dword ptr [rax], eax",
                "NOPL 0(AX)",
            ),
            (&[0x66, 0x90], "data16 nop", "data16 nop", "NOPW"),
            (&[0x48, 0xd1, 0xea], "shr %rdx", "shr rdx, 0x1", "SHRQ $0x1, DX"),
            (
                &[0x48, 0xb8, 0xcd, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc],
                "mov $-0x3333333333333333,%rax",
                "mov rax, 0xcccccccccccccccd",
                "MOVQ $0xcccccccccccccccd, AX",
            ),
            (
                &[0x66, 0x0f, 0xdb, 0x0c, 0xc8],
                "pand (%rax,%rcx,8),%xmm1",
                "pand xmm1, xmmword ptr [rax+8*rcx]",
                "PAND 0(AX)(CX*8), X1",
            ),
        ];
        for (bytes, gnu, intel, go) in cases {
            assert_eq!(text(bytes, Flavour::Gnu), gnu);
            assert_eq!(text(bytes, Flavour::Intel), intel);
            assert_eq!(text(bytes, Flavour::Go), go);
        }
        assert_eq!(text(&[0x06], Flavour::Intel), "?");
    }

    #[test]
    fn whatever_bytes_come_they_have_a_text() {
        // A linear congruential generator, so that a failure comes again.
        let mut state = 1u64;
        let mut bytes = [0u8; 15];
        for _ in 0..20_000 {
            for byte in &mut bytes {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                *byte = (state >> 56) as u8;
            }
            for flavour in [Flavour::Gnu, Flavour::Intel, Flavour::Go] {
                assert!(!text(&bytes, flavour).is_empty());
            }
        }
    }
}
