//! The outside: a folder with a workspace, a home, files that must not be touched, listeners, and a process beside the run.
//! It must never hold anything of the real user's.

use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::aim::{Aim, Ports, SECRET};
use crate::case::{Case, Need};
use crate::cases::CREDENTIALS;
use crate::raw::call;

/// Who makes the attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// The user that runs the tests.
    Caller,
    /// As root: a user of this test process alone, so that no two runs count each other's processes.
    Plain(u32),
}

impl Who {
    /// A plain user: oneself, or one that exists for this process alone.
    pub(crate) fn plain() -> Self {
        if rustix::process::geteuid().is_root() {
            Self::Plain(62_000 + std::process::id() % 2000)
        } else {
            Self::Caller
        }
    }

    /// A command as this user with an empty environment.
    pub(crate) fn command(self, program: &Path) -> Command {
        let mut command = match self {
            Self::Caller => Command::new(program),
            Self::Plain(id) => {
                let mut command = Command::new("setpriv");
                let id = id.to_string();
                command
                    .args(["--reuid", &id, "--regid", &id, "--clear-groups", "--"])
                    .arg(program);
                command
            }
        };
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
            .stdin(Stdio::null());
        command
    }

    /// Gives one file or folder to this user.
    pub(crate) fn own_one(self, path: &Path) -> io::Result<()> {
        match self {
            Self::Caller => Ok(()),
            Self::Plain(id) => std::os::unix::fs::lchown(path, Some(id), Some(id)),
        }
    }

    /// Gives a tree to this user.
    pub(crate) fn own(self, path: &Path) -> io::Result<()> {
        if self == Self::Caller {
            return Ok(());
        }
        self.own_one(path)?;
        if fs::symlink_metadata(path)?.is_dir() {
            for entry in fs::read_dir(path)? {
                self.own(&entry?.path())?;
            }
        }
        Ok(())
    }
}

/// What all cases of one user share: the programs and the listeners.
pub(crate) struct Grounds {
    folder: TempDir,
    /// Who makes the attacks.
    pub(crate) who: Who,
    listeners: Listeners,
}

struct Listeners {
    tcp: [TcpListener; 2],
    udp: [UdpSocket; 2],
}

impl Grounds {
    /// Copies the programs to where everybody can read them, and opens the listeners.
    pub(crate) fn new(who: Who) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("probes").tempdir()?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        let bin = folder.path().join("bin");
        fs::create_dir(&bin)?;
        fs::set_permissions(&bin, fs::Permissions::from_mode(0o755))?;
        fs::copy(std::env::current_exe()?, bin.join("probe"))?;
        let tagout = Path::new(env!("CARGO_BIN_EXE_tagout"));
        // A link saves a copy of many megabytes where both lie on one file system.
        fs::hard_link(tagout, bin.join("tagout"))
            .or_else(|_elsewhere| fs::copy(tagout, bin.join("tagout")).map(drop))?;
        let tcp = [
            TcpListener::bind("127.0.0.1:0")?,
            TcpListener::bind("[::1]:0")?,
        ];
        let udp = [UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("[::1]:0")?];
        for socket in &tcp {
            socket.set_nonblocking(true)?;
        }
        for socket in &udp {
            socket.set_nonblocking(true)?;
        }
        let listeners = Listeners { tcp, udp };
        Ok(Self {
            folder,
            who,
            listeners,
        })
    }

    /// The programs.
    pub(crate) fn bin(&self) -> PathBuf {
        self.folder.path().join("bin")
    }

    fn ports(&self) -> io::Result<Ports> {
        Ok(Ports {
            tcp: self.listeners.tcp[0].local_addr()?.port(),
            tcp6: self.listeners.tcp[1].local_addr()?.port(),
            udp: self.listeners.udp[0].local_addr()?.port(),
            udp6: self.listeners.udp[1].local_addr()?.port(),
        })
    }

    /// How much came since it was last asked.
    fn arrived(&self) -> usize {
        let mut count = 0;
        for socket in &self.listeners.tcp {
            while socket.accept().is_ok() {
                count += 1;
            }
        }
        for socket in &self.listeners.udp {
            while socket.recv(&mut [0; 16]).is_ok() {
                count += 1;
            }
        }
        count
    }
}

/// What one case is played on.
pub(crate) struct Stage<'a> {
    grounds: &'a Grounds,
    folder: PathBuf,
    /// Where the attack is aimed.
    pub(crate) aim: Aim,
    streams: Vec<UnixListener>,
    packets: Vec<OwnedFd>,
    datagrams: Vec<UnixDatagram>,
    victim: Option<(Child, String)>,
    before: Vec<String>,
}

