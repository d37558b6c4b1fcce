//! What the kernel's audit tells of system calls that a run of level a was refused (audit_seccomp in kernel/auditsc.c).
//! It must never hand on a record of anybody but the run: the helper reads those of the whole machine.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;

use rustix::net::netlink::{AUDIT, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, socket_with, sockopt};
use serde::{Deserialize, Serialize};

use super::walls::syscalls::table;

/// The group of readers (`AUDIT_NLGRP_READLOG`, linux/audit.h), as a bit. Joining it wants CAP_AUDIT_READ in the machine's
/// own user namespace.
const READERS: u32 = 1;
/// `AUDIT_SECCOMP` (linux/audit.h).
const SECCOMP: u16 = 1326;
/// Bytes that wait until the run has ended; what comes beyond is lost, and nobody claims that the list is whole.
const WAITING_BYTES: usize = 4 << 20;
/// Records that are read at most.
const RECORDS_MAX: usize = 20_000;
/// Different calls that are told.
pub const CALLS_MAX: usize = 100;
/// Longest record that is looked at, in bytes.
const RECORD_BYTES_MAX: usize = 9000;
/// Bytes of the header of a netlink message (netlink(7)).
const HEADER_BYTES: usize = 16;

/// A system call that was refused to the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefusedCall {
    /// Its number.
    pub number: i64,
    /// Whether the process was ended for it.
    pub killed: bool,
    /// How often.
    pub count: u64,
}

impl RefusedCall {
    /// For the report: the call's name where our table knows it.
    #[must_use]
    pub fn what(&self) -> String {
        let rows = table::refused();
        let row = rows.iter().find(|row| row.number == self.number);
        let name = row.map(|row| row.name.trim_start_matches("SYS_"));
        name.map_or_else(
            || format!("call number {}", self.number),
            |name| format!("call {name}"),
        )
    }
}

/// The records of the machine, from when this was made.
#[derive(Debug)]
pub struct Audit {
    socket: OwnedFd,
}

impl Audit {
    /// Starts to listen; none where the kernel has no audit, or where this process may not read it, as in a container.
    #[must_use]
    pub fn listen() -> Option<Self> {
        Self::try_listen().ok()
    }

    fn try_listen() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(AUDIT))?;
        sockopt::set_socket_recv_buffer_size_force(&socket, WAITING_BYTES)?;
        bind(&socket, &SocketAddrNetlink::new(0, READERS))?;
        Ok(Self { socket })
    }

    /// The calls that were refused to this user, most frequent first.
    #[must_use]
    pub fn refused(&self, user: u32) -> Vec<RefusedCall> {
        let mut counts: BTreeMap<(i64, bool), u64> = BTreeMap::new();
        let mut record = vec![0_u8; RECORD_BYTES_MAX];
        for _ in 0..RECORDS_MAX {
            let length = match rustix::net::recv(&self.socket, &mut record[..], RecvFlags::DONTWAIT)
            {
                Ok((length, _)) => length,
                // Some were lost; those that were kept come next.
                Err(rustix::io::Errno::NOBUFS) => continue,
                Err(_nothing_more) => break,
            };
            let Some((call, killed)) = read(&record[..length], user) else {
                continue;
            };
            if counts.len() < CALLS_MAX || counts.contains_key(&(call, killed)) {
                *counts.entry((call, killed)).or_default() += 1;
            }
        }
        let calls = counts
            .into_iter()
            .map(|((number, killed), count)| RefusedCall {
                number,
                killed,
                count,
            });
        let mut calls: Vec<RefusedCall> = calls.collect();
        calls.sort_by_key(|call| std::cmp::Reverse(call.count));
        calls
    }
}

/// The call of a seccomp record of this user, and whether it ended the process. The kernel writes a name that holds a space
/// or a quotation mark as hexadecimal digits, so no program can write a word of its own between the others.
fn read(record: &[u8], user: u32) -> Option<(i64, bool)> {
    let kind = record.get(4..6)?;
    if u16::from_ne_bytes([kind[0], kind[1]]) != SECCOMP {
        return None;
    }
    let text = std::str::from_utf8(record.get(HEADER_BYTES..)?).ok()?;
    let text = text.trim_end_matches('\0');
    let word = |name: &str| text.split(' ').find_map(|word| word.strip_prefix(name));
    if word("uid=")?.parse() != Ok(user) {
        return None;
    }
    Some((word("syscall=")?.parse().ok()?, word("sig=")? != "0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u16, text: &str) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_BYTES];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes.extend(text.as_bytes());
        bytes
    }

    const TEXT: &str = "audit(1795315233.854:245): auid=4294967295 uid=60600 gid=60600 ses=4294967295 pid=14129 \
        comm=\"sig=31\" exe=\"/usr/bin/x\" sig=0 arch=c000003e syscall=272 compat=0 ip=0x7f922891f829 code=0x50001";

    #[test]
    fn record_of_the_run_names_its_call() {
        let seccomp = record(SECCOMP, TEXT);
        assert_eq!(read(&seccomp, 60600), Some((272, false)));
        let killed = record(SECCOMP, &TEXT.replace(" sig=0", " sig=31"));
        assert_eq!(read(&killed, 60600), Some((272, true)));
    }

    #[test]
    fn records_of_others_are_not_read() {
        for (kind, text, user) in [
            (SECCOMP, TEXT, 0),
            (SECCOMP, TEXT, 6060),
            (1300, TEXT, 60600),
            (SECCOMP, "audit(1): uid=60600", 60600),
            (SECCOMP, "", 60600),
        ] {
            assert_eq!(
                read(&record(kind, text), user),
                None,
                "{kind} {user} {text}"
            );
        }
        assert_eq!(read(b"short", 60600), None);
    }
}
