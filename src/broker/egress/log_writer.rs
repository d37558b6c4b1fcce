//! Writes the log on a thread of its own, so that a slow disk does not slow the requests.
//! No request may be let through whose line may never be written, and nothing that is inside can stop, forge or flood it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;
use tokio::sync::Notify;

use super::log::{Decision, Event};

/// The code of a request that was refused because its line could not be written.
pub(super) const UNLOGGED: &str = "log-broken";

/// Refusals of one kind and host that get a line each; later ones are folded into one line at the end.
const LINES_PER_KIND_MAX: u64 = 200;
/// Kinds of refusals that are told apart while folding.
const KINDS_MAX: usize = 2000;

/// Room on the disk that is taken ahead of the lines, in bytes: a full disk shows before a request is let through, and what
/// is under way then still gets its line.
const ROOM_BYTES: u64 = 1 << 20;
/// Bytes of lines that may wait for the disk before no further request is let through; well below the room that is taken.
const WAITING_BYTES_MAX: usize = 256 << 10;
/// Longest wait of a request for a disk that stalls; then it is refused.
const STALL_WAIT: Duration = Duration::from_secs(1);
/// Pause of the writer after each piece, so that a busy moment wakes it once and not for every line.
const GATHER: Duration = Duration::from_millis(1);

/// The log of a process.
///
/// Lines are queued where the request ends and written by a thread of their own. While more than `WAITING_BYTES_MAX` wait, a
/// request waits for at most `STALL_WAIT` and is then refused. What was let through gets its line in any case; the number of
/// such lines is bounded by that of connections and streams. When a line cannot be written, or room for the next ones cannot
/// be had, the log is broken, nothing more is let through, and the process ends.
#[derive(Debug)]
pub(super) struct Log {
    queue: Mutex<Queue>,
    /// Told when there is a line, or the end.
    filled: Condvar,
    /// Bytes of lines that were queued and not written.
    waiting: AtomicUsize,
    /// Told when lines were written.
    written: Notify,
    broken: AtomicBool,
    /// Told when it breaks.
    breaks: Notify,
    sink: Mutex<Option<Sink>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Queue {
    lines: Vec<u8>,
    /// Whether the writer sleeps until it is woken.
    idle: bool,
    ended: bool,
    refused: HashMap<(String, String, String), Refusals>,
}

/// Refusals of one kind.
#[derive(Debug)]
struct Refusals {
    first: Event,
    came: u64,
    written: u64,
}

/// Where the lines go.
#[derive(Debug)]
struct Sink {
    file: File,
    /// Bytes that are certain to find room; none where the file is of a kind that cannot promise.
    room: Option<u64>,
}

impl Log {
    /// A log at the end of a file. Nothing is written before `start`.
    ///
    /// # Errors
    /// There is no room for it.
    pub(super) fn new(file: File) -> io::Result<Self> {
        let mut sink = Sink {
            file,
            room: Some(0),
        };
        sink.make_room()?;
        Ok(Self {
            queue: Mutex::default(),
            filled: Condvar::new(),
            waiting: AtomicUsize::new(0),
            written: Notify::new(),
            broken: AtomicBool::new(false),
            breaks: Notify::new(),
            sink: Mutex::new(Some(sink)),
            writer: Mutex::default(),
        })
    }

    /// Starts the writer.
    ///
    /// # Errors
    /// There is no further thread to be had.
    pub(super) fn start(self: &Arc<Self>) -> io::Result<()> {
        let Some(sink) = lock(&self.sink).take() else {
            return Ok(());
        };
        let log = Arc::clone(self);
        let writer = std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || log.write_to(sink))?;
        *lock(&self.writer) = Some(writer);
        Ok(())
    }

    /// Whether a request may be let through: its line will find room. Waits a little for a disk that stalls.
    pub(super) async fn holds(&self) -> bool {
        if self.is_full() && !self.is_broken() {
            let room = async {
                loop {
                    let written = self.written.notified();
                    if !self.is_full() || self.is_broken() {
                        return;
                    }
                    written.await;
                }
            };
            if tokio::time::timeout(STALL_WAIT, room).await.is_err() {
                return false;
            }
        }
        !self.is_broken()
    }

    fn is_full(&self) -> bool {
        self.waiting.load(Ordering::Acquire) > WAITING_BYTES_MAX
    }

    fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    /// Waits until the log is broken.
    pub(super) async fn broken(&self) {
        self.breaks.notified().await;
    }

