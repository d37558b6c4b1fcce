//! What a project pulls in: manifests, lock files and the settings of package managers.

use super::mend;
use crate::changeset::change::{Change, Operation};
use crate::changeset::finding::{Code, Finding, Severity};
use crate::policy::model::Dependencies;

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
    let severity = match policy {
        Dependencies::Block => Severity::Block,
        Dependencies::Review => Severity::Review,
        Dependencies::Allow => return,
    };
    let what = match change.operation() {
        Operation::Add => "is new",
        Operation::Modify => "is changed",
        Operation::Delete => "is deleted",
    };
    let mut finding = Finding::new(
        Code::DependencyChanged,
        format!("a file by which {owner} decides what is built or pulled in {what}"),
    )
    .severity(severity)
    .at(path);
    if severity == Severity::Block {
        finding = finding.mend(mend::DEPENDENCIES);
    }
    findings.push(finding);
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
