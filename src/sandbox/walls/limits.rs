//! The walls against running the host dry: limits that the kernel holds for each process.
//! What only a sum over all processes can hold is polled by the launcher, which names it. Where it does, the kernel's own
//! limit stands a little further out: a call that fails at the kernel's limit tells nobody, a run that is ended is named.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{Fault, Step};
use crate::wire::Limits;

/// Open files of one process.
pub const OPEN_FILES_MAX: u64 = 4096;
/// Bytes by which one process may pass the memory limit before the kernel refuses it more.
pub const MEMORY_HEADROOM_BYTES: u64 = 8 << 30;
/// Processes of our own that the kernel counts with the run's: the outer one and init.
pub const OURS: u64 = 2;
/// Processes by which the run may pass their limit before the kernel refuses more, where it counts the run's alone. Nearer, a
/// fork bomb of shells dies of the refusal between two looks, and nobody can say of what.
pub const PROCESSES_HEADROOM: u64 = 128;
/// The same where the kernel counts all processes of the user, those outside of the run among them.
pub const PROCESSES_HEADROOM_SHARED: u64 = 1024;
/// Seconds of processor time between the signal that tells one process of the limit and its end.
pub const CPU_GRACE_SECONDS: u64 = 1;

/// Whom the run's processes are counted with by the kernel's own limit (RLIMIT_NPROC).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Nobody: the uid is the run's alone, or is counted apart in its user namespace.
    Alone,
    /// All other processes of the user.
    WithOthers,
    /// The kernel does not count the processes of uid 0 (fork(2), EAGAIN).
    Never,
}

/// Sets the limits of the calling process and of all that come from it.
///
/// # Errors
/// The limit that could not be set.
pub fn set(limits: &Limits, counted: Counted) -> Result<(), Fault> {
    // RLIMIT_AS would break Node, Java and Go, which reserve address space that they never use.
    let memory = limits.memory_bytes.saturating_add(MEMORY_HEADROOM_BYTES);
    lower(Resource::Data, memory, "limit memory")?;
    lower(Resource::Fsize, limits.file_bytes, "limit file size")?;
    let headroom = match counted {
        Counted::Alone => PROCESSES_HEADROOM,
        Counted::WithOthers | Counted::Never => PROCESSES_HEADROOM_SHARED,
    };
    let processes = limits.processes.saturating_add(headroom);
    lower(Resource::Nproc, processes, "limit processes")?;
    if let Some(limit) = limits.cpu_time_ms {
        // The signal names the limit; whoever handles it is ended a moment later.
        let soft = limit.div_ceil(1000).max(1);
        let hard = soft.saturating_add(CPU_GRACE_SECONDS);
        lower_both(Resource::Cpu, soft, hard, "limit processor time")?;
    }
    lower(Resource::Nofile, OPEN_FILES_MAX, "limit open files")?;
    lower(Resource::Core, 0, "forbid core files")?;
    // A locked page is memory that cannot be taken back.
    lower(Resource::Msgqueue, 0, "forbid message queues")
}

fn lower(resource: Resource, value: u64, name: &str) -> Result<(), Fault> {
    lower_both(resource, value, value, name)
}

/// A limit is never raised above what the caller has.
fn lower_both(resource: Resource, soft: u64, hard: u64, name: &str) -> Result<(), Fault> {
    let most = getrlimit(resource).maximum;
    let least = |value: u64| most.map_or(value, |most| most.min(value));
    let limit = Rlimit {
        current: Some(least(soft)),
        maximum: Some(least(hard)),
    };
    setrlimit(resource, limit).step(name)
}
