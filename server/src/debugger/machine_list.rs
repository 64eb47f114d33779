//! All registers of a thread as Delve lists them (`ConvertRegisters` in `service/api/conversions.go`, `pkg/proc/amd64_arch.go`, `pkg/proc/registers.go`).

use std::fmt::Write;

use spelunk_dwarf::DwarfReg;

use super::register_list;
use super::session::Session;
use super::{DebugError, control::Control, control::failed};
use crate::inspect::{FrameRef, Registers, Tid};
use crate::process::MachineRegisters;

/// A register as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RegisterText {
    /// Its name.
    pub(crate) name: String,
    /// What it holds.
    pub(crate) value: String,
    /// Its number in DWARF (System V ABI for AMD64, figure 3.36).
    pub(crate) number: u16,
    /// Whether it is one for floating point or vectors.
    pub(crate) is_floating: bool,
}

/// The bits of MXCSR (Intel SDM volume 1, figure 10-3) as lowest bit, mask and name, highest first.
const MXCSR: [(u32, u32, &str); 15] = [
    (15, 1, "FZ"),
    (13, 3, "RZ/RN"),
    (12, 1, "PM"),
    (11, 1, "UM"),
    (10, 1, "OM"),
    (9, 1, "ZM"),
    (8, 1, "DM"),
    (7, 1, "IM"),
    (6, 1, "DAZ"),
    (5, 1, "PE"),
    (4, 1, "UE"),
    (3, 1, "OE"),
    (2, 1, "ZE"),
    (1, 1, "DE"),
    (0, 1, "IE"),
];

impl Session {
    /// All registers of a thread.
    pub(crate) fn thread_registers(&self, thread: Tid) -> Result<Vec<RegisterText>, DebugError> {
        self.ask(move |control| control.thread_registers(thread))
    }

    /// The registers of a frame: all of the thread for the innermost frame of a goroutine that runs, those that are known for others.
    pub(crate) fn frame_registers(&self, frame: FrameRef) -> Result<Vec<RegisterText>, DebugError> {
        self.ask(move |control| {
            let thread = control.thread_of(frame.whose)?;
            if let Some(thread) = thread.filter(|_| frame.frame == 0 && frame.deferred == 0) {
                return control.thread_registers(thread);
            }
            let frame = control.frame(frame)?;
            // Nobody has called the first function of a thread: what unwinding finds above it are no registers of anybody.
            if control.is_code(&frame) {
                Ok(known(&frame.registers))
            } else {
                Ok(Vec::new())
            }
        })
    }
}

impl Control {
    fn thread_registers(&mut self, thread: Tid) -> Result<Vec<RegisterText>, DebugError> {
        self.require_stopped()?;
        let inferior = self.traced()?;
        if !inferior.threads().contains(&thread) {
            return Err(failed(format!("couldn't find thread {}", thread.0)));
        }
        Ok(all(&inferior.machine_registers(thread).map_err(failed)?))
    }
}

fn plain(name: &str, number: u16, value: u64) -> RegisterText {
    RegisterText {
        name: name.to_owned(),
        value: format!("{value:#018x}"),
        number,
        is_floating: false,
    }
}

/// The general registers that are known, in Delve's order.
fn known(registers: &Registers) -> Vec<RegisterText> {
    let general = register_list::ORDER.iter();
    general
        .filter_map(|(number, name)| Some(plain(name, *number, registers.general(DwarfReg(*number))?)))
        .collect()
}

