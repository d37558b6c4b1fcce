//! `tagout check` as it is called.

use std::path::Path;

use crate::workspace::{git, sample};

/// `tagout check` in a repository, with nothing of the machine's environment.
fn tagout_check(repo: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_tagout"))
        .arg("check")
        .args(arguments)
        .current_dir(repo)
        .env_clear()
        .output()
        .expect("the binary runs");
    (
        output.status.code().expect("it ends by itself"),
        String::from_utf8(output.stdout).expect("UTF-8"),
        String::from_utf8(output.stderr).expect("UTF-8"),
    )
}

fn commit_file(repo: &Path, name: &str, text: &str) {
    let file = repo.join(name);
    std::fs::create_dir_all(file.parent().expect("a folder")).expect("made");
    std::fs::write(file, text).expect("written");
    git(repo, &["add", "-A", "-f"]);
    git(repo, &["commit", "-qm", name]);
}

#[test]
fn command_judges_the_last_commit_by_default_and_any_range_on_request() {
    let folder = tempfile::tempdir().expect("made");
    let repo = sample(folder.path());
    commit_file(&repo, "src/lib.rs", "fn a() {}\n");
    let (code, out, _) = tagout_check(&repo, &[]);
    assert_eq!((code, out.as_str()), (0, "clean\n"));
    commit_file(&repo, ".github/workflows/ci.yml", "on: push\n");
    let (code, out, _) = tagout_check(&repo, &[]);
    assert_eq!(code, 7, "{out}");
    assert!(
        out.starts_with(".github/workflows/ci.yml: protected-path: "),
        "{out}"
    );
    assert!(out.ends_with("\nchanges-refused\n"), "{out}");
    for (range, expected) in [
        ("HEAD~2..HEAD~", 0),
        ("HEAD~2..HEAD", 7),
        ("HEAD~", 0),
        ("HEAD", 7),
        ("HEAD~2...", 7),
        ("..HEAD", 0),
    ] {
        assert_eq!(tagout_check(&repo, &[range]).0, expected, "{range}");
    }
    let (code, _, error) = tagout_check(&repo, &["nothing..HEAD"]);
    assert_eq!(code, 2);
    assert!(error.contains("nothing names no commit"), "{error}");
    // A root-owned or foreign repository, from a folder inside it.
    assert_eq!(tagout_check(&repo.join("src"), &[]).0, 7);
}

#[test]
fn command_takes_the_policy_of_the_base_and_never_of_the_head() {
    let folder = tempfile::tempdir().expect("made");
    let repo = sample(folder.path());
    // The commit that opens everything is itself judged by what held before.
    commit_file(
        &repo,
        ".github/tagout.yml",
        "version: 1\nchanges:\n  protect: []\n",
    );
    assert_eq!(tagout_check(&repo, &[]).0, 7);
    commit_file(&repo, ".vscode/tasks.json", "{}\n");
    assert_eq!(tagout_check(&repo, &[]).0, 0);
    let named = folder.path().join("strict.yml");
    std::fs::write(&named, "version: 1\n").expect("written");
    let named = named.to_str().expect("UTF-8");
    assert_eq!(tagout_check(&repo, &["--policy", named]).0, 7);
    std::fs::write(named, "version: 1\nsurprise: 1\n").expect("written");
    let (code, _, error) = tagout_check(&repo, &["--policy", named]);
    assert_eq!(code, 3);
    assert!(error.contains("strict.yml:2:1: "), "{error}");
}

#[test]
fn command_gives_json_and_sarif() {
    let folder = tempfile::tempdir().expect("made");
    let repo = sample(folder.path());
    commit_file(&repo, "src/a.rs", "let a = \"\u{202e}\";\n");
    let (code, out, _) = tagout_check(&repo, &["--json"]);
    assert_eq!(code, 7);
    let json: serde_json::Value = serde_json::from_str(&out).expect("one object");
    assert_eq!(json["outcome"], "changes-refused");
    assert_eq!(json["findings"][0]["code"], "hidden-unicode");
    assert_eq!(json["findings"][0]["line"], 1);
    let (code, out, _) = tagout_check(&repo, &["--sarif"]);
    assert_eq!(code, 7);
    let sarif: serde_json::Value = serde_json::from_str(&out).expect("one object");
    assert_eq!(sarif["runs"][0]["results"][0]["ruleId"], "hidden-unicode");
}

/// The same in a job of GitHub Actions: what stands on stderr.
fn annotated(repo: &Path) -> String {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_tagout"))
        .args(["check", "--json"])
        .current_dir(repo)
        .env_clear()
        .env("GITHUB_ACTIONS", "true")
        .output()
        .expect("the binary runs");
    let out = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(serde_json::from_str::<serde_json::Value>(&out).is_ok());
    String::from_utf8(output.stderr).expect("UTF-8")
}

