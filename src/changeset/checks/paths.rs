//! Where a change reaches: protected and forbidden paths, links, modes, names that collide.

use std::collections::BTreeMap;

use unicode_normalization::UnicodeNormalization as _;

use super::globs::{Globs, folded};
use super::{Known, mend};
use crate::changeset::change::{Change, Changeset, FileMode, Operation};
use crate::changeset::finding::{Code, Finding, Severity};
use crate::changeset::path::fold;
use crate::policy::model::{OnProtected, Policy};

/// Most links that are followed; Linux itself stops at 40.
const LINKS_MAX: usize = 40;

/// The path lists of a policy, read once.
pub(super) struct Lists {
    allow: Globs,
    protect: Globs,
    walled: Globs,
    on_protected: Severity,
}

impl Lists {
    /// Reads the lists; a glob that cannot be read is returned as a finding.
    pub(super) fn new(policy: &Policy) -> Result<Self, Finding> {
        let read = |key: &str, globs: &[String]| {
            Globs::new(globs).map_err(|glob| {
                Finding::new(
                    Code::NotAllowedPath,
                    format!("the pattern {glob:?} of {key} cannot be read"),
                )
            })
        };
        let walled: Vec<String> = policy
            .filesystem
            .read_only
            .iter()
            .chain(&policy.filesystem.deny)
            .cloned()
            .collect();
        Ok(Self {
            allow: read("changes.allow", &policy.changes.allow)?,
            protect: read("changes.protect", &policy.changes.protect)?,
            walled: read("filesystem.read-only", &walled)?,
            on_protected: match policy.changes.on_protected {
                OnProtected::Block => Severity::Block,
                OnProtected::RequestChanges => Severity::Review,
            },
        })
    }

    fn why_protected(&self, path: &str, known: Known<'_>) -> Option<String> {
        if let Some(glob) = self.protect.covering(path) {
            return Some(format!("changes.protect names {glob}"));
        }
        let name = folded(path);
        known.run_by_workflows.iter().find_map(|script| {
            let script = folded(script);
            (name == script || name.starts_with(&format!("{script}/")))
                .then(|| "a workflow of the base commit runs it".to_owned())
        })
    }
}

/// Links of the change with what they mean, to follow one through another.
pub(super) fn links(changeset: &Changeset) -> BTreeMap<String, Option<String>> {
    changeset
        .changes()
        .iter()
        .filter(|change| change.mode() == Some(FileMode::Symlink))
        .map(|change| {
            let path = change.path().as_str();
            let target = change.content().map_or(&b""[..], |blob| blob.bytes());
            let meant = std::str::from_utf8(target)
                .ok()
                .and_then(|target| resolve(path, target));
            (path.to_owned(), meant)
        })
        .collect()
}

/// Findings about one path.
pub(super) fn one(
    change: &Change,
    lists: &Lists,
    links: &BTreeMap<String, Option<String>>,
    known: Known<'_>,
    findings: &mut Vec<Finding>,
) {
    let path = change.path().as_str();
    let mut add = |finding: Finding| findings.push(finding.at(path));
    if let Some(why) = lists.why_protected(path, known) {
        add(
            Finding::new(Code::ProtectedPath, format!("the path is protected: {why}"))
                .severity(lists.on_protected)
                .mend(mend::ON_PROTECTED),
        );
    } else if let Some(glob) = lists.walled.covering(path) {
        add(Finding::new(
            Code::ReadOnlyPath,
            format!("{glob} of filesystem.read-only or filesystem.deny names the path"),
        )
        .mend("filesystem.read-only"));
    }
    if lists.allow.covering(path).is_none() {
        add(
            Finding::new(Code::NotAllowedPath, "changes.allow does not name the path")
                .mend(format!("changes.allow: [{path:?}]")),
        );
    }
    if is_workflow(path) {
        add(Finding::new(
            Code::WorkflowChanged,
            "a workflow or action of CI is changed",
        ));
    }
    if path.contains(['<', '>', '"', '|', '?', '*']) && change.operation() == Operation::Add {
        add(Finding::new(
            Code::PathWindowsCharacter,
            "Windows cannot write the name, so that a checkout fails there",
        ));
    }
    mode(change, &mut add);
    if change.mode() == Some(FileMode::Symlink) {
        link(change, lists, links, known, &mut add);
    }
}

fn is_workflow(path: &str) -> bool {
    let path = folded(path);
    path.starts_with(".github/workflows/")
        || path.starts_with(".github/actions/")
        || matches!(path.rsplit('/').next(), Some("action.yml" | "action.yaml"))
}