impl<'a> Stage<'a> {
    /// Sets everything up. `number` tells cases of one process apart.
    pub(crate) fn new(
        grounds: &'a Grounds,
        case: &Case,
        number: usize,
        shared: bool,
    ) -> io::Result<Self> {
        let folder = grounds.folder.path().join(number.to_string());
        let key = i32::try_from(u64::from(std::process::id() % 100_000) * 10_000 + number as u64)
            .map_err(io::Error::other)?;
        let mut aim = Aim {
            workspace: folder.join("ws"),
            outside: folder.join("out"),
            home: folder.join("home"),
            runner: folder.join("runner"),
            probe: grounds.bin().join("probe"),
            word: format!("probe-{key}{}", if shared { "-shared" } else { "" }),
            key,
            ports: grounds.ports()?,
            victim: None,
        };
        furnish(&aim, case.need)?;
        let streams = vec![
            UnixListener::bind(aim.out("stream.sock"))?,
            UnixListener::bind(aim.workspace.join("host.sock"))?,
            UnixListener::bind_addr(&SocketAddr::from_abstract_name(&aim.word)?)?,
        ];
        for listener in &streams {
            listener.set_nonblocking(true)?;
        }
        let hidden = SocketAddr::from_abstract_name(format!("{}-d", aim.word))?;
        let datagrams = vec![
            UnixDatagram::bind(aim.out("datagram.sock"))?,
            UnixDatagram::bind_addr(&hidden)?,
        ];
        for socket in &datagrams {
            socket.set_nonblocking(true)?;
        }
        let packets = vec![packet_listener(&aim.out("packet.sock"))?];
        grounds.who.own(&folder)?;
        let victim = if case.need == Need::Victim {
            Some(start_victim(grounds.who, &mut aim)?)
        } else {
            None
        };
        grounds.arrived();
        let mut stage = Self {
            grounds,
            folder,
            aim,
            streams,
            packets,
            datagrams,
            victim,
            before: Vec::new(),
        };
        stage.before = stage.picture()?;
        Ok(stage)
    }

    /// What is different from before.
    pub(crate) fn changes(&self) -> io::Result<Vec<String>> {
        let after = self.picture()?;
        let gone = self.before.iter().filter(|line| !after.contains(line));
        let new = after.iter().filter(|line| !self.before.contains(line));
        Ok(gone
            .map(|line| format!("- {line}"))
            .chain(new.map(|line| format!("+ {line}")))
            .collect())
    }

    /// Everything that the run may not change, a line each.
    fn picture(&self) -> io::Result<Vec<String>> {
        let mut lines = Vec::new();
        let aim = &self.aim;
        for folder in [
            &aim.outside,
            &aim.home,
            &aim.runner,
            &aim.workspace.join(".git"),
            &aim.workspace.join(".github"),
            &aim.workspace.join(".env"),
        ] {
            look(folder, &mut lines)?;
        }
        for folder in ["/dev/shm", "/tmp"] {
            let path = Path::new(folder).join(&aim.word);
            lines.push(format!("{} {}", path.display(), path.exists()));
        }
        let shared = fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
        let key = aim.key.to_string();
        let held = shared
            .lines()
            .any(|line| line.split_whitespace().next() == Some(&key));
        lines.push(format!("shared memory {held}"));
        Ok(lines)
    }

    /// Whether a listener of the host got something.
    pub(crate) fn arrived(&self) -> bool {
        let mut count = self.grounds.arrived();
        for listener in &self.streams {
            while listener.accept().is_ok() {
                count += 1;
            }
        }
        for listener in &self.packets {
            let number = std::os::fd::AsRawFd::as_raw_fd(listener);
            let flags = libc::SOCK_NONBLOCK;
            count += usize::from(
                call(
                    libc::SYS_accept4,
                    [number.into(), 0.into(), 0.into(), flags.into()],
                )
                .is_ok(),
            );
        }
        for socket in &self.datagrams {
            while socket.recv(&mut [0; 16]).is_ok() {
                count += 1;
            }
        }
        count > 0
    }

    /// Whether the process beside the run is gone or not as it was.
    pub(crate) fn victim_harmed(&self) -> bool {
        let Some((child, before)) = &self.victim else {
            return false;
        };
        let harmed = || condition(child.id()).as_ref() != Some(before);
        // A process that was killed takes a moment to die.
        harmed() || {
            std::thread::sleep(std::time::Duration::from_millis(20));
            harmed()
        }
    }

    /// What the run wrote into its workspace, for a secret to be looked for.
    pub(crate) fn holds_secret(&self) -> bool {
        let names = ["taken", "hard", "env.txt"];
        names.iter().any(|name| {
            fs::read_to_string(self.aim.workspace.join(name))
                .is_ok_and(|text| text.contains(SECRET))
        })
    }

