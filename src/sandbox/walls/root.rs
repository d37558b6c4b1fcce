//! The wall of absence (levels A and B): a new root that holds only what is listed. What is not there cannot be read,
//! changed or connected to, whatever system call is used.

use std::cell::RefCell;
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
};

use serde::{Deserialize, Serialize};

use super::{Fault, Step, sys};

/// How a path of the host is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shown {
    /// It and all below it cannot be changed.
    ReadOnly,
    /// It can be changed, and the change stays on the host.
    Writable,
    /// A device node.
    Device,
}

/// One thing in the new root, in the order in which it is put there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Item {
    /// A path of the host at a path inside.
    Bind {
        /// On the host.
        source: PathBuf,
        /// Inside.
        target: PathBuf,
        /// How.
        shown: Shown,
    },
    /// A copy of a small file of the host, taken now.
    Copied {
        /// On the host, and inside.
        path: PathBuf,
    },
    /// A file of ours.
    File {
        /// Inside.
        target: PathBuf,
        /// What it holds.
        content: Vec<u8>,
    },
    /// A symlink.
    Link {
        /// Inside.
        target: PathBuf,
        /// Where it points.
        to: PathBuf,
    },
    /// An empty folder that only serves as a place.
    Folder {
        /// Inside.
        target: PathBuf,
    },
    /// An empty folder in memory that is written by the run and gone with it.
    Private {
        /// Inside.
        target: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A copy-on-write view of a folder.
    Overlay {
        /// What is shown at first, never written.
        lower: PathBuf,
        /// Where changes go, and overlay's own folder; in memory if there are none.
        upper: Option<(PathBuf, PathBuf)>,
        /// Inside.
        target: PathBuf,
    },
    /// A tree that somebody else opened (level A).
    Given {
        /// Its place among the trees.
        tree: usize,
        /// Inside.
        target: PathBuf,
    },
    /// A copy-on-write view made of such trees.
    GivenOverlay {
        /// What is shown at first, never written.
        lower: usize,
        /// The tree that holds the folder for changes and overlay's own, and their names in it; in memory without.
        upper: Option<(usize, String, String)>,
        /// Inside.
        target: PathBuf,
    },
    /// A file of ours over one that exists inside.
    MaskFile {
        /// Inside.
        target: PathBuf,
        /// What it holds; without, it can be neither read nor written.
        content: Option<Vec<u8>>,
    },
    /// An empty folder that cannot be entered over one that exists inside.
    MaskFolder {
        /// Inside.
        target: PathBuf,
    },
    /// A folder that is already inside cannot be moved or removed.
    Anchor {
        /// Inside.
        target: PathBuf,
    },
    /// What is already inside at this path cannot be changed any more.
    Freeze {
        /// Inside.
        target: PathBuf,
    },
}

/// The new root.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Root {
    /// What is in it.
    pub items: Vec<Item>,
    /// Bytes of memory that its private folders may hold together.
    pub memory_bytes: u64,
    /// Whether the run keeps uid 0: then nothing below /proc may be written, because the kernel asks only for the uid there.
    pub root_uid: bool,
}

/// A small file that is copied is at most this many bytes; a larger one is shown by a bind mount.
const COPIED_BYTES_MAX: u64 = 128 * 1024;
/// Room for them, in bytes, before the first is read: most need no more.
const COPIED_BYTES_START: usize = 16 * 1024;

/// No set-user-id programs, no device nodes (`MOUNT_ATTR_NOSUID`, `MOUNT_ATTR_NODEV`).
pub const QUIET: u64 = 0x2 | 0x4;
/// Nothing can be changed (`MOUNT_ATTR_RDONLY`).
pub const READ_ONLY: u64 = 0x1;
const NO_EXEC: u64 = 0x8;
const NO_SET_UID: u64 = 0x2;

/// Bytes that our own part of the new root takes at most.
const OWN_BYTES: u64 = 16 << 20;
/// Files and folders of the same.
const OWN_FILES: u64 = 8192;
/// Bytes of the limit that go with one file.
const ENTRY_BYTES_MIN: u64 = 16 * 1024;

/// A place in the new root where our own files and folders for masks lie.
const OURS: &str = ".tagout";

