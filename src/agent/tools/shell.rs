//! Runs one command in a process group of its own, within a time, and keeps the head and the tail of what it says.
//! It must never wait for a program that has let go of nothing but our pipe.

use std::collections::VecDeque;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use serde::Deserialize;
use std::os::unix::process::ExitStatusExt as _;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};

use super::super::fence::fence;

/// Bytes of output that are kept from its beginning, and as many from its end.
const HEAD_BYTES: usize = 12 * 1024;
const TAIL_BYTES: usize = 12 * 1024;
/// How long a command may run if the model does not say, and at most.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(120);
const TIMEOUT_MAX: Duration = Duration::from_secs(1200);
/// How long output is awaited after the command itself has ended: what it left in the background may hold the pipe.
const GRACE: Duration = Duration::from_millis(300);

#[derive(Debug, Deserialize)]
pub(super) struct Arguments {
    #[serde(alias = "cmd")]
    command: String,
    #[serde(default, alias = "cwd")]
    workdir: Option<String>,
    #[serde(default)]
    timeout_seconds: Option<u64>,
}

/// Runs it and words the result.
pub(super) async fn run(workspace: &Path, arguments: &Arguments) -> Result<String, String> {
    let limit = arguments
        .timeout_seconds
        .map_or(TIMEOUT_DEFAULT, Duration::from_secs)
        .min(TIMEOUT_MAX);
    let folder = match arguments.workdir.as_deref() {
        None | Some("") => workspace.to_owned(),
        Some(folder) => workspace.join(folder),
    };
    let (reader, writer) = std::io::pipe().map_err(|error| error.to_string())?;
    let second = writer.try_clone().map_err(|error| error.to_string())?;
    let mut command = Command::new("/bin/sh");
    command
        .arg("-c")
        .arg(&arguments.command)
        .current_dir(&folder)
        .env_remove("TAGOUT_RESULT_MARK")
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(second)
        .process_group(0)
        .kill_on_drop(true);
    let child = command
        .spawn()
        .map_err(|error| format!("cannot run it in {}: {error}", folder.display()))?;
    // The command holds our ends of the pipe until it is dropped.
    drop(command);
    let reader = Receiver::from_owned_fd(reader.into()).map_err(|error| error.to_string())?;
    let begun = Instant::now();
    let (ended, kept) = follow(child, reader, limit)
        .await
        .map_err(|error| error.to_string())?;
    Ok(worded(ended, begun.elapsed(), limit, &kept))
}

/// How it ended; none if the time was up.
async fn follow(
    mut child: Child,
    mut reader: Receiver,
    limit: Duration,
) -> std::io::Result<(Option<ExitStatus>, Kept)> {
    let group = child
        .id()
        .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    let mut kept = Kept::default();
    let mut buffer = vec![0; 16 * 1024];
    let deadline = tokio::time::sleep(limit);
    tokio::pin!(deadline);
    let mut open = true;
    let ended = loop {
        tokio::select! {
            read = reader.read(&mut buffer), if open => match read? {
                0 => open = false,
                count => kept.take(buffer.get(..count).unwrap_or_default()),
            },
            status = child.wait() => break Some(status?),
            () = &mut deadline => {
                if let Some(group) = group {
                    // It may have ended in this moment; then there is nothing to kill.
                    rustix::process::kill_process_group(group, Signal::KILL).ok();
                }
                child.wait().await?;
                break None;
            }
        }
    };
    let rest = async {
        while let Ok(count) = reader.read(&mut buffer).await {
            if count == 0 {
                break;
            }
            kept.take(buffer.get(..count).unwrap_or_default());
        }
    };
    if open {
        tokio::time::timeout(GRACE, rest).await.ok();
    }
    Ok((ended, kept))
}

fn worded(ended: Option<ExitStatus>, took: Duration, limit: Duration, kept: &Kept) -> String {
    let how = match ended {
        None => format!("killed after its time of {} s", limit.as_secs()),
        Some(status) => match (status.code(), status.signal()) {
            (Some(code), _) => format!("exit code {code}"),
            (None, Some(signal)) => format!("killed by signal {signal}"),
            (None, None) => "ended".to_owned(),
        },
    };
    format!(
        "{how}, {:.1} s\n{}",
        took.as_secs_f32(),
        fence("output", &kept.text())
    )
}

/// The head and the tail of an output of any length.
#[derive(Debug, Default)]
struct Kept {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    left_out: u64,
}

impl Kept {
    fn take(&mut self, bytes: &[u8]) {
        let room = HEAD_BYTES.saturating_sub(self.head.len()).min(bytes.len());
        let (head, rest) = bytes.split_at(room);
        self.head.extend_from_slice(head);
        for &byte in rest {
            if self.tail.len() >= TAIL_BYTES {
                self.tail.pop_front();
                self.left_out += 1;
            }
            self.tail.push_back(byte);
        }
    }

    fn text(&self) -> String {
        let tail: Vec<u8> = self.tail.iter().copied().collect();
        if self.left_out == 0 {
            let whole = [self.head.as_slice(), &tail].concat();
            return String::from_utf8_lossy(&whole).into_owned();
        }
        format!(
            "{}\n[... {} bytes left out ...]\n{}",
            String::from_utf8_lossy(&self.head),
            self.left_out,
            String::from_utf8_lossy(&tail)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(command: &str, seconds: Option<u64>) -> String {
        let arguments = Arguments {
            command: command.to_owned(),
            workdir: None,
            timeout_seconds: seconds,
        };
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(run(Path::new("/tmp"), &arguments))
            .unwrap()
    }

    #[test]
    fn both_streams_and_the_code_are_told() {
        let told = ran("echo one; echo two >&2; exit 3", None);
        assert!(told.starts_with("exit code 3"), "{told}");
        assert!(told.contains("one\ntwo\n"), "{told}");
    }

    #[test]
    fn long_output_is_cut_in_the_middle() {
        let told = ran("seq 1 100000", None);
        assert!(told.len() < HEAD_BYTES + TAIL_BYTES + 500);
        assert!(told.contains("\n1\n2\n") && told.contains("\n100000\n"));
        assert!(told.contains("bytes left out"));
    }

    #[test]
    fn command_past_its_time_is_killed_with_its_children() {
        let begun = Instant::now();
        let told = ran("sleep 60 & sleep 60", Some(1));
        assert!(told.starts_with("killed after"), "{told}");
        assert!(begun.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn background_program_does_not_hold_the_turn() {
        let begun = Instant::now();
        let told = ran("sleep 5 & echo started", None);
        assert!(told.contains("started"), "{told}");
        assert!(begun.elapsed() < Duration::from_secs(4));
    }
}
