//! What the egress takes away from itself before it hears anyone: root's rights, files, programs, other processes.
//! A fault in a parser of hostile bytes must find nothing here but the sockets that it already has.

use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, Scope,
};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType};
use rustix::process::{DumpableBehavior, Gid, Uid, set_dumpable_behavior};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs, set_thread_groups,
    set_thread_res_gid, set_thread_res_uid,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter,
};

use super::error::EgressError;

/// What the system's resolver reads at every lookup, its plug-ins included, and the kernel's random numbers. Of `/etc` only
/// these files: run as root it holds keys and passwords.
const READABLE: [&str; 15] = [
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/protocols",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/run/systemd/resolve",
    "/run/nscd",
    "/dev/urandom",
];

/// Calls that no part of the egress makes.
const REFUSED: [libc::c_long; 24] = [
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
    libc::SYS_open_by_handle_at,
    libc::SYS_syslog,
];

/// The kinds of sockets that are needed: the road itself, the resolver's questions, its daemons, and the list of interfaces.
const FAMILIES: [AddressFamily; 4] = [
    AddressFamily::UNIX,
    AddressFamily::INET,
    AddressFamily::INET6,
    AddressFamily::NETLINK,
];
/// The low bits of a socket's type (socket(2)).
const TYPE_MASK: u64 = 0xf;

/// Who the egress is where root started it: a uid and gid that nobody else has. systemd's list leaves 60578 to 61183 free
/// (UIDS-GIDS.md), and the uids of level A begin above it.
const OWN_ID: u32 = 60_599;
/// What everybody must be able to read before root's egress becomes somebody else, or no name could be looked up any more.
const RESOLVER_FILES: [&str; 3] = ["/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf"];

/// Locks the calling thread and all that it starts. Call it before the first other thread.
///
/// Landlock is used as far as this kernel knows it; without it the egress still holds only what it was given.
pub(super) fn lock() -> Result<(), EgressError> {
    privileges().or(Err(EgressError::Message("privileges cannot be given up")))?;
    files().or(Err(EgressError::Message("Landlock cannot be set up")))?;
    calls().or(Err(EgressError::Message("seccomp cannot be set up")))
}

/// Gives up root's uid where that is possible, and every capability in any case.
fn privileges() -> Result<(), Errno> {
    for capability in CapabilitySet::all().iter() {
        match remove_capability_from_bounding_set(capability) {
            // EINVAL: newer than this kernel. EPERM: a plain process, which without new privileges has no use for the set.
            Ok(()) | Err(Errno::INVAL | Errno::PERM) => {}
            Err(errno) => return Err(errno),
        }
    }
    if rustix::process::geteuid().is_root() {
        become_nobody_else()?;
    }
    clear_ambient_capability_set()?;
    set_no_new_privs(true)?;
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, none)?;
    // A change of the uid may have made it dumpable again (fs.suid_dumpable).
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
}

/// Takes a uid of its own. Uid 0 stays, without any capability, where that uid is not mapped, where the resolver's files are
/// root's alone, and where the caller would lack the right to end a process of another uid.
fn become_nobody_else() -> Result<(), Errno> {
    use std::os::unix::fs::PermissionsExt as _;
    let open = |path: &str| {
        std::fs::metadata(path).map_or(true, |file| file.permissions().mode() & 0o004 != 0)
    };
    let may = CapabilitySet::SETUID | CapabilitySet::SETGID | CapabilitySet::KILL;
    if !capabilities(None)?.effective.contains(may) || !RESOLVER_FILES.iter().all(|path| open(path))
    {
        return Ok(());
    }
    let (user, group) = (Uid::from_raw(OWN_ID), Gid::from_raw(OWN_ID));
    // EPERM: a user namespace that was made without a right to change groups; they stay as they are.
    match set_thread_groups(&[]) {
        Ok(()) | Err(Errno::PERM) => {}
        Err(errno) => return Err(errno),
    }
    // EINVAL: not mapped in this user namespace.
    match set_thread_res_gid(group, group, group) {
        Ok(()) => {}
        Err(Errno::INVAL) => return Ok(()),
        Err(errno) => return Err(errno),
    }
    match set_thread_res_uid(user, user, user) {
        Ok(()) | Err(Errno::INVAL) => Ok(()),
        Err(errno) => Err(errno),
    }
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
    let mut rules: Vec<(libc::c_long, Vec<SeccompRule>)> =
        REFUSED.iter().map(|call| (*call, Vec::new())).collect();
    rules.push((libc::SYS_socket, sockets()?));
    let filter = SeccompFilter::new(
        rules.into_iter().collect(),
        SeccompAction::Allow,
        SeccompAction::Errno(u32::from(EPERM)),
        arch,
    )
    .map_err(seccompiler::Error::from)?;
    let program: BpfProgram = filter.try_into().map_err(seccompiler::Error::from)?;
    apply_filter(&program)
}

