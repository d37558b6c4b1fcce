//! The launcher's side of level A: opens with the caller's own rights whatever the run is to see, and asks the helper.
//! It must never hand over a descriptor that the plan does not name.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{MemfdFlags, Mode, OFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::super::channel::Channel;
use super::super::scene::Scene;
use super::super::streams;
use super::super::system::{ETC, SYSTEM};
use super::super::walls::root::{Item, Shown};
use super::super::walls::{Fault, Step, sys};
use super::inside::Stand;
use super::request::{self, Answer, Request, Tree};
use crate::wire::{HELPER_WORD, Network, Plan};

/// Where sudo is looked for.
const SUDO: &[&str] = &["/usr/bin/sudo", "/bin/sudo", "/run/wrappers/bin/sudo"];
/// Where an administrator reads on.
const MEND: &str = "docs/levels.md, How to get level a";
/// Bytes of what sudo says that are kept.
const COMPLAINT_BYTES_MAX: u64 = 400;

/// One call, ready to be made.
#[derive(Debug)]
pub struct Call {
    program: Program,
    request: Request,
    trees: Vec<OwnedFd>,
    stand: OwnedFd,
    door: Option<BorrowedFd<'static>>,
    here: OwnedFd,
    there: OwnedFd,
    complaint: File,
}

/// How the helper becomes root.
#[derive(Debug)]
enum Program {
    /// The caller is root.
    Own,
    /// sudo makes it so.
    Sudo { sudo: PathBuf, helper: PathBuf },
}

impl Call {
    /// Opens everything.
    ///
    /// # Errors
    /// There is no helper here, or a path of the plan cannot be opened.
    pub fn prepare(plan: &Plan, scene: &Scene) -> Result<Self, Fault> {
        let program = Program::find()?;
        let mut trees = Trees::default();
        let mut root = scene.root.clone();
        for item in &mut root.items {
            trees.take(item)?;
        }
        let door = match &plan.network {
            Network::None => None,
            Network::Egress { door, .. } => {
                Some(sys::borrow_descriptor(*door).step("find the door")?)
            }
        };
        let stand = Stand {
            plan: plan.clone(),
            root,
            rules: scene.rules.clone(),
            environment: scene.environment.clone(),
            folder: scene.folder.clone(),
            walls: scene.walls.clone(),
        };
        let (here, there) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .step("make a line to the helper")?;
        streams::open_pipes_to_the_run();
        Ok(Self {
            program,
            request: Request {
                build: request::BUILD.to_owned(),
                memory_bytes: plan.limits.memory_bytes,
                processes: plan.limits.processes,
                door: door.is_some(),
                trees: trees.shown,
            },
            trees: trees.opened,
            stand: written(&stand).step("write what stands inside")?,
            door,
            here,
            there,
            complaint: memory_file().step("make a file in memory")?,
        })
    }

    /// Sends the request and becomes the helper; returns only if that cannot be.
    pub fn become_helper(&self, stage: &Channel, init: &Channel) -> i32 {
        let Err(error) = self.try_become(stage, init);
        // It is told as what sudo would have said.
        drop((&self.complaint).write_all(error.to_string().as_bytes()));
        1
    }

    fn try_become(&self, stage: &Channel, init: &Channel) -> io::Result<std::convert::Infallible> {
        let (input, output, errors) = (io::stdin(), io::stdout(), io::stderr());
        let mut beside = vec![
            stage.as_fd(),
            init.as_fd(),
            input.as_fd(),
            output.as_fd(),
            errors.as_fd(),
            self.stand.as_fd(),
        ];
        beside.extend(self.door);
        beside.extend(self.trees.iter().map(AsFd::as_fd));
        request::send(self.here.as_fd(), &self.request, &beside)?;
        // Without a terminal sudo makes none of its own, and hears no key that is meant for the command.
        rustix::process::setsid()?;
        let mut command = match &self.program {
            Program::Own => Command::new("/proc/self/exe"),
            Program::Sudo { sudo, helper } => {
                let mut command = Command::new(sudo);
                command.arg("-n").arg(helper);
                command
            }
        };
        Err(command
            .arg(HELPER_WORD)
            .env_clear()
            .stdin(Stdio::from(self.there.try_clone()?))
            .stdout(Stdio::null())
            .stderr(Stdio::from(self.complaint.try_clone()?))
            .exec())
    }

    /// What the helper said in the end, once it is gone.
    #[must_use]
    pub fn answer(self) -> Answer {
        drop(self.there);
        if let Some(answer) = request::take_answer(&self.here) {
            return answer;
        }
        let mut complaint = self.complaint;
        let mut text = String::new();
        let read = complaint.rewind().and_then(|()| {
            complaint
                .take(COMPLAINT_BYTES_MAX)
                .read_to_string(&mut text)
        });
        let fault = match read {
            Ok(_) if !text.trim().is_empty() => {
                let line = self.program.sudoers_line();
                format!("{}{line}", text.trim().replace('\n', "; "))
            }
            Ok(_) | Err(_) => "the helper ended without a word".to_owned(),
        };
        Answer {
            fault: Some(fault),
            ..Answer::default()
        }
    }
}

