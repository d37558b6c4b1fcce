//! What is left on the machine after many runs: no process, no mount, no control group, no file.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use crate::stage::Who;

/// Runs one after the other, at all levels together.
const IN_A_ROW: usize = 200;
/// Runs at the same time.
const AT_ONCE: usize = 16;

/// Makes the runs at these levels in turn and looks around afterwards.
pub(crate) fn none(levels: &[char]) -> Result<(), String> {
    try_none(levels).map_err(|error| error.to_string())
}

fn try_none(levels: &[char]) -> io::Result<()> {
    let who = Who::plain();
    let folder = tempfile::tempdir()?;
    let workspace = folder.path().join("ws");
    fs::create_dir(&workspace)?;
    fs::write(workspace.join("a"), "x")?;
    who.own(folder.path())?;
    let tagout = folder.path().join("tagout");
    let built = Path::new(env!("CARGO_BIN_EXE_tagout"));
    fs::hard_link(built, &tagout).or_else(|_elsewhere| fs::copy(built, &tagout).map(drop))?;
    let script = "sleep 99 & setsid sleep 98 & f=$(mktemp -p .) && rm $f";
    let start = |level: char| -> io::Result<Child> {
        who.command(&tagout)
            .args([
                "sandbox",
                "--level",
                &level.to_string(),
                "--",
                "sh",
                "-c",
                script,
            ])
            .env("HOME", folder.path())
            .current_dir(&workspace)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
    };
    let before = around(who, folder.path())?;
    for number in 0..IN_A_ROW {
        ended(start(levels[number % levels.len()])?)?;
    }
    for level in levels {
        let children: io::Result<Vec<Child>> = (0..AT_ONCE).map(|_| start(*level)).collect();
        for child in children? {
            ended(child)?;
        }
    }
    let after = around(who, folder.path())?;
    if before == after {
        Ok(())
    } else {
        Err(io::Error::other(format!(
            "before: {before:#?}\nafter: {after:#?}"
        )))
    }
}

fn ended(child: Child) -> io::Result<()> {
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(());
    }
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(io::Error::other(format!("{}: {complaint}", output.status)))
}

/// What a run could leave: processes, mounts, groups and files.
fn around(who: Who, folder: &Path) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    let user = match who {
        Who::Plain(user) => user,
        Who::Caller => rustix::process::geteuid().as_raw(),
    };
    // As root the runs have a user of their own, whose every process counts; otherwise only those of a run do.
    let every = matches!(who, Who::Plain(_));
    for entry in fs::read_dir("/proc")?.flatten() {
        let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        let ours = status
            .lines()
            .any(|line| line.starts_with(&format!("Uid:\t{user}\t")));
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        let of_a_run = line.contains(&folder.display().to_string()) || line.starts_with("sleep 9");
        if ours && (every || of_a_run) {
            found.push(format!("process {line}"));
        }
    }
    for line in fs::read_to_string("/proc/self/mountinfo")?.lines() {
        if line.contains("tagout") || line.contains(&folder.display().to_string()) {
            found.push(format!("mount {line}"));
        }
    }
    let mut groups = Vec::new();
    folders(Path::new("/sys/fs/cgroup"), 4, &mut groups);
    let groups = groups
        .into_iter()
        .filter(|path| path.to_string_lossy().contains("tagout"));
    found.extend(groups.map(|path| format!("group {}", path.display())));
    if let Ok(entries) = fs::read_dir(format!("/tmp/tagout-{user}")) {
        // Another test of the same user may be running; as root nobody else has this user.
        let kept = entries.flatten().filter(|_| every);
        found.extend(kept.map(|entry| format!("file {}", entry.path().display())));
    }
    for entry in fs::read_dir(folder.join("ws"))?.flatten() {
        found.push(format!("file {}", entry.file_name().to_string_lossy()));
    }
    Ok(found)
}

fn folders(path: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(path) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.push(entry.path());
            if depth > 0 {
                folders(&entry.path(), depth - 1, found);
            }
        }
    }
}
