//! Bytes before TLS and HTTP/1 are read alike in one piece and in two, and what passes is what came.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tagout::broker::egress::hostile::{guarded, hello};

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
});
