//! The attacks that `tagout doctor` makes from inside: each must fail behind the walls that it has just raised.
//! It must never aim at anything but what the doctor made for it.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use rustix::net::{AddressFamily, Protocol, SendFlags, SocketFlags, SocketType, ipproto};
use rustix::process::{Pid, WaitOptions};

use super::walls::sys::{self, Side};
use crate::console;
use crate::outcome::sandbox_code;
use crate::wire::{ESCAPE_HELD, ESCAPE_THROUGH, EscapeAim};

/// One attack: the wall that must stop it, what it tries, and how. It is well if it got through.
struct Escape {
    wall: &'static str,
    what: &'static str,
    attempt: fn(&EscapeAim) -> io::Result<()>,
}

const fn escape(
    wall: &'static str,
    what: &'static str,
    attempt: fn(&EscapeAim) -> io::Result<()>,
) -> Escape {
    Escape {
        wall,
        what,
        attempt,
    }
}

const ESCAPES: &[Escape] = &[
    escape("files", "read a file outside", |aim| {
        fs::read(&aim.file).map(drop)
    }),
    escape("files", "write a file outside", |aim| {
        fs::OpenOptions::new()
            .append(true)
            .open(&aim.file)
            .map(drop)
    }),
    escape("files", "use an inherited descriptor", |aim| {
        let file = sys::borrow_descriptor(aim.descriptor)?;
        Ok(rustix::fs::fstat(file).map(drop)?)
    }),
    escape("metadata", "change a file's mode outside", |aim| {
        fs::set_permissions(&aim.file, fs::Permissions::from_mode(0o640))
    }),
    escape("unix-sockets", "connect to a unix socket outside", |aim| {
        UnixStream::connect(&aim.socket).map(drop)
    }),
    escape("network", "connect by TCP", |aim| connect(aim, None)),
    escape("network", "connect by MPTCP", |aim| {
        connect(aim, Some(ipproto::MPTCP))
    }),
    escape("network", "connect by TCP Fast Open", fast_open),
    escape("network", "send by UDP", |aim| {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        // Sent is not arrived; what arrives is seen by the doctor.
        socket.connect((Ipv4Addr::LOCALHOST, aim.udp))?;
        socket.send(b"x")?;
        Err(io::ErrorKind::ConnectionRefused.into())
    }),
    escape("syscalls", "make a nested user namespace", |_aim| {
        const NEW_USER: i32 = 0x1000_0000;
        in_a_child(NEW_USER, || true)
    }),
    escape("syscalls", "call by x32 numbers", |_aim| {
        in_a_child(0, sys::answers_x32)
    }),
    escape("uid", "hold a capability", |_aim| {
        status(|line| line.starts_with("CapEff:") && !line.ends_with("0000000000000000"))
    }),
    escape("uid", "gain privileges by exec", |_aim| {
        status(|line| line.starts_with("NoNewPrivs:") && line.ends_with('0'))
    }),
    escape("processes", "signal a process outside", |aim| {
        let process = Pid::from_raw(aim.process).ok_or(io::ErrorKind::NotFound)?;
        Ok(rustix::process::test_kill_process(process)?)
    }),
];

/// Makes every attack and says a line for each.
#[must_use]
pub fn main() -> ExitCode {
    let aim = std::env::args().nth(2);
    let Some(aim) = aim.and_then(|aim| serde_json::from_str::<EscapeAim>(&aim).ok()) else {
        return ExitCode::from(sandbox_code::OURS);
    };
    for escape in ESCAPES {
        let word = match (escape.attempt)(&aim) {
            Ok(()) => ESCAPE_THROUGH,
            Err(_stopped) => ESCAPE_HELD,
        };
        console::answer(&format!("{word} {} {}", escape.wall, escape.what));
    }
    ExitCode::SUCCESS
}

fn stream(protocol: Option<Protocol>) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    let kind = SocketType::STREAM;
    Ok(rustix::net::socket_with(
        AddressFamily::INET,
        kind,
        flags,
        protocol,
    )?)
}

fn listener(aim: &EscapeAim) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, aim.tcp)
}

fn connect(aim: &EscapeAim, protocol: Option<Protocol>) -> io::Result<()> {
    Ok(rustix::net::connect(stream(protocol)?, &listener(aim))?)
}

/// `MSG_FASTOPEN`: the data that is sent connects (tcp(7)).
fn fast_open(aim: &EscapeAim) -> io::Result<()> {
    let flags = SendFlags::from_bits_retain(0x2000_0000);
    rustix::net::sendto(stream(None)?, b"x", flags, &listener(aim))?;
    Ok(())
}

/// Does something in a process of its own, which the walls may end; well if it was made and says yes.
fn in_a_child(flags: i32, deed: fn() -> bool) -> io::Result<()> {
    let child = match sys::clone_process(flags)? {
        Side::Child => sys::leave(i32::from(!deed())),
        Side::Parent(child) => child,
    };
    let ended = rustix::process::waitpid(Some(child), WaitOptions::empty())?;
    let yes = ended.is_some_and(|(_, status)| status.exit_status() == Some(0));
    through_if(yes)
}

/// Looks for a line in what the kernel says of this process.
fn status(found: impl Fn(&str) -> bool) -> io::Result<()> {
    let status = fs::read_to_string("/proc/self/status")?;
    through_if(status.lines().any(found))
}

fn through_if(yes: bool) -> io::Result<()> {
    if yes {
        Ok(())
    } else {
        Err(io::ErrorKind::PermissionDenied.into())
    }
}
