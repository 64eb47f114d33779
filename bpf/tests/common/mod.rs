//! What the kernel tests share: the fixture, built by Go, under control of a test.
#![allow(dead_code)] // Each test file uses a part.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use object::{Object, ObjectSegment, ObjectSymbol};
use spelunk_bpf::{
    BpfError, GoroutineSource, Link, Options, Plan, ProbeSet, Reg, Root, RootSource, RuntimeOffsets, Site, SiteId,
    Target,
};

/// Says on standard error why a test does not run here, past the test runner's capture: a skipped test must be seen.
pub(crate) fn skip(reason: &str) {
    let _ = writeln!(std::io::stderr(), "SKIP: {reason}");
}

/// A small probe set, or `None` where this user may not make one.
pub(crate) fn probe_set() -> Option<ProbeSet> {
    match ProbeSet::new(Options {
        ring_bytes: 1 << 20,
        ..Options::default()
    }) {
        Ok(set) => Some(set),
        Err(error @ BpfError::PermissionDenied { .. }) => {
            skip(&format!("no permission for BPF: {error}"));
            None
        }
        Err(error) => panic!("making a probe set: {error}"),
    }
}

/// How the fixture is built.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Exe,
    Pie,
}

/// Path of the fixture, built once for each mode and test binary; `None` without Go.
pub(crate) fn fixture(mode: Mode) -> Option<&'static Path> {
    static EXE: OnceLock<Option<PathBuf>> = OnceLock::new();
    static PIE: OnceLock<Option<PathBuf>> = OnceLock::new();
    let (cell, name, buildmode) = match mode {
        Mode::Exe => (&EXE, "exe", "-buildmode=exe"),
        Mode::Pie => (&PIE, "pie", "-buildmode=pie"),
    };
    cell.get_or_init(|| build(name, buildmode)).as_deref()
}

