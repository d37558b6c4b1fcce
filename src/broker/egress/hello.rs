//! Reads the server name of a TLS ClientHello before anything is answered (RFC 8446, 4.1.2; RFC 6066, 3).
//! It must decide on the whole message: one with post-quantum keys spans several segments.

/// Longest ClientHello in bytes, record headers included.
pub(super) const HELLO_BYTES_MAX: usize = 64 << 10;

const HANDSHAKE_RECORD: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const EXTENSION_SERVER_NAME: u16 = 0;
/// draft-ietf-tls-esni: the true name would be hidden from us.
const EXTENSION_ECH: u16 = 0xfe0d;

/// What the first bytes of a connection are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum First {
    /// More bytes are needed.
    Incomplete,
    /// A whole ClientHello.
    Tls(Hello),
    /// What an HTTP/1 request starts with: a letter of a method.
    Http,
    /// Neither.
    Other,
}

/// What matters of a ClientHello.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hello {
    /// The server name as sent.
    pub(super) name: Option<String>,
    /// Whether the true name is encrypted.
    pub(super) encrypted: bool,
}

/// Looks at the first bytes of a connection.
pub(super) fn first(bytes: &[u8]) -> First {
    match bytes.first() {
        None => First::Incomplete,
        Some(&HANDSHAKE_RECORD) => match message(bytes) {
            Some(message) => hello(&message).map_or(First::Other, First::Tls),
            None if bytes.len() > HELLO_BYTES_MAX || !records_look_right(bytes) => First::Other,
            None => First::Incomplete,
        },
        Some(byte) if byte.is_ascii_alphabetic() => First::Http,
        Some(_) => First::Other,
    }
}

/// Whether every record so far is a handshake record of a known version and a legal length.
fn records_look_right(mut bytes: &[u8]) -> bool {
    loop {
        match bytes {
            [] | [HANDSHAKE_RECORD] | [HANDSHAKE_RECORD, 3] => return true,
            [HANDSHAKE_RECORD, 3, rest @ ..] if rest.len() < 3 => return true,
            [HANDSHAKE_RECORD, 3, _, high, low, rest @ ..] => {
                let length = usize::from(u16::from_be_bytes([*high, *low]));
                if length == 0 || length > 1 << 14 {
                    return false;
                }
                bytes = rest.get(length..).unwrap_or_default();
            }
            _ => return false,
        }
    }
}

/// Puts the first handshake message together from its records; none while it is not whole or not well formed.
fn message(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut joined = Vec::new();
    loop {
        if let [kind, a, b, c, rest @ ..] = joined.as_slice() {
            let length = usize::try_from(u32::from_be_bytes([0, *a, *b, *c])).ok()?;
            if *kind == CLIENT_HELLO && rest.len() >= length {
                return rest.get(..length).map(<[u8]>::to_vec);
            }
        }
        let [HANDSHAKE_RECORD, 3, _, high, low, rest @ ..] = bytes else {
            return None;
        };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        joined.extend_from_slice(rest.get(..length)?);
        bytes = rest.get(length..)?;
        if length == 0 {
            return None;
        }
    }
}

fn hello(message: &[u8]) -> Option<Hello> {
    // Version and random, session, cipher suites, compression methods, then the extensions.
    let rest = message.get(34..)?;
    let (_, rest) = short_list(rest)?;
    let (_, rest) = long_list(rest)?;
    let (_, rest) = short_list(rest)?;
    let mut hello = Hello {
        name: None,
        encrypted: false,
    };
    if rest.is_empty() {
        return Some(hello);
    }
    let (mut extensions, _) = long_list(rest)?;
    while !extensions.is_empty() {
        let (kind, rest) = extensions.split_first_chunk::<2>()?;
        let (body, rest) = long_list(rest)?;
        extensions = rest;
        match u16::from_be_bytes(*kind) {
            EXTENSION_SERVER_NAME if hello.name.is_some() => return None,
            EXTENSION_SERVER_NAME => hello.name = Some(server_name(body)?),
            EXTENSION_ECH => hello.encrypted = true,
            _ => {}
        }
    }
    Some(hello)
}

/// Exactly one entry of the kind host_name.
fn server_name(body: &[u8]) -> Option<String> {
    let (entries, after) = long_list(body)?;
    let (kind, rest) = entries.split_first()?;
    let (name, more) = long_list(rest)?;
    let plain = name
        .iter()
        .all(|byte| byte.is_ascii_graphic() && *byte != b'/');
    if *kind != 0 || !more.is_empty() || !after.is_empty() || name.is_empty() || !plain {
        return None;
    }
    Some(String::from_utf8_lossy(name).into_owned())
}

fn short_list(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

fn long_list(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client_hello(extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
        let mut all = Vec::new();
        for (kind, body) in extensions {
            all.extend_from_slice(&kind.to_be_bytes());
            all.extend_from_slice(&u16::try_from(body.len()).unwrap().to_be_bytes());
            all.extend_from_slice(body);
        }
        let mut message = vec![3, 3];
        message.extend_from_slice(&[7; 32]);
        message.extend_from_slice(&[0, 0, 2, 0x13, 1, 1, 0]);
        message.extend_from_slice(&u16::try_from(all.len()).unwrap().to_be_bytes());
        message.extend_from_slice(&all);
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        [&[1, length[1], length[2], length[3]][..], &message].concat()
    }

    fn records(message: &[u8], size: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        for part in message.chunks(size) {
            bytes.extend_from_slice(&[22, 3, 1]);
            bytes.extend_from_slice(&u16::try_from(part.len()).unwrap().to_be_bytes());
            bytes.extend_from_slice(part);
        }
        bytes
    }

    fn name(text: &str) -> (u16, Vec<u8>) {
        let length = u16::try_from(text.len()).unwrap();
        let mut body = (length + 3).to_be_bytes().to_vec();
        body.push(0);
        body.extend_from_slice(&length.to_be_bytes());
        body.extend_from_slice(text.as_bytes());
        (0, body)
    }

    #[test]
    fn name_is_read_from_one_record_and_from_many() {
        let message = client_hello(&[(43, vec![2, 3, 4]), name("a.example")]);
        for size in [1, 3, 50, 16_000] {
            let bytes = records(&message, size);
            let expected = Hello {
                name: Some("a.example".to_owned()),
                encrypted: false,
            };
            assert_eq!(first(&bytes), First::Tls(expected), "{size}");
            for cut in 0..bytes.len() {
                assert_eq!(first(&bytes[..cut]), First::Incomplete, "{size} {cut}");
            }
        }
    }

    #[test]
    fn encrypted_hello_is_seen() {
        let message = client_hello(&[name("a.example"), (0xfe0d, vec![0, 1])]);
        assert!(matches!(first(&records(&message, 9)), First::Tls(hello) if hello.encrypted));
    }

    #[test]
    fn two_names_are_no_name() {
        let message = client_hello(&[name("a.example"), name("b.example")]);
        assert_eq!(first(&records(&message, 99)), First::Other);
    }

    #[test]
    fn other_bytes_are_neither() {
        assert_eq!(first(b""), First::Incomplete);
        assert_eq!(first(b"GET / HTTP/1.1"), First::Http);
        assert_eq!(first(b"\x00\x01"), First::Other);
        assert_eq!(first(b"\x16\x02\x00"), First::Other);
        assert_eq!(first(b"\x16\x03\x01\xff\xff"), First::Other);
        assert_eq!(first(b"\x16\x03\x01\x00\x00"), First::Other);
        assert_eq!(
            first(&records(&[1, 0xff, 0xff, 0xff], 9)[..]),
            First::Incomplete
        );
    }
}
