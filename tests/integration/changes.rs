//! What an agent did to a workspace, read back as data: through a real overlay, and from a whole copy.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use tagout::broker::collect::{Bounds, Shown, collect};
use tagout::broker::job::inside::TreeGone;
use tagout::broker::workspace::{Wanted, Workspace, removal};
use tagout::changeset::change::{Changeset, FileMode, Operation};
use tagout::changeset::finding::Code;

use crate::workspace::{git, head, sample};

const BOUNDS: Bounds = Bounds {
    files: 50,
    bytes: 1 << 20,
    file_bytes: 100 << 10,
};

/// A workspace with a script run in it as at levels A and B (`UserOverlay`) or C (`Copy`).
struct Scene {
    folder: tempfile::TempDir,
    workspace: Workspace,
}

impl Scene {
    fn new() -> Self {
        Self::hiding(&[])
    }

    fn hiding(hide: &[String]) -> Self {
        let folder = tempfile::tempdir().expect("made");
        let repo = sample(folder.path());
        let id = head(&repo);
        git(
            &repo,
            &[
                "update-index",
                "--add",
                "--cacheinfo",
                &format!("160000,{id},vendor/lib"),
            ],
        );
        git(&repo, &["commit", "-qm", "submodule"]);
        let commit = head(&repo);
        let run = folder.path().join("run");
        fs::create_dir(&run).expect("made");
        let mut wanted = Wanted::new(&repo, &commit, &run);
        wanted.hide = hide;
        let workspace = Workspace::prepare(&wanted).expect("prepared");
        Self { folder, workspace }
    }

