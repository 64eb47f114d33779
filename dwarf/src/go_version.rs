//! Which Go toolchain built a binary.

use std::fmt;

use crate::Binary;

/// The version of the toolchain that linked the program. Ordered by its numbers alone.
#[derive(Clone, Debug)]
pub struct GoVersion {
    /// 1 in `go1.26.8`.
    pub major: u32,
    /// 26 in `go1.26.8`.
    pub minor: u32,
    /// 8 in `go1.26.8`; 0 when absent, as in `go1.21` or `go1.27rc1`.
    pub patch: u32,
    /// The text as the toolchain wrote it, experiments included: `go1.26.8 X:nodwarf5`.
    pub raw: String,
}

impl GoVersion {
    /// Reads `go1.26.8`, `go1.27rc1`, `devel go1.28-4f3a…`; `None` for anything without `go<number>.<number>`.
    pub fn parse(text: &str) -> Option<GoVersion> {
        let start = text
            .match_indices("go")
            .map(|(at, _)| at + 2)
            .find(|at| text.as_bytes().get(*at).is_some_and(u8::is_ascii_digit))?;
        let mut parts = text.get(start..)?.split('.');
        let number = |part: Option<&str>| {
            let part = part?;
            let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
            part.get(..digits)?
                .parse::<u32>()
                .ok()
                .map(|value| (value, digits == part.len()))
        };
        let (major, _) = number(parts.next())?;
        let (minor, whole) = number(parts.next())?;
        // In `go1.27rc1` and `go1.28-devel` what follows the minor number is no patch level.
        let patch = if whole {
            number(parts.next()).map_or(0, |(patch, _)| patch)
        } else {
            0
        };
        Some(GoVersion {
            major,
            minor,
            patch,
            raw: text.to_owned(),
        })
    }

    /// Whether this is Go `major.minor` or later.
    pub fn at_least(&self, major: u32, minor: u32) -> bool {
        (self.major, self.minor) >= (major, minor)
    }

    fn numbers(&self) -> (u32, u32, u32) {
        (self.major, self.minor, self.patch)
    }
}

impl PartialEq for GoVersion {
    fn eq(&self, other: &Self) -> bool {
        self.numbers() == other.numbers()
    }
}

impl Eq for GoVersion {}

impl PartialOrd for GoVersion {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for GoVersion {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.numbers().cmp(&other.numbers())
    }
}

impl fmt::Display for GoVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.raw)
    }
}

/// The version string in `.go.buildinfo`, and what follows it. Laid out as `debug/buildinfo` describes it since Go 1.18: a 32-byte header, then
/// two strings, each a varint length and the text. The older layout with pointers is not read: those toolchains are not supported.
fn build_info_version(section: &[u8]) -> Option<(&str, &[u8])> {
    const MAGIC: &[u8] = b"\xff Go buildinf:";
    const INLINE_STRINGS: u8 = 2;
    // The linker aligns the header to 16 bytes within the section.
    let header = section
        .as_chunks::<16>()
        .0
        .iter()
        .position(|chunk| chunk.starts_with(MAGIC))?
        * 16;
    let header = section.get(header..)?;
    if header.get(15)? & INLINE_STRINGS == 0 {
        return None;
    }
    let (version, rest) = varint_string(header.get(32..)?)?;
    Some((std::str::from_utf8(version).ok()?, rest))
}

/// A string behind its length, and what follows it.
fn varint_string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut length = 0usize;
    let mut rest = bytes.iter();
    for shift in (0..28).step_by(7) {
        let byte = *rest.next()?;
        length |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return rest.as_slice().split_at_checked(length);
        }
    }
    None
}

/// The value of a setting in what `cmd/go` notes about a build: lines of tab-separated words between two marks of 16 bytes.
fn build_setting<'b>(notes: &'b [u8], key: &str) -> Option<&'b str> {
    let text = std::str::from_utf8(notes.get(16..notes.len().checked_sub(16)?)?).ok()?;
    let mut settings = text
        .lines()
        .filter_map(|line| line.strip_prefix("build\t")?.split_once('='));
    settings.find(|(known, _)| *known == key).map(|(_, value)| value)
}

impl Binary {
    /// The Go version from `.go.buildinfo`; `None` when that section is missing or damaged.
    pub fn go_version(&self) -> Option<GoVersion> {
        let section = self.elf().section(".go.buildinfo")?;
        let bytes = self.bytes().get(section.file.clone()?)?;
        let (version, _) = build_info_version(bytes)?;
        GoVersion::parse(version)
    }

    /// A setting that the program was built with, such as `-trimpath`, as `go version -m` shows it; `None` where it is not noted.
    pub fn build_setting(&self, key: &str) -> Option<&str> {
        let section = self.elf().section(".go.buildinfo")?;
        let bytes = self.bytes().get(section.file.clone()?)?;
        let (_, rest) = build_info_version(bytes)?;
        let (notes, _) = varint_string(rest)?;
        build_setting(notes, key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(text: &str) -> Option<(u32, u32, u32)> {
        GoVersion::parse(text).map(|v| v.numbers())
    }

    #[test]
    fn versions_of_all_forms_are_read() {
        assert_eq!(numbers("go1.26.8"), Some((1, 26, 8)));
        assert_eq!(numbers("go1.21"), Some((1, 21, 0)));
        assert_eq!(numbers("go1.27rc1"), Some((1, 27, 0)));
        assert_eq!(numbers("go1.26.8 X:nodwarf5"), Some((1, 26, 8)));
        assert_eq!(numbers("devel go1.28-4f3a1b Tue Nov 3"), Some((1, 28, 0)));
        assert_eq!(numbers("good"), None);
        assert_eq!(numbers("go1"), None);
        assert_eq!(numbers("go99999999999.1"), None);
    }

    #[test]
    fn versions_order_by_numbers() {
        assert!(GoVersion::parse("go1.9.7") < GoVersion::parse("go1.21"));
        assert!(GoVersion::parse("go1.26.8").is_some_and(|v| v.at_least(1, 26) && !v.at_least(1, 27)));
    }

    #[test]
    fn build_info_is_checked() {
        let mut section = vec![0u8; 16];
        section.extend_from_slice(b"\xff Go buildinf:\x08\x02");
        section.resize(48, 0);
        section.push(8);
        section.extend_from_slice(b"go1.26.8");
        assert_eq!(
            build_info_version(&section).map(|(version, _)| version),
            Some("go1.26.8")
        );
        section.truncate(52);
        assert_eq!(build_info_version(&section), None);
        assert_eq!(build_info_version(b""), None);
    }
}