/// `SPELUNK_GO`, which `make test` sets, then `PATH`, then where Go's own archive installs it.
fn go() -> Option<PathBuf> {
    if let Some(given) = std::env::var_os("SPELUNK_GO") {
        return Some(given.into());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/local/go/bin")])
        .map(|folder| folder.join("go"))
        .find(|candidate| candidate.is_file())
}

fn build(name: &str, buildmode: &str) -> Option<PathBuf> {
    let Some(go) = go() else {
        skip("no Go toolchain to build the fixture with");
        return None;
    };
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixture");
    // Each test binary has a file of its own, since they may run at once.
    let output = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fixture-{name}-{}", env!("CARGO_CRATE_NAME")));
    let result = Command::new(go)
        .current_dir(source)
        .args(["build", buildmode, "-o"])
        .arg(&output)
        .arg(".")
        .env("GOFLAGS", "-mod=mod")
        .env("GOTOOLCHAIN", "local")
        .env("CGO_ENABLED", "0")
        .output()
        .expect("go runs");
    assert!(
        result.status.success(),
        "building the fixture: {}",
        String::from_utf8_lossy(&result.stderr)
    );
    Some(output)
}

/// The fixture as a file: symbols and offsets.
pub(crate) struct Binary {
    bytes: Vec<u8>,
    symbols: HashMap<String, (u64, u64)>,
}

impl Binary {
    pub(crate) fn open(path: &Path) -> Binary {
        let bytes = std::fs::read(path).expect("the fixture can be read");
        let file = object::File::parse(bytes.as_slice()).expect("the fixture is ELF");
        let symbols = file
            .symbols()
            .filter_map(|symbol| {
                let name = symbol.name().ok()?.to_owned();
                Some((name, (symbol.address(), symbol.size())))
            })
            .collect();
        Binary { bytes, symbols }
    }

    pub(crate) fn symbol(&self, name: &str) -> u64 {
        self.symbols
            .get(name)
            .unwrap_or_else(|| panic!("the fixture has no {name}"))
            .0
    }

    /// All functions of the text section: name, address, size.
    pub(crate) fn functions(&self) -> Vec<(&str, u64, u64)> {
        let file = object::File::parse(self.bytes.as_slice()).expect("ELF");
        let mut out: Vec<_> = file
            .symbols()
            .filter(|symbol| symbol.kind() == object::SymbolKind::Text && symbol.size() > 0)
            .filter_map(|symbol| {
                let name = symbol.name().ok()?;
                let (name, _) = self.symbols.get_key_value(name)?;
                Some((name.as_str(), symbol.address(), symbol.size()))
            })
            .collect();
        out.sort_by_key(|&(_, address, _)| address);
        out.dedup_by_key(|&mut (_, address, _)| address);
        out
    }

    pub(crate) fn file_offset(&self, address: u64) -> u64 {
        let file = object::File::parse(self.bytes.as_slice()).expect("ELF");
        file.segments()
            .find_map(|segment| {
                let (offset, size) = segment.file_range();
                let at = address.checked_sub(segment.address())?;
                (at < size).then_some(offset + at)
            })
            .expect("the address is in a segment")
    }

    pub(crate) fn code(&self, address: u64, len: usize) -> &[u8] {
        let offset = self.file_offset(address) as usize;
        &self.bytes[offset..offset + len]
    }

    /// Address of the `push %rbp; mov %rsp, %rbp` behind a function's stack check.
    pub(crate) fn entry(&self, name: &str) -> u64 {
        let start = self.symbol(name);
        let code = self.code(start, 64);
        let at = code
            .windows(4)
            .position(|window| window == [0x55, 0x48, 0x89, 0xe5])
            .unwrap_or_else(|| panic!("{name} pushes no frame pointer"));
        start + at as u64
    }
}

/// The fixture, running.
pub(crate) struct Fixture {
    pub(crate) binary: Binary,
    pub(crate) child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    facts: HashMap<String, u64>,
}

impl Fixture {
    /// Starts the fixture; `None` without Go.
    pub(crate) fn start(mode: Mode) -> Option<Fixture> {
        let path = fixture(mode)?;
        let mut child = Command::new(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the fixture starts");
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().expect("its output is a pipe");
        let mut fixture = Fixture {
            binary: Binary::open(path),
            child,
            stdin,
            stdout: BufReader::new(stdout),
            facts: HashMap::new(),
        };
        loop {
            let line = fixture.line();
            let (name, value) = line.split_once(' ').expect("a name and a value");
            fixture.facts.insert(name.to_owned(), value.parse().expect("a number"));
            if name == "ready" {
                return Some(fixture);
            }
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        let read = self.stdout.read_line(&mut line).expect("its output reads");
        assert!(read > 0, "the fixture ended");
        line.trim_end().to_owned()
    }

    pub(crate) fn fact(&self, name: &str) -> u64 {
        *self.facts.get(name).unwrap_or_else(|| panic!("no fact {name}"))
    }

    /// What is added to link-time addresses in this process.
    pub(crate) fn bias(&self) -> u64 {
        self.fact("main.marker").wrapping_sub(self.binary.symbol("main.marker"))
    }

    /// Runs a scenario to its end; gives its result and the goroutine it ran on.
    pub(crate) fn run(&mut self, scenario: &str) -> (i64, i64) {
        self.ask(scenario);
        self.answer()
    }

    /// Starts a scenario.
    pub(crate) fn ask(&mut self, scenario: &str) {
        let stdin = self.stdin.as_mut().expect("the fixture is running");
        writeln!(stdin, "{scenario}").expect("the fixture reads");
    }

    /// The end of a scenario that was started.
    pub(crate) fn answer(&mut self) -> (i64, i64) {
        let line = self.line();
        let mut words = line.split(' ').skip(1).map(|word| word.parse().expect("a number"));
        (words.next().expect("a result"), words.next().expect("a goroutine"))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn target(&self) -> Target {
        let pid = self.child.id();
        Target {
            path: PathBuf::from(format!("/proc/{pid}/exe")),
            pid: Some(pid.cast_signed()),
        }
    }

    pub(crate) fn runtime(&self) -> RuntimeOffsets {
        RuntimeOffsets {
            goid: self.fact("goid") as u32,
            stack_hi: 8,
            m: 48,
            curg: self.fact("curg") as u32,
        }
    }

    /// A plan with these roots, and no more.
    pub(crate) fn plan(&self, roots: Vec<Root>) -> Plan {
        Plan {
            roots,
            follows: Vec::new(),
            goroutine: GoroutineSource::R14,
            runtime: self.runtime(),
            max_record: 1024,
            gate: spelunk_bpf::Gate::default(),
            stops: false,
        }
    }

    /// Adds one site at a function's entry and attaches it.
    pub(crate) fn probe(&self, set: &mut ProbeSet, function: &str, plan: &Plan) -> (SiteId, Link) {
        let address = self.binary.entry(function);
        let plan = set.add_plan(plan).expect("the plan loads");
        let site = set
            .add_site(Site {
                plan,
                file_addr: address,
            })
            .expect("there is room");
        let link = set
            .attach(&self.target(), &[(self.binary.file_offset(address), site)])
            .expect("the probe attaches");
        (site, link)
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        // Its end is the end of its input; it must not be left behind if a test failed.
        self.stdin.take();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn register(reg: Reg) -> Root {
    Root {
        source: RootSource::Register(reg),
        size: 8,
    }
}

/// The registers of the first three words of `ABIInternal` arguments.
pub(crate) fn three_words() -> Vec<Root> {
    vec![register(Reg::Rax), register(Reg::Rbx), register(Reg::Rcx)]
}

pub(crate) fn word(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.get(..8).expect("8 bytes").try_into().expect("8 bytes"))
}

/// A chunk with bytes of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OwnedChunk {
    pub(crate) addr: u64,
    pub(crate) bytes: Vec<u8>,
    pub(crate) wanted: u32,
    pub(crate) count: u32,
    pub(crate) elem_size: u32,
    pub(crate) layout: u32,
    pub(crate) status: spelunk_bpf::Status,
    pub(crate) kind: spelunk_bpf::ChunkKind,
    pub(crate) origin: spelunk_bpf::Origin,
}

/// A record with bytes of its own.
#[derive(Clone, Debug)]
pub(crate) struct OwnedRecord {
    pub(crate) site: SiteId,
    pub(crate) flags: spelunk_bpf::Flags,
    pub(crate) goroutine: i64,
    pub(crate) stack_hi: u64,
    pub(crate) sp: u64,
    pub(crate) ip: u64,
    pub(crate) process: u32,
    pub(crate) roots: Vec<Result<Vec<u8>, spelunk_bpf::RootError>>,
    pub(crate) chunks: Vec<OwnedChunk>,
}

impl OwnedRecord {
    pub(crate) fn root_word(&self, index: usize) -> u64 {
        word(self.roots[index].as_ref().expect("the root was read"))
    }

    /// The chunk that was copied from an address.
    pub(crate) fn at(&self, addr: u64) -> &OwnedChunk {
        self.chunks
            .iter()
            .find(|chunk| chunk.addr == addr)
            .unwrap_or_else(|| panic!("no chunk at {addr:#x} in {self:#x?}"))
    }

    /// The text of the string whose header starts at `at` of `bytes`.
    pub(crate) fn string(&self, bytes: &[u8], at: usize) -> String {
        let (ptr, len) = (word(&bytes[at..]), word(&bytes[at + 8..]) as usize);
        if len == 0 {
            return String::new();
        }
        let chunk = self.at(ptr);
        assert_eq!(chunk.bytes.len(), len, "{chunk:?}");
        String::from_utf8(chunk.bytes.clone()).expect("text")
    }
}

/// All records that are there now.
pub(crate) fn records(set: &ProbeSet, plan: &Plan) -> Vec<OwnedRecord> {
    let mut out = Vec::new();
    let ring = if plan.stops { set.stop_ring() } else { set.ring() };
    ring.drain(std::time::Duration::ZERO, |view| {
        out.push(OwnedRecord {
            site: view.site(),
            flags: view.flags(),
            goroutine: view.goroutine(),
            stack_hi: view.stack_hi(),
            sp: view.sp(),
            ip: view.ip(),
            process: view.process(),
            roots: (0..plan.roots.len())
                .map(|index| view.root(plan, index).map(<[u8]>::to_vec))
                .collect(),
            chunks: view
                .chunks()
                .map(|chunk| OwnedChunk {
                    addr: chunk.addr,
                    bytes: chunk.bytes.to_vec(),
                    wanted: chunk.wanted,
                    count: chunk.count,
                    elem_size: chunk.elem_size,
                    layout: chunk.layout,
                    status: chunk.status,
                    kind: chunk.kind,
                    origin: chunk.origin,
                })
                .collect(),
        });
    })
    .expect("the ring drains");
    out
}
