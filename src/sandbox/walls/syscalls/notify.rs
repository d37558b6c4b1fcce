//! The filter of level C that asks the supervisor: as data with a reason in each row, and the program made of it.
//! It must never notify what a register can judge, and never let pass an architecture or number that it does not know.
//!
//! seccompiler can neither notify nor see x32, and allows one action a filter; so this one is made here.

use crate::sandbox::walls::sys::Instruction;

/// Most processes that are guarded against signals: supervisor, launcher, sweeper and their kin.
pub const GUARDED_MAX: usize = 8;

/// A processor family, with the numbers of its calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// `x86_64`; x32 is refused.
    X86_64,
    /// `aarch64`.
    Aarch64,
}

impl Architecture {
    /// The one that this program was built for.
    #[cfg(target_arch = "x86_64")]
    pub const HERE: Self = Self::X86_64;
    /// The one that this program was built for.
    #[cfg(target_arch = "aarch64")]
    pub const HERE: Self = Self::Aarch64;

    /// As the kernel names it in `seccomp_data` (linux/audit.h).
    #[must_use]
    pub fn audit_number(self) -> u32 {
        match self {
            Self::X86_64 => 0xC000_003E,
            Self::Aarch64 => 0xC000_00B7,
        }
    }
}

/// A system call and its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// As its man page names it.
    pub name: &'static str,
    x86_64: u32,
    aarch64: u32,
}

impl Call {
    const fn new(name: &'static str, x86_64: u32, aarch64: u32) -> Self {
        Self {
            name,
            x86_64,
            aarch64,
        }
    }

    /// Its number on this family.
    #[must_use]
    pub fn number(self, architecture: Architecture) -> u32 {
        match architecture {
            Architecture::X86_64 => self.x86_64,
            Architecture::Aarch64 => self.aarch64,
        }
    }
}

/// connect(2), decided by the supervisor.
pub const CONNECT: Call = Call::new("connect", 42, 203);
/// bind(2), decided by the supervisor.
pub const BIND: Call = Call::new("bind", 49, 200);
/// listen(2), decided by the supervisor.
pub const LISTEN: Call = Call::new("listen", 50, 201);
/// The calls that wait for the supervisor.
pub const NOTIFIED: [Call; 3] = [CONNECT, BIND, LISTEN];

/// socket(2), answered by the supervisor where it cannot take the callers' own sockets.
pub const SOCKET: Call = Call::new("socket", 41, 198);
const SOCKETPAIR: Call = Call::new("socketpair", 53, 199);
const SENDTO: Call = Call::new("sendto", 44, 206);
const SENDMSG: Call = Call::new("sendmsg", 46, 211);
const SENDMMSG: Call = Call::new("sendmmsg", 307, 269);
const SETSOCKOPT: Call = Call::new("setsockopt", 54, 208);
const KILL: Call = Call::new("kill", 62, 129);
const TKILL: Call = Call::new("tkill", 200, 130);
const TGKILL: Call = Call::new("tgkill", 234, 131);
const SIGQUEUE: Call = Call::new("rt_sigqueueinfo", 129, 138);
const THREAD_SIGQUEUE: Call = Call::new("rt_tgsigqueueinfo", 297, 240);
const PIDFD_SEND_SIGNAL: Call = Call::new("pidfd_send_signal", 424, 424);
const FCNTL: Call = Call::new("fcntl", 72, 25);
const IOCTL: Call = Call::new("ioctl", 16, 29);

/// The highest number that was read through when these rows were made (`file_setattr`, Linux 6.17); newer ones do not exist inside.
pub const NUMBER_MAX: u32 = 469;

/// What a rule answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// This error, by its number on Linux.
    Error(u16),
    /// The supervisor decides.
    Ask,
}

const EPERM: u16 = 1;
const ENOSYS: u16 = 38;
const EPROTONOSUPPORT: u16 = 93;
const ESOCKTNOSUPPORT: u16 = 94;
const EAFNOSUPPORT: u16 = 97;

/// A condition on one argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// The lower 32 bits under this mask are one of these.
    Among(u8, u32, Vec<u32>),
    /// The lower 32 bits under this mask are none of these.
    NotAmong(u8, u32, Vec<u32>),
    /// One of the 64 bits is set.
    NotNull(u8),
}

