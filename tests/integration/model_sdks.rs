//! The official SDKs of two vendors in two languages, inside the real walls, against a model server by others: what they send
//! every day works, and what they could be told to send does not get past the egress.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::agents::{Mock, git, modules, program};

const KEY: &str = "a-key-of-no-worth";
const ANSWER: &str = "It is three.";

/// What an answer costs, in the words of every protocol.
fn usage() -> Value {
    json!({"prompt_tokens": 7, "completion_tokens": 5, "input_tokens": 7, "output_tokens": 5, "total_tokens": 12})
}

/// What a run with one of the scripts left.
struct Talked {
    results: Value,
    /// The requests that the egress wrote down.
    requests: Vec<Value>,
    /// What the model server got.
    arrived: Vec<Value>,
}

/// Runs a script as the agent of a whole job.
fn talk(api: &str, interpreter: &str, script: &str, packages: &Path) -> Option<Talked> {
    let server = program("@copilotkit/aimock/dist/cli.js")?;
    let folder = tempfile::tempdir().expect("a folder");
    let fixture = json!({"fixtures": [
        {"match": {"userMessage": "question"}, "response": {"content": ANSWER, "usage": usage()}},
    ]});
    let mock = Mock::serve(&server, folder.path(), &fixture.to_string(), &[]);
    let repository = folder.path().join("repository");
    fs::create_dir_all(repository.join(".github")).expect("it can be made");
    let name = Path::new(script).file_name().expect("a name").to_owned();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(script);
    fs::copy(&script, repository.join(&name)).expect("it can be copied");
    // An interpreter outside of the system's folders must be shown, with its library.
    let prefix = Path::new(interpreter)
        .ancestors()
        .nth(2)
        .filter(|prefix| prefix.starts_with("/root") || prefix.starts_with("/home"))
        .map_or(String::new(), |prefix| format!(", {prefix:?}"));
    let policy = format!(
        "version: 1\nagent:\n  use: command\n  command: [\"{interpreter}\", {name:?}, {api}, {packages:?}, results.json]\n  \
         model: {{ api: {api}, name: gpt-demo, base-url: \"http://127.0.0.1:{}/v1\", key: DEMO_KEY }}\n  \
         limits: {{ turns: 20, tokens: 500000, wall-time: 3m }}\nfilesystem:\n  read: [{packages:?}{prefix}]\n",
        mock.port
    );
    fs::write(repository.join(".github/tagout.yml"), policy).expect("it can be written");
    git(&repository, &["init", "-q", "-b", "main"]);
    git(&repository, &["add", "-A"]);
    git(&repository, &["commit", "-q", "-m", "one"]);
    let run = folder.path().join("run");
    let ran = Command::new(env!("CARGO_BIN_EXE_tagout"))
        .args(["run", "--task", "Ask.", "--forge", "local", "--json"])
        .args(["--secret", "DEMO_KEY", "--repo"])
        .arg(&repository)
        .arg("--out")
        .arg(&run)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("HOME", folder.path())
        .env("DEMO_KEY", KEY)
        .output()
        .expect("the binary starts");
    let stderr = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{stderr}");
    let result: Value = serde_json::from_slice(&ran.stdout).expect("one JSON object");
    assert_eq!(result["changed"], json!(["results.json"]), "{stderr}");
    let branch = result["branch"].as_str().expect("a branch");
    let shown = Command::new("git")
        .args(["show", &format!("{branch}:results.json")])
        .current_dir(&repository)
        .output()
        .expect("git starts");
    let journal = fs::read_to_string(run.join("journal.jsonl")).expect("a journal");
    assert!(!journal.contains(KEY), "the key is in the journal");
    assert!(!String::from_utf8_lossy(&shown.stdout).contains(KEY));
    let lines = journal
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line"));
    let requests = lines
        .filter(|line: &Value| line["kind"] == "request")
        .map(|mut line| line["data"].take())
        .collect();
    Some(Talked {
        results: serde_json::from_slice(&shown.stdout).expect("results"),
        requests,
        arrived: arrived(mock.port),
    })
}

fn arrived(port: u16) -> Vec<Value> {
    let journal = Command::new("curl")
        .args([
            "-s",
            "-m",
            "10",
            &format!("http://127.0.0.1:{port}/__aimock/journal"),
        ])
        .output()
        .expect("curl starts");
    let journal: Value = serde_json::from_slice(&journal.stdout).expect("a journal");
    journal.as_array().expect("a list").clone()
}

impl Talked {
    /// These are answered, with the words of the model; each has its tokens settled, and nothing else arrived.
    fn answered(&self, names: &[&str]) {
        for name in names {
            assert_eq!(
                self.results[name]["ok"], ANSWER,
                "{name}: {}",
                self.results[name]
            );
        }
        let passed: Vec<&Value> = self
            .requests
            .iter()
            .filter(|request| request["verdict"] == "allow")
            .collect();
        assert_eq!(passed.len(), names.len(), "{:?}", self.requests);
        for request in passed {
            let tokens = request["tokens"].as_u64().expect("tokens");
            // Reserved were sixteen thousand, or the request's own limit of two hundred.
            assert_eq!(tokens, 12, "{request}");
        }
        assert_eq!(self.arrived.len(), names.len(), "{:?}", self.arrived);
        for entry in &self.arrived {
            let text = entry.to_string();
            for word in [
                "evil.example",
                "org-other",
                "proj-other",
                "\"store\":true",
                "a=b",
            ] {
                assert!(!text.contains(word), "{word}: {text}");
            }
        }
    }

