//! Whom the egress believes upstream: the system's roots and whatever the caller's `SSL_CERT_FILE` adds.
//! An extra root must never replace the system's, and an unreadable one is an error, not fewer roots.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;

use super::error::EgressError;
use super::keystore;
use crate::wire::java_store;

/// Where distributions keep their roots as one file; read instead of a folder of links, which takes ten times as long.
const BUNDLES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/pki/tls/cacert.pem",
];

/// Reads all roots.
pub(super) fn load(
    file: Option<&Path>,
    folder: Option<&Path>,
) -> Result<Vec<CertificateDer<'static>>, EgressError> {
    let mut roots = system();
    if file.is_some() || folder.is_some() {
        let extra = rustls_native_certs::load_certs_from_paths(file, folder);
        if extra.certs.is_empty() && !extra.errors.is_empty() {
            return Err(EgressError::Message(
                "SSL_CERT_FILE or SSL_CERT_DIR names nothing that holds certificates",
            ));
        }
        roots.extend(extra.certs);
    }
    Ok(roots)
}

fn system() -> Vec<CertificateDer<'static>> {
    for bundle in BUNDLES {
        let found = rustls_native_certs::load_certs_from_paths(Some(Path::new(bundle)), None);
        if !found.certs.is_empty() {
            return found.certs;
        }
    }
    rustls_native_certs::load_native_certs().certs
}

/// The roots as rustls wants them; what it cannot read is left out, as every TLS library does.
pub(super) fn store(roots: &[CertificateDer<'static>]) -> RootCertStore {
    let mut store = RootCertStore::empty();
    let (_added, _ignored) = store.add_parsable_certificates(roots.iter().cloned());
    store
}

/// Writes what is shown inside, one file of PEM and beside it one for Java: all that is believed upstream, for hosts that
/// are tunnelled to, and the run's CA.
pub(super) fn write_bundle(
    path: &Path,
    roots: &[CertificateDer<'static>],
    ca: &CertificateDer<'_>,
) -> Result<(), EgressError> {
    // One that cannot be read would cost Java all the others.
    let mut readable = RootCertStore::empty();
    let mut all: Vec<&[u8]> = roots
        .iter()
        .filter(|root| readable.add((*root).clone()).is_ok())
        .map(AsRef::as_ref)
        .collect();
    all.push(ca);
    write(path, pem(&all).as_bytes())?;
    write(&java_store(path), &keystore::jks(&all, SystemTime::now()))
}

fn pem(certificates: &[&[u8]]) -> String {
    const LINE_BYTES: usize = 48;
    let mut text = String::new();
    for certificate in certificates {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        for line in certificate.chunks(LINE_BYTES) {
            STANDARD.encode_string(line, &mut text);
            text.push('\n');
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), EgressError> {
    File::options()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(path)
        .and_then(|mut file| file.write_all(bytes))
        .map_err(|cause| EgressError::File {
            path: path.to_owned(),
            cause,
        })
}
