//! The wall around files: Landlock rules on what may be read, run and written.
//! A right that the kernel knows is always handled; one that it does not know is reported, never assumed.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope,
};
use rustix::fs::{FileType, Mode, OFlags};
use serde::{Deserialize, Serialize};

use super::{Fault, sys};

/// What may be done beneath a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Grant {
    /// Read files and folders, run programs.
    Read,
    /// The same, and write, make, rename and remove; no device nodes.
    Write,
    /// Read and write what is there (device files), make nothing.
    Device,
    /// List and read, run nothing.
    Look,
}

/// One rule.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rule {
    /// The path; everything beneath it is meant.
    pub path: PathBuf,
    /// What may be done.
    pub grant: Grant,
}

/// Whether TCP is handled as well, with no rule at all: every bind and connect of our own is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tcp {
    /// The run has a network namespace of its own.
    Unhandled,
    /// Only the supervisor binds and connects (level C).
    Refused,
}

/// Puts the calling process and all that come from it under these rules for good.
/// Needs `no_new_privs`. A path that is not there grants nothing.
///
/// # Errors
/// Landlock is not there, or refused a rule.
pub fn restrict(rules: &[Rule], tcp: Tcp) -> Result<(), Fault> {
    let number = sys::landlock_abi();
    if number == 0 {
        let missing = std::io::Error::from_raw_os_error(libc::EOPNOTSUPP);
        return Err(Fault::new("use Landlock", missing));
    }
    let abi = ABI::from(i32::try_from(number).unwrap_or(i32::MAX));
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(abi))
        .map_err(refused)?;
    if tcp == Tcp::Refused && abi >= ABI::V4 {
        ruleset = ruleset
            .handle_access(AccessNet::from_all(abi))
            .map_err(refused)?;
    }
    if abi >= ABI::V6 {
        ruleset = ruleset.scope(Scope::from_all(abi)).map_err(refused)?;
    }
    let mut created = ruleset.create().map_err(refused)?;
    for rule in rules {
        let Some((file, kind)) = open(&rule.path)? else {
            continue;
        };
        let rights = rights(rule.grant, abi, kind);
        created = created
            .add_rule(PathBeneath::new(file.as_fd(), rights))
            .map_err(refused)?;
    }
    let status = created.restrict_self().map_err(refused)?;
    if status.ruleset == RulesetStatus::FullyEnforced {
        Ok(())
    } else {
        let partly = std::io::Error::other("the kernel enforces only a part");
        Err(Fault::new("use Landlock", partly))
    }
}

fn refused(error: landlock::RulesetError) -> Fault {
    Fault::new("use Landlock", std::io::Error::other(error))
}

fn open(path: &Path) -> Result<Option<(OwnedFd, FileType)>, Fault> {
    match rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
        Ok(file) => {
            let kind = rustix::fs::fstat(&file)
                .map_err(|error| Fault::new(format!("look at {}", path.display()), error))?;
            let kind = FileType::from_raw_mode(kind.st_mode);
            Ok(Some((file, kind)))
        }
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::ACCESS | rustix::io::Errno::NOTDIR) => {
            Ok(None)
        }
        Err(error) => Err(Fault::new(format!("open {}", path.display()), error)),
    }
}

/// Landlock answers EINVAL to a folder's right on a file, so the rights are cut to what the file is.
fn rights(grant: Grant, abi: ABI, kind: FileType) -> BitFlags<AccessFs> {
    let read = AccessFs::from_read(abi);
    let wanted = match grant {
        Grant::Read => read,
        Grant::Look => AccessFs::ReadFile | AccessFs::ReadDir,
        Grant::Device => {
            AccessFs::ReadFile
                | AccessFs::ReadDir
                | AccessFs::WriteFile
                | AccessFs::Truncate
                | AccessFs::IoctlDev
        }
        Grant::Write => {
            read | (AccessFs::from_write(abi) & !(AccessFs::MakeChar | AccessFs::MakeBlock))
        }
    };
    let known = wanted & AccessFs::from_all(abi);
    if kind == FileType::Directory {
        known
    } else {
        known & AccessFs::from_file(abi)
    }
}
