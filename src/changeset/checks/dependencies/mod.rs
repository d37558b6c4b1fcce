//! What a project pulls in: manifests, lock files and the settings of package managers.
//! It must never be silent about a file that decides what is pulled in, even where it cannot read its form.

mod popular;
mod read;

use std::collections::{BTreeMap, BTreeSet};

use self::read::{Contents, Dependency};
use super::{Known, mend};
use crate::changeset::change::{Blob, Change, Changeset, Operation};
use crate::changeset::finding::{Code, Finding, Severity, shown};
use crate::policy::model::Dependencies;

/// Most names that one finding lists.
const NAMES_LISTED_MAX: usize = 10;

/// File names in lower case, and whose they are.
const MANIFESTS: &[(&str, &str)] = &[
    ("cargo.toml", "Cargo"),
    ("cargo.lock", "Cargo"),
    ("build.rs", "Cargo"),
    ("rust-toolchain", "rustup"),
    ("rust-toolchain.toml", "rustup"),
    ("package.json", "npm"),
    ("package-lock.json", "npm"),
    ("npm-shrinkwrap.json", "npm"),
    ("yarn.lock", "Yarn"),
    ("pnpm-lock.yaml", "pnpm"),
    ("pnpm-workspace.yaml", "pnpm"),
    ("bun.lock", "Bun"),
    ("bun.lockb", "Bun"),
    ("deno.json", "Deno"),
    ("deno.lock", "Deno"),
    ("binding.gyp", "npm"),
    ("pyproject.toml", "Python"),
    ("setup.py", "Python"),
    ("setup.cfg", "Python"),
    ("pipfile", "Python"),
    ("pipfile.lock", "Python"),
    ("poetry.lock", "Python"),
    ("uv.lock", "Python"),
    ("pdm.lock", "Python"),
    ("environment.yml", "conda"),
    ("pip.conf", "Python"),
    ("go.mod", "Go"),
    ("go.sum", "Go"),
    ("go.work", "Go"),
    ("go.work.sum", "Go"),
    ("pom.xml", "Maven"),
    ("build.gradle", "Gradle"),
    ("build.gradle.kts", "Gradle"),
    ("settings.gradle", "Gradle"),
    ("settings.gradle.kts", "Gradle"),
    ("gradle.lockfile", "Gradle"),
    ("libs.versions.toml", "Gradle"),
    ("verification-metadata.xml", "Gradle"),
    ("gradle-wrapper.properties", "Gradle"),
    ("gradle.properties", "Gradle"),
    ("gemfile", "RubyGems"),
    ("gemfile.lock", "RubyGems"),
    ("packages.config", "NuGet"),
    ("packages.lock.json", "NuGet"),
    ("nuget.config", "NuGet"),
    ("directory.packages.props", "NuGet"),
    ("directory.build.props", "NuGet"),
    ("directory.build.targets", "NuGet"),
    ("composer.json", "Composer"),
    ("composer.lock", "Composer"),
    ("mix.exs", "Hex"),
    ("mix.lock", "Hex"),
    ("pubspec.yaml", "pub"),
    ("pubspec.lock", "pub"),
    ("package.swift", "SwiftPM"),
    ("package.resolved", "SwiftPM"),
    ("podfile", "CocoaPods"),
    ("podfile.lock", "CocoaPods"),
    ("flake.nix", "Nix"),
    ("flake.lock", "Nix"),
    ("module.bazel", "Bazel"),
    ("workspace.bazel", "Bazel"),
    ("conanfile.txt", "Conan"),
    ("conanfile.py", "Conan"),
    ("vcpkg.json", "vcpkg"),
    ("dockerfile", "Docker"),
    ("containerfile", "Docker"),
    ("chart.yaml", "Helm"),
    ("chart.lock", "Helm"),
];

/// Endings in lower case.
const ENDINGS: &[(&str, &str)] = &[
    (".csproj", "NuGet"),
    (".fsproj", "NuGet"),
    (".vbproj", "NuGet"),
    (".gemspec", "RubyGems"),
    (".cabal", "Cabal"),
    (".podspec", "CocoaPods"),
    (".rockspec", "LuaRocks"),
];

/// Whose manifest a path is.
fn owner(path: &str) -> Option<&'static str> {
    let lower = path.to_lowercase();
    let name = lower.rsplit('/').next().unwrap_or(&lower);
    let listed = MANIFESTS.iter().find(|(manifest, _)| *manifest == name);
    let ended = || ENDINGS.iter().find(|(ending, _)| name.ends_with(ending));
    let requirements = name.starts_with("requirements") && name.ends_with(".txt")
        || lower.contains("requirements/") && name.ends_with(".txt");
    listed
        .or_else(ended)
        .map(|(_, owner)| *owner)
        .or_else(|| {
            (requirements || name.starts_with("constraints") && name.ends_with(".txt"))
                .then_some("Python")
        })
        .or_else(|| {
            (name.starts_with("dockerfile.") || name.ends_with(".dockerfile")).then_some("Docker")
        })
}

