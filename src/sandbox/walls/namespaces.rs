//! The walls that hide the host: own users, processes, network, IPC and host name.
//! It must never be entered by a process with more than one thread.

use std::fs;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::{Fault, Step, sys};

/// The namespace of the outer process at its start. It makes the network's when the inner one is already at work, because
/// that takes the kernel longer than all others together.
pub const OUTER: libc::c_int = libc::CLONE_NEWUSER;

/// The namespaces of pid 1 inside; it joins the network's last.
pub const INNER: libc::c_int = libc::CLONE_NEWPID
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP;

/// The ids that the run has outside, and is shown inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ids {
    /// User.
    pub user: u32,
    /// Group.
    pub group: u32,
}

impl Ids {
    /// Of the calling process.
    #[must_use]
    pub fn of_caller() -> Self {
        Self {
            user: rustix::process::geteuid().as_raw(),
            group: rustix::process::getegid().as_raw(),
        }
    }
}

/// Maps the caller's own ids onto themselves in the new user namespace, and nothing else (user_namespaces(7)).
///
/// # Errors
/// Where the host forbids it, as Ubuntu 24.04 does through AppArmor although the namespace itself was given.
pub fn map_ids(ids: Ids) -> Result<(), Fault> {
    fs::write("/proc/self/setgroups", "deny").step("give up setgroups in the user namespace")?;
    let one = |id: u32| format!("{id} {id} 1");
    fs::write("/proc/self/uid_map", one(ids.user)).step("map the uid in the user namespace")?;
    fs::write("/proc/self/gid_map", one(ids.group)).step("map the gid in the user namespace")
}

/// Gives the namespaces their harmless name.
///
/// # Errors
/// What the kernel says.
pub fn name_host() -> Result<(), Fault> {
    sys::set_host_name(c"tagout").step("name the host")
}

/// Puts the calling process into a network namespace of its own, in which every address is ours, and gives the namespace.
///
/// # Errors
/// What the kernel says.
pub fn make_network() -> Result<OwnedFd, Fault> {
    sys::leave_network().step("make a network namespace")?;
    own_every_address()?;
    fs::File::open("/proc/self/ns/net")
        .map(OwnedFd::from)
        .step("find the network namespace")
}

/// Puts the calling process into a network namespace that the outer process has made.
///
/// # Errors
/// What the kernel says.
pub fn join_network(network: BorrowedFd<'_>) -> Result<(), Fault> {
    move_into_link_name_space(network, Some(LinkNameSpaceType::Network))
        .step("join the network namespace")
}

const LOOPBACK: u32 = 1;
const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_CREATE: u16 = 0x400;
const RTM_NEWLINK: u16 = 16;
const RTM_NEWROUTE: u16 = 24;
const IFF_UP: u32 = 1;
const RTN_LOCAL: u8 = 2;
const RT_TABLE_LOCAL: u8 = 255;
const RTPROT_BOOT: u8 = 3;
const RT_SCOPE_HOST: u8 = 254;
const RTA_OIF: u16 = 4;

/// Brings loopback up and makes every address of both families our own, so that nothing leaves and a dialled
/// address can be listened on (rtnetlink(7); `ip route add local default dev lo`).
///
/// # Errors
/// What the kernel says; EPERM where a security module took the namespace's capabilities away.
fn own_every_address() -> Result<(), Fault> {
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        None,
    )
    .step("open rtnetlink")?; // protocol 0 is NETLINK_ROUTE
    let mut batch = Vec::with_capacity(128);
    batch.extend(request(1, RTM_NEWLINK, 0, &link_up()));
    let mut expected = 1;
    let families = [libc::AF_INET, libc::AF_INET6];
    for family in families {
        expected += 1;
        let family = u8::try_from(family).expect("address families are small");
        batch.extend(request(
            expected,
            RTM_NEWROUTE,
            NLM_F_CREATE,
            &local_default(family),
        ));
    }
    rustix::net::send(&socket, &batch, SendFlags::empty()).step("ask rtnetlink")?;
    for number in 1..=expected {
        let mut answer = [0_u8; 256];
        let (length, _) = rustix::net::recv(&socket, &mut answer[..], RecvFlags::empty())
            .step("hear rtnetlink")?;
        let code = acknowledged(&answer[..length]);
        // A kernel without IPv6 refuses the last route, and then there is nothing to route either.
        let without_ipv6 = number == 3 && code == Some(-libc::EOPNOTSUPP);
        if code != Some(0) && !without_ipv6 {
            let code = code.map_or(libc::EPROTO, |code| -code);
            let error = std::io::Error::from_raw_os_error(code);
            return Err(Fault::new("own every address", error));
        }
    }
    Ok(())
}

fn request(number: u32, kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + body.len()).expect("our requests are small");
    let mut bytes = Vec::with_capacity(16 + body.len());
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((NLM_F_REQUEST | NLM_F_ACK | flags).to_ne_bytes());
    bytes.extend(number.to_ne_bytes());
    bytes.extend(0_u32.to_ne_bytes());
    bytes.extend(body);
    bytes
}

/// `struct ifinfomsg`.
fn link_up() -> Vec<u8> {
    let mut body = vec![0_u8; 4];
    body.extend(LOOPBACK.to_ne_bytes());
    body.extend(IFF_UP.to_ne_bytes());
    body.extend(IFF_UP.to_ne_bytes());
    body
}

/// `struct rtmsg` and the device.
fn local_default(family: u8) -> Vec<u8> {
    let mut body = vec![
        family,
        0,
        0,
        0,
        RT_TABLE_LOCAL,
        RTPROT_BOOT,
        RT_SCOPE_HOST,
        RTN_LOCAL,
    ];
    body.extend(0_u32.to_ne_bytes());
    body.extend(8_u16.to_ne_bytes());
    body.extend(RTA_OIF.to_ne_bytes());
    body.extend(LOOPBACK.to_ne_bytes());
    body
}

/// The error number of an acknowledgement, negative or 0; none if it is something else.
fn acknowledged(answer: &[u8]) -> Option<i32> {
    let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
    let code = i32::from_ne_bytes(answer.get(16..20)?.try_into().ok()?);
    (kind == NLMSG_ERROR).then_some(code)
}
