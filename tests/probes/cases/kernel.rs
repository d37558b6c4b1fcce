//! Attacks on the kernel's side of the walls: namespaces, the system call filter, its gates, shared memory of the host.

use std::io;

use tagout::sandbox::walls::syscalls::table;

use crate::aim::{Aim, THROUGH, say};
use crate::case::{Case, Control, Judge};
use crate::raw::{Argument, call, process_id_by_old_gate};
use crate::samples;

const fn told(
    name: &'static str,
    wall: &'static str,
    what: &'static str,
    attack: fn(&Aim) -> io::Result<()>,
) -> Case {
    Case::new(name, wall, what, Judge::Told, attack)
}

const NEW_USER: i64 = 0x1000_0000;

pub(super) const CASES: &[Case] = &[
    told(
        "namespace-unshare",
        "syscalls",
        "a nested user namespace by `unshare`",
        |_aim| call(libc::SYS_unshare, [NEW_USER.into()]).map(drop),
    )
    .lacking("machines that forbid user namespaces"),
    told(
        "namespace-clone",
        "syscalls",
        "a nested user namespace by `clone`",
        |_aim| {
            let flags = NEW_USER | i64::from(libc::SIGCHLD);
            child(call(libc::SYS_clone, [flags.into()]))
        },
    )
    .lacking("machines that forbid user namespaces"),
    told(
        "namespace-clone3",
        "syscalls",
        "a nested user namespace by `clone3`",
        |_aim| {
            let mut words = [0_u64; 8];
            words[0] = NEW_USER.unsigned_abs();
            words[4] = 17;
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
            child(call(
                libc::SYS_clone3,
                [(&bytes).into(), bytes.len().into()],
            ))
        },
    )
    .lacking("machines that forbid user namespaces"),
    told("mount", "syscalls", "mount a file system", |_aim| {
        let kind = b"tmpfs\0".as_slice();
        call(
            libc::SYS_mount,
            [
                kind.into(),
                b".\0".as_slice().into(),
                kind.into(),
                0.into(),
                0.into(),
            ],
        )
        .map(drop)
    })
    .control(Control::Namespace),
    told(
        "unmount",
        "syscalls",
        "take a mount away that covers something",
        |_aim| {
            let mut last = Err(io::ErrorKind::NotFound.into());
            for path in [b"/proc\0".as_slice(), b"/dev\0", b".git\0", b".env\0"] {
                last = call(libc::SYS_umount2, [path.into(), 2.into()]).map(drop);
                if last.is_ok() {
                    break;
                }
            }
            last
        },
    )
    .control(Control::None(
        "what a namespace inherits is locked there too",
    )),
    told(
        "change-root",
        "syscalls",
        "change the root folder",
        |_aim| call(libc::SYS_chroot, [b".\0".as_slice().into()]).map(drop),
    )
    .control(Control::Namespace),
    told("host-name", "syscalls", "rename the machine", |_aim| {
        call(
            libc::SYS_sethostname,
            [b"probe".as_slice().into(), 5.into()],
        )
        .map(drop)
    })
    .control(Control::Namespace),
    told("device-node", "syscalls", "make a device node", |_aim| {
        let null = 0x103_i64;
        let arguments = [
            (-100).into(),
            b"node\0".as_slice().into(),
            (0o20_666).into(),
            null.into(),
        ];
        call(libc::SYS_mknodat, arguments).map(drop)
    })
    .control(Control::None("user namespaces may not make them either")),
    told(
        "io-uring",
        "syscalls",
        "calls through io_uring, which no filter sees",
        |_aim| {
            let mut parameters = [0_u8; 120];
            call(
                libc::SYS_io_uring_setup,
                [1.into(), parameters.as_mut_slice().into()],
            )
            .map(drop)
        },
    )
    .lacking("machines that forbid it"),
    told("keys", "syscalls", "the caller's keyring", |_aim| {
        // KEYCTL_GET_KEYRING_ID of the session keyring.
        call(libc::SYS_keyctl, [0.into(), (-3).into(), 1.into()]).map(drop)
    })
    .lacking("machines that forbid them"),
    told(
        "page-faults",
        "syscalls",
        "stop the kernel at a page fault (`userfaultfd`)",
        |_aim| call(libc::SYS_userfaultfd, [1.into()]).map(drop),
    )
    .lacking("kernels without it"),
    told(
        "performance-counters",
        "syscalls",
        "performance counters",
        |_aim| {
            // PERF_TYPE_SOFTWARE, PERF_COUNT_SW_TASK_CLOCK, exclude_kernel: the mildest that there is.
            let mut attributes = [0_u8; 112];
            attributes[..4].copy_from_slice(&1_u32.to_ne_bytes());
            attributes[4..8].copy_from_slice(&112_u32.to_ne_bytes());
            attributes[8] = 1;
            attributes[40] = 0x60;
            let arguments = [
                attributes.as_slice().into(),
                0.into(),
                (-1).into(),
                (-1).into(),
                0.into(),
            ];
            call(libc::SYS_perf_event_open, arguments).map(drop)
        },
    )
    .lacking("machines that forbid them"),
    told(
        "personality",
        "syscalls",
        "memory that is executable wherever it is readable",
        |_aim| call(libc::SYS_personality, [0x40_0000.into()]).map(drop),
    ),
    told(
        "local-descriptor-table",
        "syscalls",
        "segments of one's own (`modify_ldt`)",
        |_aim| local_descriptors(),
    )
    .lacking("other processors than x86_64"),
    told("x32", "syscalls", "calls by x32 numbers", |_aim| {
        call(0x4000_0000 + libc::SYS_getpid, []).map(drop)
    })
    .lacking("kernels without x32"),
    told(
        "old-gate",
        "syscalls",
        "calls by the 32-bit gate (`int 0x80`)",
        |_aim| {
            let answer = process_id_by_old_gate();
            if answer > 0 {
                Ok(())
            } else {
                Err(io::Error::from_raw_os_error(38))
            }
        },
    )
    .lacking("kernels without the 32-bit gate"),
    told(
        "new-calls",
        "syscalls",
        "calls that are newer than the filter",
        |_aim| {
            let answer = call(libc::c_long::from(table::NUMBER_MAX) + 1, []);
            match answer {
                Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => Err(error),
                Ok(_) | Err(_) => Ok(()),
            }
        },
    )
    .control(Control::None("this kernel may know no newer call")),
    Case::new(
        "system-v-memory",
        "syscalls",
        "leave shared memory on the host",
        Judge::HostChanged,
        |aim| {
            let arguments = [aim.key.into(), 4096.into(), 0o1600.into()];
            call(libc::SYS_shmget, arguments).map(drop)
        },
    ),
    Case::new(
        "refused-calls",
        "syscalls",
        "every call of the table, with arguments that do no harm",
        Judge::Told,
        refused_calls,
    )
    .control(Control::None(
        "each call's own case is the row of the table",
    )),
];

