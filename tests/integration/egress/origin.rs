//! A real HTTPS server on loopback that writes down what arrives.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt as _, combinators::UnsyncBoxBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::http::request::Parts;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use sha1::{Digest as _, Sha1};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: usize,
    pub(crate) h2: bool,
}

/// What a test's own server says.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// Answers a request from its head and body.
pub(crate) type Handler = Box<dyn Fn(&Parts, &[u8]) -> Reply + Send + Sync>;

#[derive(Default)]
struct Book {
    accepted: AtomicUsize,
    seen: Mutex<Vec<Seen>>,
    handler: Option<Handler>,
}

/// The server; it goes with its holder.
pub(crate) struct Origin {
    port: u16,
    book: Arc<Book>,
    folder: tempfile::TempDir,
    _runtime: tokio::runtime::Runtime,
}

impl Origin {
    /// Serves TLS under these names.
    pub(crate) fn tls(names: &[&str]) -> Self {
        Self::start(Some(names), &[b"h2", b"http/1.1"], None)
    }

    /// The same with answers of the test's own, and WebSockets at `/ws`.
    pub(crate) fn serving(names: &[&str], handler: Handler) -> Self {
        Self::start(Some(names), &[b"h2", b"http/1.1"], Some(handler))
    }

    /// The same, without HTTP/2.
    pub(crate) fn tls_h1(names: &[&str]) -> Self {
        Self::start(Some(names), &[b"http/1.1"], None)
    }

    /// Serves in clear.
    pub(crate) fn clear() -> Self {
        Self::start(None, &[], None)
    }

    fn start(names: Option<&[&str]>, protocols: &[&[u8]], handler: Option<Handler>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ca_key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // OpenSSL takes a leaf with the name of its issuer for a self-signed one.
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "test authority");
        let ca = CertifiedIssuer::self_signed(params, ca_key).unwrap();
        std::fs::write(folder.path().join("ca.pem"), ca.pem()).unwrap();
        let acceptor = names.map(|names| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let key = KeyPair::generate().unwrap();
            let leaf = CertificateParams::new(names)
                .unwrap()
                .signed_by(&key, &ca)
                .unwrap();
            let mut config =
                ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
                    .with_safe_default_protocol_versions()
                    .unwrap()
                    .with_no_client_auth()
                    .with_single_cert(
                        vec![leaf.der().clone()],
                        PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
                    )
                    .unwrap();
            config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
            TlsAcceptor::from(Arc::new(config))
        });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let book = Arc::new(Book {
            handler,
            ..Book::default()
        });
        let listener = runtime
            .block_on(TcpListener::bind(("127.0.0.1", 0)))
            .unwrap();
        let port = listener.local_addr().unwrap().port();
        runtime.spawn(accept(listener, acceptor, Arc::clone(&book)));
        Self {
            port,
            book,
            folder,
            _runtime: runtime,
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn ca_file(&self) -> PathBuf {
        Path::join(self.folder.path(), "ca.pem")
    }

    /// Connections that were made to it, with or without a request.
    pub(crate) fn accepted(&self) -> usize {
        self.book.accepted.load(Ordering::SeqCst)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.book.seen.lock().unwrap().clone()
    }

    pub(crate) fn url(&self, host: &str, path: &str) -> String {
        format!("https://{host}:{}{path}", self.port)
    }
}

async fn accept(listener: TcpListener, acceptor: Option<TlsAcceptor>, book: Arc<Book>) {
    while let Ok((stream, _)) = listener.accept().await {
        book.accepted.fetch_add(1, Ordering::SeqCst);
        let book = Arc::clone(&book);
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            match acceptor {
                None => serve(stream, book, false).await,
                Some(acceptor) => {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                        serve(stream, book, h2).await;
                    }
                }
            }
        });
    }
}

