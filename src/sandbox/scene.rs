//! What the run sees: turns the plan into the new root, the Landlock rules, the environment and what is claimed of each wall.
//! It must never show a path because it was convenient: what is not listed is not there.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::FileType;
use std::path::{Path, PathBuf};

use super::helper::inside;
use super::protect::Protected;
use super::trust;
use super::walls::Fault;
use super::walls::files::{Grant, Rule};
use super::walls::namespaces::Ids;
use super::walls::root::{Item, Root, Shown};
use super::walls::sys;
use crate::wire::{Network, Plan, Wall, Workspace, java_store};

/// The address on which our own resolver answers inside.
pub const RESOLVER: &str = "198.18.0.1";

/// Home of the run.
pub const HOME: &str = "/home/agent";
/// Where temporary files go.
pub const TEMPORARY: &str = "/tmp";
/// Where the bundle of system roots and the run's CA is shown.
pub const CA_BUNDLE: &str = "/etc/ssl/tagout-ca.pem";

/// Everything that is decided before the first process is made.
#[derive(Debug)]
pub struct Scene {
    /// The new root.
    pub root: Root,
    /// The Landlock rules.
    pub rules: Vec<Rule>,
    /// The whole environment.
    pub environment: BTreeMap<String, String>,
    /// Where commands start.
    pub folder: PathBuf,
    /// What stands if nothing fails.
    pub walls: BTreeMap<String, Wall>,
    /// Folders of the host that the run writes to.
    pub written: Vec<PathBuf>,
    /// The folder on the host whose protected paths are looked at after the run, and which.
    pub protected: Option<Protected>,
}

/// Folders of the system, read-only as they are. A link among them stays a link.
pub(super) const SYSTEM: &[&str] = &[
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/nix/store",
];

/// Files of /etc that programs need and that hold no secret; a folder is shown whole.
/// Configuration of tools that may hold a password (pip.conf, npmrc, gitconfig, settings.xml) is left out on purpose.
pub(super) const ETC: &[&str] = &[
    "passwd",
    "group",
    "nsswitch.conf",
    "host.conf",
    "services",
    "protocols",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "alternatives",
    "localtime",
    "timezone",
    "os-release",
    "lsb-release",
    "debian_version",
    "redhat-release",
    "system-release",
    "alpine-release",
    "locale.alias",
    "locale.conf",
    "default/locale",
    "mime.types",
    "inputrc",
    "shells",
    "profile",
    "bash.bashrc",
    "terminfo",
    "ssl/certs",
    "ssl/cert.pem",
    "ssl/openssl.cnf",
    "pki/tls/certs",
    "pki/tls/cert.pem",
    "pki/tls/openssl.cnf",
    "pki/ca-trust/extracted",
    "crypto-policies",
    "fonts",
    "java-8-openjdk",
    "java-11-openjdk",
    "java-17-openjdk",
    "java-21-openjdk",
    "java-25-openjdk",
    "maven/m2.conf",
    "maven/toolchains.xml",
    "maven/logging",
    "perl",
    "python3.11",
    "python3.12",
    "python3.13",
    "php",
    "lighttpd/mime.conf",
    "gcrypt",
    "protocols.d",
    "xml",
    "sgml",
    "texmf",
    "R/Renviron",
];

/// Bundles of certificates that programs of all kinds open by a fixed path.
const BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
];

const HOSTS: &str = "127.0.0.1 localhost tagout\n::1 localhost ip6-localhost ip6-loopback\n";

