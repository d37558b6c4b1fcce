//! The two processes between the launcher and the commands. The outer one makes the namespaces and keeps the door (level B),
//! or inherits every orphan and sweeps (level C); the inner one raises the walls around itself and becomes init.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, set_parent_process_death_signal};
use rustix::thread::CapabilitySet;

use super::channel::{Channel, Report};
use super::doorkeeper::{self, Door};
use super::init::Init;
use super::scene;
use super::supervisor::given::Reach;
use super::supervisor::{Supervisor, Woken, listener, start};
use super::sweep;
use super::walls::files::{Rule, Tcp};
use super::walls::limits::{self, Counted};
use super::walls::namespaces::{self, Ids};
use super::walls::root::{self, Root};
use super::walls::sys::{self, Side};
use super::walls::syscalls::notify::{self, Architecture};
use super::walls::syscalls::{self, Filters};
use super::walls::{Fault, Step, files, privileges};
use crate::wire::{Denied, Plan, Wall};

/// What both processes are given.
#[derive(Clone, Copy, Debug)]
pub struct Cast<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// The ids of the run.
    pub ids: Ids,
    /// The compiled filters.
    pub filters: &'a Filters,
    /// The new root; none where the host's view is shared.
    pub root: Option<&'a Root>,
    /// The trees that items of the root speak of by number (level A).
    pub trees: &'a [OwnedFd],
    /// The Landlock rules; none where the host has no Landlock and the policy asks for no walls on files (level D).
    pub rules: Option<&'a [Rule]>,
    /// The whole environment.
    pub environment: &'a BTreeMap<String, String>,
    /// Where commands start.
    pub folder: &'a Path,
    /// What stands if nothing fails.
    pub walls: &'a BTreeMap<String, Wall>,
    /// Folders that only this run can ever write (level C).
    pub private: &'a [PathBuf],
    /// Folders of the host that the run writes to.
    pub written: &'a [PathBuf],
    /// The launcher's process and its group, which the run may not signal.
    pub launcher: [Pid; 2],
    /// How the supervisor comes by the run's sockets (level C).
    pub reach: Reach,
    /// Whether the commands take the terminal over from the launcher.
    pub terminal: bool,
    /// Whom root's run is given to before anything of it is started (levels C and D).
    pub user: Option<Ids>,
    /// Whom the kernel counts the run's processes with.
    pub counted: Counted,
}

impl Cast<'_> {
    /// The outer process and all that come from it are the run's user from here on, the supervisor too: no other could read
    /// what the run's processes ask.
    fn take_user(&self) -> Result<(), Fault> {
        self.user.map_or(Ok(()), privileges::become_user)
    }
}

/// The outer process, from its first step to its last; the answer is for `_exit`.
#[must_use]
pub fn outer(cast: &Cast<'_>, launcher: &Channel, to_init: Channel) -> i32 {
    match outer_steps(cast, launcher, to_init) {
        Ok(()) => 0,
        Err(fault) => {
            let sentence = fault.sentence();
            // If the launcher is gone nobody wants to know.
            drop(launcher.send(&Report::Fault { sentence }));
            1
        }
    }
}

fn outer_steps(cast: &Cast<'_>, launcher: &Channel, to_init: Channel) -> Result<(), Fault> {
    die_with_parent(launcher)?;
    namespaces::map_ids(cast.ids)?;
    keep_door(cast, launcher, to_init)
}

/// The outer process of level A: the helper has made its namespaces and given it its ids; it is nobody on the host.
#[must_use]
pub fn outer_leased(cast: &Cast<'_>, launcher: &Channel, to_init: Channel) -> i32 {
    let kept = die_with_parent(launcher).and_then(|()| keep_door(cast, launcher, to_init));
    match kept {
        Ok(()) => 0,
        Err(fault) => {
            let sentence = fault.sentence();
            drop(launcher.send(&Report::Fault { sentence }));
            1
        }
    }
}

/// From here on levels A and B are the same.
fn keep_door(cast: &Cast<'_>, launcher: &Channel, to_init: Channel) -> Result<(), Fault> {
    let (line, their_line) = UnixStream::pair().step("make a line to the first process inside")?;
    let init =
        match sys::clone_process(namespaces::INNER).step("make process and mount namespaces")? {
            Side::Child => {
                drop(line);
                sys::leave(inner(cast, to_init, Outside::Door(their_line)))
            }
            Side::Parent(init) => init,
        };
    drop(their_line);
    let network = namespaces::make_network()?;
    let door = Door::open(cast.plan)?;
    // Only now, so that a program finds its road open from the first moment.
    listener::send(line, network.as_fd()).step("give the network to the first process inside")?;
    drop(network);
    drop(to_init);
    // It binds the allowed ports, 80 and 443 among them.
    privileges::drop_all(CapabilitySet::NET_BIND_SERVICE)?;
    privileges::hide_from_tracers()?;
    die_with_parent(launcher)?;
    syscalls::confine_doorkeeper()?;
    door.keep(launcher, init).step("keep the door")
}

