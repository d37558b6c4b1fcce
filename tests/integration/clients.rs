//! Real clients through walls and egress: packages are installed and repositories cloned, and nothing is published or pushed.

#![expect(
    clippy::unwrap_used,
    reason = "what fails here fails the test, and the place tells what it was"
)]

mod shop;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use self::shop::{HOSTS, Shop};

/// Levels that every case must hold at.
const LEVELS: [&str; 2] = ["b", "c"];

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Rules that lead nowhere and say that these hosts may be private ones.
fn named(shop: &Shop) -> String {
    let port = shop.origin.port();
    let rules = HOSTS.iter().map(|host| {
        format!("    - {{host: {host}, ports: [{port}], private: true, paths: [/none]}}\n")
    });
    rules.collect()
}

/// This program with nothing but what a machine with these tools has; the toolchain's own programs, for what rustup puts before them looks at HOME.
fn tagout(shop: &Shop, folder: &Path) -> Command {
    let sysroot = Command::new("rustc")
        .args(["--print", "sysroot"])
        .output()
        .unwrap()
        .stdout;
    let sysroot = PathBuf::from(text(&sysroot).trim());
    let mut command = Command::new(env!("CARGO_BIN_EXE_tagout"));
    command
        .env_clear()
        .env("HOME", shop.home())
        .env("SSL_CERT_FILE", shop.origin.ca_file())
        .current_dir(folder);
    let path = format!(
        "{}:{}",
        sysroot.join("bin").display(),
        std::env::var("PATH").unwrap()
    );
    command.env("PATH", path);
    // Where they are not the system's.
    if let Some(toolchains) = sysroot.parent().and_then(Path::parent) {
        command.env("RUSTUP_HOME", toolchains);
    }
    let real = PathBuf::from(std::env::var_os("HOME").unwrap());
    let pyenv = std::env::var_os("PYENV_ROOT").map(PathBuf::from);
    let pyenv = pyenv.unwrap_or_else(|| real.join(".pyenv"));
    if pyenv.is_dir() {
        command.env("PYENV_ROOT", pyenv);
    }
    command
}

fn sandbox(shop: &Shop, folder: &Path, level: &str, network: &str, script: &str) -> Output {
    let policy = shop.home().join("policy.yml");
    fs::write(&policy, format!("version: 1\nnetwork:\n{network}")).unwrap();
    tagout(shop, folder)
        .args(["sandbox", "--copy", "--level", level, "--policy"])
        .arg(policy)
        .args(shop.resolve())
        .args(["--", "sh", "-c", script])
        .output()
        .unwrap()
}

