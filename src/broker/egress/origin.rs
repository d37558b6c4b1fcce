//! A small TLS server on loopback that answers every tool in its own protocol, for `tagout doctor --tools`.
//! It must never serve anything but words of its own, and ends with its holder.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::authority::Authority;
use super::error::EgressError;
use super::setup::random_hex;

/// Its name; nobody else can have one of this kind.
pub const NAME: &str = "tools.tagout.internal";
/// Largest head of a request in bytes.
const HEAD_BYTES_MAX: usize = 32 << 10;
/// Longest time for one connection.
const PATIENCE: Duration = Duration::from_secs(30);

/// The server.
#[derive(Debug)]
pub struct Origin {
    address: SocketAddr,
    ca: String,
    word: String,
    _runtime: tokio::runtime::Runtime,
}

impl Origin {
    /// Starts it. Not from within an asynchronous task.
    ///
    /// # Errors
    /// No certificate can be made, or no port be had.
    pub fn start() -> Result<Self, EgressError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let authority = Authority::new(provider)?;
        let mut config = (*authority.leaf(NAME)?).clone();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(EgressError::Start)?;
        let listener = runtime
            .block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .map_err(EgressError::Start)?;
        let address = listener.local_addr().map_err(EgressError::Start)?;
        let word = format!("tagout{}", random_hex()?);
        runtime.spawn(serve(listener, acceptor, word.clone()));
        Ok(Self {
            address,
            ca: authority.pem(),
            word,
            _runtime: runtime,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The authority of its certificate, as PEM.
    #[must_use]
    pub fn ca(&self) -> &str {
        &self.ca
    }

    /// What is in each of its answers: who has it has reached the server.
    #[must_use]
    pub fn word(&self) -> &str {
        &self.word
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, word: String) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, word) = (acceptor.clone(), word.clone());
        // A client that breaks off is told of by the client.
        tokio::spawn(tokio::time::timeout(PATIENCE, async move {
            drop(one(stream, acceptor, &word).await);
        }));
    }
}

async fn one(stream: TcpStream, acceptor: TlsAcceptor, word: &str) -> std::io::Result<()> {
    let mut stream = acceptor.accept(stream).await?;
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() < HEAD_BYTES_MAX {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let target = head.split(' ').nth(1).unwrap_or_default();
    let path = target.split('?').next().unwrap_or_default();
    let (status, kind, body) = answer(path, word);
    let length = body.len();
    let text = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await
}

/// What each tool wants to read: git's dumb protocol, the indices of Cargo and Python, npm's document, else a page.
fn answer(path: &str, word: &str) -> (&'static str, &'static str, String) {
    const FOUND: &str = "200 OK";
    const JSON: &str = "application/json";
    const PLAIN: &str = "text/plain";
    let commit = "1".repeat(40);
    match path {
        "/git/info/refs" => (FOUND, PLAIN, format!("{commit}\trefs/heads/{word}\n")),
        "/git/HEAD" => (FOUND, PLAIN, format!("ref: refs/heads/{word}\n")),
        "/cargo/config.json" => (FOUND, JSON, format!("{{\"dl\": \"https://{NAME}/dl\"}}")),
        "/cargo/to/ol/tool" => {
            let entry = serde_json::json!({
                "name": "tool", "vers": format!("1.0.0+{word}"), "deps": [], "features": {},
                "cksum": "0".repeat(64), "yanked": false,
            });
            (FOUND, PLAIN, format!("{entry}\n"))
        }
        "/npm/tool" => {
            let version = serde_json::json!({
                "name": "tool", "version": "1.0.0", "description": word,
            });
            let document = serde_json::json!({
                "name": "tool", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version},
            });
            (FOUND, JSON, document.to_string())
        }
        "/simple/tool/" => {
            let wheel = format!("tool-1.0+{word}-py3-none-any.whl");
            let link = format!("<a href=\"{wheel}\" data-core-metadata=\"true\">{wheel}</a>\n");
            (FOUND, "text/html", link)
        }
        metadata if metadata.ends_with(".whl.metadata") => {
            let text = format!("Metadata-Version: 2.1\nName: tool\nVersion: 1.0+{word}\n");
            (FOUND, PLAIN, text)
        }
        // Go prints what a proxy says of a module that it has not.
        module if module.starts_with("/go/") => ("404 Not Found", PLAIN, word.to_owned()),
        _ => (FOUND, "text/html", format!("{word}\n")),
    }
}
