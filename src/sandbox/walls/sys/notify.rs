//! The kernel calls of a seccomp supervisor (seccomp_unotify(2)): taking a notification, answering it, reading the caller's memory.
//! It must never decide anything.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::process::Pid;

use super::Instruction;

/// Ends the notified call inside a signal handler's reach only if the signal kills (Linux 5.19).
const WAIT_KILLABLE_RECEIVE: libc::c_ulong = 1 << 5;

/// Installs a filter that notifies; the answer is the listener, which is close-on-exec.
///
/// # Errors
/// EACCES without `no_new_privs`, EBUSY if a listener exists already in this process's filters, EINVAL for a program
/// that the kernel refuses.
pub fn install_notifying(program: &[Instruction]) -> io::Result<OwnedFd> {
    match install(program, WAIT_KILLABLE_RECEIVE) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => install(program, 0),
        other => other,
    }
}

fn install(program: &[Instruction], more: libc::c_ulong) -> io::Result<OwnedFd> {
    let length = u16::try_from(program.len())
        .map_err(|_too_long| io::Error::from_raw_os_error(libc::E2BIG))?;
    let filter = libc::sock_fprog {
        len: length,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: `filter` points to `len` instructions that outlive the call; the kernel only reads and checks them.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | more,
            &raw const filter,
        )
    };
    descriptor(answer)
}

/// A call that waits for an answer.
#[derive(Clone, Copy, Debug)]
pub struct Notification {
    /// Its name in the answer.
    pub id: u64,
    /// The calling thread, as this process sees it; 0 if it cannot.
    pub thread: Option<Pid>,
    /// The call's number.
    pub number: i32,
    /// Its arguments as they were in the registers.
    pub arguments: [u64; 6],
}

/// Takes the next notification. It waits if there is none.
///
/// # Errors
/// ENOENT if the caller died meanwhile.
pub fn receive(listener: BorrowedFd<'_>) -> io::Result<Notification> {
    let mut taken = libc::seccomp_notif {
        id: 0,
        pid: 0,
        flags: 0,
        data: libc::seccomp_data {
            nr: 0,
            arch: 0,
            instruction_pointer: 0,
            args: [0; 6],
        },
    };
    // SAFETY: the kernel demands a zeroed structure of the size that the number carries and fills it; this is one,
    // it is ours and lives through the call.
    let done = unsafe {
        libc::ioctl(
            listener.as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_RECV,
            &raw mut taken,
        )
    };
    zero(done.into())?;
    Ok(Notification {
        id: taken.id,
        thread: i32::try_from(taken.pid).ok().and_then(Pid::from_raw),
        number: taken.data.nr,
        arguments: taken.data.args,
    })
}

/// Lets a notified caller hand its processor to the supervisor and back (Linux 6.6), instead of waking another one.
///
/// # Errors
/// EINVAL or ENOTTY on older kernels; nothing but time is lost then.
pub fn share_processor(listener: BorrowedFd<'_>) -> io::Result<()> {
    /// `SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP` (linux/seccomp.h).
    const SAME_PROCESSOR: libc::c_ulong = 1;
    // SAFETY: this request takes a number and no pointer; it changes only how waiters are woken.
    let done = unsafe {
        libc::ioctl(
            listener.as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS,
            SAME_PROCESSOR,
        )
    };
    zero(done.into())
}

/// What the waiting call returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// This value.
    Value(i64),
    /// This error number, positive.
    Error(i32),
    /// The kernel goes on with the call and reads all memory anew: whatever it then does must be harmless.
    Continue,
}

/// Answers a notification.
///
/// # Errors
/// ENOENT if the caller no longer waits.
pub fn answer(listener: BorrowedFd<'_>, id: u64, reply: Reply) -> io::Result<()> {
    let (val, error, flags) = match reply {
        Reply::Value(value) => (value, 0, 0),
        Reply::Error(number) => (0, -number, 0),
        Reply::Continue => (0, 0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE),
    };
    let mut response = libc::seccomp_notif_resp {
        id,
        val,
        error,
        flags: u32::try_from(flags).unwrap_or_default(),
    };
    // SAFETY: the structure has the size that the number carries, is ours and lives through the call.
    let done = unsafe {
        libc::ioctl(
            listener.as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_SEND,
            &raw mut response,
        )
    };
    zero(done.into())
}

