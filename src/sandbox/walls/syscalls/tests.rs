//! The table against the programs that are made of it, run as the kernel runs them.

use seccompiler::SeccompCmpOp as Op;

use super::*;

/// What the kernel looks at.
#[derive(Clone, Copy)]
struct Call {
    architecture: u32,
    number: u32,
    arguments: [u64; 6],
}

/// Runs one program. `word` are code, jumps and constant of an instruction.
fn run(length: usize, word: impl Fn(usize) -> (u16, u8, u8, u32), call: Call) -> u32 {
    let mut data = Vec::new();
    data.extend(call.number.to_le_bytes());
    data.extend(call.architecture.to_le_bytes());
    data.extend(0_u64.to_le_bytes());
    data.extend(call.arguments.iter().flat_map(|word| word.to_le_bytes()));
    let (mut at, mut held) = (0, 0_u32);
    while at < length {
        let (code, yes, no, value) = word(at);
        at += 1;
        let jump = |taken: bool| usize::from(if taken { yes } else { no });
        match code {
            0x20 => {
                let offset = usize::try_from(value).unwrap();
                held = u32::from_le_bytes(data[offset..offset + 4].try_into().unwrap());
            }
            0x54 => held &= value,
            0x05 => at += usize::try_from(value).unwrap(),
            0x15 => at += jump(held == value),
            0x25 => at += jump(held > value),
            0x35 => at += jump(held >= value),
            0x06 => return value,
            other => panic!("instruction {other:#x}"),
        }
    }
    panic!("the program has no end")
}

/// The strictest answer of both programs, as the kernel takes it (seccomp(2)).
fn answer(filters: &Filters, call: Call) -> u32 {
    let refusing = &filters.refusing;
    let one = run(
        refusing.len(),
        |at| {
            (
                refusing[at].code,
                refusing[at].jt,
                refusing[at].jf,
                refusing[at].k,
            )
        },
        call,
    );
    let first = &filters.first;
    let other = run(
        first.len(),
        |at| (first[at].code, first[at].jt, first[at].jf, first[at].k),
        call,
    );
    if one.cast_signed() <= other.cast_signed() {
        one
    } else {
        other
    }
}

/// A call that the row is there for, and that no other row of the same call refuses.
fn sample(row: &Row) -> Call {
    let mut arguments = [0; 6];
    for other in table::refused()
        .iter()
        .filter(|other| other.number == row.number)
    {
        if let [test] = other.tests.as_slice()
            && matches!(test.operation, Op::Ne)
        {
            arguments[usize::from(test.argument)] = test.value;
        }
    }
    for test in &row.tests {
        arguments[usize::from(test.argument)] = match test.operation {
            Op::Eq | Op::MaskedEq(_) => test.value,
            // No value of the table.
            _ => 0x40_0005,
        };
    }
    Call {
        architecture: ARCHITECTURE.0,
        number: number(row.number).unwrap(),
        arguments,
    }
}

#[test]
fn every_row_has_a_reason() {
    for row in table::refused().iter().chain(&table::unknown()) {
        assert!(row.reason.len() > 10, "{} has no reason", row.name);
    }
}

#[test]
fn every_number_is_known_to_the_table() {
    for row in table::refused().iter().chain(&table::unknown()) {
        assert!(row.number <= i64::from(table::NUMBER_MAX), "{}", row.name);
    }
}

#[test]
fn every_row_refuses_what_no_other_row_does() {
    let (refused, unknown) = (table::refused(), table::unknown());
    let eperm = libc::SECCOMP_RET_ERRNO | libc::EPERM.unsigned_abs();
    let enosys = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs();
    let whole = Filters::of(&refused, &unknown).unwrap();
    let without = |rows: &[Row], place: usize| {
        let mut rows = rows.to_vec();
        rows.remove(place);
        rows
    };
    for (place, row) in refused.iter().enumerate() {
        assert_eq!(answer(&whole, sample(row)), eperm, "{}", row.name);
        let less = Filters::of(&without(&refused, place), &unknown).unwrap();
        let allowed = answer(&less, sample(row));
        assert_eq!(
            allowed,
            libc::SECCOMP_RET_ALLOW,
            "{} is redundant",
            row.name
        );
    }
    for (place, row) in unknown.iter().enumerate() {
        assert_eq!(answer(&whole, sample(row)), enosys, "{}", row.name);
        let less = Filters::of(&refused, &without(&unknown, place)).unwrap();
        let allowed = answer(&less, sample(row));
        assert_eq!(
            allowed,
            libc::SECCOMP_RET_ALLOW,
            "{} is redundant",
            row.name
        );
    }
}

#[test]
fn rows_of_a_shared_ground_are_not_held_on_an_own_one() {
    let own = Filters::compile(Ground::Own, false).unwrap();
    let shared = Filters::compile(Ground::Shared, false).unwrap();
    for row in table::refused()
        .iter()
        .filter(|row| row.scope == Scope::Shared)
    {
        assert_eq!(
            answer(&own, sample(row)),
            libc::SECCOMP_RET_ALLOW,
            "{}",
            row.name
        );
        assert_ne!(
            answer(&shared, sample(row)),
            libc::SECCOMP_RET_ALLOW,
            "{}",
            row.name
        );
    }
}

#[test]
fn another_architecture_and_x32_end_the_process() {
    let filters = Filters::compile(Ground::Own, false).unwrap();
    let call = Call {
        architecture: ARCHITECTURE.0,
        number: number(libc::SYS_getpid).unwrap(),
        arguments: [0; 6],
    };
    assert_eq!(answer(&filters, call), libc::SECCOMP_RET_ALLOW);
    let kill = libc::SECCOMP_RET_KILL_PROCESS;
    let foreign = Call {
        architecture: 0x4000_0003,
        ..call
    };
    assert_eq!(answer(&filters, foreign), kill);
    let x32 = Call {
        number: call.number | 0x4000_0000,
        ..call
    };
    assert_eq!(answer(&filters, x32), kill);
}
