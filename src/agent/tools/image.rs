//! Shows pictures to the model, so that a screenshot can be worked on.
//! It must never believe a file's name: what it is, its first bytes tell.

use std::io::Read as _;
use std::path::Path;

use base64::Engine as _;
use serde::Deserialize;

use super::super::protocol::Image;
use super::files::open;

/// Largest picture in bytes.
const IMAGE_BYTES_MAX: u64 = 5 * 1024 * 1024;
/// Most pixels of one side.
const SIDE_PIXELS_MAX: u32 = 8000;

#[derive(Debug, Deserialize)]
pub(super) struct Arguments {
    path: String,
}

/// The picture, ready to be sent.
pub(super) fn view(workspace: &Path, arguments: &Arguments) -> Result<Image, String> {
    let path = &arguments.path;
    let mut bytes = Vec::new();
    open(workspace, path)?
        .take(IMAGE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("{path}: {error}"))?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > IMAGE_BYTES_MAX {
        return Err(format!("{path}: it has more than {IMAGE_BYTES_MAX} bytes"));
    }
    let (kind, width, height) = look(&bytes)
        .ok_or_else(|| format!("{path}: it is not a PNG, JPEG, GIF or WebP picture"))?;
    if width > SIDE_PIXELS_MAX || height > SIDE_PIXELS_MAX {
        return Err(format!(
            "{path}: it is larger than {SIDE_PIXELS_MAX} pixels on a side"
        ));
    }
    Ok(Image {
        kind,
        base64: base64::engine::general_purpose::STANDARD.encode(&bytes),
    })
}

/// What kind of picture these bytes begin, and its width and height.
fn look(bytes: &[u8]) -> Option<(&'static str, u32, u32)> {
    let at = |from: usize, count: usize| bytes.get(from..from + count);
    let little = |from, count| {
        at(from, count).map(|part| {
            part.iter()
                .rev()
                .fold(0, |sum, byte| sum << 8 | u32::from(*byte))
        })
    };
    let big = |from, count| {
        at(from, count).map(|part| part.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
    };
    if bytes.starts_with(b"\x89PNG\r\n\x1a\n") && at(12, 4)? == b"IHDR" {
        return Some(("image/png", big(16, 4)?, big(20, 4)?));
    }
    if bytes.starts_with(b"GIF87a") || bytes.starts_with(b"GIF89a") {
        return Some(("image/gif", little(6, 2)?, little(8, 2)?));
    }
    if bytes.starts_with(b"RIFF") && at(8, 4)? == b"WEBP" {
        let (width, height) = match at(12, 4)? {
            b"VP8X" => (little(24, 3)? + 1, little(27, 3)? + 1),
            b"VP8L" => {
                let bits = little(21, 4)?;
                ((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1)
            }
            b"VP8 " => (little(26, 2)? & 0x3fff, little(28, 2)? & 0x3fff),
            _ => return None,
        };
        return Some(("image/webp", width, height));
    }
    if bytes.starts_with(b"\xff\xd8\xff") {
        return jpeg(bytes).map(|(width, height)| ("image/jpeg", width, height));
    }
    None
}

/// Width and height of the first frame (ITU T.81, B.2).
fn jpeg(bytes: &[u8]) -> Option<(u32, u32)> {
    let mut from = 2;
    loop {
        let &[0xff, marker, high, low] = bytes.get(from..from + 4)? else {
            return None;
        };
        let frame = matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc);
        if frame {
            let &[a, b, c, d] = bytes.get(from + 5..from + 9)? else {
                return None;
            };
            let side = |high, low| u32::from(u16::from_be_bytes([high, low]));
            return Some((side(c, d), side(a, b)));
        }
        from += 2 + usize::from(u16::from_be_bytes([high, low]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_known_by_their_bytes() {
        let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x02\0\0\0\x03\x08\x06\0\0\0";
        assert_eq!(look(png), Some(("image/png", 2, 3)));
        assert_eq!(look(b"GIF89a\x02\0\x03\0"), Some(("image/gif", 2, 3)));
        let jpeg = b"\xff\xd8\xff\xe0\0\x04ab\xff\xc0\0\x11\x08\0\x03\0\x02\x03";
        assert_eq!(look(jpeg), Some(("image/jpeg", 2, 3)));
        let webp = b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\x01\0\0\x02\0\0";
        assert_eq!(look(webp), Some(("image/webp", 2, 3)));
    }

    #[test]
    fn other_files_and_broken_pictures_are_not_shown() {
        for bytes in [
            &b""[..],
            b"<svg/>",
            b"\x89PNG\r\n\x1a\n",
            b"\xff\xd8\xff",
            b"\xff\xd8\xff\xe0\0\0\xff\xff",
            b"RIFF\0\0\0\0WEBP",
        ] {
            assert_eq!(look(bytes), None, "{bytes:?}");
        }
    }
}