fn mode(change: &Change, add: &mut impl FnMut(Finding)) {
    match (change.old_mode(), change.mode()) {
        (None | Some(FileMode::Regular), Some(FileMode::Executable)) => {
            add(Finding::new(
                Code::ModeChanged,
                "the file is executable now",
            ));
        }
        (Some(FileMode::Executable), Some(FileMode::Regular)) => {
            add(Finding::new(
                Code::ModeChanged,
                "the file is no longer executable",
            ));
        }
        (Some(FileMode::Symlink), Some(FileMode::Regular | FileMode::Executable)) => add(
            Finding::new(Code::SymlinkChanged, "a link is replaced by a file"),
        ),
        (Some(FileMode::Executable), Some(FileMode::Executable))
        | (None | Some(FileMode::Regular), Some(FileMode::Regular))
        | (_, Some(FileMode::Symlink) | None) => {}
    }
}

fn link(
    change: &Change,
    lists: &Lists,
    links: &BTreeMap<String, Option<String>>,
    known: Known<'_>,
    add: &mut impl FnMut(Finding),
) {
    let meant = links.get(change.path().as_str()).cloned().flatten();
    let Some(resolved) = meant.and_then(|meant| follow(meant, links)) else {
        add(Finding::new(
            Code::SymlinkOutside,
            "the link points out of the repository, in a circle, or to a name that is not UTF-8",
        ));
        return;
    };
    let in_git = resolved
        .split('/')
        .any(|part| matches!(fold(part).as_str(), ".git" | "git~1"));
    let why = if in_git {
        Some("it is git's own folder".to_owned())
    } else {
        lists.why_protected(&resolved, known).or_else(|| {
            lists
                .walled
                .covering(&resolved)
                .map(|glob| format!("{glob} of filesystem.read-only or filesystem.deny names it"))
        })
    };
    match why {
        Some(why) => add(Finding::new(
            Code::SymlinkProtected,
            format!("the link points to a protected path: {why}"),
        )),
        None => add(Finding::new(
            Code::SymlinkChanged,
            "the link is new or points elsewhere",
        )),
    }
}

/// The path behind the other links of the change; none if it leaves the repository or comes back to itself.
fn follow(mut path: String, links: &BTreeMap<String, Option<String>>) -> Option<String> {
    for _ in 0..LINKS_MAX {
        let through = prefixes(&path).find_map(|part| Some((part.len(), links.get(part)?)));
        let Some((length, meant)) = through else {
            return Some(path);
        };
        let rest = path
            .get(length..)
            .unwrap_or_default()
            .trim_start_matches('/');
        path = match (meant.as_deref()?, rest) {
            ("", rest) => rest.to_owned(),
            (meant, "") => meant.to_owned(),
            (meant, rest) => format!("{meant}/{rest}"),
        };
    }
    None
}

/// The path that a link means, from the root of the repository; none if it leaves it or holds what no name may hold.
fn resolve(link: &str, target: &str) -> Option<String> {
    if target.is_empty()
        || target.starts_with('/')
        || target
            .chars()
            .any(|c| c.is_control() || matches!(c, '\\' | ':'))
    {
        return None;
    }
    let mut parts: Vec<&str> = link.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            _ => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Names that differ only in case, hidden characters or composition, within the change and against the base commit.
pub(super) fn collisions(changeset: &Changeset, known: Known<'_>, findings: &mut Vec<Finding>) {
    let gone: Vec<&str> = changeset
        .changes()
        .iter()
        .filter(|change| change.operation() == Operation::Delete)
        .map(|change| change.path().as_str())
        .collect();
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    for path in known
        .base_paths
        .iter()
        .filter(|path| !gone.contains(&path.as_str()))
    {
        for part in prefixes(path) {
            seen.insert(comparable(part), part.to_owned());
        }
    }
    for change in changeset.changes() {
        if change.operation() == Operation::Delete {
            continue;
        }
        let path = change.path().as_str();
        for part in prefixes(path) {
            let key = comparable(part);
            match seen.get(&key) {
                Some(other) if other != part => {
                    findings.push(
                        Finding::new(
                            Code::PathCaseCollision,
                            format!("on Windows and macOS the name is the same as {other:?}"),
                        )
                        .at(path),
                    );
                    break;
                }
                Some(_) => {}
                None => {
                    seen.insert(key, part.to_owned());
                }
            }
        }
    }
}

/// The path and every folder above it.
fn prefixes(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/')
        .map(|(at, _)| at)
        .chain(std::iter::once(path.len()))
        .filter_map(|at| path.get(..at))
}

fn comparable(path: &str) -> String {
    folded(&path.nfc().collect::<String>()).nfc().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_is_resolved_from_its_own_folder() {
        assert_eq!(resolve("a/b/l", "../c").as_deref(), Some("a/c"));
        assert_eq!(resolve("l", "x/./y").as_deref(), Some("x/y"));
        assert_eq!(resolve("a/l", "../../etc"), None);
        assert_eq!(resolve("l", "/etc"), None);
        assert_eq!(resolve("l", "c:\\x"), None);
    }

    #[test]
    fn composed_and_decomposed_names_are_the_same() {
        assert_eq!(comparable("Caf\u{e9}"), comparable("cafe\u{301}"));
        assert_ne!(comparable("a"), comparable("b"));
    }
}
