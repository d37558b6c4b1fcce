//! Starts one attack: behind Tagout's walls, behind a peer's, or behind none for the control.
//! It must never run a control with more privilege than a plain user has.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use serde_json::Value;

use crate::aim::SECRET;
use crate::case::{Case, Control, Need};
use crate::cases::SIGNAL;
use crate::cases::limits::{FILE_BYTES_MAX, MEMORY_BYTES_MAX, PROCESSES_MAX};
use crate::peers::Peer;
use crate::stage::{Grounds, Stage, read_bounded};

/// How long one attack may take before it counts as hung.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes of output that are looked at.
const OUTPUT_BYTES_MAX: u64 = 4 << 20;

/// An address of this machine that a server on 127.0.0.1 does not answer on, and a server on every address does.
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// What stands around the attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Walls {
    /// Nothing: the control.
    None,
    /// Tagout at a level.
    Tagout(char),
    /// Another program.
    Peer(Peer),
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Told {
    /// stdout.
    pub(crate) said: String,
    /// stderr, for the reader of a failure.
    pub(crate) complained: String,
    /// The report of Tagout.
    pub(crate) report: Option<Value>,
}

/// Makes the attack and waits for its end.
pub(crate) fn launch(
    grounds: &Grounds,
    stage: &Stage<'_>,
    case: &Case,
    walls: Walls,
) -> io::Result<Told> {
    let folder = stage
        .aim
        .workspace
        .parent()
        .expect("it stands on the stage")
        .to_path_buf();
    let report = folder.join("report.json");
    let mut line = command_line(grounds, stage, case, walls, &folder)?;
    line.extend([
        stage.aim.probe.clone().into_os_string(),
        "inside".into(),
        case.name.into(),
    ]);
    line.push(serde_json::to_string(&stage.aim)?.into());
    let mut command = if case.need == Need::Descriptors {
        let script = "exec 8<\"$1\" 9<>\"$2\"; shift 2; exec \"$@\"";
        let mut command = grounds.who.command(Path::new("/bin/sh"));
        command
            .args(["-c", script, "sh"])
            .arg(&stage.aim.outside)
            .arg(stage.aim.victim_file());
        command.args(&line);
        command
    } else {
        let mut command = grounds.who.command(Path::new(&line[0]));
        command.args(&line[1..]);
        command
    };
    environment(&mut command, stage);
    let complaints = folder.join("stderr");
    let child = command
        .current_dir(&stage.aim.workspace)
        .stdout(Stdio::piped())
        .stderr(fs::File::create(&complaints)?)
        .spawn()?;
    let said = follow(child, case.need)?;
    let complained = read_bounded(fs::File::open(&complaints)?, OUTPUT_BYTES_MAX)?;
    let report = match fs::read(&report) {
        // Whoever is killed writes none.
        Ok(bytes) if !bytes.is_empty() => Some(serde_json::from_slice(&bytes)?),
        Ok(_) | Err(_) => None,
    };
    Ok(Told {
        said,
        complained: String::from_utf8_lossy(&complained).into_owned(),
        report,
    })
}

type Line = Vec<std::ffi::OsString>;

fn command_line(
    grounds: &Grounds,
    stage: &Stage<'_>,
    case: &Case,
    walls: Walls,
    folder: &Path,
) -> io::Result<Line> {
    Ok(match walls {
        Walls::None if case.control == Control::Namespace => [
            "unshare",
            "--user",
            "--map-root-user",
            "--mount",
            "--net",
            "--uts",
            "--ipc",
            "--",
        ]
        .map(Into::into)
        .to_vec(),
        Walls::None => Vec::new(),
        Walls::Peer(peer) => peer.command_line(&stage.aim, &grounds.bin()),
        Walls::Tagout(level) => {
            let policy = policy(grounds, case, level, folder)?;
            let mut line: Line = vec![grounds.bin().join("tagout").into()];
            line.extend(["sandbox", "--level"].map(Into::into));
            line.push(level.to_string().into());
            line.push("--policy".into());
            line.push(policy.into());
            line.push("--json".into());
            line.push(folder.join("report.json").into());
            line.push("--".into());
            line
        }
    })
}

