//! The root helper of level A. With root's rights it leases a uid, makes a cgroup, clones the mounts of descriptors that its
//! caller opened, and makes namespaces in which the caller's files belong to that uid; the very walls of level B are then
//! raised by a process that is nobody on the host. It must never read a path, a policy or a plan with root's rights.

pub mod call;
pub mod cgroup;
pub mod inside;
pub mod lease;
pub mod owners;
pub mod request;

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::FileType;
use rustix::mount::OpenTreeFlags;
use rustix::net::{AddressFamily, SocketType};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions};
use rustix::thread::CapabilitySet;

use self::cgroup::{Cgroup, Sums};
use self::inside::Inside;
use self::lease::Lease;
use self::request::{Answer, FIXED, Request, Tree};
use super::audit::{Audit, RefusedCall};
use super::walls::namespaces::Ids;
use super::walls::root::{QUIET, READ_ONLY};
use super::walls::sys::{self, Side};
use super::walls::{Fault, Step, namespaces, privileges, syscalls};
use crate::wire::HELPER_VARIABLE;

/// Signals that a terminal or a supervisor sends to everything at once; the helper ends when its caller does.
const IGNORED: &[Signal] = &[
    Signal::TERM,
    Signal::INT,
    Signal::HUP,
    Signal::QUIT,
    Signal::USR1,
    Signal::USR2,
    Signal::TSTP,
    Signal::PIPE,
];

/// The hidden word `__helper`: serves one request, which arrives on stdin.
#[must_use]
pub fn main() -> ExitCode {
    let served = shut_out_the_caller().and_then(|control| {
        let served = serve(&control);
        let answer = match &served {
            Ok((full, calls)) => Answer {
                fault: None,
                out_of_memory: full.memory,
                out_of_processes: full.processes,
                calls: calls.clone(),
            },
            Err(fault) => Answer {
                fault: Some(fault.sentence()),
                ..Answer::default()
            },
        };
        request::answer(&control, &answer);
        served
    });
    match served {
        Ok(_) => ExitCode::SUCCESS,
        Err(fault) => {
            crate::console::notice(&format!("tagout: the root helper: {}", fault.sentence()));
            ExitCode::from(crate::outcome::sandbox_code::OURS)
        }
    }
}

/// First of all: nothing that came through exec is used but stdin. No variable is read but the two that sudo itself sets.
fn shut_out_the_caller() -> Result<OwnedFd, Fault> {
    privileges::hide_from_tracers()?;
    sys::close_all_on_exec(3).step("shut inherited descriptors")?;
    rustix::process::chdir("/").step("leave the caller's folder")?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let control = io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .step("take the request")?;
    let signals: Vec<i32> = IGNORED.iter().map(|signal| signal.as_raw()).collect();
    // They stay blocked after the descriptor is gone.
    drop(sys::signal_descriptor(&signals).step("block signals")?);
    Ok(control)
}

/// Serves one request to its end; which of the cgroup's limits was reached, and which calls the kernel refused.
fn serve(control: &OwnedFd) -> Result<(Sums, Vec<RefusedCall>), Fault> {
    let caller = admit(control)?;
    let (request, descriptors) = request::receive(control.as_fd()).step("take the request")?;
    rustix::thread::set_thread_groups(&[]).step("give up the caller's groups")?;
    let lease = Lease::take()?;
    for stale in lease.stale().step("look for what killed helpers left")? {
        stale
            .end_processes()
            .and_then(|()| Cgroup::remove(stale.id))
            .step("end what a killed helper left")?;
    }
    let cgroup = Cgroup::make(lease.id, request.memory_bytes, request.processes);
    let ran = run(
        control,
        caller,
        &request,
        descriptors,
        &lease,
        cgroup.as_ref(),
    );
    let full = cgroup.as_ref().map_or_else(Sums::default, Cgroup::full);
    let ended = match &cgroup {
        Some(cgroup) => cgroup.end(),
        None => lease.end_processes(),
    };
    let audit = ran?;
    ended.step("end what the run left")?;
    let calls = audit.map_or_else(Vec::new, |audit| audit.refused(lease.id));
    Ok((full, calls))
}

/// Who asks. The kernel says who made the socket, sudo says who called it: both must be the same, or a caller could hand us
/// a socket that somebody else made.
fn admit(control: &OwnedFd) -> Result<Ids, Fault> {
    let refuse = |why: &str| Err(Fault::new("admit the caller", io::Error::other(why)));
    if std::env::args_os().count() != 2 {
        return refuse("it takes no further words");
    }
    if !rustix::process::geteuid().is_root() {
        return refuse("it needs root: sudo starts it");
    }
    let domain = rustix::net::sockopt::socket_domain(control);
    let kind = rustix::net::sockopt::socket_type(control);
    if domain != Ok(AddressFamily::UNIX) || kind != Ok(SocketType::SEQPACKET) {
        return refuse("stdin is not the launcher's socket");
    }
    let peer = rustix::net::sockopt::socket_peercred(control).step("admit the caller")?;
    let maker = Ids {
        user: peer.uid.as_raw(),
        group: peer.gid.as_raw(),
    };
    let Some(user) = std::env::var_os("SUDO_UID") else {
        return if maker.user == 0 {
            Ok(maker)
        } else {
            refuse("only root starts it without sudo")
        };
    };
    let group = std::env::var_os("SUDO_GID").unwrap_or_default();
    let same = |said: &std::ffi::OsStr, id: u32| said.to_str() == Some(id.to_string().as_str());
    if !same(&user, maker.user) || !same(&group, maker.group) {
        return refuse("the socket is not the caller's own");
    }
    roots_alone()?;
    Ok(maker)
}

