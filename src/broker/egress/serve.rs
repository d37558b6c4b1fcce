//! The egress process from its first instruction to its last: undumpable, set up over stdin, ended by its caller's end.
//! It must never read a secret before nobody else can read its memory.

use std::fs::File;
use std::io::{self, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::authority::Authority;
use super::budget::Budgets;
use super::error::EgressError;
use super::log_writer::Log;
use super::model_gate::ModelGate;
use super::process::Answer;
use super::resolve::Names;
use super::road::Road;
use super::scrub::Needles;
use super::setup::{EgressSetup, ProxyAuth, SETUP_BYTES_MAX, random_hex};
use super::upstream::Upstreams;
use super::{door, lockdown, proxy, roots};
use crate::console;
use crate::policy::verdict::Judge;

/// Threads that serve.
const WORKERS: usize = 2;
/// Threads that wait for the system's resolver.
const LOOKUPS_AT_ONCE_MAX: usize = 16;
/// Most connections of programs at a time, each with up to some 20 KiB; the next ones wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 2048;
/// Connections that the kernel keeps for us until they are accepted.
const BACKLOG: i32 = 1024;
/// Descriptors that are asked for.
const DESCRIPTORS_WANTED: u64 = 16_384;
/// How often unused connections are looked through.
const SWEEP_EVERY: Duration = Duration::from_secs(20);
/// Longest wait for what is under way at the end.
const END_WAIT: Duration = Duration::from_secs(2);

/// The whole life of the process behind `wire::EGRESS_WORD`.
#[must_use]
pub fn main() -> ExitCode {
    let line = match io::stdin().as_fd().try_clone_to_owned() {
        Ok(descriptor) => UnixStream::from(descriptor),
        Err(_) => return ExitCode::FAILURE,
    };
    match run(&line) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let why = error.to_string();
            drop(answer(&line, &Answer::Failed { why }));
            ExitCode::FAILURE
        }
    }
}

fn run(line: &UnixStream) -> Result<(), EgressError> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|errno| EgressError::Start(errno.into()))?;
    let (setup, door) = receive(line)?;
    let connections = raise_descriptors();
    let log = io::stdout()
        .as_fd()
        .try_clone_to_owned()
        .map(File::from)
        .map_err(EgressError::Start)?;
    let log =
        Arc::new(Log::new(log).or(Err(EgressError::Message("there is no room for the log")))?);
    let made = make(setup, Arc::clone(&log))?;
    lockdown::lock()?;
    log.start().map_err(EgressError::Start)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(LOOKUPS_AT_ONCE_MAX)
        .enable_all()
        .build()
        .map_err(EgressError::Start)?;
    let result = runtime.block_on(serve(made, door, line, connections));
    // What is under way is dropped here, and each of it writes its line.
    runtime.shutdown_timeout(END_WAIT);
    log.finish();
    result
}

/// Everything that reads files, done before the first connection.
fn make(setup: EgressSetup, log: Arc<Log>) -> Result<Made, EgressError> {
    let EgressSetup { open, secrets, .. } = setup;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let roots = roots::load(open.root_file.as_deref(), open.root_folder.as_deref())?;
    let upstreams = Upstreams::new(&provider, roots::store(&roots), Names::new(&open.resolve))
        .or(Err(EgressError::Message("TLS cannot be set up")))?;
    let authority = Authority::new(provider)?;
    let ca = authority.pem();
    roots::write_bundle(&open.ca_bundle, &roots, authority.certificate())?;
    let model = open
        .model
        .as_ref()
        .map(|rule| {
            let key = secrets
                .get(&rule.model.key)
                .cloned()
                .ok_or_else(|| EgressError::SecretMissing(rule.model.key.clone()))?;
            ModelGate::new(rule, key)
        })
        .transpose()?;
    let user = match open.proxy.map(|proxy| proxy.auth) {
        Some(ProxyAuth::Password) => Some(format!("tagout:{}", random_hex()?)),
        Some(ProxyAuth::Anyone) | None => None,
    };
    let placeholders = secrets.values();
    let road = Road {
        placeholders: Needles::new(
            placeholders.map(|injected| injected.placeholder.clone().into_bytes()),
        ),
        values: Needles::new(
            secrets
                .values()
                .flat_map(|injected| spellings(injected.value.expose())),
        ),
        budgets: Budgets::new(open.network.requests, open.network.upload_bytes),
        judge: Judge::new(Arc::new(open.network)),
        policy_file: open.policy_file,
        model,
        secrets,
        upstreams: Arc::new(upstreams),
        authority,
        log,
        password: user.as_deref().map(Road::expected_authorization),
    };
    let listener = open.proxy.map(|proxy| listen(proxy.listen)).transpose();
    let listener = listener.map_err(EgressError::Start)?;
    Ok(Made {
        road: Arc::new(road),
        ca,
        listener,
        user,
    })
}