/// The outer process of level C, from its first step to its last; the answer is for `_exit`.
/// It outlives the launcher if that is killed, because somebody must end the tree.
#[must_use]
pub fn outer_shared(cast: &Cast<'_>, launcher: &Channel, to_init: Channel) -> i32 {
    match outer_shared_steps(cast, launcher, to_init) {
        Ok(()) => 0,
        Err(fault) => {
            let sentence = fault.sentence();
            drop(launcher.send(&Report::Fault { sentence }));
            // What was started before the fault must not stay.
            i32::from(sweep::sweep(&[]).is_err()) + 1
        }
    }
}

fn outer_shared_steps(cast: &Cast<'_>, launcher: &Channel, to_init: Channel) -> Result<(), Fault> {
    // Its own group: what the run sends to its group does not arrive here.
    rustix::process::setpgid(None, None).step("leave the caller's process group")?;
    cast.take_user()?;
    sweep::adopt_orphans().step("inherit orphans")?;
    let (line, their_line) = UnixStream::pair().step("make a line to the first process inside")?;
    let init = match sys::clone_process(0).step("start the first process inside")? {
        Side::Child => {
            drop(line);
            sys::leave(inner(cast, to_init, Outside::Supervisor(their_line)))
        }
        Side::Parent(init) => init,
    };
    drop((to_init, their_line));
    privileges::drop_all(CapabilitySet::empty())?;
    privileges::hide_from_tracers()?;
    let denied = match start::start(line.as_fd(), cast.plan, cast.private, cast.reach) {
        Ok(supervisor) => {
            start::confine()?;
            supervise(supervisor, launcher, init).step("supervise the run")?
        }
        // It has told the launcher which wall it could not raise, and is gone; or nobody could answer it.
        Err(fault) => {
            let sentence = fault.sentence();
            drop(launcher.send(&Report::Fault { sentence }));
            Vec::new()
        }
    };
    sweep::sweep(&[]).step("end what the run left")?;
    for denied in denied {
        // A launcher that is gone wants no report.
        if launcher.send(&Report::Denied(denied)).is_err() {
            break;
        }
    }
    Ok(())
}

/// The outer process of level D, from its first step to its last; the answer is for `_exit`.
#[must_use]
pub fn outer_bare(cast: &Cast<'_>, launcher: &Channel, to_init: Channel) -> i32 {
    match outer_bare_steps(cast, launcher, to_init) {
        Ok(()) => 0,
        Err(fault) => {
            let sentence = fault.sentence();
            drop(launcher.send(&Report::Fault { sentence }));
            // What was started before the fault must not stay.
            i32::from(sweep::sweep(&[]).is_err()) + 1
        }
    }
}

fn outer_bare_steps(cast: &Cast<'_>, launcher: &Channel, to_init: Channel) -> Result<(), Fault> {
    rustix::process::setpgid(None, None).step("leave the caller's process group")?;
    cast.take_user()?;
    sweep::adopt_orphans().step("inherit orphans")?;
    let init = match sys::clone_process(0).step("start the first process inside")? {
        Side::Child => sys::leave(inner(cast, to_init, Outside::Nobody)),
        Side::Parent(init) => init,
    };
    drop(to_init);
    privileges::drop_all(CapabilitySet::empty())?;
    privileges::hide_from_tracers()?;
    wait_for_end(launcher, init).step("wait for the run")?;
    sweep::sweep(&[]).step("end what the run left")
}

