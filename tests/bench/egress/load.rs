//! The clients: as many requests, connections or bytes as fit into a round.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// How a request gets to the origin.
#[derive(Clone)]
pub(crate) struct Road {
    /// Where to connect.
    pub(crate) dial: SocketAddr,
    /// `host:port` of the origin.
    pub(crate) authority: String,
    pub(crate) kind: Kind,
    pub(crate) tls: Option<TlsConnector>,
}

/// What is said first on the connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Direct,
    /// Absolute-form requests to a proxy.
    Absolute,
    /// CONNECT.
    Tunnel,
}

/// A connector that trusts these files.
pub(crate) fn connector(files: &[&Path]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    for file in files {
        for certificate in CertificateDer::pem_file_iter(file).unwrap() {
            roots.add(certificate.unwrap()).unwrap();
        }
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    // Every connection pays for itself, direct and through a proxy.
    config.resumption = tokio_rustls::rustls::client::Resumption::disabled();
    TlsConnector::from(Arc::new(config))
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

type Sender = http1::SendRequest<Empty<Bytes>>;

impl Road {
    async fn stream(&self) -> Box<dyn Stream> {
        let mut stream = TcpStream::connect(self.dial).await.unwrap();
        stream.set_nodelay(true).unwrap();
        if self.kind == Kind::Tunnel {
            connect(&mut stream, &self.authority).await;
        }
        let Some(tls) = &self.tls else {
            return Box::new(stream);
        };
        let host = self.authority.split(':').next().unwrap().to_owned();
        let name = ServerName::try_from(host).unwrap();
        Box::new(tls.connect(name, stream).await.unwrap())
    }

    async fn sender(&self) -> Sender {
        let io = TokioIo::new(self.stream().await);
        let (sender, connection) = http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    fn request(&self, path: &str) -> Request<Empty<Bytes>> {
        let uri = match self.kind {
            Kind::Absolute => format!("http://{}{path}", self.authority),
            Kind::Direct | Kind::Tunnel => path.to_owned(),
        };
        Request::builder()
            .uri(uri)
            .header("host", &self.authority)
            .body(Empty::new())
            .unwrap()
    }
}

/// Asks for a tunnel and waits for its head.
pub(crate) async fn connect(stream: &mut TcpStream, authority: &str) {
    let head = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0_u8; 512];
        let count = stream.read(&mut byte).await.unwrap();
        assert!(
            count > 0,
            "the proxy closed: {}",
            String::from_utf8_lossy(&answer)
        );
        answer.extend_from_slice(&byte[..count]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 200") || answer.starts_with(b"HTTP/1.0 200"));
}

async fn get(sender: &mut Sender, request: Request<Empty<Bytes>>) -> u64 {
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    let mut body = answer.into_body();
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        bytes += frame.unwrap().data_ref().map_or(0, Bytes::len) as u64;
    }
    bytes
}

/// Runs `workers` copies of a loop for a while; what they counted, a second.
async fn counted<F, Fut>(workers: usize, round: Duration, work: F) -> f64
where
    F: Fn(Arc<AtomicU64>, Instant) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    let count = Arc::<AtomicU64>::default();
    let begin = Instant::now();
    let tasks: Vec<_> = (0..workers)
        .map(|_| tokio::spawn(work(Arc::clone(&count), begin + round)))
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    #[expect(clippy::cast_precision_loss, reason = "a rate needs no more digits")]
    let counted = count.load(Ordering::Relaxed) as f64;
    counted / begin.elapsed().as_secs_f64()
}

/// Requests a second over kept connections.
pub(crate) async fn keep_alive(road: &Road, workers: usize, round: Duration) -> f64 {
    counted(workers, round, |count, end| {
        let road = road.clone();
        async move {
            let mut sender = road.sender().await;
            while Instant::now() < end {
                // Some peers close after every answer; then a new connection is part of what they cost.
                if sender.ready().await.is_err() {
                    sender = road.sender().await;
                }
                get(&mut sender, road.request("/small")).await;
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
    })
    .await
}

/// Connections with one request each, a second.
pub(crate) async fn one_each(road: &Road, workers: usize, round: Duration) -> f64 {
    counted(workers, round, |count, end| {
        let road = road.clone();
        async move {
            while Instant::now() < end {
                let mut sender = road.sender().await;
                get(&mut sender, road.request("/small")).await;
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
    })
    .await
}

/// Tunnels that are asked for and closed, a second.
pub(crate) async fn connects(road: &Road, workers: usize, round: Duration) -> f64 {
    counted(workers, round, |count, end| {
        let road = road.clone();
        async move {
            while Instant::now() < end {
                let mut stream = TcpStream::connect(road.dial).await.unwrap();
                stream.set_nodelay(true).unwrap();
                if road.kind == Kind::Tunnel {
                    connect(&mut stream, &road.authority).await;
                }
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
    })
    .await
}

/// MiB a second of one large body.
pub(crate) async fn bulk(road: &Road, mebibytes: u64) -> f64 {
    let mut sender = road.sender().await;
    get(&mut sender, road.request("/small")).await;
    if sender.ready().await.is_err() {
        sender = road.sender().await;
    }
    let begin = Instant::now();
    let bytes = get(&mut sender, road.request(&format!("/big/{mebibytes}"))).await;
    assert_eq!(bytes, mebibytes << 20);
    #[expect(clippy::cast_precision_loss, reason = "a rate needs no more digits")]
    let mebibytes = mebibytes as f64;
    mebibytes / begin.elapsed().as_secs_f64()
}

/// Milliseconds from an event's birth to its arrival, sorted.
pub(crate) async fn event_delays(road: &Road, count: usize) -> Vec<f64> {
    let mut sender = road.sender().await;
    let answer = sender.send_request(road.request("/events")).await.unwrap();
    let mut body = answer.into_body();
    let mut delays = Vec::new();
    while delays.len() < count {
        let frame = body.frame().await.unwrap().unwrap();
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_nanos();
        let text = String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap();
        let born: u128 = text["data: ".len()..]["".len()..20].parse().unwrap();
        #[expect(clippy::cast_precision_loss, reason = "nanoseconds of a short while")]
        delays.push((now.saturating_sub(born)) as f64 / 1e6);
    }
    delays.sort_by(f64::total_cmp);
    delays
}

/// Opens tunnels with TLS inside and holds them.
pub(crate) async fn hold(road: &Road, count: usize) -> Vec<Sender> {
    let mut held = Vec::new();
    for _ in 0..count {
        let mut sender = road.sender().await;
        get(&mut sender, road.request("/small")).await;
        held.push(sender);
    }
    held
}
