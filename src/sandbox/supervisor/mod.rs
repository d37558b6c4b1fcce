//! The supervisor of level C: without a network namespace every connect, bind and listen of the run waits until it decides.
//! It acts on its own copy of the address and on the same open file, never lets the kernel read the program's memory again
//! for a connect, and never waits for one program while others call.
//!
//! A connect reaches a listener that the run made itself, our own resolver (port 53), the egress's proxy, or the door; all
//! else is refused and noted. A bind to "any" becomes one to loopback of the same family (`::` of both families becomes
//! `::ffff:127.0.0.1`, and a connect to `::1` is led there), so that no neighbour can connect in; a listen without such a bind
//! is refused.
//!
//! What it needs of whoever raises the walls:
//! - `serve` runs in an ancestor of every command, under the same uid and not under a Landlock domain of its own: Yama and
//!   Landlock let only such a process read the callers' memory and take their sockets. It is undumpable and holds no secret.
//! - Its own process group, and its id and the launcher's among the `guarded` of `walls::syscalls::notify::program`.
//! - The first process inside calls `start::ask_outside` after Landlock and all other filters, before any exec; its parent calls
//!   `start::start`, `start::confine` and `serve`, with what else it waits for as `wake`.
//! - Landlock inside handles TCP with no rule where the kernel knows it, `MakeSock` only beneath `private`, and scopes.
//! - `RES_OPTIONS=use-vc ndots:1` inside: names are asked for over TCP and not with the host's search list.
//! - When `serve` ends, nothing inside connects any more (ENOSYS): the run must end too.
//!
//! Known and documented: a caller that is not dumpable cannot be served (EACCES); a program sees the inlet's address as its
//! peer, and on unix sockets the supervisor's process id as the peer's.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::resolver::{Resolver, Road};
use super::walls::sys::notify::{self, Notification, Reply};
use super::walls::syscalls::notify as filter;
use crate::wire::Denied;

pub mod address;
pub mod book;
pub mod caller;
pub mod door;
pub mod given;
pub mod inlet;
pub mod listener;
pub mod listeners;
pub mod names;
pub mod start;
pub mod tcp;
pub mod unix;
pub mod verdict;

use book::Book;
use caller::Caller;
use door::Door;
use given::{Given, Reach};
use inlet::Inlet;
use listeners::Listeners;
use names::{Client, Next};
use tcp::{Awaited, Purpose};
use unix::Knock;
use verdict::Roads;

/// Most calls that wait for the network at a time; further ones get EAGAIN.
pub const WAITING_MAX: usize = 256;
/// Longest wait of one call.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// How often a full unix listener is tried again.
const KNOCK_PAUSE: Duration = Duration::from_millis(5);
/// How often silence and patience are looked at while something waits.
const LOOK_PAUSE: Duration = Duration::from_millis(250);

/// What a run may reach.
#[derive(Debug)]
pub struct Config {
    /// The unix SOCK_SEQPACKET socket on which connections go to the egress; none: no road out.
    pub door: Option<OwnedFd>,
    /// Ports that go through the door.
    pub ports: Vec<u16>,
    /// Where the egress's explicit proxy listens: it is reached directly, and asks for the run's password.
    pub proxy: Option<SocketAddr>,
    /// Folders that only this run could ever write (its copy of the workspace, HOME, TMPDIR): unix sockets beneath them are its own.
    pub private: Vec<PathBuf>,
}

/// Why `serve` came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// No process is left that could call.
    NobodyLeft,
    /// This descriptor of `wake` is readable or hung up.
    Wake(usize),
}

/// How a call is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Now(Reply),
    /// It waits in one of our lists, or nobody waits any more.
    Later,
}

/// One run's supervisor.
#[derive(Debug)]
pub struct Supervisor {
    listener: Rc<OwnedFd>,
    roads: Roads,
    private: Vec<PathBuf>,
    resolver: Resolver,
    inlet: Inlet,
    listeners: Listeners,
    reach: Reach,
    given: Given,
    door: Option<Door>,
    awaited: Vec<Awaited>,
    knocks: Vec<Knock>,
    clients: Vec<Client>,
    book: Book,
}

