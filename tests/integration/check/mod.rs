//! The checks as a reader of the policy meets them: each rule with a change that passes and one that is turned away.

use std::path::Path;

use tagout::changeset::change::{Before, Blob, Change, Changeset, FileMode};
use tagout::changeset::checks::{Checked, Known, Refused, check};
use tagout::changeset::finding::{Code, Finding, Severity};
use tagout::changeset::path::RepoPath;
use tagout::names::Secret;
use tagout::policy::model::{Dependencies, OnBinary, OnProtected, Policy};

use crate::workspace::{git, sample};

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
fn credentials_in_added_lines_are_refused() {
    let token = format!("gh{}_{}", "p", "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF2hI5");
    blocks(
        vec![edit("a.py", "x = 1\n", &format!("x = 1\nt = '{token}'\n"))],
        Code::SecretPattern,
    );
    let line = format!("t = '{token}'\n");
    passes(vec![edit("a.py", &line, &format!("{line}x = 2\n"))]);
}

#[test]
fn secret_of_the_run_is_refused_wherever_it_stands_and_is_never_repeated() {
    let secret = "q7W-e9R_t2Y+u4I/o6P=a8S";
    let secrets = [Secret::new(secret.to_owned())];
    let known = Known {
        secrets: &secrets,
        ..Known::default()
    };
    let (one, other) = secret.split_at(12);
    for changes in [
        vec![add("a.txt", format!("x\nkey={secret}\n"))],
        vec![add("a.txt", secret.chars().rev().collect::<String>())],
        vec![add("q7W-e9R_t2Y+u4I/o6P=a8S", "x\n")],
        vec![
            add("a.txt", format!("{one}\n")),
            add("b.txt", format!("{other}\n")),
        ],
        vec![link("l", secret)],
    ] {
        let result = judge(changes, &Policy::default(), known);
        let found = findings(&result);
        assert!(
            found
                .iter()
                .any(|finding| finding.code == Code::KnownSecret
                    && finding.severity == Severity::Block),
            "{found:?}"
        );
        assert!(
            !found
                .iter()
                .any(|finding| finding.to_line().contains(secret)),
            "{found:?}"
        );
    }
    let texts = [("title", "fix q7W-e9R_t2Y+u4I/o6P=a8S")];
    let known = Known {
        texts: &texts,
        ..known
    };
    let result = judge(vec![add("a", "x\n")], &Policy::default(), known);
    assert_eq!(findings(&result)[0].code, Code::KnownSecret);
    let known = Known {
        secrets: &secrets,
        ..Known::default()
    };
    assert!(judge(vec![add("a", "x\n")], &Policy::default(), known).is_ok());
}

#[test]
fn dependencies_follow_the_policy() {
    let change = || {
        vec![edit(
            "Cargo.toml",
            "[dependencies]\n",
            "[dependencies]\nserde = \"1\"\n",
        )]
    };
    let mut policy = Policy::default();
    for (rule, expected) in [
        (Dependencies::Review, Some(Severity::Review)),
        (Dependencies::Block, Some(Severity::Block)),
        (Dependencies::Allow, None),
    ] {
        policy.changes.dependencies = rule;
        let found = codes(change(), &policy);
        assert_eq!(
            found.first().map(|(_, severity)| *severity),
            expected,
            "{found:?}"
        );
    }
}

/// Codes about one edited manifest or lock file, without the one that only says that it is changed.
fn edited(name: &str, old: &str, new: &str) -> Vec<&'static str> {
    codes(vec![edit(name, old, new)], &Policy::default())
        .into_iter()
        .map(|(code, _)| code.as_str())
        .filter(|code| code.starts_with("dependency-") && *code != "dependency-changed")
        .collect()
}

/// A manifest or lock file, without and with one more dependency.
const NEW_DEPENDENCIES: &[(&str, &str, &str)] = &[
    (
        "Cargo.toml",
        "[dependencies]\nserde = \"1\"\n",
        "[dependencies]\nserde = \"1\"\nleft-pad = { version = \"2\" }\n",
    ),
    (
        "Cargo.toml",
        "[package]\n",
        "[package]\n[target.'cfg(unix)'.dependencies.left-pad]\nversion = \"2\"\n",
    ),
    (
        "Cargo.lock",
        "",
        "[[package]]\nname = \"left-pad\"\nversion = \"1.0.0\"\nsource = \"registry+https://registry.example/index\"\n",
    ),
    (
        "package.json",
        "{}",
        "{\"devDependencies\": {\"left-pad\": \"^1\"}}",
    ),
    (
        "package-lock.json",
        "{}",
        "{\"packages\": {\"node_modules/left-pad\": {\"version\": \"1\", \"resolved\": \"https://registry.example/x.tgz\"}}}",
    ),
    ("yarn.lock", "", "left-pad@^1.0.0:\n  version \"1.0.0\"\n"),
    (
        "pnpm-lock.yaml",
        "",
        "packages:\n\n  left-pad@1.0.0:\n    resolution: {integrity: sha512-x}\n",
    ),
    (
        "requirements.txt",
        "requests==2\n",
        "requests==2\nleft-pad>=1 # new\n",
    ),
    (
        "pyproject.toml",
        "[project]\n",
        "[project]\ndependencies = [\n  \"left-pad>=1\",\n]\n",
    ),
    (
        "pyproject.toml",
        "",
        "[tool.poetry.dependencies]\nleft-pad = \"^1\"\n",
    ),
    (
        "go.mod",
        "module x\n",
        "module x\nrequire (\n\texample.com/left-pad v1.0.0\n)\n",
    ),
    ("go.sum", "", "example.com/left-pad v1.0.0 h1:abc=\n"),
    (
        "Gemfile.lock",
        "",
        "GEM\n  remote: https://registry.example/\n  specs:\n    left-pad (1.0)\n",
    ),
    (
        "composer.lock",
        "{}",
        "{\"packages\": [{\"name\": \"a/left-pad\", \"version\": \"1\"}]}",
    ),
    (
        "packages.lock.json",
        "{}",
        "{\"dependencies\": {\"net8.0\": {\"Left.Pad\": {\"resolved\": \"1\"}}}}",
    ),
    (
        "build.gradle",
        "",
        "dependencies { implementation 'org.example:left-pad:1.0' }\n",
    ),
];

