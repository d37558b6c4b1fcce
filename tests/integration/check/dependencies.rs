//! The dependency guard: each ecosystem with an everyday update that passes and each finding that is told.

use super::*;

#[test]
fn dependencies_follow_the_policy() {
    let change = || {
        vec![edit(
            "Cargo.toml",
            "[dependencies]\n",
            "[dependencies]\nserde = \"1\"\n",
        )]
    };
    let mut policy = Policy::default();
    for (rule, expected) in [
        (Dependencies::Review, Some(Severity::Review)),
        (Dependencies::Block, Some(Severity::Block)),
        (Dependencies::Allow, None),
    ] {
        policy.changes.dependencies = rule;
        let found = codes(change(), &policy);
        assert_eq!(
            found.first().map(|(_, severity)| *severity),
            expected,
            "{found:?}"
        );
    }
}

/// Codes about one edited manifest or lock file, without the one that only says that it is changed.
fn edited(name: &str, old: &str, new: &str) -> Vec<&'static str> {
    codes(vec![edit(name, old, new)], &Policy::default())
        .into_iter()
        .map(|(code, _)| code.as_str())
        .filter(|code| code.starts_with("dependency-") && *code != "dependency-changed")
        .collect()
}

/// A manifest or lock file, without and with one more dependency.
const NEW_DEPENDENCIES: &[(&str, &str, &str)] = &[
    (
        "Cargo.toml",
        "[dependencies]\nserde = \"1\"\n",
        "[dependencies]\nserde = \"1\"\nleft-pad = { version = \"2\" }\n",
    ),
    (
        "Cargo.toml",
        "[package]\n",
        "[package]\n[target.'cfg(unix)'.dependencies.left-pad]\nversion = \"2\"\n",
    ),
    (
        "Cargo.lock",
        "",
        "[[package]]\nname = \"left-pad\"\nversion = \"1.0.0\"\nsource = \"registry+https://registry.example/index\"\n",
    ),
    (
        "package.json",
        "{}",
        "{\"devDependencies\": {\"left-pad\": \"^1\"}}",
    ),
    (
        "package-lock.json",
        "{}",
        "{\"packages\": {\"node_modules/left-pad\": {\"version\": \"1\", \"resolved\": \"https://registry.example/x.tgz\"}}}",
    ),
    ("yarn.lock", "", "left-pad@^1.0.0:\n  version \"1.0.0\"\n"),
    (
        "pnpm-lock.yaml",
        "",
        "packages:\n\n  left-pad@1.0.0:\n    resolution: {integrity: sha512-x}\n",
    ),
    (
        "requirements.txt",
        "requests==2\n",
        "requests==2\nleft-pad>=1 # new\n",
    ),
    (
        "pyproject.toml",
        "[project]\n",
        "[project]\ndependencies = [\n  \"left-pad>=1\",\n]\n",
    ),
    (
        "pyproject.toml",
        "",
        "[tool.poetry.dependencies]\nleft-pad = \"^1\"\n",
    ),
    (
        "go.mod",
        "module x\n",
        "module x\nrequire (\n\texample.com/left-pad v1.0.0\n)\n",
    ),
    ("go.sum", "", "example.com/left-pad v1.0.0 h1:abc=\n"),
    (
        "Gemfile.lock",
        "",
        "GEM\n  remote: https://registry.example/\n  specs:\n    left-pad (1.0)\n",
    ),
    (
        "composer.lock",
        "{}",
        "{\"packages\": [{\"name\": \"a/left-pad\", \"version\": \"1\"}]}",
    ),
    (
        "packages.lock.json",
        "{}",
        "{\"dependencies\": {\"net8.0\": {\"Left.Pad\": {\"resolved\": \"1\"}}}}",
    ),
    (
        "build.gradle",
        "",
        "dependencies { implementation 'org.example:left-pad:1.0' }\n",
    ),
];

#[test]
fn new_dependency_is_named_in_every_ecosystem() {
    for (name, old, new) in NEW_DEPENDENCIES {
        assert_eq!(
            edited(name, old, new),
            ["dependency-added"],
            "{name}: {new}"
        );
        assert_eq!(edited(name, new, &format!("{new}\n")), [""; 0], "{name}");
    }
}