async fn serve<S>(stream: S, book: Arc<Book>, h2: bool)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = service_fn(move |request| answer(request, Arc::clone(&book), h2));
    let io = TokioIo::new(stream);
    if h2 {
        let server = http2::Builder::new(TokioExecutor::new());
        drop(server.serve_connection(io, service).await);
    } else {
        let server = http1::Builder::new().serve_connection(io, service);
        drop(server.with_upgrades().await);
    }
}

type Body = UnsyncBoxBody<Bytes, Infallible>;

async fn answer(
    mut request: Request<Incoming>,
    book: Arc<Book>,
    h2: bool,
) -> Result<Response<Body>, Infallible> {
    let socket = (request.uri().path() == "/ws").then(|| hyper::upgrade::on(&mut request));
    let (parts, body) = request.into_parts();
    if parts.uri.path() == "/ok/both-ways" {
        return Ok(Response::new(both_ways(body)));
    }
    let body = body.collect().await;
    let trailers = body.as_ref().ok().and_then(|body| body.trailers().cloned());
    let bytes = body
        .map(http_body_util::Collected::to_bytes)
        .unwrap_or_default();
    book.seen.lock().unwrap().push(Seen {
        method: parts.method.to_string(),
        target: parts.uri.path_and_query().unwrap().to_string(),
        headers: parts.headers.clone(),
        body: bytes.len(),
        h2,
    });
    if let (Some(socket), Some(key)) = (socket, parts.headers.get("sec-websocket-key")) {
        tokio::spawn(echo(socket));
        return Ok(switched(key.as_bytes()));
    }
    Ok(match &book.handler {
        Some(handler) => handler(&parts, &bytes).into(),
        None => reply(parts.uri.path(), &parts.headers, &bytes, trailers),
    })
}

fn reply(
    path: &str,
    headers: &HeaderMap,
    body: &[u8],
    trailers: Option<HeaderMap>,
) -> Response<Body> {
    if let Some(count) = path.strip_prefix("/ok/events/") {
        return events(count.parse().unwrap());
    }
    if let Some(mebibytes) = path.strip_prefix("/ok/big/") {
        return big(mebibytes.parse().unwrap());
    }
    if path == "/ok/trailers" {
        let mut end = trailers.unwrap_or_default();
        end.insert("grpc-status", "0".parse().unwrap());
        let frames = [
            Frame::data(Bytes::from_static(b"data")),
            Frame::trailers(end),
        ];
        return announced("grpc-status", frames);
    }
    if path == "/ok/halves"
        && let Some(value) = headers.get("authorization")
    {
        let (front, back) = value.as_bytes().split_at(value.len() / 2);
        let mut end = HeaderMap::new();
        end.insert("x-again", value.clone());
        let frames = [
            Frame::data(Bytes::copy_from_slice(front)),
            Frame::data(Bytes::copy_from_slice(back)),
            Frame::trailers(end),
        ];
        return announced("x-again", frames);
    }
    if let Some(target) = path.strip_prefix("/ok/redirect/") {
        let mut response = Response::new(full(Bytes::new()));
        *response.status_mut() = hyper::StatusCode::FOUND;
        let to = format!("https://{target}/ok/x").parse().unwrap();
        response.headers_mut().insert("location", to);
        return response;
    }
    if path == "/ok/encoded" {
        let mut response = Response::new(full(Bytes::from_static(b"\x1f\x8b")));
        let kind = "gzip".parse().unwrap();
        response.headers_mut().insert("content-encoding", kind);
        return response;
    }
    let mut response = Response::new(full(match path {
        "/ok/headers" => Bytes::from(
            headers
                .iter()
                .map(|(name, value)| {
                    format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes()))
                })
                .collect::<String>(),
        ),
        "/ok/echo" => Bytes::copy_from_slice(body),
        _ => Bytes::from_static(b"origin"),
    }));
    if path == "/ok/headers"
        && let Some(value) = headers.get("authorization")
    {
        response.headers_mut().insert("x-echo", value.clone());
    }
    response
        .headers_mut()
        .insert("alt-svc", "h3=\":443\"".parse().unwrap());
    response
        .headers_mut()
        .insert("x-tagout-denied", "forged".parse().unwrap());
    response
}

