//! What is left on the machine after many runs: no process, no mount, no control group, no file.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::stage::Who;

/// Runs one after the other, at all levels together.
const IN_A_ROW: usize = 200;
/// Runs at the same time.
const AT_ONCE: usize = 16;
/// Longest wait for what others make to be gone.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// Makes the runs at these levels in turn, for each user who has them, and looks around afterwards.
pub(crate) fn none(levels: &[(char, Who)]) -> Result<(), String> {
    let mut users: Vec<Who> = levels.iter().map(|(_, who)| *who).collect();
    users.dedup();
    for who in users {
        let of_user = levels.iter().filter(|(_, other)| *other == who);
        let letters: Vec<char> = of_user.map(|(level, _)| *level).collect();
        try_none(&letters, who).map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn try_none(levels: &[char], who: Who) -> io::Result<()> {
    let folder = tempfile::tempdir()?;
    let place = Place {
        who,
        folder: folder.path().to_path_buf(),
    };
    let workspace = place.folder.join("ws");
    for name in ["ws", "tmp"] {
        fs::create_dir(place.folder.join(name))?;
    }
    fs::write(workspace.join("a"), "x")?;
    who.own(&place.folder)?;
    let tagout = place.folder.join("tagout");
    let built = Path::new(env!("CARGO_BIN_EXE_tagout"));
    fs::hard_link(built, &tagout).or_else(|_elsewhere| fs::copy(built, &tagout).map(drop))?;
    let [one, other] = sleeps();
    let script = format!("{one} & setsid {other} & f=$(mktemp -p .) && rm $f");
    let start = |level: char| -> io::Result<Child> {
        who.command(&tagout)
            .args([
                "sandbox",
                "--level",
                &level.to_string(),
                "--",
                "sh",
                "-c",
                &script,
            ])
            .env("HOME", &place.folder)
            .env("TMPDIR", place.folder.join("tmp"))
            .current_dir(&workspace)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
    };
    let before = place.around()?;
    for number in 0..IN_A_ROW {
        ended(start(levels[number % levels.len()])?)?;
    }
    for level in levels {
        let children: io::Result<Vec<Child>> = (0..AT_ONCE).map(|_| start(*level)).collect();
        for child in children? {
            ended(child)?;
        }
    }
    // What others left before us may go meanwhile; what is new must.
    let left = || -> io::Result<Vec<String>> {
        let after = place.around()?;
        Ok(after
            .into_iter()
            .filter(|line| !before.contains(line))
            .collect())
    };
    let mut new = left()?;
    let until = Instant::now() + PATIENCE;
    // Level a has one cgroup for each run of the whole machine: those of other runs go when they end.
    while !new.is_empty() && Instant::now() < until {
        std::thread::sleep(PAUSE);
        new = left()?;
    }
    if new.is_empty() {
        Ok(())
    } else {
        Err(io::Error::other(format!("{levels:?} left {new:#?}")))
    }
}

/// What a run leaves asleep, by arguments that no other test has.
fn sleeps() -> [String; 2] {
    let number = std::process::id();
    [98, 99].map(|seconds| format!("sleep {seconds}.{number}"))
}

fn ended(child: Child) -> io::Result<()> {
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(());
    }
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(io::Error::other(format!("{}: {complaint}", output.status)))
}

/// Where the runs are made, and by whom.
struct Place {
    who: Who,
    folder: PathBuf,
}

impl Place {
    /// What a run could leave: processes, mounts, groups and files.
    fn around(&self) -> io::Result<Vec<String>> {
        let folder = self.folder.display().to_string();
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc")?.flatten() {
            let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
            // As root the runs of the plain user have one of their own, whose every process counts.
            let ours = match self.who {
                Who::Plain(user) => status
                    .lines()
                    .any(|line| line.starts_with(&format!("Uid:\t{user}\t"))),
                Who::Caller => false,
            };
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            let of_a_run = line.contains(&folder) || sleeps().iter().any(|one| one == line.trim());
            if ours || of_a_run {
                found.push(format!("process {line}"));
            }
        }
        for line in fs::read_to_string("/proc/self/mountinfo")?.lines() {
            if line.contains("tagout") || line.contains(&folder) {
                found.push(format!("mount {line}"));
            }
        }
        let mut groups = Vec::new();
        folders(Path::new("/sys/fs/cgroup"), 4, &mut groups);
        let groups = groups
            .into_iter()
            .filter(|path| path.to_string_lossy().contains("tagout"));
        found.extend(groups.map(|path| format!("group {}", path.display())));
        for name in ["ws", "tmp"] {
            for entry in fs::read_dir(self.folder.join(name))?.flatten() {
                found.push(format!("file {}", entry.path().display()));
            }
        }
        Ok(found)
    }
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