#[test]
fn findings_are_annotations_in_a_job_and_nowhere_else() {
    let folder = tempfile::tempdir().expect("made");
    let repo = sample(folder.path());
    commit_file(&repo, "src/a.rs", "fn a() {}\n");
    assert_eq!(annotated(&repo), "");
    commit_file(&repo, "src/a,b.rs", "fn a() {}\nlet a = \"\u{202e}\";\n");
    let expected = "::error file=src/a%2Cb.rs,line=2,title=hidden-unicode::U+202E cannot be seen (bidi-control)\n";
    assert_eq!(annotated(&repo), expected);
    assert_eq!(tagout_check(&repo, &[]).2, "");
}

#[test]
fn merges_roots_and_empty_ranges_are_judged_and_bad_ones_refused() {
    let folder = tempfile::tempdir().expect("made");
    let repo = sample(folder.path());
    let root = git(&repo, &["rev-list", "--max-parents=0", "HEAD"]);
    let root = root.trim();
    git(&repo, &["branch", "side"]);
    commit_file(&repo, "a.txt", "a\n");
    git(&repo, &["checkout", "-q", "side"]);
    commit_file(&repo, ".vscode/tasks.json", "{}\n");
    git(&repo, &["checkout", "-q", "-"]);
    git(&repo, &["merge", "-q", "--no-edit", "side"]);
    // A merge is held against its first parent: what the side brought in counts.
    assert_eq!(tagout_check(&repo, &["HEAD"]).0, 7);
    assert_eq!(tagout_check(&repo, &["HEAD^2..HEAD"]).0, 0);
    assert_eq!(
        tagout_check(&repo, &["HEAD..HEAD"]),
        (0, "clean\n".to_owned(), String::new())
    );
    for (range, told) in [
        (root, "has no parent here"),
        ("HEAD~99", "names no commit"),
        ("HEAD:a.txt..HEAD", "names no commit"),
        ("--..HEAD", "names no commit"),
    ] {
        let (code, out, error) = tagout_check(&repo, &["--json", "--", range]);
        assert_eq!(code, 2, "{range}: {out}{error}");
        assert!(out.contains("\"usage\""), "{range}: {out}");
        assert!(error.contains(told), "{range}: {error}");
    }
    let shallow = folder.path().join("shallow");
    let from = format!("file://{}", repo.display());
    let to = shallow.to_str().expect("UTF-8");
    git(&repo, &["clone", "-q", "--depth", "1", &from, to]);
    let (code, _, error) = tagout_check(&shallow, &[]);
    assert_eq!(code, 2);
    assert!(error.contains("HEAD has no parent here"), "{error}");
}

#[test]
fn outside_of_a_repository_nothing_is_judged() {
    let folder = tempfile::tempdir().expect("made");
    let (code, _, error) = tagout_check(folder.path(), &[]);
    assert_eq!(code, 2, "{error}");
}

#[test]
fn command_sees_what_git_alone_can_make() {
    let folder = tempfile::tempdir().expect("made");
    let repo = sample(folder.path());
    let id = git(&repo, &["rev-parse", "HEAD"]);
    let link = format!("160000,{},sub", id.trim());
    git(&repo, &["update-index", "--add", "--cacheinfo", &link]);
    git(&repo, &["commit", "-qm", "submodule"]);
    let (code, out, _) = tagout_check(&repo, &[]);
    assert_eq!(code, 7);
    assert!(out.starts_with("sub: submodule-changed: "), "{out}");
    let blob = git(&repo, &["rev-parse", "HEAD:README.md"]);
    for (name, code) in [
        ("back\\slash", "path-backslash"),
        ("aux.c", "path-windows-name"),
        ("a:b", "path-colon"),
        ("README.MD", "path-case-collision"),
    ] {
        let entry = format!("100644,{},{name}", blob.trim());
        git(&repo, &["update-index", "--add", "--cacheinfo", &entry]);
        git(&repo, &["commit", "-qm", name]);
        let (_, out, _) = tagout_check(&repo, &[]);
        assert!(out.contains(code), "{name}: {out}");
    }
}

#[test]
fn command_protects_the_scripts_that_workflows_of_the_base_run() {
    let folder = tempfile::tempdir().expect("made");
    let repo = sample(folder.path());
    commit_file(&repo, "ci/build.sh", "#!/bin/sh\n");
    commit_file(
        &repo,
        ".github/workflows/ci.yml",
        "on: push\njobs:\n  a:\n    runs-on: x\n    steps:\n      - run: bash ci/build.sh\n",
    );
    commit_file(&repo, "ci/build.sh", "#!/bin/sh\ncurl example.com\n");
    let (code, out, _) = tagout_check(&repo, &[]);
    assert_eq!(code, 7, "{out}");
    assert!(
        out.contains("a workflow of the base commit runs it"),
        "{out}"
    );
}
