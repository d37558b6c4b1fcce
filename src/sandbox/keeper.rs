//! Puts protected paths of a workspace right when the launcher is killed in the middle of a run (in place, level B).
//! It must never touch the workspace while anything of the run is alive, and never after a run that ended by itself.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::process::{Pid, WaitOptions};

use super::protect::Protected;
use super::walls::sys::{self, Side};
use crate::wire::Denied;

/// Pid 1 of the run lets go of the line a moment before the kernel has ended the others.
const PAUSE: Duration = Duration::from_millis(100);
/// So often it looks: the last time everything has long been gone.
const ROUNDS: usize = 3;

/// A process that waits for the end of the launcher.
#[derive(Debug)]
pub struct Keeper<'a> {
    protected: &'a Protected,
    line: UnixStream,
    /// Its own end of the line.
    theirs: UnixStream,
    process: Option<Pid>,
}

impl<'a> Keeper<'a> {
    /// Lays the line if there is something to put right. Whatever is cloned from the caller later holds it too, so that it
    /// breaks only when all of them are gone.
    ///
    /// # Errors
    /// No further descriptor can be made.
    pub fn prepare(protected: &'a Protected) -> io::Result<Option<Self>> {
        if protected.absent.is_empty() {
            return Ok(None);
        }
        let (line, theirs) = UnixStream::pair()?;
        Ok(Some(Self {
            protected,
            line,
            theirs,
            process: None,
        }))
    }

    /// Makes the process, in which `keep` is called next. Best when the walls are under way already: cloning takes the
    /// caller longer than anything else that it does.
    ///
    /// # Errors
    /// No further process can be made.
    pub fn start(&mut self) -> io::Result<Side> {
        let side = sys::clone_process(0)?;
        if let Side::Parent(process) = side {
            self.process = Some(process);
        }
        Ok(side)
    }

    /// What the process does; the answer is for `_exit`. It must hold no other line to the run, whose processes would not
    /// see the launcher's death.
    #[must_use]
    pub fn keep(self) -> i32 {
        drop(self.line);
        keep(self.theirs, self.protected)
    }

    /// Nothing of the run is left, and the launcher looks itself while the process ends: the answer is what it found. If
    /// nothing was `raised`, nothing can be wrong.
    #[must_use]
    pub fn dismiss(mut self, raised: bool) -> Vec<Denied> {
        // One that is gone already has nothing to do.
        if let Err(_gone) = self.line.write_all(b"d") {}
        let found = match raised {
            true => self.protected.clean_up(),
            false => Vec::new(),
        };
        if let Some(process) = self.process
            && let Err(_gone) = rustix::process::waitpid(Some(process), WaitOptions::empty())
        {
        }
        found
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