    /// Takes everything away.
    pub(crate) fn strike(mut self) -> io::Result<()> {
        if let Some((child, _)) = &mut self.victim {
            // It may have been killed by the attack.
            drop(child.kill());
            child.wait()?;
        }
        for folder in ["/dev/shm", "/tmp"] {
            match fs::remove_file(Path::new(folder).join(&self.aim.word)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        fs::remove_dir_all(&self.folder)
    }
}

fn furnish(aim: &Aim, need: Need) -> io::Result<()> {
    let write = |path: PathBuf, text: &str| {
        fs::create_dir_all(path.parent().expect("each has a parent"))?;
        fs::write(path, text)
    };
    write(aim.workspace.join("a.txt"), "hello\n")?;
    write(aim.workspace.join(".env"), &format!("KEY={SECRET}\n"))?;
    if need != Need::BareWorkspace {
        let config = format!("[core]\n\tbare = false\n[http]\n\textraheader = {SECRET}\n");
        write(aim.workspace.join(".git/config"), &config)?;
        write(aim.workspace.join(".git/HEAD"), "ref: refs/heads/main\n")?;
        fs::create_dir_all(aim.workspace.join(".git/hooks"))?;
        write(aim.workspace.join(".github/tagout.yml"), "version: 1\n")?;
    }
    fs::create_dir_all(aim.out("folder"))?;
    write(aim.victim_file(), &format!("{SECRET}\n"))?;
    write(aim.out(&format!("{SECRET}-name")), "")?;
    write(aim.out("tool"), &format!("#!/bin/sh\necho {SECRET}\n"))?;
    fs::set_permissions(aim.out("tool"), fs::Permissions::from_mode(0o755))?;
    for name in CREDENTIALS {
        write(aim.home.join(name), &format!("{SECRET}\n"))?;
    }
    for tool in [
        ".cargo/bin",
        ".rustup/toolchains",
        ".nvm/versions",
        "go/bin",
        ".pyenv/shims",
    ] {
        fs::create_dir_all(aim.home.join(tool))?;
    }
    for name in ["env", "path", "output", "summary"] {
        write(aim.runner.join(name), "")?;
    }
    for name in ["temp", "_actions", "tools"] {
        fs::create_dir_all(aim.runner.join(name))?;
    }
    Ok(())
}

/// A file's kind, mode, owner, links, size, times, attributes and content, and so on for all below a folder.
/// The time of the last change of state shows each change of metadata.
fn look(path: &Path, lines: &mut Vec<String>) -> io::Result<()> {
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(_gone) => {
            lines.push(format!("{} is not there", path.display()));
            return Ok(());
        }
    };
    let content = if meta.is_file() {
        fs::read(path)?
    } else {
        Vec::new()
    };
    lines.push(format!(
        "{} mode {:o} owner {} links {} times {}.{} {}.{} content {:?}",
        path.display(),
        meta.mode(),
        meta.uid(),
        meta.nlink(),
        meta.mtime(),
        meta.mtime_nsec(),
        meta.ctime(),
        meta.ctime_nsec(),
        String::from_utf8_lossy(&content),
    ));
    if meta.is_dir() {
        for entry in fs::read_dir(path)? {
            look(&entry?.path(), lines)?;
        }
    }
    Ok(())
}

fn packet_listener(path: &Path) -> io::Result<OwnedFd> {
    let number = call(
        libc::SYS_socket,
        [
            libc::AF_UNIX.into(),
            (libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK).into(),
            0.into(),
        ],
    )?;
    let mut address = vec![1, 0];
    address.extend(crate::aim::text(path));
    call(
        libc::SYS_bind,
        [number.into(), (&address).into(), address.len().into()],
    )?;
    call(libc::SYS_listen, [number.into(), 8.into()])?;
    crate::raw::own(number)
}

fn start_victim(who: Who, aim: &mut Aim) -> io::Result<(Child, String)> {
    let mut child = who
        .command(&aim.probe)
        .arg("victim")
        .arg(aim.victim_file())
        .arg(format!("--password={SECRET}"))
        .env("PASSWORD", SECRET)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = child.stdout.take().expect("it is piped");
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    let address = line.trim().parse().map_err(io::Error::other)?;
    let number = i32::try_from(child.id()).map_err(io::Error::other)?;
    aim.victim = Some((number, address));
    let state = condition(child.id()).ok_or_else(|| io::Error::other("the victim is gone"))?;
    Ok((child, state))
}

/// What of a process an outsider could change; none if it is dead.
fn condition(process: u32) -> Option<String> {
    let read = |name: &str| fs::read_to_string(format!("/proc/{process}/{name}")).ok();
    let stat = read("stat")?;
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    if matches!(fields.first(), Some(&("Z" | "X"))) {
        return None;
    }
    let status = read("status")?;
    let mask = status
        .lines()
        .find(|line| line.starts_with("Cpus_allowed:"))?;
    // Priority, nice and policy are fields 18, 19 and 41 of proc_pid_stat(5).
    let order = [fields.get(15)?, fields.get(16)?, fields.get(38)?];
    Some(format!(
        "{order:?} {mask} {} {}",
        read("limits")?,
        read("oom_score_adj")?
    ))
}

/// Reads a stream to its end, at most this many bytes.
pub(crate) fn read_bounded(stream: impl Read, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stream.take(bytes_max).read_to_end(&mut bytes)?;
    Ok(bytes)
}
