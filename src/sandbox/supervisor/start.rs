//! How a supervisor comes to stand between a run and its network: one step inside, one outside.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

use rustix::process::Pid;

use super::given::Reach;
use super::{Config, Supervisor, listener};
use crate::sandbox::walls::syscalls::notify::{Architecture, program, program_with_sockets};
use crate::sandbox::walls::syscalls::supervisor;
use crate::sandbox::walls::{Fault, Step, sys};
use crate::wire::{Network, Plan};

/// Inside, as the last of the filters and before any exec: from here on connect, bind and listen wait for the supervisor at
/// the other end of `line`. `guarded` get no signal from inside: the supervisor and the launcher, at most eight.
///
/// # Errors
/// EBUSY if this process is already under a listener, which is so inside another run of level C.
pub fn ask_outside(line: BorrowedFd<'_>, guarded: &[Pid], reach: Reach) -> Result<(), Fault> {
    let guarded: Vec<u32> = guarded
        .iter()
        .map(|process| process.as_raw_nonzero().get().unsigned_abs())
        .collect();
    let program = match reach {
        Reach::Taken => program(Architecture::HERE, &guarded),
        Reach::Given => program_with_sockets(Architecture::HERE, &guarded),
    };
    let taken = sys::notify::install_notifying(&program).step("ask the supervisor")?;
    listener::send(line, taken.as_fd()).step("pass the listener out")
}

/// Outside, in the parent of the first process inside: waits for the listener and makes the supervisor. `private` are the
/// folders that only this run can ever write. The caller goes on with `confine` and `serve`.
///
/// # Errors
/// The process inside did not get so far, the plan's door is not there, or the private listeners cannot be opened.
pub fn start(
    line: BorrowedFd<'_>,
    plan: &Plan,
    private: &[PathBuf],
    reach: Reach,
) -> Result<Supervisor, Fault> {
    let config = config(plan, private)?;
    let taken = listener::receive(line).step("take the listener")?;
    let supervisor = Supervisor::new(taken, config).step("start the supervisor")?;
    Ok(supervisor.reaching(reach))
}

/// Locks the supervisor's own thread down, once everything is started: it can run nothing, write no file, and write into no
/// process. It can still connect, read, kill and reap.
///
/// # Errors
/// What seccomp(2) says.
pub fn confine() -> Result<(), Fault> {
    supervisor::confine()
}

fn config(plan: &Plan, private: &[PathBuf]) -> Result<Config, Fault> {
    let (door, ports, proxy) = match &plan.network {
        Network::None => (None, Vec::new(), None),
        Network::Egress {
            door, ports, proxy, ..
        } => {
            let door = sys::borrow_descriptor(*door).step("find the door")?;
            let door = door.try_clone_to_owned().step("find the door")?;
            (
                Some(door),
                ports.clone(),
                proxy.as_deref().and_then(proxy_address),
            )
        }
    };
    Ok(Config {
        door,
        ports,
        proxy,
        private: private.to_vec(),
    })
}

/// Host and port of `http://USER:PASS@HOST:PORT`. The host is a loopback address; any other is none of ours.
fn proxy_address(url: &str) -> Option<SocketAddr> {
    let rest = url.strip_prefix("http://")?;
    let rest = rest.split('/').next()?;
    let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
    let address: SocketAddr = place.parse().ok()?;
    let loopback = match address.ip() {
        IpAddr::V4(ip) => ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_loopback(),
    };
    loopback.then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxy_is_a_loopback_address_and_nothing_else() {
        let good: SocketAddr = "127.0.0.1:3128".parse().unwrap();
        assert_eq!(proxy_address("http://user:p@ss@127.0.0.1:3128"), Some(good));
        assert_eq!(proxy_address("http://127.0.0.1:3128/"), Some(good));
        assert!(proxy_address("http://u:p@[::1]:3128").is_some());
        assert_eq!(proxy_address("http://10.0.0.1:3128"), None);
        assert_eq!(proxy_address("http://proxy.test:3128"), None);
        assert_eq!(proxy_address("127.0.0.1:3128"), None);
    }
}