    /// Runs a script in the view. The control is real: an overlay mounted in a user namespace of its own.
    fn run(&self, shown: Shown, script: &str) {
        let view = self.folder.path().join("view");
        fs::create_dir_all(&view).expect("made");
        let [lower, upper, work] = [
            self.workspace.lower(),
            self.workspace.upper(),
            &self.folder.path().join("run/work"),
        ];
        let mut command = if shown == Shown::Copy {
            let copied = Command::new("cp")
                .args(["-a", "--"])
                .args([&lower.join("."), upper])
                .status()
                .expect("cp is there");
            assert!(copied.success());
            let mut command = Command::new("sh");
            command.current_dir(upper).args(["-euc", script]);
            command
        } else {
            let options = format!(
                "userxattr,lowerdir={},upperdir={},workdir={}",
                lower.display(),
                upper.display(),
                work.display()
            );
            let mount = "mount -t overlay overlay -o \"$1\" \"$2\"; cd \"$2\"; exec sh -euc \"$3\"";
            let mut command = Command::new("unshare");
            command
                .args(["-Urm", "sh", "-euc", mount, "sh", &options])
                .arg(&view)
                .arg(script);
            command
        };
        let output = command
            .env("HOME", "/nonexistent")
            .output()
            .expect("unshare is there");
        assert!(
            output.status.success(),
            "{shown:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    fn collect(&self, shown: Shown) -> Changeset {
        collect(&TreeGone::never_started(), &self.workspace, shown, BOUNDS).expect("collected")
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // `work/work` has mode 000, which a plain user's remove_dir_all cannot enter.
        removal::remove(&self.folder.path().join("run")).expect("removed");
    }
}

/// `path operation mode` of each change.
fn lines(changeset: &Changeset) -> Vec<String> {
    changeset
        .changes()
        .iter()
        .map(|change| {
            let mode = change.mode().map_or("-", FileMode::octal);
            format!("{} {} {mode}", change.path(), change.operation().word())
        })
        .collect()
}

fn aside(changeset: &Changeset) -> Vec<(Code, Option<&str>)> {
    changeset
        .set_aside()
        .iter()
        .map(|finding| (finding.code, finding.path.as_deref()))
        .collect()
}

/// The same script gives the same changes at every level.
fn both(script: &str, check: impl Fn(&Changeset)) {
    for shown in [Shown::UserOverlay, Shown::Copy] {
        let scene = Scene::new();
        scene.run(shown, script);
        check(&scene.collect(shown));
    }
}

#[test]
fn untouched_workspace_has_no_changes() {
    both("true", |found| {
        assert!(found.is_empty() && found.set_aside().is_empty())
    });
    both(
        "touch README.md; chmod 600 src/main.rs; cp a.txt t; mv t a.txt; rm -r a; mkdir a; echo x > a/b",
        |found| {
            assert_eq!(lines(found), Vec::<String>::new());
            assert!(found.is_empty());
        },
    );
}

#[test]
fn edits_modes_links_and_deletions_are_seen_alike_at_every_level() {
    let script = "echo new > new.txt; echo more >> README.md; chmod +x src/main.rs; chmod -x run.sh; rm a/b; ln -s src s; \
        ln -sf /etc/shadow outside; mkdir -p p/q; echo q > p/q/r; git mv -q a.txt moved.txt 2>/dev/null || mv a.txt moved.txt; rm link; echo f > link";
    both(script, |found| {
        assert_eq!(
            lines(found),
            [
                "README.md modify 100644",
                "a.txt delete -",
                "a/b delete -",
                "link modify 100644",
                "moved.txt add 100644",
                "new.txt add 100644",
                "outside modify 120000",
                "p/q/r add 100644",
                "run.sh modify 100644",
                "s add 120000",
                "src/main.rs modify 100755",
            ]
        );
        assert_eq!(aside(found), []);
        let readme = &found.changes()[0];
        assert_eq!(readme.operation(), Operation::Modify);
        assert_eq!(readme.content().expect("there").bytes(), b"hello\nmore\n");
        assert_eq!(readme.old_content().expect("there").bytes(), b"hello\n");
        let link = &found.changes()[6];
        assert_eq!(link.content().expect("there").bytes(), b"/etc/shadow");
    });
}

#[test]
fn replaced_folders_and_files_are_seen_alike_at_every_level() {
    both("rm -r src; mkdir src; echo x > src/only.txt", |found| {
        assert_eq!(
            lines(found),
            [
                "src/deep/er/x.txt delete -",
                "src/main.rs delete -",
                "src/only.txt add 100644"
            ]
        );
    });
    both("rm -r src; echo file > src", |found| {
        assert_eq!(
            lines(found),
            [
                "src add 100644",
                "src/deep/er/x.txt delete -",
                "src/main.rs delete -"
            ]
        );
    });
    both(
        "rm README.md; mkdir README.md; echo x > README.md/x",
        |found| {
            assert_eq!(
                lines(found),
                ["README.md delete -", "README.md/x add 100644"]
            );
        },
    );
    both("mv src other", |found| {
        assert_eq!(
            lines(found),
            [
                "other/deep/er/x.txt add 100644",
                "other/main.rs add 100644",
                "src/deep/er/x.txt delete -",
                "src/main.rs delete -"
            ]
        );
    });
    both("rm -r src; ln -s /etc src", |found| {
        assert_eq!(
            lines(found),
            [
                "src add 120000",
                "src/deep/er/x.txt delete -",
                "src/main.rs delete -"
            ]
        );
    });
}

#[test]
fn what_is_no_file_is_a_finding_and_never_waited_for() {
    let script = "mkfifo pipe; ln README.md hard; mkdir nested; git -C nested init -q; mkdir -p x; echo 'gitdir: /elsewhere' > x/.git; \
        python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"sock\")'";
    both(script, |found| {
        let mut codes = aside(found);
        codes.sort();
        assert!(codes.contains(&(Code::NotAFile, Some("pipe"))), "{codes:?}");
        assert!(codes.contains(&(Code::NotAFile, Some("sock"))), "{codes:?}");
        assert!(codes.contains(&(Code::HardLink, Some("hard"))), "{codes:?}");
        assert!(
            codes.contains(&(Code::PathGit, Some("nested/.git"))),
            "{codes:?}"
        );
        assert!(
            codes.contains(&(Code::PathGit, Some("x/.git"))),
            "{codes:?}"
        );
        assert!(!found.is_empty());
    });
}

#[test]
fn bad_names_are_findings() {
    let script = "echo x > 'back\\slash'; echo x > 'c:d'; echo x > aux.txt; printf x > \"$(printf 'new\\nline')\"; echo x > \"$(printf 'bad\\377')\"; mkdir .GIT; echo x > .GIT/config";
    both(script, |found| {
        let codes: Vec<Code> = found
            .set_aside()
            .iter()
            .map(|finding| finding.code)
            .collect();
        for code in [
            Code::PathBackslash,
            Code::PathColon,
            Code::PathWindowsName,
            Code::PathControl,
            Code::PathNotUtf8,
            Code::PathGit,
        ] {
            assert!(codes.contains(&code), "{code:?} in {codes:?}");
        }
        assert_eq!(lines(found), Vec::<String>::new());
    });
}

#[test]
fn what_the_base_ignores_is_left_out_and_the_agents_own_rules_are_not_believed() {
    let script = "mkdir -p target/debug src/target; echo x > target/debug/out; echo x > src/target/y; echo x > a.log; mkfifo target/pipe; echo '*.txt' >> .gitignore; echo x > new.txt";
    both(script, |found| {
        assert_eq!(
            lines(found),
            [".gitignore modify 100644", "new.txt add 100644"]
        );
        assert_eq!(aside(found), [(Code::IgnoredLeftOut, None)]);
    });
}

#[test]
fn locked_files_and_folders_are_read() {
    let script = "echo x > locked; chmod 000 locked; mkdir -p d/e; echo y > d/e/f; chmod 000 d/e d";
    both(script, |found| {
        assert_eq!(lines(found), ["d/e/f add 100644", "locked add 100644"]);
        assert_eq!(aside(found), []);
    });
}

#[test]
fn setuid_bit_is_dropped_and_told() {
    both("echo x > s; chmod 4755 s", |found| {
        assert_eq!(lines(found), ["s add 100755"]);
        assert_eq!(aside(found), [(Code::ModeDropped, Some("s"))]);
    });
}

#[test]
fn submodule_that_is_filled_or_removed_is_a_finding() {
    both("echo x > vendor/lib/x", |found| {
        assert_eq!(aside(found), [(Code::SubmoduleChanged, Some("vendor/lib"))]);
    });
    both("rmdir vendor/lib", |found| {
        assert_eq!(aside(found), [(Code::SubmoduleChanged, Some("vendor/lib"))]);
    });
}

#[test]
fn limits_end_as_findings_and_not_in_memory() {
    both(
        "i=0; while [ $i -lt 60 ]; do echo $i > f$i; i=$((i+1)); done",
        |found| {
            assert_eq!(aside(found), [(Code::ChangesTooMany, None)]);
            assert!(found.changes().len() <= 50);
        },
    );
    both("truncate -s 10G sparse; truncate -s 100K ok", |found| {
        assert_eq!(aside(found), [(Code::FileTooLarge, Some("sparse"))]);
        assert_eq!(lines(found), ["ok add 100644"]);
    });
    both(
        "i=0; while [ $i -lt 20 ]; do truncate -s 90K f$i; i=$((i+1)); done",
        |found| {
            assert_eq!(aside(found), [(Code::ChangesTooLarge, None)]);
        },
    );
}

#[test]
fn mark_of_the_overlay_counts_only_where_it_was_mounted_so() {
    // Planted in the copy of level C it hides nothing.
    let scene = Scene::new();
    scene.run(Shown::Copy, "true");
    let src = scene.workspace.upper().join("src");
    set_attribute(&src, "user.overlay.opaque", b"y");
    assert_eq!(lines(&scene.collect(Shown::Copy)), Vec::<String>::new());

    // Planted in a view that was mounted with the other kind it deletes nothing.
    let scene = Scene::new();
    let src = scene.workspace.upper().join("src");
    fs::create_dir(&src).expect("made");
    fs::write(src.join("new"), "x").expect("written");
    set_attribute(&src, "user.overlay.opaque", b"y");
    assert_eq!(
        lines(&scene.collect(Shown::TrustedOverlay)),
        ["src/new add 100644"]
    );
    assert_eq!(lines(&scene.collect(Shown::UserOverlay)).len(), 3);

    // A file whose content would be elsewhere is not taken for its own.
    let scene = Scene::new();
    let file = scene.workspace.upper().join("README.md");
    fs::write(&file, "").expect("written");
    set_attribute(&file, "user.overlay.metacopy", b"");
    let found = scene.collect(Shown::UserOverlay);
    assert_eq!(aside(&found), [(Code::OverlayMark, Some("README.md"))]);
}

fn set_attribute(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::setxattr(path, name, value, rustix::fs::XattrFlags::empty())
        .expect("the file system of the temp folder has user attributes");
}

#[test]
fn hidden_path_is_not_taken_for_deleted() {
    for shown in [Shown::UserOverlay, Shown::Copy] {
        let scene = Scene::hiding(&[".env".to_owned(), "src/deep".to_owned()]);
        scene.run(
            shown,
            "rm -r src; mkdir src; echo 'fn main() {}' > src/main.rs",
        );
        assert_eq!(lines(&scene.collect(shown)), Vec::<String>::new());
    }
}

#[test]
fn repository_inside_may_be_broken_in_any_way() {
    both(
        "rm -rf .git/index; echo x > .git/config; mkfifo .git/pipe; echo y > y",
        |found| {
            assert_eq!(lines(found), ["y add 100644"]);
            assert_eq!(aside(found), []);
        },
    );
    both("rm -rf .git; ln -s /etc .git; echo y > y", |found| {
        assert_eq!(lines(found), ["y add 100644"]);
    });
}

#[test]
fn very_deep_folders_are_a_finding() {
    let script = "python3 -c '\nimport os\nfor i in range(300):\n  os.mkdir(\"d\"); os.chdir(\"d\")\nopen(\"f\",\"w\")'";
    both(script, |found| {
        assert_eq!(found.set_aside().len(), 1);
        assert_eq!(found.set_aside()[0].code, Code::PathTooLong);
    });
}

#[test]
fn modes_of_files_in_the_view_are_kept_by_permission_not_by_umask() {
    let scene = Scene::new();
    let file = scene.workspace.upper().join("x");
    fs::write(&file, "x").expect("written");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o711)).expect("set");
    assert_eq!(lines(&scene.collect(Shown::UserOverlay)), ["x add 100755"]);
}