/// A program that others can replace is no helper: the file and each folder above it must be root's alone.
fn roots_alone() -> Result<(), Fault> {
    let path = fs::read_link("/proc/self/exe").step("find the helper's own file")?;
    is_roots_alone(&path)
}

/// Whether nobody but root can change what is at this path.
///
/// # Errors
/// Who can, in words.
pub fn is_roots_alone(path: &Path) -> Result<(), Fault> {
    for part in path.ancestors() {
        let meta = fs::symlink_metadata(part)
            .map_err(|error| Fault::new(format!("look at {}", part.display()), error))?;
        if meta.uid() != 0 || meta.mode() & 0o022 != 0 || meta.is_symlink() {
            let why = io::Error::other(format!("{} is not root's alone", part.display()));
            return Err(Fault::new("trust the helper's own file", why));
        }
    }
    Ok(())
}

fn run(
    control: &OwnedFd,
    caller: Ids,
    request: &Request,
    mut descriptors: Vec<OwnedFd>,
    lease: &Lease,
    cgroup: Option<&Cgroup>,
) -> Result<Option<Audit>, Fault> {
    let opened = descriptors.split_off(FIXED + usize::from(request.door));
    let trees = clone_trees(&opened, &request.trees)?;
    drop(opened);
    let users = namespace_of_owners(caller, lease.id)?;
    for (tree, shown) in trees.iter().zip(&request.trees) {
        map_owners(tree, *shown, &users)?;
    }
    drop(users);
    let (go, their_go) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map(|(read, write)| (write, read))
        .step("make a line to the first process")?;
    let shown = Ids {
        user: inside::shown(caller.user),
        group: inside::shown(caller.group),
    };
    let helper = rustix::process::getpid();
    let outer = match sys::clone_process(namespaces::OUTER).step("make namespaces")? {
        Side::Child => {
            drop(go);
            let inside = Inside {
                helper,
                shown,
                go: their_go,
                descriptors,
                trees,
            };
            sys::leave(inside.run())
        }
        Side::Parent(outer) => outer,
    };
    drop((their_go, descriptors, trees));
    // Not before the first process is made, which must not have the descriptor.
    let audit = Audit::listen();
    let told = [
        cgroup.is_some_and(|cgroup| cgroup.held.memory),
        audit.is_some(),
    ];
    let started = start(outer, shown, lease.id, cgroup, (&go, told));
    drop(go);
    let cleaning = match cgroup {
        Some(_) => Cleaning::Cgroup,
        None => Cleaning::Lease,
    };
    let waited = started.and_then(|()| wait(control, outer, cleaning));
    if waited.is_err() {
        // Its death takes pid 1 and everything inside with it.
        if let Err(_already_gone) = rustix::process::kill_process(outer, Signal::KILL) {}
    }
    if let Err(_reaped) = rustix::process::waitpid(Some(outer), WaitOptions::empty()) {}
    waited.map(|()| audit)
}

/// What is left to be removed after the run.
#[derive(Clone, Copy, Debug)]
enum Cleaning {
    /// The cgroup and the lease.
    Cgroup,
    /// The lease, from a folder of ours.
    Lease,
}

/// Clones the mounts that the caller's descriptors lead to. It is the descriptor that counts: no name is looked up, so nothing
/// can be swapped on the way.
fn clone_trees(opened: &[OwnedFd], shown: &[Tree]) -> Result<Vec<OwnedFd>, Fault> {
    let mut trees = Vec::with_capacity(opened.len());
    for (file, shown) in opened.iter().zip(shown) {
        let meta = rustix::fs::fstat(file).step("look at a path of the caller")?;
        let kind = FileType::from_raw_mode(meta.st_mode);
        if !matches!(kind, FileType::Directory | FileType::RegularFile) {
            let neither = io::Error::other("it is neither a file nor a folder");
            return Err(Fault::new("show a path of the caller", neither));
        }
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_EMPTY_PATH
            | OpenTreeFlags::AT_RECURSIVE;
        let tree = rustix::mount::open_tree(file, "", flags).step("show a path of the caller")?;
        let attributes = match shown {
            Tree::System | Tree::Own => QUIET | READ_ONLY,
            Tree::Writable => QUIET,
        };
        sys::mount_attributes(tree.as_fd(), true, attributes, 0)
            .step("shield a path of the caller")?;
        trees.push(tree);
    }
    Ok(trees)
}

