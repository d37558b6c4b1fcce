//! Policies as a user writes them: the file of defaults, every key, every fault, and the commands.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Output, Stdio};

use proptest::prelude::*;
use tagout::policy::keys::{self, Shape};
use tagout::policy::lint::lint;
use tagout::policy::model::{Network, Policy};
use tagout::policy::parse::extend::{self, BUILT_IN};
use tagout::policy::parse::{parse, parse_placed, parse_whole, yaml};
use tagout::policy::{show, supported};

const DEFAULT: &str = include_str!("../../policies/default.yml");

/// The policy without the places, which differ from file to file.
fn placeless(policy: Policy) -> Policy {
    let at = Network::default().at;
    let mut policy = policy;
    policy.network.at = at.clone();
    for rule in &mut policy.network.allow {
        rule.at = at.clone();
    }
    for registry in &mut policy.network.registries {
        registry.at = at.clone();
    }
    if let Some(model) = &mut policy.agent.model {
        model.at = at.clone();
    }
    policy
}

fn faults(text: &str) -> Vec<String> {
    match parse("p.yml", text) {
        Ok(_) => Vec::new(),
        Err(faults) => faults.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn file_of_defaults_means_the_defaults() {
    let policy = parse("default.yml", DEFAULT).expect("the defaults are valid");
    assert_eq!(placeless(policy), Policy::default());
    let least = parse("p.yml", "version: 1\n").expect("valid");
    assert_eq!(placeless(least), Policy::default());
}

#[test]
fn file_of_defaults_holds_every_key_with_the_described_default() {
    let root: serde_yaml::Value = serde_yaml::from_str(DEFAULT).unwrap();
    keys::each(&mut |path, key| {
        // What stands under a list or a free name has no default that a file could hold.
        if path.contains(['[', '*']) || path.starts_with("agent.model.") {
            return;
        }
        let value = path
            .split('.')
            .try_fold(&root, |value, part| value.get(part));
        let value = value.unwrap_or_else(|| panic!("{path} is not in default.yml"));
        if !key.default.is_empty() && key.default != "[...]" {
            let expected: serde_yaml::Value = serde_yaml::from_str(key.default).unwrap();
            assert_eq!(*value, expected, "{path}");
        }
    });
}

/// A whole policy in which one key has the given value.
fn policy_with(path: &str, value: &str) -> String {
    let leaf = path.rsplit(['.', ']']).next().expect("a last part");
    let around = |key: &str| format!("{key}: {value}");
    let inner = match path {
        _ if path.starts_with("network.allow[].credential.") => {
            let other = if leaf == "header" {
                "value: \"x ${K}\""
            } else {
                "header: x-key"
            };
            format!(
                "network: {{allow: [{{host: a.example, methods: [GET], paths: [/x], credential: {{{}, {other}}}}}]}}",
                around(leaf)
            )
        }
        "network.allow[].credential" => {
            format!(
                "network: {{allow: [{{host: b.example, methods: [GET], paths: [/x], credential: {value}}}]}}"
            )
        }
        "network.allow[].host" => format!("network: {{allow: [{{host: {value}}}]}}"),
        _ if path.starts_with("network.allow[].") => format!(
            "network: {{allow: [{{host: b.example, {}}}]}}",
            around(leaf)
        ),
        _ if path.starts_with("tasks.*.") => {
            let prompt = if leaf == "prompt" { "" } else { ", prompt: x" };
            format!("tasks: {{t: {{{}{prompt}}}}}", around(leaf))
        }
        _ if path.starts_with("agent.model.") => {
            let all = [
                ("name", "n"),
                ("base-url", "https://b.example"),
                ("key", "K"),
            ];
            let others: Vec<String> = all
                .iter()
                .filter(|(name, _)| *name != leaf)
                .map(|(name, text)| format!("{name}: {text}"))
                .collect();
            format!(
                "agent: {{model: {{{}, {}}}}}",
                around(leaf),
                others.join(", ")
            )
        }
        "agent.use" => format!("agent: {{use: {value}, command: [x]}}"),
        "agent.command" => format!("agent: {{use: command, command: {value}}}"),
        _ => {
            let parts: Vec<&str> = path.split('.').collect();
            let (last, outer) = parts.split_last().expect("a last part");
            outer
                .iter()
                .rev()
                .fold(around(last), |text, part| format!("{part}: {{{text}}}"))
        }
    };
    format!("version: 1\n{inner}\n")
}

#[test]
fn every_described_key_is_read_or_refused_as_not_supported() {
    let mut supported_keys = 0;
    keys::each(&mut |path, key| {
        if matches!(key.shape, Shape::Section(_)) || path == "version" {
            return;
        }
        let text = policy_with(path, key.example);
        match parse("p.yml", &text) {
            Ok(policy) => {
                supported_keys += 1;
                assert_ne!(
                    placeless(policy),
                    Policy::default(),
                    "{path} has no effect:\n{text}"
                );
            }
            Err(found) => {
                let words: Vec<String> = found.iter().map(ToString::to_string).collect();
                let known = supported::not_yet(path).is_some();
                assert!(
                    known
                        && words
                            .iter()
                            .all(|word| word.contains("is not supported yet")
                                || word.contains("not supported yet")),
                    "{path}: {words:?}\n{text}"
                );
            }
        }
    });
    assert!(supported_keys > 40, "{supported_keys}");
}

#[test]
fn rows_of_what_is_not_supported_name_keys_that_exist() {
    let mut known = BTreeSet::new();
    keys::each(&mut |path, _| {
        known.insert(path.to_owned());
    });
    for row in supported::NOT_YET {
        assert!(known.contains(row.key), "{}", row.key);
    }
}

/// Wrong policies, and where the first fault stands.
#[rustfmt::skip]
const WRONG: &[(&str, &str)] = &[
    ("", "p.yml:1:1"),
    ("[]", "p.yml:1:1"),
    ("version: 2", "p.yml:1:10"),
    ("version: '1'", "p.yml:1:10"),
    ("version: 1.0", "p.yml:1:10"),
    ("version: 0x1", "p.yml:1:10"),
    ("version: 1\n---\nversion: 1", "p.yml:2:1"),
    ("version: 1\nnetwerk: {}", "p.yml:2:1"),
    ("version: 1\nversion: 1", "p.yml:2:1"),
    ("version: 1\n? [a]\n: b", "p.yml:2:3"),
    ("version: 1\n1: b", "p.yml:2:1"),
    ("version: 1\nlimits: !x {}", "p.yml:2:9"),
    ("version: 1\nlimits: null", "p.yml:2:9"),
    ("version: 1\n<<: {}", "p.yml:2:1"),
    ("version: 1\nsetup: &a [*a]", "p.yml:2:12"),
    ("version: 1\nlimits: {memory: 4 bananas}", "p.yml:2:18"),
    ("version: 1\nlimits: {memory: 1B}", "p.yml:2:18"),
    ("version: 1\nlimits: {processes: -1}", "p.yml:2:21"),
    ("version: 1\nlimits: {wall-time: 20}", "p.yml:2:21"),
    ("version: 1\nlimits: {wall-time: 2d}", "p.yml:2:21"),
    ("version: 1\nrequire: {level: z}", "p.yml:2:18"),
    ("version: 1\napproval: {required: 0}", "p.yml:2:22"),
    ("version: 1\ntasks: {Bad: {prompt: x}}", "p.yml:2:9"),
    ("version: 1\ntasks: {a: {}}", "p.yml:2:12"),
    ("version: 1\ntasks: {a: {prompt: x, schedule: daily}}", "p.yml:2:34"),
    ("version: 1\ntriggers: {bots: [dependabot]}", "p.yml:2:19"),
    ("version: 1\nagent: {use: command}", "p.yml:2:9"),
    ("version: 1\nagent: {command: [x]}", "p.yml:2:9"),
    ("version: 1\nagent: {model: {name: x, key: K, base-url: 'http://a.example'}}", "p.yml:2:44"),
    ("version: 1\nagent: {model: {name: x, key: GITHUB_TOKEN, base-url: 'https://a.example'}}", "p.yml:2:31"),
    ("version: 1\nfilesystem: {read-only: [/etc]}", "p.yml:2:26"),
    ("version: 1\nfilesystem: {deny: [../x]}", "p.yml:2:21"),
    ("version: 1\nfilesystem: {read: [x]}", "p.yml:2:21"),
    ("version: 1\nenvironment: {pass: [NPM_TOKEN]}", "p.yml:2:22"),
    ("version: 1\nenvironment: {set: {RUNNER_X: a}}", "p.yml:2:21"),
    ("version: 1\nnetwork: {allow: {}}", "p.yml:2:18"),
    ("version: 1\nnetwork: {allow: [{}]}", "p.yml:2:19"),
    ("version: 1\nnetwork: {allow: [{host: a.example, ports: []}]}", "p.yml:2:44"),
    ("version: 1\nnetwork: {allow: [{host: a.example, ports: [0]}]}", "p.yml:2:45"),
    ("version: 1\nnetwork: {allow: [{host: a.example, ports: [65536]}]}", "p.yml:2:45"),
    ("version: 1\nnetwork: {allow: [{host: '*.co.uk'}]}", "p.yml:2:26"),
    ("version: 1\nnetwork: {allow: [{host: 0x7f.1}]}", "p.yml:2:26"),
    ("version: 1\nnetwork: {allow: [{host: 169.254.169.254}]}", "p.yml:2:26"),
    ("version: 1\nnetwork: {allow: [{host: a.example, private: yes}]}", "p.yml:2:46"),
    ("version: 1\nnetwork: {allow: [{host: a.example, tls: tunnel, paths: [/x]}]}", "p.yml:2:50"),
    ("version: 1\nnetwork: {allow: [{host: a.example, paths: [x]}]}", "p.yml:2:45"),
    ("version: 1\nnetwork: {allow: [{host: a.example, paths: ['/a/**/b']}]}", "p.yml:2:45"),
    ("version: 1\nnetwork: {allow: [{host: '*.a.example', methods: [GET], paths: [/x], credential: {header: a, value: '${K}'}}]}", "p.yml:2:70"),
    ("version: 1\nagent: {model: {name: m, key: K, base-url: 'https://m.example'}}\nnetwork: {allow: [{host: '*.example', tls: inspect}, {host: m.example, tls: tunnel}]}", "p.yml:3:26"),
    ("version: 1\nagent: {model: {name: m, key: K, base-url: 'https://m.example'}}\nnetwork: {allow: [{host: m.example, tls: tunnel}]}", "p.yml:3:37"),
    ("version: 1\nnetwork: {allow: [{host: m.a.example, tls: tunnel}, {host: '*.a.example'}]}", "p.yml:2:39"),
    ("version: 1\nextends: [nonsense]", "p.yml:2:11"),
    ("version: 1\nextends: [.github/more.yml]", "p.yml:2:11"),
    ("version: 1\nextends: [.github/../more.yml]", "p.yml:2:11"),
    ("version: 1\nextends: [more.yml]", "p.yml:2:11"),
    ("version: 1\nextends: maintenance", "p.yml:2:10"),
    ("version: 1\nchanges: {allow: ['[']}", "p.yml:2:19"),
    ("version: 1\npull-request: {branch-prefix: 'refs/heads/'}", "p.yml:2:31"),
    ("version: 1\npull-request: {draft: false}", "p.yml:2:23"),
    ("version: 1\nbases: [\"a b\"]", "p.yml:2:9"),
    ("version: 1\n\tx: 1", "p.yml:1:10"),
    ("version: 1\nlimits: {memory: 4GiB", "p.yml:2:"),
];

#[test]
fn each_wrong_line_is_named_with_its_place() {
    for (text, place) in WRONG {
        let found = faults(text);
        assert!(
            found.first().is_some_and(|fault| fault.starts_with(place)),
            "{text}\n{found:#?}"
        );
        assert!(
            found.iter().all(|fault| fault.contains("; ")),
            "no mend: {found:#?}"
        );
    }
}

#[test]
fn all_faults_come_at_once_in_the_order_of_the_file() {
    let found = faults(
        "version: 1\nb: 1\nlimits: {memory: 4}\nnetwork:\n  allow:\n    - {host: '*'}\n    - {host: a.example, ports: [0]}\nversion: 1\n",
    );
    let lines: Vec<&str> = found
        .iter()
        .map(|fault| fault.split(':').nth(1).unwrap())
        .collect();
    assert_eq!(lines, ["2", "3", "6", "7", "8"], "{found:#?}");
}

#[test]
fn bounds_hold_against_hostile_files() {
    let laughs: String = (1..12)
        .map(|level| {
            format!(
                "a{level}: &a{level} [{}]\n",
                vec![format!("*a{}", level - 1); 9].join(",")
            )
        })
        .collect();
    let cases = [
        (
            "aliases",
            format!("a0: &a0 [x,x,x,x,x,x,x,x,x]\n{laughs}version: 1\n"),
        ),
        (
            "text by aliases",
            format!(
                "a: &a {}\nb: [{}]\nversion: 1\n",
                "x".repeat(100_000),
                "*a, ".repeat(20_000)
            ),
        ),
        ("depth", format!("version: 1\na: {}", "[".repeat(100_000))),
        ("size", format!("version: 1\n#{}", "x".repeat(300 << 10))),
        (
            "values",
            format!("version: 1\na: [{}]", "1,".repeat(125_000)),
        ),
    ];
    for (what, text) in cases {
        let begun = std::time::Instant::now();
        let found = faults(&text);
        assert!(!found.is_empty() && found.len() <= 100, "{what}");
        assert!(
            begun.elapsed().as_secs() < 20,
            "{what} took {:?}",
            begun.elapsed()
        );
    }
}

#[test]
fn bounded_aliases_are_read() {
    let text = "version: 1\nnetwork:\n  allow:\n    - {host: a.example, methods: &m [GET, POST]}\n    - {host: b.example, methods: *m}\n";
    let policy = parse("p.yml", text).unwrap();
    assert_eq!(policy.network.allow[1].methods, ["GET", "POST"]);
    assert_eq!(policy.network.allow[1].at.line, 5);
}

#[test]
fn what_is_shown_is_read_as_the_same_policy() {
    let mut texts = vec![DEFAULT.to_owned(), WHOLE.to_owned()];
    keys::each(&mut |path, key| {
        if !matches!(key.shape, Shape::Section(_)) && path != "version" {
            texts.push(policy_with(path, key.example));
        }
    });
    for text in texts {
        let Ok(policy) = parse("p.yml", &text) else {
            continue;
        };
        let shown = yaml::write(&show::tree(&policy)).unwrap();
        let again = parse("p.yml", &shown).unwrap_or_else(|faults| panic!("{faults:?}\n{shown}"));
        assert_eq!(placeless(policy), placeless(again), "{shown}");
    }
}

/// A policy with texts that a careless writer would not quote.
const WHOLE: &str = r#"
version: 1
triggers: { schedule: { owner: "null" } }
tasks:
  a: { schedule: "17 4 * * 1", prompt: "yes: no # really\n  - x\n" }
environment: { set: { CI: "true", A: "", B: "0x1", C: "1e3", D: "~", E: " x ", F: "12:30", G: "ünï" } }
network:
  allow:
    - { host: "*.Bücher.example.", ports: [80, 443], private: true, auth: pass }
    - { host: "::1", ports: [8443], methods: [GET, POST], paths: ["/v1/**", "/*"], private: true }
    - { host: t.example, tls: tunnel }
    - host: key.example
      methods: [POST]
      paths: [/x]
      credential: { header: x-key, value: "${K}" }
pull-request: { labels: ["a: b", '# 1', "- c"] }
"#;

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn values_survive_being_written_and_read(value in "[ -~]{0,40}", name in "[A-Z]{1,8}") {
        let text = format!("version: 1\nenvironment: {{set: {{X{name}_: {}}}}}\n", serde_json::to_string(&value).unwrap());
        let policy = parse("p.yml", &text).unwrap();
        prop_assert_eq!(policy.environment.set.values().next(), Some(&value));
    }
}

#[test]
fn schema_is_the_committed_one_and_knows_the_described_keys() {
    let (code, text) = said(&tagout(&["policy", "schema"], b""));
    assert_eq!(code, 0);
    kept("policies/schema.json", &text);
    let schema: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mut described = BTreeSet::new();
    keys::each(&mut |path, _| {
        described.insert(path.to_owned());
    });
    let mut found = BTreeSet::new();
    paths_of(&schema, "", &mut found);
    assert_eq!(found, described);
}

/// The dotted paths of a schema's properties.
fn paths_of(schema: &serde_json::Value, path: &str, found: &mut BTreeSet<String>) {
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        found.insert(path.clone());
        paths_of(inner, &path, found);
    }
    for inner in schema["anyOf"].as_array().into_iter().flatten() {
        paths_of(inner, path, found);
    }
    if let Some(inner) = schema.get("items") {
        paths_of(inner, &format!("{path}[]"), found);
    }
    if schema["additionalProperties"].is_object() {
        paths_of(&schema["additionalProperties"], &format!("{path}.*"), found);
    }
}

