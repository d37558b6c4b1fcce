//! One loopback server that plays everything outside: GitHub's API, the model, a host to read from, and a canary.
//! It must never listen beyond loopback, and it counts what reaches it, since that is the evidence.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use super::sample::{self, DOCS_HOST, REPOSITORY};
use super::script::{self, KEY_PREFIX, Places};

/// Longest head of a request in bytes.
const HEAD_BYTES_MAX: u64 = 64 * 1024;
/// Longest body in bytes.
const BODY_BYTES_MAX: u64 = 32 * 1024 * 1024;
const IDLE_MAX: Duration = Duration::from_secs(30);

/// The number of the comment that starts the run.
pub(super) const COMMENT_ID: u64 = 1_700_000_001;

/// An account of the sample.
pub(super) struct Person {
    login: &'static str,
    id: u64,
}

/// Who asks.
pub(super) const MAINTAINER: Person = Person {
    login: "octocat",
    id: 583_231,
};

impl Person {
    pub(super) fn account(&self) -> Value {
        json!({"login": self.login, "id": self.id, "type": "User", "site_admin": false})
    }
}

/// What reached the server.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Requests to the host that may be read, by method.
    pub(super) docs: BTreeMap<String, u64>,
    /// Connections to the canary.
    pub(super) canary: u64,
    /// Requests to the model that carried the real key.
    pub(super) with_key: u64,
    /// What the agent's calls gave, by the call's name.
    pub(super) results: BTreeMap<String, String>,
}

#[derive(Debug, Default)]
struct Shared {
    seen: Mutex<Seen>,
    places: Mutex<Places>,
    key: String,
}

/// The running server.
pub(super) struct Server {
    port: u16,
    shared: Arc<Shared>,
}

/// 64 bits in hexadecimal that nobody else can foresee: the standard library seeds its hashers from the kernel.
pub(super) fn random_word() -> String {
    format!("{:016x}", RandomState::new().build_hasher().finish())
}

impl Server {
    pub(super) fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let canary = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            key: format!("{KEY_PREFIX}{}{}", random_word(), random_word()),
            places: Mutex::new(Places {
                port,
                canary_port: canary.local_addr()?.port(),
                outside: String::new(),
            }),
            ..Shared::default()
        });
        let for_canary = Arc::clone(&shared);
        std::thread::spawn(move || {
            for _stream in canary.incoming().flatten() {
                for_canary.seen(|seen| seen.canary += 1);
            }
        });
        let for_all = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&for_all);
                // A broken connection ends its thread; whoever asked will notice.
                std::thread::spawn(move || shared.serve(&stream).ok());
            }
        });
        Ok(Self { port, shared })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn key(&self) -> &str {
        &self.shared.key
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Names the file outside the workspace that the agent is to try to write.
    pub(super) fn tell_outside(&self, path: &Path) {
        let mut places = self
            .shared
            .places
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        places.outside = path.display().to_string();
    }

    /// Looks at what reached the server.
    pub(super) fn look<Found>(&self, look: impl FnOnce(&Seen) -> Found) -> Found {
        self.shared.seen(|seen| look(seen))
    }
}

struct Request {
    method: String,
    path: String,
    host: String,
    authorization: String,
    body: Vec<u8>,
}