/// If all tests hold, the call is answered so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Which call.
    pub call: Call,
    /// All of them must hold; none at all is always.
    pub tests: Vec<Test>,
    /// What it gets.
    pub answer: Answer,
    /// Why.
    pub reason: &'static str,
}

const UNIX: u32 = 1;
const INET: u32 = 2;
const INET6: u32 = 10;
const STREAM: u32 = 1;
const SEQPACKET: u32 = 5;
/// The kind of a socket without `SOCK_NONBLOCK` and `SOCK_CLOEXEC`, as the kernel cuts it (linux/net.h, `SOCK_TYPE_MASK`).
const KIND: u32 = 0xF;
const ALL: u32 = u32::MAX;
const TCP: u32 = 6;
const FASTOPEN: u32 = 0x2000_0000;
const TCP_REPAIR: u32 = 19;
const TCP_FASTOPEN_CONNECT: u32 = 30;
const TCP_ULP: u32 = 31;

/// The rules, in order: the first that holds answers. `guarded` are process ids that may get no signal from inside; each of
/// them must lead its own process group, and not that of the commands.
#[must_use]
pub fn rules(guarded: &[u32]) -> Vec<Rule> {
    let rule = |call, tests, answer, reason| Rule {
        call,
        tests,
        answer,
        reason,
    };
    let mut rules: Vec<Rule> = NOTIFIED
        .into_iter()
        .map(|call| {
            rule(
                call,
                Vec::new(),
                Answer::Ask,
                "the address is in memory, where only the supervisor can read it",
            )
        })
        .collect();
    rules.extend(sockets());
    rules.extend(sending());
    rules.extend(options());
    rules.extend(signals(guarded));
    rules
}

fn sockets() -> Vec<Rule> {
    use Test::{Among, NotAmong};
    let rule = |call, tests: &[Test], error, reason| Rule {
        call,
        tests: tests.to_vec(),
        answer: Answer::Error(error),
        reason,
    };
    let inet = Among(0, ALL, vec![INET, INET6]);
    let mut rules = vec![
        rule(
            SOCKET,
            &[NotAmong(0, ALL, vec![UNIX, INET, INET6])],
            EAFNOSUPPORT,
            "vsock, netlink, packet and alg have roads of their own",
        ),
        rule(
            SOCKET,
            &[inet.clone(), NotAmong(1, KIND, vec![STREAM])],
            EPERM,
            "datagrams and raw packets ask nobody",
        ),
        rule(
            SOCKET,
            &[inet, NotAmong(2, ALL, vec![0, TCP])],
            EPROTONOSUPPORT,
            "MPTCP, SCTP and SMC connect by other roads than TCP",
        ),
        rule(
            SOCKETPAIR,
            &[NotAmong(0, ALL, vec![UNIX])],
            EAFNOSUPPORT,
            "only UNIX pairs are needed",
        ),
    ];
    for call in [SOCKET, SOCKETPAIR] {
        let tests = [
            Among(0, ALL, vec![UNIX]),
            NotAmong(1, KIND, vec![STREAM, SEQPACKET]),
        ];
        rules.push(rule(
            call,
            &tests,
            ESOCKTNOSUPPORT,
            "a datagram is sent to a name without connect",
        ));
    }
    rules
}

fn sending() -> Vec<Rule> {
    use Test::{Among, NotNull};
    let rule = |call, tests: &[Test], reason| Rule {
        call,
        tests: tests.to_vec(),
        answer: Answer::Error(EPERM),
        reason,
    };
    let mut rules = vec![rule(
        SENDTO,
        &[NotNull(4)],
        "an address beside the data needs no connect",
    )];
    for (call, flags) in [(SENDTO, 3), (SENDMSG, 2), (SENDMMSG, 3)] {
        let tests = [Among(flags, FASTOPEN, vec![FASTOPEN])];
        rules.push(rule(call, &tests, "MSG_FASTOPEN connects without connect"));
    }
    rules
}

