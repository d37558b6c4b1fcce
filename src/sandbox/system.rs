//! What of the host's own system a new root shows: programs, libraries, configuration without secrets, certificates.
//! It must never list a file that may hold a password: what is not listed is not there.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::FileType;
use std::path::Path;

use super::helper::inside;
use super::trust;
use super::walls::root::{Item, Shown};
use crate::wire::{Plan, java_store};

/// The address on which our own resolver answers inside.
pub const RESOLVER: &str = "198.18.0.1";
/// Where the bundle of system roots and the run's CA is shown.
pub const CA_BUNDLE: &str = "/etc/ssl/tagout-ca.pem";

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

pub(super) fn bind(source: &Path, target: &Path, shown: Shown) -> Item {
    Item::Bind {
        source: source.to_path_buf(),
        target: target.to_path_buf(),
        shown,
    }
}

/// The system's own folders and files.
pub(super) fn show(items: &mut Vec<Item>) {
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

/// The run of root's is a user that the host does not know; programs ask for its name and home.
pub(super) fn name_user(items: &mut [Item], home: &Path) {
    let id = inside::PLAIN;
    for (name, line) in [
        (
            "/etc/passwd",
            format!("agent:x:{id}:{id}::{}:/bin/sh\n", home.display()),
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

/// Shows the bundle by a path of ours and over the system's own, so that programs that read no variable find it.
pub(super) fn show_certificates(items: &mut Vec<Item>, plan: &Plan, home: &Path) {
    let Some([ca_bundle, store]) = &trust::on_host(plan) else {
        return;
    };
    let inside = Path::new(CA_BUNDLE);
    items.push(bind(ca_bundle, inside, Shown::ReadOnly));
    items.push(bind(store, &java_store(inside), Shown::ReadOnly));
    items.extend(trust::files(inside).map(|(path, text)| Item::File {
        target: home.join(path),
        content: text.into_bytes(),
    }));
    for path in BUNDLES.iter().map(Path::new).filter(|path| path.is_file()) {
        // The path may be a link into a folder that is shown as it is: then the file behind it is covered.
        let behind = std::fs::canonicalize(path).unwrap_or_else(|_gone| path.to_path_buf());
        items.push(bind(ca_bundle, &behind, Shown::ReadOnly));
    }
}
