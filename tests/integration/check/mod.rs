//! The checks as a reader of the policy meets them: each rule with a change that passes and one that is turned away.

mod command;
mod dependencies;
mod secrets;

use tagout::changeset::change::{Before, Blob, Change, Changeset, FileMode};
use tagout::changeset::checks::{Checked, Known, Refused, check};
use tagout::changeset::finding::{Code, Finding, Severity};
use tagout::changeset::path::RepoPath;
use tagout::policy::model::{Dependencies, OnBinary, OnProtected, Policy};

fn path(text: &str) -> RepoPath {
    RepoPath::new(text).expect(text)
}

fn blob(bytes: impl AsRef<[u8]>) -> Blob {
    Blob::new(bytes.as_ref().to_vec())
}

fn add(name: &str, bytes: impl AsRef<[u8]>) -> Change {
    Change::add(path(name), FileMode::Regular, blob(bytes))
}

fn edit(name: &str, old: &str, new: &str) -> Change {
    let before = Before {
        mode: FileMode::Regular,
        content: Some(blob(old)),
    };
    Change::modify(path(name), before, FileMode::Regular, blob(new))
}

fn delete(name: &str) -> Change {
    Change::delete(
        path(name),
        Before {
            mode: FileMode::Regular,
            content: Some(blob("x\n")),
        },
    )
}

fn link(name: &str, target: &str) -> Change {
    Change::add(path(name), FileMode::Symlink, blob(target))
}

fn changeset(changes: Vec<Change>) -> Changeset {
    let base = "a".repeat(40).parse().expect("an id");
    Changeset::new(base, changes, Vec::new()).expect("each path once")
}

fn judge(changes: Vec<Change>, policy: &Policy, known: Known<'_>) -> Result<Checked, Refused> {
    check(changeset(changes), policy, known)
}

fn findings(result: &Result<Checked, Refused>) -> &[Finding] {
    match result {
        Ok(checked) => checked.findings(),
        Err(refused) => refused.findings(),
    }
}

/// Codes of the findings, each with whether it blocks.
fn codes(changes: Vec<Change>, policy: &Policy) -> Vec<(Code, Severity)> {
    let result = judge(changes, policy, Known::default());
    let mut codes: Vec<_> = findings(&result)
        .iter()
        .map(|finding| (finding.code, finding.severity))
        .collect();
    codes.dedup();
    codes
}

fn blocks(changes: Vec<Change>, code: Code) {
    let found = codes(changes, &Policy::default());
    assert!(
        found.contains(&(code, Severity::Block)),
        "{code:?} in {found:?}"
    );
}

fn passes(changes: Vec<Change>) {
    assert_eq!(codes(changes, &Policy::default()), []);
}

#[test]
fn everyday_change_passes_without_a_finding() {
    passes(vec![
        edit("src/lib.rs", "fn a() {}\n", "fn a() {}\nfn b() {}\n"),
        add("docs/日本語.md", "مرحبا 👩‍👩‍👧 नमस्ते क्‍ष\n"),
        delete("old.txt"),
    ]);
}

#[test]
fn protected_path_is_refused_under_every_spelling_and_deed() {
    for name in [
        ".github/workflows/ci.yml",
        ".GitHub/dependabot.yml",
        ".vscode/tasks.json",
        ".devcontainer/devcontainer.json",
        ".idea/workspace.xml",
        "sub/.envrc",
        ".githooks/pre-commit",
        ".husky/pre-commit",
        ".gitattributes",
        "a/.lfsconfig",
        "AGENTS.md",
        "a/claude.md",
        ".mcp.json",
        "GEMINI.md",
        "CODEOWNERS",
        "docs/codeowners",
        "Jenkinsfile",
        ".gitlab-ci.yml",
        ".npmrc",
        ".cargo/config.toml",
    ] {
        blocks(vec![add(name, "x\n")], Code::ProtectedPath);
        blocks(vec![edit(name, "x\n", "y\n")], Code::ProtectedPath);
        blocks(vec![delete(name)], Code::ProtectedPath);
    }
    // A rename is a deletion and an addition, so the old name counts as well as the new one.
    blocks(
        vec![delete("Jenkinsfile"), add("ci.txt", "x\n")],
        Code::ProtectedPath,
    );
}