impl Supervisor {
    /// Opens the private listeners. `listener` is the seccomp listener of the processes inside.
    ///
    /// # Errors
    /// What socket(2) and its kin say, or a private folder that is not there.
    pub fn new(listener: OwnedFd, config: Config) -> io::Result<Self> {
        // An older kernel is only slower.
        drop(notify::share_processor(listener.as_fd()));
        let private = config.private.iter().map(std::fs::canonicalize);
        let road = match config.door {
            Some(_) => Road::Egress,
            None => Road::None,
        };
        Ok(Self {
            listener: Rc::new(listener),
            roads: Roads {
                door: config.door.is_some(),
                ports: config.ports,
                proxy: config.proxy,
            },
            private: private.collect::<io::Result<_>>()?,
            resolver: Resolver::new(road),
            inlet: Inlet::open()?,
            listeners: Listeners::new(),
            reach: Reach::Taken,
            given: Given::default(),
            door: config.door.map(Door::new),
            awaited: Vec::new(),
            knocks: Vec::new(),
            clients: Vec::new(),
            book: Book::default(),
        })
    }

    /// The same supervisor with this way to the callers' sockets. The filter must be the one for it.
    #[must_use]
    pub fn reaching(mut self, reach: Reach) -> Self {
        self.reach = reach;
        self
    }

    /// What was refused until now.
    #[must_use]
    pub fn denied(&self) -> Vec<Denied> {
        let mut denied = self.book.denied();
        denied.extend(self.resolver.denied());
        denied
    }

