//! The walls against running the host dry: limits that the kernel holds for each process.
//! What only a sum over all processes can hold is polled by the launcher, which names it. Where it does, the kernel's own
//! limit stands a little further out: a call that fails at the kernel's limit tells nobody, a run that is ended is named.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::syscalls::Ground;
use super::{Fault, Step};
use crate::wire::Limits;

/// Open files of one process.
pub const OPEN_FILES_MAX: u64 = 4096;
/// Bytes by which one process may pass the memory limit before the kernel refuses it more.
pub const MEMORY_HEADROOM_BYTES: u64 = 8 << 30;
/// Processes by which the run may pass their limit before the kernel refuses more, where it counts the run's alone.
pub const PROCESSES_HEADROOM: u64 = 128;
/// The same where the kernel counts all processes of the user, those outside of the run among them.
pub const PROCESSES_HEADROOM_SHARED: u64 = 1024;
/// Seconds of processor time by which one process may pass the limit before the kernel ends it.
pub const CPU_HEADROOM_SECONDS: u64 = 60;

/// Sets the limits of the calling process and of all that come from it.
///
/// # Errors
/// The limit that could not be set.
pub fn set(limits: &Limits, ground: Ground) -> Result<(), Fault> {
    // RLIMIT_AS would break Node, Java and Go, which reserve address space that they never use.
    let memory = limits.memory_bytes.saturating_add(MEMORY_HEADROOM_BYTES);
    lower(Resource::Data, memory, "limit memory")?;
    lower(Resource::Fsize, limits.file_bytes, "limit file size")?;
    let headroom = match ground {
        Ground::Own => PROCESSES_HEADROOM,
        Ground::Shared => PROCESSES_HEADROOM_SHARED,
    };
    let processes = limits.processes.saturating_add(headroom);
    lower(Resource::Nproc, processes, "limit processes")?;
    if let Some(limit) = limits.cpu_time_ms {
        let seconds = (limit / 1000).saturating_add(CPU_HEADROOM_SECONDS);
        lower(Resource::Cpu, seconds, "limit processor time")?;
    }
    lower(Resource::Nofile, OPEN_FILES_MAX, "limit open files")?;
    lower(Resource::Core, 0, "forbid core files")?;
    // A locked page is memory that cannot be taken back.
    lower(Resource::Msgqueue, 0, "forbid message queues")
}

/// A limit is never raised above what the caller has.
fn lower(resource: Resource, value: u64, name: &str) -> Result<(), Fault> {
    let most = getrlimit(resource)
        .maximum
        .map_or(value, |most| most.min(value));
    let limit = Rlimit {
        current: Some(most),
        maximum: Some(most),
    };
    setrlimit(resource, limit).step(name)
}
