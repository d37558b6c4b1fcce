//! Which listeners on loopback are the run's own. A port alone proves nothing: a server of the run may be gone and one of the
//! host in its place, so the kernel is asked each time which socket would answer, and its inode is compared.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

/// Most listening sockets of a run that are known at a time.
pub const LISTENERS_MAX: usize = 1024;
/// Most bytes of the kernel's own table that are read where it cannot be asked for one socket.
const TABLE_BYTES_MAX: u64 = 8 << 20;

#[derive(Clone, Copy, Debug)]
struct Listener {
    at: SocketAddr,
    /// It was bound to every address of both families, and stands on IPv4 loopback instead.
    dual: bool,
}

/// The run's listeners.
#[derive(Debug)]
pub struct Listeners {
    table: HashMap<u64, Listener>,
    names: HashMap<u64, Vec<u8>>,
    kernel: Option<OwnedFd>,
}

impl Listeners {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        let kernel = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::DGRAM,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            Some(rustix::net::netlink::SOCK_DIAG),
        );
        Self {
            table: HashMap::new(),
            names: HashMap::new(),
            kernel: kernel.ok(),
        }
    }

    /// Whether one more can be kept. Forgets those that are gone if the table is full.
    pub fn has_room(&mut self) -> bool {
        if self.table.len() + self.names.len() >= LISTENERS_MAX {
            let gone: Vec<u64> = self
                .table
                .iter()
                .filter(|(inode, listener)| self.answering(listener.at) != Some(**inode))
                .map(|(inode, _)| *inode)
                .collect();
            for inode in gone {
                self.table.remove(&inode);
            }
            let gone: Vec<u64> = self
                .names
                .keys()
                .filter(|inode| !self.listens(**inode))
                .copied()
                .collect();
            for inode in gone {
                self.names.remove(&inode);
            }
        }
        self.table.len() + self.names.len() < LISTENERS_MAX
    }

    /// Keeps a TCP listener. `dual`: its program meant every address of both families.
    pub fn add(&mut self, inode: u64, at: SocketAddr, dual: bool) {
        self.table.insert(inode, Listener { at, dual });
    }

    /// Keeps a listener with a name in the abstract name space.
    pub fn add_name(&mut self, inode: u64, name: Vec<u8>) {
        self.names.insert(inode, name);
    }

    /// Whether this TCP socket is kept.
    #[must_use]
    pub fn holds(&self, inode: u64) -> bool {
        self.table.contains_key(&inode)
    }

    /// Whether a listener of the run has this abstract name now. A name belongs to one socket and stays with it, so it is
    /// enough that this socket still listens.
    #[must_use]
    pub fn owns_name(&self, name: &[u8]) -> bool {
        let mut known = self.names.iter().filter(|(_, known)| *known == name);
        known.any(|(inode, _)| self.listens(*inode))
    }

    /// Whether this unix socket listens. Without unix_diag the answer is no: the kernel's text list can be forged by names.
    fn listens(&self, inode: u64) -> bool {
        self.kernel
            .as_ref()
            .is_some_and(|kernel| ask_unix(kernel, inode) == Ok(true))
    }

    /// The address at which a listener of the run answers for this one. `mapped`: the caller's socket can speak IPv4 too.
    #[must_use]
    pub fn own(&self, target: SocketAddr, mapped: bool) -> Option<SocketAddr> {
        if self.table.is_empty() || !target.ip().is_loopback() {
            return None;
        }
        let owned = |at: SocketAddr| {
            let listener = self.table.get(&self.answering(at)?)?;
            (listener.at.port() == at.port()).then_some(listener.dual)
        };
        if owned(target).is_some() {
            return Some(target);
        }
        let v4 = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), target.port());
        let v6_loopback = target.ip() == IpAddr::V6(Ipv6Addr::LOCALHOST);
        (mapped && v6_loopback && owned(v4) == Some(true)).then_some(v4)
    }

    /// The inode of the socket that would answer a connect to this address.
    fn answering(&self, at: SocketAddr) -> Option<u64> {
        let asked = self.kernel.as_ref().map(|kernel| ask(kernel, at));
        match asked {
            Some(Ok(inode)) => inode,
            // A kernel without tcp_diag, or a profile without netlink.
            Some(Err(_)) | None => read_table(at),
        }
    }
}

impl Default for Listeners {
    fn default() -> Self {
        Self::new()
    }
}

