//! The keeper of the door at levels A and B: answers names, listens on the addresses that it gave out, and hands every
//! listener to the egress. It reads bytes that the run wrote, so it holds nothing but sockets and stands behind a filter.

use std::io::{self, IoSlice, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions};

use super::channel::{Channel, Order, Report};
use super::resolver::message::MESSAGE_BYTES_MAX;
use super::resolver::{self, Answer, Resolver, Road};
use super::walls::{Fault, Step, sys};
use crate::wire::{HANDOVER_BYTES_MAX, Handover, Network, Plan};

/// Clients that ask for names over TCP at a time; the oldest makes room.
pub const CLIENTS_MAX: usize = 32;
/// Questions answered in one turn, so that no client keeps the keeper from its other duties.
const TURN_MAX: usize = 64;

/// The sockets of the resolver, made in the run's network namespace while privileges are still there.
#[derive(Debug)]
pub struct Door {
    datagrams: UdpSocket,
    streams: TcpListener,
    egress: Option<BorrowedFd<'static>>,
    ports: Vec<u16>,
    resolver: Resolver,
    clients: Vec<Client>,
}

/// A client that asks over TCP.
#[derive(Debug)]
struct Client {
    socket: TcpStream,
    arrived: Vec<u8>,
}

/// What can be done without waiting.
struct Ready {
    ended: bool,
    launcher: bool,
    datagrams: bool,
    streams: bool,
    clients: Vec<bool>,
}

