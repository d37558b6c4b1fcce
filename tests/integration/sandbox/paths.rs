//! The policy's lists of paths against a workspace that somebody prepared: links, hard links, missing paths and names that
//! begin alike neither open a protected path nor keep a run from starting.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use tagout::sandbox::audit::Audit;

use super::{Left, Place, levels};
use crate::elevation;

/// Runs this at every level for every user in a workspace that `prepare` made.
fn everywhere(
    filesystem: &str,
    script: &str,
    prepare: impl Fn(&Path),
    judge: impl Fn(&str, &Path, &Left),
) {
    for level in levels() {
        for place in Place::of_each_user() {
            let workspace = place.path("ws");
            prepare(&workspace);
            place.own();
            let policy = format!("version: 1\nfilesystem: {filesystem}\n");
            let left = place.under(level, &policy, &["sh", "-c", script]);
            let who = format!("{level}, {}: {left:?}", place.who());
            judge(&who, &workspace, &left);
        }
    }
}

fn holds(path: &Path, expected: &str) -> bool {
    fs::read_to_string(path).is_ok_and(|text| text == expected)
}

#[test]
fn protected_path_stays_when_the_folder_above_it_is_moved() {
    everywhere(
        "{read-only: [a/b/fixed], deny: [a/secret]}",
        "mv a moved; mkdir -p a/b/fixed; echo new > a/b/fixed/f; echo new > a/secret; rm -rf a; mv a/b a/c; cat a/secret moved/secret; true",
        |ws| {
            fs::create_dir_all(ws.join("a/b/fixed")).unwrap();
            fs::write(ws.join("a/b/fixed/f"), "old").unwrap();
            fs::write(ws.join("a/secret"), "canary").unwrap();
        },
        |who, ws, left| {
            assert!(holds(&ws.join("a/b/fixed/f"), "old"), "{who}");
            assert!(holds(&ws.join("a/secret"), "canary"), "{who}");
            assert!(!left.said.contains("canary"), "{who}");
        },
    );
}

#[test]
fn denied_file_is_not_read_by_its_other_names() {
    everywhere(
        "{deny: [.env, hidden]}",
        "cat .env other deep/link /proc/self/root/$PWD/.env /proc/self/cwd/other hidden/x twin; echo x > other; echo x > deep/link; echo y >> twin; true",
        |ws| {
            fs::write(ws.join(".env"), "canary").unwrap();
            fs::hard_link(ws.join(".env"), ws.join("other")).unwrap();
            fs::create_dir_all(ws.join("deep")).unwrap();
            symlink("../.env", ws.join("deep/link")).unwrap();
            fs::create_dir_all(ws.join("hidden")).unwrap();
            fs::write(ws.join("hidden/x"), "canary").unwrap();
            fs::hard_link(ws.join("hidden/x"), ws.join("twin")).unwrap();
        },
        |who, ws, left| {
            assert!(!left.said.contains("canary"), "{who}");
            assert!(holds(&ws.join(".env"), "canary"), "{who}");
            assert!(holds(&ws.join("hidden/x"), "canary"), "{who}");
        },
    );
}

#[test]
fn read_only_file_is_not_written_by_its_other_names() {
    everywhere(
        "{read-only: [.github]}",
        "echo x >> other; echo x > .github/w.yml; echo ok > free",
        |ws| {
            fs::write(ws.join(".github/w.yml"), "old").unwrap();
            fs::hard_link(ws.join(".github/w.yml"), ws.join("other")).unwrap();
        },
        |who, ws, _| {
            assert!(holds(&ws.join(".github/w.yml"), "old"), "{who}");
            assert!(holds(&ws.join("free"), "ok\n"), "{who}");
        },
    );
}

#[test]
fn symlink_at_a_protected_path_protects_what_it_leads_to() {
    everywhere(
        "{read-only: [.github, docs/fixed], deny: [.env]}",
        "cat .env config/env; echo x > .github/w; echo x > real/w; echo x > docs/fixed/f; echo x > elsewhere/fixed/f; echo ok > free",
        |ws| {
            fs::remove_dir_all(ws.join(".github")).unwrap();
            fs::remove_file(ws.join(".env")).unwrap();
            for folder in ["config", "real", "elsewhere/fixed"] {
                fs::create_dir_all(ws.join(folder)).unwrap();
            }
            fs::write(ws.join("config/env"), "canary").unwrap();
            fs::write(ws.join("elsewhere/fixed/f"), "old").unwrap();
            symlink("config/env", ws.join(".env")).unwrap();
            symlink("real", ws.join(".github")).unwrap();
            symlink("elsewhere", ws.join("docs")).unwrap();
        },
        |who, ws, left| {
            assert_eq!(left.code, Some(0), "{who}");
            assert!(!left.said.contains("canary"), "{who}");
            assert!(!ws.join("real/w").exists(), "{who}");
            assert!(holds(&ws.join("elsewhere/fixed/f"), "old"), "{who}");
            assert!(holds(&ws.join("free"), "ok\n"), "{who}");
            assert_eq!(
                fs::read_link(ws.join(".env")).unwrap(),
                Path::new("config/env"),
                "{who}"
            );
        },
    );
}

