//! Registries of Cargo, npm and Python and a git server, in one process on loopback behind TLS. It takes whatever is
//! written to it, so that only the egress can have refused.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::http::request::Parts;
use serde_json::json;
use sha2::{Digest as _, Sha256, Sha512};
use tempfile::TempDir;

use crate::egress::{Origin, Reply};

/// Its hosts. Files of Cargo's and Python's packages lie on a host of their own.
pub(super) const HOSTS: [&str; 6] = [
    "index.example.com",
    "pypi.example.com",
    "npm.example.com",
    "files.example.com",
    "git.example.com",
    "web.example.com",
];

/// The shop, with the home of a user whose tools are configured to use it.
pub(super) struct Shop {
    pub(super) origin: Origin,
    folder: TempDir,
}

type Goods = HashMap<String, (&'static str, Vec<u8>)>;

impl Shop {
    pub(super) fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_path_buf();
        repository(&root);
        // What it sells names the port, which is known once it serves.
        let goods = Arc::new(OnceLock::<Goods>::new());
        let shelf = Arc::clone(&goods);
        let origin = Origin::serving(
            &HOSTS,
            Box::new(move |parts, body| answer(parts, body, &root, shelf.get().unwrap())),
        );
        let stocked = stock(folder.path(), origin.port());
        assert!(goods.set(stocked).is_ok(), "it is set once");
        configure(&folder.path().join("home"), origin.port());
        Self { origin, folder }
    }

    pub(super) fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// `--resolve` for all hosts.
    pub(super) fn resolve(&self) -> Vec<String> {
        HOSTS
            .iter()
            .flat_map(|host| {
                let fixed = format!("{host}:{}:127.0.0.1", self.origin.port());
                ["--resolve".to_owned(), fixed]
            })
            .collect()
    }

    /// What arrived by a method.
    pub(super) fn arrived(&self, method: &str) -> Vec<String> {
        let seen = self.origin.seen().into_iter();
        seen.filter(|one| one.method == method)
            .map(|one| one.target)
            .collect()
    }
}

fn answer(parts: &Parts, body: &[u8], root: &Path, goods: &Goods) -> Reply {
    let named = parts
        .headers
        .get("host")
        .and_then(|host| host.to_str().ok());
    let host = parts.uri.host().or(named).unwrap_or_default();
    let host = host.split(':').next().unwrap();
    if host == "git.example.com" {
        return git(parts, body, root);
    }
    let path = parts.uri.path();
    let (status, kind, body) = match (parts.method.as_str(), goods.get(&format!("{host}{path}"))) {
        ("GET", Some((kind, body))) => (200, *kind, body.clone()),
        ("GET", None) => (404, "text/plain", Vec::new()),
        _ => (200, "application/json", b"{}".to_vec()),
    };
    Reply {
        status,
        headers: vec![("content-type".to_owned(), kind.to_owned())],
        body,
    }
}