    /// Answers calls until nobody is left who could make one, or until something happens on a descriptor of `wake`.
    /// It may be called again.
    ///
    /// # Errors
    /// The kernel refuses to wait or to give notifications; the run must end then.
    pub fn serve(&mut self, wake: &[BorrowedFd<'_>]) -> io::Result<Woken> {
        loop {
            let happened = self.wait(wake)?;
            if let Some(place) = happened.wake {
                return Ok(Woken::Wake(place));
            }
            if happened.call {
                self.take_call()?;
            } else if happened.hung_up {
                return Ok(Woken::NobodyLeft);
            }
            if happened.other {
                self.serve_others();
            }
        }
    }

    fn wait(&self, wake: &[BorrowedFd<'_>]) -> io::Result<Happened> {
        let mut waited = Vec::with_capacity(wake.len() + 4);
        waited.push(PollFd::new(&*self.listener, PollFlags::IN));
        let wakes = wake.iter();
        waited.extend(wakes.map(|wake| PollFd::from_borrowed_fd(*wake, PollFlags::IN)));
        let inlets = self.inlet.sockets();
        waited.extend(inlets.map(|socket| PollFd::new(socket, PollFlags::IN)));
        let door = self.door.as_ref().and_then(Door::waits);
        waited.extend(door.map(|door| PollFd::new(door, PollFlags::OUT)));
        let awaited = self.awaited.iter().filter_map(Awaited::waits);
        waited.extend(awaited.map(|socket| PollFd::new(socket, PollFlags::OUT)));
        let clients = self.clients.iter();
        waited.extend(clients.map(|client| PollFd::new(&client.socket, client.wants())));
        let pause = self.pause().map(|pause| Timespec {
            tv_sec: 0,
            tv_nsec: pause.subsec_nanos().into(),
        });
        let count = match poll(&mut waited, pause.as_ref()) {
            Ok(count) => count,
            Err(Errno::INTR) => return Ok(Happened::default()),
            Err(error) => return Err(error.into()),
        };
        let mut events = waited.iter().map(PollFd::revents);
        let first = events.next().unwrap_or(PollFlags::empty());
        let woken = events
            .by_ref()
            .take(wake.len())
            .position(|event| !event.is_empty());
        Ok(Happened {
            call: first.contains(PollFlags::IN),
            hung_up: first.intersects(PollFlags::HUP | PollFlags::ERR),
            wake: woken,
            other: count == 0 || events.any(|event| !event.is_empty()),
        })
    }

    /// How long the next wait may be, if something depends on time.
    fn pause(&self) -> Option<Duration> {
        if !self.knocks.is_empty() {
            Some(KNOCK_PAUSE)
        } else if self.awaited.is_empty() && self.clients.is_empty() {
            None
        } else {
            Some(LOOK_PAUSE)
        }
    }

    fn take_call(&mut self) -> io::Result<()> {
        let notification = match notify::receive(self.listener.as_fd()) {
            Ok(notification) => notification,
            // The caller died or was interrupted between poll and now.
            Err(error) => {
                return match Errno::from_io_error(&error) {
                    Some(Errno::NOENT | Errno::INTR) => Ok(()),
                    _ => Err(error),
                };
            }
        };
        match self.judged(notification) {
            Turn::Now(reply) => self.answer(notification.id, reply),
            Turn::Later => {}
        }
        Ok(())
    }

    fn judged(&mut self, notification: Notification) -> Turn {
        let listener = Rc::clone(&self.listener);
        let Some(caller) = Caller::new(listener.as_fd(), notification) else {
            return refused(Errno::PERM);
        };
        let number = u32::try_from(notification.number).unwrap_or(u32::MAX);
        let here = filter::Architecture::HERE;
        let turn = if number == filter::CONNECT.number(here) {
            self.connect(&caller, notification.id)
        } else if number == filter::BIND.number(here) {
            self.bind(&caller)
        } else if number == filter::LISTEN.number(here) {
            self.listen(&caller)
        } else if number == filter::SOCKET.number(here) {
            self.make_socket(&caller, notification.id)
        } else {
            Err(Errno::NOSYS)
        };
        turn.unwrap_or_else(refused)
    }

    fn answer(&self, id: u64, reply: Reply) {
        // A caller that died meanwhile hears nothing.
        drop(notify::answer(self.listener.as_fd(), id, reply));
    }

    /// Everything but new calls: arrivals, answers to names, waiting connects, silence.
    fn serve_others(&mut self) {
        // Whoever does not wait sees its connection end.
        drop(self.take_arrivals());
        self.finish_dials();
        self.knock_again();
        if self.door.as_mut().is_some_and(|door| door.push().is_err()) {
            self.shut_door();
        }
        let resolver = &mut self.resolver;
        self.clients.retain_mut(|client| {
            let next = client.serve(resolver);
            next == Next::Keep && !client.is_silent()
        });
        self.give_up();
    }

    /// The egress is gone, and with it every road out.
    fn shut_door(&mut self) {
        self.door = None;
        self.roads.door = false;
    }

    /// What has waited for too long gets ETIMEDOUT.
    fn give_up(&mut self) {
        let now = Instant::now();
        let late = |since: Instant| now.duration_since(since) > PATIENCE;
        let mut over = Vec::new();
        self.awaited.retain(|awaited| {
            let late = late(awaited.since);
            over.extend(awaited.id.filter(|_| late));
            !late
        });
        self.knocks.retain(|knock| {
            let late = late(knock.since);
            over.extend(late.then_some(knock.id));
            !late
        });
        for id in over {
            self.answer(id, error(Errno::TIMEDOUT));
        }
    }

    /// Takes in a name connection; the oldest makes room.
    fn add_client(&mut self, socket: OwnedFd) {
        if self.clients.len() >= names::CLIENTS_MAX {
            self.clients.remove(0);
        }
        self.clients.push(Client::new(socket));
    }

    fn has_room(&self) -> bool {
        self.awaited.len() + self.knocks.len() < WAITING_MAX
    }

    /// Fulfils what a connection was made for.
    fn fulfil(&mut self, purpose: Purpose, connection: OwnedFd) -> Result<(), Errno> {
        match purpose {
            Purpose::Names => self.add_client(connection),
            Purpose::HandOver { host, port } => {
                let door = self.door.as_mut().ok_or(Errno::CONNREFUSED)?;
                match door.hand_over(host, port, connection) {
                    Ok(()) => {}
                    Err(Errno::AGAIN | Errno::MSGSIZE | Errno::INVAL) => {
                        return Err(Errno::CONNREFUSED);
                    }
                    Err(_gone) => {
                        self.shut_door();
                        return Err(Errno::CONNREFUSED);
                    }
                }
            }
            Purpose::Direct => {}
        }
        Ok(())
    }
}

#[derive(Debug, Default)]
struct Happened {
    call: bool,
    hung_up: bool,
    wake: Option<usize>,
    other: bool,
}

fn error(errno: Errno) -> Reply {
    Reply::Error(errno.raw_os_error())
}

fn refused(errno: Errno) -> Turn {
    Turn::Now(error(errno))
}

const DONE: Turn = Turn::Now(Reply::Value(0));