/// Socket options after which a connect does not go where its address says. The supervisor connects to loopback only, so
/// whatever picks the way for a packet would lead out of the walls.
fn options() -> Vec<Rule> {
    use Test::Among;
    let ways = "it picks the interface or the way of a packet, whatever its address";
    [
        (
            TCP,
            vec![TCP_FASTOPEN_CONNECT, TCP_ULP, TCP_REPAIR],
            "a connect that happens later, or another protocol on the same socket",
        ),
        // SOL_SOCKET: SO_BINDTODEVICE, SO_MARK, SO_BINDTOIFINDEX.
        (1, vec![25, 36, 62], ways),
        // IPPROTO_IP: IP_OPTIONS (source routes), IP_TRANSPARENT, IP_UNICAST_IF.
        (0, vec![4, 19, 50], ways),
        // IPPROTO_IPV6: IPV6_2292PKTINFO, 2292HOPOPTS, 2292DSTOPTS, 2292RTHDR, 2292PKTOPTIONS, PKTINFO, HOPOPTS,
        // RTHDRDSTOPTS, RTHDR, DSTOPTS, TRANSPARENT, UNICAST_IF.
        (41, vec![2, 3, 4, 5, 6, 50, 54, 55, 57, 59, 75, 76], ways),
    ]
    .into_iter()
    .map(|(level, options, reason)| Rule {
        call: SETSOCKOPT,
        tests: vec![Among(1, ALL, vec![level]), Among(2, ALL, options)],
        answer: Answer::Error(EPERM),
        reason,
    })
    .collect()
}

fn signals(guarded: &[u32]) -> Vec<Rule> {
    use Test::Among;
    let rule = |call, argument, values: &[u32], error, reason| Rule {
        call,
        tests: vec![Among(argument, ALL, values.to_vec())],
        answer: Answer::Error(error),
        reason,
    };
    let guarded = guarded.get(..GUARDED_MAX).unwrap_or(guarded);
    let groups = guarded.iter().map(|process| process.wrapping_neg());
    // kill(-1) reaches every process of the uid.
    let everyone = std::iter::once(ALL);
    let own: Vec<u32> = guarded
        .iter()
        .copied()
        .chain(groups)
        .chain(everyone)
        .collect();
    let walls = "a signal to a process of the walls";
    let mut rules = vec![rule(KILL, 0, &own, EPERM, walls)];
    for call in [TKILL, TGKILL, SIGQUEUE, THREAD_SIGQUEUE] {
        rules.push(rule(call, 0, guarded, EPERM, walls));
    }
    for call in [TGKILL, THREAD_SIGQUEUE] {
        rules.push(rule(call, 1, guarded, EPERM, walls));
    }
    rules.push(Rule {
        call: PIDFD_SEND_SIGNAL,
        tests: Vec::new(),
        answer: Answer::Error(ENOSYS),
        reason: "a descriptor may stand for any process; callers fall back to kill",
    });
    // F_SETOWN (8), F_SETOWN_EX (15), FIOSETOWN and SIOCSPGRP: the kernel would send the signal for them.
    let owner = "a descriptor that signals a process of the walls";
    rules.push(Rule {
        call: FCNTL,
        tests: vec![Among(1, ALL, vec![8]), Among(2, ALL, own)],
        answer: Answer::Error(EPERM),
        reason: owner,
    });
    rules.push(rule(FCNTL, 1, &[15], EPERM, owner));
    rules.push(rule(IOCTL, 1, &[0x8901, 0x8902], EPERM, owner));
    rules
}

const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER: u16 = 0x25;
const JUMP_AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;

const OFFSET_NUMBER: u32 = 0;
const OFFSET_ARCHITECTURE: u32 = 4;
const OFFSET_ARGUMENTS: u32 = 16;

const ACTION_KILL: u32 = 0x8000_0000;
const ACTION_ERROR: u32 = 0x0005_0000;
const ACTION_NOTIFY: u32 = 0x7FC0_0000;
const ACTION_ALLOW: u32 = 0x7FFF_0000;

/// x32 calls carry this bit and reach the same kernel by other numbers.
const X32_BIT: u32 = 0x4000_0000;

fn step(code: u16, yes: u8, no: u8, value: u32) -> Instruction {
    Instruction {
        code,
        jt: yes,
        jf: no,
        k: value,
    }
}

/// The program for seccomp(2), to be installed with a listener in the process that becomes the commands' first ancestor.
#[must_use]
pub fn program(architecture: Architecture, guarded: &[u32]) -> Vec<Instruction> {
    program_of(&rules(guarded), architecture)
}

/// The same for a supervisor that makes every socket itself: what the rules before do not refuse is asked for.
#[must_use]
pub fn program_with_sockets(architecture: Architecture, guarded: &[u32]) -> Vec<Instruction> {
    let mut rules = rules(guarded);
    rules.push(Rule {
        call: SOCKET,
        tests: Vec::new(),
        answer: Answer::Ask,
        reason: "a socket that the supervisor made is one that it can connect",
    });
    program_of(&rules, architecture)
}

