//! The one room that may hold `unsafe`: kernel calls that no safe crate offers.
//! It must never decide anything; it turns arguments into a call and the answer into a `Result`.
#![expect(
    unsafe_code,
    reason = "these kernel calls have no safe wrapper; each block says why its demands hold"
)]

pub mod notify;

use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::process::Pid;

/// Which of the two processes a `clone_process` call returned in.
#[derive(Debug)]
pub enum Side {
    /// The caller; holds the child's process id as the caller sees it.
    Parent(Pid),
    /// The new process.
    Child,
}

/// Makes a process as fork(2) does, in the new namespaces that `flags` (`CLONE_NEW*`) names.
/// The caller must be single-threaded: the child has only the calling thread (see clone(2)).
///
/// # Errors
/// What the kernel says: EPERM, ENOSPC or EUSERS where namespaces are forbidden.
pub fn clone_process(flags: libc::c_int) -> io::Result<Side> {
    let flags = libc::c_long::from(flags | libc::SIGCHLD);
    let none: libc::c_long = 0;
    // SAFETY: without CLONE_VM the child gets its own copy of the memory and of the stack (stack pointer 0 means
    // the caller's), so no memory is shared; the launcher has one thread, so no lock is held by another one.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, none, none, none, none) };
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    if pid == 0 {
        return Ok(Side::Child);
    }
    i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .map(Side::Parent)
        .ok_or_else(|| io::Error::from_raw_os_error(libc::EOVERFLOW))
}

/// Leaves the caller's network namespace for a new one (unshare(2)).
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN in the caller's user namespace.
pub fn leave_network() -> io::Result<()> {
    // SAFETY: CLONE_NEWNET changes only which network the process uses from now on; no memory and no descriptor is touched.
    zero(unsafe { libc::unshare(libc::CLONE_NEWNET) }.into())
}

/// Ends the process at once, without destructors or exit handlers: those belong to the process it was cloned from.
pub fn leave(code: i32) -> ! {
    // SAFETY: _exit(2) takes any number and never returns; no memory is touched.
    unsafe { libc::_exit(code) }
}

/// Takes over a descriptor that the parent process left open for us under a number agreed on in `wire`.
///
/// # Errors
/// EBADF if there is none.
pub fn adopt_descriptor(number: RawFd) -> io::Result<OwnedFd> {
    borrow_descriptor(number)?;
    // SAFETY: the number is open (just asked) and by the agreement in `wire` nothing else in this process owns it:
    // it came through exec, and each number is adopted once.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Borrows a descriptor that stays open for the life of this process: the door, which the plan names by its number.
///
/// # Errors
/// EBADF if there is none.
pub fn borrow_descriptor(number: RawFd) -> io::Result<BorrowedFd<'static>> {
    // SAFETY: F_GETFD only asks the table; a number without an open file gives EBADF.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    if flags < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the number is open (just asked), is not -1, and whoever put it into the plan keeps it open to the end.
    Ok(unsafe { BorrowedFd::borrow_raw(number) })
}

