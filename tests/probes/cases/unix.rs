//! Attacks by unix sockets of the host, as docker.sock, D-Bus and ssh-agent are.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::aim::Aim;
use crate::case::{Case, Judge};
use crate::raw::call;

const STREAM: i32 = libc::SOCK_STREAM;
const SEQPACKET: i32 = libc::SOCK_SEQPACKET;
const DATAGRAM: i32 = libc::SOCK_DGRAM;

const fn case(name: &'static str, what: &'static str, attack: fn(&Aim) -> io::Result<()>) -> Case {
    Case::new(name, "unix-sockets", what, Judge::Arrived, attack)
}

pub(super) const CASES: &[Case] = &[
    case(
        "unix-stream",
        "connect to a socket by its path (docker.sock)",
        |aim| connect(STREAM, &named(&aim.out("stream.sock"))),
    ),
    case(
        "unix-seqpacket",
        "connect to a SEQPACKET socket by its path",
        |aim| connect(SEQPACKET, &named(&aim.out("packet.sock"))),
    ),
    case(
        "unix-datagram",
        "send to a datagram socket by its path",
        |aim| send(&named(&aim.out("datagram.sock"))),
    ),
    case(
        "unix-datagram-pair",
        "send by name from one end of a socket pair",
        |aim| {
            let mut pair = [0_u8; 8];
            let arguments = [
                libc::AF_UNIX.into(),
                DATAGRAM.into(),
                0.into(),
                pair.as_mut_slice().into(),
            ];
            call(libc::SYS_socketpair, arguments)?;
            let one = i32::from_ne_bytes([pair[0], pair[1], pair[2], pair[3]]);
            // One end of a pair is connected; this takes that away, so that a message may carry a name.
            let nobody = libc::AF_UNSPEC.to_ne_bytes();
            drop(call(
                libc::SYS_connect,
                [one.into(), nobody.as_slice().into(), 2.into()],
            ));
            message(i64::from(one), &named(&aim.out("datagram.sock")))
        },
    ),
    case(
        "unix-through-symlink",
        "connect through a symlink in the workspace",
        |aim| {
            std::os::unix::fs::symlink(aim.out("stream.sock"), "link.sock")?;
            connect(STREAM, &named(Path::new("link.sock")))
        },
    ),
    case(
        "unix-in-workspace",
        "connect to a socket that a process of the host made in the workspace",
        |aim| {
            connect(STREAM, &named(&aim.workspace.join("host.sock")))
                .or_else(|_gone| connect(STREAM, &named(Path::new("host.sock"))))
        },
    )
    .reported("ab"),
    case("unix-abstract", "connect to an abstract name", |aim| {
        connect(STREAM, &hidden(&aim.word))
    }),
    case(
        "unix-abstract-datagram",
        "send to an abstract name",
        |aim| send(&hidden(&format!("{}-d", aim.word))),
    ),
];

/// `struct sockaddr_un` with a path.
fn named(path: &Path) -> Vec<u8> {
    let mut address = vec![1, 0];
    address.extend(path.as_os_str().as_bytes());
    address.push(0);
    address
}

/// `struct sockaddr_un` with an abstract name.
fn hidden(name: &str) -> Vec<u8> {
    let mut address = vec![1, 0, 0];
    address.extend(name.as_bytes());
    address
}

fn socket(kind: i32) -> io::Result<i64> {
    call(
        libc::SYS_socket,
        [libc::AF_UNIX.into(), kind.into(), 0.into()],
    )
}

fn connect(kind: i32, address: &Vec<u8>) -> io::Result<()> {
    let socket = socket(kind)?;
    call(
        libc::SYS_connect,
        [socket.into(), address.into(), address.len().into()],
    )?;
    call(
        libc::SYS_write,
        [socket.into(), b"knock".as_slice().into(), 5.into()],
    )
    .map(drop)
}

fn send(address: &Vec<u8>) -> io::Result<()> {
    let socket = socket(DATAGRAM)?;
    let knock = b"knock".as_slice();
    let arguments = [
        socket.into(),
        knock.into(),
        5.into(),
        0.into(),
        address.into(),
        address.len().into(),
    ];
    call(libc::SYS_sendto, arguments).map(drop)
}

/// `sendmsg` with a name: `struct msghdr` made by hand, because the address stands behind a pointer.
fn message(socket: i64, address: &[u8]) -> io::Result<()> {
    let knock = b"knock";
    let vector = [(knock.as_ptr() as u64).to_ne_bytes(), 5_u64.to_ne_bytes()].concat();
    let words = [
        address.as_ptr() as u64,
        address.len() as u64,
        vector.as_ptr() as u64,
        1,
        0,
        0,
        0,
    ];
    let header: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    call(
        libc::SYS_sendmsg,
        [socket.into(), (&header).into(), 0.into()],
    )
    .map(drop)
}
