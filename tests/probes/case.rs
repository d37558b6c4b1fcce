//! What a case is: one attack, how its success is seen from outside, and what is expected of it.

use std::io;

use rustix::process::Signal;

use crate::aim::Aim;

/// How success is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judge {
    /// Something of the host that the run may not touch is not as it was.
    HostChanged,
    /// A secret of the host appears in what the run wrote or said.
    SecretRead,
    /// A listener of the host got something.
    Arrived,
    /// The process beside the run is gone or not as it was.
    VictimHarmed,
    /// Only the inside can know: the attack says so itself.
    Told,
    /// A process of the run is alive after it.
    Outlived,
}

/// How the attack is shown to work without walls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    /// As a plain user.
    Plain,
    /// As root of a user namespace that is thrown away, with namespaces of everything it could touch.
    Namespace,
    /// Not at all, for this reason.
    None(&'static str),
}

/// What must be there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Nothing special.
    Nothing,
    /// A process of the same user beside the run.
    Victim,
    /// A workspace without `.git` and `.github`.
    BareWorkspace,
    /// Descriptor 9 open on a file outside and 8 on a folder outside.
    Descriptors,
    /// Small limits in the policy.
    SmallLimits,
    /// What is started is sent this signal as soon as the attack asks for it.
    Signal(Signal),
}

/// One attack.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    /// Its name in the matrix.
    pub(crate) name: &'static str,
    /// The wall that must stop it, by its name in the report.
    pub(crate) wall: &'static str,
    /// What is tried, for the documents.
    pub(crate) what: &'static str,
    /// How success is seen.
    pub(crate) judge: Judge,
    /// What is done inside.
    pub(crate) attack: fn(&Aim) -> io::Result<()>,
    /// How it is shown to work.
    pub(crate) control: Control,
    /// What it needs.
    pub(crate) need: Need,
    /// Letters of the levels that cannot stop it, and say so in the report of each run.
    pub(crate) reported: &'static str,
    /// Why the control may fail on some machines, if it may.
    pub(crate) lacking: Option<&'static str>,
}

impl Case {
    /// A case with a plain control that every level stops.
    pub(crate) const fn new(
        name: &'static str,
        wall: &'static str,
        what: &'static str,
        judge: Judge,
        attack: fn(&Aim) -> io::Result<()>,
    ) -> Self {
        Self {
            name,
            wall,
            what,
            judge,
            attack,
            control: Control::Plain,
            need: Need::Nothing,
            reported: "",
            lacking: None,
        }
    }

    /// Another control.
    pub(crate) const fn control(self, control: Control) -> Self {
        Self { control, ..self }
    }

    /// A need.
    pub(crate) const fn need(self, need: Need) -> Self {
        Self { need, ..self }
    }

    /// Where the control may fail, after "but for".
    pub(crate) const fn lacking(self, reason: &'static str) -> Self {
        Self {
            lacking: Some(reason),
            ..self
        }
    }

    /// Levels that cannot stop it and report it.
    pub(crate) const fn reported(self, letters: &'static str) -> Self {
        Self {
            reported: letters,
            ..self
        }
    }
}
