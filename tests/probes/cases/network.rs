//! Attacks by the network: every road to a listener on the host's loopback, and every family that is a road of its own.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::aim::{Aim, say};
use crate::case::{Case, Control, Judge};
use crate::raw::{Argument, call};

const fn case(name: &'static str, what: &'static str, attack: fn(&Aim) -> io::Result<()>) -> Case {
    Case::new(name, "network", what, Judge::Arrived, attack)
}

const fn told(name: &'static str, what: &'static str, attack: fn(&Aim) -> io::Result<()>) -> Case {
    Case::new(name, "network", what, Judge::Told, attack)
}

const INET: i32 = libc::AF_INET;
const INET6: i32 = libc::AF_INET6;
const STREAM: i32 = libc::SOCK_STREAM;
const DATAGRAM: i32 = libc::SOCK_DGRAM;
const MPTCP: i32 = 262;
const SCTP: i32 = 132;
const FASTOPEN: i64 = 0x2000_0000;

pub(super) const CASES: &[Case] = &[
    case("tcp", "connect by TCP", |aim| {
        connect(INET, 0, &v4(aim.ports.tcp))
    }),
    case("tcp6", "connect by TCP over IPv6", |aim| {
        connect(INET6, 0, &v6(aim.ports.tcp6))
    }),
    case(
        "tcp-mapped",
        "connect to an IPv4 address in IPv6 form",
        |aim| connect(INET6, 0, &mapped(aim.ports.tcp)),
    ),
    case(
        "tcp-swapped",
        "swap the address in memory while connect reads it",
        swapped,
    )
    .lacking("machines too busy for a race"),
    case("mptcp", "connect by MPTCP", |aim| {
        connect(INET, MPTCP, &v4(aim.ports.tcp))
    }),
    case("mptcp6", "connect by MPTCP over IPv6", |aim| {
        connect(INET6, MPTCP, &v6(aim.ports.tcp6))
    }),
    case(
        "fast-open",
        "connect by the data that is sent (`MSG_FASTOPEN`)",
        |aim| {
            let socket = socket(INET, STREAM, 0)?;
            send(socket, FASTOPEN, &v4(aim.ports.tcp))
        },
    ),
    case("fast-open-mptcp", "the same by MPTCP", |aim| {
        let socket = socket(INET, STREAM, MPTCP)?;
        send(socket, FASTOPEN, &v4(aim.ports.tcp))
    }),
    case("fast-open-message", "the same by `sendmsg`", |aim| {
        let socket = socket(INET, STREAM, 0)?;
        message(socket, FASTOPEN, &v4(aim.ports.tcp))
    }),
    case(
        "fast-open-connect",
        "a connect that happens at the first write (`TCP_FASTOPEN_CONNECT`)",
        |aim| {
            let socket = socket(INET, STREAM, 0)?;
            let on = 1_i32.to_ne_bytes();
            call(
                libc::SYS_setsockopt,
                [
                    socket.into(),
                    6.into(),
                    30.into(),
                    on.as_slice().into(),
                    4.into(),
                ],
            )?;
            let address = v4(aim.ports.tcp);
            call(
                libc::SYS_connect,
                [socket.into(), (&address).into(), address.len().into()],
            )?;
            knock(socket)
        },
    ),
    case("udp", "send by UDP", |aim| {
        let socket = socket(INET, DATAGRAM, 0)?;
        send(socket, 0, &v4(aim.ports.udp))
    }),
    case("udp-connect", "connect by UDP and write", |aim| {
        let socket = socket(INET, DATAGRAM, 0)?;
        let address = v4(aim.ports.udp);
        call(
            libc::SYS_connect,
            [socket.into(), (&address).into(), address.len().into()],
        )?;
        knock(socket)
    }),
    case("udp-message", "send by UDP with `sendmsg`", |aim| {
        let socket = socket(INET, DATAGRAM, 0)?;
        message(socket, 0, &v4(aim.ports.udp))
    }),
    case("udp6", "send by UDP over IPv6", |aim| {
        let socket = socket(INET6, DATAGRAM, 0)?;
        send(socket, 0, &v6(aim.ports.udp6))
    }),
    case(
        "listen",
        "listen without an address and be reached by another than 127.0.0.1",
        |aim| served(aim, None),
    ),
    case(
        "listen-everywhere",
        "listen on every address and be reached by another than 127.0.0.1",
        |aim| served(aim, Some(&v4_any())),
    ),
    told("sctp", "a socket of SCTP", |_aim| {
        socket(INET, STREAM, SCTP).map(drop)
    })
    .lacking("kernels without SCTP"),
    told("raw", "a raw socket", |_aim| {
        socket(INET, libc::SOCK_RAW, 1).map(drop)
    })
    .control(Control::Namespace),
    told("packet", "a socket for whole packets", |_aim| {
        socket(libc::AF_PACKET, libc::SOCK_RAW, 0x300).map(drop)
    })
    .control(Control::Namespace),
    told("netlink", "netlink beyond the list of interfaces", |_aim| {
        // NETLINK_KOBJECT_UEVENT tells of the machine's devices, NETLINK_GENERIC speaks to drivers.
        socket(libc::AF_NETLINK, libc::SOCK_RAW, 16)
            .or_else(|_refused| socket(libc::AF_NETLINK, libc::SOCK_RAW, 15))
            .map(drop)
    }),
    told("vsock", "a socket to the hypervisor", |_aim| {
        socket(libc::AF_VSOCK, STREAM, 0).map(drop)
    })
    .lacking("kernels without it"),
    told("alg", "a socket of the kernel's ciphers", |_aim| {
        socket(libc::AF_ALG, libc::SOCK_SEQPACKET, 0).map(drop)
    })
    .lacking("kernels without it"),
];

