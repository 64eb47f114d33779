//! A Go program, built, started and stopped: as little of a debugger as these tests need, so that they depend on no other part.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use spelunk_dwarf::{Binary, DwarfReg, LoadBias, ProcAddr};

use crate::inspect::{InspectError, Registers, Stopped, Tid, Whose, load_bias, stack};
use crate::value::{BulkRead, Memory, ReadError};

/// The flags a program is built with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Build {
    /// Nothing optimised, nothing inlined.
    Debug,
    /// The default.
    Optimized,
    /// Position independent, optimised.
    Pie,
}

impl Build {
    pub(super) const ALL: [Build; 3] = [Build::Debug, Build::Optimized, Build::Pie];

    fn flags(self) -> &'static [&'static str] {
        match self {
            Build::Debug => &["-gcflags=all=-N -l"],
            Build::Optimized => &[],
            Build::Pie => &["-buildmode=pie"],
        }
    }
}

/// Says on standard error why a test does not run here, past the test runner's capture: a skipped test must be seen.
pub(super) fn skip(reason: &str) {
    let _ = writeln!(std::io::stderr(), "SKIP: {reason}");
}

/// `SPELUNK_GO`, which `make test` sets, else the `go` on the `PATH`.
fn go() -> PathBuf {
    std::env::var_os("SPELUNK_GO").map_or_else(|| "go".into(), PathBuf::from)
}

/// Builds the program in a folder beside this file, once; `None`, with a message, without a Go toolchain, or a C compiler where it needs one.
pub(super) fn build(name: &str, flags: Build) -> Option<Arc<Binary>> {
    type Built = Vec<(String, Build, Option<Arc<Binary>>)>;
    static BUILT: Mutex<Built> = Mutex::new(Vec::new());
    static SCRATCH: OnceLock<tempfile::TempDir> = OnceLock::new();
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, _, known)) = built.iter().find(|(known, with, _)| known == name && *with == flags) {
        return known.clone();
    }
    let scratch = SCRATCH.get_or_init(|| tempfile::tempdir().expect("a scratch folder can be made"));
    let path = scratch.path().join(format!("{name}-{flags:?}"));
    let has = |command: &Path, argument: &str| {
        Command::new(command)
            .arg(argument)
            .output()
            .is_ok_and(|o| o.status.success())
    };
    let able = has(&go(), "version") && (name != "cgo" || has(Path::new("gcc"), "--version"));
    let binary = if able {
        let out = Command::new(go())
            .current_dir(
                Path::new(env!("CARGO_MANIFEST_DIR"))
                    .join("src/inspect/tests")
                    .join(name),
            )
            .env("GOFLAGS", "")
            .env("GOWORK", "off")
            .env("GOTOOLCHAIN", "local")
            .arg("build")
            .args(flags.flags())
            .arg("-o")
            .arg(&path)
            .arg(".")
            .output()
            .expect("go runs");
        assert!(
            out.status.success(),
            "go build: {}",
            String::from_utf8_lossy(&out.stderr)
        );
        Some(Arc::new(Binary::open(&path).expect("a fresh Go program opens")))
    } else {
        skip(&format!(
            "what the Go program {name} needs to be built is not on the PATH"
        ));
        None
    };
    built.push((name.to_owned(), flags, binary.clone()));
    binary
}

/// A program that runs until it is dropped.
pub(super) struct Program {
    child: Child,
    pub(super) binary: Arc<Binary>,
    bias: LoadBias,
}

impl Program {
    /// Starts a program and waits until it says that it is ready.
    pub(super) fn start(name: &str, flags: Build, arguments: &[&str]) -> Option<Program> {
        let binary = build(name, flags)?;
        let mut child = Command::new(binary.path())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("standard output is a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("the program writes");
        assert_eq!(line.trim(), "ready");
        let auxv = std::fs::read(format!("/proc/{}/auxv", child.id())).expect("the auxiliary vector is readable");
        let bias = load_bias(&binary, &auxv).expect("the program was started directly");
        assert_eq!(bias.bytes() != 0, flags == Build::Pie);
        Some(Program { child, binary, bias })
    }

    /// Stops all threads once the main goroutine waits in `ready` for the end of the program's input.
    pub(super) fn stop_at_rest(&self) -> Snapshot<'_> {
        let at_rest = || {
            let stopped = self.stop();
            let main = stack(&stopped, Whose::Goroutine(1), 50).ok()?;
            let names: Vec<&str> = main
                .frames
                .iter()
                .filter_map(|f| f.location.function.as_deref())
                .collect();
            let waits = names.contains(&"io.ReadAll") && names.first().is_some_and(|name| name.contains("yscall"));
            waits.then_some(stopped)
        };
        eventually(at_rest).expect("the program comes to rest")
    }

