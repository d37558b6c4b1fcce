//! Real agents by others, and ours, inside the real walls, each driven by a model server by others through the whole job.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Where `.ci/run` puts packages of npm.
pub(crate) fn modules() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("target")
        .join("test-tools/npm/node_modules")
}

/// A program of others, or none with a word about it. TAGOUT_TEST_ALL makes its absence a failure.
pub(crate) fn program(path: &str) -> Option<PathBuf> {
    let program = modules().join(path);
    if program.exists() {
        return fs::canonicalize(program).ok();
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

/// `@copilotkit/aimock`, which speaks Responses, Chat and Messages; ended when it is dropped.
pub(crate) struct Mock {
    child: Child,
    pub(crate) port: u16,
}

impl Drop for Mock {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Mock {
    /// Serves a model that calls one tool once, and then says that it is done.
    fn start(server: &Path, folder: &Path, tool: &str, arguments: &Value, more: &[&str]) -> Self {
        let usage = json!({"prompt_tokens": 7, "completion_tokens": 5, "input_tokens": 7, "output_tokens": 5, "total_tokens": 12});
        let fixture = json!({"fixtures": [
            {"match": {"hasToolResult": true}, "response": {"content": "It is mended.", "usage": usage}},
            {"match": {"predicate": null, "userMessage": "calculator", "hasToolResult": false},
             "response": {"toolCalls": [{"name": tool, "arguments": arguments.to_string()}], "usage": usage}},
        ]});
        let text = fixture.to_string().replace("\"predicate\":null,", "");
        Self::serve(server, folder, &text, more)
    }

    /// Serves what a fixture says.
    pub(crate) fn serve(server: &Path, folder: &Path, fixture: &str, more: &[&str]) -> Self {
        let file = folder.join("fixture.json");
        fs::write(&file, fixture).expect("it can be written");
        let free = TcpListener::bind("127.0.0.1:0").expect("loopback can be bound");
        let port = free.local_addr().expect("it is bound").port();
        drop(free);
        let child = Command::new("node")
            .arg(server)
            .args([
                "--port",
                &port.to_string(),
                "--host",
                "127.0.0.1",
                "--fixtures",
            ])
            .arg(&file)
            .args(more)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("node starts");
        let begun = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "aimock does not listen"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        Self { child, port }
    }
}

pub(crate) fn git(folder: &Path, arguments: &[&str]) {
    let done = Command::new("git")
        .args(["-c", "user.name=t", "-c", "user.email=t@t.invalid"])
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .output()
        .expect("git starts");
    assert!(done.status.success(), "{done:?}");
}

/// The whole job with this agent; gives the result and the folder of the run.
fn job(agent: &str, api: &str, mock: &Mock, folder: &Path, bin: Option<&Path>) -> Value {
    let repository = folder.join("repository");
    fs::create_dir_all(repository.join(".github")).expect("it can be made");
    fs::write(repository.join("calculator.sh"), "echo $(($1 - $2))\n").expect("it can be written");
    let policy = format!(
        "version: 1\nagent:\n  use: {agent}\n  model: {{ api: {api}, name: gpt-demo, base-url: \"http://127.0.0.1:{}/v1\", key: DEMO_KEY }}\n  \
         limits: {{ turns: 20, tokens: 500000, wall-time: 3m }}\n",
        mock.port
    );
    fs::write(repository.join(".github/tagout.yml"), policy).expect("it can be written");
    git(&repository, &["init", "-q", "-b", "main"]);
    git(&repository, &["add", "-A"]);
    git(&repository, &["commit", "-q", "-m", "one"]);
    let path = match bin {
        Some(bin) => format!("{}:/usr/bin:/bin", bin.display()),
        None => "/usr/bin:/bin".to_owned(),
    };
    let ran = Command::new(env!("CARGO_BIN_EXE_tagout"))
        .args([
            "run",
            "--task",
            "Mend the calculator.",
            "--forge",
            "local",
            "--json",
            "--secret",
            "DEMO_KEY",
        ])
        .arg("--repo")
        .arg(&repository)
        .arg("--out")
        .arg(folder.join("run"))
        .env_clear()
        .env("PATH", path)
        .env("HOME", folder)
        .envs(bin.map(|bin| ("RUNNER_TOOL_CACHE", bin)))
        .env("DEMO_KEY", "a-key-of-no-worth")
        .output()
        .expect("the binary starts");
    let stderr = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{stderr}");
    serde_json::from_slice(&ran.stdout).expect("one JSON object")
}

fn mended(result: &Value) {
    assert_eq!(result["outcome"], "proposed", "{result}");
    assert_eq!(result["changed"], json!(["calculator.sh"]), "{result}");
}

const MEND: &str = "sed -i 's/ - / + /' calculator.sh";

/// An agent's program alone in a folder of its own, so that nothing else of where it lies is shown inside.
fn bin(folder: &Path, name: &str, program: &Path) -> PathBuf {
    let bin = folder.join("bin");
    fs::create_dir_all(&bin).expect("it can be made");
    if fs::hard_link(program, bin.join(name)).is_err() {
        symlink(program, bin.join(name)).expect("it can be linked");
    }
    bin
}

#[test]
fn builtin_agent_is_driven_by_a_server_of_others_in_every_protocol() {
    let Some(server) = program("@copilotkit/aimock/dist/cli.js") else {
        return;
    };
    for api in ["responses", "chat", "messages"] {
        let folder = tempfile::tempdir().unwrap();
        let mock = Mock::start(
            &server,
            folder.path(),
            "shell",
            &json!({"command": MEND}),
            &[],
        );
        mended(&job("builtin", api, &mock, folder.path(), None));
    }
}

#[test]
fn builtin_agent_survives_a_server_that_fails_often() {
    let Some(server) = program("@copilotkit/aimock/dist/cli.js") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let faults = [
        "--chaos-drop",
        "0.1",
        "--chaos-malformed",
        "0.1",
        "--chaos-disconnect",
        "0.1",
    ];
    let mock = Mock::start(
        &server,
        folder.path(),
        "shell",
        &json!({"command": MEND}),
        &faults,
    );
    mended(&job("builtin", "responses", &mock, folder.path(), None));
}

#[test]
fn codex_does_the_whole_job_inside_the_walls() {
    let (Some(server), Some(codex)) = (
        program("@copilotkit/aimock/dist/cli.js"),
        program("@openai/codex-linux-x64/vendor/x86_64-unknown-linux-musl/bin/codex"),
    ) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let bin = bin(folder.path(), "codex", &codex);
    let mock = Mock::start(
        &server,
        folder.path(),
        "exec_command",
        &json!({"cmd": MEND}),
        &[],
    );
    mended(&job("codex", "responses", &mock, folder.path(), Some(&bin)));
}

#[test]
fn claude_code_does_the_whole_job_inside_the_walls() {
    let (Some(server), Some(claude)) = (
        program("@copilotkit/aimock/dist/cli.js"),
        program("@anthropic-ai/claude-code-linux-x64/claude"),
    ) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let bin = bin(folder.path(), "claude", &claude);
    let arguments = json!({"command": MEND, "description": "mend"});
    let mock = Mock::start(&server, folder.path(), "Bash", &arguments, &[]);
    mended(&job("claude", "messages", &mock, folder.path(), Some(&bin)));
}

#[test]
fn opencode_does_the_whole_job_inside_the_walls() {
    let (Some(server), Some(opencode)) = (
        program("@copilotkit/aimock/dist/cli.js"),
        program("opencode-linux-x64/bin/opencode"),
    ) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let bin = bin(folder.path(), "opencode", &opencode);
    let arguments = json!({"command": MEND, "description": "mend"});
    let mock = Mock::start(&server, folder.path(), "bash", &arguments, &[]);
    mended(&job("opencode", "chat", &mock, folder.path(), Some(&bin)));
}