#[test]
fn other_sources_sums_and_scripts_are_told() {
    let lock = |place: &str, sum: &str| {
        format!(
            "[[package]]\nname = \"a\"\nversion = \"1\"\nsource = \"{place}\"\nchecksum = \"{sum}\"\n"
        )
    };
    let home = "registry+https://registry.example/index";
    let other = "registry+https://evil.example/index";
    assert_eq!(
        edited("Cargo.lock", &lock(home, "1"), &lock(other, "1")),
        ["dependency-source"]
    );
    assert_eq!(
        edited("Cargo.lock", &lock(home, "1"), &lock(home, "2")),
        ["dependency-checksum"]
    );
    for (name, old, new, code) in [
        (
            "Cargo.toml",
            "[dependencies]\na = \"1\"\n",
            "[dependencies]\na = { git = \"https://evil.example/a\" }\n",
            "dependency-source",
        ),
        (
            "package.json",
            "{\"dependencies\": {\"a\": \"1\"}}",
            "{\"dependencies\": {\"a\": \"git+https://evil.example/a\"}}",
            "dependency-source",
        ),
        (
            "package.json",
            "{}",
            "{\"scripts\": {\"postinstall\": \"node x.js\"}}",
            "dependency-script",
        ),
        (
            "requirements.txt",
            "a==1\n",
            "--extra-index-url https://evil.example/simple\na==1\n",
            "dependency-source",
        ),
        (
            "go.mod",
            "module x\nrequire a.example/b v1\n",
            "module x\nrequire a.example/b v1\nreplace a.example/b => evil.example/b v1\n",
            "dependency-source",
        ),
        (
            "go.sum",
            "a.example/b v1 h1:x=\n",
            "a.example/b v1 h1:y=\n",
            "dependency-checksum",
        ),
        (
            "package-lock.json",
            "{\"packages\": {\"node_modules/a\": {\"version\": \"1\", \"integrity\": \"sha512-x\"}}}",
            "{\"packages\": {\"node_modules/a\": {\"version\": \"1\"}}}",
            "dependency-checksum",
        ),
    ] {
        assert_eq!(edited(name, old, new), [code], "{name}: {new}");
    }
    assert!(edited("requirements.txt", "", "reqeusts==2\n").contains(&"dependency-look-alike"));
}

#[test]
fn first_lock_file_tells_where_everything_comes_from() {
    let one = "[[package]]\nname = \"a\"\nversion = \"1\"\nsource = \"registry+https://registry.example/index\"\n";
    let result = judge(
        vec![edit("Cargo.lock", "", one)],
        &Policy::default(),
        Known::default(),
    );
    let told = findings(&result).iter().any(|finding| {
        finding.code == Code::DependencyAdded
            && finding
                .message
                .contains("comes from registry.example/index")
    });
    assert!(told, "{:?}", findings(&result));
    // Two places, and neither can be taken for the usual one: both are told. So is the only one of a manifest.
    let two = format!(
        "{one}{}",
        one.replace("\"a\"", "\"b\"")
            .replace("registry.example", "evil.example")
    );
    assert!(edited("Cargo.lock", "", &two).contains(&"dependency-source"));
    let manifest = "{\"dependencies\": {\"a\": \"https://evil.example/a.tgz\"}}";
    assert!(edited("package.json", "{}", manifest).contains(&"dependency-source"));
}

#[test]
fn manifest_that_moves_without_its_lock_file_is_told() {
    let base = [
        "web/package.json".to_owned(),
        "web/package-lock.json".to_owned(),
    ];
    let known = Known {
        base_paths: &base,
        ..Known::default()
    };
    let change = edit(
        "web/package.json",
        "{}",
        "{\"dependencies\": {\"a\": \"1\"}}",
    );
    let result = judge(vec![change.clone()], &Policy::default(), known);
    let has = |result: &Result<Checked, Refused>| {
        findings(result)
            .iter()
            .any(|finding| finding.code == Code::DependencyUnlocked)
    };
    assert!(has(&result));
    let both = vec![change, edit("web/package-lock.json", "{}", "{\"x\": 1}")];
    assert!(!has(&judge(both, &Policy::default(), known)));
}

