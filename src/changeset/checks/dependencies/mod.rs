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
        compare(&old, &new, &mut add);
    }
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

fn compare(old: &Contents, new: &Contents, add: &mut impl FnMut(Code, String)) {
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
        add(Code::DependencyAdded, format!("new: {}", listed(&fresh)));
    }
    for name in fresh {
        if let Some(popular) = popular::looks_like(name) {
            let name = shown(name);
            add(
                Code::DependencyLookAlike,
                format!("{name} looks like {popular}, a popular name"),
            );
        }
    }
    places(old, new, add);
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

/// The host of an address, or the whole of it where it is of another kind: a git address, a path, a replacement.
fn host(place: &str) -> String {
    let is_plain = place.starts_with("https://") || place.starts_with("registry+https://");
    match place.split_once("://") {
        Some((_, rest)) if is_plain => rest
            .split(['/', '?', '#'])
            .next()
            .unwrap_or(rest)
            .to_lowercase(),
        Some(_) | None => place.to_owned(),
    }
}

/// A host, git address or path that the file did not use before.
fn places(old: &Contents, new: &Contents, add: &mut impl FnMut(Code, String)) {
    let hosts = |contents: &Contents| -> BTreeMap<String, String> {
        let dependencies = contents.dependencies.iter().filter_map(|dependency| {
            let place = dependency.place.as_deref()?;
            Some((host(place), dependency.name.clone()))
        });
        let registries = contents
            .registries
            .iter()
            .map(|registry| (host(registry), "a registry".to_owned()));
        dependencies.chain(registries).collect()
    };
    let (before, after) = (hosts(old), hosts(new));
    // A first lock file has no place that could be compared, but one that is not a registry's is still told.
    let is_first = old.dependencies.is_empty();
    for (place, name) in &after {
        let is_known = is_first && is_home(place);
        if !before.contains_key(place) && !is_known {
            let (name, place) = (shown(name), shown(place));
            add(
                Code::DependencySource,
                format!("{name} comes from {place}, which the file did not use before"),
            );
        }
    }
}

/// The public registries' own hosts.
fn is_home(host: &str) -> bool {
    matches!(
        host,
        "github.com/rust-lang/crates.io-index"
            | "registry+https://github.com/rust-lang/crates.io-index"
            | "github.com"
            | "registry.npmjs.org"
            | "registry.yarnpkg.com"
            | "pypi.org"
            | "files.pythonhosted.org"
            | "rubygems.org"
            | "api.github.com"
            | "repo.maven.apache.org"
            | "proxy.golang.org"
            | "index.crates.io"
    )
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
            (Some(before), Some(after)) if *before != after => add(
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

fn key(dependency: &Dependency) -> (&str, &str) {
    (&dependency.name, &dependency.version)
}

/// Manifests and the lock files that belong beside them.
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
        let Some((_, locks)) = LOCKS
            .iter()
            .find(|(manifest, _)| *manifest == change.path().file_name())
        else {
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
