//! SOCKS5 on the explicit proxy's port, for programs that speak nothing else (RFC 1928, RFC 1929).
//! It must never resolve or dial by itself: it only learns host and port, and the same judging follows.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::road::Road;
use super::target::Bound;
use crate::names::Digest;

/// The first byte of a client.
pub(super) const VERSION: u8 = 5;

const NO_AUTH: u8 = 0;
const PASSWORD: u8 = 2;
const NONE_FITS: u8 = 0xff;
const CONNECT: u8 = 1;
const SUCCEEDED: u8 = 0;
const COMMAND_NOT_SUPPORTED: u8 = 7;
const ADDRESS_NOT_SUPPORTED: u8 = 8;

/// Speaks until the client has said where it wants to go. The version's byte is read already.
/// `expected` is the digest of the password that is asked for, if any.
pub(super) async fn greet<S>(expected: Option<&Digest>, stream: &mut S) -> io::Result<Bound>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let count = stream.read_u8().await?;
    let mut methods = vec![0_u8; usize::from(count)];
    stream.read_exact(&mut methods).await?;
    let method = if expected.is_none() {
        NO_AUTH
    } else {
        PASSWORD
    };
    if !methods.contains(&method) {
        stream.write_all(&[VERSION, NONE_FITS]).await?;
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    stream.write_all(&[VERSION, method]).await?;
    if let Some(expected) = expected {
        check_password(expected, stream).await?;
    }
    let bound = request(stream).await?;
    stream.write_all(&reply(SUCCEEDED)).await?;
    Ok(bound)
}

async fn check_password<S>(expected: &Digest, stream: &mut S) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let version = stream.read_u8().await?;
    let user = text(stream).await?;
    let password = text(stream).await?;
    let given = Road::expected_authorization(&format!("{user}:{password}"));
    let good = version == 1 && *expected == given;
    stream.write_all(&[1, u8::from(!good)]).await?;
    if good {
        Ok(())
    } else {
        Err(io::ErrorKind::PermissionDenied.into())
    }
}

async fn request<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> io::Result<Bound> {
    let mut head = [0_u8; 4];
    stream.read_exact(&mut head).await?;
    let [version, command, _, kind] = head;
    if version != VERSION {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let host = match kind {
        1 => Ipv4Addr::from_bits(stream.read_u32().await?).to_string(),
        3 => text(stream).await?,
        4 => Ipv6Addr::from_bits(stream.read_u128().await?).to_string(),
        _ => {
            stream.write_all(&reply(ADDRESS_NOT_SUPPORTED)).await?;
            return Err(io::ErrorKind::InvalidData.into());
        }
    };
    let port = stream.read_u16().await?;
    if command != CONNECT || port == 0 {
        stream.write_all(&reply(COMMAND_NOT_SUPPORTED)).await?;
        return Err(io::ErrorKind::Unsupported.into());
    }
    Ok(Bound::new(&host, port))
}

/// A text of at most 255 bytes with its length in front.
async fn text<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<String> {
    let length = stream.read_u8().await?;
    let mut bytes = vec![0_u8; usize::from(length)];
    stream.read_exact(&mut bytes).await?;
    String::from_utf8(bytes).map_err(|_not_text| io::ErrorKind::InvalidData.into())
}

/// An answer; the address in it means nothing here.
fn reply(code: u8) -> [u8; 10] {
    [VERSION, code, 0, 1, 0, 0, 0, 0, 0, 0]
}