/// Puts another open file in the place of a standard stream (dup2(2)).
///
/// # Errors
/// EBADF if there is none to put there.
pub fn replace_stream(number: RawFd, file: BorrowedFd<'_>) -> io::Result<()> {
    if !(0..3).contains(&number) {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: the number is a standard stream's, which the standard library borrows anew for each use and which no value
    // owns; what stood there is closed in the same step, so the number is never free for another file.
    zero(unsafe { libc::dup2(file.as_raw_fd(), number) }.into())
}

/// Marks every descriptor from `first` on close-on-exec, known to us or not.
///
/// # Errors
/// ENOSYS before Linux 5.11.
pub fn close_all_on_exec(first: u32) -> io::Result<()> {
    // SAFETY: CLOSE_RANGE_CLOEXEC closes nothing now; it only sets a flag, so no owned descriptor goes stale.
    let done = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    zero(done)
}

/// Sets and clears attributes of a mount, with everything below it if `recursive` (mount_setattr(2)).
///
/// # Errors
/// What the kernel says; EPERM for an attribute that an outer namespace has locked.
pub fn mount_attributes(
    mount: BorrowedFd<'_>,
    recursive: bool,
    set: u64,
    clear: u64,
) -> io::Result<()> {
    let mut flags = libc::AT_EMPTY_PATH;
    if recursive {
        flags |= libc::AT_RECURSIVE;
    }
    let attributes = libc::mount_attr {
        attr_set: set,
        attr_clr: clear,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: the path is a static empty C string, `attributes` lives through the call and its size is passed with it.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    zero(done)
}

/// Lets a tree that is not mounted anywhere yet show the owners of its files as the map of a user namespace says
/// (mount_setattr(2), `MOUNT_ATTR_IDMAP`).
///
/// # Errors
/// EINVAL where a file system of the tree knows no such maps.
pub fn map_owners(tree: BorrowedFd<'_>, users: BorrowedFd<'_>) -> io::Result<()> {
    let users = u64::try_from(users.as_raw_fd())
        .map_err(|_negative| io::Error::from_raw_os_error(libc::EBADF))?;
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_IDMAP,
        attr_clr: 0,
        propagation: 0,
        userns_fd: users,
    };
    // SAFETY: the path is a static empty C string, `attributes` lives through the call and its size is passed with it;
    // the namespace's descriptor is borrowed, so it stays open.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    zero(done)
}

/// The Landlock ABI that the kernel speaks; 0 where there is none or it is switched off.
#[must_use]
pub fn landlock_abi() -> u32 {
    const VERSION: libc::c_uint = 1;
    let nothing: *const libc::c_void = std::ptr::null();
    // SAFETY: with LANDLOCK_CREATE_RULESET_VERSION the attribute pointer must be null and its size 0; both are.
    let abi =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, nothing, 0_usize, VERSION) };
    u32::try_from(abi).unwrap_or(0)
}

/// One instruction of a classic BPF program, as seccomp(2) takes it.
pub type Instruction = libc::sock_filter;

/// Whether the kernel's audit is told of what a filter refuses. It is always told of what a filter kills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audit {
    /// No.
    Silent,
    /// Yes (`SECCOMP_FILTER_FLAG_LOG`, seccomp(2)).
    Told,
}

/// Installs a seccomp filter.
///
/// # Errors
/// EACCES without `no_new_privs`, EINVAL for a program that the kernel refuses.
pub fn install_filter(program: &[Instruction], audit: Audit) -> io::Result<()> {
    let length = u16::try_from(program.len())
        .map_err(|_too_long| io::Error::from_raw_os_error(libc::E2BIG))?;
    let filter = libc::sock_fprog {
        len: length,
        filter: program.as_ptr().cast_mut(),
    };
    let flags = match audit {
        Audit::Silent => 0,
        Audit::Told => libc::SECCOMP_FILTER_FLAG_LOG,
    };
    // SAFETY: `filter` points to `len` instructions that outlive the call; the kernel only reads and checks them.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const filter,
        )
    };
    zero(answer)
}

/// Blocks these signals and gives a descriptor on which they are read instead (signalfd(2)).
///
/// # Errors
/// EMFILE or ENFILE.
pub fn signal_descriptor(signals: &[libc::c_int]) -> io::Result<OwnedFd> {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset writes the whole set to the memory that it is given, which is ours.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: sigemptyset has just initialised it.
    let mut set = unsafe { set.assume_init() };
    for signal in signals {
        // SAFETY: the set is initialised; a wrong number gives EINVAL and changes nothing.
        unsafe { libc::sigaddset(&raw mut set, *signal) };
    }
    // SAFETY: the set is initialised and only read; the old mask is not asked for.
    zero(unsafe {
        libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()).into()
    })?;
    // SAFETY: -1 asks for a new descriptor; the set is initialised and only read.
    let number =
        unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    if number < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just made this descriptor for us; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Does something with no signal blocked, and blocks again afterwards what was blocked before. A process that is started
