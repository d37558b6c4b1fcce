//! The door in the walls: sockets that the walls hand over, each with the name that was dialled.
//! It must never believe more than a socket and a name, and take no surplus descriptor.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::net::{TcpListener as StdListener, TcpStream as StdStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use rustix::io::Errno;
use rustix::net::sockopt::{socket_acceptconn, socket_domain, socket_type};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SocketType,
    recvmsg,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::intake::{self, Via};
use super::road::Road;
use super::target::Bound;
use crate::wire::{HANDOVER_BYTES_MAX, Handover};

/// Most listeners of one run: names times ports.
const LISTENERS_MAX: usize = 8192;

/// Takes what comes through the door until it is shut, on a thread of its own: a descriptor of this kind cannot be awaited
/// without `unsafe`. A message that is not what was agreed is dropped, and its descriptors with it.
pub(super) fn serve(
    road: &Arc<Road>,
    door: &OwnedFd,
    connections: &Arc<Semaphore>,
    runtime: &Handle,
) {
    let listeners = Arc::new(Semaphore::new(LISTENERS_MAX));
    while let Some(message) = receive(door.as_fd()) {
        let Message::Good(handover, socket) = message else {
            continue;
        };
        let (road, connections) = (Arc::clone(road), Arc::clone(connections));
        match handover {
            Handover::Listener { host, port } => {
                let Ok(place) = Arc::clone(&listeners).try_acquire_owned() else {
                    continue;
                };
                runtime.spawn(async move {
                    if let Some(listener) = listener(socket) {
                        accept(road, listener, Bound::new(&host, port), connections).await;
                    }
                    drop(place);
                });
            }
            Handover::Connection { host, port } => {
                runtime.spawn(async move {
                    if let (Some(stream), Ok(_permit)) =
                        (connection(socket), connections.acquire_owned().await)
                    {
                        let bound = Bound::new(&host, port);
                        intake::serve(road, stream, BytesMut::new(), bound, Via::Door).await;
                    }
                });
            }
        }
    }
}

enum Message {
    Good(Handover, OwnedFd),
    Bad,
}

/// One message; none at the end. Every descriptor that is not returned is closed here.
fn receive(door: BorrowedFd<'_>) -> Option<Message> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [0_u8; HANDOVER_BYTES_MAX + 1];
    let got = loop {
        match recvmsg(
            door,
            &mut [IoSliceMut::new(&mut bytes)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        ) {
            Ok(got) => break got,
            Err(Errno::INTR) => {}
            Err(_) => return None,
        }
    };
    let descriptors: Vec<OwnedFd> = control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        })
        .flatten()
        .collect();
    if got.bytes == 0 && descriptors.is_empty() {
        return None;
    }
    let whole = got.bytes <= HANDOVER_BYTES_MAX
        && !got.flags.contains(ReturnFlags::TRUNC)
        && !got.flags.contains(ReturnFlags::CTRUNC);
    let text = bytes.get(..got.bytes).unwrap_or_default();
    let one: Result<[OwnedFd; 1], _> = descriptors.try_into();
    Some(match (one, serde_json::from_slice(text)) {
        (Ok([socket]), Ok(handover)) if whole && is_tcp(&socket) => Message::Good(handover, socket),
        _ => Message::Bad,
    })
}

fn is_tcp(socket: &OwnedFd) -> bool {
    let family = socket_domain(socket);
    matches!(family, Ok(AddressFamily::INET | AddressFamily::INET6))
        && socket_type(socket) == Ok(SocketType::STREAM)
}

fn listener(socket: OwnedFd) -> Option<TcpListener> {
    if socket_acceptconn(&socket) != Ok(true) {
        return None;
    }
    let listener = StdListener::from(socket);
    listener.set_nonblocking(true).ok()?;
    TcpListener::from_std(listener).ok()
}

fn connection(socket: OwnedFd) -> Option<TcpStream> {
    if socket_acceptconn(&socket) != Ok(false) {
        return None;
    }
    let stream = StdStream::from(socket);
    stream.set_nonblocking(true).ok()?;
    stream.set_nodelay(true).ok()?;
    TcpStream::from_std(stream).ok()
}

async fn accept(road: Arc<Road>, listener: TcpListener, bound: Bound, connections: Arc<Semaphore>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Taken after the accept: a listener on which nobody calls must not use one up.
                let Ok(permit) = Arc::clone(&connections).acquire_owned().await else {
                    return;
                };
                drop(stream.set_nodelay(true));
                let (road, bound) = (Arc::clone(&road), bound.clone());
                tokio::spawn(async move {
                    intake::serve(road, stream, BytesMut::new(), bound, Via::Door).await;
                    drop(permit);
                });
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}