    /// Queues a line, or counts it where its kind has had its share or the disk is behind.
    pub(super) fn write(&self, event: &Event) {
        let mut queue = lock(&self.queue);
        // Those that were refused because the disk stalls must not make the queue longer.
        let refused = event.verdict == Decision::Deny || event.code.as_deref() == Some(UNLOGGED);
        if refused && queue.folds(event, self.is_full()) {
            return;
        }
        self.push(&mut queue, event);
    }

    fn push(&self, queue: &mut Queue, event: &Event) {
        let before = queue.lines.len();
        if serde_json::to_writer(&mut queue.lines, event).is_err() {
            queue.lines.truncate(before);
            self.break_off();
            return;
        }
        queue.lines.push(b'\n');
        let added = queue.lines.len() - before;
        self.waiting.fetch_add(added, Ordering::AcqRel);
        if queue.idle {
            queue.idle = false;
            self.filled.notify_one();
        }
    }

    /// Queues what was only counted, and waits until all is written. Call it when nothing is served any more.
    pub(super) fn finish(&self) {
        {
            let mut queue = lock(&self.queue);
            let refused = std::mem::take(&mut queue.refused);
            for mut kind in refused.into_values() {
                kind.first.count = kind.came - kind.written;
                if kind.first.count > 0 {
                    self.push(&mut queue, &kind.first);
                }
            }
            queue.ended = true;
            self.filled.notify_one();
        }
        let writer = lock(&self.writer).take();
        if writer.is_some_and(|writer| writer.join().is_err()) {
            self.break_off();
        }
    }

    fn break_off(&self) {
        self.broken.store(true, Ordering::Release);
        self.breaks.notify_one();
        self.written.notify_waiters();
    }

    /// The writer's thread.
    fn write_to(&self, mut sink: Sink) {
        let mut lines = Vec::new();
        let mut spoiled = false;
        while self.next(&mut lines) {
            // After a fault the file is tried no more, and what waits is dropped: half a line would spoil the next.
            spoiled = spoiled || sink.write(&lines).is_err();
            // Without further room nothing more is let through; what waits still fits into the room that was taken.
            if spoiled || sink.keep_room().is_err() {
                self.break_off();
            }
            self.waiting.fetch_sub(lines.len(), Ordering::AcqRel);
            self.written.notify_waiters();
            std::thread::sleep(GATHER);
        }
        sink.give_back();
    }

    /// Waits for lines and takes them all; false at the end.
    fn next(&self, lines: &mut Vec<u8>) -> bool {
        lines.clear();
        lines.shrink_to(WAITING_BYTES_MAX);
        let mut queue = lock(&self.queue);
        while queue.lines.is_empty() {
            if queue.ended {
                return false;
            }
            queue.idle = true;
            queue = self
                .filled
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::swap(lines, &mut queue.lines);
        true
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Queue {
    fn folds(&mut self, event: &Event, full: bool) -> bool {
        let code = event.code.clone().unwrap_or_default();
        let mut key = (code, event.method.clone(), event.host.clone());
        if self.refused.len() >= KINDS_MAX && !self.refused.contains_key(&key) {
            key = ("other".to_owned(), String::new(), String::new());
        }
        let kind = self.refused.entry(key).or_insert_with(|| Refusals {
            first: event.clone(),
            came: 0,
            written: 0,
        });
        kind.came += 1;
        if full || kind.written >= LINES_PER_KIND_MAX {
            return true;
        }
        kind.written += 1;
        false
    }
}

impl Sink {
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        self.file.write_all(lines)?;
        self.room = self
            .room
            .map(|room| room.saturating_sub(lines.len() as u64));
        Ok(())
    }

    fn keep_room(&mut self) -> io::Result<()> {
        match self.room {
            Some(room) if room < ROOM_BYTES / 2 => self.make_room(),
            Some(_) | None => Ok(()),
        }
    }

    /// Takes room behind the end of the file without making it longer (fallocate(2)).
    fn make_room(&mut self) -> io::Result<()> {
        let Ok(end) = self.file.seek(SeekFrom::End(0)) else {
            // A pipe or a terminal.
            self.room = None;
            return Ok(());
        };
        match fallocate(&self.file, FallocateFlags::KEEP_SIZE, end, ROOM_BYTES) {
            Ok(()) => self.room = Some(ROOM_BYTES),
            Err(errno @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG | Errno::IO)) => {
                return Err(errno.into());
            }
            // A file system or device that cannot promise room.
            Err(_) => self.room = None,
        }
        Ok(())
    }

    /// Gives back the room that was not used. Room that stays taken is no fault of the log.
    fn give_back(&self) {
        if self.room.is_some_and(|room| room > 0) {
            drop(
                self.file
                    .metadata()
                    .and_then(|file| self.file.set_len(file.len())),
            );
        }
    }
}