/// git's own server, as a web server would run it.
fn git(parts: &Parts, body: &[u8], root: &Path) -> Reply {
    let header = |name: &str| {
        let value = parts.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    };
    let mut child = Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", parts.method.as_str())
        .env("PATH_INFO", parts.uri.path())
        .env("QUERY_STRING", parts.uri.query().unwrap_or_default())
        .env("CONTENT_TYPE", header("content-type"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("HTTP_GIT_PROTOCOL", header("git-protocol"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // It may end without having read all.
    drop(child.stdin.take().unwrap().write_all(body));
    let said = child.wait_with_output().unwrap().stdout;
    let end = said
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap();
    let mut status = 200;
    let mut headers = Vec::new();
    for line in String::from_utf8_lossy(&said[..end]).lines() {
        let (name, value) = line.split_once(": ").unwrap();
        if name == "Status" {
            status = value[..3].parse().unwrap();
        } else {
            headers.push((name.to_owned(), value.to_owned()));
        }
    }
    let body = said[end + 4..].to_vec();
    Reply {
        status,
        headers,
        body,
    }
}

fn run(folder: &Path, program: &str, args: &[&str]) {
    let done = Command::new(program)
        .args(args)
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{program} {args:?}: {said}");
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// A repository that the server itself lets anyone push to.
fn repository(root: &Path) {
    run(
        root,
        "git",
        &["init", "-q", "--bare", "-b", "main", "library.git"],
    );
    let bare = root.join("library.git");
    run(&bare, "git", &["config", "http.receivepack", "true"]);
    run(root, "git", &["init", "-q", "-b", "main", "work"]);
    let work = root.join("work");
    write(&work.join("word.txt"), "word of git\n");
    run(&work, "git", &["add", "."]);
    let commit = [
        "-c",
        "user.name=a",
        "-c",
        "user.email=a@b.invalid",
        "commit",
        "-q",
        "-m",
        "a",
    ];
    run(&work, "git", &commit);
    run(&work, "git", &["push", "-q", "../library.git", "main"]);
}

const JSON: &str = "application/json";
const BYTES: &str = "application/octet-stream";

fn stock(root: &Path, port: u16) -> Goods {
    let mut goods = Goods::new();
    for (url, kind, body) in [crates(root, port), package(root, port), wheel(root, port)].concat() {
        goods.insert(url, (kind, body));
    }
    let word = b"word of web".to_vec();
    goods.insert("web.example.com/word".to_owned(), ("text/plain", word));
    goods
}

type Good = (String, &'static str, Vec<u8>);

fn good(url: &str, kind: &'static str, body: impl Into<Vec<u8>>) -> Good {
    (url.to_owned(), kind, body.into())
}

fn packed(root: &Path, folder: &str) -> Vec<u8> {
    run(root, "tar", &["czf", "packed", folder]);
    fs::read(root.join("packed")).unwrap()
}

/// A sparse index whose crates lie on another host.
fn crates(root: &Path, port: u16) -> Vec<Good> {
    write(
        &root.join("tiny-1.0.0/Cargo.toml"),
        "[package]\nname = \"tiny\"\nversion = \"1.0.0\"\nedition = \"2021\"\n",
    );
    write(
        &root.join("tiny-1.0.0/src/lib.rs"),
        "pub const WORD: &str = \"word of cargo\";\n",
    );
    let packet = packed(root, "tiny-1.0.0");
    let sum = Sha256::digest(&packet);
    let sum: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
    let config = json!({
        "dl": format!("https://files.example.com:{port}/crates/{{crate}}/{{version}}/download"),
        "api": format!("https://index.example.com:{port}"),
    });
    let entry = json!({
        "name": "tiny", "vers": "1.0.0", "deps": [], "features": {}, "cksum": sum, "yanked": false,
    });
    vec![
        good("index.example.com/config.json", JSON, config.to_string()),
        good("index.example.com/ti/ny/tiny", JSON, format!("{entry}\n")),
        good(
            "files.example.com/crates/tiny/1.0.0/download",
            BYTES,
            packet,
        ),
    ]
}

fn package(root: &Path, port: u16) -> Vec<Good> {
    write(
        &root.join("package/package.json"),
        "{\"name\": \"tiny\", \"version\": \"1.0.0\", \"main\": \"index.js\"}",
    );
    write(
        &root.join("package/index.js"),
        "module.exports = 'word of npm'\n",
    );
    let packet = packed(root, "package");
    let dist = json!({
        "tarball": format!("https://npm.example.com:{port}/tiny/-/tiny-1.0.0.tgz"),
        "integrity": format!("sha512-{}", STANDARD.encode(Sha512::digest(&packet))),
    });
    let version = json!({"name": "tiny", "version": "1.0.0", "dist": dist});
    let document =
        json!({"name": "tiny", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}});
    vec![
        good("npm.example.com/tiny", JSON, document.to_string()),
        good("npm.example.com/tiny/-/tiny-1.0.0.tgz", BYTES, packet),
    ]
}

/// An index whose links lead to another host; every index that holds anything holds pip.
fn wheel(root: &Path, port: u16) -> Vec<Good> {
    let wheel = "tiny-1.0-py3-none-any.whl";
    let script = "import sys, zipfile
with zipfile.ZipFile(sys.argv[1], 'w') as z:
    z.writestr('tiny.py', 'WORD = \"word of pip\"\\n')
    z.writestr('tiny-1.0.dist-info/METADATA', 'Metadata-Version: 2.1\\nName: tiny\\nVersion: 1.0\\n')
    z.writestr('tiny-1.0.dist-info/WHEEL', 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
    z.writestr('tiny-1.0.dist-info/RECORD', '')
";
    run(root, "python3", &["-c", script, wheel]);
    let bytes = fs::read(root.join(wheel)).unwrap();
    let link =
        format!("<a href=\"https://files.example.com:{port}/packages/{wheel}\">{wheel}</a>\n");
    vec![
        good("pypi.example.com/simple/pip/", "text/html", link.clone()),
        good("pypi.example.com/simple/tiny/", "text/html", link),
        good(&format!("files.example.com/packages/{wheel}"), BYTES, bytes),
    ]
}

/// The user's own configuration, which alone says where packages come from.
fn configure(home: &Path, port: u16) {
    let index = format!("sparse+https://index.example.com:{port}/");
    write(
        &home.join(".cargo/config.toml"),
        &format!(
            "[source.crates-io]\nreplace-with = \"shop\"\n[source.shop]\nregistry = \"{index}\"\n[registries.shop]\nindex = \"{index}\"\n"
        ),
    );
    write(
        &home.join(".npmrc"),
        &format!("registry=https://npm.example.com:{port}/\n"),
    );
    write(
        &home.join(".config/pip/pip.conf"),
        &format!("[global]\nindex-url = https://pypi.example.com:{port}/simple\n"),
    );
}
