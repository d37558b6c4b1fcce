//! Attacks that write outside of the workspace.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags, Timespec, Timestamps, XattrFlags};

use crate::aim::Aim;
use crate::case::{Case, Judge, Need};

const fn case(name: &'static str, what: &'static str, attack: fn(&Aim) -> io::Result<()>) -> Case {
    Case::new(name, "files", what, Judge::HostChanged, attack)
}

const fn metadata(
    name: &'static str,
    what: &'static str,
    attack: fn(&Aim) -> io::Result<()>,
) -> Case {
    Case::new(name, "metadata", what, Judge::HostChanged, attack).reported("c")
}

pub(super) const CASES: &[Case] = &[
    case("write", "write into a file", |aim| {
        scribble(&aim.victim_file())
    }),
    case("create", "make a file", |aim| {
        fs::write(aim.out("new"), "x")
    }),
    case("create-folder", "make a folder", |aim| {
        fs::create_dir(aim.out("new"))
    }),
    case("create-symlink", "make a symlink", |aim| {
        symlink("victim", aim.out("new"))
    }),
    case("create-fifo", "make a FIFO", |aim| {
        let fifo = rustix::fs::FileType::Fifo;
        Ok(rustix::fs::mknodat(
            CWD,
            aim.out("new"),
            fifo,
            Mode::RUSR,
            0,
        )?)
    }),
    case(
        "through-symlink",
        "write through a symlink of the workspace",
        |aim| {
            symlink(aim.victim_file(), "link")?;
            scribble(Path::new("link"))
        },
    ),
    case(
        "through-symlink-chain",
        "write through a chain of symlinks",
        symlink_chain,
    ),
    case("through-parent", "write through `..`", through_parent),
    case(
        "through-proc-root",
        "write through `/proc/self/root`",
        |aim| {
            let below = Path::new("/proc/self/root").join(relative(&aim.victim_file()));
            scribble(&below)
        },
    ),
    case(
        "swapped-link",
        "write to a path that another process swaps for a symlink",
        swapped_link,
    )
    .lacking("machines too busy for a race"),
    case(
        "hard-link-out",
        "link a file of the host into the workspace and write it",
        |aim| {
            fs::hard_link(aim.victim_file(), "hard")?;
            scribble(Path::new("hard"))
        },
    ),
    case(
        "hard-link-in",
        "link a file of the workspace to the outside",
        |aim| fs::hard_link("a.txt", aim.out("hard")),
    ),
    case("truncate", "cut a file by its path", |aim| {
        let path = crate::aim::text(&aim.victim_file());
        crate::raw::call(libc::SYS_truncate, [(&path).into(), 0.into()]).map(drop)
    }),
    case("rename", "rename a file outside", |aim| {
        fs::rename(aim.victim_file(), aim.out("moved"))
    }),
    case(
        "rename-onto",
        "rename a file of the workspace onto one outside",
        |aim| fs::rename("a.txt", aim.victim_file()),
    ),
    case(
        "rename-away",
        "rename a file outside into the workspace",
        |aim| fs::rename(aim.victim_file(), "taken"),
    ),
    case(
        "rename-exchange",
        "exchange a file of the workspace with one outside",
        |aim| {
            let exchange = RenameFlags::EXCHANGE;
            Ok(rustix::fs::renameat_with(
                CWD,
                "a.txt",
                CWD,
                aim.victim_file(),
                exchange,
            )?)
        },
    ),
    case("unlink", "remove a file", |aim| {
        fs::remove_file(aim.victim_file())
    }),
    case("remove-folder", "remove a folder", |aim| {
        fs::remove_dir(aim.out("folder"))
    }),
    case(
        "inherited-descriptor",
        "write to a descriptor that the caller left open",
        |_aim| {
            crate::raw::call(
                libc::SYS_write,
                [9.into(), b"x\n".as_slice().into(), 2.into()],
            )
            .map(drop)
        },
    )
    .need(Need::Descriptors),
    case(
        "inherited-folder",
        "make a file below a folder that the caller left open",
        |_aim| {
            let flags = OFlags::CREATE | OFlags::WRONLY;
            let number = flags.bits();
            let arguments = [
                8.into(),
                b"new\0".as_slice().into(),
                number.into(),
                0o600.into(),
            ];
            crate::raw::call(libc::SYS_openat, arguments).map(drop)
        },
    )
    .need(Need::Descriptors),
    case(
        "shared-memory-folder",
        "leave a file in `/dev/shm`",
        |aim| fs::write(Path::new("/dev/shm").join(&aim.word), "x"),
    )
    .reported("c"),
    case("shared-temporary-folder", "leave a file in `/tmp`", |aim| {
        fs::write(Path::new("/tmp").join(&aim.word), "x")
    }),
    metadata("chmod", "change a file's mode", |aim| {
        fs::set_permissions(aim.victim_file(), fs::Permissions::from_mode(0o777))
    }),
    metadata(
        "chmod-by-descriptor",
        "change a mode through an `O_PATH` descriptor",
        |aim| {
            let file = rustix::fs::open(aim.victim_file(), OFlags::PATH, Mode::empty())?;
            let number = std::os::fd::AsRawFd::as_raw_fd(&file);
            let through = format!("/proc/self/fd/{number}");
            fs::set_permissions(through, fs::Permissions::from_mode(0o777))
        },
    ),
    metadata("chown", "change a file's owner, to the same one", |aim| {
        let user = rustix::process::getuid().as_raw();
        std::os::unix::fs::chown(aim.victim_file(), Some(user), None)
    }),
    metadata("utime", "change a file's times", |aim| {
        let time = Timespec {
            tv_sec: 1,
            tv_nsec: 0,
        };
        let times = Timestamps {
            last_access: time,
            last_modification: time,
        };
        Ok(rustix::fs::utimensat(
            CWD,
            aim.victim_file(),
            &times,
            AtFlags::empty(),
        )?)
    }),
    metadata("set-attribute", "set an extended attribute", |aim| {
        let flags = XattrFlags::empty();
        Ok(rustix::fs::setxattr(
            aim.victim_file(),
            "user.probe",
            b"x",
            flags,
        )?)
    })
    .lacking("file systems without them"),
];

fn scribble(path: &Path) -> io::Result<()> {
    OpenOptions::new()
        .append(true)
        .open(path)?
        .write_all(b"changed\n")
}

fn relative(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

fn symlink_chain(aim: &Aim) -> io::Result<()> {
    symlink(&aim.outside, "one")?;
    symlink("one", "two")?;
    symlink("./two/./victim", "three")?;
    scribble(Path::new("three"))
}

fn through_parent(aim: &Aim) -> io::Result<()> {
    let up = "../".repeat(aim.workspace.components().count() + 1);
    scribble(&Path::new(&up).join(relative(&aim.victim_file())))
}

/// Turns of the race between the two.
const TURNS: u32 = 1500;

fn swapped_link(aim: &Aim) -> io::Result<()> {
    fs::write("swap", "mine")?;
    symlink(aim.victim_file(), "swap2")?;
    let swapper = std::thread::spawn(|| {
        for _ in 0..TURNS {
            rustix::fs::renameat_with(CWD, "swap", CWD, "swap2", RenameFlags::EXCHANGE)?;
            // On a busy machine the two would otherwise run one after the other.
            std::thread::yield_now();
        }
        Ok::<(), rustix::io::Errno>(())
    });
    let mut last = Ok(());
    while !swapper.is_finished() {
        last = scribble(Path::new("swap"));
    }
    swapper.join().expect("it does not panic")?;
    last
}
