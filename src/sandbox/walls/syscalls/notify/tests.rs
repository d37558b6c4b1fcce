//! The program is run here, instruction by instruction, for both processor families.

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
    let low = |argument: u8| u32::try_from(arguments[usize::from(argument)] & 0xFFFF_FFFF).unwrap();
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
