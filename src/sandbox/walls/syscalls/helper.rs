//! The filter of the waiting root helper: what waiting, killing and cleaning up take, and nothing else.
//! It must never let the helper run a program, make a process, write a file by its name, or become somebody else.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

use super::{ARCHITECTURE, Fault, bug};

/// Waiting, reading /proc and the cgroup, killing, removing, answering, and what the standard library needs for it.
const ALLOWED: &[i64] = &[
    libc::SYS_ppoll,
    libc::SYS_restart_syscall,
    libc::SYS_pidfd_send_signal,
    libc::SYS_wait4,
    libc::SYS_waitid,
    libc::SYS_read,
    libc::SYS_pread64,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_close,
    libc::SYS_fcntl,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_getdents64,
    libc::SYS_unlinkat,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_clock_gettime,
    libc::SYS_gettimeofday,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_sigaltstack,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// The same by their older numbers.
#[cfg(target_arch = "x86_64")]
const ALLOWED_OLD: &[i64] = &[
    libc::SYS_poll,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_unlink,
    libc::SYS_rmdir,
];
#[cfg(target_arch = "aarch64")]
const ALLOWED_OLD: &[i64] = &[];

/// A call whose argument must be without these bits, or have this value.
struct Bounded {
    number: i64,
    argument: u8,
    operation: SeccompCmpOp,
    value: u64,
}

fn bounded() -> Vec<Bounded> {
    let bits = |number, argument, bits: i32| Bounded {
        number,
        argument,
        operation: SeccompCmpOp::MaskedEq(bits.unsigned_abs().into()),
        value: 0,
    };
    // What is opened is read; the one file that is written to is open by now.
    let writing = libc::O_WRONLY | libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC;
    vec![
        bits(libc::SYS_openat, 2, writing),
        #[cfg(target_arch = "x86_64")]
        bits(libc::SYS_open, 1, writing),
        bits(libc::SYS_mmap, 2, libc::PROT_EXEC),
        bits(libc::SYS_mprotect, 2, libc::PROT_EXEC),
        Bounded {
            number: libc::SYS_kill,
            argument: 1,
            operation: SeccompCmpOp::Eq,
            value: libc::SIGKILL.unsigned_abs().into(),
        },
    ]
}

/// Puts the calling thread behind the filter for good. A call that is not listed fails; the run ends as it would have.
///
/// # Errors
/// What seccomp(2) says.
pub fn confine() -> Result<(), Fault> {
    seccompiler::apply_filter(&program()?)
        .map_err(|error| Fault::new("confine the helper", std::io::Error::other(error)))
}

fn program() -> Result<BpfProgram, Fault> {
    let plain = ALLOWED.iter().chain(ALLOWED_OLD);
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        plain.map(|number| (*number, Vec::new())).collect();
    for call in bounded() {
        let width = SeccompCmpArgLen::Dword;
        let test = SeccompCondition::new(call.argument, width, call.operation, call.value);
        let rule = SeccompRule::new(vec![test.map_err(bug)?]).map_err(bug)?;
        rules.insert(call.number, vec![rule]);
    }
    let eperm = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let filter =
        SeccompFilter::new(rules, eperm, SeccompAction::Allow, ARCHITECTURE.1).map_err(bug)?;
    filter.try_into().map_err(bug)
}
