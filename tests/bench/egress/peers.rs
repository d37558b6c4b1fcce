//! Peers as they are installed, each on loopback with the plainest configuration that does the work.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{INSPECTED, TUNNELLED};

/// A peer that runs.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    /// Its CA, if it opens TLS.
    pub(crate) ca: Option<PathBuf>,
    child: Child,
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Starts what is there. Peers cannot be told where the names lead, so these must stand in `/etc/hosts`.
pub(crate) fn start(folder: &Path, origin_ca: &Path) -> Vec<Peer> {
    if !names_are_known() {
        println!(
            "peers: left out, because {INSPECTED} and {TUNNELLED} do not lead to 127.0.0.1 in /etc/hosts"
        );
        return Vec::new();
    }
    [
        squid(folder),
        tinyproxy(folder),
        mitmdump(folder, origin_ca),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn names_are_known() -> bool {
    let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    [INSPECTED, TUNNELLED].iter().all(|name| {
        hosts
            .lines()
            .any(|line| line.starts_with("127.0.0.1") && line.contains(name))
    })
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}

fn run(name: &'static str, port: u16, ca: Option<PathBuf>, command: &mut Command) -> Option<Peer> {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(child) = child else {
        println!("peers: {name} is not installed");
        return None;
    };
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let begin = Instant::now();
    let mut peer = Peer {
        name,
        address,
        ca,
        child,
    };
    while begin.elapsed() < Duration::from_secs(15) {
        let ready = peer.ca.as_ref().is_none_or(|ca| ca.exists());
        if ready && TcpStream::connect(address).is_ok() {
            return Some(peer);
        }
        if matches!(peer.child.try_wait(), Ok(Some(_))) {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    println!("peers: {name} does not start");
    None
}

fn squid(folder: &Path) -> Option<Peer> {
    let port = free_port();
    let file = folder.join("squid.conf");
    let text = format!(
        "http_port 127.0.0.1:{port}\nhttp_access allow all\ncache deny all\naccess_log none\n\
         pid_filename {0}/squid.pid\ncache_log {0}/squid.log\nshutdown_lifetime 0 seconds\n",
        folder.display()
    );
    std::fs::write(&file, text).unwrap();
    run(
        "squid",
        port,
        None,
        Command::new("squid").arg("-N").arg("-f").arg(file),
    )
}

fn tinyproxy(folder: &Path) -> Option<Peer> {
    let port = free_port();
    let file = folder.join("tinyproxy.conf");
    let text = format!(
        "Port {port}\nListen 127.0.0.1\nTimeout 60\nMaxClients 600\nAllow 127.0.0.1\nLogLevel Critical\n"
    );
    std::fs::write(&file, text).unwrap();
    run(
        "tinyproxy",
        port,
        None,
        Command::new("tinyproxy").arg("-d").arg("-c").arg(file),
    )
}

fn mitmdump(folder: &Path, origin_ca: &Path) -> Option<Peer> {
    let port = free_port();
    let home = folder.join("mitm");
    let ca = home.join("mitmproxy-ca-cert.pem");
    run(
        "mitmdump",
        port,
        Some(ca),
        Command::new("mitmdump")
            .args(["-q", "--listen-host", "127.0.0.1", "--set"])
            .arg(format!("confdir={}", home.display()))
            .args(["--set", "stream_large_bodies=1m", "--set"])
            .arg(format!(
                "ssl_verify_upstream_trusted_ca={}",
                origin_ca.display()
            ))
            .args(["--ignore-hosts", TUNNELLED, "-p"])
            .arg(port.to_string()),
    )
}
