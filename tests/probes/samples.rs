//! One harmless call for each row of the system call table: made with arguments that the row refuses, and that the kernel
//! would turn down for another reason if the row were not there.

use seccompiler::SeccompCmpOp as Op;
use tagout::sandbox::walls::syscalls::table::{self, Row, Scope};

/// One call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its number here.
    pub(crate) number: libc::c_long,
    /// What it is called with.
    pub(crate) arguments: [i64; 6],
    /// The error number of the filter.
    pub(crate) refusal: i32,
}

/// No process can have this id (`PID_MAX_LIMIT` is 4194304), no socket family this number, and no personality these bits.
const NOBODY: i64 = 0x40_0005;
/// Beside a namespace's bit the kernel answers EINVAL: threads cannot be made without shared signal handlers.
const CLONE_THREAD: i64 = 0x1_0000;

/// A sample of each row that holds where the host's view is shared, or where it is not.
pub(crate) fn all(shared: bool) -> Vec<Sample> {
    let held = |row: &Row| shared || row.scope == Scope::Everywhere;
    let sample = |row: &Row, refusal| Sample {
        name: row.name,
        number: row.number,
        arguments: arguments(row),
        refusal,
    };
    let refused = table::refused();
    let refused = refused.iter().filter(|row| held(row));
    let unknown = table::unknown();
    let unknown = unknown.iter().filter(|row| held(row));
    refused
        .map(|row| sample(row, libc::EPERM))
        .chain(unknown.map(|row| sample(row, libc::ENOSYS)))
        .collect()
}

fn arguments(row: &Row) -> [i64; 6] {
    if row.tests.is_empty() {
        // A pointer that is none, a descriptor that is none, an identifier that is none; no flags.
        let second = if row.name == "SYS_msgget" { 0 } else { -1 };
        return [-1, second, 0, 0, 0, 0];
    }
    let mut arguments = [0; 6];
    for test in &row.tests {
        arguments[usize::from(test.argument)] = match test.operation {
            Op::Eq | Op::MaskedEq(_) => i64::try_from(test.value).expect("values have 32 bits"),
            _ => NOBODY,
        };
    }
    if row.name == "SYS_clone" {
        arguments[0] |= CLONE_THREAD;
    }
    arguments
}