#[test]
fn protected_path_asks_for_a_human_where_the_policy_says_so() {
    let mut policy = Policy::default();
    policy.changes.on_protected = OnProtected::RequestChanges;
    policy.filesystem.read_only.clear();
    let result = judge(vec![add("Jenkinsfile", "x\n")], &policy, Known::default());
    let checked = result.expect("it is proposed");
    assert_eq!(checked.findings()[0].code, Code::ProtectedPath);
    assert_eq!(checked.findings()[0].severity, Severity::Review);
    assert!(checked.needs_changes());
}

#[test]
fn script_that_a_workflow_of_the_base_runs_is_protected() {
    let scripts = ["ci/build.sh".to_owned(), "actions/setup".to_owned()];
    let known = Known {
        run_by_workflows: &scripts,
        ..Known::default()
    };
    for name in ["ci/build.sh", "CI/Build.sh", "actions/setup/index.js"] {
        let refused = judge(vec![add(name, "x\n")], &Policy::default(), known);
        assert_eq!(findings(&refused)[0].code, Code::ProtectedPath, "{name}");
        assert!(refused.is_err());
    }
    assert!(judge(vec![add("ci/other.sh", "x\n")], &Policy::default(), known).is_ok());
}

#[test]
fn allow_and_the_walls_paths_are_held() {
    let mut policy = Policy::default();
    policy.changes.allow = vec!["src/**".to_owned()];
    assert!(
        codes(vec![add("docs/a.md", "x\n")], &policy)
            .contains(&(Code::NotAllowedPath, Severity::Block))
    );
    assert_eq!(codes(vec![add("src/a.rs", "x\n")], &policy), []);
    let mut policy = Policy::default();
    policy.filesystem.read_only = vec!["vendor".to_owned()];
    policy.filesystem.deny = vec!["**/*.pem".to_owned()];
    for name in ["vendor/x.c", "Vendor/x.c", "certs/a.pem"] {
        assert!(
            codes(vec![add(name, "x\n")], &policy).contains(&(Code::ReadOnlyPath, Severity::Block)),
            "{name}"
        );
    }
    assert_eq!(codes(vec![add("vendored.txt", "x\n")], &policy), []);
}

#[test]
fn list_that_cannot_be_read_lets_nothing_pass() {
    let mut policy = Policy::default();
    policy.changes.protect = vec!["a[".to_owned()];
    assert!(judge(vec![add("src/a.rs", "x\n")], &policy, Known::default()).is_err());
}

#[test]
fn links_are_judged_by_where_they_lead() {
    blocks(vec![link("l", "/etc/passwd")], Code::SymlinkOutside);
    blocks(vec![link("a/l", "../../x")], Code::SymlinkOutside);
    blocks(vec![link("l", ".github/workflows")], Code::SymlinkProtected);
    blocks(
        vec![link("a/b/l", "../../.GIT/hooks")],
        Code::SymlinkProtected,
    );
    blocks(vec![link("l", ".git")], Code::SymlinkProtected);
    // Links that are new may lead through each other.
    blocks(
        vec![link("d", "."), link("l", "d/.github/x")],
        Code::SymlinkProtected,
    );
    assert_eq!(
        codes(vec![link("a/l", "../src/lib.rs")], &Policy::default()),
        [(Code::SymlinkChanged, Severity::Review)]
    );
}

#[test]
fn modes_are_carried_and_told() {
    let before = Before {
        mode: FileMode::Regular,
        content: Some(blob("x\n")),
    };
    let change = Change::modify(path("run.sh"), before, FileMode::Executable, blob("x\n"));
    assert_eq!(
        codes(vec![change], &Policy::default()),
        [(Code::ModeChanged, Severity::Review)]
    );
}

#[test]
fn limits_are_held() {
    let mut policy = Policy::default();
    policy.changes.files = 2;
    policy.changes.bytes = 1000;
    policy.changes.file_bytes = 600;
    let three = ["a", "b", "c"].map(|name| add(name, "x\n")).to_vec();
    assert_eq!(
        codes(three, &policy),
        [(Code::ChangesTooMany, Severity::Block)]
    );
    let line = "12345678\n";
    assert_eq!(
        codes(vec![add("a", line.repeat(70))], &policy),
        [(Code::FileTooLarge, Severity::Block)]
    );
    assert_eq!(
        codes(
            vec![add("a", line.repeat(60)), add("b", line.repeat(60))],
            &policy
        ),
        [(Code::ChangesTooLarge, Severity::Block)]
    );
    assert_eq!(
        codes(
            vec![add("a", line.repeat(50)), add("b", line.repeat(50))],
            &policy
        ),
        []
    );
    blocks(vec![add("a", "x".repeat(10_001))], Code::LineTooLong);
}