/// Each piece is answered when it comes; the trailers go back as they came.
fn both_ways(body: Incoming) -> Body {
    body.map_frame(|frame| {
        frame.map_data(|data| Bytes::from([b"echo ".as_slice(), &data].concat()))
    })
    .map_err(|error| -> Infallible { unreachable!("the client breaks nothing off: {error}") })
    .boxed_unsync()
}

/// An answer with a trailer section, which HTTP/1 wants to be told of.
fn announced<const COUNT: usize>(
    trailer: &'static str,
    frames: [Frame<Bytes>; COUNT],
) -> Response<Body> {
    let mut response = Response::new(stream(frames.into_iter()));
    let trailer = hyper::header::HeaderValue::from_static(trailer);
    response.headers_mut().insert("trailer", trailer);
    response
}

fn full(bytes: Bytes) -> Body {
    http_body_util::Full::new(bytes).boxed_unsync()
}

fn stream(frames: impl Iterator<Item = Frame<Bytes>>) -> Body {
    let (sender, receiver) = mpsc::unbounded_channel();
    for frame in frames {
        sender.send(Ok(frame)).unwrap();
    }
    received(receiver)
}

/// An event every 20 ms; each says when it left.
fn events(count: usize) -> Response<Body> {
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        for number in 0..count {
            let event = Bytes::from(format!("data: {number}\n\n"));
            if sender.send(Ok(Frame::data(event))).is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let mut response = Response::new(received(receiver));
    let kind = "text/event-stream".parse().unwrap();
    response.headers_mut().insert("content-type", kind);
    response
}

fn big(mebibytes: usize) -> Response<Body> {
    let piece = Bytes::from(vec![b'x'; 1 << 16]);
    let frames = (0..mebibytes * 16).map(move |_| Frame::data(piece.clone()));
    Response::new(stream(frames))
}

fn received(receiver: mpsc::UnboundedReceiver<Result<Frame<Bytes>, Infallible>>) -> Body {
    Channel(receiver).boxed_unsync()
}

/// Frames as they are sent.
pub(crate) struct Channel(pub(crate) mpsc::UnboundedReceiver<Result<Frame<Bytes>, Infallible>>);

impl hyper::body::Body for Channel {
    type Data = Bytes;
    type Error = Infallible;
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx)
    }
}

impl From<Reply> for Response<Body> {
    fn from(reply: Reply) -> Self {
        let mut response = Response::builder().status(reply.status);
        for (name, value) in reply.headers {
            response = response.header(name, value);
        }
        response.body(full(reply.body.into())).unwrap()
    }
}

/// The answer to a WebSocket's request (RFC 6455, 4.2.2).
fn switched(key: &[u8]) -> Response<Body> {
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    Response::builder()
        .status(101)
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-accept", STANDARD.encode(hash.finalize()))
        .body(full(Bytes::new()))
        .unwrap()
}

/// Says one short message back (RFC 6455, 5.2: two bytes, the mask, the masked text).
async fn echo(socket: hyper::upgrade::OnUpgrade) {
    let Ok(socket) = socket.await else { return };
    let mut socket = TokioIo::new(socket);
    let mut head = [0; 6];
    if socket.read_exact(&mut head).await.is_err() {
        return;
    }
    let mut text = vec![0; usize::from(head[1] & 0x7f)];
    if socket.read_exact(&mut text).await.is_err() {
        return;
    }
    for (at, byte) in text.iter_mut().enumerate() {
        *byte ^= head[2 + at % 4];
    }
    let mut frame = vec![0x81, head[1] & 0x7f];
    frame.extend(text);
    // The client closes once it has heard this; whether it did is its own to tell.
    drop(socket.write_all(&frame).await);
    drop(socket.read(&mut head).await);
}
