//! The filter that judges by the number alone: architecture, x32, the upper bound, and the calls that get one answer whatever
//! their arguments. seccompiler knows neither x32 nor an upper bound, and one action a filter.
//!
//! It is a balanced tree, because the kernel runs a new filter once for every call number to learn what it always allows:
//! on Linux 6.18 a list of all refused numbers took 200 us to install, this tree and the rows with tests take 100 together.

use std::collections::BTreeMap;

use super::{Fault, bug, table};
use crate::sandbox::walls::sys::Instruction;

/// What a call gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The kernel's own judgement.
    Allow,
    /// This error number.
    Error(i32),
    /// The end of the process.
    Kill,
}

impl Answer {
    fn value(self) -> u32 {
        match self {
            Self::Allow => libc::SECCOMP_RET_ALLOW,
            Self::Error(number) => libc::SECCOMP_RET_ERRNO | number.unsigned_abs(),
            Self::Kill => libc::SECCOMP_RET_KILL_PROCESS,
        }
    }
}

const LOAD_WORD: u16 = 0x20;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;

const OFFSET_NUMBER: u32 = 0;
const OFFSET_ARCHITECTURE: u32 = 4;

/// x32 calls carry this bit and reach the same kernel by other numbers (syscall(2)); elsewhere no call has such a number.
const X32: u32 = 0x4000_0000;

/// From this number on to the next range, this is the answer.
#[derive(Clone, Copy, Debug)]
struct Range {
    first: u32,
    answer: Answer,
}

/// The program for one architecture: the answers as given, `other` for every other number that the table knows, ENOSYS for
/// newer ones (the end of the process if `other` is that), the end of the process for x32 and other architectures.
///
/// # Errors
/// More answers than a jump reaches over, which is a bug of ours.
pub fn program(
    architecture: u32,
    answers: &BTreeMap<u32, Answer>,
    other: Answer,
) -> Result<Vec<Instruction>, Fault> {
    let mut program = vec![
        step(LOAD_WORD, 0, 0, OFFSET_ARCHITECTURE),
        step(JUMP_EQUAL, 1, 0, architecture),
        step(RETURN, 0, 0, Answer::Kill.value()),
        step(LOAD_WORD, 0, 0, OFFSET_NUMBER),
    ];
    branch(&mut program, &ranges(answers, other))?;
    Ok(program)
}

fn ranges(answers: &BTreeMap<u32, Answer>, other: Answer) -> Vec<Range> {
    let newer = match other {
        Answer::Kill => Answer::Kill,
        Answer::Allow | Answer::Error(_) => Answer::Error(libc::ENOSYS),
    };
    let mut ranges = vec![Range {
        first: 0,
        answer: other,
    }];
    for (number, answer) in answers {
        set(&mut ranges, *number, *answer);
        set(&mut ranges, number.saturating_add(1), other);
    }
    set(&mut ranges, table::NUMBER_MAX + 1, newer);
    set(&mut ranges, X32, Answer::Kill);
    ranges.dedup_by_key(|range| range.answer);
    ranges
}

/// Starts a new range; what has begun at the same number is overruled. Numbers come in order.
fn set(ranges: &mut Vec<Range>, first: u32, answer: Answer) {
    ranges.retain(|range| range.first < first);
    ranges.push(Range { first, answer });
}

/// Half of the ranges lie to each side of a comparison.
fn branch(program: &mut Vec<Instruction>, ranges: &[Range]) -> Result<(), Fault> {
    let (low, high) = ranges.split_at(ranges.len() / 2);
    let (Some(_), Some(middle)) = (low.first(), high.first()) else {
        let answer = ranges.first().map_or(Answer::Kill, |range| range.answer);
        program.push(step(RETURN, 0, 0, answer.value()));
        return Ok(());
    };
    let here = program.len();
    program.push(step(JUMP_AT_LEAST, 0, 0, middle.first));
    branch(program, low)?;
    let over = u8::try_from(program.len() - here - 1).map_err(bug)?;
    program[here].jt = over;
    branch(program, high)
}

fn step(code: u16, jt: u8, jf: u8, k: u32) -> Instruction {
    Instruction { code, jt, jf, k }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a program as the kernel does.
    fn judge(program: &[Instruction], architecture: u32, number: u32) -> u32 {
        let (mut at, mut loaded) = (0, 0);
        loop {
            let step = program[at];
            at += 1;
            match step.code {
                LOAD_WORD if step.k == OFFSET_ARCHITECTURE => loaded = architecture,
                LOAD_WORD => loaded = number,
                JUMP_EQUAL => at += usize::from(if loaded == step.k { step.jt } else { step.jf }),
                JUMP_AT_LEAST => {
                    at += usize::from(if loaded >= step.k { step.jt } else { step.jf });
                }
                RETURN => return step.k,
                code => panic!("no such instruction: {code}"),
            }
        }
    }

    #[test]
    fn every_number_gets_its_answer() {
        let answers: BTreeMap<u32, Answer> = (0..60)
            .map(|number| (number * 7, Answer::Error(1)))
            .chain([(10, Answer::Error(38)), (469, Answer::Error(1))])
            .collect();
        let program = program(7, &answers, Answer::Allow).unwrap();
        for number in 0..=table::NUMBER_MAX {
            let expected = answers.get(&number).copied().unwrap_or(Answer::Allow);
            assert_eq!(judge(&program, 7, number), expected.value(), "{number}");
        }
    }

    #[test]
    fn newer_calls_do_not_exist_and_x32_kills() {
        let program = program(7, &BTreeMap::new(), Answer::Allow).unwrap();
        let enosys = Answer::Error(libc::ENOSYS).value();
        assert_eq!(judge(&program, 7, 0), Answer::Allow.value());
        assert_eq!(judge(&program, 7, table::NUMBER_MAX + 1), enosys);
        assert_eq!(judge(&program, 7, X32 - 1), enosys);
        assert_eq!(judge(&program, 7, X32), Answer::Kill.value());
        assert_eq!(judge(&program, 7, u32::MAX), Answer::Kill.value());
        assert_eq!(judge(&program, 8, 0), Answer::Kill.value());
    }

    #[test]
    fn list_of_allowed_calls_kills_at_every_other() {
        let allowed = BTreeMap::from([(0, Answer::Allow), (5, Answer::Allow)]);
        let program = program(7, &allowed, Answer::Kill).unwrap();
        let kill = Answer::Kill.value();
        for (number, expected) in [(0, Answer::Allow.value()), (1, kill), (4, kill), (6, kill)] {
            assert_eq!(judge(&program, 7, number), expected, "{number}");
        }
        assert_eq!(judge(&program, 7, 5), Answer::Allow.value());
        assert_eq!(judge(&program, 7, u32::MAX), kill);
    }
}