#[test]
fn links_that_lead_nowhere_or_out_brick_no_run() {
    everywhere(
        "{read-only: [.github, gone/below], deny: [.env, round]}",
        "rm -f .env; mkdir .github gone gone/below; echo ok > free",
        |ws| {
            fs::remove_dir_all(ws.join(".github")).unwrap();
            fs::remove_file(ws.join(".env")).unwrap();
            symlink("/etc/shadow", ws.join(".env")).unwrap();
            symlink("missing", ws.join(".github")).unwrap();
            symlink("round", ws.join("round")).unwrap();
        },
        |who, ws, left| {
            assert_eq!(left.report["level"], &who[..1], "{who}");
            assert!(holds(&ws.join("free"), "ok\n"), "{who}");
            assert!(!ws.join("gone/below").exists(), "{who}");
        },
    );
}

#[test]
fn names_that_begin_alike_are_free() {
    everywhere(
        "{read-only: [.github, .git, docs], deny: [.env]}",
        "echo x > .env.example; mkdir .github2 docs2; echo x > .gitignore; echo x > .github2/f; echo x > docs2/f; cat .env.example",
        |ws| fs::create_dir_all(ws.join("docs")).unwrap(),
        |who, ws, left| {
            assert_eq!(left.code, Some(0), "{who}");
            for path in [".env.example", ".gitignore", ".github2/f", "docs2/f"] {
                assert!(holds(&ws.join(path), "x\n"), "{path} {who}");
            }
        },
    );
}

#[test]
fn globs_deny_at_any_depth_and_what_is_made_later_is_the_runs_own() {
    everywhere(
        "{deny: [\"**/*.pem\"]}",
        "cat k.pem a/b/k.pem; echo mine > a/new.pem; cat a/new.pem",
        |ws| {
            fs::create_dir_all(ws.join("a/b")).unwrap();
            fs::write(ws.join("k.pem"), "canary").unwrap();
            fs::write(ws.join("a/b/k.pem"), "canary").unwrap();
        },
        |who, _, left| {
            assert!(!left.said.contains("canary"), "{who}");
            assert!(left.said.contains("mine"), "{who}");
        },
    );
}

#[test]
fn pipe_in_the_place_of_a_configuration_stops_nobody() {
    everywhere(
        "{}",
        "echo ok > free",
        |ws| {
            fs::remove_file(ws.join(".git/config")).unwrap();
            let made = std::process::Command::new("mkfifo")
                .arg(ws.join(".git/config"))
                .status();
            assert!(made.unwrap().success());
        },
        |who, ws, left| {
            assert_eq!(left.code, Some(0), "{who}");
            assert!(holds(&ws.join("free"), "ok\n"), "{who}");
        },
    );
}

#[test]
fn readable_folder_around_the_workspace_opens_no_denied_path() {
    for level in levels() {
        for place in Place::of_each_user() {
            let around = place.path("");
            let workspace = place.path("ws");
            let policy = format!(
                "version: 1\nfilesystem: {{read: [\"{}\"]}}\n",
                around.display()
            );
            let script = format!(
                "cat {}/.env {}/.git/config",
                workspace.display(),
                workspace.display()
            );
            let left = place.under(level, &policy, &["sh", "-c", &script]);
            let who = format!("{level}, {}: {left:?}", place.who());
            assert!(
                !left.said.contains("KEY=") && !left.said.contains("canary"),
                "{who}"
            );
            if level == "c" {
                assert_eq!(left.code, Some(125), "{who}");
            }
        }
    }
}

