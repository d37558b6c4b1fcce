//! How a run ended, as far as the launcher has heard, and the report that is made of it.
//! A limit or a refusal must never be told that nobody saw.

use std::collections::BTreeMap;

use rustix::process::Signal;

use super::audit::RefusedCall;
use super::limit::Limit;
use super::walls::sys;
use crate::names::Level;
use crate::outcome::sandbox_code;
use crate::wire::{Denied, Plan, Wall, WallsReport, Workspace};

/// Different refusals that are kept; further ones only count.
pub const DENIED_MAX: usize = 256;

/// What a process did that died of SIGSYS.
const KILLED_FOR: &str = "call the kernel as another architecture; the process was ended";

/// How a run ended.
#[derive(Debug, Default)]
pub(super) struct Ended {
    pub(super) code: i32,
    pub(super) walls: BTreeMap<String, Wall>,
    pub(super) denied: Vec<Denied>,
    pub(super) limit: Option<Limit>,
    /// A limit that made calls fail; it is the run's if the run failed.
    pub(super) hindered: Option<Limit>,
    pub(super) commands: Vec<i32>,
    pub(super) raised: bool,
    /// Why a run of root's kept its uid.
    pub(super) kept_uid: Option<String>,
}

impl Ended {
    pub(super) fn report(
        mut self,
        plan: &Plan,
        level: Level,
        mut missing: Vec<String>,
    ) -> WallsReport {
        missing.extend(
            self.kept_uid
                .take()
                .map(|why| format!("level {level}: root keeps its uid: {why}")),
        );
        if self.code != 0 {
            self.limit = self.limit.or(self.hindered);
        }
        if let Some(limit) = self.limit.filter(|limit| Some(*limit) != self.hindered) {
            self.deny(limit.denied());
        }
        WallsReport {
            level: Some(level),
            abi: sys::landlock_abi(),
            workspace: match (&plan.workspace, level) {
                (Workspace::InPlace { .. }, Level::A | Level::B) => "in-place",
                (Workspace::InPlace { .. }, Level::C | Level::D)
                | (Workspace::Copy { .. } | Workspace::View { .. }, _) => "copied",
            }
            .to_owned(),
            walls: self.walls,
            // Refusals by the file system and by most system calls are seen by nobody, so none known is not none at all.
            denied: (!self.denied.is_empty()).then_some(self.denied),
            exit: if self.limit.is_some() {
                i32::from(sandbox_code::LIMIT)
            } else {
                self.code
            },
            limit: self.limit.map(|limit| limit.name().to_owned()),
            missing,
            commands: self.commands,
        }
    }

    /// A limit that a program met inside.
    pub(super) fn hinder(&mut self, limit: Limit) {
        if self.hindered.is_none_or(|known| known != limit) {
            self.hindered.get_or_insert(limit);
            self.deny(limit.denied());
        }
    }

    /// A process inside died of this signal, or a shell says so by its exit code.
    pub(super) fn killed(&mut self, signal: i32) {
        if signal == Signal::XFSZ.as_raw() {
            self.hinder(Limit::FileSize);
        } else if signal == Signal::XCPU.as_raw() {
            self.hinder(Limit::CpuTime);
        } else if signal == Signal::SYS.as_raw()
            && !self.denied.iter().any(|denied| denied.wall == "syscalls")
        {
            self.deny(Denied {
                wall: "syscalls".to_owned(),
                what: KILLED_FOR.to_owned(),
                count: 1,
                allow: None,
                at: None,
            });
        }
    }

    /// What the kernel's audit says of a system call.
    pub(super) fn audited(&mut self, refused: &RefusedCall) {
        if !refused.killed {
            self.deny(Denied {
                wall: "syscalls".to_owned(),
                what: refused.what(),
                count: refused.count,
                allow: None,
                at: None,
            });
            return;
        }
        // Exit codes told of those that a shell saw die; the audit tells of all.
        self.killed(Signal::SYS.as_raw());
        let known = self
            .denied
            .iter_mut()
            .find(|known| known.what == KILLED_FOR);
        if let Some(known) = known {
            known.count = known.count.max(refused.count);
        }
    }

    pub(super) fn deny(&mut self, denied: Denied) {
        let same = |old: &&mut Denied| old.wall == denied.wall && old.what == denied.what;
        if let Some(old) = self.denied.iter_mut().find(same) {
            old.count = old.count.saturating_add(denied.count);
        } else if self.denied.len() < DENIED_MAX {
            self.denied.push(denied);
        }
    }
}