/// Makes the root and moves the calling process into it. The caller is pid 1 of new process and mount namespaces.
/// `trees` are those that items speak of by number.
///
/// # Errors
/// The step that failed. The process must then end: it may stand between two roots.
pub fn enter(root: &Root, trees: &[OwnedFd]) -> Result<(), Fault> {
    // What comes from the host is taken by descriptor before anything is covered.
    let mut taken = Vec::with_capacity(root.items.len());
    for item in &root.items {
        taken.push(take(item)?);
    }
    let process = new_file_system("proc", &[])?;
    let base = new_file_system(
        "tmpfs",
        &[
            ("size", &(root.memory_bytes + OWN_BYTES).to_string()),
            ("nr_inodes", &inodes(root.memory_bytes).to_string()),
            ("mode", "0755"),
        ],
    )?;
    // On top of "/" it hides nothing from a process whose root is the old one, and is reached by descriptor only.
    rustix::mount::move_mount(&base, "", CWD, "/", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .step("place the new root")?;
    rustix::process::fchdir(&base).step("enter the new root")?;
    // The modes of what is made here are meant as they are written.
    let umask = rustix::process::umask(Mode::empty());
    let builder = Builder {
        base,
        trees,
        plain: RefCell::new(HashSet::from([OsString::from(".")])),
        content: RefCell::new(Vec::with_capacity(COPIED_BYTES_START)),
    };
    builder.folder(Path::new(OURS), 0o700)?;
    builder.devices()?;
    builder.folder(Path::new("proc"), 0o555)?;
    let quiet = QUIET | NO_EXEC | if root.root_uid { READ_ONLY } else { 0 };
    sys::mount_attributes(process.as_fd(), false, quiet, 0).step("shield /proc")?;
    builder.attach(process, Path::new("proc"))?;
    for (number, (item, source)) in root.items.iter().zip(taken).enumerate() {
        builder.place(number, item, source)?;
    }
    rustix::process::umask(umask);
    sys::mount_attributes(builder.base.as_fd(), false, READ_ONLY | QUIET, 0)
        .step("freeze the new root")?;
    rustix::process::pivot_root(".", ".").step("pivot into the new root")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).step("let go of the old root")?;
    rustix::process::chdir("/").step("enter the new root")
}

/// Clones the mounts that an item shows. What has vanished since the plan was made is a fault: nothing is left out in silence.
fn take(item: &Item) -> Result<Option<OwnedFd>, Fault> {
    let (source, attributes) = match item {
        Item::Bind { source, shown, .. } => (
            source,
            match shown {
                Shown::ReadOnly => QUIET | READ_ONLY,
                Shown::Writable => QUIET,
                Shown::Device => NO_SET_UID | NO_EXEC,
            },
        ),
        Item::Copied { .. }
        | Item::File { .. }
        | Item::Link { .. }
        | Item::Folder { .. }
        | Item::Private { .. }
        | Item::Overlay { .. }
        | Item::Given { .. }
        | Item::GivenOverlay { .. }
        | Item::MaskFile { .. }
        | Item::MaskFolder { .. }
        | Item::Anchor { .. }
        | Item::Freeze { .. } => return Ok(None),
    };
    shielded(source, attributes).map(Some)
}

/// A clone of the mounts at a path of the host, with these attributes on each of them.
fn shielded(source: &Path, attributes: u64) -> Result<OwnedFd, Fault> {
    let tree = clone_tree(CWD, source, true)
        .map_err(|error| Fault::new(format!("show {}", source.display()), error))?;
    sys::mount_attributes(tree.as_fd(), true, attributes, 0)
        .map_err(|error| Fault::new(format!("shield {}", source.display()), error))?;
    Ok(tree)
}

/// Files that the run's private folders may hold. What a file counts at least is the same everywhere.
fn inodes(memory_bytes: u64) -> u64 {
    OWN_FILES + memory_bytes / ENTRY_BYTES_MIN
}

fn clone_tree(from: impl AsFd, path: &Path, recursive: bool) -> io::Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    Ok(rustix::mount::open_tree(from, path, flags)?)
}

fn new_file_system(kind: &str, options: &[(&str, &str)]) -> Result<OwnedFd, Fault> {
    let step = || format!("make a {kind} file system");
    let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)
        .map_err(|error| Fault::new(step(), error))?;
    for (key, value) in options {
        let set = if value.is_empty() {
            rustix::mount::fsconfig_set_flag(context.as_fd(), *key)
        } else {
            rustix::mount::fsconfig_set_string(context.as_fd(), *key, *value)
        };
        set.map_err(|error| Fault::new(format!("{} with {key}", step()), error))?;
    }
    rustix::mount::fsconfig_create(context.as_fd()).map_err(|error| Fault::new(step(), error))?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let attributes = if kind == "devpts" {
        MountAttrFlags::MOUNT_ATTR_NOSUID
    } else {
        attributes
    };
    rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
        .map_err(|error| Fault::new(step(), error))
}