/// Holds a committed file against what the program says; UPDATE=1 writes it anew, to be reviewed like prose.
fn kept(file: &str, text: &str) {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&file, text).expect("the file can be written");
    }
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(
        committed,
        text,
        "{} differs; run the test with UPDATE=1 and review it",
        file.display()
    );
}

#[test]
fn table_of_keys_in_the_docs_is_the_description() {
    let (begin, end) = (
        "<!-- keys: generated, see tests/integration/policy.rs -->\n",
        "<!-- /keys -->\n",
    );
    let mut table = String::from("| key | default | what it does |\n|---|---|---|\n");
    keys::each(&mut |path, key| {
        let default = match (&key.shape, key.default) {
            (Shape::Section(_), _) => String::new(),
            (_, "") if path == "network.allow[].paths" => "all".to_owned(),
            (_, "") => "must be written".to_owned(),
            (_, "[...]") => "see `policies/default.yml`".to_owned(),
            (_, text) => format!("`{text}`"),
        };
        let so_far = match supported::not_yet(path) {
            Some(row) if row.only.is_empty() => " (not supported yet)".to_owned(),
            Some(row) => format!(" (supported so far: {})", row.only.join(", ")),
            None => String::new(),
        };
        table.push_str(&format!(
            "| `{path}` | {default} | {}{so_far} |\n",
            key.about
        ));
    });
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/policy.md");
    let docs = std::fs::read_to_string(file).unwrap();
    let (before, rest) = docs.split_once(begin).unwrap();
    let (_, after) = rest.split_once(end).unwrap();
    kept(
        "docs/policy.md",
        &format!("{before}{begin}{table}{end}{after}"),
    );
}