/// The program of level D, where nobody can be asked: no socket but of the machine itself.
#[must_use]
pub fn program_alone(architecture: Architecture, guarded: &[u32]) -> Vec<Instruction> {
    let mut alone = vec![Rule {
        call: SOCKET,
        tests: vec![Test::NotAmong(0, ALL, vec![UNIX])],
        answer: Answer::Error(EAFNOSUPPORT),
        reason: "without namespaces and supervisor every other family is a road out",
    }];
    alone.extend(
        rules(guarded)
            .into_iter()
            .filter(|rule| rule.answer != Answer::Ask),
    );
    program_of(&alone, architecture)
}

fn program_of(rules: &[Rule], architecture: Architecture) -> Vec<Instruction> {
    let mut program = vec![
        step(LOAD, 0, 0, OFFSET_ARCHITECTURE),
        step(JUMP_EQUAL, 1, 0, architecture.audit_number()),
        step(RETURN, 0, 0, ACTION_KILL),
        step(LOAD, 0, 0, OFFSET_NUMBER),
    ];
    if architecture == Architecture::X86_64 {
        program.push(step(JUMP_AT_LEAST, 0, 1, X32_BIT));
        program.push(step(RETURN, 0, 0, ACTION_KILL));
    }
    program.push(step(JUMP_GREATER, 0, 1, NUMBER_MAX));
    program.push(step(RETURN, 0, 0, ACTION_ERROR | u32::from(ENOSYS)));
    for rule in rules {
        program.extend(compiled(rule, architecture));
    }
    program.push(step(RETURN, 0, 0, ACTION_ALLOW));
    program
}

/// One rule as a block that is entered and left with the call's number loaded. Each block is shorter than a jump is far:
/// `GUARDED_MAX` bounds the longest list.
fn compiled(rule: &Rule, architecture: Architecture) -> Vec<Instruction> {
    let mut block = Vec::new();
    // Blocks are built from their end, so that every jump knows how far it goes.
    block.push(step(LOAD, 0, 0, OFFSET_NUMBER));
    block.push(step(RETURN, 0, 0, action(rule.answer)));
    let far = |count: usize| u8::try_from(count).unwrap_or(u8::MAX);
    for test in rule.tests.iter().rev() {
        // In `block`, reversed, the last element is what follows; the failing way leads to the reload at its start.
        match test {
            Test::NotNull(argument) => {
                let failed = far(block.len() - 1);
                block.push(step(JUMP_EQUAL, failed, 0, 0));
                block.push(step(LOAD, 0, 0, argument_offset(*argument) + 4));
                block.push(step(JUMP_EQUAL, 0, 2, 0));
                block.push(step(LOAD, 0, 0, argument_offset(*argument)));
            }
            Test::Among(argument, mask, values) => {
                let failed = far(block.len() - 1);
                for (place, value) in values.iter().rev().enumerate() {
                    let no = if place == 0 { failed } else { 0 };
                    block.push(step(JUMP_EQUAL, far(place), no, *value));
                }
                if values.is_empty() {
                    block.push(step(JUMP_EQUAL, failed, failed, 0));
                }
                load(&mut block, *argument, *mask);
            }
            Test::NotAmong(argument, mask, values) => {
                let failed = block.len() - 1;
                for (place, value) in values.iter().rev().enumerate() {
                    block.push(step(JUMP_EQUAL, far(failed + place), 0, *value));
                }
                load(&mut block, *argument, *mask);
            }
        }
    }
    let whole = far(block.len());
    block.push(step(JUMP_EQUAL, 0, whole, rule.call.number(architecture)));
    block.reverse();
    block
}

fn load(block: &mut Vec<Instruction>, argument: u8, mask: u32) {
    if mask != ALL {
        block.push(step(AND, 0, 0, mask));
    }
    block.push(step(LOAD, 0, 0, argument_offset(argument)));
}

/// Where the lower half of an argument lies in `seccomp_data`; both families are little-endian.
fn argument_offset(argument: u8) -> u32 {
    OFFSET_ARGUMENTS + 8 * u32::from(argument)
}

fn action(answer: Answer) -> u32 {
    match answer {
        Answer::Error(number) => ACTION_ERROR | u32::from(number),
        Answer::Ask => ACTION_NOTIFY,
    }
}

#[cfg(test)]
mod tests;