/// A lock file or manifest before and after what every week brings: a newer version from where the old one came.
const UPDATES: &[(&str, &str, &str)] = &[
    (
        "Cargo.lock",
        "[[package]]\nname = \"a\"\nversion = \"1\"\nsource = \"registry+https://registry.example/index\"\nchecksum = \"11\"\n",
        "[[package]]\nname = \"a\"\nversion = \"2\"\nsource = \"registry+https://registry.example/index\"\nchecksum = \"22\"\n",
    ),
    (
        "package-lock.json",
        "{\"packages\": {\"node_modules/a\": {\"version\": \"1\", \"resolved\": \"https://registry.example/a-1.tgz\", \"integrity\": \"sha512-x\"}}}",
        "{\"packages\": {\"node_modules/a\": {\"version\": \"2\", \"resolved\": \"https://registry.example/a-2.tgz\", \"integrity\": \"sha512-y\"}}}",
    ),
    (
        "yarn.lock",
        "a@^1.0.0:\n  version \"1.0.0\"\n  resolved \"https://registry.example/a-1.tgz#x\"\n  integrity sha512-x\n",
        "a@^1.0.0:\n  version \"1.0.1\"\n  resolved \"https://registry.example/a-2.tgz#y\"\n  integrity sha512-y\n",
    ),
    (
        "pnpm-lock.yaml",
        "packages:\n\n  a@1.0.0:\n    resolution: {integrity: sha512-x}\n",
        "packages:\n\n  a@1.0.1:\n    resolution: {integrity: sha512-y}\n",
    ),
    (
        "bun.lock",
        "{\n  \"packages\": {\n    \"a\": [\"a@1.0.0\", \"\", {}, \"sha512-x\"],\n  },\n}\n",
        "{\n  \"packages\": {\n    \"a\": [\"a@1.0.1\", \"\", {}, \"sha512-y\"],\n  },\n}\n",
    ),
    (
        "poetry.lock",
        "[[package]]\nname = \"a\"\nversion = \"1\"\nfiles = [\n    {file = \"a-1.whl\", hash = \"sha256:x\"},\n]\n",
        "[[package]]\nname = \"a\"\nversion = \"1\"\nfiles = [\n    {file = \"a-1.whl\", hash = \"sha256:x\"},\n    {file = \"a-1-arm.whl\", hash = \"sha256:z\"},\n]\n",
    ),
    (
        "uv.lock",
        "[[package]]\nname = \"a\"\nversion = \"1\"\nsource = { registry = \"https://registry.example/simple\" }\nwheels = [\n    { url = \"https://files.example/a-1.whl\", hash = \"sha256:x\" },\n]\n",
        "[[package]]\nname = \"a\"\nversion = \"2\"\nsource = { registry = \"https://registry.example/simple\" }\nwheels = [\n    { url = \"https://files.example/a-2.whl\", hash = \"sha256:y\" },\n]\n",
    ),
    (
        "Pipfile.lock",
        "{\"_meta\": {\"sources\": [{\"url\": \"https://registry.example/simple\"}]}, \"default\": {\"a\": {\"version\": \"==1\", \"hashes\": [\"sha256:x\"]}}}",
        "{\"_meta\": {\"sources\": [{\"url\": \"https://registry.example/simple\"}]}, \"default\": {\"a\": {\"version\": \"==2\", \"hashes\": [\"sha256:y\"]}}}",
    ),
    (
        "requirements.txt",
        "a==1 \\\n    --hash=sha256:x\n",
        "a==2 \\\n    --hash=sha256:y\n",
    ),
    (
        "go.sum",
        "a.example/b v1 h1:x=\na.example/b v1/go.mod h1:y=\n",
        "a.example/b v2 h1:z=\na.example/b v2/go.mod h1:w=\n",
    ),
    (
        "go.mod",
        "module x\nrequire a.example/b v1\n",
        "module x\nrequire a.example/b v2\n",
    ),
    (
        "pom.xml",
        "<project><dependencies><dependency><groupId>org.a</groupId><artifactId>b</artifactId><version>1</version></dependency></dependencies></project>",
        "<project><dependencies><dependency><groupId>org.a</groupId><artifactId>b</artifactId><version>2</version></dependency></dependencies></project>",
    ),
    (
        "build.gradle.kts",
        "plugins { id(\"org.a.b\") version \"1\" }\ndependencies { implementation(\"org.a:b:1\") }\n",
        "plugins { id(\"org.a.b\") version \"2\" }\ndependencies { implementation(\"org.a:b:2\") }\n",
    ),
    (
        "gradle/libs.versions.toml",
        "[libraries]\nb = { module = \"org.a:b\", version = \"1\" }\n",
        "[libraries]\nb = { module = \"org.a:b\", version = \"2\" }\n",
    ),
    (
        "Gemfile.lock",
        "GEM\n  remote: https://registry.example/\n  specs:\n    a (1.0)\n\nCHECKSUMS\n  a (1.0) sha256=x\n",
        "GEM\n  remote: https://registry.example/\n  specs:\n    a (1.1)\n\nCHECKSUMS\n  a (1.1) sha256=y\n",
    ),
    (
        "packages.lock.json",
        "{\"dependencies\": {\"net8.0\": {\"A.B\": {\"resolved\": \"1\", \"contentHash\": \"x\"}}}}",
        "{\"dependencies\": {\"net8.0\": {\"A.B\": {\"resolved\": \"2\", \"contentHash\": \"y\"}}}}",
    ),
    (
        "src/A.csproj",
        "<Project><ItemGroup><PackageReference Include=\"A.B\" Version=\"1\" /></ItemGroup></Project>",
        "<Project><ItemGroup><PackageReference Include=\"A.B\" Version=\"2\" /></ItemGroup></Project>",
    ),
    (
        "composer.lock",
        "{\"packages\": [{\"name\": \"a/b\", \"version\": \"1\", \"dist\": {\"url\": \"https://code.example/a-1.zip\", \"shasum\": \"x\"}}]}",
        "{\"packages\": [{\"name\": \"a/b\", \"version\": \"2\", \"dist\": {\"url\": \"https://code.example/a-2.zip\", \"shasum\": \"y\"}}]}",
    ),
];

