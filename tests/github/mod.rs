//! A small GitHub of our own: it keeps state, refuses what GitHub refuses, fails on demand, keeps a journal, and has
//! every request and answer checked against GitHub's own OpenAPI description.

pub(crate) mod contract;
mod routes;
pub(crate) mod world;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use serde_json::{Value, json};

use contract::Contract;
use world::World;

/// A running server. Dropping it fails the test if a request or an answer broke GitHub's description.
pub(crate) struct Server {
    pub(crate) url: String,
    shared: Arc<Shared>,
}

/// The state while nobody else changes it. To be dropped before the next request, or the server cannot answer.
pub(crate) struct Hold<'a>(MutexGuard<'a, World>);

impl Deref for Hold<'_> {
    type Target = World;
    fn deref(&self) -> &World {
        &self.0
    }
}

impl DerefMut for Hold<'_> {
    fn deref_mut(&mut self) -> &mut World {
        &mut self.0
    }
}

struct Shared {
    world: Mutex<World>,
    contract: Option<&'static Contract>,
    violations: Mutex<Vec<String>>,
    stop: AtomicBool,
}

impl Shared {
    fn is_silent(&self) -> bool {
        let world = self.world.lock().expect("no thread panicked");
        world
            .silent_from
            .is_some_and(|from| world.journal.len() >= from)
    }
}

/// One request as read from the wire.
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: BTreeMap<String, String>,
    pub(crate) token: Option<String>,
    pub(crate) accept: String,
    pub(crate) body: Value,
}

/// What a route answers: the status, the template of the path that it belongs to, and the fields that we know.
/// Everything else of the answer is GitHub's own example.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) template: &'static str,
    pub(crate) body: Option<Value>,
    pub(crate) headers: Vec<(String, String)>,
    /// A body that is no JSON.
    pub(crate) raw: Option<Vec<u8>>,
}

impl Answer {
    pub(crate) fn new(status: u16, template: &'static str, body: Value) -> Self {
        Self {
            status,
            template,
            body: Some(body),
            headers: Vec::new(),
            raw: None,
        }
    }

    pub(crate) fn error(status: u16, template: &'static str, message: &str) -> Self {
        let body = json!({"message": message, "documentation_url": "https://docs.github.com/rest"});
        Self::new(status, template, body)
    }
}

impl Server {
    /// Starts with an empty repository `o/r`.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let shared = Arc::new(Shared {
            world: Mutex::new(World::new()),
            contract: contract(),
            violations: Mutex::new(Vec::new()),
            stop: AtomicBool::new(false),
        });
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if serving.stop.load(Ordering::SeqCst) {
                    return;
                }
                let serving = Arc::clone(&serving);
                std::thread::spawn(move || serve(stream, &serving));
            }
        });
        Self { url, shared }
    }

    /// The state, to prepare and to look at.
    pub(crate) fn world(&self) -> Hold<'_> {
        Hold(self.shared.world.lock().expect("no thread panicked"))
    }

    /// Every request that could change something and was not refused, as `METHOD path`.
    pub(crate) fn writes(&self) -> Vec<String> {
        let world = self.world();
        world
            .journal
            .iter()
            .filter(|(method, path, status)| {
                method != "GET" && *status < 300 && !(path == "/graphql" && *status == 299)
            })
            .map(|(method, path, _)| format!("{method} {path}"))
            .collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.url.trim_start_matches("http://")));
        let violations = self.shared.violations.lock().expect("no thread panicked");
        if !std::thread::panicking() {
            assert!(
                violations.is_empty(),
                "GitHub's description was broken:\n{}",
                violations.join("\n")
            );
        }
    }
}

/// GitHub's description, loaded once for all servers of a test.
fn contract() -> Option<&'static Contract> {
    static CONTRACT: OnceLock<Option<Contract>> = OnceLock::new();
    CONTRACT.get_or_init(Contract::load).as_ref()
}

fn serve(stream: TcpStream, shared: &Shared) {
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    while let Some(request) = read(&mut reader) {
        let answer = respond(&request, shared);
        if shared.is_silent() {
            // As for a client that is killed: it never learns of the effect, nor that nobody listens any more.
            while !shared.stop.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(5));
            }
            return;
        }
        if send(&stream, &answer).is_err() {
            return;
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut words = line.split_whitespace();
    let method = words.next()?.to_owned();
    let target = words.next()?.to_owned();
    let (mut length, mut token, mut accept) = (0, None, String::new());
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':')?;
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().ok()?,
            "accept" => value.trim().clone_into(&mut accept),
            "authorization" => token = value.trim().split(' ').nth(1).map(str::to_owned),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let query = url::form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect();
    Some(Request {
        method,
        path: decoded(path),
        query,
        token,
        accept,
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
    })
}

fn decoded(path: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let high = rest.next().and_then(|it| char::from(it).to_digit(16));
            let low = rest.next().and_then(|it| char::from(it).to_digit(16));
            let value = high.zip(low).map(|(high, low)| high * 16 + low);
            bytes.push(u8::try_from(value.unwrap_or(63)).expect("two hexadecimal digits"));
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn respond(request: &Request, shared: &Shared) -> Answer {
    let mut world = shared.world.lock().expect("no thread panicked");
    let failure = world.failure(&request.method, &request.path);
    let mut answer = match &failure {
        Some(failure) if !failure.after_effect => {
            let mut answer = Answer::error(failure.status, "", "told to fail");
            answer.headers.clone_from(&failure.headers);
            answer
        }
        _ => match world.file(&request.path, request.token.is_some()) {
            Some(file) => file,
            None => routes::answer(request, &mut world),
        },
    };
    if let Some(contract) = shared.contract
        && !answer.template.is_empty()
    {
        let found = contract.check(request, &mut answer);
        shared
            .violations
            .lock()
            .expect("no thread panicked")
            .extend(found);
    }
    if let Some(failure) = failure.filter(|failure| failure.after_effect) {
        answer = Answer::error(failure.status, "", "told to fail after the effect");
    }
    world
        .journal
        .push((request.method.clone(), request.path.clone(), answer.status));
    answer
}

fn send(mut stream: &TcpStream, answer: &Answer) -> std::io::Result<()> {
    let body = match (&answer.raw, &answer.body) {
        (Some(raw), _) => raw.clone(),
        (None, Some(body)) => body.to_string().into_bytes(),
        (None, None) => Vec::new(),
    };
    let mut head = format!(
        "HTTP/1.1 {} X\r\ncontent-type: application/json; charset=utf-8\r\ncontent-length: {}\r\n",
        answer.status,
        body.len()
    );
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    stream.write_all(&body)?;
    stream.flush()
}