#[test]
fn writable_path_outside_is_thrown_away_or_refused() {
    for level in levels() {
        for place in Place::of_each_user() {
            let out = place.path("out");
            let policy = format!(
                "version: 1\nfilesystem: {{write: [\"{}\"]}}\n",
                out.display()
            );
            let script = format!(
                "echo new > {0}/victim && cat {0}/victim; echo x > {0}/more",
                out.display()
            );
            let left = place.under(level, &policy, &["sh", "-c", &script]);
            let who = format!("{level}, {}: {left:?}", place.who());
            assert!(holds(&out.join("victim"), "secret\n"), "{who}");
            assert!(!out.join("more").exists(), "{who}");
            if level != "c" {
                assert_eq!(left.said, "new\n", "{who}");
            } else {
                assert_eq!(left.code, Some(125), "{who}");
                assert!(left.errors.contains("filesystem.write"), "{who}");
            }
        }
    }
}

#[test]
fn nothing_known_to_be_refused_is_not_nothing_refused() {
    for level in levels() {
        for place in Place::of_each_user() {
            let left = place.under(level, "version: 1\n", &["true"]);
            let who = format!("{level}, {}: {left:?}", place.who());
            assert!(left.report["denied"].is_null(), "{who}");
            let script = "getent hosts api.example.com; rm -rf .github; mkdir .github; echo x > .github/w; true";
            let left = place.under(level, "version: 1\n", &["sh", "-c", script]);
            let who = format!("{level}, {}: {left:?}", place.who());
            let rows = left.report["denied"].as_array().unwrap();
            let named = |what: &str, allow: &str| {
                rows.iter().any(|row| {
                    row["what"].as_str().unwrap().contains(what)
                        && row["allow"].as_str().unwrap_or("").contains(allow)
                        && row["at"].is_string()
                })
            };
            assert!(
                named("resolve api.example.com", "host: api.example.com"),
                "{who}"
            );
            assert!(
                left.errors.contains("would be allowed by network.allow"),
                "{who}"
            );
            if level == "c" {
                let without = "filesystem.read-only: [\".git\"]";
                assert!(named("write .github/w", without), "{who}");
            }
        }
    }
}

#[test]
fn refused_calls_are_known_where_the_kernels_audit_can_be_read() {
    if !elevation::is_here() || Audit::listen().is_none() {
        println!("left out: only root outside of a container reads the kernel's audit");
        return;
    }
    for place in Place::of_each_user() {
        let script = "unshare -U true; unshare -n true; chroot / true; true";
        let left = place.under("a", "version: 1\n", &["sh", "-c", script]);
        let who = format!("{}: {left:?}", place.who());
        let count = |what: &str| {
            let rows = left.report["denied"].as_array().unwrap().iter();
            let mut rows = rows.filter(|row| row["wall"] == "syscalls" && row["what"] == what);
            rows.next().map(|row| row["count"].as_u64().unwrap())
        };
        assert_eq!(count("call unshare"), Some(2), "{who}");
        assert_eq!(count("call chroot"), Some(1), "{who}");
        // Every program of a newer libc tries this one, which does not exist inside.
        assert_eq!(count("call clone3"), None, "{who}");
        let left = place.under("b", "version: 1\n", &["sh", "-c", script]);
        assert!(left.report["denied"].is_null(), "{left:?}");
    }
}

#[test]
fn call_of_another_architecture_is_told() {
    // int 0x80 by hand, as 32-bit code would call exit(0).
    let program = "import ctypes,mmap\nm=mmap.mmap(-1,4096,prot=7)\nm.write(b'\\xb8\\x01\\x00\\x00\\x00\\x31\\xdb\\xcd\\x80\\xc3')\n\
                   ctypes.CFUNCTYPE(None)(ctypes.addressof(ctypes.c_char.from_buffer(m)))()";
    if !cfg!(target_arch = "x86_64") {
        return;
    }
    for level in levels() {
        for place in Place::of_each_user() {
            let left = place.under(level, "version: 1\n", &[super::PYTHON, "-c", program]);
            let who = format!("{level}, {}: {left:?}", place.who());
            assert_eq!(left.code, Some(159), "{who}");
            assert_eq!(left.report["denied"][0]["wall"], "syscalls", "{who}");
        }
    }
}

#[test]
fn protected_path_that_a_killed_run_made_is_removed() {
    for place in Place::of_each_user() {
        let made = place.path("ws/.github/w.yml");
        fs::remove_dir_all(place.path("ws/.github")).unwrap();
        let mut child = place
            .tagout("b")
            .args([
                "--",
                "sh",
                "-c",
                "mkdir .github; echo x > .github/w.yml; exec sleep 300",
            ])
            .spawn()
            .unwrap();
        super::ending::wait_until("the run has made it", || made.exists());
        child.kill().unwrap();
        child.wait().unwrap();
        super::ending::wait_until("it is removed", || !place.path("ws/.github").exists());
        assert!(place.path("ws/a.txt").exists());
    }
}
