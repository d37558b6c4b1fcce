//! `network.registries`: asks the tools of this runner which registries they are configured to use, and makes rules of it.
//! A repository must never have a say: tools are asked inside the walls, in an empty folder, without network or secrets.
//!
//! `tools` is the table of questions, `ask` puts one, `pointers` follows an index to its files, `inside` is what the tools
//! of the run are told.

mod ask;
mod inside;
mod pointers;
mod tools;

use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use self::ask::{Heard, Room};
use super::egress::error::EgressError;
use super::egress::fetch;
use super::egress::setup::EgressSetup;
use crate::names::Level;
use crate::policy::model::{HostPattern, Network, Policy, Registry, Rule};
use crate::policy::registry::{self, Part, Tool, Unfit};
use crate::policy::words::Word as _;

/// A place that a tool named.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Told {
    part: Part,
    url: String,
}

/// What is asked, and where.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// Its file, as the user knows it.
    pub policy_file: &'a str,
    /// The level of the walls, if one was asked for.
    pub level: Option<Level>,
    /// Folders of repositories, from which no configuration is taken.
    pub repositories: &'a [PathBuf],
    /// Fixed addresses, `HOST:PORT:ADDR`.
    pub resolve: &'a [String],
    /// A private folder for the process that reads the indices; without one they are not read.
    pub folder: Option<&'a Path>,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Resolved {
    /// The rules, for the end of `network.allow`.
    pub rules: Vec<Rule>,
    /// What each tool named, for report and journal.
    pub found: Vec<Found>,
    /// Files below HOME by which the tools inside use the same.
    pub home: Vec<(String, String)>,
}

/// What one tool named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Found {
    /// The tool.
    pub tool: &'static str,
    /// Hosts, with the port where it is not 443.
    pub hosts: Vec<String>,
    /// What the reader should know beside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hosts = match self.hosts.as_slice() {
            [] => "no host".to_owned(),
            hosts => hosts.join(", "),
        };
        write!(f, "{} reads {hosts}", self.tool)?;
        match &self.note {
            Some(note) => write!(f, " ({note})"),
            None => Ok(()),
        }
    }
}

/// Why the registries are not known. Nothing runs then: a policy that is silently narrower helps nobody either.
#[derive(Debug, thiserror::Error)]
pub enum RegistriesError {
    /// A question could not be put.
    #[error("cannot ask {tool} for its registry: {cause}")]
    Ask {
        /// The tool.
        tool: &'static str,
        /// Why.
        cause: io::Error,
    },
    /// The walls in which it would be asked cannot be raised.
    #[error("walls-missing: {tool} is asked for its registry only inside the walls: {why}")]
    NoWalls {
        /// The tool.
        tool: &'static str,
        /// Why not.
        why: String,
    },
    /// It named nothing.
    #[error(
        "registry-unknown: {at}: {tool} does not say which registry it is configured to use; name the host under network.allow and leave {tool} out of network.registries"
    )]
    Silent {
        /// `file:line`.
        at: String,
        /// The tool.
        tool: &'static str,
    },
    /// It named what makes no rule.
    #[error(
        "registry-unfit: {at}: {tool} is configured to use {host}, and {why}; name the host under network.allow, with `private: true` if it is a mirror of your own network"
    )]
    Unfit {
        /// `file:line`.
        at: String,
        /// The tool.
        tool: &'static str,
        /// The host, or what stands for it.
        host: String,
        /// Why.
        why: Unfit,
    },
    /// The process that reads the indices cannot be started.
    #[error("egress-failed: {0}")]
    Egress(#[from] EgressError),
}

/// Asks every tool that the policy lists.
///
/// # Errors
/// A tool that is installed and does not tell, or tells what makes no rule; walls that cannot be raised.
pub fn resolve(wanted: &Wanted<'_>) -> Result<Resolved, RegistriesError> {
    let network = &wanted.policy.network;
    let mut resolved = Resolved::default();
    for registry in &network.registries {
        if registry.tool == Tool::Git {
            resolved.rules.extend(registry::git(network));
            continue;
        }
        one(registry, wanted, &mut resolved)?;
    }
    Ok(resolved)
}