/// Projects that use the shop's packages, and packages of their own to publish.
fn projects(folder: &Path) {
    for (name, text) in PROJECTS {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

const PROJECTS: [(&str, &str); 5] = [
    (
        "cargo/Cargo.toml",
        "[package]\nname = \"mine\"\nversion = \"1.0.0\"\nedition = \"2021\"\n[dependencies]\ntiny = \"1\"\n",
    ),
    (
        "cargo/src/main.rs",
        "fn main() { println!(\"{}\", tiny::WORD); }\n",
    ),
    (
        "npm/package.json",
        "{\"name\": \"mine\", \"version\": \"1.0.0\"}",
    ),
    ("npm/index.js", ""),
    ("mine-1.0.tar.gz", ""),
];

const INSTALLS: [(&str, &str); 3] = [
    (
        "cargo",
        "cp -r cargo \"$TMPDIR/c\" && cd \"$TMPDIR/c\" && cargo run --quiet",
    ),
    (
        "npm",
        "mkdir \"$TMPDIR/n\" && cd \"$TMPDIR/n\" && npm install tiny --no-fund > log && npm audit >> log && node -p 'require(\"tiny\")'",
    ),
    (
        "pip",
        "pip install --quiet --disable-pip-version-check --target \"$TMPDIR/p\" tiny && PYTHONPATH=\"$TMPDIR/p\" python3 -c 'import tiny; print(tiny.WORD)'",
    ),
];

/// What each writes to its registry, with the code of the refusal among what it says.
const PUBLISHES: [(&str, &str); 3] = [
    (
        "cargo",
        "cd cargo && cargo publish --registry shop --token t --allow-dirty --no-verify",
    ),
    (
        "npm",
        "cd npm && npm publish \"--//npm.example.com:$PORT/:_authToken=t\" --loglevel http",
    ),
    (
        "pip",
        "curl -sS -i -F :action=file_upload -F content=@mine-1.0.tar.gz https://pypi.example.com:$PORT/legacy/; false",
    ),
];

#[test]
fn packages_are_installed_from_configured_registries_and_never_published() {
    let shop = Shop::open();
    let folder = tempfile::tempdir().unwrap();
    projects(folder.path());
    let port = format!("PORT={}; ", shop.origin.port());
    for level in LEVELS {
        for ((tool, install), (_, publish)) in INSTALLS.into_iter().zip(PUBLISHES) {
            let network = format!("  allow:\n{}  registries: [{tool}]\n", named(&shop));
            let script = format!("{port}({install}) && ({publish})");
            let output = sandbox(&shop, folder.path(), level, &network, &script);
            let (out, told) = (text(&output.stdout), text(&output.stderr));
            assert!(
                out.contains(&format!("word of {tool}")),
                "{level} {tool}: {out} {told}"
            );
            assert_ne!(
                output.status.code(),
                Some(0),
                "{level} {tool}: {out} {told}"
            );
            // The report of the egress, whatever the tool makes of the answer.
            assert!(
                told.contains("(method-not-allowed)"),
                "{level} {tool}: {out} {told}"
            );
            if tool != "npm" {
                assert!(told.contains("files.example.com"), "{level} {tool}: {told}");
            }
        }
    }
    assert_eq!(shop.arrived("PUT"), Vec::<String>::new());
    // npm asks whether what it installs is known to be bad, and that is all that is ever posted.
    let posted = shop.arrived("POST");
    assert!(
        !posted.is_empty()
            && posted
                .iter()
                .all(|target| target.starts_with("/-/npm/v1/security/")),
        "{posted:?}"
    );
}

#[test]
fn agent_of_a_run_installs_from_all_registries() {
    let shop = Shop::open();
    let policy = format!(
        "version: 1\nnetwork:\n  allow:\n{}  registries: [cargo, npm, pip]\n",
        named(&shop)
    );
    let mut files = PROJECTS.to_vec();
    files.push((".github/tagout.yml", &policy));
    let place = crate::job::Place::with(&files);
    let agent = INSTALLS.map(|(_, install)| format!("({install}) >> result.txt"));
    let done = tagout(&shop, &place.repo())
        .args([
            "run", "--json", "--forge", "local", "--task", "do it", "--out",
        ])
        .arg(place.out("run"))
        .args(shop.resolve())
        .args(["--", "sh", "-c", &agent.join(" && ")])
        .output()
        .unwrap();
    let (code, answer) = crate::job::answer(&done);
    assert_eq!(
        (code, answer["outcome"].as_str()),
        (0, Some("proposed")),
        "{answer}"
    );
    let branch = answer["branch"].as_str().unwrap();
    assert_eq!(
        place.git(&["show", &format!("{branch}:result.txt")]),
        "word of cargo\nword of npm\nword of pip\n"
    );
}

#[test]
fn repository_is_cloned_and_not_pushed_to() {
    let shop = Shop::open();
    let folder = tempfile::tempdir().unwrap();
    let port = shop.origin.port();
    let network = format!(
        "  allow:\n    - {{host: git.example.com, ports: [{port}], private: true, paths: [/library.git/**]}}\n  registries: [git]\n"
    );
    let url = format!("https://git.example.com:{port}/library.git");
    let script = format!(
        "cd \"$TMPDIR\" && git clone -q {url} c && cd c && cat word.txt && echo evil > word.txt && \
         git -c user.name=a -c user.email=a@b.invalid commit -q -a -m b && ! git push -q {url} main && \
         ! git ls-remote https://git.example.com:{port}/other.git"
    );
    for level in LEVELS {
        let output = sandbox(&shop, folder.path(), level, &network, &script);
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{level}: {told}");
        assert_eq!(text(&output.stdout), "word of git\n", "{level}");
        assert!(told.contains("(git-push-not-allowed)"), "{level}: {told}");
    }
    let receives = |target: &String| target.contains("git-receive-pack");
    for method in ["GET", "POST"] {
        let arrived = shop.arrived(method);
        assert!(
            !arrived.is_empty() && !arrived.iter().any(receives),
            "{arrived:?}"
        );
    }
}

#[test]
fn clients_without_proxy_settings_and_websockets_follow_the_policy() {
    let shop = Shop::open();
    let folder = tempfile::tempdir().unwrap();
    let port = shop.origin.port();
    let ws = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-tools/npm/node_modules/ws");
    let has_ws = ws.is_dir();
    if has_ws {
        let copied = Command::new("cp")
            .arg("-r")
            .arg(&ws)
            .arg(folder.path())
            .status();
        assert!(copied.unwrap().success());
    } else {
        println!("skipped: ws of npm is not in target/test-tools");
        assert!(
            std::env::var_os("TAGOUT_TEST_ALL").is_none(),
            "ws is missing"
        );
    }
    fs::write(
        folder.path().join("socket.js"),
        "const S = require('./ws');
const s = new S(process.argv[2]);
s.on('open', () => s.send('word of socket'));
s.on('message', m => { console.log(String(m)); s.close(); });
s.on('unexpected-response', (q, r) => { console.log(r.statusCode, r.headers['x-tagout-denied']); process.exit(0); });
s.on('error', e => { console.log('error', e.message); process.exit(0); });
",
    )
    .unwrap();
    let unset = "unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY NODE_USE_ENV_PROXY";
    let fetch = "fetch(process.argv[1]).then(async r => console.log(r.status, await r.text()))";
    for level in LEVELS {
        for (websocket, wanted) in [("true", "word of socket\n"), ("false", "403 ")] {
            let network = format!(
                "  allow:\n    - {{host: web.example.com, ports: [{port}], private: true, paths: [/word, /ws], websocket: {websocket}}}\n"
            );
            let script = format!(
                "{unset}; curl -sS https://web.example.com:{port}/word; echo
                 node -e '{fetch}' https://web.example.com:{port}/word
                 node -e '{fetch}' https://web.example.com:{port}/other | head -n 1 | cut -c1-13
                 [ ! -d ws ] || node socket.js wss://web.example.com:{port}/ws"
            );
            let output = sandbox(&shop, folder.path(), level, &network, &script);
            let (out, told) = (text(&output.stdout), text(&output.stderr));
            let socket = out
                .strip_prefix("word of web\n200 word of web\n403 denied by\n")
                .unwrap_or_else(|| panic!("{level}: {out} {told}"));
            assert!(
                !has_ws || socket.starts_with(wanted),
                "{level} {websocket}: {socket} {told}"
            );
        }
    }
}

#[test]
fn tunnelled_host_with_a_private_authority_is_believed_inside() {
    let shop = Shop::open();
    let folder = tempfile::tempdir().unwrap();
    let port = shop.origin.port();
    let rule = format!("{{host: web.example.com, ports: [{port}], private: true, tls: tunnel}}");
    let network = format!("  allow:\n    - {rule}\n");
    let script = format!(
        "curl -sS https://web.example.com:{port}/word && curl -sS https://files.example.com:{port}/"
    );
    for level in LEVELS {
        let output = sandbox(&shop, folder.path(), level, &network, &script);
        let (out, told) = (text(&output.stdout), text(&output.stderr));
        // The second answer is the egress' own, under the other authority that is believed.
        assert!(
            out.starts_with("word of webdenied by "),
            "{level}: {out} {told}"
        );
    }
}
