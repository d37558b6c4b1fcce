//! What gRPC needs of HTTP/2: both directions of one stream at the same time, each message at once, and trailers.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::{Bytes, Frame};
use hyper::client::conn::http2;
use hyper::header::{HeaderMap, HeaderValue};
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::origin::Channel;
use super::{Egress, Origin, network, rule};
use tagout::policy::model::Rule;

/// Longest wait for one message.
const PATIENCE: Duration = Duration::from_secs(10);

type Sender = http2::SendRequest<Channel>;

/// HTTP/2 to the origin through CONNECT and inspection.
async fn sender(egress: &Egress, origin: &Origin) -> Sender {
    let mut stream = TcpStream::connect(egress.address()).await.unwrap();
    let authority = format!("origin.test:{}", origin.port());
    let head = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(egress.handle.ca().as_bytes()).unwrap())
        .unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let name = ServerName::try_from("origin.test").unwrap();
    let stream = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    sender
}

fn call(origin: &Origin, path: &str) -> (mpsc::UnboundedSender<Piece>, Request<Channel>) {
    let (say, said) = mpsc::unbounded_channel();
    let request = Request::post(origin.url("origin.test", path))
        .header("te", "trailers")
        .header("content-type", "application/grpc")
        .body(Channel(said))
        .unwrap();
    (say, request)
}

type Piece = Result<Frame<Bytes>, std::convert::Infallible>;

#[test]
fn both_directions_of_a_stream_flow_at_once_and_keep_their_trailers() {
    let origin = Origin::tls(&["origin.test"]);
    let post = Rule {
        methods: vec!["POST".to_owned()],
        ..rule("origin.test", origin.port(), 4)
    };
    let egress = Egress::start(network(vec![post]), &origin, &["origin.test"]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut sender = sender(&egress, &origin).await;
        let (say, request) = call(&origin, "/ok/both-ways");
        say.send(Ok(Frame::data("first".into()))).unwrap();
        let answer = within(sender.send_request(request)).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let mut body = answer.into_body();
        let mut heard = async || within(body.frame()).await.unwrap().unwrap();
        assert_eq!(heard().await.into_data().unwrap(), "echo first");
        // Another stream of the connection is judged by itself, while this one goes on.
        let (_, refused) = call(&origin, "/no/x");
        let refused = within(sender.send_request(refused)).await.unwrap();
        assert_eq!(refused.status(), StatusCode::FORBIDDEN);
        // Each is said only after the answer to the one before was heard.
        for message in ["second", "third"] {
            say.send(Ok(Frame::data(message.into()))).unwrap();
            let expected = format!("echo {message}");
            assert_eq!(heard().await.into_data().unwrap(), expected);
        }
        let mut end = HeaderMap::new();
        end.insert("grpc-status", HeaderValue::from_static("0"));
        end.insert("x-api-key", HeaderValue::from_static("mine"));
        say.send(Ok(Frame::trailers(end))).unwrap();
        drop(say);
        let trailers = heard().await.into_trailers().unwrap();
        assert_eq!(trailers["grpc-status"], "0");
        assert!(!trailers.contains_key("x-api-key"), "{trailers:?}");
    });
    drop(runtime);
    let events = egress.finish();
    let paths: Vec<(&str, Option<u16>)> = events
        .iter()
        .map(|event| (event.path.as_str(), event.status))
        .collect();
    assert!(paths.contains(&("/ok/both-ways", Some(200))), "{events:?}");
    assert!(paths.contains(&("/no/x", Some(403))), "{events:?}");
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work)
        .await
        .expect("it comes at once")
}
