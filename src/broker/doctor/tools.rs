//! `tagout doctor --tools`: each installed tool asks a server on loopback through the walls and the egress, as an agent's would.
//! It must never call a tool working that did not bring the server's own word back, nor wait for one that does not end.

use std::collections::BTreeMap;

use std::path::Path;

use serde::Serialize;

use super::table::{FILES, TOOLS};
use crate::broker::egress::error::EgressError;
use crate::broker::egress::origin::{self, Origin};
use crate::broker::egress::process;
use crate::broker::egress::setup::{EgressSetup, Proxy};
use crate::broker::job::end::causes;
use crate::broker::job::inside::{self, DOOR_FD};
use crate::broker::launch::{self, Wanted};
use crate::console;
use crate::names::Level;
use crate::outcome::Outcome;
use crate::policy::model::{
    AuthMode, HostPattern, Network as Rules, Place, Policy, Rule, RuleKind, TlsMode,
};
use crate::sanitize;
use crate::scratch::Scratch;
use crate::wire::{Command, Workspace};

/// Bytes of output of all tools that are read.
const OUTPUT_BYTES_MAX: u64 = 1 << 20;
/// Seconds that one tool may take.
const TOOL_SECONDS_MAX: u64 = 20;
/// Seconds after which a tool that ignores its end is killed.
const KILL_SECONDS: u64 = 1;
/// Tools that are tried at once.
const LANES: usize = 4;
/// Milliseconds for all tools at one level: what is not told by then did not end.
const LEVEL_MS_MAX: u64 = 60_000;
/// What leads a line that tells of a tool.
const MARK: &str = "@tagout-tool ";

/// How a tool fares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
enum State {
    /// It reached the server.
    Works,
    /// It is there and did not.
    Fails {
        /// Its last line of output, or that it did not end.
        why: String,
    },
    /// It is not there.
    NotInstalled,
}

/// Every tool by name, for one level.
type Tools = BTreeMap<String, State>;

/// The start of the script: how a tool is run, and how its end is told. Output goes through a file: a process that a
/// tool leaves behind would keep a pipe open.
const PREAMBLE: &str = r#"export CARGO_REGISTRIES_T_INDEX=sparse+$U/cargo/ CARGO_NET_RETRY=0 GOTOOLCHAIN=local UV_HTTP_RETRIES=0
bounded() { timeout -k $K $S sh -c "$1" > "$2" 2>&1 < /dev/null; }
try() {
  bounded "$2" "there.$4"; end=$?
  if [ $end = 124 ] || [ $end = 137 ]; then echo "@tagout-tool $1=it did not say within $S s whether it is there"; return; fi
  if [ $end != 0 ]; then echo "@tagout-tool $1=absent"; return; fi
  bounded "$3" "said.$4"; end=$?
  if grep -q -F "$W" "said.$4"; then echo "@tagout-tool $1=works"; return; fi
  if [ $end = 124 ] || [ $end = 137 ]; then echo "@tagout-tool $1=it did not end within $S s"; return; fi
  echo "@tagout-tool $1=ended with $end: $(grep -a . "said.$4" | tail -n 1 | cut -c1-300)"
}
"#;

/// Tries every tool at each level that can be raised here.
#[must_use]
pub(super) fn command(json: bool) -> Outcome {
    let levels: Vec<(Level, Result<Tools, String>)> = [Level::A, Level::B, Level::C]
        .into_iter()
        .map(|level| (level, at(level)))
        .collect();
    if json {
        let told: serde_json::Map<String, serde_json::Value> = levels
            .iter()
            .map(|(level, tools)| {
                let value = match tools {
                    Ok(tools) => serde_json::json!({ "tools": tools }),
                    Err(why) => serde_json::json!({ "missing": why }),
                };
                (level.to_string(), value)
            })
            .collect();
        console::answer(&serde_json::json!({ "levels": told }).to_string());
    } else {
        for (level, tools) in &levels {
            console::answer(&words(*level, tools));
        }
    }
    if levels.iter().any(|(_, tools)| tools.is_ok()) {
        Outcome::Clean
    } else {
        Outcome::WallsMissing
    }
}

fn words(level: Level, tools: &Result<Tools, String>) -> String {
    let tools = match tools {
        Ok(tools) => tools,
        Err(why) => return format!("level {level}: not tried: {why}"),
    };
    let mut text = format!("level {level}:");
    let mut absent = Vec::new();
    for (name, state) in tools {
        match state {
            State::Works => text.push_str(&format!("\n  {name}: works")),
            State::Fails { why } => text.push_str(&format!("\n  {name}: fails: {why}")),
            State::NotInstalled => absent.push(name.as_str()),
        }
    }
    if !absent.is_empty() {
        text.push_str(&format!("\n  not installed: {}", absent.join(", ")));
    }
    text
}

