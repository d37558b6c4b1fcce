//! Kernel calls as an attacker makes them, past every safe wrapper. The one file of the probes that may hold `unsafe`.
//! It must never be used outside a process that exists for one attack.
#![expect(
    unsafe_code,
    reason = "an attack is a kernel call that no safe crate offers; each block says why its demands hold"
)]

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// One argument of a call.
pub(crate) enum Argument<'a> {
    /// A number, or an address that the kernel is meant to refuse.
    Number(i64),
    /// Bytes that the kernel reads.
    In(&'a [u8]),
    /// Bytes that the kernel writes.
    Out(&'a mut [u8]),
}

impl From<i64> for Argument<'_> {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<i32> for Argument<'_> {
    fn from(number: i32) -> Self {
        Self::Number(i64::from(number))
    }
}

impl From<u32> for Argument<'_> {
    fn from(number: u32) -> Self {
        Self::Number(i64::from(number))
    }
}

impl From<usize> for Argument<'_> {
    fn from(number: usize) -> Self {
        Self::Number(i64::try_from(number).expect("lengths and addresses of user space fit"))
    }
}

impl<'a> From<&'a [u8]> for Argument<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::In(bytes)
    }
}

impl<'a> From<&'a Vec<u8>> for Argument<'a> {
    fn from(bytes: &'a Vec<u8>) -> Self {
        Self::In(bytes)
    }
}

impl<'a> From<&'a mut [u8]> for Argument<'a> {
    fn from(bytes: &'a mut [u8]) -> Self {
        Self::Out(bytes)
    }
}

/// Makes a call; missing arguments are 0.
pub(crate) fn call<const COUNT: usize>(
    number: libc::c_long,
    arguments: [Argument<'_>; COUNT],
) -> io::Result<i64> {
    let mut words: [libc::c_long; 6] = [0; 6];
    for (word, argument) in words.iter_mut().zip(arguments) {
        *word = match argument {
            Argument::Number(number) => number,
            Argument::In(bytes) => bytes.as_ptr() as libc::c_long,
            Argument::Out(bytes) => bytes.as_mut_ptr() as libc::c_long,
        };
    }
    let [one, two, three, four, five, six] = words;
    // SAFETY: the buffers are borrowed for the whole call and the cases pass their true lengths; a number that is no
    // address gives EFAULT. Whatever else the call does to this process, it lives only to make it.
    let answer = unsafe { libc::syscall(number, one, two, three, four, five, six) };
    if answer < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(answer)
    }
}

/// Takes over a descriptor that `call` has just made.
pub(crate) fn own(number: i64) -> io::Result<OwnedFd> {
    let number = RawFd::try_from(number).map_err(io::Error::other)?;
    // SAFETY: the caller got this number from a call that made it a moment ago, and gives it up here.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// `getpid` by the 32-bit gate of `x86_64`, which reaches the kernel by other numbers.
#[cfg(target_arch = "x86_64")]
pub(crate) fn process_id_by_old_gate() -> i32 {
    let mut answer: i32 = 20;
    // SAFETY: call 20 of the 32-bit table takes no argument and writes no memory. The old gate may clear r8 to r11.
    unsafe {
        core::arch::asm!(
            "int 0x80",
            inout("eax") answer,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
            options(nostack)
        );
    }
    // A negative number is an error.
    answer
}

/// Nobody has this gate here.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn process_id_by_old_gate() -> i32 {
    -1
}
