//! Bytes before TLS and HTTP/1 are read alike in one piece and in two, and what passes is what came. No secret comes back, in
//! however many pieces, and nothing else is changed. No SOCKS bytes break the reader or get round the password.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tagout::broker::egress::hostile::{guarded, hello, scrubbed, socks};

/// They overlap with themselves and each other, and are short enough to be found by chance.
const SECRETS: [&str; 3] = ["abab", "babc", "ccc"];
/// User and password, which SOCKS says apart.
const PASSWORD: &str = "tagout:long";

fuzz_target!(|input: (u16, &[u8])| {
    let (cut, bytes) = input;
    let (front, back) = bytes.split_at(usize::from(cut) % (bytes.len() + 1));
    let (early, name) = hello(front);
    if early != "more" {
        assert_eq!(hello(bytes), (early, name));
    }
    let whole = guarded(&[bytes]);
    assert_eq!(whole, guarded(&[front, back]));
    if let Some((passed, 0)) = whole {
        assert!(bytes.starts_with(&passed));
    }
    let clean = scrubbed(&SECRETS, &[front, back]);
    assert_eq!(clean.len(), bytes.len());
    assert!(clean.iter().zip(bytes).all(|(new, old)| new == old || *new == b'*'));
    for secret in SECRETS {
        assert!(!clean.windows(secret.len()).any(|part| part == secret.as_bytes()));
    }
    if let Some((_, port)) = socks(None, bytes) {
        assert!(port != 0);
    }
    if socks(Some(PASSWORD), bytes).is_some() {
        let said = |word: &[u8]| bytes.windows(word.len()).any(|part| part == word);
        assert!(said(b"tagout") && said(b"long"));
    }
});
