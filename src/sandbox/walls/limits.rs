//! The walls against running the host dry: limits that the kernel holds for each process.
//! What only a sum over all processes can hold is polled by the launcher.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{Fault, Step};
use crate::wire::Limits;

/// Open files of one process.
pub const OPEN_FILES_MAX: u64 = 4096;

/// Sets the limits of the calling process and of all that come from it.
///
/// # Errors
/// The limit that could not be set.
pub fn set(limits: &Limits) -> Result<(), Fault> {
    // RLIMIT_AS would break Node, Java and Go, which reserve address space that they never use.
    lower(Resource::Data, limits.memory_bytes, "limit memory")?;
    lower(Resource::Fsize, limits.file_bytes, "limit file size")?;
    lower(Resource::Nproc, limits.processes, "limit processes")?;
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
