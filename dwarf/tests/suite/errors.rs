//! What users are told about files that cannot be opened.

use std::path::Path;

use spelunk_dwarf::{Binary, BuildId, OpenError};

fn refuse(contents: &[u8]) -> OpenError {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("program");
    std::fs::write(&path, contents).expect("writable");
    let error = Binary::open(&path).expect_err("not a Go program");
    assert!(error.to_string().starts_with(path.to_str().expect("text")), "{error}");
    error
}

/// The smallest ELF executable: a header without segments and sections.
fn elf(kind: u16, machine: u16) -> Vec<u8> {
    let mut header = b"\x7fELF\x02\x01\x01".to_vec();
    header.resize(16, 0);
    header.extend_from_slice(&kind.to_le_bytes());
    header.extend_from_slice(&machine.to_le_bytes());
    header.extend_from_slice(&1u32.to_le_bytes());
    header.resize(52, 0);
    // e_ehsize, e_phentsize, e_phnum, e_shentsize, e_shnum, e_shstrndx
    for size in [64u16, 56, 0, 64, 0, 0] {
        header.extend_from_slice(&size.to_le_bytes());
    }
    header
}

#[test]
fn absent_files_and_directories() {
    let directory = tempfile::tempdir().expect("a directory");
    let absent = directory.path().join("absent");
    assert!(matches!(Binary::open(&absent), Err(OpenError::Absent { .. })));
    assert!(matches!(BuildId::of_file(&absent), Err(OpenError::Absent { .. })));
    assert!(matches!(
        Binary::open(directory.path()),
        Err(OpenError::Directory { .. })
    ));
    assert!(matches!(
        Binary::open(Path::new("/dev/null")),
        Err(OpenError::NotRegular { .. })
    ));
}

#[test]
fn files_that_are_no_programs() {
    assert!(matches!(refuse(b""), OpenError::NotElf { .. }));
    assert!(matches!(refuse(b"#!/bin/sh\necho hello\n"), OpenError::NotElf { .. }));
    assert!(matches!(refuse(b"\x7fELF"), OpenError::Malformed { .. }));
    assert!(matches!(refuse(&elf(2, 62)[..40]), OpenError::Malformed { .. }));
}

#[test]
fn programs_for_something_else() {
    let arm = refuse(&elf(2, 183));
    assert!(
        matches!(arm, OpenError::WrongMachine { .. }) && arm.to_string().contains("arm64"),
        "{arm}"
    );
    let mut small = elf(2, 62);
    small[4] = 1;
    assert!(matches!(refuse(&small), OpenError::WrongMachine { .. }));
    let object = refuse(&elf(1, 62));
    assert!(object.to_string().contains("an object file"), "{object}");
    assert!(refuse(&elf(4, 62)).to_string().contains("a core file"));
    assert!(matches!(refuse(&elf(2, 62)), OpenError::NotGo { .. }));
}

#[test]
fn this_test_is_a_program_but_not_in_go() {
    let itself = std::env::current_exe().expect("known");
    assert!(matches!(Binary::open(&itself), Err(OpenError::NotGo { .. })));
}