#[test]
fn everyday_update_is_told_as_a_changed_file_and_as_nothing_else() {
    for (name, old, new) in UPDATES {
        assert_eq!(edited(name, old, new), [""; 0], "{name}");
        let changed = codes(vec![edit(name, old, new)], &Policy::default());
        assert!(
            changed.contains(&(Code::DependencyChanged, Severity::Review)),
            "{name}: {changed:?}"
        );
    }
}

/// A manifest or lock file, and the same with other words in it: what is found then.
#[rustfmt::skip]
const TURNED: &[(&str, &str, &str, &str, &str)] = &[
    ("Cargo.lock", "", "11", "33", "dependency-checksum"),
    ("Cargo.lock", "", "registry.example", "evil.example", "dependency-source"),
    ("package-lock.json", "", "registry.example", "evil.example", "dependency-source"),
    ("package-lock.json", "", "sha512-x", "sha512-z", "dependency-checksum"),
    ("package-lock.json", "", "\"version\"", "\"hasInstallScript\": true, \"version\"", "dependency-script"),
    ("yarn.lock", "", "registry.example", "evil.example", "dependency-source"),
    ("yarn.lock", "", "sha512-x", "sha512-z", "dependency-checksum"),
    ("pnpm-lock.yaml", "", "sha512-x", "sha512-z", "dependency-checksum"),
    ("pnpm-lock.yaml", "", "integrity: sha512-x}", "integrity: sha512-x, tarball: https://evil.example/a.tgz}", "dependency-source"),
    ("pnpm-lock.yaml", "", "sha512-x}\n", "sha512-x}\n    requiresBuild: true\n", "dependency-script"),
    ("bun.lock", "", "\"\", {}", "\"https://evil.example/\", {}", "dependency-source"),
    ("bun.lock", "", "sha512-x", "sha512-z", "dependency-checksum"),
    ("poetry.lock", "", "sha256:x", "sha256:z", "dependency-checksum"),
    ("poetry.lock", "", "files = [", "[package.source]\nurl = \"https://evil.example/simple\"\nfiles = [", "dependency-source"),
    ("uv.lock", "", "sha256:x", "sha256:z", "dependency-checksum"),
    ("uv.lock", "", "registry.example", "evil.example", "dependency-source"),
    ("uv.lock", "", "files.example", "evil.example", "dependency-source"),
    ("Pipfile.lock", "", "sha256:x", "sha256:z", "dependency-checksum"),
    ("Pipfile.lock", "", "registry.example", "evil.example", "dependency-source"),
    ("requirements.txt", "", "sha256:x", "sha256:z", "dependency-checksum"),
    ("requirements.txt", "", "a==1", "a @ https://evil.example/a.whl", "dependency-source"),
    ("go.sum", "", "h1:x=", "h1:z=", "dependency-checksum"),
    ("go.mod", "", "require a", "replace a.example/b => evil.example/b v1\nrequire a", "dependency-source"),
    ("pom.xml", "", "<dependencies>", "<repositories><repository><url>https://evil.example/</url></repository></repositories><dependencies>", "dependency-source"),
    ("build.gradle.kts", "", "dependencies", "repositories { maven { url = uri(\"https://evil.example/\") } }\ndependencies", "dependency-source"),
    ("Gemfile.lock", "", "registry.example", "evil.example", "dependency-source"),
    ("Gemfile.lock", "", "sha256=x", "sha256=z", "dependency-checksum"),
    ("packages.lock.json", "", "\"x\"", "\"z\"", "dependency-checksum"),
    ("src/A.csproj", "", "<ItemGroup>", "<RestoreSources>https://evil.example/v3</RestoreSources><ItemGroup>", "dependency-source"),
    ("src/A.csproj", "", "<ItemGroup>", "<Target><Exec Command=\"x\" /></Target><ItemGroup>", "dependency-script"),
    ("composer.lock", "", "code.example", "evil.example", "dependency-source"),
    ("composer.lock", "", "\"x\"", "\"z\"", "dependency-checksum"),
    ("composer.json", "{\"require\": {\"a/b\": \"1\"}}", "{\"require\"", "{\"repositories\": [{\"url\": \"https://evil.example\"}], \"require\"", "dependency-source"),
    ("composer.json", "{\"require\": {\"a/b\": \"1\"}}", "{\"require\"", "{\"scripts\": {\"post-install-cmd\": \"x\"}, \"require\"", "dependency-script"),
    ("Gemfile", "gem \"a\"\n", "gem \"a\"", "gem \"a\", git: \"https://evil.example/a\"", "dependency-source"),
    ("Gemfile", "gem \"a\"\n", "gem \"a\"", "source \"https://evil.example\"\ngem \"a\"", "dependency-source"),
    ("a.gemspec", "spec.name = \"a\"\n", "\n", "\nspec.extensions = [\"ext/extconf.rb\"]\n", "dependency-script"),
    ("nuget.config", "<configuration></configuration>", "<configuration>", "<configuration><add key=\"x\" value=\"https://evil.example/v3\" />", "dependency-source"),
    ("gradle/wrapper/gradle-wrapper.properties", "distributionUrl=https\\://dist.example/gradle-8.zip\ndistributionSha256Sum=x\n", "=x", "=z", "dependency-checksum"),
    ("gradle/wrapper/gradle-wrapper.properties", "distributionUrl=https\\://dist.example/gradle-8.zip\n", "dist.example", "evil.example", "dependency-source"),
    ("gradle/verification-metadata.xml", "<component group=\"a\" name=\"b\" version=\"1\"><artifact name=\"b.jar\"><sha256 value=\"x\"/></artifact></component>", "\"x\"", "\"z\"", "dependency-checksum"),
    ("package.json", "{\"scripts\": {\"test\": \"x\"}}", "\"test\"", "\"prepare\"", "dependency-script"),
    ("Cargo.toml", "[package]\nname = \"a\"\n", "name", "build = \"evil.rs\"\nname", "dependency-script"),
    ("pip.conf", "[global]\n", "\n", "\nindex-url = https://evil.example/simple\n", "dependency-source"),
];

