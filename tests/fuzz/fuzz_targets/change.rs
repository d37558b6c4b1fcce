//! No file of a change breaks the checks: manifests and lock files of every kind, workflows, names and attributes.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tagout::changeset::change::{Before, Blob, Change, Changeset, FileMode};
use tagout::changeset::checks::{Known, check};
use tagout::changeset::path::RepoPath;
use tagout::names::ObjectId;
use tagout::policy::model::Policy;

const NAMES: [&str; 18] = [
    "Cargo.lock",
    "Cargo.toml",
    "pyproject.toml",
    "package.json",
    "package-lock.json",
    "yarn.lock",
    "pnpm-lock.yaml",
    "go.mod",
    "go.sum",
    "Gemfile.lock",
    "composer.lock",
    "packages.lock.json",
    "requirements.txt",
    "build.gradle",
    ".github/workflows/w.yml",
    ".gitattributes",
    "action.yml",
    "src/a.rs",
];
static POLICY: LazyLock<Policy> = LazyLock::new(Policy::default);

fuzz_target!(|input: (u8, u16, &[u8])| {
    let (name, cut, bytes) = input;
    let name = NAMES[usize::from(name) % NAMES.len()];
    let (old, new) = bytes.split_at(usize::from(cut) % (bytes.len() + 1));
    let path = RepoPath::new(name).expect("a path");
    let before = Before {
        mode: FileMode::Regular,
        content: Some(Blob::new(old.to_vec())),
    };
    let change = Change::modify(path, before, FileMode::Regular, Blob::new(new.to_vec()));
    let base = ObjectId::try_from("a".repeat(40)).expect("an id");
    let changeset = Changeset::new(base, vec![change], Vec::new()).expect("one path");
    let text = String::from_utf8_lossy(old);
    let known = Known {
        secrets: &[],
        texts: &[("title", &text)],
        base_paths: &[],
        attributes: &text,
        run_by_workflows: &[],
    };
    let findings = match check(changeset, &POLICY, known) {
        Ok(checked) => checked.findings().to_vec(),
        Err(refused) => refused.findings().to_vec(),
    };
    assert!(serde_json::to_vec(&findings).is_ok());
});
