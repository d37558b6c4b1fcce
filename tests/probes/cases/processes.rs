//! Attacks on processes beside the run, on privilege, and on the end of the run.

use std::fs;
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::aim::{Aim, say, say_bytes};
use crate::case::{Case, Control, Judge, Need};
use crate::raw::{Argument, call};

const fn spied(name: &'static str, what: &'static str, attack: fn(&Aim) -> io::Result<()>) -> Case {
    Case::new(name, "processes", what, Judge::SecretRead, attack).need(Need::Victim)
}

const fn harmed(
    name: &'static str,
    what: &'static str,
    attack: fn(&Aim) -> io::Result<()>,
) -> Case {
    Case::new(name, "processes", what, Judge::VictimHarmed, attack).need(Need::Victim)
}

const fn told(
    name: &'static str,
    wall: &'static str,
    what: &'static str,
    attack: fn(&Aim) -> io::Result<()>,
) -> Case {
    Case::new(name, wall, what, Judge::Told, attack)
}

pub(super) const CASES: &[Case] = &[
    spied("environ", "read another process's environment", |aim| {
        let (victim, _) = aim.victim()?;
        say_bytes(&fs::read(format!("/proc/{victim}/environ"))?);
        Ok(())
    }),
    spied(
        "environ-of-all",
        "read every environment that can be found",
        |_aim| everywhere("environ"),
    ),
    spied(
        "command-lines",
        "read every command line that can be found",
        |_aim| everywhere("cmdline"),
    )
    .reported("c"),
    spied(
        "memory",
        "read another process's memory by `/proc/PID/mem`",
        |aim| {
            let (victim, address) = aim.victim()?;
            let mut memory = fs::File::open(format!("/proc/{victim}/mem"))?;
            memory.seek(SeekFrom::Start(address))?;
            let mut bytes = [0_u8; 64];
            io::Read::read_exact(&mut memory, &mut bytes)?;
            say_bytes(&bytes);
            Ok(())
        },
    ),
    spied(
        "memory-by-call",
        "read another process's memory by `process_vm_readv`",
        |aim| {
            let (victim, address) = aim.victim()?;
            let mut bytes = [0_u8; 64];
            let own = vector(bytes.as_mut_ptr() as u64);
            let theirs = vector(address);
            let vectors = [
                own.as_slice().into(),
                1.into(),
                theirs.as_slice().into(),
                1.into(),
                0.into(),
            ];
            let [own, one, theirs, another, flags] = vectors;
            call(
                libc::SYS_process_vm_readv,
                [victim.into(), own, one, theirs, another, flags],
            )?;
            say_bytes(&bytes);
            Ok(())
        },
    ),
    spied(
        "descriptor",
        "take another process's descriptor by `pidfd_getfd`",
        |aim| {
            let (victim, _) = aim.victim()?;
            let process = call(libc::SYS_pidfd_open, [victim.into(), 0.into()])?;
            let file = call(libc::SYS_pidfd_getfd, [process.into(), 7.into(), 0.into()])?;
            let mut bytes = [0_u8; 64];
            call(
                libc::SYS_pread64,
                [
                    file.into(),
                    bytes.as_mut_slice().into(),
                    64.into(),
                    0.into(),
                ],
            )?;
            say_bytes(&bytes);
            Ok(())
        },
    ),
    spied(
        "descriptor-by-path",
        "open another process's descriptors by `/proc/PID/fd`",
        |aim| {
            let (victim, _) = aim.victim()?;
            say_bytes(&fs::read(format!("/proc/{victim}/fd/7"))?);
            Ok(())
        },
    ),
    told(
        "trace",
        "processes",
        "attach to another process as a debugger",
        |aim| {
            let (victim, _) = aim.victim()?;
            // PTRACE_SEIZE stops nothing and ends with this process.
            call(
                libc::SYS_ptrace,
                [0x4206.into(), victim.into(), 0.into(), 0.into()],
            )
            .map(drop)
        },
    )
    .need(Need::Victim),
    harmed("kill", "kill another process", |aim| {
        let (victim, _) = aim.victim()?;
        call(libc::SYS_kill, [victim.into(), 9.into()]).map(drop)
    }),
    harmed(
        "kill-by-descriptor",
        "kill another process by a pidfd",
        |aim| {
            let (victim, _) = aim.victim()?;
            let process = call(libc::SYS_pidfd_open, [victim.into(), 0.into()])?;
            let nothing = 0_i64;
            call(
                libc::SYS_pidfd_send_signal,
                [process.into(), 9.into(), nothing.into(), 0.into()],
            )
            .map(drop)
        },
    ),
    harmed("limit", "lower another process's limits", |aim| {
        let (victim, _) = aim.victim()?;
        let small = [16_u64.to_ne_bytes(), 16_u64.to_ne_bytes()].concat();
        call(
            libc::SYS_prlimit64,
            [victim.into(), 7.into(), (&small).into(), 0.into()],
        )
        .map(drop)
    }),
    harmed("priority", "lower another process's priority", |aim| {
        let (victim, _) = aim.victim()?;
        call(libc::SYS_setpriority, [0.into(), victim.into(), 19.into()]).map(drop)
    }),
    harmed(
        "processor",
        "bind another process to one processor",
        |aim| {
            let (victim, _) = aim.victim()?;
            let first = 1_u64.to_ne_bytes();
            let arguments = [victim.into(), 8.into(), first.as_slice().into()];
            call(libc::SYS_sched_setaffinity, arguments).map(drop)
        },
    ),
    harmed(
        "scheduler",
        "make another process wait for all others",
        |aim| {
            let (victim, _) = aim.victim()?;
            // SCHED_IDLE with priority 0.
            let nothing = 0_u32.to_ne_bytes();
            let arguments = [victim.into(), 5.into(), nothing.as_slice().into()];
            call(libc::SYS_sched_setscheduler, arguments).map(drop)
        },
    ),
    harmed(
        "out-of-memory-score",
        "offer another process to the out-of-memory killer",
        |aim| {
            let (victim, _) = aim.victim()?;
            let path = format!("/proc/{victim}/oom_score_adj");
            fs::OpenOptions::new()
                .write(true)
                .open(path)?
                .write_all(b"999")
        },
    ),
    told("capabilities", "uid", "hold any capability", |_aim| {
        let status = fs::read_to_string("/proc/self/status")?;
        let held = status
            .lines()
            .filter(|line| {
                ["CapInh", "CapPrm", "CapEff", "CapAmb"]
                    .iter()
                    .any(|set| line.starts_with(set))
            })
            .any(|line| {
                line.bytes()
                    .any(|byte| matches!(byte, b'1'..=b'9' | b'a'..=b'f'))
                    && !line.ends_with("0000000000000000")
            });
        refused_unless(held)
    })
    .control(Control::Namespace),
    told(
        "new-privileges",
        "uid",
        "start a set-user-id program with effect (sudo, su)",
        |_aim| {
            let status = fs::read_to_string("/proc/self/status")?;
            refused_unless(!status.contains("NoNewPrivs:\t1"))
        },
    ),
    told("become-another", "uid", "become another user", |_aim| {
        call(
            libc::SYS_setresuid,
            [12345.into(), 12345.into(), 12345.into()],
        )
        .map(drop)
    })
    .control(Control::None(
        "only root may, and no control runs privileged on the host",
    )),
    told("groups", "uid", "set supplementary groups", |_aim| {
        let group = 12345_u32.to_ne_bytes();
        call(libc::SYS_setgroups, [1.into(), group.as_slice().into()]).map(drop)
    })
    .control(Control::None(
        "only root may, and no control runs privileged on the host",
    )),
    Case::new(
        "daemon",
        "processes",
        "leave a daemon in a session of its own",
        Judge::Outlived,
        daemon,
    ),
    Case::new(
        "daemon-deaf",
        "processes",
        "leave one that ignores every signal it can",
        Judge::Outlived,
        |aim| {
            // A shell, because ignored signals stay ignored over exec.
            let script = "trap '' HUP INT TERM QUIT USR1 USR2 ALRM PIPE; exec setsid sleep \"$0\"";
            background(Command::new("sh").args(["-c", script, &number(aim)]))
        },
    ),
    Case::new(
        "daemon-terminated",
        "processes",
        "leave a daemon where Tagout itself is sent SIGTERM",
        Judge::Outlived,
        outlive,
    )
    .need(Need::Signal(Signal::TERM)),
    Case::new(
        "daemon-killed",
        "processes",
        "leave a daemon where Tagout itself is killed (SIGKILL)",
        Judge::Outlived,
        outlive,
    )
    .need(Need::Signal(Signal::KILL)),
];

