//! What passes between the side that may hold secrets and the side that holds none.
//! Nothing here is believed because it arrived; each side checks what it reads.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::names::Level;

/// What the walls are to be made of. Holds no secret: everything in it may be seen inside.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Exactly this level, or the strongest that works.
    pub level: Option<Level>,
    /// The weakest level that may be used.
    pub require: Level,
    /// The folder that the commands work in.
    pub workspace: Workspace,
    /// More readable paths: the policy's, and the toolchains that were found.
    pub read: Vec<PathBuf>,
    /// Folders of programs, which become `PATH`. One that is not shown inside is left out.
    pub path: Vec<PathBuf>,
    /// More writable paths.
    pub write: Vec<PathBuf>,
    /// Workspace paths that cannot be written, relative.
    pub read_only: Vec<String>,
    /// Workspace paths or globs that can be neither read nor written, relative.
    pub deny: Vec<String>,
    /// The whole environment but for what the walls themselves set (`PATH`, `HOME`, `TMPDIR`, proxy and CA).
    pub environment: Vec<(String, String)>,
    /// Files that the run finds in its HOME, by relative path. They hold no secret.
    #[serde(default)]
    pub home: Vec<(String, String)>,
    /// Limits.
    pub limits: Limits,
    /// Commands in order; the first that fails ends the run.
    pub commands: Vec<Command>,
    /// The road out.
    pub network: Network,
    /// Addresses that the policy names literally, with their ports; nothing else that is dialled by address has a road.
    pub listen: Vec<SocketAddr>,
}

/// The workspace and how it is shown.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Workspace {
    /// The folder itself; what is written stays. At level C a private copy is written back.
    InPlace {
        /// The folder.
        path: PathBuf,
    },
    /// A private view of the folder; what is written is thrown away.
    Copy {
        /// The folder.
        path: PathBuf,
    },
    /// A view of a materialised commit whose changes are collected afterwards (`run`, `execute`).
    View {
        /// The materialised tree, never written.
        lower: PathBuf,
        /// An empty folder, same file system, for what changes: overlay's upper at A and B, a whole copy of `lower` at C.
        upper: PathBuf,
        /// An empty folder, same file system, overlay's own.
        work: PathBuf,
        /// The path under which the commands see it.
        shown: PathBuf,
    },
}

/// Limits of everything inside, together unless the walls can only hold them per process.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Processes and threads.
    pub processes: u64,
    /// Milliseconds of processor time, if it is bounded.
    pub cpu_time_ms: Option<u64>,
    /// Bytes of one file.
    pub file_bytes: u64,
    /// Bytes written to disk.
    pub disk_bytes: u64,
    /// Bytes of stdout and stderr that are passed on, where the caller asked for a limit.
    pub output_bytes: Option<u64>,
    /// Milliseconds of wall time.
    pub wall_time_ms: u64,
}

/// One command inside.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Milliseconds of wall time for this command alone.
    pub wall_time_ms: Option<u64>,
    /// Variables for this command alone.
    pub environment: Vec<(String, String)>,
}

/// The road out of the walls.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Network {
    /// None at all; names do not resolve.
    None,
    /// Every connection is handed to the egress through the door, whose descriptor number is given.
    Egress {
        /// The unix SOCK_SEQPACKET descriptor on which `Handover` messages and descriptors go out.
        door: i32,
        /// Ports on which a name is answered for, the union of all rules' ports (80 and 443 always).
        ports: Vec<u16>,
        /// PEM bundle of system roots and the run's CA, a file outside that is shown inside read-only.
        ca_bundle: PathBuf,
        /// The explicit proxy's URL with the run's password, if there is one (level C sets proxy variables).
        proxy: Option<String>,
    },
}

/// Where the egress leaves the same certificates as Java reads them: beside the bundle.
#[must_use]
pub fn java_store(ca_bundle: &Path) -> PathBuf {
    ca_bundle.with_extension("jks")
}

/// Largest `Handover` message in bytes; a longer one is an error.
pub const HANDOVER_BYTES_MAX: usize = 1024;

/// One message through the door, JSON in one packet with exactly one descriptor beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Handover {
    /// A listening TCP socket in the run's network namespace (levels A and B): every connection it accepts was dialled to `host:port`.
    Listener {
        /// The name that our own resolver gave an address to, or an address literal that was dialled.
        host: String,
        /// The port.
        port: u16,
    },
    /// One connected stream (level C), dialled to `host:port`.
    Connection {
        /// As above.
        host: String,
        /// As above.
        port: u16,
    },
}

/// Whether a wall stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wall {
    /// It stands, and nothing inside gets round it.
    Enforced,
    /// It stands with gaps that the documents name.
    Partial,
    /// It does not stand.
    Absent,
}

/// What the walls say of a run, the object of `sandbox --json`. A claim of the inside where `broker` reads it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WallsReport {
    /// The level used; none if no command was started.
    pub level: Option<Level>,
    /// The kernel's Landlock ABI, 0 where there is none.
    pub abi: u32,
    /// `in-place` or `copied`.
    pub workspace: String,
    /// files, metadata, git, environment, network, dns, unix-sockets, syscalls, processes, uid, limits.*
    pub walls: BTreeMap<String, Wall>,
    /// What was refused; none where it is not known.
    pub denied: Option<Vec<Denied>>,
    /// The limit that was reached.
    pub limit: Option<String>,
    /// The exit code of `tagout sandbox` for this run.
    pub exit: i32,
    /// Why nothing was started, code and sentence; also the reason for each level that could not be had.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// Exit code of each command that was started, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<i32>,
}

/// One refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denied {
    /// The wall: one of the names of `WallsReport::walls`, or `egress`.
    pub wall: String,
    /// What was tried.
    pub what: String,
    /// How often.
    pub count: u64,
    /// The policy line that would allow it, if one can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<String>,
    /// Where the policy decided it, `file:line`, or which default did; none where no policy could decide otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
}

/// Hidden first argument: the egress process. Its stdin is a unix stream socket that carries the setup's length and the door, the setup,
/// one line of answer back, and by its end the caller's death; its stdout is the log, one JSON line a request.
pub const EGRESS_WORD: &str = "__egress";
/// Hidden first argument: the launcher of the walls. Plan at descriptor 3, report to descriptor 4.
pub const LAUNCH_WORD: &str = "__launch";
/// Hidden first argument: the root helper of level A, started by sudo. Its stdin is a unix SOCK_SEQPACKET socket of the launcher.
pub const HELPER_WORD: &str = "__helper";
/// The variable that names the root helper where it is not at its usual place.
pub const HELPER_VARIABLE: &str = "TAGOUT_HELPER";
/// Hidden first argument: the attacks by which the doctor proves the walls from inside. The second is an `EscapeAim` as JSON.
pub const ESCAPE_WORD: &str = "__escape";

/// What the doctor's own attacks are aimed at: made by it for this purpose, outside of the walls.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EscapeAim {
    /// A file.
    pub file: PathBuf,
    /// A listening unix socket.
    pub socket: PathBuf,
    /// The port of a TCP listener on 127.0.0.1.
    pub tcp: u16,
    /// The port of a UDP socket there.
    pub udp: u16,
    /// The doctor's own process.
    pub process: i32,
    /// The number of a descriptor that the doctor left open on the file.
    pub descriptor: i32,
}

/// First word of an attack's line when it got through; the wall and what was tried follow.
pub const ESCAPE_THROUGH: &str = "through";
/// The same when it was stopped.
pub const ESCAPE_HELD: &str = "held";