impl Scene {
    /// Levels A and B: a new root.
    ///
    /// # Errors
    /// A workspace whose protected paths cannot be found.
    pub fn of_new_root(plan: &Plan, ids: Ids) -> Result<Self, Fault> {
        let mut items = Vec::with_capacity(96);
        private(&mut items);
        items.extend(plan.home.iter().map(|(path, text)| Item::File {
            target: Path::new(HOME).join(path),
            content: text.clone().into_bytes(),
        }));
        system(&mut items);
        for path in &plan.read {
            if exists(path) {
                items.push(bind(path, path, Shown::ReadOnly));
            }
        }
        for path in &plan.write {
            let (lower, upper, target) = (path.clone(), None, path.clone());
            if exists(path) {
                items.push(Item::Overlay {
                    lower,
                    upper,
                    target,
                });
            }
        }
        let folder = workspace(&mut items, plan);
        let protected = match &plan.workspace {
            Workspace::InPlace { path } => Some(Protected::of(path, plan)?),
            Workspace::Copy { .. } | Workspace::View { .. } => None,
        };
        mask(&mut items, plan, &folder, protected.as_ref())?;
        certificates(&mut items, plan);
        let root_uid = ids.user == 0;
        let bundle = match &plan.network {
            Network::Egress { .. } => Some(Path::new(CA_BUNDLE)),
            Network::None => None,
        };
        Ok(Self {
            rules: rules(plan, &folder, root_uid),
            environment: environment(plan, Path::new(HOME), Path::new(TEMPORARY), &folder, bundle),
            walls: claims(plan, root_uid),
            root: Root {
                items,
                memory_bytes: plan.limits.disk_bytes.min(plan.limits.memory_bytes),
                root_uid,
            },
            folder,
            written: match &plan.workspace {
                Workspace::InPlace { path } => vec![path.clone()],
                Workspace::View { upper, .. } => vec![upper.clone()],
                // It is written in memory, which is bounded by its own size.
                Workspace::Copy { .. } => Vec::new(),
            },
            protected,
        })
    }
}

impl Scene {
    /// Level A: a new root in which the run has a uid that nobody else on the host has.
    ///
    /// # Errors
    /// As for any new root.
    pub fn of_leased_uid(plan: &Plan, caller: Ids) -> Result<Self, Fault> {
        let ids = Ids {
            user: inside::shown(caller.user),
            group: inside::shown(caller.group),
        };
        let mut scene = Self::of_new_root(plan, ids)?;
        if caller.user == 0 {
            name_user(&mut scene.root.items);
        }
        Ok(scene)
    }
}

/// The run of root's is a user that the host does not know; programs ask for its name and home.
fn name_user(items: &mut [Item]) {
    let id = inside::PLAIN;
    for (name, line) in [
        (
            "/etc/passwd",
            format!("agent:x:{id}:{id}::{HOME}:/bin/sh\n"),
        ),
        ("/etc/group", format!("agent:x:{id}:\n")),
    ] {
        let place = items
            .iter_mut()
            .find(|item| matches!(item, Item::Copied { path } if path == Path::new(name)));
        if let Some(place) = place
            && let Ok(text) = std::fs::read_to_string(name)
        {
            *place = Item::File {
                target: name.into(),
                content: format!("{}\n{line}", text.trim_end()).into_bytes(),
            };
        }
    }
}

fn exists(path: &Path) -> bool {
    path.is_absolute() && path.exists()
}

fn bind(source: &Path, target: &Path, shown: Shown) -> Item {
    Item::Bind {
        source: source.to_path_buf(),
        target: target.to_path_buf(),
        shown,
    }
}

/// Comes first, so that a workspace below one of these folders is mounted inside it and not hidden by it.
fn private(items: &mut Vec<Item>) {
    for (target, mode) in [
        (HOME, 0o700),
        (TEMPORARY, 0o1777),
        ("/var/tmp", 0o1777),
        ("/dev/shm", 0o1777),
    ] {
        items.push(Item::Private {
            target: target.into(),
            mode,
        });
    }
    items.push(Item::Folder {
        target: "/run".into(),
    });
    items.push(Item::Link {
        target: "/var/run".into(),
        to: "../run".into(),
    });
}