/// Until init has ended, the launcher wants an end, or the launcher is gone.
fn wait_for_end(launcher: &Channel, init: Pid) -> io::Result<()> {
    let ended = rustix::process::pidfd_open(init, PidfdFlags::empty())?;
    loop {
        let mut waited = [
            PollFd::new(&ended, PollFlags::IN),
            PollFd::from_borrowed_fd(launcher.as_fd(), PollFlags::IN),
        ];
        match poll(&mut waited, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let told = !waited[1].revents().is_empty();
        if !waited[0].revents().is_empty() || (told && !doorkeeper::obey(launcher)) {
            return Ok(());
        }
    }
}

/// Answers the run's calls until init has ended, the launcher wants an end, or the launcher is gone.
fn supervise(mut supervisor: Supervisor, launcher: &Channel, init: Pid) -> io::Result<Vec<Denied>> {
    let ended = rustix::process::pidfd_open(init, PidfdFlags::empty())?;
    loop {
        match supervisor.serve(&[ended.as_fd(), launcher.as_fd()])? {
            Woken::Wake(1) if doorkeeper::obey(launcher) => {}
            Woken::Wake(_) | Woken::NobodyLeft => return Ok(supervisor.denied()),
        }
    }
}

/// Who stands outside of the first process inside, and the line to it.
#[derive(Debug)]
enum Outside {
    /// The keeper of the door, who makes the network meanwhile and sends it.
    Door(UnixStream),
    /// The supervisor, who waits for the listener.
    Supervisor(UnixStream),
    /// Nobody who answers (level D).
    Nobody,
}

/// The first process inside, from its first step to its last; the answer is for `_exit`.
fn inner(cast: &Cast<'_>, channel: Channel, outside: Outside) -> i32 {
    if let Err(fault) = raise(cast, &channel, outside) {
        let sentence = fault.sentence();
        drop(channel.send(&Report::Fault { sentence }));
        return 1;
    }
    let init = Init {
        channel,
        commands: &cast.plan.commands,
        environment: cast.environment,
        folder: cast.folder,
        limits: &cast.plan.limits,
        terminal: cast.terminal,
        memory: cast.root.map(|_own| Path::new(scene::TEMPORARY)),
    };
    init.run()
}

/// The order is the wall: mounts before Landlock, which forbids them; privileges before seccomp, which forbids their calls.
fn raise(cast: &Cast<'_>, channel: &Channel, outside: Outside) -> Result<(), Fault> {
    die_with_parent(channel)?;
    // Whoever runs the machine dry goes first. Best before the walls: afterwards the file belongs to root.
    if let Err(_not_shown) = std::fs::write("/proc/self/oom_score_adj", "1000") {}
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    rustix::process::setpgid(None, None).step("leave the caller's process group")?;
    let tcp = match cast.root {
        Some(root) => {
            namespaces::name_host()?;
            root::enter(root, cast.trees)?;
            Tcp::Unhandled
        }
        None => Tcp::Refused,
    };
    if let Outside::Door(line) = &outside {
        let network = listener::receive(line).step("wait for the network")?;
        namespaces::join_network(network.as_fd())?;
    }
    sys::close_all_on_exec(3).step("shut inherited descriptors")?;
    limits::set(&cast.plan.limits, cast.counted)?;
    privileges::drop_all(CapabilitySet::empty())?;
    if let Some(rules) = cast.rules {
        files::restrict(rules, tcp)?;
    }
    cast.filters.install()?;
    match &outside {
        Outside::Supervisor(line) => ask_supervisor(cast, line)?,
        Outside::Nobody => stay_alone(cast)?,
        Outside::Door(_) => {}
    }
    drop(outside);
    privileges::hide_from_tracers()?;
    die_with_parent(channel)?;
    let walls = cast.walls.clone();
    channel
        .send(&Report::Raised { walls })
        .step("report to the launcher")
}

/// From here on connect, bind and listen wait for the supervisor, which is the parent.
fn ask_supervisor(cast: &Cast<'_>, line: &UnixStream) -> Result<(), Fault> {
    start::ask_outside(line.as_fd(), &guarded(cast), cast.reach)
}

/// Level D: nobody is asked, so only sockets that need no asking are left.
fn stay_alone(cast: &Cast<'_>) -> Result<(), Fault> {
    let guarded: Vec<u32> = guarded(cast)
        .into_iter()
        .map(|process| process.as_raw_nonzero().get().unsigned_abs())
        .collect();
    let program = notify::program_alone(Architecture::HERE, &guarded);
    sys::install_filter(&program, sys::Audit::Silent).step("filter sockets")
}

/// Who gets no signal from the run: the parent and the launcher.
fn guarded(cast: &Cast<'_>) -> Vec<Pid> {
    let parent = rustix::process::getppid();
    parent.into_iter().chain(cast.launcher).collect()
}

/// The signal is set first and the parent looked for afterwards, so that a death in between is noticed either way.
fn die_with_parent(parent: &Channel) -> Result<(), Fault> {
    set_parent_process_death_signal(Some(Signal::KILL)).step("follow the parent in death")?;
    if parent.is_closed() {
        return Err(Fault::new(
            "find the parent",
            io::Error::from(io::ErrorKind::BrokenPipe),
        ));
    }
    Ok(())
}