#[test]
fn new_dependency_is_named_in_every_ecosystem() {
    for (name, old, new) in NEW_DEPENDENCIES {
        assert_eq!(
            edited(name, old, new),
            ["dependency-added"],
            "{name}: {new}"
        );
        assert_eq!(edited(name, new, &format!("{new}\n")), [""; 0], "{name}");
    }
}

#[test]
fn other_sources_sums_and_scripts_are_told() {
    let lock = |place: &str, sum: &str| {
        format!(
            "[[package]]\nname = \"a\"\nversion = \"1\"\nsource = \"{place}\"\nchecksum = \"{sum}\"\n"
        )
    };
    let home = "registry+https://registry.example/index";
    let other = "registry+https://evil.example/index";
    assert_eq!(
        edited("Cargo.lock", &lock(home, "1"), &lock(other, "1")),
        ["dependency-source"]
    );
    assert_eq!(
        edited("Cargo.lock", &lock(home, "1"), &lock(home, "2")),
        ["dependency-checksum"]
    );
    for (name, old, new, code) in [
        (
            "Cargo.toml",
            "[dependencies]\na = \"1\"\n",
            "[dependencies]\na = { git = \"https://evil.example/a\" }\n",
            "dependency-source",
        ),
        (
            "package.json",
            "{\"dependencies\": {\"a\": \"1\"}}",
            "{\"dependencies\": {\"a\": \"git+https://evil.example/a\"}}",
            "dependency-source",
        ),
        (
            "package.json",
            "{}",
            "{\"scripts\": {\"postinstall\": \"node x.js\"}}",
            "dependency-script",
        ),
        (
            "requirements.txt",
            "a==1\n",
            "--extra-index-url https://evil.example/simple\na==1\n",
            "dependency-source",
        ),
        (
            "go.mod",
            "module x\nrequire a.example/b v1\n",
            "module x\nrequire a.example/b v1\nreplace a.example/b => evil.example/b v1\n",
            "dependency-source",
        ),
        (
            "go.sum",
            "a.example/b v1 h1:x=\n",
            "a.example/b v1 h1:y=\n",
            "dependency-checksum",
        ),
        (
            "package-lock.json",
            "{\"packages\": {\"node_modules/a\": {\"version\": \"1\", \"integrity\": \"sha512-x\"}}}",
            "{\"packages\": {\"node_modules/a\": {\"version\": \"1\"}}}",
            "dependency-checksum",
        ),
    ] {
        assert_eq!(edited(name, old, new), [code], "{name}: {new}");
    }
    assert!(edited("requirements.txt", "", "reqeusts==2\n").contains(&"dependency-look-alike"));
}

#[test]
fn first_lock_file_tells_where_everything_comes_from() {
    let one = "[[package]]\nname = \"a\"\nversion = \"1\"\nsource = \"registry+https://registry.example/index\"\n";
    let result = judge(
        vec![edit("Cargo.lock", "", one)],
        &Policy::default(),
        Known::default(),
    );
    let told = findings(&result).iter().any(|finding| {
        finding.code == Code::DependencyAdded
            && finding
                .message
                .contains("comes from registry.example/index")
    });
    assert!(told, "{:?}", findings(&result));
    // Two places, and neither can be taken for the usual one: both are told. So is the only one of a manifest.
    let two = format!(
        "{one}{}",
        one.replace("\"a\"", "\"b\"")
            .replace("registry.example", "evil.example")
    );
    assert!(edited("Cargo.lock", "", &two).contains(&"dependency-source"));
    let manifest = "{\"dependencies\": {\"a\": \"https://evil.example/a.tgz\"}}";
    assert!(edited("package.json", "{}", manifest).contains(&"dependency-source"));
}

#[test]
fn manifest_that_moves_without_its_lock_file_is_told() {
    let base = [
        "web/package.json".to_owned(),
        "web/package-lock.json".to_owned(),
    ];
    let known = Known {
        base_paths: &base,
        ..Known::default()
    };
    let change = edit(
        "web/package.json",
        "{}",
        "{\"dependencies\": {\"a\": \"1\"}}",
    );
    let result = judge(vec![change.clone()], &Policy::default(), known);
    let has = |result: &Result<Checked, Refused>| {
        findings(result)
            .iter()
            .any(|finding| finding.code == Code::DependencyUnlocked)
    };
    assert!(has(&result));
    let both = vec![change, edit("web/package-lock.json", "{}", "{\"x\": 1}")];
    assert!(!has(&judge(both, &Policy::default(), known)));
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