/// Findings about one path.
pub(super) fn one(change: &Change, policy: Dependencies, findings: &mut Vec<Finding>) {
    let path = change.path().as_str();
    let Some(owner) = owner(path) else {
        return;
    };
    let Some(severity) = severity(policy) else {
        return;
    };
    let mut add = |code: Code, message: String| {
        let mut finding = Finding::new(code, message).severity(severity).at(path);
        if severity == Severity::Block {
            finding = finding.mend(mend::DEPENDENCIES);
        }
        findings.push(finding);
    };
    let what = match change.operation() {
        Operation::Add => "is new",
        Operation::Modify => "is changed",
        Operation::Delete => "is deleted",
    };
    add(
        Code::DependencyChanged,
        format!("a file by which {owner} decides what is built or pulled in {what}"),
    );
    if let (Some(old), Some(new)) = (contents(change, Side::Old), contents(change, Side::New)) {
        let is_first_lock = is_lock(change.path().file_name()) && old.dependencies.is_empty();
        let only = is_first_lock.then(|| only_place(&new)).flatten();
        compare(owner, &old, &new, only.as_deref(), &mut add);
    }
}

fn is_lock(name: &str) -> bool {
    LOCKS.iter().any(|(_, locks)| locks.contains(&name))
}

fn severity(policy: Dependencies) -> Option<Severity> {
    match policy {
        Dependencies::Block => Some(Severity::Block),
        Dependencies::Review => Some(Severity::Review),
        Dependencies::Allow => None,
    }
}

#[derive(Clone, Copy)]
enum Side {
    Old,
    New,
}

fn contents(change: &Change, side: Side) -> Option<Contents> {
    let name = change.path().file_name().to_lowercase();
    let blob = match side {
        Side::Old => change.old_content(),
        Side::New => change.content(),
    };
    let text = std::str::from_utf8(blob.map_or(&b""[..], Blob::bytes)).ok()?;
    read::read(&name, text)
}

/// `only` is the one place that a first lock file names: there is nothing before it to hold it against.
fn compare(
    owner: &str,
    old: &Contents,
    new: &Contents,
    only: Option<&str>,
    add: &mut impl FnMut(Code, String),
) {
    let names = |contents: &Contents| -> BTreeSet<String> {
        contents
            .dependencies
            .iter()
            .map(|dependency| dependency.name.clone())
            .collect()
    };
    let (before, after) = (names(old), names(new));
    let fresh: Vec<&String> = after.difference(&before).collect();
    if !fresh.is_empty() {
        let from = only.map_or(String::new(), |place| {
            format!("; all that has a place comes from {}", shown(place))
        });
        add(
            Code::DependencyAdded,
            format!("new: {}{from}", listed(&fresh)),
        );
    }
    for name in fresh {
        if let Some(popular) = popular::looks_like(owner, name) {
            let name = shown(name);
            add(
                Code::DependencyLookAlike,
                format!("{name} looks like {popular}, a popular name"),
            );
        }
    }
    places(old, new, only, add);
    sums(old, new, add);
    for (name, script) in new.scripts.difference(&old.scripts) {
        let (name, script) = (shown(name), shown(script));
        add(
            Code::DependencyScript,
            format!("it runs at install: {name} {script}"),
        );
    }
}

fn listed(names: &[&String]) -> String {
    let mut text = names
        .iter()
        .take(NAMES_LISTED_MAX)
        .map(|name| shown(name))
        .collect::<Vec<_>>()
        .join(", ");
    if names.len() > NAMES_LISTED_MAX {
        text.push_str(&format!(" and {} more", names.len() - NAMES_LISTED_MAX));
    }
    text
}

/// The host of an address, with its path where it is a registry, of which one host may serve many; or the whole of it where it is of another kind: a git address, a path, a replacement.
fn host(place: &str) -> String {
    let before = |rest: &str, ends: &[char]| rest.split(ends).next().unwrap_or(rest).to_lowercase();
    if let Some(rest) = place.strip_prefix("registry+https://") {
        return before(rest, &['?', '#']);
    }
    match place.strip_prefix("https://") {
        Some(rest) => before(rest, &['/', '?', '#']),
        None => place.to_owned(),
    }
}

/// Hosts, git addresses and paths that a file names, each with one of those that come from there.
fn named_places(contents: &Contents) -> BTreeMap<String, String> {
    let dependencies = contents.dependencies.iter().filter_map(|dependency| {
        let place = dependency.place.as_deref()?;
        Some((host(place), dependency.name.clone()))
    });
    let registries = contents
        .registries
        .iter()
        .map(|registry| (host(registry), "a registry".to_owned()));
    dependencies.chain(registries).collect()
}