fn system(items: &mut Vec<Item>) {
    for path in SYSTEM.iter().map(Path::new) {
        match std::fs::symlink_metadata(path) {
            Ok(meta) if meta.is_symlink() => {
                if let Ok(to) = std::fs::read_link(path) {
                    items.push(Item::Link {
                        target: path.into(),
                        to,
                    });
                }
            }
            Ok(meta) if meta.is_dir() => items.push(bind(path, path, Shown::ReadOnly)),
            Ok(_) | Err(_) => {}
        }
    }
    configuration(items);
    items.push(Item::Link {
        target: "/etc/mtab".into(),
        to: "/proc/mounts".into(),
    });
    for (target, text) in [
        ("/etc/hosts", HOSTS.to_owned()),
        ("/etc/hostname", "tagout\n".to_owned()),
        (
            "/etc/resolv.conf",
            format!("nameserver {RESOLVER}\noptions timeout:2 attempts:2\n"),
        ),
    ] {
        items.push(Item::File {
            target: target.into(),
            content: text.into_bytes(),
        });
    }
}

/// The listed files and folders of /etc that are there. Its list is read once: most of ours are on no one machine.
fn configuration(items: &mut Vec<Item>) {
    let there: BTreeMap<OsString, Option<FileType>> = std::fs::read_dir("/etc")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| (entry.file_name(), entry.file_type().ok()))
        .collect();
    for name in ETC {
        let first = name.split('/').next().unwrap_or(name);
        let Some(kind) = there.get(OsStr::new(first)) else {
            continue;
        };
        let path = Path::new("/etc").join(name);
        // A symlink is what it leads to, and a path with more than one part is not in the list.
        let listed = kind.filter(|kind| first == *name && !kind.is_symlink());
        let kind = listed.or_else(|| std::fs::metadata(&path).ok().map(|meta| meta.file_type()));
        match kind {
            Some(kind) if kind.is_dir() => items.push(bind(&path, &path, Shown::ReadOnly)),
            Some(kind) if kind.is_file() => items.push(Item::Copied { path }),
            Some(_) | None => {}
        }
    }
}

/// Shows the workspace; the answer is the path at which it is seen.
fn workspace(items: &mut Vec<Item>, plan: &Plan) -> PathBuf {
    match &plan.workspace {
        Workspace::InPlace { path } => {
            items.push(bind(path, path, Shown::Writable));
            path.clone()
        }
        Workspace::Copy { path } => {
            items.push(Item::Overlay {
                lower: path.clone(),
                upper: None,
                target: path.clone(),
            });
            path.clone()
        }
        Workspace::View {
            lower,
            upper,
            work,
            shown,
        } => {
            items.push(Item::Overlay {
                lower: lower.clone(),
                upper: Some((upper.clone(), work.clone())),
                target: shown.clone(),
            });
            shown.clone()
        }
    }
}

/// Puts the read-only and the denied paths of the workspace out of reach.
fn mask(
    items: &mut Vec<Item>,
    plan: &Plan,
    folder: &Path,
    protected: Option<&Protected>,
) -> Result<(), Fault> {
    let host = match &plan.workspace {
        Workspace::InPlace { path } | Workspace::Copy { path } => path,
        Workspace::View { lower, .. } => lower,
    };
    let found = match protected {
        Some(protected) => protected.clone(),
        None => Protected::of(host, plan)?,
    };
    // Those above come first in this order, and before what is mounted inside them.
    for path in &found.anchors {
        items.push(Item::Anchor {
            target: folder.join(path),
        });
    }
    for path in &found.read_only {
        items.push(Item::Freeze {
            target: folder.join(path),
        });
    }
    if let Some((path, content)) = found.git_config {
        items.push(Item::MaskFile {
            target: folder.join(path),
            content: Some(content),
        });
    }
    for (path, is_folder) in &found.denied {
        let target = folder.join(path);
        items.push(if *is_folder {
            Item::MaskFolder { target }
        } else {
            Item::MaskFile {
                target,
                content: None,
            }
        });
    }
    Ok(())
}

