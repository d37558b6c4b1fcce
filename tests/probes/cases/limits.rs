//! Attacks on the machine's stores: that the limits hold at all. Which limit is named in the outcome is tested elsewhere.

use std::fs;
use std::io::{self, Write};
use std::process::{Command, Stdio};

use rustix::fs::{CWD, FileType, Mode};

use crate::aim::Aim;
use crate::case::{Case, Judge, Need};

/// Bytes of one file, in the policy of `Need::SmallLimits`.
pub(crate) const FILE_BYTES_MAX: u64 = 1 << 20;
/// Bytes of memory there.
pub(crate) const MEMORY_BYTES_MAX: usize = 96 << 20;
/// Processes there.
pub(crate) const PROCESSES_MAX: usize = 40;

const fn case(
    name: &'static str,
    wall: &'static str,
    what: &'static str,
    attack: fn(&Aim) -> io::Result<()>,
) -> Case {
    Case::new(name, wall, what, Judge::Told, attack).need(Need::SmallLimits)
}

pub(super) const CASES: &[Case] = &[
    case(
        "big-file",
        "limits.file-size",
        "write a file larger than the limit",
        |_aim| {
            let mut file = fs::File::create("big")?;
            let block = vec![1_u8; 1 << 16];
            for _ in 0..((2 * FILE_BYTES_MAX) >> 16) {
                file.write_all(&block)?;
            }
            Ok(())
        },
    ),
    case(
        "memory-of-one",
        "limits.memory",
        "one process takes more memory than the limit",
        |_aim| {
            let mut store: Vec<u8> = Vec::new();
            store
                .try_reserve_exact(2 * MEMORY_BYTES_MAX)
                .map_err(io::Error::other)?;
            store.resize(2 * MEMORY_BYTES_MAX, 1);
            std::hint::black_box(&store);
            Ok(())
        },
    ),
    case(
        "fork-bomb",
        "limits.processes",
        "start more processes than the limit",
        fork_bomb,
    ),
    case(
        "open-files",
        "limits.open-files",
        "open more files than the limit",
        |_aim| {
            let mut kept = Vec::new();
            for _ in 0..6000 {
                kept.push(fs::File::open("/dev/null")?);
            }
            Ok(())
        },
    ),
    Case::new(
        "fifo",
        "files",
        "leave a FIFO in the workspace, on which a reader would wait for ever",
        Judge::HostChanged,
        |_aim| {
            Ok(rustix::fs::mknodat(
                CWD,
                "pipe",
                FileType::Fifo,
                Mode::RUSR | Mode::WUSR,
                0,
            )?)
        },
    )
    .control(crate::case::Control::None(
        "a FIFO is no escape; the run must end, which each run is watched for",
    )),
];

/// Well if three times as many live at once.
fn fork_bomb(_aim: &Aim) -> io::Result<()> {
    let mut children = Vec::new();
    let mut all = Ok(());
    for _ in 0..3 * PROCESSES_MAX {
        let child = Command::new("sleep").arg("5").stdin(Stdio::null()).spawn();
        match child {
            Ok(child) => children.push(child),
            Err(error) => {
                all = Err(error);
                break;
            }
        }
    }
    // Where only the sum over all of them is looked at, that takes its time.
    std::thread::sleep(std::time::Duration::from_millis(if all.is_ok() {
        1200
    } else {
        0
    }));
    for child in &mut children {
        child.kill()?;
        child.wait()?;
    }
    all
}
