//! Connections to the other side: dialled to a checked address, verified, kept and used again.
//! A kept connection must never be lent to a request that may not reach its address.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::ahead::{Ahead, Gathered};
use super::body::SentBody;
use super::resolve::{Checked, Names, NoRoad, Reach};
use crate::policy::verdict::Scheme;

/// Longest wait for one address to answer.
const DIAL_WAIT: Duration = Duration::from_secs(10);
/// Longest wait for TLS.
const TLS_WAIT: Duration = Duration::from_secs(15);
/// How long an unused connection is kept.
const IDLE_WAIT: Duration = Duration::from_secs(50);
/// Most unused connections of one host.
const IDLE_PER_HOST_MAX: usize = 32;
/// Largest head of an answer in bytes.
const ANSWER_HEAD_BYTES_MAX: usize = 128 << 10;
/// Bytes of an answer that are read at once where much comes; a head must fit.
const ANSWER_BUFFER_BYTES_MAX: usize = 256 << 10;
/// Most headers of an answer.
const ANSWER_HEADERS_MAX: usize = 256;

/// Where a request goes, and what it may reach.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Goal {
    pub(super) scheme_is_tls: bool,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) reach: Reach,
    /// Whether HTTP/2 may be spoken; mirrors what the client speaks.
    pub(super) h2: bool,
}

impl Goal {
    pub(super) fn new(scheme: Scheme, host: &str, port: u16, reach: Reach, h2: bool) -> Self {
        Self {
            scheme_is_tls: scheme == Scheme::Https,
            host: host.to_owned(),
            port,
            reach,
            h2,
        }
    }
}

/// Why no connection is to be had.
#[derive(Debug)]
pub(super) enum NoLine {
    /// The name leads nowhere, or where nothing may lead.
    Road(NoRoad),
    /// Nothing answers there.
    Dial(io::Error),
    /// The other side does not prove its name, or breaks TLS.
    Tls(io::Error),
    /// It breaks HTTP at once.
    Http(hyper::Error),
}

/// A connection that takes requests.
pub(super) struct Line {
    pub(super) sender: Sender,
    pub(super) class: &'static str,
    pub(super) reused: bool,
}

/// The sending half of a connection.
pub(super) enum Sender {
    H1(http1::SendRequest<SentBody>, Driver),
    H2(http2::SendRequest<SentBody>),
}

/// What moves the bytes of one HTTP/1 connection. It is driven by the request that uses the connection: a task of its own
/// would cost a change of tasks, and often of threads, for every head and every piece of a body.
pub(super) struct Driver(Option<Pin<Box<dyn Future<Output = ()> + Send>>>);

impl Driver {
    fn new(connection: impl Future<Output = hyper::Result<()>> + Send + 'static) -> Self {
        // An error of the connection reaches the request that is under way; here it would be told twice.
        Self(Some(Box::pin(async move { drop(connection.await) })))
    }

    /// Moves on as far as it goes. What it waits for wakes the caller's task.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) {
        if let Some(connection) = &mut self.0
            && connection.as_mut().poll(cx).is_ready()
        {
            self.0 = None;
        }
    }

    /// Drives the connection while something that needs it is waited for.
    pub(super) async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        std::future::poll_fn(|cx| {
            self.poll(cx);
            work.as_mut().poll(cx)
        })
        .await
    }

    /// Gives it a task of its own: for a body that goes out while the answer comes in, neither of which may wait for the
    /// other, and for a connection that becomes something else.
    pub(super) fn detach(&mut self) {
        if let Some(connection) = self.0.take() {
            tokio::spawn(connection);
        }
    }

    /// Whether it is driven by whoever holds it.
    fn is_held(&self) -> bool {
        self.0.is_some()
    }
}

struct Idle {
    sender: http1::SendRequest<SentBody>,
    driver: Driver,
    class: &'static str,
    since: Instant,
}

struct Shared {
    sender: http2::SendRequest<SentBody>,
    class: &'static str,
}

#[derive(Default)]
struct Pool {
    h1: HashMap<Goal, Vec<Idle>>,
    h2: HashMap<Goal, Shared>,
}

/// All connections to the other side.
pub(super) struct Upstreams {
    names: Names,
    h1: TlsConnector,
    h2: TlsConnector,
    pool: Mutex<Pool>,
}

impl Upstreams {
    pub(super) fn new(
        provider: &Arc<CryptoProvider>,
        roots: RootCertStore,
        names: Names,
    ) -> Result<Self, rustls::Error> {
        let roots = Arc::new(roots);
        let connector = |protocols: &[&[u8]]| -> Result<TlsConnector, rustls::Error> {
            let mut config = ClientConfig::builder_with_provider(Arc::clone(provider))
                .with_safe_default_protocol_versions()?
                .with_root_certificates(Arc::clone(&roots))
                .with_no_client_auth();
            config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
            Ok(TlsConnector::from(Arc::new(config)))
        };
        Ok(Self {
            names,
            h1: connector(&[b"http/1.1"])?,
            h2: connector(&[b"h2", b"http/1.1"])?,
            pool: Mutex::default(),
        })
    }