fn policy(grounds: &Grounds, case: &Case, level: char, folder: &Path) -> io::Result<PathBuf> {
    let mut text = format!(
        "version: 1\nfilesystem: {{ read: [\"{}\"] }}\n",
        grounds.bin().display()
    );
    if level == 'd' {
        text.push_str("require: { level: d }\n");
    }
    if case.need == Need::SmallLimits {
        text.push_str(&format!(
            "limits: {{ memory: {}MiB, processes: {PROCESSES_MAX}, file-size: {}MiB }}\n",
            MEMORY_BYTES_MAX >> 20,
            FILE_BYTES_MAX >> 20
        ));
    }
    let path = folder.join("policy.yml");
    fs::write(&path, text)?;
    Ok(path)
}

/// The environment of a job: credentials, and the files of the runner.
fn environment(command: &mut Command, stage: &Stage<'_>) {
    let aim = &stage.aim;
    command.env("HOME", &aim.home).env("LANG", "C.UTF-8");
    for name in [
        "GITHUB_TOKEN",
        "ACTIONS_RUNTIME_TOKEN",
        "AWS_SECRET_ACCESS_KEY",
        "NPM_TOKEN",
        "DATABASE_URL",
        "OPENAI_API_KEY",
    ] {
        command.env(name, SECRET);
    }
    for (name, file) in [
        ("GITHUB_ENV", "env"),
        ("GITHUB_PATH", "path"),
        ("GITHUB_OUTPUT", "output"),
        ("GITHUB_STEP_SUMMARY", "summary"),
        ("RUNNER_TEMP", "temp"),
        ("RUNNER_TOOL_CACHE", "tools"),
    ] {
        command.env(name, aim.runner.join(file));
    }
}

/// Reads what it says to its end, knocks at each port that it tells of, and sends the signal that it asks for.
fn follow(mut child: Child, need: Need) -> io::Result<String> {
    let wanted = match need {
        Need::Signal(signal) => Some((Pid::from_child(&child), signal)),
        Need::Nothing
        | Need::Victim
        | Need::BareWorkspace
        | Need::Descriptors
        | Need::SmallLimits => None,
    };
    let stdout = child.stdout.take().expect("it is piped");
    let (sender, receiver) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let said = listen(stdout, wanted);
        // The other end is gone only after a time-out, which is told there.
        if let Err(_late) = sender.send(()) {}
        said
    });
    let in_time = receiver.recv_timeout(PATIENCE).is_ok();
    if !in_time {
        child.kill()?;
    }
    child.wait()?;
    if in_time {
        reader.join().expect("it does not panic")
    } else {
        Err(io::Error::other("it did not end in time"))
    }
}

fn listen(stdout: ChildStdout, wanted: Option<(Pid, Signal)>) -> io::Result<String> {
    let mut said = Vec::new();
    let mut guests = Vec::new();
    let mut lines = BufReader::new(stdout.take(OUTPUT_BYTES_MAX));
    loop {
        let start = said.len();
        if lines.read_until(b'\n', &mut said)? == 0 {
            return Ok(String::from_utf8_lossy(&said).into_owned());
        }
        let line = String::from_utf8_lossy(&said[start..]);
        if let Some((child, signal)) = wanted.filter(|_| line.trim() == SIGNAL) {
            rustix::process::kill_process(child, signal)?;
            // Its end is what counts: a daemon that lives on would hold the stream open.
            return Ok(String::from_utf8_lossy(&said).into_owned());
        }
        let port = line
            .trim()
            .strip_prefix("port ")
            .and_then(|port| port.parse().ok());
        if let Some(port) = port {
            let address = SocketAddr::from((OTHER, port));
            // Nobody there is what is hoped for.
            if let Ok(mut guest) = TcpStream::connect_timeout(&address, Duration::from_millis(200))
            {
                drop(guest.write_all(b"knock"));
                guests.push(guest);
            }
        }
    }
}
