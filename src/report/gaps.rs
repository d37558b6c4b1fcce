//! What a wall that does not stand whole leaves open at a level, in words for whoever reads a report.
//! It must never be silent about a wall that a level calls partial or absent.

use crate::names::Level;
use crate::wire::Wall;

/// What is open where this wall is partial or absent; nothing where it is enforced.
#[must_use]
pub fn gap(level: Level, wall: &str, state: Wall) -> Option<&'static str> {
    if state == Wall::Enforced {
        return None;
    }
    let of_level = match level {
        Level::A | Level::B => apart(wall),
        Level::C => shared(wall, state),
        Level::D => bare(wall, state),
    };
    of_level.or_else(|| limit(wall, state)).or(Some(UNKNOWN))
}

/// For a wall that this page does not know: a reader must not take silence for safety.
pub const UNKNOWN: &str = "what it leaves open is not known";

/// Levels a and b.
fn apart(wall: &str) -> Option<&'static str> {
    match wall {
        "unix-sockets" => {
            Some("a socket that a process of the host makes in the workspace can be connected to")
        }
        "uid" => Some("the commands keep uid 0, with every capability taken away"),
        "limits.processes" => Some(
            "the kernel does not count for uid 0; the sum is looked at, and a burst can pass it",
        ),
        _ => None,
    }
}

/// Level c.
fn shared(wall: &str, state: Wall) -> Option<&'static str> {
    match wall {
        // The uid is the run's own and owns nothing outside.
        "metadata" if state == Wall::Partial => Some(
            "whether a path exists, or that something happens in a folder, can be found out, and files that everybody may write \
             to can be given a new time",
        ),
        "files" => Some("/dev/shm and the user's terminals are shared with the machine"),
        "metadata" => Some(
            "mode, owner, times and attributes of the user's files outside can be changed, and whether a path exists, or that \
             something happens in a folder, can be found out",
        ),
        "processes" => Some("the command lines of the machine's other processes can be read"),
        "uid" => Some("the commands keep the caller's uid"),
        "limits.processes" => Some(
            "the kernel counts all processes of the user; the run's own are looked at, and a burst can pass the limit",
        ),
        _ => None,
    }
}

/// Level d.
fn bare(wall: &str, state: Wall) -> Option<&'static str> {
    match wall {
        "files" => Some(
            "whatever their user may read or write, the commands may; where root's keep uid 0, that includes root's own files such \
             as /etc/shadow and the settings of the kernel",
        ),
        "metadata" => Some("mode, owner, times and existence of the user's files are not walled"),
        "git" => Some(
            "protected paths can be written in the private copy; what was written there is left out of what is kept",
        ),
        "network" => Some("a daemon that listens on a unix socket may have a road out"),
        "dns" => Some("names are not answered by Tagout"),
        "unix-sockets" => {
            Some("every unix socket of the machine that the user may use can be connected to")
        }
        "processes" => Some(
            "other processes of the user can be signalled, and their memory, environment and descriptors read",
        ),
        "uid" => Some(
            "the commands keep the caller's uid; root's keep uid 0, with every capability taken away",
        ),
        _ => shared(wall, state),
    }
}

/// The limits, which leave the same open at all levels.
fn limit(wall: &str, state: Wall) -> Option<&'static str> {
    match wall {
        "limits.memory" => {
            Some("the sum is looked at every 10 to 50 milliseconds; a burst can pass it")
        }
        "limits.disk" => Some("what was written is looked at, not refused at once"),
        "limits.cpu-time" if state == Wall::Partial => Some(
            "the sum is looked at; a child that nobody waits for is in no sum once it has ended",
        ),
        "limits.cpu-time" => Some("the policy sets none"),
        "limits.output" if state == Wall::Partial => {
            Some("what is written to a terminal is not counted")
        }
        "limits.output" => Some("everything is passed on"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wall_that_is_not_whole_has_words() {
        for level in [Level::A, Level::B, Level::C, Level::D] {
            assert_eq!(gap(level, "metadata", Wall::Enforced), None);
            for wall in ["limits.memory", "limits.disk", "uid", "unix-sockets"] {
                let expected = (level, wall) != (Level::C, "unix-sockets");
                let told = gap(level, wall, Wall::Partial);
                assert_eq!(told != Some(UNKNOWN), expected, "{level} {wall}");
            }
        }
        assert_eq!(gap(Level::C, "new", Wall::Absent), Some(UNKNOWN));
    }
}