#[test]
fn init_prints_the_defaults_and_show_fills_them_in() {
    let (code, text) = said(&tagout(&["policy", "init"], b""));
    assert_eq!((code, text.as_str()), (0, DEFAULT));
    let (code, text) = said(&tagout(&["policy", "show", "policies/default.yml"], b""));
    assert_eq!(code, 0);
    assert_eq!(placeless(parse("p.yml", &text).unwrap()), Policy::default());
    let output = tagout(&["policy", "show", "Cargo.toml"], b"");
    assert_eq!(output.status.code(), Some(3));
    assert!(output.stdout.is_empty() && output.stderr.starts_with(b"Cargo.toml:"));
}

#[test]
fn suggested_lines_allow_exactly_the_request() {
    let tree = show::suggestion("Bücher.example", 443, "GET", "/v1/x").unwrap();
    let lines = yaml::write(&tree).unwrap();
    assert_eq!(
        lines,
        "host: xn--bcher-kva.example\nmethods:\n- GET\npaths:\n- /v1/x\n"
    );
    for (host, method, path) in [
        ("127.0.0.1", "GET", "/"),
        ("a.example", "get", "/"),
        ("a.example", "GET", "/a%2fb"),
        ("a.example", "GET", "/a/**"),
        ("a\n.b", "GET", "/"),
    ] {
        assert_eq!(
            show::suggestion(host, 443, method, path),
            None,
            "{host} {method} {path}"
        );
    }
}