fn one(
    registry: &Registry,
    wanted: &Wanted<'_>,
    resolved: &mut Resolved,
) -> Result<(), RegistriesError> {
    let tool = registry.tool.word();
    let Some(question) = tools::QUESTIONS
        .iter()
        .find(|question| question.tool == registry.tool)
    else {
        return Ok(());
    };
    let room = Room {
        level: wanted.level,
        require: wanted.policy.require,
        never_below: wanted.repositories,
    };
    let heard = ask::ask(question, &room).map_err(|cause| RegistriesError::Ask { tool, cause })?;
    let said = match heard {
        Heard::Said(said) => said,
        Heard::NotInstalled => {
            resolved.found.push(Found {
                tool,
                hosts: Vec::new(),
                note: Some("it is not installed here".to_owned()),
            });
            return Ok(());
        }
        Heard::NoWalls(why) => {
            let why = why.join("; ");
            return Err(RegistriesError::NoWalls { tool, why });
        }
    };
    let mut told = (question.read)(&said);
    told.dedup();
    if told.is_empty() {
        let at = registry.at.to_string();
        return Err(RegistriesError::Silent { at, tool });
    }
    let network = &wanted.policy.network;
    let mut rules = Vec::new();
    for one in &told {
        rules.extend(rules_of(registry, one, network)?);
    }
    let note = files(registry, &told, wanted, &mut rules)?;
    resolved
        .home
        .extend(inside::files(registry.tool, &said, &told));
    resolved.found.push(Found {
        tool,
        hosts: hosts(&rules),
        note,
    });
    resolved.rules.extend(rules);
    Ok(())
}

fn rules_of(
    registry: &Registry,
    told: &Told,
    network: &Network,
) -> Result<Vec<Rule>, RegistriesError> {
    let at = &registry.at;
    registry::rules(registry.tool, told.part, &told.url, network, at).map_err(|why| {
        let url = url::Url::parse(&told.url).ok();
        RegistriesError::Unfit {
            at: at.to_string(),
            tool: registry.tool.word(),
            host: url
                .as_ref()
                .and_then(url::Url::host_str)
                .unwrap_or("something else than a URL")
                .to_owned(),
            why,
        }
    })
}

/// Follows each index to its files and adds their rules; the answer is what could not be known.
fn files(
    registry: &Registry,
    told: &[Told],
    wanted: &Wanted<'_>,
    rules: &mut Vec<Rule>,
) -> Result<Option<String>, RegistriesError> {
    let questions: Vec<fetch::Wanted> = told
        .iter()
        .filter_map(|one| pointers::question(registry.tool, one))
        .collect();
    let Some(folder) = wanted.folder.filter(|_| !questions.is_empty()) else {
        return Ok(None);
    };
    let folder = folder.join(registry.tool.word());
    std::fs::create_dir_all(&folder).map_err(|cause| RegistriesError::Ask {
        tool: registry.tool.word(),
        cause,
    })?;
    let network = Network {
        allow: rules.clone(),
        ..wanted.policy.network.clone()
    };
    let path = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let setup = EgressSetup::new(wanted.policy_file, network)
        .with_resolve(wanted.resolve)?
        .with_roots(path("SSL_CERT_FILE"), path("SSL_CERT_DIR"))
        .with_proxy(super::egress::setup::Proxy::of_run())?;
    let mut unknown = Vec::new();
    for answer in fetch::fetch(&setup, &folder, &questions)?.answers {
        match answer.map(|answer| pointers::files(registry.tool, &answer)) {
            Ok(Some(files)) => match rules_of(registry, &files, &wanted.policy.network) {
                Ok(more) => rules.extend(more),
                Err(error) => unknown.push(error.to_string()),
            },
            Ok(None) => {}
            Err(why) => unknown.push(format!("where its files lie is not known: {why}")),
        }
    }
    Ok((!unknown.is_empty()).then(|| unknown.join("; ")))
}

fn hosts(rules: &[Rule]) -> Vec<String> {
    let mut hosts: Vec<String> = Vec::new();
    for rule in rules {
        let (HostPattern::Exact(name) | HostPattern::Subdomains(name)) = &rule.host else {
            continue;
        };
        let host = match rule.ports.as_slice() {
            [443] => name.clone(),
            [port, ..] => format!("{name}:{port}"),
            [] => continue,
        };
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    hosts
}