fn v4(port: u16) -> Vec<u8> {
    let [high, low] = port.to_be_bytes();
    let mut address = vec![2, 0, high, low, 127, 0, 0, 1];
    address.resize(16, 0);
    address
}

fn v4_any() -> Vec<u8> {
    let mut address = vec![2, 0];
    address.resize(16, 0);
    address
}

fn v6(port: u16) -> Vec<u8> {
    let [high, low] = port.to_be_bytes();
    let mut address = vec![10, 0, high, low, 0, 0, 0, 0];
    address.extend([0; 15]);
    address.push(1);
    address.extend([0; 4]);
    address
}

fn mapped(port: u16) -> Vec<u8> {
    let mut address = v6(port);
    address[8..24].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 127, 0, 0, 1]);
    address
}

fn socket(family: i32, kind: i32, protocol: i32) -> io::Result<i64> {
    call(
        libc::SYS_socket,
        [family.into(), kind.into(), protocol.into()],
    )
}

fn knock(socket: i64) -> io::Result<()> {
    call(
        libc::SYS_write,
        [socket.into(), b"knock".as_slice().into(), 5.into()],
    )
    .map(drop)
}

fn connect(family: i32, protocol: i32, address: &Vec<u8>) -> io::Result<()> {
    let socket = socket(family, STREAM, protocol)?;
    call(
        libc::SYS_connect,
        [socket.into(), address.into(), address.len().into()],
    )?;
    knock(socket)
}

fn send(socket: i64, flags: i64, address: &Vec<u8>) -> io::Result<()> {
    let word = b"knock".as_slice();
    let arguments = [
        socket.into(),
        word.into(),
        5.into(),
        flags.into(),
        address.into(),
        address.len().into(),
    ];
    call(libc::SYS_sendto, arguments).map(drop)
}

/// `struct msghdr` made by hand, because the address stands behind a pointer.
fn message(socket: i64, flags: i64, address: &[u8]) -> io::Result<()> {
    let word = b"knock";
    let vector = [(word.as_ptr() as u64).to_ne_bytes(), 5_u64.to_ne_bytes()].concat();
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
        [socket.into(), (&header).into(), flags.into()],
    )
    .map(drop)
}

