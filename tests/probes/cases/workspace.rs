//! Attacks on what of the workspace and of the runner is not the run's to change, and on what it may not know.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use crate::aim::{Aim, say_bytes};
use crate::case::{Case, Control, Judge, Need};

const fn git(name: &'static str, what: &'static str, attack: fn(&Aim) -> io::Result<()>) -> Case {
    Case::new(name, "git", what, Judge::HostChanged, attack)
}

const fn files(name: &'static str, what: &'static str, attack: fn(&Aim) -> io::Result<()>) -> Case {
    Case::new(name, "files", what, Judge::HostChanged, attack)
}

pub(super) const CASES: &[Case] = &[
    git("git-hooks", "write a hook of the repository", |_aim| {
        fs::write(".git/hooks/pre-commit", "#!/bin/sh\n")
    }),
    git(
        "git-config",
        "write the repository's configuration",
        |_aim| append(Path::new(".git/config")),
    ),
    git(
        "git-config-replace",
        "rename a file onto the repository's configuration",
        |_aim| {
            fs::write("config", "[core]\n\tfsmonitor = true\n")?;
            fs::rename("config", ".git/config")
        },
    ),
    git(
        "git-rename-into",
        "rename a folder into the repository",
        |_aim| {
            fs::create_dir("hooks2")?;
            fs::write("hooks2/pre-commit", "#!/bin/sh\n")?;
            fs::rename("hooks2", ".git/hooks2")
        },
    ),
    git(
        "git-move-away",
        "move the repository away and put another in its place",
        |_aim| {
            fs::rename(".git", "old")?;
            fs::create_dir_all(".git/hooks")?;
            fs::write(".git/hooks/pre-commit", "#!/bin/sh\n")
        },
    ),
    git(
        "git-init",
        "make a repository where there is none",
        |_aim| {
            fs::create_dir_all(".git/hooks")?;
            fs::write(".git/hooks/pre-commit", "#!/bin/sh\n")
        },
    )
    .need(Need::BareWorkspace),
    Case::new(
        "git-config-read",
        "git",
        "read the credentials in the repository's configuration",
        Judge::SecretRead,
        |_aim| shown(Path::new(".git/config")),
    ),
    files("workflows", "write a workflow", |_aim| {
        fs::create_dir_all(".github/workflows")?;
        fs::write(".github/workflows/w.yml", "on: push\n")
    }),
    files(
        "workflows-new",
        "make `.github` where there is none",
        |_aim| {
            fs::create_dir_all(".github/workflows")?;
            fs::write(".github/workflows/w.yml", "on: push\n")
        },
    )
    .need(Need::BareWorkspace),
    files("policy-file", "write the policy", |_aim| {
        append(Path::new(".github/tagout.yml"))
    }),
    files("policy-replace", "rename a folder onto `.github`", |_aim| {
        fs::create_dir("other")?;
        fs::write("other/tagout.yml", "version: 1\n")?;
        fs::rename(".github", "gone")?;
        fs::rename("other", ".github")
    }),
    files("denied-write", "write a denied file", |_aim| {
        append(Path::new(".env"))
    }),
    Case::new(
        "denied-read",
        "files",
        "read a denied file",
        Judge::SecretRead,
        |_aim| shown(Path::new(".env")),
    ),
    Case::new(
        "denied-read-by-link",
        "files",
        "link a denied file to another name and read it",
        Judge::SecretRead,
        |_aim| {
            fs::hard_link(".env", "env.txt").or_else(|_refused| fs::rename(".env", "env.txt"))?;
            shown(Path::new("env.txt"))
        },
    ),
    files(
        "runner-files",
        "write the files behind `GITHUB_ENV`, `GITHUB_PATH`, `GITHUB_OUTPUT` and `GITHUB_STEP_SUMMARY`",
        |aim| {
            let mut last = Ok(());
            for name in ["env", "path", "output", "summary"] {
                last = append(&aim.runner.join(name));
            }
            last
        },
    ),
    files(
        "runner-folders",
        "write below `RUNNER_TEMP`, `_actions` and the tool cache",
        |aim| {
            let mut last = Ok(());
            for name in ["temp", "_actions", "tools"] {
                last = fs::write(aim.runner.join(name).join("new"), "x");
            }
            last
        },
    ),
    Case::new(
        "environment",
        "environment",
        "read credentials in the own environment",
        Judge::SecretRead,
        |_aim| shown(Path::new("/proc/self/environ")),
    ),
    Case::new(
        "nested",
        "files",
        "start Tagout inside and write from within its walls",
        Judge::HostChanged,
        nested,
    )
    .control(Control::None(
        "what it tries inside is `write`, which has its own",
    )),
];

fn append(path: &Path) -> io::Result<()> {
    OpenOptions::new()
        .append(true)
        .open(path)?
        .write_all(b"changed\n")
}

fn shown(path: &Path) -> io::Result<()> {
    say_bytes(&fs::read(path)?);
    Ok(())
}

fn nested(aim: &Aim) -> io::Result<()> {
    let tagout = aim.probe.with_file_name("tagout");
    let output = std::process::Command::new(tagout)
        .args(["sandbox", "--"])
        .arg(&aim.probe)
        .args(["inside", "write"])
        .arg(serde_json::to_string(aim)?)
        .output()?;
    say_bytes(&output.stdout);
    say_bytes(&output.stderr);
    Ok(())
}