/// An iovec of 64 bytes.
fn vector(address: u64) -> Vec<u8> {
    [address.to_ne_bytes(), 64_u64.to_ne_bytes()].concat()
}

fn refused_unless(through: bool) -> io::Result<()> {
    if through {
        Ok(())
    } else {
        Err(io::ErrorKind::PermissionDenied.into())
    }
}

/// Reads one file of every process.
fn everywhere(name: &str) -> io::Result<()> {
    for entry in fs::read_dir("/proc")?.flatten() {
        // The own ones tell nothing of others.
        let own = entry.file_name().to_string_lossy() == std::process::id().to_string();
        if let (false, Ok(bytes)) = (own, fs::read(entry.path().join(name))) {
            say_bytes(&bytes);
        }
    }
    Ok(())
}

/// How long a daemon sleeps, as `sleep` takes it; the judge finds it by that argument and ends it.
pub(crate) fn number(aim: &Aim) -> String {
    format!("60.{}", aim.key)
}

fn background(command: &mut Command) -> io::Result<()> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()?;
    // It has a moment to leave our session.
    std::thread::sleep(std::time::Duration::from_millis(30));
    say("daemon");
    Ok(())
}

fn daemon(aim: &Aim) -> io::Result<()> {
    let script = "setsid sleep \"$0\" & exit 0";
    background(Command::new("sh").args(["-c", script, &number(aim)]))
}

/// Leaves a daemon, and asks for the signal.
fn outlive(aim: &Aim) -> io::Result<()> {
    daemon(aim)?;
    say(SIGNAL);
    std::thread::sleep(LINGER);
    Ok(())
}

/// How long the attack waits to be ended with everything else.
const LINGER: std::time::Duration = std::time::Duration::from_secs(30);
/// The line that asks for the signal.
pub(crate) const SIGNAL: &str = "now";

/// The process beside the run: holds a secret in its memory, its environment, its command line and descriptor 7,
/// allows everybody to trace it, and ends when its stdin does.
pub(crate) fn victim(secret_file: &str) -> io::Result<()> {
    let secret = format!("{}-in-memory{}", crate::aim::SECRET, " ".repeat(64));
    // PR_SET_PTRACER, PR_SET_PTRACER_ANY: where Yama is on, a sibling may not trace otherwise.
    let asked = call(libc::SYS_prctl, [0x5961_6d61.into(), Argument::Number(-1)]);
    drop(asked);
    let file = fs::File::open(secret_file)?;
    let number = std::os::fd::AsRawFd::as_raw_fd(&file);
    call(libc::SYS_dup3, [number.into(), 7.into(), 0.into()])?;
    say(&format!("{}", secret.as_ptr() as u64));
    io::copy(&mut io::stdin(), &mut io::sink())?;
    drop(secret);
    Ok(())
}