/// meanwhile begins as it would without us: the mask passes through exec (signal(7)), and a debugger, for one, waits
/// for its children by SIGCHLD. A blocked signal that arrives meanwhile has its usual effect.
///
/// # Errors
/// None that the kernel documents for these arguments.
pub fn without_blocked_signals<T>(deed: impl FnOnce() -> T) -> io::Result<T> {
    let mut none = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset writes the whole set to the memory that it is given, which is ours.
    unsafe { libc::sigemptyset(none.as_mut_ptr()) };
    let mut before = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the new set was initialised just above, and the old one is written to memory of ours.
    let done = unsafe { libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), before.as_mut_ptr()) };
    zero(done.into())?;
    let answer = deed();
    // SAFETY: the call above succeeded, so it has written the old set; the set in between is not asked for.
    let done =
        unsafe { libc::sigprocmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut()) };
    zero(done.into())?;
    Ok(answer)
}

/// A signal read from a signal descriptor.
#[derive(Clone, Copy, Debug)]
pub struct Arrived {
    /// Its number.
    pub number: i32,
    /// Whether the kernel sent it (a terminal's key, for example) and not a process.
    pub from_kernel: bool,
}

/// Reads one waiting signal; none if there is none.
///
/// # Errors
/// What read(2) says but for EAGAIN.
pub fn read_signal(descriptor: BorrowedFd<'_>) -> io::Result<Option<Arrived>> {
    let mut bytes = [0_u8; size_of::<libc::signalfd_siginfo>()];
    match rustix::io::read(descriptor, &mut bytes) {
        Ok(length) if length == bytes.len() => {
            let word = |at: usize| {
                i32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
            };
            // ssi_signo is the first word, ssi_errno the second, ssi_code the third (signalfd(2)).
            Ok(Some(Arrived {
                number: word(0),
                from_kernel: word(8) > 0,
            }))
        }
        Ok(_) | Err(rustix::io::Errno::AGAIN) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The own process group; none if it has no number here, because it was made outside of this pid namespace.
#[must_use]
pub fn process_group() -> Option<Pid> {
    // SAFETY: getpgrp(2) takes no argument, touches no memory and cannot fail.
    Pid::from_raw(unsafe { libc::getpgrp() })
}

/// Asks for the own process id by its x32 number; whether the kernel answers.
#[cfg(target_arch = "x86_64")]
#[must_use]
pub fn answers_x32() -> bool {
    // SAFETY: getpid takes no argument and touches no memory, by whichever of its numbers.
    let answer = unsafe { libc::syscall(libc::SYS_getpid | 0x4000_0000) };
    answer > 0
}

/// Other processors have no such numbers.
#[cfg(not(target_arch = "x86_64"))]
#[must_use]
pub fn answers_x32() -> bool {
    false
}

/// Sets the host name of this UTS namespace.
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN in it.
pub fn set_host_name(name: &CStr) -> io::Result<()> {
    // SAFETY: pointer and length describe the same C string, which the kernel copies.
    zero(unsafe { libc::sethostname(name.as_ptr(), name.count_bytes()) }.into())
}

/// Sends a signal by number to a process of ours; rustix knows only the named ones.
///
/// # Errors
/// ESRCH if it is gone, EINVAL for no signal.
pub fn send_signal(process: Pid, signal: i32) -> io::Result<()> {
    // SAFETY: kill(2) touches no memory; the process id is positive, so it names one process.
    zero(unsafe { libc::kill(process.as_raw_nonzero().get(), signal) }.into())
}

/// Sends a signal to every process that the caller may signal, but to itself and to process 1 (kill(2), -1). The caller must
/// have no right over other users' processes.
///
/// # Errors
/// ESRCH if there is none.
pub fn kill_own_uid(signal: i32) -> io::Result<()> {
    // SAFETY: kill(2) touches no memory; -1 means all processes that this one, a plain user's by now, has a right over.
    zero(unsafe { libc::kill(-1, signal) }.into())
}

fn zero(answer: libc::c_long) -> io::Result<()> {
    if answer < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