#[test]
fn binary_file_is_refused_unless_the_policy_allows_it() {
    for bytes in [&b"a\0b"[..], b"caf\xe9\n"] {
        blocks(vec![add("a.bin", bytes)], Code::BinaryFile);
        let mut policy = Policy::default();
        policy.changes.binary = OnBinary::Allow;
        assert_eq!(codes(vec![add("a.bin", bytes)], &policy), []);
    }
    blocks(
        vec![add(
            "a.psd",
            "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
        )],
        Code::LfsPointer,
    );
}

#[test]
fn names_that_hide_each_other_are_refused() {
    blocks(
        vec![add("Makefile2", "x\n"), add("makefile2", "y\n")],
        Code::PathCaseCollision,
    );
    blocks(
        vec![add("a/x", "x\n"), add("A/y", "y\n")],
        Code::PathCaseCollision,
    );
    blocks(
        vec![add("caf\u{e9}", "x\n"), add("cafe\u{301}", "y\n")],
        Code::PathCaseCollision,
    );
    let base = ["src/Main.rs".to_owned()];
    let known = Known {
        base_paths: &base,
        ..Known::default()
    };
    let refused = judge(vec![add("src/main.rs", "x\n")], &Policy::default(), known);
    assert_eq!(findings(&refused)[0].code, Code::PathCaseCollision);
    // A rename that only changes the case is none.
    let renamed = vec![delete("src/Main.rs"), add("src/main.rs", "x\n")];
    assert!(judge(renamed, &Policy::default(), known).is_ok());
}

#[test]
fn hidden_characters_in_added_lines_are_refused_with_their_line() {
    let result = judge(
        vec![edit("a.rs", "one\n", "one\nif admin\u{202e} {\n")],
        &Policy::default(),
        Known::default(),
    );
    let finding = &findings(&result)[0];
    assert_eq!((finding.code, finding.line), (Code::HiddenUnicode, Some(2)));
    assert!(result.is_err());
    // What was there before is not the agent's.
    passes(vec![edit("a.rs", "x\u{200b}y\n", "x\u{200b}y\nnew\n")]);
    passes(vec![add("a.cs", "\u{feff}using System;\r\n")]);
}

#[test]
fn deleted_and_weakened_tests_are_told_and_not_refused() {
    assert_eq!(
        codes(vec![delete("tests/a.rs")], &Policy::default()),
        [(Code::TestDeleted, Severity::Review)]
    );
    assert_eq!(
        codes(
            vec![edit(
                "tests/a.rs",
                "assert!(x);\nassert!(y);\n",
                "assert!(x);\n"
            )],
            &Policy::default()
        ),
        [(Code::TestWeakened, Severity::Review)]
    );
    passes(vec![edit(
        "tests/a.rs",
        "assert!(x);\n",
        "assert!(x);\nassert!(y);\n",
    )]);
}

#[test]
fn diff_that_github_folds_is_told() {
    let mut policy = Policy::default();
    policy.changes.dependencies = Dependencies::Allow;
    for change in [
        add("yarn.lock", "x\n"),
        add("web/app.min.js", "x\n"),
        add("long.txt", "line\n".repeat(401)),
    ] {
        assert_eq!(
            codes(vec![change], &policy),
            [(Code::DiffHidden, Severity::Review)]
        );
    }
    let known = Known {
        attributes: "gen/** linguist-generated\n",
        ..Known::default()
    };
    let result = judge(vec![add("gen/a.rs", "x\n")], &policy, known);
    assert_eq!(findings(&result)[0].code, Code::DiffHidden);
}

#[test]
fn what_the_collector_set_aside_is_judged() {
    let base = "a".repeat(40).parse().expect("an id");
    let aside = vec![Finding::new(Code::NotAFile, "it is a FIFO").at("pipe")];
    let set = Changeset::new(base, Vec::new(), aside).expect("no path twice");
    assert!(check(set, &Policy::default(), Known::default()).is_err());
}

#[test]
fn table_of_findings_in_the_docs_is_the_programs() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/findings.md");
    let docs = std::fs::read_to_string(file).expect("the document is there");
    let table = tagout::changeset::finding::table();
    if std::env::var_os("TAGOUT_WRITE").is_some() {
        let (before, rest) = docs.split_once("| code |").expect("a table");
        let after = rest.rsplit_once("|\n").map_or("", |(_, after)| after);
        std::fs::write(file, format!("{before}{table}{after}")).expect("written");
        return;
    }
    assert!(docs.contains(&table), "run this test with TAGOUT_WRITE=1");
}