/// Whether the caller still waits, and so whether its thread id is still its own.
#[must_use]
pub fn is_valid(listener: BorrowedFd<'_>, id: u64) -> bool {
    // SAFETY: the kernel reads eight bytes from the pointer; `id` is a u64 that lives through the call.
    let done = unsafe {
        libc::ioctl(
            listener.as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_ID_VALID,
            &raw const id,
        )
    };
    done == 0
}

/// Puts a copy of `source` into the caller's table; the answer is its number there.
///
/// # Errors
/// ENOENT if the caller no longer waits, EMFILE if its table is full.
pub fn give_descriptor(
    listener: BorrowedFd<'_>,
    id: u64,
    source: BorrowedFd<'_>,
    close_on_exec: bool,
) -> io::Result<i64> {
    let source = u32::try_from(source.as_raw_fd()).unwrap_or(u32::MAX);
    let flag = if close_on_exec { libc::O_CLOEXEC } else { 0 };
    let mut request = libc::seccomp_notif_addfd {
        id,
        flags: 0,
        srcfd: source,
        newfd: 0,
        newfd_flags: u32::try_from(flag).unwrap_or_default(),
    };
    // SAFETY: the structure has the size that the number carries, is ours and lives through the call; the kernel
    // takes its own reference of the open source.
    let number = unsafe {
        libc::ioctl(
            listener.as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_ADDFD,
            &raw mut request,
        )
    };
    zero(number.into())?;
    Ok(number.into())
}

/// Copies the memory of another process into `into` once (`process_vm_readv(2)`); the answer is how many bytes came.
///
/// # Errors
/// ESRCH, EPERM if it may not be looked at, EFAULT for an address that it has not.
pub fn read_memory(process: Pid, address: u64, into: &mut [u8]) -> io::Result<usize> {
    let address =
        usize::try_from(address).map_err(|_none| io::Error::from_raw_os_error(libc::EFAULT))?;
    let local = libc::iovec {
        iov_base: into.as_mut_ptr().cast(),
        iov_len: into.len(),
    };
    let remote = libc::iovec {
        iov_base: std::ptr::without_provenance_mut(address),
        iov_len: into.len(),
    };
    // SAFETY: `local` describes `into`, which is ours for the whole call; `remote` is an address in the other process,
    // which the kernel checks there and this process never follows.
    let count = unsafe {
        libc::process_vm_readv(
            process.as_raw_nonzero().get(),
            &raw const local,
            1,
            &raw const remote,
            1,
            0,
        )
    };
    usize::try_from(count).map_err(|_negative| io::Error::last_os_error())
}

/// The state of a TCP socket as the kernel numbers them (7: closed, 10: listening; linux/tcp_states.h).
///
/// # Errors
/// The socket is none of TCP.
pub fn tcp_state(socket: BorrowedFd<'_>) -> io::Result<u8> {
    let mut state = 0_u8;
    let mut length: libc::socklen_t = 1;
    // SAFETY: the kernel writes at most `length` bytes, here one, to the pointer; tcpi_state is the first byte (tcp(7)).
    let done = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut state).cast(),
            &raw mut length,
        )
    };
    zero(done.into())?;
    Ok(state)
}

fn descriptor(answer: libc::c_long) -> io::Result<OwnedFd> {
    let number =
        RawFd::try_from(answer).map_err(|_too_large| io::Error::from_raw_os_error(libc::EBADF))?;
    if number < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: with NEW_LISTENER the answer is a descriptor that the kernel just made for us; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

fn zero(answer: libc::c_long) -> io::Result<()> {
    if answer < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
