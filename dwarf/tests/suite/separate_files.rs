//! Programs that were stripped, and their debug information in files of their own.

use std::fs;
use std::path::{Path, PathBuf};

use spelunk_dwarf::{Binary, DebugDirectories, OpenError};

use crate::fixture::{Build, build, objcopy};

/// A folder with a stripped program, `bin/kinds`, and beside that folder its debug information, `kinds.debug`.
struct Separated {
    folder: tempfile::TempDir,
    whole: PathBuf,
}

impl Separated {
    /// `None`, with a message, without Go or `objcopy`.
    fn new(flags: &[&str]) -> Option<Separated> {
        let whole = build(Build::Identified)?;
        let folder = tempfile::tempdir().expect("a folder");
        let separated = Separated { folder, whole };
        fs::create_dir(separated.path("bin")).expect("a folder");
        let (whole, program) = (text(&separated.whole), text(&separated.program()));
        let debug = text(&separated.path("kinds.debug"));
        let made = objcopy(&["--only-keep-debug", &whole, &debug])
            && objcopy(&[&["--strip-all"], flags, &[&*whole, &*program]].concat());
        made.then_some(separated)
    }

    /// One that names its debug information by a link.
    fn linked() -> Option<Separated> {
        let separated = Separated::new(&["--remove-section=.note.gnu.build-id"])?;
        let link = format!("--add-gnu-debuglink={}", text(&separated.path("kinds.debug")));
        objcopy(&[&link, &text(&separated.program())]).then_some(separated)
    }

    fn path(&self, name: &str) -> PathBuf {
        // Temporary folders may be behind a link.
        self.folder.path().canonicalize().expect("it is there").join(name)
    }

    fn program(&self) -> PathBuf {
        self.path("bin/kinds")
    }

    /// Puts the debug information elsewhere.
    fn put(&self, to: &Path) {
        fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
        fs::rename(self.path("kinds.debug"), to).expect("it is there");
    }

    fn open(&self, directories: &[PathBuf]) -> Result<Binary, OpenError> {
        Binary::open_with(&self.program(), &DebugDirectories(directories.to_vec()))
    }

    /// That all is known that is known of the whole program.
    fn is_whole(&self, separated: &Binary) {
        let whole = Binary::open(&self.whole).expect("a fresh Go program opens");
        assert_eq!(separated.functions(), whole.functions());
        assert_eq!(separated.files(), whole.files());
        assert_eq!(separated.globals().len(), whole.globals().len());
        assert_eq!(
            separated.symbol_named("runtime.tlsg"),
            whole.symbol_named("runtime.tlsg")
        );
        let main = whole.function_named("main.main").expect("every program has one");
        let shown = |binary: &Binary| {
            let info = binary.function_info(main).expect("it is described");
            let lines: Vec<_> = (main.entry.0..main.end.0)
                .map(|addr| binary.line_at(spelunk_dwarf::FileAddr(addr)))
                .collect();
            (format!("{info:?}"), lines, binary.unwind_row(main.entry).ok())
        };
        assert_eq!(shown(separated), shown(&whole));
        assert!(separated.runtime_layout().is_ok());
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[test]
fn a_build_id_names_a_file_in_each_directory() {
    let Some(separated) = Separated::new(&[]) else { return };
    let (nowhere, root) = (separated.path("nowhere"), separated.path("debug"));
    let Err(OpenError::Stripped { looked, .. }) = separated.open(&[nowhere.clone(), root.clone()]) else {
        panic!("its debug information is not there");
    };
    let name = ".build-id/00/112233445566778899aabbccddeeff.debug";
    assert_eq!(looked, [nowhere.join(name), root.join(name)]);
    separated.put(&root.join(name));
    separated.is_whole(&separated.open(&[nowhere, root.clone()]).expect("it is there"));
    separated.is_whole(&separated.open(&[root.join(".build-id")]).expect("it is there"));
    assert!(separated.open(&[]).is_err());
}

#[test]
fn a_link_names_a_file_beside_the_program_or_below_a_directory() {
    for place in ["bin/kinds.debug", "bin/.debug/kinds.debug"] {
        let Some(separated) = Separated::linked() else { return };
        separated.put(&separated.path(place));
        separated.is_whole(&separated.open(&[]).expect(place));
    }
    let Some(separated) = Separated::linked() else { return };
    let root = separated.path("debug");
    let below = separated
        .path("bin")
        .strip_prefix("/")
        .expect("an absolute path")
        .to_owned();
    separated.put(&root.join(below).join("kinds.debug"));
    let error = separated.open(&[]).expect_err("nobody said where it is");
    let beside = text(&separated.path("bin/.debug/kinds.debug"));
    assert!(error.to_string().contains(&beside), "{error}");
    separated.is_whole(&separated.open(&[root]).expect("it is there"));
}

#[test]
fn files_of_another_build_are_not_used() {
    // By the checksum.
    let Some(separated) = Separated::linked() else { return };
    let place = separated.path("bin/kinds.debug");
    separated.put(&place);
    let mut bytes = fs::read(&place).expect("it is there");
    *bytes.last_mut().expect("it is not empty") ^= 1;
    fs::write(&place, bytes).expect("writable");
    assert!(matches!(separated.open(&[]), Err(OpenError::Stripped { .. })));
    // By the build id, which is in the file as well.
    let Some(separated) = Separated::new(&[]) else { return };
    let other = build(Build::Debug).expect("Go is there");
    let name = separated.path("debug/.build-id/00/112233445566778899aabbccddeeff.debug");
    fs::create_dir_all(name.parent().expect("a folder")).expect("a folder");
    assert!(objcopy(&["--only-keep-debug", &text(&other), &text(&name)]));
    assert!(matches!(
        separated.open(&[separated.path("debug")]),
        Err(OpenError::Stripped { .. })
    ));
}

#[test]
fn a_program_does_not_say_which_folders_are_looked_at() {
    let Some(separated) = Separated::linked() else { return };
    separated.put(&separated.path("kinds.debug"));
    let mut bytes = fs::read(separated.program()).expect("it is there");
    let link = b"kinds.debug\0";
    let at = bytes.windows(link.len()).position(|part| part == link);
    let at = at.expect("the link is in the program");
    for name in [
        b"../kinds.db\0",
        b"/etc/passwd\0",
        b"\0inds.debug\0",
        b"kinds.debugx",
        b"\xff\xffnds.debug\0",
    ] {
        bytes[at..at + link.len()].copy_from_slice(&name[..link.len()]);
        fs::write(separated.program(), &bytes).expect("writable");
        let Err(OpenError::Stripped { looked, .. }) = separated.open(&[separated.path("")]) else {
            panic!("{}", String::from_utf8_lossy(name));
        };
        let outside =
            |path: &PathBuf| path.components().any(|part| part.as_os_str() == "..") || path.ends_with("passwd");
        assert!(!looked.iter().any(outside), "{looked:?}");
    }
}