fn all(machine: &MachineRegisters) -> Vec<RegisterText> {
    let mut list = known(&machine.general);
    let floating = |name: String, number: u16, value: String| RegisterText {
        name,
        value,
        number,
        is_floating: true,
    };
    for (index, low) in machine.vectors.iter().enumerate() {
        let mut value = vector_text(low);
        if let Some(high) = machine.upper.as_ref().and_then(|upper| upper.get(index)) {
            let _ = write!(value, "\n\t[YMM{index}h] {}", vector_text(high));
        }
        list.push(floating(format!("XMM{index}"), 17 + index as u16, value));
    }
    for (index, bytes) in machine.x87.iter().enumerate() {
        list.push(floating(format!("ST({index})"), 33 + index as u16, x87_text(bytes)));
    }
    if let Some(flags) = machine.general.flags {
        list.push(RegisterText {
            value: register_list::flags_text(flags),
            ..plain("Rflags", 49, flags)
        });
    }
    for ((number, name), value) in (50..).zip(["Es", "Cs", "Ss", "Ds", "Fs", "Gs"]).zip(machine.segments) {
        list.push(plain(name, number, value));
    }
    if let Some(base) = machine.general.fs_base {
        list.push(plain("Fs_base", 58, base));
    }
    list.push(plain("Gs_base", 59, machine.gs_base));
    list.push(floating("MXCSR".to_owned(), 64, mxcsr_text(machine.mxcsr)));
    list.push(floating("CW".to_owned(), 65, format!("{:#06x}", machine.control)));
    list.push(floating("SW".to_owned(), 66, format!("{:#06x}", machine.status)));
    list
}

fn mxcsr_text(value: u32) -> String {
    let mut names = Vec::new();
    let mut known = 0;
    for (bit, mask, name) in MXCSR {
        known |= mask << bit;
        let part = value >> bit & mask;
        if mask != 1 {
            names.push(format!("{name}={part:x}"));
        } else if part == 1 {
            names.push(name.to_owned());
        }
    }
    if value & !known != 0 {
        names.push(format!("unknown_flags={:x}", value & !known));
    }
    format!("{value:#010x}\t[{}]", names.join(" "))
}

/// 128 bits as one number, and taken for numbers of each size.
fn vector_text(bytes: &[u8; 16]) -> String {
    let whole = u128::from_le_bytes(*bytes);
    let integers = |size: usize| {
        let parts: Vec<String> = bytes
            .chunks_exact(size)
            .map(|part| {
                part.iter().rev().fold(String::new(), |mut text, byte| {
                    let _ = write!(text, "{byte:02x}");
                    text
                })
            })
            .collect();
        parts.join(" ")
    };
    let doubles: Vec<String> = bytes
        .as_chunks::<8>()
        .0
        .iter()
        .map(|raw| general(f64::from_le_bytes(*raw)))
        .collect();
    let singles: Vec<String> = bytes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|raw| general32(f32::from_le_bytes(*raw)))
        .collect();
    format!(
        "0x{whole:032x}\tv2_int={{ {} }}\tv4_int={{ {} }}\tv8_int={{ {} }}\tv16_int={{ {} }}\tv2_float={{ {} }}\tv4_float={{ {} }}",
        integers(8),
        integers(4),
        integers(2),
        integers(1),
        doubles.join(" "),
        singles.join(" "),
    )
}

/// An 80-bit floating-point number (Intel SDM volume 1, section 4.2.2), its bits without the sign, and its value as near as 64 bits come.
fn x87_text(bytes: &[u8; 10]) -> String {
    let [m0, m1, m2, m3, m4, m5, m6, m7, e0, e1] = *bytes;
    let mantissa = u64::from_le_bytes([m0, m1, m2, m3, m4, m5, m6, m7]);
    let sign_and_exponent = u16::from_le_bytes([e0, e1]);
    let exponent = sign_and_exponent & 0x7fff;
    let sign = if sign_and_exponent & 0x8000 == 0 { 1.0 } else { -1.0 };
    let has_integer_bit = mantissa >> 63 == 1;
    let value = match exponent {
        0 if mantissa == 0 => sign * 0.0,
        0x7fff if mantissa << 1 == 0 => sign * f64::INFINITY,
        0x7fff => f64::NAN,
        1.. if !has_integer_bit => f64::NAN,
        _ => {
            let scale = i32::from(exponent.max(1)) - 16383 - 63;
            // Twice half the way: the scale alone may be beyond what a 64-bit number holds.
            let half = 2f64.powi(scale / 2);
            sign * mantissa as f64 * half * 2f64.powi(scale - scale / 2)
        }
    };
    format!("{exponent:#06x}{mantissa:016x}\t{}", general(value))
}

