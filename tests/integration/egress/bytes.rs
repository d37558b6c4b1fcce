//! Hostile bytes of any kind, in any pieces: what the readers before TLS and HTTP make of them does not depend on how they came.

use proptest::prelude::*;
use tagout::broker::egress::hostile::{guarded, hello};

/// Parts of requests, good and bad, that chance puts together to heads and bodies.
const PARTS: [&str; 28] = [
    "GET /a HTTP/1.1\r\n",
    "POST /b HTTP/1.1\r\n",
    "Host: a.example\r\n",
    "Host: a.example\r\n\r\n",
    "Content-Length: 3\r\n",
    "Content-Length: 0\r\n\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: gzip, chunked\r\n",
    "Connection: close\r\n",
    "X: y\r\n",
    "X: y\n",
    " folded\r\n",
    "\r\n",
    "\n",
    "\r",
    "\0",
    "3\r\nabc\r\n",
    "0\r\n\r\n",
    "0\r\n",
    "ffffffffffffffff\r\n",
    "3;a=b\r\n",
    "abc",
    "GET",
    " ",
    ":",
    "\u{16}\u{3}\u{1}",
    "T: x\r\n\r\n",
    "HTTP/1.1\r\n",
];

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        8 => proptest::sample::select(PARTS.to_vec()).prop_map(|part| part.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..6),
    ];
    proptest::collection::vec(part, 0..24).prop_map(|parts| parts.concat())
}

fn split<'a>(bytes: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    at.extend([0, bytes.len()]);
    at.sort_unstable();
    at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_guard_says_the_same_however_the_bytes_come(
        bytes in bytes(),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let whole = guarded(&[&bytes]);
        let pieces = guarded(&split(&bytes, &cuts));
        // Where it breaks off in a body depends on what came before the fault; heads do not.
        if let (Some(whole), Some(pieces)) = (&whole, &pieces) {
            prop_assert_eq!(whole, pieces);
        }
        prop_assert_eq!(whole.is_some(), pieces.is_some());
        if let Some((passed, refused)) = whole {
            prop_assert!(refused <= 1);
            let own = passed.len().saturating_sub(if refused == 1 { REPLACEMENT } else { 0 });
            prop_assert_eq!(&passed[..own], &bytes[..own]);
        }
    }

    #[test]
    fn the_hello_is_never_read_two_ways(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in any::<prop::sample::Index>()) {
        let mut record = vec![22, 3, 1];
        record.extend_from_slice(&u16::try_from(bytes.len()).unwrap().to_be_bytes());
        record.extend_from_slice(&bytes);
        for bytes in [&bytes, &record] {
            let front = &bytes[..cut.index(bytes.len() + 1)];
            let (early, name) = hello(front);
            if early != "more" {
                // A decision once made is not another one when more comes.
                prop_assert_eq!(hello(bytes), (early, name));
            }
        }
    }
}

/// Bytes of the request that stands in for a refused one.
const REPLACEMENT: usize =
    "GET / HTTP/1.1\r\nHost: refused.invalid\r\nConnection: close\r\n\r\n".len();