struct Builder<'a> {
    base: OwnedFd,
    /// Folders of the new root that we made ourselves and mounted nothing on, relative to it. Below them a path needs no
    /// look at each of its parts: nobody else could have put a symlink there.
    plain: RefCell<HashSet<OsString>>,
    /// What was read of the file that was copied last; its memory serves for the next.
    content: RefCell<Vec<u8>>,
    trees: &'a [OwnedFd],
}

impl Builder<'_> {
    /// Opens a path of the new root, with symlinks kept inside it and the last one not followed.
    fn open(&self, target: &Path) -> io::Result<OwnedFd> {
        Ok(rustix::fs::openat2(
            &self.base,
            relative(target),
            OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW,
            Mode::empty(),
            ResolveFlags::IN_ROOT,
        )?)
    }

    /// Whether the folder that holds a path is one of ours.
    fn is_plain(&self, target: &Path) -> bool {
        self.plain.borrow().contains(parent(target).as_os_str())
    }

    /// The same, and the folder is made if it is not there.
    fn in_plain(&self, target: &Path) -> Result<bool, Fault> {
        let parent = parent(target);
        if !self.is_plain(target) && self.open(parent).is_err() {
            self.folder(parent, 0o755)?;
        }
        Ok(self.is_plain(target))
    }

    fn folder(&self, target: &Path, mode: u32) -> Result<(), Fault> {
        let target = relative(target);
        if target == Path::new(".") || self.plain.borrow().contains(target.as_os_str()) {
            return Ok(());
        }
        let mode = Mode::from_raw_mode(mode);
        let plain = self.in_plain(target)?;
        let made = if plain {
            rustix::fs::mkdirat(&self.base, target, mode).map_err(io::Error::from)
        } else {
            self.open(parent(target))
                .and_then(|parent| Ok(rustix::fs::mkdirat(parent, name(target), mode)?))
        };
        match made {
            Ok(()) if plain => {
                self.plain
                    .borrow_mut()
                    .insert(target.as_os_str().to_owned());
                Ok(())
            }
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(Fault::new(format!("make {}", target.display()), error)),
        }
    }

    fn file(&self, target: &Path, content: &[u8], mode: u32) -> Result<(), Fault> {
        let target = relative(target);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(mode);
        let made = if self.in_plain(target)? {
            rustix::fs::openat(&self.base, target, flags, mode).map_err(io::Error::from)
        } else {
            self.open(parent(target))
                .and_then(|parent| Ok(rustix::fs::openat(parent, name(target), flags, mode)?))
        };
        let written =
            made.and_then(|file| io::Write::write_all(&mut fs::File::from(file), content));
        match written {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(Fault::new(format!("write {}", target.display()), error)),
        }
    }

    /// What is mounted on a path may hold symlinks, and hides the folders of ours that are below. Forgetting one that only
    /// begins alike costs nothing but time.
    fn hide(&self, path: &Path) {
        let mut plain = self.plain.borrow_mut();
        if plain.contains(path.as_os_str()) {
            let hidden = path.as_os_str().as_encoded_bytes();
            plain.retain(|made| !made.as_encoded_bytes().starts_with(hidden));
        }
    }

    /// Mounts on a path that is there.
    fn attach(&self, tree: OwnedFd, target: &Path) -> Result<(), Fault> {
        let step = |error: io::Error| Fault::new(format!("mount on {}", target.display()), error);
        let path = relative(target);
        let from = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        if self.is_plain(path) {
            self.hide(path);
            rustix::mount::move_mount(tree, "", &self.base, path, from)
        } else {
            let place = self.open(path).map_err(step)?;
            let to = MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
            rustix::mount::move_mount(tree, "", place, "", from | to)
        }
        .map_err(|error| step(error.into()))
    }

    /// Mounts something of the new root over another place in it.
    fn cover(&self, source: &Path, target: &Path, attributes: u64) -> Result<(), Fault> {
        let step = |error: io::Error| Fault::new(format!("cover {}", target.display()), error);
        let clone = |from: &OwnedFd, path: &Path, flag| {
            let flags = OpenTreeFlags::OPEN_TREE_CLONE
                | OpenTreeFlags::OPEN_TREE_CLOEXEC
                | OpenTreeFlags::AT_RECURSIVE;
            Ok(rustix::mount::open_tree(from, path, flags | flag)?)
        };
        let tree = if self.is_plain(relative(source)) {
            clone(
                &self.base,
                relative(source),
                OpenTreeFlags::AT_SYMLINK_NOFOLLOW,
            )
        } else {
            self.open(source)
                .and_then(|source| clone(&source, Path::new(""), OpenTreeFlags::AT_EMPTY_PATH))
        }
        .map_err(step)?;
        if attributes != 0 {
            sys::mount_attributes(tree.as_fd(), true, attributes, 0).map_err(step)?;
        }
        self.attach(tree, target)
    }

    fn place(&self, number: usize, item: &Item, source: Option<OwnedFd>) -> Result<(), Fault> {
        let own = PathBuf::from(format!("{OURS}/{number}"));
        match (item, source) {
            (Item::Bind { target, .. }, Some(tree)) => self.bind(tree, target),
            (Item::Bind { .. }, None) => Ok(()),
            (Item::Copied { path }, _) => self.copied(path),
            (Item::File { target, content }, _) => self.file(target, content, 0o644),
            (Item::Link { target, to }, _) => self.link(target, to),
            (Item::Folder { target }, _) => self.folder(target, 0o755),
            (Item::Private { target, mode }, _) => {
                self.folder(target, *mode)?;
                // The new root is not frozen yet, and QUIET like its clone. What it shows still is the folder that we made.
                self.cover(target, target, 0)?;
                self.plain
                    .borrow_mut()
                    .insert(relative(target).as_os_str().to_owned());
                Ok(())
            }
            (
                Item::Overlay {
                    lower,
                    upper,
                    target,
                },
                _,
            ) => self.overlay(&own, lower, upper.as_ref(), target),
            (Item::Given { tree, target }, _) => self.bind(self.given(*tree)?, target),
            (
                Item::GivenOverlay {
                    lower,
                    upper,
                    target,
                },
                _,
            ) => self.given_overlay(&own, *lower, upper.as_ref(), target),
            (Item::MaskFile { target, content }, _) => {
                let mode = if content.is_some() { 0o444 } else { 0 };
                self.file(&own, content.as_deref().unwrap_or_default(), mode)?;
                self.cover(&own, target, QUIET | READ_ONLY)
            }
            (Item::MaskFolder { target }, _) => {
                self.folder(&own, 0)?;
                self.cover(&own, target, QUIET | READ_ONLY)
            }
            // The kernel moves no folder on which something is mounted.
            (Item::Anchor { target }, _) => self.cover(target, target, QUIET),
            (Item::Freeze { target }, _) => self.cover(target, target, QUIET | READ_ONLY),
        }
    }

    fn copied(&self, path: &Path) -> Result<(), Fault> {
        let step = |error| Fault::new(format!("read {}", path.display()), error);
        let mut content = self.content.borrow_mut();
        content.clear();
        fs::File::open(path)
            .and_then(|file| file.take(COPIED_BYTES_MAX + 1).read_to_end(&mut content))
            .map_err(step)?;
        if content.len() as u64 > COPIED_BYTES_MAX {
            return self.bind(shielded(path, QUIET | READ_ONLY)?, path);
        }
        self.file(path, &content, 0o644)
    }

    fn bind(&self, tree: OwnedFd, target: &Path) -> Result<(), Fault> {
        let meta = rustix::fs::fstat(&tree)
            .map_err(|error| Fault::new(format!("look at {}", target.display()), error))?;
        if FileType::from_raw_mode(meta.st_mode) == FileType::Directory {
            self.folder(target, 0o755)?;
        } else {
            self.place_for_file(target)?;
        }
        self.attach(tree, target)
    }

    /// An empty file to mount on, if nothing is there.
    fn place_for_file(&self, target: &Path) -> Result<(), Fault> {
        let path = relative(target);
        if !self.in_plain(path)? {
            return match self.open(path) {
                Ok(_there) => Ok(()),
                Err(_missing) => self.file(path, b"", 0o444),
            };
        }
        let mode = Mode::from_raw_mode(0o444);
        match rustix::fs::mknodat(&self.base, path, FileType::RegularFile, mode, 0) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
            Err(error) => Err(Fault::new(format!("make {}", target.display()), error)),
        }
    }

    fn link(&self, target: &Path, to: &Path) -> Result<(), Fault> {
        let path = relative(target);
        let made = if self.in_plain(path)? {
            rustix::fs::symlinkat(to, &self.base, path).map_err(io::Error::from)
        } else {
            self.open(parent(path))
                .and_then(|parent| Ok(rustix::fs::symlinkat(to, parent, name(path))?))
        };
        match made {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(Fault::new(format!("link {}", target.display()), error)),
        }
    }

    fn overlay(
        &self,
        own: &Path,
        lower: &Path,
        upper: Option<&(PathBuf, PathBuf)>,
        target: &Path,
    ) -> Result<(), Fault> {
        let text = |path: &Path| {
            path.to_str().map(str::to_owned).ok_or_else(|| {
                Fault::new(
                    "name an overlay folder",
                    io::Error::from(io::ErrorKind::InvalidInput),
                )
            })
        };
        let (upper, work) = match upper {
            Some((upper, work)) => (text(upper)?, text(work)?),
            None => {
                self.folder(&own.join("upper"), 0o755)?;
                self.folder(&own.join("work"), 0o755)?;
                (text(&own.join("upper"))?, text(&own.join("work"))?)
            }
        };
        // The planted attributes of a hostile tree must never count: only `user.` ones are read, and everything that acts
        // on them beyond opacity is off (kernel's overlayfs.rst).
        let tree = new_file_system(
            "overlay",
            &[
                ("lowerdir", &text(lower)?),
                ("upperdir", &upper),
                ("workdir", &work),
                ("userxattr", ""),
                ("volatile", ""),
                // Not `off`, which the kernel may read as `follow` and then refuses beside userxattr.
                ("redirect_dir", "nofollow"),
                ("metacopy", "off"),
                ("index", "off"),
                ("nfs_export", "off"),
            ],
        )?;
        self.folder(target, 0o755)?;
        self.attach(tree, target)
    }

    fn given(&self, tree: usize) -> Result<OwnedFd, Fault> {
        self.trees
            .get(tree)
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
            .and_then(OwnedFd::try_clone)
            .step("find a tree that was opened for us")
    }

    /// The layers are mounted for as long as overlayfs needs to find them: it keeps mounts of its own.
    fn given_overlay(
        &self,
        own: &Path,
        lower: usize,
        upper: Option<&(usize, String, String)>,
        target: &Path,
    ) -> Result<(), Fault> {
        let below = own.join("lower");
        self.bind(self.given(lower)?, &below)?;
        let above = own.join("above");
        let layers = match upper {
            Some((tree, upper, work)) => {
                self.bind(self.given(*tree)?, &above)?;
                Some((above.join(upper), above.join(work)))
            }
            None => None,
        };
        self.overlay(own, &below, layers.as_ref(), target)?;
        if layers.is_some() {
            rustix::mount::unmount(&above, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)
                .step("let go of the layers")?;
        }
        rustix::mount::unmount(&below, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)
            .step("let go of the layers")
    }

    /// The few devices that programs need, and terminals of the run's own.
    fn devices(&self) -> Result<(), Fault> {
        self.folder(Path::new("dev"), 0o755)?;
        for name in ["null", "zero", "full", "random", "urandom", "tty"] {
            let path = Path::new("/dev").join(name);
            let tree = clone_tree(CWD, &path, false)
                .map_err(|error| Fault::new(format!("show {}", path.display()), error))?;
            sys::mount_attributes(tree.as_fd(), false, NO_SET_UID | NO_EXEC, 0)
                .map_err(|error| Fault::new(format!("shield {}", path.display()), error))?;
            self.bind(tree, &path)?;
        }
        self.folder(Path::new("dev/pts"), 0o755)?;
        let terminals = new_file_system(
            "devpts",
            &[("newinstance", ""), ("ptmxmode", "0666"), ("mode", "0600")],
        )?;
        self.attach(terminals, Path::new("dev/pts"))?;
        for (name, to) in [
            ("ptmx", "pts/ptmx"),
            ("fd", "/proc/self/fd"),
            ("stdin", "/proc/self/fd/0"),
            ("stdout", "/proc/self/fd/1"),
            ("stderr", "/proc/self/fd/2"),
        ] {
            self.link(&Path::new("dev").join(name), Path::new(to))?;
        }
        Ok(())
    }
}

/// The folder that holds a relative path.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    }
}

fn name(path: &Path) -> &OsStr {
    path.file_name().unwrap_or(".".as_ref())
}

/// A path from the root as openat2(2) wants it below a descriptor.
fn relative(path: &Path) -> &Path {
    let path = path.strip_prefix("/").unwrap_or(path);
    if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    }
}
