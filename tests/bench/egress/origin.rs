//! The server that is asked, in a process of its own so that its work is not ours.

use std::convert::Infallible;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

/// The origin's process.
pub(crate) struct Running {
    child: Child,
    pub(crate) clear: SocketAddr,
    pub(crate) tls: SocketAddr,
    pub(crate) ca: PathBuf,
}

impl Running {
    pub(crate) fn start(folder: &Path) -> Self {
        let ca = folder.join("origin-ca.pem");
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg("origin")
            .arg(&ca)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut next = || lines.next().unwrap().unwrap().parse().unwrap();
        let (clear, tls) = (next(), next());
        Self {
            child,
            clear,
            tls,
            ca,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The process itself.
pub(crate) fn serve() {
    let ca_file = std::env::args().nth(2).unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
        .distinguished_name
        .push(DnType::CommonName, "bench authority");
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names = vec![super::INSPECTED.to_owned(), super::TUNNELLED.to_owned()];
    let leaf = CertificateParams::new(names)
        .unwrap()
        .signed_by(&key, &ca)
        .unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone()],
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )
        .unwrap();
    std::fs::write(ca_file, ca.pem()).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let clear = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let tls = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        println!(
            "{}\n{}",
            clear.local_addr().unwrap(),
            tls.local_addr().unwrap()
        );
        tokio::spawn(accept(clear, None));
        tokio::spawn(accept(tls, Some(TlsAcceptor::from(Arc::new(config)))));
        std::future::pending::<()>().await;
    });
}

async fn accept(listener: TcpListener, acceptor: Option<TlsAcceptor>) {
    while let Ok((stream, _)) = listener.accept().await {
        stream.set_nodelay(true).unwrap();
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            let server = http1::Builder::new();
            match acceptor {
                None => drop(
                    server
                        .serve_connection(TokioIo::new(stream), service_fn(answer))
                        .await,
                ),
                Some(acceptor) => {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        drop(
                            server
                                .serve_connection(TokioIo::new(stream), service_fn(answer))
                                .await,
                        );
                    }
                }
            }
        });
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Pieces>, Infallible> {
    let path = request.uri().path();
    let pieces = if let Some(count) = path.strip_prefix("/big/") {
        Pieces::Big(count.parse::<u64>().unwrap() << 20)
    } else if path == "/events" {
        Pieces::Events(Box::pin(tokio::time::sleep(Duration::ZERO)))
    } else {
        Pieces::Small(Some(Bytes::from_static(&[b'x'; 1024])))
    };
    Ok(Response::new(pieces))
}

/// Bodies of three kinds.
enum Pieces {
    Small(Option<Bytes>),
    Big(u64),
    Events(Pin<Box<tokio::time::Sleep>>),
}

const PIECE: &[u8] = &[b'x'; 64 << 10];

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Self::Small(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Big(0) => Poll::Ready(None),
            Self::Big(left) => {
                *left = left.saturating_sub(PIECE.len() as u64);
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(PIECE)))))
            }
            Self::Events(sleep) => {
                if sleep.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                sleep.set(tokio::time::sleep(Duration::from_millis(10)));
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
                let event = format!("data: {:020}\n\n", now.as_nanos());
                Poll::Ready(Some(Ok(Frame::data(Bytes::from(event)))))
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Small(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Big(left) => SizeHint::with_exact(*left),
            Self::Events(_) => SizeHint::default(),
        }
    }
}