impl Shared {
    fn seen<Found>(&self, with: impl FnOnce(&mut Seen) -> Found) -> Found {
        with(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn serve(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(IDLE_MAX))?;
        stream.set_write_timeout(Some(IDLE_MAX))?;
        let request = read(stream)?;
        let (status, kind, body) = self.answer(&request);
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        let mut stream = stream;
        stream.write_all(head.as_bytes())?;
        stream.write_all(body.as_bytes())
    }

    fn answer(&self, request: &Request) -> (u16, &'static str, String) {
        const JSON: &str = "application/json";
        let host = request.host.split(':').next().unwrap_or_default();
        if host == DOCS_HOST {
            self.seen(|seen| *seen.docs.entry(request.method.clone()).or_default() += 1);
            return (
                200,
                "text/plain",
                "add: gives the sum of two numbers\n".to_owned(),
            );
        }
        let path = request.path.split('?').next().unwrap_or_default();
        let repository = format!("/repos/{REPOSITORY}");
        let permission = format!("{repository}/collaborators/{}/permission", MAINTAINER.login);
        let comment = format!("{repository}/issues/comments/{COMMENT_ID}");
        let found = match (request.method.as_str(), path) {
            ("POST", "/v1/responses") => return self.model(request),
            ("GET", path) if path == permission => json!({
                "permission": "write",
                "role_name": "write",
                "user": MAINTAINER.account(),
            }),
            ("GET", path) if path == comment => sample::comment(),
            ("GET", "/user") => {
                json!({"login": "github-actions[bot]", "id": 41_898_282, "type": "Bot"})
            }
            ("POST", "/graphql") => {
                json!({"data": {"viewer": {"login": "github-actions[bot]", "databaseId": 41_898_282}}})
            }
            _ => return (404, JSON, json!({"message": "Not Found"}).to_string()),
        };
        (200, JSON, found.to_string())
    }

    /// The model: notes what the calls gave, and says the next step.
    fn model(&self, request: &Request) -> (u16, &'static str, String) {
        let body: Value = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
        let with_key = request.authorization == format!("Bearer {}", self.key);
        self.seen(|seen| {
            seen.with_key += u64::from(with_key);
            let items = body.get("input").and_then(Value::as_array);
            for item in items.into_iter().flatten() {
                let text = |name: &str| item.get(name).and_then(Value::as_str);
                if let (Some(call), Some(output)) = (text("call_id"), text("output")) {
                    seen.results.insert(call.to_owned(), output.to_owned());
                }
            }
        });
        if !with_key {
            let error = json!({"error": {"message": "the key is wrong"}});
            return (401, "application/json", error.to_string());
        }
        let places = self
            .places
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let mut events = vec![json!({"type": "response.created", "response": {"id": "resp_demo"}})];
        for (place, item) in (0_u64..).zip(script::answer(&body, &places)) {
            events.push(
                json!({"type": "response.output_item.done", "output_index": place, "item": item}),
            );
        }
        events.push(json!({"type": "response.completed", "response": {
            "id": "resp_demo",
            "status": "completed",
            "usage": {"input_tokens": request.body.len() / 4, "output_tokens": 60},
        }}));
        let stream: String = events
            .iter()
            .map(|event| {
                let kind = event
                    .get("type")
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                format!("event: {kind}\ndata: {event}\n\n")
            })
            .collect();
        (200, "text/event-stream", stream)
    }
}

fn read(stream: &TcpStream) -> io::Result<Request> {
    let mut reader = BufReader::new(stream);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        let read = reader.by_ref().take(HEAD_BYTES_MAX).read_line(&mut line)?;
        let size: usize = head.iter().map(String::len).sum();
        if read == 0 || u64::try_from(size).unwrap_or(u64::MAX) > HEAD_BYTES_MAX {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if line.trim().is_empty() {
            break;
        }
        head.push(line);
    }
    let header = |name: &str| {
        head.iter()
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .find(|(known, _)| known.trim().eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim().to_owned())
            .unwrap_or_default()
    };
    let mut words = head
        .first()
        .map(|line| line.split(' '))
        .into_iter()
        .flatten();
    let method = words.next().unwrap_or_default().to_owned();
    let path = words.next().unwrap_or_default().to_owned();
    let length: u64 = header("content-length").parse().unwrap_or(0);
    let mut body = Vec::new();
    let wanted = length.min(BODY_BYTES_MAX);
    reader.by_ref().take(wanted).read_to_end(&mut body)?;
    Ok(Request {
        method,
        path,
        host: header("host"),
        authorization: header("authorization"),
        body,
    })
}