/// Shows the bundle by a path of ours and over the system's own, so that programs that read no variable find it.
fn certificates(items: &mut Vec<Item>, plan: &Plan) {
    let Some([ca_bundle, store]) = &trust::on_host(plan) else {
        return;
    };
    let inside = Path::new(CA_BUNDLE);
    items.push(bind(ca_bundle, inside, Shown::ReadOnly));
    items.push(bind(store, &java_store(inside), Shown::ReadOnly));
    items.extend(trust::files(inside).map(|(path, text)| Item::File {
        target: Path::new(HOME).join(path),
        content: text.into_bytes(),
    }));
    for path in BUNDLES.iter().map(Path::new).filter(|path| path.is_file()) {
        // The path may be a link into a folder that is shown as it is: then the file behind it is covered.
        let behind = std::fs::canonicalize(path).unwrap_or_else(|_gone| path.to_path_buf());
        items.push(bind(ca_bundle, &behind, Shown::ReadOnly));
    }
}

fn rules(plan: &Plan, folder: &Path, root_uid: bool) -> Vec<Rule> {
    let rule = |path: &Path, grant| Rule {
        path: path.to_path_buf(),
        grant,
    };
    // The new root holds nothing but what may be read.
    let mut rules = vec![rule(Path::new("/"), Grant::Read)];
    for path in [
        Path::new(HOME),
        Path::new(TEMPORARY),
        Path::new("/var/tmp"),
        Path::new("/dev/shm"),
        folder,
    ] {
        rules.push(rule(path, Grant::Write));
    }
    for path in &plan.write {
        rules.push(rule(path, Grant::Write));
    }
    rules.push(rule(Path::new("/dev"), Grant::Device));
    if !root_uid {
        rules.push(rule(Path::new("/proc"), Grant::Device));
    }
    rules
}

/// The allowlist, and what the walls themselves set. `bundle` is where the system's roots and the run's CA are seen.
pub(super) fn environment(
    plan: &Plan,
    home: &Path,
    temporary: &Path,
    folder: &Path,
    bundle: Option<&Path>,
) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> = plan.environment.iter().cloned().collect();
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let path: Vec<String> = plan.path.iter().map(|path| text(path)).collect();
    let mut set = |name: &str, value: String| {
        all.insert(name.to_owned(), value);
    };
    set("PATH", path.join(":"));
    set("HOME", text(home));
    set("TMPDIR", text(temporary));
    set("PWD", text(folder));
    trust::variables(&mut all, plan, home, bundle);
    all
}

/// What stands at level B once every step has been taken.
pub(super) fn claims(plan: &Plan, root_uid: bool) -> BTreeMap<String, Wall> {
    let unix = if sys::landlock_abi() >= 9 {
        Wall::Enforced
    } else {
        Wall::Partial
    };
    let processes = if root_uid {
        Wall::Partial
    } else {
        Wall::Enforced
    };
    let output = if plan.limits.output_bytes.is_some() {
        Wall::Enforced
    } else {
        Wall::Absent
    };
    // One process by the kernel, the sum by looking.
    let cpu_time = if plan.limits.cpu_time_ms.is_some() {
        Wall::Enforced
    } else {
        Wall::Absent
    };
    [
        ("files", Wall::Enforced),
        ("metadata", Wall::Enforced),
        ("git", Wall::Enforced),
        ("environment", Wall::Enforced),
        ("network", Wall::Enforced),
        ("dns", Wall::Enforced),
        ("unix-sockets", unix),
        ("syscalls", Wall::Enforced),
        ("processes", Wall::Enforced),
        (
            "uid",
            if root_uid {
                Wall::Partial
            } else {
                Wall::Enforced
            },
        ),
        ("limits.wall-time", Wall::Enforced),
        ("limits.memory", Wall::Partial),
        // The kernel does not count the processes of uid 0 (fork(2), EAGAIN).
        ("limits.processes", processes),
        ("limits.cpu-time", cpu_time),
        ("limits.file-size", Wall::Enforced),
        ("limits.open-files", Wall::Enforced),
        ("limits.disk", Wall::Partial),
        ("limits.output", output),
    ]
    .into_iter()
    .map(|(name, wall)| (name.to_owned(), wall))
    .collect()
}