    /// A connection for one request: a kept one, or a new one.
    pub(super) async fn line(&self, goal: &Goal) -> Result<Line, NoLine> {
        match self.kept(goal).await {
            Some(line) => Ok(line),
            None => self.new_line(goal).await,
        }
    }

    /// A connection that was made for this request.
    pub(super) async fn new_line(&self, goal: &Goal) -> Result<Line, NoLine> {
        let (stream, checked) = self.dial(goal).await?;
        if !goal.scheme_is_tls {
            return h1_line(stream, checked.class).await;
        }
        let connector = if goal.h2 { &self.h2 } else { &self.h1 };
        let name = ServerName::try_from(goal.host.clone())
            .map_err(|error| NoLine::Tls(io::Error::other(error)))?;
        let stream = within(
            TLS_WAIT,
            connector.connect(name, Ahead::new(stream, BytesMut::new())),
        )
        .await
        .map_err(NoLine::Tls)?;
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            let line = h2_line(Gathered::new(stream), checked.class).await?;
            if let Sender::H2(sender) = &line.sender {
                let shared = Shared {
                    sender: sender.clone(),
                    class: checked.class,
                };
                self.lock().h2.insert(goal.clone(), shared);
            }
            return Ok(line);
        }
        h1_line(Gathered::new(stream), checked.class).await
    }

    /// A bare connection to a checked address, for tunnels.
    pub(super) async fn dial(&self, goal: &Goal) -> Result<(TcpStream, Checked), NoLine> {
        let found = self.names.look_up(&goal.host, goal.port, goal.reach).await;
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for checked in found.map_err(NoLine::Road)? {
            match within(DIAL_WAIT, TcpStream::connect(checked.address)).await {
                Ok(stream) => {
                    stream.set_nodelay(true).map_err(NoLine::Dial)?;
                    return Ok((stream, checked));
                }
                Err(error) => last = error,
            }
        }
        Err(NoLine::Dial(last))
    }

    /// Takes a connection back when its answer was read to the end.
    pub(super) fn keep(
        &self,
        goal: Goal,
        sender: http1::SendRequest<SentBody>,
        mut driver: Driver,
        class: &'static str,
    ) {
        // Nobody drives it from here on, so what is still to be done for the last request is done now or never.
        driver.poll(&mut Context::from_waker(Waker::noop()));
        if sender.is_closed() || (driver.is_held() && !sender.is_ready()) {
            return;
        }
        let mut pool = self.lock();
        let idle = pool.h1.entry(goal).or_default();
        if idle.len() < IDLE_PER_HOST_MAX {
            let since = Instant::now();
            idle.push(Idle {
                sender,
                driver,
                class,
                since,
            });
        }
    }

    async fn kept(&self, goal: &Goal) -> Option<Line> {
        loop {
            let mut idle = {
                let mut pool = self.lock();
                if let Some(line) = shared(&mut pool, goal) {
                    return Some(line);
                }
                pool.h1.get_mut(goal)?.pop()?
            };
            if idle.since.elapsed() >= IDLE_WAIT {
                continue;
            }
            // What the other side did meanwhile is seen here.
            if idle.driver.during(idle.sender.ready()).await.is_ok() {
                return Some(Line {
                    sender: Sender::H1(idle.sender, idle.driver),
                    class: idle.class,
                    reused: true,
                });
            }
        }
    }

    /// Closes what was not used for long; called now and then.
    pub(super) fn sweep(&self) {
        let mut pool = self.lock();
        pool.h1.retain(|_, idle| {
            idle.retain(|one| one.since.elapsed() < IDLE_WAIT && !one.sender.is_closed());
            !idle.is_empty()
        });
        pool.h2.retain(|_, shared| !shared.sender.is_closed());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn shared(pool: &mut Pool, goal: &Goal) -> Option<Line> {
    let shared = pool.h2.get(goal)?;
    if shared.sender.is_closed() {
        pool.h2.remove(goal);
        return None;
    }
    Some(Line {
        sender: Sender::H2(shared.sender.clone()),
        class: shared.class,
        reused: true,
    })
}

async fn h1_line<S>(stream: S, class: &'static str) -> Result<Line, NoLine>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) = http1::Builder::new()
        .max_headers(ANSWER_HEADERS_MAX)
        .max_buf_size(ANSWER_BUFFER_BYTES_MAX)
        .max_header_size(ANSWER_HEAD_BYTES_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(NoLine::Http)?;
    Ok(Line {
        sender: Sender::H1(sender, Driver::new(connection.with_upgrades())),
        class,
        reused: false,
    })
}

async fn h2_line<S>(stream: S, class: &'static str) -> Result<Line, NoLine>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .adaptive_window(true)
        .max_header_list_size(u32::try_from(ANSWER_HEAD_BYTES_MAX).unwrap_or(u32::MAX))
        .keep_alive_interval(Some(Duration::from_secs(30)))
        .handshake(TokioIo::new(stream))
        .await
        .map_err(NoLine::Http)?;
    tokio::spawn(async move { drop(connection.await) });
    Ok(Line {
        sender: Sender::H2(sender),
        class,
        reused: false,
    })
}

async fn within<T>(wait: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match tokio::time::timeout(wait, work).await {
        Ok(result) => result,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}