/// Listens before the lockdown, for a low port needs what that takes away.
fn listen(address: SocketAddr) -> io::Result<StdListener> {
    let listener = StdListener::bind(address)?;
    rustix::net::listen(&listener, BACKLOG)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// The ways in which an answer may repeat a value.
fn spellings(value: &str) -> Vec<Vec<u8>> {
    use base64::Engine as _;
    let standard = base64::engine::general_purpose::STANDARD_NO_PAD.encode(value);
    let percent: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
    let json = serde_json::to_string(value).unwrap_or_default();
    [value, &standard, &percent, json.trim_matches('"')]
        .iter()
        .map(|text| text.as_bytes().to_vec())
        .collect()
}

struct Made {
    road: Arc<Road>,
    ca: String,
    listener: Option<StdListener>,
    user: Option<String>,
}

async fn serve(
    made: Made,
    door: OwnedFd,
    line: &UnixStream,
    connections: usize,
) -> Result<(), EgressError> {
    let connections = Arc::new(Semaphore::new(connections));
    let mut listening = None;
    if let Some(listener) = made.listener {
        let listener = TcpListener::from_std(listener).map_err(EgressError::Start)?;
        listening = Some(listener.local_addr().map_err(EgressError::Start)?);
        let (road, connections) = (Arc::clone(&made.road), Arc::clone(&connections));
        tokio::spawn(proxy::serve(road, listener, connections));
    }
    let proxy = listening.map(|address| match &made.user {
        Some(user) => format!("http://{user}@{address}"),
        None => format!("http://{address}"),
    });
    let road = Arc::clone(&made.road);
    let runtime = tokio::runtime::Handle::current();
    // A door that is shut ends the taking of connections; the run's end comes over the line.
    std::thread::Builder::new()
        .name("door".to_owned())
        .spawn(move || door::serve(&road, &door, &connections, &runtime))
        .map_err(EgressError::Start)?;
    let upstreams = Arc::clone(&made.road.upstreams);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(SWEEP_EVERY).await;
            upstreams.sweep();
        }
    });
    let ca = made.ca;
    let log = Arc::clone(&made.road.log);
    answer(
        line,
        &Answer::Ready {
            ca,
            listening,
            proxy,
        },
    )?;
    tokio::select! {
        gone = caller_gone(line) => gone,
        () = log.broken() => {
            console::notice("tagout: the egress ends, for its log cannot be written");
            Err(EgressError::Message("the log cannot be written"))
        }
    }
}

/// Waits until the caller closes its end, by its will or by its death.
async fn caller_gone(line: &UnixStream) -> Result<(), EgressError> {
    let line = line.try_clone().map_err(EgressError::Talk)?;
    line.set_nonblocking(true).map_err(EgressError::Talk)?;
    let mut line = tokio::net::UnixStream::from_std(line).map_err(EgressError::Talk)?;
    let mut ignored = [0_u8; 64];
    while line.read(&mut ignored).await.is_ok_and(|count| count > 0) {}
    Ok(())
}

/// Asks for as many descriptors as there may be; how many connections fit.
fn raise_descriptors() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(DESCRIPTORS_WANTED);
    let wanted = most.min(DESCRIPTORS_WANTED);
    let raised = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(wanted),
            maximum: limit.maximum,
        },
    );
    let held = match raised {
        Ok(()) => wanted,
        Err(_) => limit.current.unwrap_or(1024),
    };
    // A connection may need two; some are for listeners and idle lines.
    let fitting = usize::try_from(held / 3).unwrap_or(CONNECTIONS_MAX);
    fitting.clamp(16, CONNECTIONS_MAX)
}

/// Takes the setup and the door from the caller.
fn receive(mut line: &UnixStream) -> Result<(EgressSetup, OwnedFd), EgressError> {
    let mut length = [0_u8; 8];
    let door = receive_door(line, &mut length)?;
    let length = usize::try_from(u64::from_le_bytes(length)).unwrap_or(usize::MAX);
    if length > SETUP_BYTES_MAX {
        return Err(EgressError::Message("the setup is too large"));
    }
    let mut bytes = Zeroizing::new(vec![0_u8; length]);
    line.read_exact(&mut bytes).map_err(EgressError::Talk)?;
    Ok((EgressSetup::unpack(&bytes)?, door))
}

fn receive_door(line: &UnixStream, length: &mut [u8]) -> Result<OwnedFd, EgressError> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let expected = length.len();
    let got = recvmsg(
        line,
        &mut [IoSliceMut::new(length)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC | RecvFlags::WAITALL,
    )
    .map_err(|errno| EgressError::Talk(errno.into()))?;
    let door = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    match door {
        Some(door) if got.bytes == expected => Ok(door),
        _ => Err(EgressError::Message("the setup came without a door")),
    }
}

fn answer(mut line: &UnixStream, answer: &Answer) -> Result<(), EgressError> {
    let mut bytes =
        serde_json::to_vec(answer).or(Err(EgressError::Message("the answer cannot be written")))?;
    bytes.push(b'\n');
    line.write_all(&bytes).map_err(EgressError::Talk)
}
