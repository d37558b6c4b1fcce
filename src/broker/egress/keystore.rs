//! A store of trusted certificates as Java reads it (JKS): every Java takes this format, and it needs neither a program of
//! Java's nor a password to be read. It must never hold a key.

use std::time::{SystemTime, UNIX_EPOCH};

use sha1::{Digest, Sha1};

const MAGIC: u32 = 0xfeed_feed;
const VERSION: u32 = 2;
/// The tag of an entry that is a trusted certificate.
const TRUSTED: u32 = 2;
/// What Java's own store is sealed with. It is no secret: it tells a damaged file from a whole one.
const PASSWORD: &str = "changeit";
/// A fixed part of the seal (`JavaKeyStore.getPreKeyedHash` of OpenJDK).
const SALT: &[u8] = b"Mighty Aphrodite";

/// The store with these certificates, in DER.
pub(super) fn jks(certificates: &[&[u8]], now: SystemTime) -> Vec<u8> {
    let made_ms = now
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0));
    let mut store = Vec::new();
    store.extend(MAGIC.to_be_bytes());
    store.extend(VERSION.to_be_bytes());
    store.extend(length(certificates.len()));
    for (number, certificate) in certificates.iter().enumerate() {
        store.extend(TRUSTED.to_be_bytes());
        text(&mut store, &format!("root-{number}"));
        store.extend(made_ms.to_be_bytes());
        text(&mut store, "X.509");
        store.extend(length(certificate.len()));
        store.extend(*certificate);
    }
    let mut seal = Sha1::new();
    for unit in PASSWORD.encode_utf16() {
        seal.update(unit.to_be_bytes());
    }
    seal.update(SALT);
    seal.update(&store);
    store.extend(seal.finalize());
    store
}

fn length(length: usize) -> [u8; 4] {
    u32::try_from(length)
        .expect("certificates are far smaller than 4 GiB")
        .to_be_bytes()
}

/// A text of less than 64 KiB with its length before it.
fn text(store: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).expect("names of ours are short");
    store.extend(length.to_be_bytes());
    store.extend(text.as_bytes());
}