impl Door {
    /// Opens the resolver's sockets, and a listener for each address that the rules name literally.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn open(plan: &Plan) -> Result<Self, Fault> {
        let address = SocketAddr::from((resolver::ADDRESS, 53));
        let datagrams = UdpSocket::bind(address).step("answer names over UDP")?;
        datagrams
            .set_nonblocking(true)
            .step("answer names over UDP")?;
        let streams = TcpListener::bind(address).step("answer names over TCP")?;
        streams
            .set_nonblocking(true)
            .step("answer names over TCP")?;
        let (road, egress, ports) = match &plan.network {
            Network::None => (Road::None, None, Vec::new()),
            Network::Egress { door, ports, .. } => {
                let door = sys::borrow_descriptor(*door).step("find the door")?;
                (Road::Egress, Some(door), ports.clone())
            }
        };
        let keeper = Self {
            datagrams,
            streams,
            egress,
            ports,
            resolver: Resolver::new(road),
            clients: Vec::new(),
        };
        for address in &plan.listen {
            keeper
                .hand_over(&address.ip().to_string(), *address)
                .step("listen on an address of the policy")?;
        }
        Ok(keeper)
    }

    /// Serves until pid 1 of the run has ended, which it does only when nothing of its tree is left; then reports what
    /// was refused.
    ///
    /// # Errors
    /// What the kernel says; the run must then end.
    pub fn keep(mut self, launcher: &Channel, init: Pid) -> io::Result<()> {
        let ended = rustix::process::pidfd_open(init, PidfdFlags::empty())?;
        loop {
            let ready = self.wait(&ended, launcher)?;
            if ready.launcher && !obey(launcher) {
                rustix::process::pidfd_send_signal(&ended, Signal::KILL)?;
                break;
            }
            if ready.ended {
                break;
            }
            if ready.datagrams {
                self.answer_datagrams();
            }
            self.answer_clients(&ready.clients);
            if ready.streams {
                self.accept();
            }
        }
        rustix::process::waitpid(Some(init), WaitOptions::empty())?;
        for denied in self.resolver.denied() {
            // A launcher that is gone wants no report.
            if launcher.send(&Report::Denied(denied)).is_err() {
                break;
            }
        }
        Ok(())
    }

    fn wait(&self, ended: &OwnedFd, launcher: &Channel) -> io::Result<Ready> {
        let mut waited = vec![
            PollFd::new(ended, PollFlags::IN),
            PollFd::from_borrowed_fd(launcher.as_fd(), PollFlags::IN),
            PollFd::new(&self.datagrams, PollFlags::IN),
            PollFd::new(&self.streams, PollFlags::IN),
        ];
        let fixed = waited.len();
        for client in &self.clients {
            waited.push(PollFd::new(&client.socket, PollFlags::IN));
        }
        match poll(&mut waited, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready: Vec<bool> = waited
            .iter()
            .map(|waited| !waited.revents().is_empty())
            .collect();
        Ok(Ready {
            ended: ready[0],
            launcher: ready[1],
            datagrams: ready[2],
            streams: ready[3],
            clients: ready[fixed..].to_vec(),
        })
    }

    /// An error here is the client's: a closed port, or a send buffer that nobody empties. It asks again or gives up.
    fn answer_datagrams(&mut self) {
        // One byte more than is allowed shows a message that is too long.
        let mut query = [0_u8; MESSAGE_BYTES_MAX + 1];
        for _ in 0..TURN_MAX {
            let Ok((length, from)) = self.datagrams.recv_from(&mut query) else {
                return;
            };
            if let Some(message) = self.answer(&query[..length]) {
                drop(self.datagrams.send_to(&message, from));
            }
        }
    }

    /// Answers one message. The listeners of a new address stand before the answer is sent, or the first connect would
    /// be refused.
    fn answer(&mut self, query: &[u8]) -> Option<Vec<u8>> {
        let Answer { message, new } = self.resolver.answer(query)?;
        if let Some(address) = new {
            self.listen(address);
        }
        Some(message)
    }

    /// A listener that cannot be made or handed over is no road: the connect is refused.
    fn listen(&self, address: Ipv4Addr) {
        let Some(host) = self.resolver.name(address) else {
            return;
        };
        for port in &self.ports {
            drop(self.hand_over(host, SocketAddr::from((address, *port))));
        }
    }

    /// Listens and gives the listener away; the keeper itself never accepts or reads a connection.
    fn hand_over(&self, host: &str, address: SocketAddr) -> io::Result<()> {
        let Some(egress) = self.egress else {
            return Ok(());
        };
        let listener = TcpListener::bind(address)?;
        let message = serde_json::to_vec(&Handover::Listener {
            host: host.to_owned(),
            port: address.port(),
        })?;
        if message.len() > HANDOVER_BYTES_MAX {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let descriptors = [listener.as_fd()];
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut beside = SendAncillaryBuffer::new(&mut space);
        beside.push(SendAncillaryMessage::ScmRights(&descriptors));
        rustix::net::sendmsg(
            egress,
            &[IoSlice::new(&message)],
            &mut beside,
            SendFlags::NOSIGNAL,
        )?;
        Ok(())
    }

    fn accept(&mut self) {
        let Ok((socket, _)) = self.streams.accept() else {
            return;
        };
        if socket.set_nonblocking(true).is_err() {
            return;
        }
        if self.clients.len() >= CLIENTS_MAX {
            self.clients.remove(0);
        }
        self.clients.push(Client {
            socket,
            arrived: Vec::new(),
        });
    }

    fn answer_clients(&mut self, ready: &[bool]) {
        let clients = std::mem::take(&mut self.clients);
        for (client, ready) in clients.into_iter().zip(ready) {
            if !ready {
                self.clients.push(client);
            } else if let Some(client) = self.answer_client(client) {
                self.clients.push(client);
            }
        }
    }

    /// Answers what has arrived whole (RFC 7766: two bytes of length before each message). None closes the connection:
    /// the client is done, speaks something else, or does not read its answers.
    fn answer_client(&mut self, mut client: Client) -> Option<Client> {
        let mut bytes = [0_u8; MESSAGE_BYTES_MAX + 2];
        let length = match client.socket.read(&mut bytes) {
            Ok(0) => return None,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Some(client),
            Err(_broken) => return None,
        };
        client.arrived.extend(&bytes[..length]);
        while let Some((head, rest)) = client.arrived.split_first_chunk::<2>() {
            let length = usize::from(u16::from_be_bytes(*head));
            if length > MESSAGE_BYTES_MAX {
                return None;
            }
            let Some(query) = rest.get(..length) else {
                break;
            };
            let answer = self.answer(query)?;
            let head = u16::try_from(answer.len()).ok()?.to_be_bytes();
            client
                .socket
                .write_all(&[&head[..], &answer].concat())
                .ok()?;
            client.arrived.drain(..2 + length);
        }
        Some(client)
    }
}

/// Whether the run may go on after what the launcher said. Its end is the end of the run.
pub(super) fn obey(launcher: &Channel) -> bool {
    match launcher.take::<Order>() {
        Ok(Some(Order::Signal { .. })) => true,
        Ok(Some(Order::End) | None) | Err(_) => false,
    }
}