/// Connects of the race; fewer than wait at a listener that nobody serves.
const TURNS: u32 = 100;

/// The own server's address stands in memory, and a thread swaps its port for that of the host's listener and back.
fn swapped(aim: &Aim) -> io::Result<()> {
    let own = std::net::TcpListener::bind("127.0.0.1:0")?;
    own.set_nonblocking(true)?;
    let word = |port: u16| {
        let bytes = v4(port);
        u64::from_ne_bytes(bytes[..8].try_into().expect("an address is longer"))
    };
    let (good, bad) = (word(own.local_addr()?.port()), word(aim.ports.tcp));
    let address = Arc::new([AtomicU64::new(good), AtomicU64::new(0)]);
    let over = Arc::new(AtomicBool::new(false));
    let swapper = std::thread::spawn({
        let (address, over) = (Arc::clone(&address), Arc::clone(&over));
        move || {
            while !over.load(Ordering::Relaxed) {
                address[0].store(bad, Ordering::Relaxed);
                // On a busy machine the two would otherwise run one after the other.
                std::thread::yield_now();
                address[0].store(good, Ordering::Relaxed);
            }
        }
    });
    for _ in 0..TURNS {
        std::thread::yield_now();
        let socket = socket(INET, STREAM | libc::SOCK_CLOEXEC, 0)?;
        let place = address.as_ptr() as usize;
        if call(libc::SYS_connect, [socket.into(), place.into(), 16.into()]).is_ok() {
            drop(knock(socket));
        }
        drop(own.accept());
        call(libc::SYS_close, [socket.into()])?;
    }
    over.store(true, Ordering::Relaxed);
    swapper.join().expect("it does not panic");
    Ok(())
}

/// How long the server inside waits for somebody from outside, in milliseconds.
const SERVED_MS: i64 = 400;

/// Listens, tells the port, and says `served` if somebody comes. The judge knocks when it hears the port.
fn served(_aim: &Aim, bound: Option<&Vec<u8>>) -> io::Result<()> {
    let socket = socket(INET, STREAM, 0)?;
    if let Some(address) = bound {
        call(
            libc::SYS_bind,
            [socket.into(), address.into(), address.len().into()],
        )?;
    }
    call(libc::SYS_listen, [socket.into(), 8.into()])?;
    let mut name = [0_u8; 16];
    let mut length = 16_u32.to_ne_bytes();
    let arguments = [
        socket.into(),
        name.as_mut_slice().into(),
        length.as_mut_slice().into(),
    ];
    call(libc::SYS_getsockname, arguments)?;
    say(&format!("port {}", u16::from_be_bytes([name[2], name[3]])));
    // struct pollfd: the descriptor, POLLIN, what happened.
    let number = i32::try_from(socket).map_err(io::Error::other)?;
    let mut waited = [number.to_ne_bytes(), [1, 0, 0, 0]].concat();
    let pause = [
        (SERVED_MS / 1000).to_ne_bytes(),
        (SERVED_MS % 1000 * 1_000_000).to_ne_bytes(),
    ]
    .concat();
    let none = Argument::Number(0);
    let ready = call(
        libc::SYS_ppoll,
        [
            waited.as_mut_slice().into(),
            1.into(),
            (&pause).into(),
            none,
            8.into(),
        ],
    )?;
    if ready == 0 {
        return Err(io::ErrorKind::TimedOut.into());
    }
    let guest = call(
        libc::SYS_accept4,
        [socket.into(), 0.into(), 0.into(), 0.into()],
    )?;
    let mut word = [0_u8; 8];
    call(
        libc::SYS_read,
        [guest.into(), word.as_mut_slice().into(), 8.into()],
    )?;
    say("served");
    Ok(())
}
