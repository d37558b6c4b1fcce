//! The outer process of level B: makes the namespaces, starts pid 1 in them, and keeps the door.
//! It lives in the run's network namespace and outside of its process ids, so that nothing inside can reach it.

use std::io;

use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::CapabilitySet;

use super::channel::{Channel, Report};
use super::doorkeeper::Door;
use super::init::Init;
use super::scene::Scene;
use super::walls::namespaces::{self, Ids};
use super::walls::sys::{self, Side};
use super::walls::syscalls::{self, Filters};
use super::walls::{Fault, Step, files, limits, privileges, root};
use crate::wire::Plan;

/// What both inner processes are given.
#[derive(Debug)]
pub struct Cast<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// What was made of it.
    pub scene: &'a Scene,
    /// The ids of the run.
    pub ids: Ids,
    /// The compiled filters.
    pub filters: &'a Filters,
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
    namespaces::name_host()?;
    namespaces::own_every_address()?;
    let door = Door::open(cast.plan)?;
    let init =
        match sys::clone_process(namespaces::INNER).step("make process and mount namespaces")? {
            Side::Child => {
                drop(door);
                sys::leave(inner(cast, to_init))
            }
            Side::Parent(init) => init,
        };
    drop(to_init);
    // It binds the allowed ports, 80 and 443 among them.
    privileges::drop_all(CapabilitySet::NET_BIND_SERVICE)?;
    privileges::hide_from_tracers()?;
    die_with_parent(launcher)?;
    syscalls::confine_doorkeeper()?;
    door.keep(launcher, init).step("keep the door")
}

/// Pid 1 inside, from its first step to its last; the answer is for `_exit`.
fn inner(cast: &Cast<'_>, channel: Channel) -> i32 {
    if let Err(fault) = raise(cast, &channel) {
        let sentence = fault.sentence();
        drop(channel.send(&Report::Fault { sentence }));
        return 1;
    }
    let init = Init {
        channel,
        commands: &cast.plan.commands,
        environment: &cast.scene.environment,
        folder: &cast.scene.folder,
    };
    init.run()
}

/// The order is the wall: mounts before Landlock, which forbids them; privileges before seccomp, which forbids their calls.
fn raise(cast: &Cast<'_>, channel: &Channel) -> Result<(), Fault> {
    die_with_parent(channel)?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    rustix::process::setpgid(None, None).step("leave the caller's process group")?;
    root::enter(&cast.scene.root)?;
    sys::close_all_on_exec(3).step("shut inherited descriptors")?;
    limits::set(&cast.plan.limits)?;
    privileges::drop_all(CapabilitySet::empty())?;
    files::restrict(&cast.scene.rules, files::Tcp::Unhandled)?;
    cast.filters.install()?;
    privileges::hide_from_tracers()?;
    die_with_parent(channel)?;
    let walls = cast.scene.walls.clone();
    channel
        .send(&Report::Raised { walls })
        .step("report to the launcher")
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
