//! Puts protected paths of a workspace right when the launcher is killed in the middle of a run (in place, level B).
//! It must never touch the workspace while anything of the run is alive, and never after a run that ended by itself.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::process::{Pid, WaitOptions};

use super::protect::Protected;
use super::walls::sys::{self, Side};

/// Pid 1 of the run lets go of the line a moment before the kernel has ended the others.
const PAUSE: Duration = Duration::from_millis(100);
/// So often it looks: the last time everything has long been gone.
const ROUNDS: usize = 3;

/// A process that waits for the end of the launcher.
#[derive(Debug)]
pub struct Keeper {
    line: UnixStream,
    process: Pid,
}

impl Keeper {
    /// Starts one if there is something to put right. Whatever is cloned from the caller later holds the line too, so that
    /// it breaks only when all of them are gone.
    ///
    /// # Errors
    /// No further process can be made.
    pub fn start(protected: &Protected) -> io::Result<Option<Self>> {
        if protected.absent.is_empty() {
            return Ok(None);
        }
        let (line, theirs) = UnixStream::pair()?;
        match sys::clone_process(0)? {
            Side::Child => {
                drop(line);
                sys::leave(keep(theirs, protected))
            }
            Side::Parent(process) => Ok(Some(Self { line, process })),
        }
    }

    /// The run has ended, and the launcher puts things right itself.
    pub fn dismiss(mut self) {
        // One that is gone already has nothing to do.
        if let Err(_gone) = self.line.write_all(b"d") {}
        if let Err(_gone) = rustix::process::waitpid(Some(self.process), WaitOptions::empty()) {}
    }
}

fn keep(mut line: UnixStream, protected: &Protected) -> i32 {
    // What kills the launcher's group is not meant for us.
    let apart = rustix::process::setpgid(None, None);
    if apart.is_err() || line.read(&mut [0]).is_ok_and(|count| count == 1) {
        return 0;
    }
    let mut left = Vec::new();
    for _ in 0..ROUNDS {
        std::thread::sleep(PAUSE);
        left = protected.clean_up();
    }
    i32::from(!left.is_empty())
}