#[test]
fn what_is_turned_to_another_place_sum_or_script_is_told() {
    for (name, text, from, to, code) in TURNED {
        let of_updates = || UPDATES.iter().find(|(update, ..)| update == name);
        let old = match (text.is_empty(), of_updates()) {
            (true, Some((_, old, _))) => *old,
            _ => text,
        };
        let new = old.replacen(from, to, 1);
        assert_ne!(old, new, "{name}: {from}");
        let found = edited(name, old, &new);
        assert!(found.contains(code), "{name}, {from} to {to}: {found:?}");
    }
}

#[test]
fn name_that_looks_like_a_popular_one_is_told_in_every_ecosystem() {
    for (name, new) in [
        ("Cargo.toml", "[dependencies]\nserde_jsom = \"1\"\n"),
        ("package.json", "{\"dependencies\": {\"lodahs\": \"1\"}}"),
        ("requirements.txt", "reqeusts==2\n"),
        (
            "pyproject.toml",
            "[project]\ndependencies = [\n  \"reqeusts>=1\",\n]\n",
        ),
        (
            "go.mod",
            "module x\nrequire github.com/spf13/cobar v1.0.0\n",
        ),
        (
            "pom.xml",
            "<dependency><groupId>org.slf4j</groupId><artifactId>slf4j-apl</artifactId></dependency>",
        ),
        ("build.gradle", "implementation 'org.slf4j:slf4j-apl:1'\n"),
        ("Gemfile", "gem 'nokogirl'\n"),
        (
            "a.csproj",
            "<PackageReference Include=\"Newtonsof.Json\" />",
        ),
        (
            "composer.json",
            "{\"require\": {\"symfony/proces\": \"1\"}}",
        ),
    ] {
        let found = edited(name, "", new);
        assert!(
            found.contains(&"dependency-look-alike"),
            "{name}: {found:?}"
        );
    }
}

