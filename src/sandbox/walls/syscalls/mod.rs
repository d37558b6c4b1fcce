//! The wall before the kernel: which system calls exist inside.
//! It must never allow by doubt: a number that the table does not know does not exist.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

use super::{Fault, sys};

pub mod helper;
pub mod notify;
pub mod supervisor;
pub mod table;
pub mod tree;

use table::{Row, Scope};
use tree::Answer;

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: (u32, TargetArch) = (0xC000_003E, TargetArch::x86_64);
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: (u32, TargetArch) = (0xC000_00B7, TargetArch::aarch64);

/// What the run shares with the host, which decides how much must be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// It has namespaces of its own (levels A and B).
    Own,
    /// It shares the host's (levels C and D).
    Shared,
}

/// The programs, made before anything is restricted so that nothing can fail half-way.
#[derive(Debug)]
pub struct Filters {
    refusing: BpfProgram,
    first: Vec<sys::Instruction>,
    /// The calls that are refused whatever their arguments, once more: of filters that say the same the last one counts, and
    /// what it refuses is told to the kernel's audit. ENOSYS is not: every program of a newer libc meets that.
    told: Option<Vec<sys::Instruction>>,
}

impl Filters {
    /// Compiles them. Where the network is shared, `notify::program` comes on top. `audited`: whether somebody reads what the
    /// kernel's audit says of refusals.
    ///
    /// # Errors
    /// A row that cannot be compiled, which is a bug of ours.
    pub fn compile(ground: Ground, audited: bool) -> Result<Self, Fault> {
        let held = |row: &Row| row.scope == Scope::Everywhere || ground == Ground::Shared;
        let mut refused = table::refused();
        refused.retain(held);
        let mut filters = Self::of(&refused, &table::unknown())?;
        if audited {
            let always = refused.iter().filter(|row| row.tests.is_empty());
            let always: Result<BTreeMap<u32, Answer>, Fault> = always
                .map(|row| Ok((number(row.number)?, Answer::Error(libc::EPERM))))
                .collect();
            filters.told = Some(tree::program(ARCHITECTURE.0, &always?, Answer::Allow)?);
        }
        Ok(filters)
    }

    /// Compiles the rows that answer EPERM and those that answer ENOSYS.
    fn of(refused: &[Row], unknown: &[Row]) -> Result<Self, Fault> {
        let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
        let mut plain = BTreeMap::new();
        for row in refused {
            if row.tests.is_empty() {
                plain.insert(number(row.number)?, Answer::Error(libc::EPERM));
            } else {
                rules.entry(row.number).or_default().push(rule(row)?);
            }
        }
        for row in unknown {
            plain.insert(number(row.number)?, Answer::Error(libc::ENOSYS));
        }
        let eperm = SeccompAction::Errno(libc::EPERM.unsigned_abs());
        let filter =
            SeccompFilter::new(rules, SeccompAction::Allow, eperm, ARCHITECTURE.1).map_err(bug)?;
        Ok(Self {
            refusing: filter.try_into().map_err(bug)?,
            first: tree::program(ARCHITECTURE.0, &plain, Answer::Allow)?,
            told: None,
        })
    }

    /// Puts the calling process and all that come from it under the filters for good. Needs `no_new_privs`.
    ///
    /// # Errors
    /// What seccomp(2) says.
    pub fn install(&self) -> Result<(), Fault> {
        let lost = |error| Fault::new("filter system calls", error);
        let Some(told) = &self.told else {
            seccompiler::apply_filter(&self.refusing)
                .map_err(|error| lost(std::io::Error::other(error)))?;
            return sys::install_filter(&self.first, sys::Audit::Silent).map_err(lost);
        };
        let refusing: Vec<sys::Instruction> = self
            .refusing
            .iter()
            .map(|one| sys::Instruction {
                code: one.code,
                jt: one.jt,
                jf: one.jf,
                k: one.k,
            })
            .collect();
        sys::install_filter(&refusing, sys::Audit::Told)
            .and_then(|()| sys::install_filter(&self.first, sys::Audit::Silent))
            .and_then(|()| sys::install_filter(told, sys::Audit::Told))
            .map_err(lost)
    }
}

/// What the keeper of the door does from its start to its end; anything else kills it, and the run with it.
const DOORKEEPER: &[i64] = &[
    libc::SYS_ppoll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_socket,
    libc::SYS_setsockopt,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept4,
    libc::SYS_ioctl,
    libc::SYS_fcntl,
    libc::SYS_close,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_send_signal,
    libc::SYS_wait4,
    libc::SYS_waitid,
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_madvise,
    libc::SYS_futex,
    libc::SYS_getrandom,
    libc::SYS_rt_sigreturn,
    libc::SYS_restart_syscall,
    libc::SYS_clock_gettime,
    libc::SYS_exit_group,
    // Without a report of how it failed a bug of ours would look like an attack.
    libc::SYS_rt_sigprocmask,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_tgkill,
];

/// Confines the calling process to what the keeper of the door does. Needs `no_new_privs`.
///
/// # Errors
/// What seccomp(2) says.
pub fn confine_doorkeeper() -> Result<(), Fault> {
    let allowed: Result<BTreeMap<u32, Answer>, Fault> = DOORKEEPER
        .iter()
        .map(|call| Ok((number(*call)?, Answer::Allow)))
        .collect();
    let program = tree::program(ARCHITECTURE.0, &allowed?, Answer::Kill)?;
    sys::install_filter(&program, sys::Audit::Silent)
        .map_err(|error| Fault::new("confine the keeper of the door", error))
}

fn number(call: i64) -> Result<u32, Fault> {
    u32::try_from(call).map_err(bug)
}

fn bug<E: std::error::Error + Send + Sync + 'static>(error: E) -> Fault {
    Fault::new(
        "compile the system call filter",
        std::io::Error::other(error),
    )
}

fn rule(row: &Row) -> Result<SeccompRule, Fault> {
    let mut conditions = Vec::with_capacity(row.tests.len());
    for test in &row.tests {
        let condition = SeccompCondition::new(
            test.argument,
            test.width.clone(),
            test.operation.clone(),
            test.value,
        )
        .map_err(bug)?;
        conditions.push(condition);
    }
    SeccompRule::new(conditions).map_err(bug)
}

#[cfg(test)]
mod tests;
