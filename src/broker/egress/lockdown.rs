//! What the egress takes away from itself before it hears anyone: files, programs, other processes.
//! A fault in a parser of hostile bytes must find nothing here but the sockets that it already has.

use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, Scope,
};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch, apply_filter};

use super::error::EgressError;

/// What the system's resolver reads at every lookup, its plug-ins included, and the kernel's random numbers.
const READABLE: [&str; 7] = [
    "/etc",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/run/systemd/resolve",
    "/run/nscd",
    "/dev/urandom",
];

/// Calls that no part of the egress makes.
const REFUSED: [libc::c_long; 22] = [
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_kexec_load,
    libc::SYS_memfd_create,
];

/// Locks the calling thread and all that it starts. Call it before the first other thread.
///
/// Landlock is used as far as this kernel knows it; without it the egress still holds only what it was given.
pub(super) fn lock() -> Result<(), EgressError> {
    files().or(Err(EgressError::Message("Landlock cannot be set up")))?;
    calls().or(Err(EgressError::Message("seccomp cannot be set up")))
}

fn files() -> Result<(), landlock::RulesetError> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(ABI::V7))?
        .scope(Scope::AbstractUnixSocket | Scope::Signal)?
        .create()?;
    for path in READABLE {
        // A path that this system does not have grants nothing.
        let Ok(opened) = PathFd::new(path) else {
            continue;
        };
        rules = rules.add_rule(PathBeneath::new(opened, read))?;
    }
    rules.restrict_self()?;
    Ok(())
}

fn calls() -> Result<(), seccompiler::Error> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(seccompiler::Error::from)?;
    let rules = REFUSED.iter().map(|call| (*call, Vec::new())).collect();
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno(u32::from(EPERM)),
        arch,
    )
    .map_err(seccompiler::Error::from)?;
    let program: BpfProgram = filter.try_into().map_err(seccompiler::Error::from)?;
    apply_filter(&program)
}

/// `EPERM` of errno(3).
const EPERM: u8 = 1;
