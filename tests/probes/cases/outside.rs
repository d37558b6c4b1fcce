//! Attacks that read, list or run what is outside of the workspace, and the settings of the machine.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::Path;
use std::process::Command;

use rustix::fs::CWD;

use crate::aim::{Aim, say, say_bytes};
use crate::case::{Case, Control, Judge, Need};
use crate::raw::call;

const PRIVILEGED: Control =
    Control::None("only root may, and no control runs privileged on the host");

const fn read(name: &'static str, what: &'static str, attack: fn(&Aim) -> io::Result<()>) -> Case {
    Case::new(name, "files", what, Judge::SecretRead, attack)
}

const fn told(
    name: &'static str,
    wall: &'static str,
    what: &'static str,
    attack: fn(&Aim) -> io::Result<()>,
) -> Case {
    Case::new(name, wall, what, Judge::Told, attack)
}

/// Where credentials live, below a home. The judge puts a secret into each.
pub(crate) const CREDENTIALS: &[&str] = &[
    ".ssh/id_ed25519",
    ".aws/credentials",
    ".config/gcloud/application_default_credentials.json",
    ".azure/accessTokens.json",
    ".docker/config.json",
    ".kube/config",
    ".netrc",
    ".git-credentials",
    ".gitconfig",
    ".config/gh/hosts.yml",
    ".npmrc",
    ".yarnrc.yml",
    ".pypirc",
    ".config/pip/pip.conf",
    ".cargo/credentials.toml",
    ".cargo/config.toml",
    ".m2/settings.xml",
    ".gradle/gradle.properties",
    ".nuget/NuGet/NuGet.Config",
    ".config/composer/auth.json",
    ".gem/credentials",
    ".bash_history",
];

pub(super) const CASES: &[Case] = &[
    read("read", "read a file", |aim| shown(&aim.victim_file())),
    read(
        "read-through-proc-root",
        "read a file through `/proc/PID/root` of other processes",
        |aim| {
            let path = aim.victim_file();
            let below = path.strip_prefix("/").unwrap_or(&path);
            let mut last = Err(io::ErrorKind::NotFound.into());
            for process in ["1", "self"] {
                last = shown(&Path::new("/proc").join(process).join("root").join(below));
            }
            last
        },
    ),
    read(
        "read-inherited-descriptor",
        "read from a descriptor that the caller left open",
        |_aim| {
            let mut bytes = vec![0_u8; 4096];
            let length = bytes.len();
            let arguments = [
                9.into(),
                bytes.as_mut_slice().into(),
                length.into(),
                0.into(),
            ];
            call(libc::SYS_pread64, arguments)?;
            say_bytes(&bytes);
            Ok(())
        },
    )
    .need(Need::Descriptors),
    read("list", "list a folder", |aim| {
        for entry in fs::read_dir(&aim.outside)? {
            say(&entry?.file_name().to_string_lossy());
        }
        Ok(())
    }),
    read("run", "run a program", |aim| {
        let output = Command::new(aim.out("tool")).output()?;
        say_bytes(&output.stdout);
        Ok(())
    }),
    read(
        "credentials",
        "read the credentials in the user's home",
        |aim| {
            let mut last = Err(io::ErrorKind::NotFound.into());
            for name in CREDENTIALS {
                last = shown(&aim.home.join(name));
            }
            last
        },
    ),
    told(
        "existence",
        "metadata",
        "find out whether a path exists",
        |aim| fs::metadata(aim.victim_file()).map(drop),
    )
    .reported("c"),
    told(
        "watch",
        "metadata",
        "watch a folder for what happens in it",
        |aim| {
            let watch = call(libc::SYS_inotify_init1, [0.into()])?;
            let path = crate::aim::text(&aim.outside);
            let all = 0xFFF_i64;
            call(
                libc::SYS_inotify_add_watch,
                [watch.into(), (&path).into(), all.into()],
            )
            .map(drop)
        },
    )
    .reported("c"),
    told(
        "secrets-of-the-machine",
        "files",
        "open `/etc/shadow` and its kin",
        |_aim| {
            opened(
                &[
                    "/etc/shadow",
                    "/etc/gshadow",
                    "/etc/sudoers",
                    "/root/.ssh/authorized_keys",
                ],
                false,
            )
        },
    )
    .control(PRIVILEGED),
    told(
        "disks-and-memory",
        "files",
        "open the disks and the memory of the machine",
        |_aim| {
            opened(
                &[
                    "/dev/mem",
                    "/dev/kmsg",
                    "/dev/vda",
                    "/dev/sda",
                    "/dev/nvme0n1",
                    "/dev/loop-control",
                    "/dev/fuse",
                    "/dev/kvm",
                    "/dev/net/tun",
                    "/proc/kcore",
                ],
                false,
            )
        },
    )
    .control(PRIVILEGED),
    told(
        "kernel-settings",
        "files",
        "open kernel settings for writing",
        |_aim| {
            opened(
                &[
                    "/proc/sys/kernel/core_pattern",
                    "/proc/sys/kernel/modprobe",
                    "/proc/sys/vm/overcommit_memory",
                    "/proc/sysrq-trigger",
                    "/sys/kernel/uevent_helper",
                    "/sys/fs/cgroup/cgroup.procs",
                    "/sys/fs/cgroup/release_agent",
                    "/proc/self/oom_score_adj/../../../sys/kernel/core_pattern",
                ],
                true,
            )
        },
    )
    .control(PRIVILEGED),
    told(
        "file-by-number",
        "syscalls",
        "open a file by its handle",
        |aim| {
            let path = crate::aim::text(&aim.outside);
            let mut handle = [0_u8; 136];
            handle[0] = 128;
            let mut mount = [0_u8; 4];
            let arguments = [
                CWD_NUMBER.into(),
                (&path).into(),
                handle.as_mut_slice().into(),
                mount.as_mut_slice().into(),
                0.into(),
            ];
            call(libc::SYS_name_to_handle_at, arguments)?;
            let folder = rustix::fs::openat(
                CWD,
                ".",
                rustix::fs::OFlags::RDONLY,
                rustix::fs::Mode::empty(),
            )?;
            let number = std::os::fd::AsRawFd::as_raw_fd(&folder);
            call(
                libc::SYS_open_by_handle_at,
                [number.into(), handle.as_slice().into(), 0.into()],
            )
            .map(drop)
        },
    )
    .control(PRIVILEGED),
];

const CWD_NUMBER: i64 = -100;

fn shown(path: &Path) -> io::Result<()> {
    say_bytes(&fs::read(path)?);
    Ok(())
}

/// Opens and closes; nothing is read or written. Well if any of them opens.
fn opened(paths: &[&str], write: bool) -> io::Result<()> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for path in paths {
        match OpenOptions::new().read(!write).write(write).open(path) {
            Ok(_file) => {
                say(path);
                return Ok(());
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}