const HEADER_BYTES: usize = 16;
/// `INET_DIAG_NOCOOKIE`, twice.
const NO_COOKIE: [u8; 8] = [0xFF; 8];
const TYPE_BY_FAMILY: u16 = 20;
const TYPE_ERROR: u16 = 2;
const FLAG_REQUEST: u16 = 1;
const STATE_LISTENING: u8 = 10;

/// Asks for the one socket to which the kernel would give a packet for `at` (`sock_diag(7)`, `inet_diag_req_v2`).
fn ask(kernel: &OwnedFd, at: SocketAddr) -> Result<Option<u64>, Errno> {
    let (family, address) = match at.ip() {
        IpAddr::V4(address) => {
            let mut bytes = [0_u8; 16];
            bytes[..4].copy_from_slice(&address.octets());
            (AddressFamily::INET, bytes)
        }
        IpAddr::V6(address) => (AddressFamily::INET6, address.octets()),
    };
    let tcp = 6;
    let mut request = vec![u8::try_from(family.as_raw()).unwrap_or(0), tcp, 0, 0];
    request.extend(u32::MAX.to_ne_bytes());
    request.extend(at.port().to_be_bytes());
    request.extend([0, 0]);
    // The other end is the own machine too, from a port that no connection has.
    request.extend(address);
    request.extend(address);
    request.extend([0; 4]);
    request.extend(NO_COOKIE);
    let Some(answer) = talk(kernel, &request)? else {
        return Ok(None);
    };
    let inode = word(&answer, 68).ok_or(Errno::PROTO)?;
    Ok((answer.get(1) == Some(&STATE_LISTENING)).then_some(inode.into()))
}

/// Asks whether the unix socket with this inode listens (`unix_diag_req`).
fn ask_unix(kernel: &OwnedFd, inode: u64) -> Result<bool, Errno> {
    let inode = u32::try_from(inode).or(Err(Errno::INVAL))?;
    let family = u8::try_from(AddressFamily::UNIX.as_raw()).unwrap_or(0);
    let mut request = vec![family, 0, 0, 0];
    request.extend(u32::MAX.to_ne_bytes());
    request.extend(inode.to_ne_bytes());
    request.extend([0; 4]);
    request.extend(NO_COOKIE);
    let answer = talk(kernel, &request)?;
    Ok(answer.is_some_and(|answer| answer.get(2) == Some(&STATE_LISTENING)))
}

/// One request and its answer without the header; none if there is no such socket.
fn talk(kernel: &OwnedFd, request: &[u8]) -> Result<Option<Vec<u8>>, Errno> {
    let length = u32::try_from(HEADER_BYTES + request.len()).or(Err(Errno::MSGSIZE))?;
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(TYPE_BY_FAMILY.to_ne_bytes());
    message.extend(FLAG_REQUEST.to_ne_bytes());
    message.extend([0; 8]);
    message.extend(request);
    rustix::net::send(kernel, &message, SendFlags::DONTWAIT)?;
    let mut answer = [0_u8; 1024];
    let (length, _) = rustix::net::recv(kernel, &mut answer[..], RecvFlags::DONTWAIT)?;
    let answer = answer.get(..length).unwrap_or_default();
    let body = answer.get(HEADER_BYTES..).ok_or(Errno::PROTO)?;
    match word(answer, 4).map(|word| word.to_ne_bytes()) {
        Some([low, high, ..]) if u16::from_ne_bytes([low, high]) == TYPE_BY_FAMILY => {
            Ok(Some(body.to_vec()))
        }
        Some([low, high, ..]) if u16::from_ne_bytes([low, high]) == TYPE_ERROR => {
            let number = word(body, 0).map_or(0, u32::cast_signed).saturating_neg();
            match Errno::from_raw_os_error(number) {
                Errno::NOENT => Ok(None),
                error => Err(error),
            }
        }
        Some(_) | None => Err(Errno::PROTO),
    }
}

fn word(bytes: &[u8], place: usize) -> Option<u32> {
    let bytes = bytes.get(place..)?.first_chunk::<4>()?;
    Some(u32::from_ne_bytes(*bytes))
}