    /// Has the kernel stop the program, so that whoever looks at it sees the same.
    pub(super) fn freeze(&self) {
        // SAFETY: takes two numbers.
        assert_eq!(unsafe { libc::kill(self.pid().cast_signed(), libc::SIGSTOP) }, 0);
        let all_stopped = || {
            let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid())).ok()?;
            let mut stats = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("stat")).ok());
            let is_stopped = |stat: String| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'));
            stats.all(is_stopped).then_some(())
        };
        eventually(all_stopped).expect("the kernel stops it");
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Stops all threads until what it returns is dropped.
    pub(super) fn stop(&self) -> Snapshot<'_> {
        let pid = self.child.id().cast_signed();
        let mut threads: Vec<(Tid, Registers, i32)> = Vec::new();
        loop {
            let mut tids: Vec<i32> = std::fs::read_dir(format!("/proc/{pid}/task"))
                .expect("the process has threads")
                .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
                .filter(|tid| threads.iter().all(|(known, ..)| known.0 != *tid))
                .collect();
            tids.sort_unstable();
            if tids.is_empty() {
                break;
            }
            for tid in tids {
                if let Some((registers, signal)) = stop_thread(tid) {
                    threads.push((Tid(tid), registers, signal));
                }
            }
        }
        threads.sort_by_key(|(tid, ..)| *tid);
        Snapshot {
            program: self,
            memory: LiveMemory { pid },
            threads,
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let pid = self.pid().cast_signed();
        // The kernel keeps a process until whoever traces its threads has heard of their ends.
        eventually(|| {
            for entry in std::fs::read_dir(format!("/proc/{pid}/task"))
                .into_iter()
                .flatten()
                .flatten()
            {
                let tid = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok());
                if let Some(tid) = tid.filter(|tid| *tid != pid) {
                    let mut status = 0;
                    // SAFETY: `status` outlives the call.
                    unsafe { libc::waitpid(tid, &raw mut status, libc::__WALL | libc::WNOHANG) };
                }
            }
            self.child.try_wait().ok()?
        });
    }
}

fn request(request: libc::c_uint, tid: i32, data: usize) -> std::io::Result<()> {
    // SAFETY: none of the requests made here reads or writes memory of this process, but GETREGS, which gets a `user_regs_struct`.
    match unsafe { libc::ptrace(request, tid, 0, data) } {
        -1 => Err(std::io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Stops a thread; gives its registers and the signal that it is about to take. `None` for one that is gone.
fn stop_thread(tid: i32) -> Option<(Registers, i32)> {
    request(libc::PTRACE_SEIZE, tid, 0).ok()?;
    request(libc::PTRACE_INTERRUPT, tid, 0).ok()?;
    wait_for(tid, Duration::from_secs(10))
}

/// Waits until a thread has stopped; gives its registers and the signal that it is about to take. `None` if it does not, or has ended.
fn wait_for(tid: i32, patience: Duration) -> Option<(Registers, i32)> {
    let mut status = 0;
    let end = Instant::now() + patience;
    loop {
        // SAFETY: `status` outlives the call.
        match unsafe { libc::waitpid(tid, &raw mut status, libc::__WALL | libc::WNOHANG) } {
            0 if Instant::now() < end => std::thread::yield_now(),
            waited if waited == tid && libc::WIFSTOPPED(status) => break,
            _ => return None,
        }
    }
    let is_event = status >> 16 != 0;
    let signal = if is_event { 0 } else { libc::WSTOPSIG(status) };
    // SAFETY: all-zero is a value of this plain struct.
    let mut regs: libc::user_regs_struct = unsafe { std::mem::zeroed() };
    request(libc::PTRACE_GETREGS, tid, &raw mut regs as usize).ok()?;
    let mut registers = Registers::default();
    let in_order = [
        regs.rax, regs.rdx, regs.rcx, regs.rbx, regs.rsi, regs.rdi, regs.rbp, regs.rsp, regs.r8, regs.r9, regs.r10,
        regs.r11, regs.r12, regs.r13, regs.r14, regs.r15, regs.rip,
    ];
    for (number, value) in (0u16..).zip(in_order) {
        registers.set_general(DwarfReg(number), Some(value));
    }
    registers.fs_base = Some(regs.fs_base);
    registers.flags = Some(regs.eflags);
    Some((registers, signal))
}

/// A program none of whose threads moves.
pub(super) struct Snapshot<'p> {
    program: &'p Program,
    memory: LiveMemory,
    threads: Vec<(Tid, Registers, i32)>,
}

impl Snapshot<'_> {
    /// Has one thread run one instruction; `None` when it waits in that, as in a system call.
    pub(super) fn step(&mut self, thread: Tid) -> Option<()> {
        let slot = self.threads.iter_mut().find(|(tid, ..)| *tid == thread)?;
        request(libc::PTRACE_SINGLESTEP, thread.0, slot.2 as usize).ok()?;
        let stepped = wait_for(thread.0, Duration::from_millis(50));
        let has_stepped = stepped.is_some();
        let (registers, signal) = stepped.or_else(|| {
            request(libc::PTRACE_INTERRUPT, thread.0, 0).ok()?;
            wait_for(thread.0, Duration::from_secs(10))
        })?;
        slot.1 = registers;
        // The trap is the step's own end; anything else is the program's.
        slot.2 = if signal == libc::SIGTRAP { 0 } else { signal };
        has_stepped.then_some(())
    }
}

impl Drop for Snapshot<'_> {
    fn drop(&mut self) {
        for (tid, _, signal) in &self.threads {
            let _ = request(libc::PTRACE_DETACH, tid.0, *signal as usize);
        }
    }
}