impl Program {
    /// What to do when sudo refuses.
    fn sudoers_line(&self) -> String {
        match self {
            Self::Own => String::new(),
            Self::Sudo { helper, .. } => format!(
                " (sudoers needs: USER ALL=(root) NOPASSWD: {} {HELPER_WORD}; {MEND})",
                helper.display()
            ),
        }
    }

    fn find() -> Result<Self, Fault> {
        let step = |error: io::Error| Fault::new("find the root helper", error);
        if rustix::process::geteuid().is_root() {
            return Ok(Self::Own);
        }
        let helper = super::installed().map_err(|path| {
            let missing = format!("{} is not there ({MEND})", path.display());
            step(io::Error::other(missing))
        })?;
        super::is_roots_alone(&helper)?;
        let sudo = SUDO
            .iter()
            .map(PathBuf::from)
            .find(|path| path.is_file())
            .ok_or_else(|| step(io::Error::other("sudo is not there")))?;
        Ok(Self::Sudo { sudo, helper })
    }
}

/// What is handed over, in order.
#[derive(Default)]
struct Trees {
    opened: Vec<OwnedFd>,
    shown: Vec<Tree>,
}

impl Trees {
    /// Turns an item that names a path of the host into one that names a descriptor.
    fn take(&mut self, item: &mut Item) -> Result<(), Fault> {
        let given = match &*item {
            Item::Bind {
                source,
                target,
                shown,
            } => Item::Given {
                tree: match shown {
                    Shown::Writable => self.open(source, Tree::Writable)?,
                    Shown::ReadOnly | Shown::Device => self.open(source, read_only(source))?,
                },
                target: target.clone(),
            },
            Item::Copied { path } => Item::Given {
                tree: self.open(path, Tree::System)?,
                target: path.clone(),
            },
            Item::Overlay {
                lower,
                upper,
                target,
            } => Item::GivenOverlay {
                lower: self.open(lower, Tree::Own)?,
                upper: match upper {
                    Some((upper, work)) => Some(self.layers(upper, work)?),
                    None => None,
                },
                target: target.clone(),
            },
            Item::File { .. }
            | Item::Link { .. }
            | Item::Folder { .. }
            | Item::Private { .. }
            | Item::Given { .. }
            | Item::GivenOverlay { .. }
            | Item::Anchor { .. }
            | Item::MaskFile { .. }
            | Item::MaskFolder { .. }
            | Item::Freeze { .. } => return Ok(()),
        };
        *item = given;
        Ok(())
    }

    fn open(&mut self, path: &Path, shown: Tree) -> Result<usize, Fault> {
        let file = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .map_err(|error| Fault::new(format!("open {}", path.display()), error))?;
        self.opened.push(file);
        self.shown.push(shown);
        Ok(self.opened.len() - 1)
    }

    /// overlayfs wants both folders in one mount, so it is the folder around them that is handed over.
    fn layers(&mut self, upper: &Path, work: &Path) -> Result<(usize, String, String), Fault> {
        let name = |path: &Path| path.file_name()?.to_str().map(str::to_owned);
        match (upper.parent(), name(upper), name(work)) {
            (Some(folder), Some(upper), Some(above)) if work.parent() == Some(folder) => {
                Ok((self.open(folder, Tree::Writable)?, upper, above))
            }
            _ => {
                let apart = io::Error::other("they are not in one folder");
                Err(Fault::new("name the folders for changes", apart))
            }
        }
    }
}

/// The system's own folders are shown as they are. Elsewhere the caller may be the only one who can read.
fn read_only(path: &Path) -> Tree {
    let of_system = SYSTEM.iter().any(|folder| path == Path::new(folder))
        || path
            .strip_prefix("/etc")
            .is_ok_and(|name| ETC.iter().any(|known| name == Path::new(known)));
    let own = rustix::process::geteuid().as_raw();
    if !of_system && std::fs::metadata(path).is_ok_and(|meta| meta.uid() == own) {
        Tree::Own
    } else {
        Tree::System
    }
}

fn memory_file() -> io::Result<File> {
    Ok(File::from(rustix::fs::memfd_create(
        "tagout",
        MemfdFlags::CLOEXEC,
    )?))
}

fn written(stand: &Stand) -> io::Result<OwnedFd> {
    let mut file = memory_file()?;
    file.write_all(&serde_json::to_vec(stand)?)?;
    file.rewind()?;
    Ok(OwnedFd::from(file))
}