/// The same from the kernel's list of all sockets (proc(5), `/proc/net/tcp`), an exact address before "any".
fn read_table(at: SocketAddr) -> Option<u64> {
    let (path, exact, any) = match at.ip() {
        IpAddr::V4(address) => {
            let word = u32::from_ne_bytes(address.octets());
            ("/proc/self/net/tcp", format!("{word:08X}"), "0".repeat(8))
        }
        IpAddr::V6(address) => {
            let words = address.octets();
            let words = words.chunks_exact(4).map(|word| {
                let word = u32::from_ne_bytes([word[0], word[1], word[2], word[3]]);
                format!("{word:08X}")
            });
            ("/proc/self/net/tcp6", words.collect(), "0".repeat(32))
        }
    };
    let text = bounded(path);
    let find = |address: &str| {
        let local = format!("{address}:{:04X}", at.port());
        text.lines().skip(1).find_map(|line| {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            let here = words.get(1)? == &local && words.get(3)? == &"0A";
            words.get(9).filter(|_| here)?.parse().ok()
        })
    };
    find(&exact).or_else(|| find(&any))
}

fn bounded(path: &str) -> String {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(TABLE_BYTES_MAX).read_to_end(&mut bytes));
    match read {
        Ok(_) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::AsFd;

    use super::*;

    fn inode(socket: impl AsFd) -> u64 {
        rustix::fs::fstat(socket).unwrap().st_ino
    }

    #[test]
    fn kernel_names_the_socket_that_would_answer() {
        let listeners = Listeners::new();
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).unwrap();
            let at = listener.local_addr().unwrap();
            assert_eq!(listeners.answering(at), Some(inode(&listener)));
            assert_eq!(read_table(at), Some(inode(&listener)));
            let elsewhere = SocketAddr::new("127.0.0.9".parse().unwrap(), at.port());
            assert_eq!(listeners.answering(elsewhere), None);
            assert_eq!(read_table(elsewhere), None);
        }
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let at = SocketAddr::new("127.0.0.1".parse().unwrap(), port);
        assert_eq!(listeners.answering(at), Some(inode(&listener)));
        assert_eq!(read_table(at), Some(inode(&listener)));
    }

    #[test]
    fn listener_of_the_host_is_not_owned_and_a_gone_one_is_not_either() {
        let mut listeners = Listeners::new();
        let theirs = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpListener::bind("127.0.0.1:0").unwrap();
        let (at, theirs_at) = (ours.local_addr().unwrap(), theirs.local_addr().unwrap());
        listeners.add(inode(&ours), at, false);
        assert_eq!(listeners.own(at, false), Some(at));
        assert_eq!(listeners.own(theirs_at, false), None);
        drop(ours);
        let squatter = TcpListener::bind(at).unwrap();
        assert_eq!(listeners.own(at, false), None);
        drop(squatter);
    }

    #[test]
    fn listener_on_every_address_answers_for_ipv6_too() {
        let mut listeners = Listeners::new();
        let ours = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = ours.local_addr().unwrap();
        let v6 = SocketAddr::new("::1".parse().unwrap(), at.port());
        listeners.add(inode(&ours), at, false);
        assert_eq!(listeners.own(v6, true), None);
        listeners.add(inode(&ours), at, true);
        assert_eq!(listeners.own(v6, true), Some(at));
        assert_eq!(listeners.own(v6, false), None, "a socket for IPv6 only");
    }

    #[test]
    fn abstract_name_is_owned_while_its_socket_listens() {
        use std::os::linux::net::SocketAddrExt;
        use std::os::unix::net::{SocketAddr, UnixListener};
        let name = format!("tagout-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let ours = UnixListener::bind_addr(&address).unwrap();
        let mut listeners = Listeners::new();
        assert!(!listeners.owns_name(name.as_bytes()));
        listeners.add_name(inode(&ours), name.clone().into_bytes());
        assert!(listeners.owns_name(name.as_bytes()));
        drop(ours);
        let squatter = UnixListener::bind_addr(&address).unwrap();
        assert!(!listeners.owns_name(name.as_bytes()));
        drop(squatter);
    }

    #[test]
    fn table_is_bounded_and_forgets_the_gone() {
        let mut listeners = Listeners::new();
        let ours = TcpListener::bind("127.0.0.1:0").unwrap();
        listeners.add(inode(&ours), ours.local_addr().unwrap(), false);
        for number in 1..LISTENERS_MAX as u64 {
            listeners.add(u64::MAX - number, "127.0.0.1:1".parse().unwrap(), false);
        }
        assert!(listeners.has_room());
        assert_eq!(listeners.table.len(), 1);
    }
}
