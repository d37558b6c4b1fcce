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
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOTH: [Architecture; 2] = [Architecture::X86_64, Architecture::Aarch64];
    const GUARDED: [u32; 2] = [4321, 77];

    /// Runs a program as the kernel's BPF machine does, for the instructions that we use.
    fn run(program: &[Instruction], audit: u32, number: u32, arguments: [u64; 6]) -> u32 {
        let mut data = Vec::new();
        data.extend(number.to_le_bytes());
        data.extend(audit.to_le_bytes());
        data.extend(0_u64.to_le_bytes());
        for argument in arguments {
            data.extend(argument.to_le_bytes());
        }
        let (mut at, mut held) = (0, 0_u32);
        loop {
            let step = program[at];
            at += 1;
            let jump = |taken: bool| usize::from(if taken { step.jt } else { step.jf });
            match step.code {
                LOAD => {
                    let offset = usize::try_from(step.k).unwrap();
                    held = u32::from_le_bytes(data[offset..offset + 4].try_into().unwrap());
                }
                AND => held &= step.k,
                JUMP_EQUAL => at += jump(held == step.k),
                JUMP_GREATER => at += jump(held > step.k),
                JUMP_AT_LEAST => at += jump(held >= step.k),
                RETURN => return step.k,
                other => panic!("instruction {other:#x}"),
            }
        }
    }

    fn answered(architecture: Architecture, call: Call, arguments: [u64; 6]) -> u32 {
        let program = program(architecture, &GUARDED);
        run(
            &program,
            architecture.audit_number(),
            call.number(architecture),
            arguments,
        )
    }

    fn on_both(call: Call, arguments: [u64; 6], expected: u32) {
        for architecture in BOTH {
            assert_eq!(
                answered(architecture, call, arguments),
                expected,
                "{} {arguments:?}",
                call.name
            );
        }
    }

    fn error(number: u16) -> u32 {
        ACTION_ERROR | u32::from(number)
    }

    #[test]
    fn connect_bind_and_listen_ask() {
        for call in NOTIFIED {
            on_both(call, [3, 0x7FFF_0000, 16, 0, 0, 0], ACTION_NOTIFY);
        }
    }

    #[test]
    fn foreign_architecture_and_x32_are_killed_and_newer_calls_are_unknown() {
        for architecture in BOTH {
            let program = program(architecture, &GUARDED);
            let audit = architecture.audit_number();
            assert_eq!(run(&program, 0x4000_0003, 1, [0; 6]), ACTION_KILL);
            assert_eq!(run(&program, audit, NUMBER_MAX + 1, [0; 6]), error(ENOSYS));
            assert_eq!(run(&program, audit, NUMBER_MAX, [0; 6]), ACTION_ALLOW);
        }
        let program = program(Architecture::X86_64, &[]);
        let audit = Architecture::X86_64.audit_number();
        assert_eq!(run(&program, audit, X32_BIT | 42, [0; 6]), ACTION_KILL);
        assert_eq!(run(&program, audit, u32::MAX, [0; 6]), ACTION_KILL);
    }

    #[test]
    fn only_tcp_and_unix_streams_exist() {
        let flags = 0o2_004_000;
        for kind in [STREAM, STREAM | flags] {
            for (family, protocol) in [(INET, 0), (INET, 6), (INET6, 0), (INET6, 6), (UNIX, 0)] {
                on_both(
                    SOCKET,
                    [family.into(), kind.into(), protocol, 0, 0, 0],
                    ACTION_ALLOW,
                );
            }
        }
        on_both(SOCKET, [1, 5, 0, 0, 0, 0], ACTION_ALLOW);
        for family in [INET, INET6] {
            for kind in [2 | flags, 3, 5, 4, 0, 10] {
                on_both(
                    SOCKET,
                    [family.into(), kind.into(), 0, 0, 0, 0],
                    error(EPERM),
                );
            }
            for protocol in [262, 132, 17, 256] {
                on_both(
                    SOCKET,
                    [family.into(), 1, protocol, 0, 0, 0],
                    error(EPROTONOSUPPORT),
                );
            }
        }
        on_both(SOCKET, [1, 2, 0, 0, 0, 0], error(ESOCKTNOSUPPORT));
        for family in [0, 16, 17, 38, 40, 44] {
            on_both(SOCKET, [family, 1, 0, 0, 0, 0], error(EAFNOSUPPORT));
        }
        // The kernel looks at 32 bits only, so what stands above them must not matter.
        on_both(SOCKET, [2 | 1 << 40, 2, 0, 0, 0, 0], error(EPERM));
    }

    #[test]
    fn pairs_are_unix_streams() {
        on_both(SOCKETPAIR, [1, 1, 0, 0, 0, 0], ACTION_ALLOW);
        on_both(SOCKETPAIR, [1, 0o2_000_005, 0, 0, 0, 0], ACTION_ALLOW);
        on_both(SOCKETPAIR, [1, 2, 0, 0, 0, 0], error(ESOCKTNOSUPPORT));
        on_both(SOCKETPAIR, [2, 1, 0, 0, 0, 0], error(EAFNOSUPPORT));
    }

    #[test]
    fn data_goes_only_where_a_connect_went() {
        on_both(SENDTO, [3, 9, 9, 0x4000, 0, 0], ACTION_ALLOW);
        on_both(SENDTO, [3, 9, 9, 0, 0x10, 0], error(EPERM));
        on_both(SENDTO, [3, 9, 9, 0, 1 << 40, 0], error(EPERM));
        for (call, place) in [(SENDTO, 3), (SENDMSG, 2), (SENDMMSG, 3)] {
            let mut arguments = [0; 6];
            on_both(call, arguments, ACTION_ALLOW);
            arguments[place] = 0x2000_4000;
            on_both(call, arguments, error(EPERM));
        }
        for option in [30, 31, 19] {
            on_both(SETSOCKOPT, [3, 6, option, 0, 0, 0], error(EPERM));
            on_both(SETSOCKOPT, [3, 1, option, 0, 0, 0], ACTION_ALLOW);
        }
        on_both(SETSOCKOPT, [3, 6, 1, 0, 0, 0], ACTION_ALLOW);
    }

    #[test]
    fn no_option_picks_the_way_of_a_packet() {
        for (level, option) in [
            (1, 25),
            (1, 62),
            (0, 4),
            (0, 50),
            (41, 57),
            (41, 5),
            (41, 50),
        ] {
            on_both(SETSOCKOPT, [3, level, option, 0, 0, 0], error(EPERM));
        }
        // SO_REUSEADDR, SO_KEEPALIVE, IP_TOS, IPV6_V6ONLY.
        for (level, option) in [(1, 2), (1, 9), (0, 1), (41, 26)] {
            on_both(SETSOCKOPT, [3, level, option, 0, 0, 0], ACTION_ALLOW);
        }
    }

    #[test]
    fn processes_of_the_walls_get_no_signal() {
        let negative = |number: i32| u64::from(number.cast_unsigned());
        for target in [4321, 77, negative(-4321), negative(-77), negative(-1)] {
            on_both(KILL, [target, 9, 0, 0, 0, 0], error(EPERM));
            on_both(FCNTL, [3, 8, target, 0, 0, 0], error(EPERM));
            on_both(FCNTL, [3, 4, target, 0, 0, 0], ACTION_ALLOW);
        }
        for target in [1, 4322, 0, negative(-4322)] {
            on_both(KILL, [target, 9, 0, 0, 0, 0], ACTION_ALLOW);
        }
        for call in [TKILL, TGKILL, SIGQUEUE, THREAD_SIGQUEUE] {
            on_both(call, [77, 1, 0, 0, 0, 0], error(EPERM));
            on_both(call, [78, 1, 0, 0, 0, 0], ACTION_ALLOW);
        }
        on_both(TGKILL, [78, 77, 9, 0, 0, 0], error(EPERM));
        on_both(PIDFD_SEND_SIGNAL, [3, 0, 0, 0, 0, 0], error(ENOSYS));
        on_both(FCNTL, [3, 15, 0, 0, 0, 0], error(EPERM));
        on_both(IOCTL, [3, 0x8901, 0, 0, 0, 0], error(EPERM));
        on_both(IOCTL, [3, 0x5401, 0, 0, 0, 0], ACTION_ALLOW);
    }

    #[test]
    fn nobody_guarded_still_compiles() {
        let program = program(Architecture::HERE, &[]);
        let audit = Architecture::HERE.audit_number();
        let kill = KILL.number(Architecture::HERE);
        let tkill = TKILL.number(Architecture::HERE);
        assert_eq!(run(&program, audit, kill, [5, 0, 0, 0, 0, 0]), ACTION_ALLOW);
        assert_eq!(run(&program, audit, tkill, [0; 6]), ACTION_ALLOW);
    }

    #[test]
    fn every_rule_has_a_reason_and_fits_its_jumps() {
        let most: Vec<u32> = (100..200).collect();
        for rule in rules(&most) {
            assert!(rule.reason.len() > 10, "{}", rule.call.name);
            assert!(compiled(&rule, Architecture::HERE).len() < 255);
        }
    }

    /// The same judgement, straight from the data.
    fn judged(architecture: Architecture, number: u32, arguments: [u64; 6]) -> u32 {
        let low =
            |argument: u8| u32::try_from(arguments[usize::from(argument)] & 0xFFFF_FFFF).unwrap();
        let holds = |test: &Test| match test {
            Test::Among(argument, mask, values) => values.contains(&(low(*argument) & mask)),
            Test::NotAmong(argument, mask, values) => !values.contains(&(low(*argument) & mask)),
            Test::NotNull(argument) => arguments[usize::from(*argument)] != 0,
        };
        rules(&GUARDED)
            .iter()
            .find(|rule| rule.call.number(architecture) == number && rule.tests.iter().all(holds))
            .map_or(ACTION_ALLOW, |rule| action(rule.answer))
    }

    fn argument() -> impl Strategy<Value = u64> {
        let known = vec![
            0,
            1,
            2,
            3,
            5,
            6,
            8,
            10,
            15,
            16,
            19,
            30,
            31,
            77,
            262,
            4321,
            0x2000_0000,
            0x8901,
            1 << 32,
            u64::from(u32::MAX),
        ];
        prop_oneof![prop::sample::select(known), any::<u64>()]
    }

    proptest! {
        #[test]
        fn program_says_what_the_data_says(rule in 0_usize..40, number in 0..=NUMBER_MAX, arguments in prop::array::uniform6(argument())) {
            for architecture in BOTH {
                let rules = rules(&GUARDED);
                let number = rules.get(rule).map_or(number, |rule| rule.call.number(architecture));
                let got = run(&program(architecture, &GUARDED), architecture.audit_number(), number, arguments);
                prop_assert_eq!(got, judged(architecture, number, arguments));
            }
        }
    }
}