fn tagout(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tagout"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    child
        .stdin
        .take()
        .expect("stdin is piped")
        .write_all(input)
        .expect("it reads");
    child.wait_with_output().expect("it ends")
}

fn said(output: &Output) -> (i32, String) {
    (
        output.status.code().expect("it was not killed"),
        String::from_utf8(output.stdout.clone()).expect("it writes UTF-8"),
    )
}

#[test]
fn check_says_valid_or_names_the_file_as_given() {
    let (code, text) = said(&tagout(&["policy", "check", "policies/default.yml"], b""));
    assert_eq!(
        (code, text.as_str()),
        (0, "policies/default.yml: valid, 0 network rules\n")
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.yml");
    std::fs::write(&file, b"version: 1\nx: \xff\n").unwrap();
    let (code, text) = said(&tagout(&["policy", "check", file.to_str().unwrap()], b""));
    assert_eq!(code, 3);
    assert_eq!(
        text,
        format!(
            "{}:2:4: the file is not UTF-8; save it as UTF-8\n",
            file.display()
        )
    );
    let (code, text) = said(&tagout(&["policy", "check", "nowhere.yml"], b""));
    assert_eq!(code, 3);
    assert!(
        text.starts_with("nowhere.yml:1:1: the file cannot be read"),
        "{text}"
    );
}

#[test]
fn test_answers_each_request_and_denies_what_it_cannot_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.yml");
    std::fs::write(
        &file,
        "version: 1\nagent:\n  model: {name: m, base-url: https://m.example/v1, key: K}\nnetwork:\n  allow:\n    - {host: a.example, paths: ['/v1/**']}\n",
    )
    .unwrap();
    let name = file.to_str().unwrap();
    let (code, text) = said(&tagout(
        &["policy", "test", name, "GET https://a.example/v1/x"],
        b"",
    ));
    assert_eq!(
        (code, text),
        (0, format!("allow\n  rule for a.example at {name}:6\n"))
    );
    let (code, text) = said(&tagout(
        &[
            "policy",
            "test",
            name,
            "POST https://m.example/v1/responses",
        ],
        b"",
    ));
    assert_eq!(
        (code, text),
        (0, format!("allow\n  rule for m.example at {name}:3\n"))
    );
    let (code, text) = said(&tagout(
        &["policy", "test", name, "POST https://m.example/v1/files"],
        b"",
    ));
    assert_eq!(code, 1);
    assert!(
        text.starts_with(&format!(
            "deny\n  rule for m.example at {name}:3\n  path-not-allowed: "
        )),
        "{text}"
    );
    let long = format!("GET https://a.example/v1/{}\n", "x".repeat(3000));
    let mut input =
        format!("GET https://a.example/v1/x\r\nGET https://a.example/v1/x\n\nnonsense\n{long}")
            .into_bytes();
    input.extend_from_slice(b"GET https://a.example/v1/\xff\n");
    input.extend_from_slice(&[b'x'; 100_000]);
    input.extend_from_slice(b"\nGET https://a.example/v1/last");
    let output = tagout(&["policy", "test", name, "--json", "-"], &input);
    let (code, text) = said(&output);
    let verdicts: Vec<String> = text
        .lines()
        .map(|line| {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            let keys: Vec<&String> = value.as_object().unwrap().keys().collect();
            assert_eq!(keys, ["at", "request", "rule", "verdict"]);
            value["verdict"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(
        verdicts,
        [
            "deny", "allow", "deny", "deny", "deny", "deny", "deny", "allow"
        ]
    );
    assert_eq!(code, 1);
}

/// Codes and lines of the warnings of a valid policy.
fn warnings(text: &str) -> Vec<(&'static str, u32)> {
    let (policy, places) = parse_placed("p.yml", text).expect("valid");
    lint(&policy, &places)
        .iter()
        .map(|warning| (warning.code, warning.fault.at.line))
        .collect()
}

#[test]
fn defaults_and_narrow_rules_give_no_warning() {
    assert_eq!(warnings(DEFAULT), []);
    let narrow = "version: 1\nnetwork:\n  allow:\n    - {host: forge.example}\n    - {host: api.forge.example, methods: [POST], paths: [/repos/o/r/issues]}\n    - {host: registry.example, methods: [POST], paths: [/-/npm/v1/security/advisories/bulk]}\n    - {host: g.example, paths: ['/o/r.git/**']}\n    - {host: a.example, paths: [/v1/x]}\n    - {host: a.example, paths: ['/v1/**']}\n    - {host: 10.0.0.1, private: true}\n  registries: [git]\n";
    assert_eq!(warnings(narrow), []);
}

#[test]
fn unwise_rules_are_warned_of_with_their_line() {
    let text = "version: 1
agent: {model: {name: m, base-url: https://m.example/v1, key: K}, limits: {wall-time: 2h}}
tasks: {a: {prompt: x, schedule: '1 2 3 4 5'}}
filesystem: {read-only: [.git]}
environment: {set: {PATH: /x}}
changes:
  allow: []
  protect: ['.github/**']
network:
  allow:
    - {host: forge.example, methods: [POST]}
    - {host: x.github.io, methods: [PUT], paths: ['/**']}
    - {host: t.example, tls: tunnel, auth: pass}
    - {host: registry.example, methods: [PUT], paths: ['/api/v1/crates/**']}
    - {host: '*.b.example', paths: ['/v1/**']}
    - {host: a.b.example, paths: ['/v1/x/*', /v1/y], methods: [GET]}
    - {host: '*.b.example', paths: ['/v1/**'], methods: [POST]}
    - {host: m.example, methods: [POST]}
    - {host: 10.0.0.1}
    - {host: g.example, methods: [GET, POST], paths: ['/o/r.git/*']}
";
    assert_eq!(
        warnings(text),
        [
            ("time-cut", 2),
            ("schedule-without-owner", 3),
            ("read-only-weakened", 4),
            ("no-effect", 5),
            ("nothing-allowed", 7),
            ("protect-weakened", 8),
            ("open-upload", 11),
            ("open-upload", 12),
            ("tunnel-not-inspected", 13),
            ("no-effect", 13),
            ("auth-pass", 13),
            ("registry-write", 14),
            ("rule-shadowed", 16),
            ("open-upload", 18),
            ("model-host-open", 18),
            ("address-unreachable", 19),
            ("registry-write", 20),
        ]
    );
}

#[test]
fn check_prints_warnings_on_stderr_and_ends_well() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.yml");
    std::fs::write(&file, "version: 1\nchanges: {allow: []}\n").unwrap();
    let output = tagout(&["policy", "check", file.to_str().unwrap()], b"");
    assert_eq!(output.status.code(), Some(0));
    let expected = format!(
        "{}:2:11: warning: an empty list allows no change at all; name what may change, as in [\"src/**\"] [nothing-allowed]\n",
        file.display()
    );
    assert_eq!(String::from_utf8_lossy(&output.stderr), expected);
}

#[test]
fn built_in_policies_are_valid_and_open_nothing() {
    for (name, text) in BUILT_IN {
        let policy = parse(name, text).unwrap_or_else(|faults| panic!("{name}: {faults:?}"));
        assert_eq!(warnings(text), [], "{name}");
        let default = Policy::default();
        let network = placeless(policy.clone()).network;
        assert_eq!(
            (network, policy.filesystem, policy.environment),
            (default.network, default.filesystem, default.environment),
            "{name}"
        );
        assert!(
            !text.contains("extends:\n")
                && policy.approval == default.approval
                && policy.setup.is_empty(),
            "{name}"
        );
    }
}

#[test]
fn extending_adds_to_lists_and_replaces_scalars() {
    let text = "version: 1
extends: [maintenance]
tasks: {own: {prompt: x}, update-deps: {schedule: '17 4 * * 1'}}
changes: {limits: {files: 7}}
pull-request: {labels: [own, maintenance]}
";
    let found = faults(text);
    assert_eq!(
        found.len(),
        1,
        "a task needs its prompt where it is written: {found:?}"
    );
    let policy = parse(
        "p.yml",
        &text.replace("{schedule:", "{prompt: y, schedule:"),
    )
    .unwrap();
    assert_eq!(policy.tasks.len(), 5);
    assert_eq!(policy.tasks["update-deps"].prompt, "y");
    assert!(
        policy.tasks["fix-lints"]
            .prompt
            .starts_with("Run the linters")
    );
    assert_eq!((policy.changes.files, policy.changes.bytes), (7, 2 << 20));
    assert_eq!(policy.pull_request.labels, ["maintenance", "own"]);
    let alone = parse("p.yml", "extends: [maintenance]\nversion: 1\n").unwrap();
    assert_eq!(alone.pull_request.labels, ["maintenance"]);
    assert_eq!(alone.network.at.file.as_ref(), "p.yml");
}

/// What is wrong with a policy that builds on these files, as `file:line:column`.
fn places_of(text: &str, others: &[(&str, &str)]) -> Vec<String> {
    let owned = |(path, text): &(&str, &str)| ((*path).to_owned(), (*text).to_owned());
    let others = others.iter().map(owned).collect();
    let found = parse_whole(".github/tagout.yml", text, &others);
    let faults = found.err().unwrap_or_default();
    faults
        .iter()
        .map(|it| format!("{}:{}:{}", it.at.file, it.at.line, it.at.column))
        .collect()
}

#[test]
fn files_of_the_commit_are_built_on_in_order() {
    let (one, two) = (".github/one.yml", ".github/policies/two.yaml");
    let others = [
        (
            one,
            "version: 1\nextends: [.github/policies/two.yaml]\nsetup: [b]\nlimits: {processes: 7}\n",
        ),
        (
            two,
            "version: 1\nsetup: [a]\nlimits: {processes: 5}\nbases: ['v*']\n",
        ),
    ];
    let text = "version: 1\nextends: [maintenance, .github/one.yml]\nsetup: [c]\n";
    let owned = others.map(|(path, text)| (path.to_owned(), text.to_owned()));
    let policy = parse_whole("p.yml", text, &owned.into()).unwrap();
    assert_eq!(policy.setup, ["a", "b", "c"]);
    assert_eq!(policy.limits.processes, 7);
    assert_eq!(policy.bases, ["v*"]);
    assert!(policy.tasks.contains_key("fix-lints"));
    assert_eq!(extend::files(text), [one]);
}

#[test]
fn faults_of_files_that_are_built_on_name_the_file() {
    let one = ".github/one.yml";
    let text = "version: 1\nextends: [.github/one.yml]\n";
    for (file, place) in [
        ("version: 1\nsetpu: [a]\n", ".github/one.yml:2:1"),
        ("version: 1\nsetup: [\n", ".github/one.yml:2:9"),
        ("setup: [a]\n", ".github/one.yml:1:1"),
        (
            "version: 1\nextends: [.github/two.yml]\n",
            ".github/one.yml:2:11",
        ),
    ] {
        assert_eq!(places_of(text, &[(one, file)]), [place], "{file}");
    }
    assert_eq!(
        places_of(text, &[]),
        [".github/tagout.yml:2:11"],
        "it is not there"
    );
}

#[test]
fn circles_and_crowds_are_refused() {
    let text = "version: 1\nextends: [.github/one.yml]\n";
    let itself = [(".github/one.yml", text)];
    assert_eq!(places_of(text, &itself), [".github/one.yml:2:11"]);
    let back = "version: 1\nextends: [.github/tagout.yml]\n";
    let around = [(".github/one.yml", back), (".github/tagout.yml", text)];
    assert_eq!(places_of(text, &around), [".github/one.yml:2:11"]);
    let names: Vec<String> = (0..20).map(|it| format!(".github/n{it}.yml")).collect();
    let files: Vec<(&str, &str)> = names
        .iter()
        .map(|it| (it.as_str(), "version: 1\n"))
        .collect();
    let many = format!("version: 1\nextends: [{}]\n", names.join(", "));
    assert_eq!(places_of(&many, &files).len(), 4, "sixteen are taken");
}