/// Sockets of any other family, and raw ones of the internet's.
fn sockets() -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    let family = |how: SeccompCmpOp, family: AddressFamily| {
        SeccompCondition::new(0, SeccompCmpArgLen::Dword, how, family.as_raw().into())
    };
    let raw = || {
        let kind = u64::from(SocketType::RAW.as_raw());
        SeccompCondition::new(
            1,
            SeccompCmpArgLen::Dword,
            SeccompCmpOp::MaskedEq(TYPE_MASK),
            kind,
        )
    };
    let others: Result<Vec<SeccompCondition>, _> = FAMILIES
        .into_iter()
        .map(|known| family(SeccompCmpOp::Ne, known))
        .collect();
    let mut rules = vec![SeccompRule::new(others?)?];
    for internet in [AddressFamily::INET, AddressFamily::INET6] {
        rules.push(SeccompRule::new(vec![
            family(SeccompCmpOp::Eq, internet)?,
            raw()?,
        ])?);
    }
    Ok(rules)
}

/// `EPERM` of errno(3).
const EPERM: u8 = 1;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::ErrorKind;
    use std::net::{TcpListener, TcpStream, ToSocketAddrs};
    use std::process::Command;

    use rustix::io::Errno;
    use rustix::net::{AddressFamily, SocketType, socket};
    use rustix::process::{Uid, geteuid, getppid, test_kill_process};
    use rustix::thread::set_thread_uid;

    const MARK: &str = "TAGOUT_TEST_LOCKED_DOWN";

    #[test]
    fn a_process_that_locked_itself_down_has_its_sockets_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "broker::egress::lockdown::tests::probes"])
            .args(["--ignored", "--nocapture", "--test-threads=1"])
            .env(MARK, folder.path())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains("1 passed"), "{text}\n{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    #[ignore = "runs only in the process that the test above starts"]
    fn probes() {
        let folder = std::env::var_os(MARK).expect("only in a process of its own");
        let kept = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let was_root = geteuid().is_root();
        super::lock().unwrap();
        // No files: not to write, not to read, not to list; and no programs.
        let denied = ErrorKind::PermissionDenied;
        let file = std::path::Path::new(&folder).join("new");
        assert_eq!(fs::write(&file, "x").unwrap_err().kind(), denied);
        assert_eq!(fs::create_dir(&file).unwrap_err().kind(), denied);
        for path in [
            "/proc/self/exe",
            "/proc/self/environ",
            "/etc/passwd",
            "/usr/bin/env",
            "/dev/zero",
        ] {
            assert_eq!(fs::read(path).unwrap_err().kind(), denied, "{path}");
        }
        for path in ["/", "/etc", "/home", "/tmp", "/proc"] {
            assert_eq!(fs::read_dir(path).unwrap_err().kind(), denied, "{path}");
        }
        let started = Command::new("/bin/true").status();
        assert_eq!(started.unwrap_err().kind(), denied);
        // No right of root's, also where root started it.
        let low = TcpListener::bind(("127.0.0.1", 1)).unwrap_err();
        assert_eq!(low.kind(), denied);
        if was_root && !geteuid().is_root() {
            assert_eq!(set_thread_uid(Uid::ROOT), Err(Errno::PERM));
            let parent = getppid().unwrap();
            assert_eq!(test_kill_process(parent), Err(Errno::PERM));
        }
        // No sockets but those of the road and the resolver.
        for family in [
            AddressFamily::PACKET,
            AddressFamily::VSOCK,
            AddressFamily::CAN,
            AddressFamily::BLUETOOTH,
        ] {
            let made = socket(family, SocketType::STREAM, None);
            assert_eq!(made.unwrap_err(), Errno::PERM, "{family:?}");
        }
        for family in [AddressFamily::INET, AddressFamily::INET6] {
            let made = socket(family, SocketType::RAW, None);
            assert_eq!(made.unwrap_err(), Errno::PERM, "{family:?}");
        }
        // And what it needs works: names, dialling, being dialled.
        assert!(fs::read("/etc/hosts").is_ok());
        assert!(
            ("localhost", 80)
                .to_socket_addrs()
                .unwrap()
                .next()
                .is_some()
        );
        let address = kept.local_addr().unwrap();
        TcpStream::connect(address).unwrap();
        kept.accept().unwrap();
        TcpListener::bind(("127.0.0.1", 0)).unwrap();
    }
}
