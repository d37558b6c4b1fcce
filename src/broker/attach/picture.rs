//! What kind of image some bytes are and how large it would be drawn, by their first bytes alone.
//! It must never take a name's or a server's word for it, nor decode anything.

/// An image that programs know how to draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Its format.
    pub format: Format,
    /// Pixels from left to right.
    pub width: u32,
    /// Pixels from top to bottom.
    pub height: u32,
}

/// A format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// PNG (W3C, Portable Network Graphics).
    Png,
    /// JPEG (ITU-T T.81).
    Jpeg,
    /// GIF (CompuServe, GIF89a).
    Gif,
    /// WebP (RFC 9649).
    Webp,
}

impl Format {
    /// As a file's name ends, and as a person calls it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg => "jpeg",
            Self::Gif => "gif",
            Self::Webp => "webp",
        }
    }
}

/// Reads an image's head. None where it is none of the formats, or has no size.
#[must_use]
pub fn read(bytes: &[u8]) -> Option<Picture> {
    let found = png(bytes)
        .or_else(|| gif(bytes))
        .or_else(|| webp(bytes))
        .or_else(|| jpeg(bytes))?;
    (found.width > 0 && found.height > 0).then_some(found)
}

fn array<const LENGTH: usize>(bytes: &[u8], at: usize) -> Option<[u8; LENGTH]> {
    bytes.get(at..at.checked_add(LENGTH)?)?.try_into().ok()
}

fn big(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u16::from_be_bytes).map(u32::from)
}

fn little(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u16::from_le_bytes).map(u32::from)
}

fn png(bytes: &[u8]) -> Option<Picture> {
    let head: [u8; 16] = array(bytes, 0)?;
    (head == *b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR").then_some(())?;
    Some(Picture {
        format: Format::Png,
        width: u32::from_be_bytes(array(bytes, 16)?),
        height: u32::from_be_bytes(array(bytes, 20)?),
    })
}

fn gif(bytes: &[u8]) -> Option<Picture> {
    let head: [u8; 6] = array(bytes, 0)?;
    matches!(&head, b"GIF87a" | b"GIF89a").then_some(())?;
    Some(Picture {
        format: Format::Gif,
        width: little(bytes, 6)?,
        height: little(bytes, 8)?,
    })
}

fn webp(bytes: &[u8]) -> Option<Picture> {
    let (riff, webp): ([u8; 4], [u8; 8]) = (array(bytes, 0)?, array(bytes, 8)?);
    (riff == *b"RIFF").then_some(())?;
    let (width, height) = match &webp {
        b"WEBPVP8 " => {
            (array(bytes, 23)? == [0x9d, 0x01, 0x2a]).then_some(())?;
            (little(bytes, 26)? & 0x3fff, little(bytes, 28)? & 0x3fff)
        }
        b"WEBPVP8L" => {
            (array(bytes, 20)? == [0x2f]).then_some(())?;
            let bits = u32::from_le_bytes(array(bytes, 21)?);
            ((bits & 0x3fff) + 1, ((bits >> 14) & 0x3fff) + 1)
        }
        b"WEBPVP8X" => {
            let three = |at| {
                let [low, middle, high] = array(bytes, at)?;
                Some(u32::from_le_bytes([low, middle, high, 0]) + 1)
            };
            (three(24)?, three(27)?)
        }
        _ => return None,
    };
    Some(Picture {
        format: Format::Webp,
        width,
        height,
    })
}

/// The size stands in the first frame header; what comes before it is skipped by its own lengths.
fn jpeg(bytes: &[u8]) -> Option<Picture> {
    (array(bytes, 0)? == [0xff, 0xd8]).then_some(())?;
    let mut at = 2;
    loop {
        let [start, marker] = array(bytes, at)?;
        (start == 0xff).then_some(())?;
        at += 2;
        match marker {
            // Fill bytes, and markers without a length.
            0xff => at -= 1,
            0x01 | 0xd0..=0xd7 => {}
            0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                return Some(Picture {
                    format: Format::Jpeg,
                    width: big(bytes, at + 5)?,
                    height: big(bytes, at + 3)?,
                });
            }
            0xd8..=0xda => return None,
            _ => {
                let length = usize::try_from(big(bytes, at)?).ok()?;
                (length >= 2).then_some(())?;
                at += length;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(bytes: &[u8]) -> Option<(Format, u32, u32)> {
        read(bytes).map(|it| (it.format, it.width, it.height))
    }

    #[test]
    fn size_is_read_from_the_head_of_each_format() {
        let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x02\0\0\x01\0\x08\x06\0\0\0";
        assert_eq!(found(png), Some((Format::Png, 2, 256)));
        assert_eq!(found(b"GIF89a\x03\0\x04\x01;"), Some((Format::Gif, 3, 260)));
        let jpeg = b"\xff\xd8\xff\xe0\0\x04ab\xff\xff\xc2\0\x11\x08\0\x10\0\x20\x03";
        assert_eq!(found(jpeg), Some((Format::Jpeg, 32, 16)));
        let lossy = b"RIFF\0\0\0\0WEBPVP8 \0\0\0\0\0\0\0\x9d\x01\x2a\x05\0\x06\0";
        assert_eq!(found(lossy), Some((Format::Webp, 5, 6)));
        let lossless = b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f\x04\x40\x01\0";
        assert_eq!(found(lossless), Some((Format::Webp, 5, 6)));
        let extended = b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\x04\0\0\x05\0\0";
        assert_eq!(found(extended), Some((Format::Webp, 5, 6)));
    }

    #[test]
    fn what_is_none_or_is_cut_short_is_no_image() {
        for bytes in [
            &b""[..],
            b"<svg xmlns='http://www.w3.org/2000/svg'/>",
            b"<!doctype html>",
            b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x02\0\0",
            b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\0\0\0\x01\0",
            b"GIF89a\0\0\0\0",
            b"\xff\xd8\xff\xe0\0\x01",
            b"\xff\xd8\xff\xda\0\x04ab",
            b"\xff\xd8\xff\xff\xff",
            b"RIFF\0\0\0\0WEBPVP8 \0\0\0\0\0\0\0\0\0\0\x05\0\x06\0",
            b"RIFF\0\0\0\0WAVEfmt ",
        ] {
            assert_eq!(found(bytes), None, "{bytes:?}");
        }
    }
}
