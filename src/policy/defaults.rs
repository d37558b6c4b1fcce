//! What holds when a policy says nothing: the values of `policies/default.yml`, which a test compares with these.
//! It must never allow a host, a write outside of the workspace or a run that no human released.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::model::{
    Agent, AgentKind, Approval, Changes, Dependencies, Enforced, Environment, Filesystem, Limits,
    Network, NetworkMode, OnBinary, OnProtected, Place, Policy, PullRequest, Triggers,
};
use crate::names::{Level, Permission};

/// The name that stands for a file in the places of a policy that has none.
pub const NO_FILE: &str = "built-in default policy";

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Globs that a change may not touch by default: every dot-path at any depth, who owns code, and what runs by itself
/// when a folder is opened, entered, checked out, installed, built, deployed, or read by an agent at its start.
pub const PROTECT: &[&str] = &[
    // Every dot-path at any depth: CI, editors, hooks, container definitions, direnv, agents' settings, registries.
    "**/.*",
    "**/.*/**",
    // Who must review.
    "**/CODEOWNERS",
    // Instructions that agents take as orders at their start.
    "**/AGENTS.md",
    "**/AGENTS.override.md",
    "**/CLAUDE.md",
    "**/CLAUDE.local.md",
    "**/GEMINI.md",
    "**/QWEN.md",
    "**/CONVENTIONS.md",
    "**/llms.txt",
    // Other CI and deployment.
    "**/action.yml",
    "**/action.yaml",
    "**/Jenkinsfile",
    "**/azure-pipelines.yml",
    "**/azure-pipelines.yaml",
    "**/bitbucket-pipelines.yml",
    "**/appveyor.yml",
    "**/cloudbuild.yaml",
    "**/cloudbuild.yml",
    "**/buildspec.yml",
    "**/wercker.yml",
    "**/netlify.toml",
    "**/vercel.json",
    "**/render.yaml",
    "**/fly.toml",
    "**/Procfile",
    "**/app.json",
    "**/skaffold.yaml",
    "**/Tiltfile",
    "**/Vagrantfile",
    // Hooks by other names.
    "**/lefthook.yml",
    "**/lefthook.yaml",
    "**/lefthook.toml",
    "**/lefthook-local.yml",
    "**/captain.json",
    // On install or at the start of a tool.
    "**/npm-shrinkwrap.json",
    "**/pnpmfile.cjs",
    "**/sitecustomize.py",
    "**/usercustomize.py",
    "**/pip.conf",
    "**/mise.toml",
    "**/devbox.json",
];

impl Default for Policy {
    fn default() -> Self {
        Self {
            bases: Vec::new(),
            triggers: Triggers {
                command: "/tagout".to_owned(),
                permission: Permission::Write,
                bots: Vec::new(),
                schedule_owner: None,
            },
            tasks: BTreeMap::new(),
            agent: Agent {
                kind: AgentKind::Builtin,
                command: Vec::new(),
                model: None,
                turns: 60,
                tokens: 500_000,
                wall_time: Duration::from_secs(20 * 60),
            },
            setup: Vec::new(),
            filesystem: Filesystem {
                read: Vec::new(),
                write: Vec::new(),
                read_only: vec![".github".to_owned(), ".git".to_owned()],
                deny: vec![".env".to_owned()],
            },
            environment: Environment {
                pass: vec!["LANG".to_owned()],
                set: BTreeMap::new(),
            },
            network: Network::default(),
            require: Level::C,
            limits: Limits {
                memory_bytes: 4 * GIB,
                processes: 1024,
                cpu_time: None,
                file_bytes: GIB,
                disk_bytes: 8 * GIB,
                output_bytes: 16 * MIB,
                wall_time: Duration::from_secs(30 * 60),
            },
            changes: Changes {
                allow: vec!["**".to_owned()],
                protect: PROTECT.iter().map(|glob| (*glob).to_owned()).collect(),
                on_protected: OnProtected::Block,
                dependencies: Dependencies::Review,
                files: 100,
                bytes: 4 * MIB,
                file_bytes: MIB,
                binary: OnBinary::Block,
            },
            verify: Vec::new(),
            pull_request: PullRequest {
                branch_prefix: "tagout/".to_owned(),
                labels: Vec::new(),
                reviewers: Vec::new(),
            },
            approval: Approval {
                required: 1,
                permission: Permission::Write,
                context: "tagout/approval".to_owned(),
                enforced: Enforced::Report,
            },
        }
    }
}

impl Default for Network {
    fn default() -> Self {
        Self {
            mode: NetworkMode::Enforce,
            allow: Vec::new(),
            at: Place {
                file: Arc::from(NO_FILE),
                line: 1,
                column: 1,
            },
            registries: Vec::new(),
            requests: 5000,
            upload_bytes: MIB,
            url_bytes: 2 * KIB,
        }
    }
}