/// Go's `%g` of a 64-bit number.
fn general(x: f64) -> String {
    general_text(x, &format!("{:e}", x.abs()))
}

/// Go's `%g` of a 32-bit number.
fn general32(x: f32) -> String {
    general_text(f64::from(x), &format!("{:e}", x.abs()))
}

/// `scientific` is the shortest text that reads back as the number without its sign.
fn general_text(x: f64, scientific: &str) -> String {
    if x.is_nan() {
        return "NaN".to_owned();
    }
    if x.is_infinite() {
        return (if x > 0.0 { "+Inf" } else { "-Inf" }).to_owned();
    }
    let sign = if x.is_sign_negative() { "-" } else { "" };
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let exponent: i32 = exponent.parse().unwrap_or(0);
    // `strconv/ftoa.go`: with the fewest digits, a number from a million on has an exponent.
    let limit = 6;
    if exponent < -4 || exponent >= limit {
        let (first, rest) = digits.split_at(1);
        let point = if rest.is_empty() { "" } else { "." };
        let direction = if exponent < 0 { '-' } else { '+' };
        return format!("{sign}{first}{point}{rest}e{direction}{:02}", exponent.abs());
    }
    if exponent < 0 {
        let zeros = "0".repeat(usize::try_from(-exponent - 1).unwrap_or(0));
        return format!("{sign}0.{zeros}{digits}");
    }
    let whole = usize::try_from(exponent).unwrap_or(0) + 1;
    if digits.len() <= whole {
        return format!("{sign}{digits}{}", "0".repeat(whole - digits.len()));
    }
    let (whole, rest) = digits.split_at(whole);
    format!("{sign}{whole}.{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_in_go() {
        for (x, text) in [
            (0.0, "0"),
            (-1.0, "-1"),
            (100_000.0, "100000"),
            (1e6, "1e+06"),
            (1_234_567.0, "1.234567e+06"),
            (612_118.920_343_378_4, "612118.9203433784"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (0.000_123_45, "0.00012345"),
            (1.5e-7, "1.5e-07"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(general(x), text);
        }
        assert_eq!(general32(-1.229_560_1e11), "-1.2295601e+11");
        assert_eq!(general32(0.1), "0.1");
    }

    #[test]
    fn a_vector_reads_as_in_delve() {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&1.5f64.to_le_bytes());
        assert_eq!(
            vector_text(&bytes),
            "0x00000000000000003ff8000000000000\tv2_int={ 3ff8000000000000 0000000000000000 }\tv4_int={ 00000000 3ff80000 00000000 00000000 }\t\
             v8_int={ 0000 0000 0000 3ff8 0000 0000 0000 0000 }\tv16_int={ 00 00 00 00 00 00 f8 3f 00 00 00 00 00 00 00 00 }\tv2_float={ 1.5 0 }\t\
             v4_float={ 0 1.9375 0 0 }"
        );
    }

    #[test]
    fn an_x87_register_reads_as_in_delve() {
        assert_eq!(x87_text(&[0; 10]), "0x00000000000000000000\t0");
        // 1.0, whose integer bit is written out.
        assert_eq!(
            x87_text(&[0, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0x3f]),
            "0x3fff8000000000000000\t1"
        );
        assert_eq!(
            x87_text(&[0, 0, 0, 0, 0, 0, 0, 0xc0, 0x00, 0xc0]),
            "0x4000c000000000000000\t-3"
        );
        assert_eq!(
            x87_text(&[0, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0x7f]),
            "0x7fff8000000000000000\t+Inf"
        );
    }

    #[test]
    fn mxcsr_reads_as_in_delve() {
        assert_eq!(mxcsr_text(0x1fa0), "0x00001fa0\t[RZ/RN=0 PM UM OM ZM DM IM PE]");
    }
}
