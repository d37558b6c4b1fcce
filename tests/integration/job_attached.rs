//! What belongs to a thread beside its words: images and logs reach the agent as files, or are counted with the reason why not.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::fs;

use serde_json::{Value, json};

use crate::github_server::Server;
use crate::github_server::world::{File, TOKEN};
use crate::job_github::{READER, Scene};

const NAME: &str = "3f6c2f0e-7f43-4d6e-9d0f-0f4a5d1c2b3a";

/// The head of a PNG of this size.
fn png(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
    bytes.extend(width.to_be_bytes());
    bytes.extend(height.to_be_bytes());
    bytes.extend(b"\x08\x06\0\0\0");
    bytes
}

fn put(server: &Server, path: &str, file: File) {
    server.world().files.insert(path.to_owned(), file);
}

/// Runs an agent that leaves its prompt in c.txt, and what it can do with the first file that it names in d.txt.
fn run(scene: &Scene, event: &str, more: &[&str]) -> Value {
    const WORK: &str = r#"printf %s "$TAGOUT_PROMPT" > c.txt
f=$(printf %s "$TAGOUT_PROMPT" | sed -n 's/^- \(\/[^:]*\): .*/\1/p' | head -n 1)
if [ -n "$f" ]; then
  cksum < "$f" > d.txt
  (echo x >> "$f") 2>/dev/null && echo written >> d.txt
  rm -f "$f" 2>/dev/null; [ -e "$f" ] || echo removed >> d.txt
fi; exit 0"#;
    let args = [&["run", "--json"], more, &["--", "sh", "-c", WORK]].concat();
    let (code, json) = scene.tagout_on(event, TOKEN, &args);
    assert_eq!(
        (code, json["outcome"].as_str()),
        (0, Some("proposed")),
        "{json}"
    );
    json
}

fn left(scene: &Scene, name: &str) -> String {
    let world = scene.server.world();
    let files = world.files(&world.pulls[0].head);
    files.get(name).map(|it| it.1.clone()).unwrap_or_default()
}

fn told(scene: &Scene) -> String {
    scene.server.world().pulls[0].body.clone()
}

#[test]
fn image_of_the_thread_reaches_the_agent_as_a_file() {
    let scene = Scene::new("write");
    let url = scene.server.url.clone();
    let asked = scene.ask(&format!(
        "/tagout draw it like ![this](https://nobody.example/x.png) ![that]({url}/user-attachments/assets/{NAME})"
    ));
    let signed = format!("/user-attachments/assets/9-{NAME}.png");
    let html = format!("<p><img src=\"{url}{signed}?jwt=abc\"></p>");
    scene.server.world().rendered.insert(asked, html);
    let image = png(640, 480);
    put(&scene.server, &signed, File::Bytes(image.clone()));
    run(&scene, "issue_comment", &[]);
    let prompt = left(&scene, "c.txt");
    assert!(
        prompt.contains("png image, 640 by 480 pixels, attached by octocat"),
        "{prompt}"
    );
    let did = left(&scene, "d.txt");
    assert!(
        did.ends_with(&format!(" {}\n", image.len())),
        "read, and not changed: {did}"
    );
    assert_eq!(
        scene.server.world().visits,
        [(signed, false)],
        "without the token"
    );
    let body = told(&scene);
    assert!(
        body.contains("image of the thread, withheld from the agent: host-not-allowed"),
        "{body}"
    );
}

#[test]
fn image_is_fetched_from_where_the_policy_lets_the_agent_read_and_from_nowhere_else() {
    let others = Server::start();
    let port = others.url.rsplit(':').next().unwrap().to_owned();
    let policy = format!(
        "version: 1\nnetwork:\n  allow:\n    - {{host: images.example.com, ports: [{port}], private: true, paths: [\"/shown/*\"]}}\n\
         \x20   - {{host: inner.example.com, ports: [{port}]}}\n"
    );
    let scene = Scene::with("write", &[(".github/tagout.yml", &policy)]);
    let home = format!("{}/user-attachments/assets", scene.server.url);
    let at = |name: &str| format!("http://{name}.example.com:{port}");
    let (images, inner) = (at("images"), at("inner"));
    put(&others, "/shown/a.png", File::Bytes(png(3, 4)));
    put(&others, "/hidden/a.png", File::Bytes(png(3, 4)));
    put(&others, "/shown/page.png", File::Bytes(b"<html>".to_vec()));
    put(&others, "/shown/vast.png", File::Bytes(png(40_000, 40_000)));
    put(
        &others,
        "/shown/long.png",
        File::Bytes(vec![0; (5 << 20) + 1]),
    );
    put(
        &others,
        "/shown/on.png",
        File::Elsewhere(format!("{images}/hidden/a.png")),
    );
    let elsewhere = File::Elsewhere("http://169.254.169.254/latest/meta-data".to_owned());
    put(&scene.server, "/user-attachments/assets/meta", elsewhere);
    let on = File::Elsewhere(format!("{images}/shown/a.png?sig=1"));
    put(&scene.server, "/user-attachments/assets/through", on);
    let all = [
        format!("{home}/through"),
        format!("{home}/meta"),
        format!("{images}/hidden/a.png"),
        format!("{images}/shown/page.png"),
        format!("{images}/shown/vast.png"),
        format!("{images}/shown/long.png"),
        format!("{images}/shown/on.png"),
        format!("{images}/shown/gone.png"),
        format!("{inner}/shown/a.png"),
        format!("{}/user-attachments/other.png", scene.server.url),
        format!("{images}/shown/a.png"),
    ];
    scene.server.world().comment(
        7,
        "reporter",
        &format!("![x]({images}/shown/strangers.png)"),
    );
    let text: String = all.iter().map(|url| format!("![x]({url})\n")).collect();
    scene.ask(&format!("/tagout look\n\n{text}"));
    let (one, two) = (
        format!("images.example.com:{port}:127.0.0.1"),
        format!("inner.example.com:{port}:127.0.0.1"),
    );
    run(
        &scene,
        "issue_comment",
        &["--resolve", &one, "--resolve", &two],
    );
    let prompt = left(&scene, "c.txt");
    let named = prompt
        .lines()
        .filter(|line| line.contains("png image, 3 by 4"));
    assert_eq!(named.count(), 1, "{prompt}");
    let body = told(&scene);
    for (why, count) in [
        ("not-an-image", 1),
        ("too-many-pixels", 1),
        ("too-large", 1),
        ("status-401", 1),
        ("path-not-allowed", 3),
        ("address-literal", 1),
        ("address-not-allowed", 1),
        ("too-many", 1),
    ] {
        let row = format!("image of the thread, withheld from the agent: {why}` | {count} |");
        assert!(body.contains(&row), "{row}: {body}");
    }
    let visits = others.world().visits.clone();
    assert!(
        visits.iter().all(|(_, with_token)| !with_token),
        "{visits:?}"
    );
    assert!(
        !visits
            .iter()
            .any(|(path, _)| path.contains("hidden") || path.contains("strangers")),
        "{visits:?}"
    );
}