    fn refused(&self, cases: &[(&str, &str)]) {
        for (name, code) in cases {
            let told = &self.results[name]["code"];
            assert_eq!(told, code, "{name}: {}", self.results[name]);
        }
        let all = self.results.as_object().expect("an object");
        let good = all.values().filter(|result| result["ok"].is_string());
        assert_eq!(good.count() + cases.len(), all.len(), "{all:?}");
    }
}

fn node() -> Option<PathBuf> {
    program("openai/index.mjs")?;
    program("@anthropic-ai/sdk/index.mjs")?;
    modules().canonicalize().ok()
}

/// The folder of packages of `.ci/run`'s virtual environment.
fn python() -> Option<PathBuf> {
    let venv = modules().join("../../venv/lib");
    let versions = fs::read_dir(venv).ok()?.filter_map(Result::ok);
    let found = versions
        .map(|version| version.path().join("site-packages"))
        .find(|packages| packages.join("openai").is_dir() && packages.join("anthropic").is_dir());
    if found.is_none() {
        program("../../venv/openai-and-anthropic")?;
    }
    found?.canonicalize().ok()
}

/// The interpreter of that virtual environment, where it really lies.
fn interpreter() -> Option<PathBuf> {
    modules().join("../../venv/bin/python3").canonicalize().ok()
}

const SCRIPT: &str = "tests/integration/model_sdks/talk.mjs";

#[test]
fn npm_openai_over_responses() {
    let Some(talked) = node().and_then(|packages| talk("responses", "node", SCRIPT, &packages))
    else {
        return;
    };
    talked.answered(&["plain", "tools", "stream", "other account"]);
    talked.refused(&[
        ("tool web_search", "model-tool-hosted"),
        ("tool file_search", "model-tool-hosted"),
        ("tool image_generation", "model-tool-hosted"),
        ("tool computer_use_preview", "model-tool-hosted"),
        ("tool local_shell_2", "model-tool-hosted"),
        ("code interpreter", "model-tool-hosted"),
        ("mcp", "model-tool-hosted"),
        ("image url", "model-remote-reference"),
        ("file url", "model-remote-reference"),
        ("file id", "model-stored-reference"),
        ("previous", "model-stored-reference"),
        ("conversation", "model-stored-reference"),
        ("prompt", "model-stored-reference"),
        ("background", "model-background"),
        ("tier", "model-cost"),
        ("other model", "model-name"),
        ("files", "model-request-not-allowed"),
        ("models", "model-request-not-allowed"),
        ("stored", "model-request-not-allowed"),
        ("other key", "model-placeholder-missing"),
    ]);
}

#[test]
fn npm_openai_over_chat_completions() {
    let Some(talked) = node().and_then(|packages| talk("chat", "node", SCRIPT, &packages)) else {
        return;
    };
    talked.answered(&["plain", "tools", "stream"]);
    talked.refused(&[
        ("n", "model-cost"),
        ("search", "model-tool-hosted"),
        ("tier", "model-cost"),
        ("audio", "model-cost"),
        ("image url", "model-remote-reference"),
        ("file id", "model-stored-reference"),
        ("other model", "model-name"),
        ("batches", "model-request-not-allowed"),
        ("embeddings", "model-request-not-allowed"),
    ]);
}

#[test]
fn npm_anthropic_over_messages() {
    let Some(talked) = node().and_then(|packages| talk("messages", "node", SCRIPT, &packages))
    else {
        return;
    };
    talked.answered(&["plain", "tools", "stream"]);
    talked.refused(&[
        ("tool web_search_20250305", "model-tool-hosted"),
        ("tool code_execution_20250522", "model-tool-hosted"),
        ("tool web_fetch_20250910", "model-tool-hosted"),
        ("image url", "model-remote-reference"),
        ("file id", "model-stored-reference"),
        ("mcp", "model-tool-hosted"),
        ("container", "model-stored-reference"),
        ("tier", "model-cost"),
        ("other model", "model-name"),
        ("batches", "model-request-not-allowed"),
        ("other key", "model-placeholder-missing"),
    ]);
}

#[test]
fn pypi_openai_and_anthropic_over_all_three() {
    let (Some(packages), Some(python)) = (python(), interpreter()) else {
        return;
    };
    let script = "tests/integration/model_sdks/talk.py";
    let python = python.display().to_string();
    for (api, more) in [
        (
            "responses",
            &[
                ("search", "model-tool-hosted"),
                ("background", "model-background"),
            ][..],
        ),
        ("chat", &[("n", "model-cost")][..]),
        ("messages", &[("search", "model-tool-hosted")][..]),
    ] {
        let Some(talked) = talk(api, &python, script, &packages) else {
            return;
        };
        talked.answered(&["plain", "stream"]);
        let always = [
            ("other model", "model-name"),
            ("models", "model-request-not-allowed"),
        ];
        talked.refused(&[more, &always[..]].concat());
    }
}