#[test]
fn lock_file_that_stays_behind_is_told_in_every_ecosystem_that_has_one() {
    for (manifest, old, new, lock) in [
        (
            "Cargo.toml",
            "[dependencies]\n",
            "[dependencies]\na = \"1\"\n",
            "Cargo.lock",
        ),
        (
            "package.json",
            "{}",
            "{\"dependencies\": {\"a\": \"1\"}}",
            "yarn.lock",
        ),
        (
            "pyproject.toml",
            "",
            "[project]\ndependencies = [\n  \"a\",\n]\n",
            "uv.lock",
        ),
        (
            "Pipfile",
            "[packages]\n",
            "[packages]\na = \"*\"\n",
            "Pipfile.lock",
        ),
        (
            "go.mod",
            "module x\n",
            "module x\nrequire a.example/b v1\n",
            "go.sum",
        ),
        ("Gemfile", "", "gem \"a\"\n", "Gemfile.lock"),
        (
            "composer.json",
            "{}",
            "{\"require\": {\"a/b\": \"1\"}}",
            "composer.lock",
        ),
        (
            "build.gradle",
            "",
            "implementation 'a:b:1'\n",
            "gradle.lockfile",
        ),
        (
            "A.csproj",
            "",
            "<PackageReference Include=\"A\" />",
            "packages.lock.json",
        ),
    ] {
        let base = [manifest.to_owned(), lock.to_owned()];
        let known = Known {
            base_paths: &base,
            ..Known::default()
        };
        let told = |changes: Vec<Change>| {
            findings(&judge(changes, &Policy::default(), known))
                .iter()
                .any(|finding| finding.code == Code::DependencyUnlocked)
        };
        let change = edit(manifest, old, new);
        assert!(told(vec![change.clone()]), "{manifest}");
        assert!(!told(vec![change, edit(lock, "", "x\n")]), "{manifest}");
    }
}