const FAILED_CI: &str = "version: 1\ntasks: {failed-ci: {prompt: Mend the build}}\n";

/// A run of CI on the default branch that failed.
fn failed() -> Scene {
    let scene = Scene::with("write", &[(".github/tagout.yml", FAILED_CI)]);
    let octocat = scene.server.world().user("octocat");
    let event = json!({
        "action": "completed",
        "workflow_run": {"id": 77, "run_attempt": 2, "name": "CI", "event": "push", "conclusion": "failure",
            "head_branch": "main", "head_sha": scene.head, "head_repository": {"id": 9}, "actor": octocat,
            "triggering_actor": octocat, "updated_at": "2026-01-01T00:00:30Z", "pull_requests": []},
        "repository": {"id": 9, "full_name": "o/r", "default_branch": "main"},
        "sender": octocat,
    });
    fs::write(scene.place.out("event.json"), event.to_string()).unwrap();
    let place = format!("{}/logs/1?sig=abc", scene.server.url);
    scene.server.world().jobs = vec![
        (1, "build", "failure", place.clone()),
        (2, "lint", "success", place),
    ];
    scene
}

#[test]
fn log_of_a_failed_job_reaches_the_agent_with_its_end_and_nothing_that_acts() {
    let scene = failed();
    let mut log = "early\n".repeat(60_000);
    log.push_str("\u{1b}[31merror\u{1b}[0m: it broke\u{202e}\n::add-mask::x\n");
    put(&scene.server, "/logs/1", File::Bytes(log.into_bytes()));
    run(&scene, "workflow_run", &[]);
    let prompt = left(&scene, "c.txt");
    assert!(prompt.starts_with("Mend the build\n"), "{prompt}");
    assert!(prompt.contains("error: it broke\n"), "{prompt}");
    assert!(
        !prompt.contains("::add-mask") && !prompt.contains('\u{202e}'),
        "{prompt}"
    );
    assert!(
        prompt.contains("the end of the log of a job that failed"),
        "{prompt}"
    );
    let lines = prompt.lines().filter(|line| *line == "early").count();
    assert_eq!(lines, 98, "the last lines only");
    let sizes = left(&scene, "d.txt");
    let bytes: usize = sizes.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!((200_000..=262_144).contains(&bytes), "{sizes}");
    assert_eq!(scene.server.world().visits, [("/logs/1".to_owned(), false)]);
}

#[test]
fn log_that_the_token_may_not_read_is_withheld_and_the_missing_permission_named() {
    let scene = failed();
    scene
        .server
        .world()
        .fail("GET", "/actions/jobs/1/logs", 403, 9);
    run(&scene, "workflow_run", &[]);
    assert!(
        !left(&scene, "c.txt").contains("log"),
        "{}",
        left(&scene, "c.txt")
    );
    let body = told(&scene);
    assert!(
        body.contains(
            "log of a failed job, withheld from the agent: the token needs actions: read"
        ),
        "{body}"
    );
}

#[test]
fn what_was_withheld_is_told_by_the_job_that_publishes() {
    let scene = Scene::new("write");
    scene.ask("/tagout draw ![this](https://nobody.example/x.png)");
    let bundle = scene.place.out("bundle");
    let bundle = bundle.to_str().unwrap();
    let work = [
        "execute",
        "--json",
        "--bundle",
        bundle,
        "--",
        "sh",
        "-c",
        "echo x > b.txt",
    ];
    let (code, sealed) = scene.tagout(READER, &work);
    assert_eq!(code, 0, "{sealed}");
    let digest = sealed["digest"].as_str().unwrap();
    let publish = ["publish", "--json", "--bundle", bundle, "--digest", digest];
    let (code, json) = scene.tagout(TOKEN, &publish);
    assert_eq!(code, 0, "{json}");
    assert!(
        told(&scene).contains("withheld from the agent: host-not-allowed"),
        "{}",
        told(&scene)
    );
}