/// A user namespace that exists only as a map of owners; the process that made it ends at once.
fn namespace_of_owners(caller: Ids, leased: u32) -> Result<OwnedFd, Fault> {
    let (line, their_line) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).step("make a line")?;
    let made = match sys::clone_process(namespaces::OUTER).step("make a user namespace")? {
        Side::Child => {
            drop(their_line);
            // It ends when the other end is closed.
            let read = rustix::io::read(&line, &mut [0_u8; 1]);
            sys::leave(i32::from(read.is_err()))
        }
        Side::Parent(made) => made,
    };
    drop(line);
    let mapped = map(made, "uid_map", |known| known.owners(caller.user, leased))
        .and_then(|()| map(made, "gid_map", |known| known.owners(caller.group, leased)))
        .and_then(|()| open_namespace(made));
    drop(their_line);
    if let Err(_reaped) = rustix::process::waitpid(Some(made), WaitOptions::empty()) {}
    mapped
}

fn map(process: Pid, file: &str, text: impl FnOnce(&owners::Known) -> String) -> Result<(), Fault> {
    let step = |error: io::Error| Fault::new(format!("write {file}"), error);
    let known = owners::Known::read(file).map_err(step)?;
    let path = format!("/proc/{}/{file}", process.as_raw_nonzero());
    fs::write(path, text(&known)).map_err(step)
}

fn open_namespace(process: Pid) -> Result<OwnedFd, Fault> {
    let path = format!("/proc/{}/ns/user", process.as_raw_nonzero());
    fs::File::open(path)
        .map(OwnedFd::from)
        .step("find the user namespace")
}

/// What the run may not write can do without: then it reads what everybody may read.
fn map_owners(tree: &OwnedFd, shown: Tree, users: &OwnedFd) -> Result<(), Fault> {
    if shown == Tree::System {
        return Ok(());
    }
    match sys::map_owners(tree.as_fd(), users.as_fd()) {
        Err(_no_such_maps) if shown == Tree::Own => Ok(()),
        done => {
            done.step("show files as the run's own (the file system must know idmapped mounts)")
        }
    }
}

/// Gives the outer process its ids and its cgroup, and lets it go. What it is told beside: whether the kernel holds the sum
/// of the memory, and whether somebody reads what the audit says.
fn start(
    outer: Pid,
    shown: Ids,
    leased: u32,
    cgroup: Option<&Cgroup>,
    (go, told): (&OwnedFd, [bool; 2]),
) -> Result<(), Fault> {
    let number = outer.as_raw_nonzero();
    fs::write(format!("/proc/{number}/setgroups"), "deny")
        .step("give up setgroups in the user namespace")?;
    map(outer, "uid_map", |_| owners::of_run(shown.user, leased))?;
    map(outer, "gid_map", |_| owners::of_run(shown.group, leased))?;
    if let Some(cgroup) = cgroup {
        cgroup.add(outer).step("put the run into its cgroup")?;
    }
    rustix::io::write(go, &told.map(u8::from)).step("start the run")?;
    Ok(())
}

/// Waits for the end of the outer process. The end of the caller is the end of the run. Nothing but killing and
/// cleaning up is left to do, so every privilege and every system call but those goes.
fn wait(control: &OwnedFd, outer: Pid, cleaning: Cleaning) -> Result<(), Fault> {
    let ended = rustix::process::pidfd_open(outer, PidfdFlags::empty()).step("watch the run")?;
    privileges::drop_all(match cleaning {
        // A cgroup is removed from a folder that its owner, root, may not write to.
        Cleaning::Cgroup => CapabilitySet::KILL | CapabilitySet::DAC_OVERRIDE,
        Cleaning::Lease => CapabilitySet::KILL,
    })?;
    syscalls::helper::confine()?;
    loop {
        let mut waited = [
            PollFd::new(&ended, PollFlags::IN),
            PollFd::new(control, PollFlags::IN),
        ];
        match poll(&mut waited, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(Fault::new("watch the run", error)),
        }
        if !waited[0].revents().is_empty() {
            return Ok(());
        }
        // There is nothing more to be said, so whatever comes is the end.
        if !waited[1].revents().is_empty() {
            rustix::process::pidfd_send_signal(&ended, Signal::KILL).step("end the run")?;
            return Ok(());
        }
    }
}

/// Where the helper is if nobody says otherwise. That it is there is the administrator's word that it may be used.
pub const PATH: &str = "/usr/lib/tagout/tagout";

/// The helper of this machine.
///
/// # Errors
/// Where it would be.
pub fn installed() -> Result<PathBuf, PathBuf> {
    let path = std::env::var_os(HELPER_VARIABLE).map_or_else(|| PathBuf::from(PATH), PathBuf::from);
    if path.is_file() { Ok(path) } else { Err(path) }
}

/// The number of a descriptor that this process keeps open.
fn number(descriptor: &OwnedFd) -> i32 {
    descriptor.as_raw_fd()
}