/// A process made by mistake leaves at once; the judge hears of it.
fn child(made: io::Result<i64>) -> io::Result<()> {
    if made? == 0 {
        drop(call(libc::SYS_exit_group, [0.into()]));
    }
    Ok(())
}

/// Well if any call of the table is answered other than by the filter. That is said at the first one: some calls end the
/// process where no filter stops them.
fn refused_calls(aim: &Aim) -> io::Result<()> {
    let mut through = false;
    for sample in samples::all(aim.word.ends_with("-shared")) {
        let arguments = sample.arguments.map(Argument::Number);
        let answer = call(sample.number, arguments);
        let code = answer.as_ref().err().and_then(io::Error::raw_os_error);
        if code != Some(sample.refusal) {
            if !through {
                say(THROUGH);
            }
            through = true;
            say(&format!("{} is answered with {answer:?}", sample.name));
        }
    }
    Err(io::ErrorKind::PermissionDenied.into())
}

#[cfg(target_arch = "x86_64")]
fn local_descriptors() -> io::Result<()> {
    let mut table = [0_u8; 16];
    let arguments = [0.into(), table.as_mut_slice().into(), 16.into()];
    call(libc::SYS_modify_ldt, arguments).map(drop)
}

#[cfg(not(target_arch = "x86_64"))]
fn local_descriptors() -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