fn at(level: Level) -> Result<Tools, String> {
    let failed = |error: &dyn std::error::Error| causes(error);
    let scratch = Scratch::new().map_err(|error| failed(&error))?;
    let origin = Origin::start().map_err(|error| failed(&error))?;
    let folder = scratch.path().join("work");
    for (name, text) in FILES {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap_or(&folder))
            .and_then(|()| std::fs::write(&path, text))
            .map_err(|error| failed(&error))?;
    }
    let setup = setup(&origin, scratch.path()).map_err(|error| failed(&error))?;
    let mut egress = process::spawn(&setup, scratch.path()).map_err(|error| failed(&error))?;
    let door = egress.take_door();
    let mut plan = launch::plan(Wanted {
        policy: &Policy::default(),
        level: Some(level),
        workspace: Workspace::Copy { path: folder },
        commands: vec![Command {
            argv: vec!["/bin/sh".to_owned(), "-c".to_owned(), script(&origin)],
            wall_time_ms: Some(LEVEL_MS_MAX),
            environment: Vec::new(),
        }],
        network: egress.network(DOOR_FD),
        bound_output: false,
    });
    plan.limits.wall_time_ms = LEVEL_MS_MAX;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| failed(&error))?;
    let mut tools = Tools::new();
    let heard = |_, line: &str| hear(line, &mut tools);
    let raised = inside::raise(&plan, door, None, OUTPUT_BYTES_MAX, heard);
    let ended = runtime.block_on(raised).map_err(|error| failed(&error))?;
    if ended.report.level.is_none() {
        return Err(ended.report.missing.join("; "));
    }
    egress.finish().map_err(|error| failed(&error))?;
    for tool in TOOLS {
        tools
            .entry(tool.name.to_owned())
            .or_insert_with(|| State::Fails {
                why: format!("not tried within {} s", LEVEL_MS_MAX / 1000),
            });
    }
    Ok(tools)
}

/// One rule: the server's name and port, reading only.
fn setup(origin: &Origin, folder: &Path) -> Result<EgressSetup, EgressError> {
    let ca = folder.join("origin.pem");
    std::fs::write(&ca, origin.ca()).map_err(|cause| EgressError::File {
        path: ca.clone(),
        cause,
    })?;
    let port = origin.address().port();
    let rule = Rule {
        host: HostPattern::Exact(origin::NAME.to_owned()),
        ports: vec![port],
        methods: vec!["GET".to_owned(), "HEAD".to_owned()],
        paths: Vec::new(),
        tls: TlsMode::Inspect,
        private: true,
        auth: AuthMode::Strip,
        websocket: false,
        credential: None,
        kind: RuleKind::Listed,
        at: Place {
            file: "tagout doctor --tools".into(),
            line: 1,
            column: 1,
        },
    };
    let rules = Rules {
        allow: vec![rule],
        ..Rules::default()
    };
    EgressSetup::new("tagout doctor --tools", rules)
        .with_resolve(&[format!("{}:{port}:127.0.0.1", origin::NAME)])?
        .with_roots(Some(ca), None)
        .with_proxy(Proxy::of_run())
}

/// All tools in a few lanes side by side, one after another in each. Only the script knows the server's word.
fn script(origin: &Origin) -> String {
    let url = format!("https://{}:{}", origin::NAME, origin.address().port());
    let word = origin.word();
    let mut script =
        format!("export U={url}\nW={word} S={TOOL_SECONDS_MAX} K={KILL_SECONDS}\n{PREAMBLE}");
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
    for lane in 0..LANES {
        script.push_str("{ ");
        for (number, tool) in TOOLS.iter().enumerate().skip(lane).step_by(LANES) {
            let (name, there, run) = (quoted(tool.name), quoted(tool.there), quoted(tool.run));
            script.push_str(&format!("try {name} {there} {run} {number}\n"));
        }
        script.push_str("} &\n");
    }
    script.push_str("wait\n");
    script
}

fn hear(line: &str, tools: &mut Tools) {
    let told = line
        .strip_prefix(MARK)
        .and_then(|rest| rest.split_once('='))
        .filter(|(name, _)| TOOLS.iter().any(|tool| tool.name == *name));
    let Some((name, end)) = told else {
        return;
    };
    let state = match end {
        "works" => State::Works,
        "absent" => State::NotInstalled,
        why => State::Fails {
            why: sanitize::log_line(why).to_string(),
        },
    };
    tools.insert(name.to_owned(), state);
}
