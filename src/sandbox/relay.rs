//! A small process between a run and its caller's stdout and stderr, which passes on no more than the limit on output.
//! It must never look at what it passes, and never keep the launcher waiting: whoever reads may be slow.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, set_parent_process_death_signal};
use rustix::thread::CapabilitySet;

use super::walls::privileges;
use super::walls::sys::{self, Side};
use super::watch::{PASSED, timespec};

/// The streams that count.
const OUTPUT: [i32; 2] = [1, 2];
/// The first number behind the standard streams'.
const BEHIND_STREAMS: i32 = 3;
/// Bytes that are passed on at a time.
const PART_BYTES: usize = 64 * 1024;
/// What the relay says once when the limit is reached.
const OVER: &[u8] = b"o";
/// Its exit code then.
const OVER_CODE: i32 = 3;

/// The relay, and the caller's streams that it writes to.
#[derive(Debug)]
pub struct Relay {
    process: Pid,
    originals: Vec<(i32, OwnedFd)>,
    over: OwnedFd,
}

/// One stream of the run's, and where it goes.
struct Lane {
    from: OwnedFd,
    to: OwnedFd,
}

impl Relay {
    /// Puts itself between, if there is a limit. A terminal stays with the run as it is, and what is written to it is not
    /// counted. From here on whatever is started writes to the relay.
    ///
    /// # Errors
    /// No process or no pipe can be made.
    pub fn start(limit: Option<u64>) -> io::Result<Option<Self>> {
        let Some(limit) = limit else { return Ok(None) };
        let (mut lanes, mut originals, mut places) =
            (Vec::new(), Vec::new(), Vec::<OwnedFd>::new());
        let mut known: Option<(u64, u64)> = None;
        for number in OUTPUT {
            let stream = sys::borrow_descriptor(number)?;
            if rustix::termios::isatty(stream) {
                continue;
            }
            let meta = rustix::fs::fstat(stream)?;
            let file = (meta.st_dev, meta.st_ino);
            let original = keep(stream)?;
            // Both streams of one file go through one pipe, or their order would be lost.
            let write = match places.first() {
                Some(first) if known == Some(file) => keep(first.as_fd())?,
                Some(_) | None => {
                    let (read, write) = io::pipe()?;
                    lanes.push(Lane {
                        from: read.into(),
                        to: keep(stream)?,
                    });
                    write.into()
                }
            };
            known = Some(file);
            originals.push((number, original));
            places.push(write);
        }
        if lanes.is_empty() {
            return Ok(None);
        }
        let (over, tell) = io::pipe()?;
        let process = match sys::clone_process(0)? {
            Side::Child => {
                drop((places, originals, over));
                sys::leave(pass(lanes, &tell.into(), limit))
            }
            Side::Parent(process) => process,
        };
        for ((number, _), place) in originals.iter().zip(&places) {
            sys::replace_stream(*number, place.as_fd())?;
        }
        Ok(Some(Self {
            process,
            originals,
            over: over.into(),
        }))
    }

    /// Readable when the limit was reached, or when the relay is gone.
    pub fn news(&self) -> BorrowedFd<'_> {
        self.over.as_fd()
    }

    /// Gives the caller its streams back and waits until everything was passed on, at most until then. Whether the limit was
    /// reached.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn finish(self, until: Instant) -> io::Result<bool> {
        for (number, original) in &self.originals {
            sys::replace_stream(*number, original.as_fd())?;
        }
        let gone = rustix::process::pidfd_open(self.process, PidfdFlags::empty())?;
        let passed: Vec<i32> = PASSED.iter().map(|signal| signal.as_raw()).collect();
        let signals = sys::signal_descriptor(&passed)?;
        let mut waited = [
            PollFd::new(&gone, PollFlags::IN),
            PollFd::new(&signals, PollFlags::IN),
        ];
        let left = timespec(until.saturating_duration_since(Instant::now()));
        // Late, interrupted or told to end: what was not read by now is lost, as with any program that is ended.
        let ended =
            matches!(poll(&mut waited, Some(&left)), Ok(1..)) && !waited[0].revents().is_empty();
        if !ended
            && let Err(_just_ended) = rustix::process::kill_process(self.process, Signal::KILL)
        {
        }
        let status = rustix::process::waitpid(Some(self.process), WaitOptions::empty())?;
        Ok(status.is_some_and(|(_, status)| status.exit_status() == Some(OVER_CODE)))
    }
}

fn keep(stream: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd> {
    rustix::io::fcntl_dupfd_cloexec(stream, BEHIND_STREAMS)
}

/// The relay's whole life; the answer is for `_exit`.
fn pass(mut lanes: Vec<Lane>, tell: &OwnedFd, limit: u64) -> i32 {
    // A key of the terminal is not meant for us.
    let apart = rustix::process::setpgid(None, None).is_ok()
        && set_parent_process_death_signal(Some(Signal::KILL)).is_ok()
        && privileges::drop_all(CapabilitySet::empty()).is_ok()
        && privileges::hide_from_tracers().is_ok();
    if !apart {
        return 1;
    }
    let mut left = limit;
    let mut over = false;
    while !lanes.is_empty() {
        let mut waited: Vec<PollFd<'_>> = lanes
            .iter()
            .map(|lane| PollFd::new(&lane.from, PollFlags::IN))
            .collect();
        match poll(&mut waited, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_lost) => return 1,
        }
        let ready: Vec<bool> = waited.iter().map(|one| !one.revents().is_empty()).collect();
        let mut ready = ready.into_iter();
        lanes.retain(|lane| {
            if ready.next() != Some(true) {
                return true;
            }
            match lane.pass(&mut left) {
                Passed::All => true,
                Passed::Over => {
                    // Once is enough, and the pipe holds it. A launcher that is gone ends us.
                    if !over && let Err(_gone) = rustix::io::write(tell, OVER) {}
                    over = true;
                    true
                }
                Passed::End => false,
            }
        });
    }
    if over { OVER_CODE } else { 0 }
}

enum Passed {
    All,
    /// The rest was dropped.
    Over,
    /// The run has closed it, or the caller has: then the run's next write fails as it would without us.
    End,
}

impl Lane {
    fn pass(&self, left: &mut u64) -> Passed {
        let mut part = [0_u8; PART_BYTES];
        let length = match rustix::io::read(&self.from, &mut part) {
            Ok(0) => return Passed::End,
            Ok(length) => length,
            Err(rustix::io::Errno::INTR) => return Passed::All,
            Err(_lost) => return Passed::End,
        };
        let allowed = usize::try_from(*left).map_or(length, |left| length.min(left));
        *left = left.saturating_sub(allowed as u64);
        let mut rest = &part[..allowed];
        while !rest.is_empty() {
            match rustix::io::write(&self.to, rest) {
                Ok(written) => rest = &rest[written..],
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => {
                    // A caller may have made its own end one that does not wait.
                    let mut room = [PollFd::new(&self.to, PollFlags::OUT)];
                    if poll(&mut room, None).is_err() {
                        return Passed::End;
                    }
                }
                Err(_closed) => return Passed::End,
            }
        }
        if allowed < length {
            Passed::Over
        } else {
            Passed::All
        }
    }
}