/// The one host that everything comes from.
fn only_place(contents: &Contents) -> Option<String> {
    let mut places = named_places(contents).into_keys();
    let only = places.next().filter(|_| places.next().is_none())?;
    let is_host = !only.contains("://") && !only.starts_with(['.', '/']);
    is_host.then_some(only)
}

/// A host, git address or path that the file did not use before.
fn places(old: &Contents, new: &Contents, only: Option<&str>, add: &mut impl FnMut(Code, String)) {
    let before = named_places(old);
    for (place, name) in named_places(new) {
        if !before.contains_key(&place) && only != Some(place.as_str()) {
            let (name, place) = (shown(&name), shown(&place));
            add(
                Code::DependencySource,
                format!("{name} comes from {place}, which the file did not use before"),
            );
        }
    }
}

/// The same name and version with another content.
fn sums(old: &Contents, new: &Contents, add: &mut impl FnMut(Code, String)) {
    let known: BTreeMap<(&str, &str), &str> = old
        .dependencies
        .iter()
        .filter_map(|dependency| Some((key(dependency), dependency.sum.as_deref()?)))
        .collect();
    for dependency in &new.dependencies {
        let (name, version) = key(dependency);
        match (known.get(&(name, version)), dependency.sum.as_deref()) {
            (Some(before), Some(after)) if !holds(after, before) => add(
                Code::DependencyChecksum,
                format!(
                    "{} {} has another check sum than before",
                    shown(name),
                    shown(version)
                ),
            ),
            (Some(_), None) => add(
                Code::DependencyChecksum,
                format!("{} {} has lost its check sum", shown(name), shown(version)),
            ),
            (Some(_), Some(_)) | (None, _) => {}
        }
    }
}

/// Whether every sum of before is still there: a registry may get another file of the same version.
fn holds(after: &str, before: &str) -> bool {
    before
        .split_whitespace()
        .all(|sum| after.split_whitespace().any(|other| other == sum))
}

fn key(dependency: &Dependency) -> (&str, &str) {
    (&dependency.name, &dependency.version)
}

/// Manifests, or the ends of their names, and the lock files that belong beside them.
const LOCKS: &[(&str, &[&str])] = &[
    ("Cargo.toml", &["Cargo.lock"]),
    (
        "package.json",
        &[
            "package-lock.json",
            "npm-shrinkwrap.json",
            "yarn.lock",
            "pnpm-lock.yaml",
            "bun.lock",
        ],
    ),
    ("pyproject.toml", &["poetry.lock", "uv.lock", "pdm.lock"]),
    ("Pipfile", &["Pipfile.lock"]),
    ("go.mod", &["go.sum"]),
    ("Gemfile", &["Gemfile.lock"]),
    ("composer.json", &["composer.lock"]),
    ("build.gradle", &["gradle.lockfile"]),
    ("build.gradle.kts", &["gradle.lockfile"]),
    (".csproj", &["packages.lock.json"]),
    (".fsproj", &["packages.lock.json"]),
];

/// Manifests that name something new while the lock file beside them stays as it was.
pub(super) fn unlocked(
    changeset: &Changeset,
    policy: Dependencies,
    known: Known<'_>,
    findings: &mut Vec<Finding>,
) {
    let Some(severity) = severity(policy) else {
        return;
    };
    let changed: BTreeSet<&str> = changeset
        .changes()
        .iter()
        .map(|change| change.path().as_str())
        .collect();
    for change in changeset.changes() {
        let path = change.path().as_str();
        let folder = path
            .strip_suffix(change.path().file_name())
            .unwrap_or_default();
        let Some((_, locks)) = LOCKS.iter().find(|(manifest, _)| {
            let name = change.path().file_name();
            *manifest == name || manifest.starts_with('.') && name.ends_with(manifest)
        }) else {
            continue;
        };
        let (Some(old), Some(new)) = (contents(change, Side::Old), contents(change, Side::New))
        else {
            continue;
        };
        let lock = locks
            .iter()
            .map(|lock| format!("{folder}{lock}"))
            .find(|lock| known.base_paths.contains(lock) && !changed.contains(lock.as_str()));
        if let Some(lock) = lock.filter(|_| old.dependencies != new.dependencies) {
            findings.push(
                Finding::new(
                    Code::DependencyUnlocked,
                    format!("what it demands is changed, and {} is not", shown(&lock)),
                )
                .severity(severity)
                .at(path),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_are_known_at_every_depth_and_case() {
        for path in [
            "Cargo.toml",
            "a/b/package.json",
            "requirements-dev.txt",
            "requirements/base.txt",
            "x.csproj",
            "Dockerfile.prod",
            "GEMFILE",
        ] {
            assert!(owner(path).is_some(), "{path}");
        }
        for path in [
            "src/cargo.rs",
            "docs/requirements.md",
            "package.json.md",
            "notes.txt",
        ] {
            assert!(owner(path).is_none(), "{path}");
        }
    }
}
