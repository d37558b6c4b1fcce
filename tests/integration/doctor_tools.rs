//! `tagout doctor --tools`: real clients through walls and egress, and one that does not end.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// What the prerequisites of the tests bring.
const ALWAYS: [&str; 6] = [
    "curl",
    "git",
    "node fetch",
    "node https",
    "npm",
    "python urllib",
];
/// What is there where everything must run.
const EVERYTHING: [&str; 13] = [
    "apt",
    "cargo",
    "go",
    "java",
    "php",
    "php curl",
    "pip",
    "python aiohttp",
    "python httpx",
    "python requests",
    "ruby",
    "uv",
    "wget",
];

#[test]
fn installed_tools_reach_a_server_through_the_walls_and_a_hanging_one_is_left() {
    let hangs = tempfile::tempdir().unwrap();
    let deno = hangs.path().join("bin/deno");
    fs::create_dir(hangs.path().join("bin")).unwrap();
    // It hangs at one level only: to wait once is enough.
    let script =
        "#!/bin/sh\ntrap '' TERM\n[ -z \"$https_proxy\" ] || while :; do sleep 1000; done\n";
    fs::write(&deno, script).unwrap();
    fs::set_permissions(&deno, fs::Permissions::from_mode(0o755)).unwrap();
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-tools");
    let path = format!(
        "{}:{}:{}",
        tools.join("venv/bin").display(),
        hangs.path().join("bin").display(),
        std::env::var("PATH").unwrap()
    );
    let output = Command::new(env!("CARGO_BIN_EXE_tagout"))
        .env_clear()
        .env("PATH", path)
        .env("HOME", std::env::var_os("HOME").unwrap())
        .env("DENO_INSTALL", hangs.path())
        .env("RUNNER_TOOL_CACHE", &tools)
        .args(["doctor", "--tools", "--json"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let told: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    for level in ["b", "c"] {
        let tools = told["levels"][level]["tools"].as_object().unwrap();
        let all = std::env::var_os("TAGOUT_TEST_ALL").is_some();
        let wanted = ALWAYS.iter().chain(EVERYTHING.iter().filter(|_| all));
        for tool in wanted {
            assert_eq!(
                tools[*tool]["state"], "works",
                "level {level}, {tool}: {text}"
            );
        }
        for (tool, state) in tools.iter().filter(|(tool, _)| *tool != "deno") {
            assert_ne!(state["state"], "fails", "level {level}, {tool}: {state}");
        }
    }
    let deno = |level: &str| told["levels"][level]["tools"]["deno"].clone();
    assert_eq!(deno("b")["why"], "ended with 0:", "{text}");
    assert_eq!(deno("c")["why"], "it did not end within 20 s", "{text}");
}