impl Snapshot<'_> {
    /// Changes the program's memory.
    pub(super) fn write(&self, addr: ProcAddr, bytes: &[u8]) -> std::io::Result<()> {
        use std::os::unix::fs::FileExt as _;
        let path = format!("/proc/{}/mem", self.memory.pid);
        let memory = std::fs::OpenOptions::new().write(true).open(path)?;
        memory.write_all_at(bytes, addr.0)
    }
}

impl Stopped for Snapshot<'_> {
    fn binary(&self) -> &Arc<Binary> {
        &self.program.binary
    }

    fn bias(&self) -> LoadBias {
        self.program.bias
    }

    fn memory(&self) -> &dyn Memory {
        &self.memory
    }

    fn threads(&self) -> Vec<Tid> {
        self.threads.iter().map(|(tid, ..)| *tid).collect()
    }

    fn registers(&self, thread: Tid) -> Result<Registers, InspectError> {
        let found = self.threads.iter().find(|(tid, ..)| *tid == thread);
        found
            .map(|(_, registers, _)| registers.clone())
            .ok_or_else(|| InspectError::Failed(format!("no thread {}", thread.0)))
    }
}

/// The memory of a running process.
struct LiveMemory {
    pid: i32,
}

/// `IOV_MAX` of `include/uapi/linux/uio.h`.
const MOST_VECTORS: usize = 1024;

impl LiveMemory {
    /// How many bytes were read, of ranges in order; it ends where something cannot be read.
    fn gather(&self, reads: &mut [(ProcAddr, &mut [u8])]) -> usize {
        let remote: Vec<libc::iovec> = reads
            .iter()
            .map(|(addr, bytes)| libc::iovec {
                iov_base: addr.0 as *mut libc::c_void,
                iov_len: bytes.len(),
            })
            .collect();
        let local: Vec<libc::iovec> = reads
            .iter_mut()
            .map(|(_, bytes)| libc::iovec {
                iov_base: bytes.as_mut_ptr().cast(),
                iov_len: bytes.len(),
            })
            .collect();
        let (count, pid) = (reads.len() as u64, self.pid);
        // SAFETY: each local vector is a slice borrowed for writing; the remote ones are addresses in another process.
        let read = unsafe { libc::process_vm_readv(pid, local.as_ptr(), count, remote.as_ptr(), count, 0) };
        usize::try_from(read).unwrap_or(0)
    }
}

impl Memory for LiveMemory {
    fn read(&self, addr: ProcAddr, buf: &mut [u8]) -> Result<(), ReadError> {
        let wanted = buf.len();
        if self.gather(&mut [(addr, buf)]) == wanted {
            Ok(())
        } else {
            Err(ReadError::Fault(addr))
        }
    }

    fn read_many(&self, reads: &mut [BulkRead]) {
        for reads in reads.chunks_mut(MOST_VECTORS) {
            let mut vectors: Vec<(ProcAddr, &mut [u8])> =
                reads.iter_mut().map(|read| (read.addr, &mut *read.bytes)).collect();
            let mut left = self.gather(&mut vectors);
            for read in reads {
                if let Some(rest) = left.checked_sub(read.bytes.len()) {
                    left = rest;
                    read.result = Ok(());
                } else {
                    left = 0;
                    read.result = self.read(read.addr, &mut read.bytes);
                }
            }
        }
    }
}

/// Does something again until it gives an answer, for at most ten seconds.
pub(super) fn eventually<T>(mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let found = attempt();
        if found.is_some() || Instant::now() > end {
            return found;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
