//! The process that the helper makes: it becomes the leased uid, and only then reads what its caller wants inside.
//! It must never read a byte of the caller's before it has given up root's uid.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use rustix::process::{Gid, Pid, Signal, Uid, set_parent_process_death_signal};
use serde::{Deserialize, Serialize};

use super::super::channel::{Channel, Report};
use super::super::hidden::PLAN_BYTES_MAX;
use super::super::stage::{self, Cast};
use super::super::supervisor::given::Reach;
use super::super::walls::files::Rule;
use super::super::walls::limits::Counted;
use super::super::walls::namespaces::Ids;
use super::super::walls::root::Root;
use super::super::walls::syscalls::{Filters, Ground};
use super::super::walls::{Fault, Step, sys};
use super::number;
use crate::wire::{Network, Plan, Wall};

/// The uid and gid that a run of root's is shown as; it has a line in the run's /etc/passwd.
pub const PLAIN: u32 = 60_599;

/// The id under which the run sees itself: its caller's, so that names and owners look as they do outside; never 0.
#[must_use]
pub fn shown(caller: u32) -> u32 {
    if caller == 0 { PLAIN } else { caller }
}

/// What the launcher made of the plan, for the processes that the helper makes.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stand {
    /// The plan.
    pub plan: Plan,
    /// The new root.
    pub root: Root,
    /// The Landlock rules.
    pub rules: Vec<Rule>,
    /// The whole environment.
    pub environment: BTreeMap<String, String>,
    /// Where commands start.
    pub folder: PathBuf,
    /// What stands if nothing fails.
    pub walls: BTreeMap<String, Wall>,
}

/// What the process has from the helper.
#[derive(Debug)]
pub(super) struct Inside {
    pub(super) helper: Pid,
    pub(super) shown: Ids,
    /// Two bytes come when the ids are mapped: whether the kernel holds the sum of the memory, and whether audit is read.
    pub(super) go: OwnedFd,
    /// Stage, init, stdin, stdout, stderr, the stand; the door if there is one.
    pub(super) descriptors: Vec<OwnedFd>,
    pub(super) trees: Vec<OwnedFd>,
}

impl Inside {
    /// From the first step to the last; the answer is for `_exit`.
    pub(super) fn run(self) -> i32 {
        let mut descriptors = self.descriptors.into_iter();
        let mut next = || descriptors.next();
        let (Some(launcher), Some(init)) = (next(), next()) else {
            return 1;
        };
        let (launcher, init) = (Channel::from(launcher), Channel::from(init));
        let streams = [next(), next(), next()];
        let (stand, door) = (next(), next());
        let become_nobody = Become {
            helper: self.helper,
            shown: self.shown,
            go: self.go,
        };
        let prepared = become_nobody
            .steps()
            .and_then(|told| take_streams(streams).map(|()| told))
            .and_then(|[memory, audit]| Ok((read(stand, door.as_ref(), memory)?, audit)));
        match prepared {
            Ok((stand, audit)) => {
                let filters = Filters::compile(Ground::Own, audit);
                raise(&stand, filters, (self.shown, &self.trees), &launcher, init)
            }
            Err(fault) => {
                let sentence = fault.sentence();
                drop(launcher.send(&Report::Fault { sentence }));
                1
            }
        }
    }
}

/// The steps from root to nobody.
struct Become {
    helper: Pid,
    shown: Ids,
    go: OwnedFd,
}

impl Become {
    /// What the helper says: whether the kernel holds the sum of the memory, and whether audit is read.
    fn steps(self) -> Result<[bool; 2], Fault> {
        let mut told = [0_u8; 2];
        let length = rustix::io::read(&self.go, &mut told).step("wait for the helper")?;
        if length != told.len() {
            let gone = io::Error::from(io::ErrorKind::BrokenPipe);
            return Err(Fault::new("wait for the helper", gone));
        }
        let (user, group) = (
            Uid::from_raw(self.shown.user),
            Gid::from_raw(self.shown.group),
        );
        rustix::thread::set_thread_res_gid(group, group, group).step("take the leased gid")?;
        rustix::thread::set_thread_res_uid(user, user, user).step("take the leased uid")?;
        set_parent_process_death_signal(Some(Signal::KILL)).step("follow the helper in death")?;
        if rustix::process::getppid() != Some(self.helper) {
            let gone = io::Error::from(io::ErrorKind::BrokenPipe);
            return Err(Fault::new("find the helper", gone));
        }
        Ok(told.map(|byte| byte != 0))
    }
}

/// Puts the caller's streams where the commands look for them.
fn take_streams(streams: [Option<OwnedFd>; 3]) -> Result<(), Fault> {
    for (number, stream) in (0..).zip(streams) {
        let Some(stream) = stream else { continue };
        sys::replace_stream(number, stream.as_fd()).step("take the standard streams")?;
    }
    Ok(())
}

fn read(stand: Option<OwnedFd>, door: Option<&OwnedFd>, memory: bool) -> Result<Stand, Fault> {
    let step = |error: io::Error| Fault::new("read what stands inside", error);
    let stand = stand.ok_or_else(|| step(io::ErrorKind::NotFound.into()))?;
    let mut text = Vec::new();
    File::from(stand)
        .take(PLAN_BYTES_MAX + 1)
        .read_to_end(&mut text)
        .map_err(step)?;
    if text.len() as u64 > PLAN_BYTES_MAX {
        return Err(step(io::ErrorKind::FileTooLarge.into()));
    }
    let mut stand: Stand =
        serde_json::from_slice(&text).map_err(|error| step(io::Error::from(error)))?;
    match (&mut stand.plan.network, door) {
        (Network::Egress { door, .. }, Some(given)) => *door = number(given),
        (Network::None, None) => {}
        (Network::Egress { .. }, None) | (Network::None, Some(_)) => {
            return Err(step(io::Error::other("plan and door do not fit")));
        }
    }
    if memory {
        stand
            .walls
            .insert("limits.memory".to_owned(), Wall::Enforced);
    }
    Ok(stand)
}

/// From here on the process is an outer one as at level B.
fn raise(
    stand: &Stand,
    filters: Result<Filters, Fault>,
    (ids, trees): (Ids, &[OwnedFd]),
    launcher: &Channel,
    to_init: Channel,
) -> i32 {
    let filters = match filters {
        Ok(filters) => filters,
        Err(fault) => {
            let sentence = fault.sentence();
            drop(launcher.send(&Report::Fault { sentence }));
            return 1;
        }
    };
    let cast = Cast {
        plan: &stand.plan,
        ids,
        filters: &filters,
        root: Some(&stand.root),
        trees,
        rules: Some(&stand.rules),
        environment: &stand.environment,
        folder: &stand.folder,
        walls: &stand.walls,
        private: &[],
        written: &[],
        launcher: [rustix::process::getpid(); 2],
        reach: Reach::Taken,
        terminal: false,
        user: None,
        counted: Counted::Alone,
    };
    stage::outer_leased(&cast, launcher, to_init)
}
