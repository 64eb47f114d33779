//! Kernel probes on instructions of a traced program.

use std::ffi::CString;
use std::fs;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use super::testee::{Build, Deadline, Testee, build};
use crate::process::error::SiteError;
use crate::process::{ExitStatus, ProcessError, ProcessEvent};

const LIMIT: Duration = Duration::from_secs(240);

/// A uprobe that counts, by `perf_event_open(2)`; it goes with the descriptor.
fn uprobe(program: &Path, offset: u64, pid: i32) -> std::io::Result<OwnedFd> {
    let kind: u64 = fs::read_to_string("/sys/bus/event_source/devices/uprobe/type")?
        .trim()
        .parse()
        .map_err(std::io::Error::other)?;
    let path = CString::new(program.as_os_str().as_bytes())?;
    // `struct perf_event_attr` of include/uapi/linux/perf_event.h, as far as `config2`: type and size, config, period, sample type, read format, flags,
    // wakeup, and the probe's path and offset.
    let attributes: [u64; 9] = [kind | 72 << 32, 0, 0, 0, 0, 0, 0, path.as_ptr() as u64, offset];
    // SAFETY: the kernel reads the attributes and the path, which live until the call returns.
    let raw = unsafe { libc::syscall(libc::SYS_perf_event_open, attributes.as_ptr(), pid, -1, -1, 8) };
    if raw < 0 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just made and is owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(raw as i32) })
}

/// The kernel itself executes a probed instruction elsewhere and reports a step of it with another code: it is a step's end all the same, and a site
/// cannot be where the probe is.
#[test]
fn probed_instructions_are_stepped_and_are_no_sites() {
    let _deadline = Deadline::new(LIMIT);
    let Some(program) = build(Build::Plain) else {
        return;
    };
    let Some(mut testee) = Testee::launch(Build::Plain, &["passes", "1", "50", "0"]) else {
        return;
    };
    let (entry, end) = testee.function("main.leaf");
    // One that writes memory, which the kernel does not emulate, behind the entry.
    let probed = testee
        .instructions("main.leaf")
        .iter()
        .find(|(addr, instruction)| *addr != entry && instruction.op0_kind() == iced_x86::OpKind::Memory)
        .map(|(addr, _)| *addr);
    let (site, probed) = if let Some(probed) = probed {
        (entry, probed)
    } else {
        // It is the first: stepped to from the call.
        let call = testee
            .instructions("main.pass")
            .iter()
            .find(|(_, instruction)| instruction.is_call_near() && instruction.near_branch_target() == entry.0)
            .map(|(addr, _)| *addr)
            .expect("pass calls leaf");
        (call, entry)
    };
    let file = testee.bias.to_file(probed);
    let offset = testee.binary.file_offset(file).expect("code is in the file");
    let probe = match uprobe(&program, offset.0, testee.inferior.pid()) {
        Ok(probe) => probe,
        Err(error) => {
            eprintln!("SKIP: no kernel probe can be set here: {error}");
            return;
        }
    };
    let error = testee.inferior.insert_site(probed).expect_err("the probe is there");
    assert!(
        matches!(
            error,
            ProcessError::Site {
                why: SiteError::Occupied,
                ..
            }
        ),
        "{error}"
    );
    testee.inferior.insert_site(site).expect("a site");
    let (mut steps, mut over) = (0, 0);
    let (status, output) = testee.run(|inferior, event| {
        let ProcessEvent::Site { thread, .. } = event else {
            return;
        };
        loop {
            let before = inferior.general_registers(thread).expect("stopped").pc();
            inferior.resume(thread, true).expect("it steps");
            loop {
                match inferior.next_event().expect("an event") {
                    ProcessEvent::Stepped { thread: stepped } if stepped == thread => break,
                    ProcessEvent::ThreadBorn(_) | ProcessEvent::ThreadGone(_) => {}
                    event => panic!("{event:?}"),
                }
            }
            steps += 1;
            over += usize::from(before == Some(probed.0));
            let pc = inferior
                .general_registers(thread)
                .expect("stopped")
                .pc()
                .expect("known");
            assert_ne!(Some(pc), before, "the instruction was executed");
            if !(entry.0..end.0).contains(&pc) {
                break;
            }
        }
    });
    assert_eq!((status, output.as_str()), (ExitStatus::Code(0), "ok\n"));
    assert_eq!(over, 50, "{steps} steps");
    drop(probe);
}
