//! Finds the secrets that the run knew, plain or in a disguise that a script makes in a line.
//! It must never put a secret, or a part of one, into a finding.

use std::collections::BTreeMap;
use std::io::Read as _;

use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD, URL_SAFE};

use crate::names::Secret;

/// Shorter secrets are words that stand in any text.
const SECRET_BYTES_MIN: usize = 6;
/// Shortest form that is looked for with everything but letters and digits taken out.
const SQUEEZED_BYTES_MIN: usize = 12;
/// Shortest run of base64 or hexadecimal digits that is decoded and looked into.
const RUN_BYTES_MIN: usize = 16;
/// How often what was decoded is decoded again.
const DEPTH_MAX: usize = 3;
/// Most bytes that decoding one text may make in all.
const DECODED_BYTES_MAX: usize = 16 << 20;
/// Shortest secret whose pieces are looked for, and the share of it that must be found.
const PIECES_SECRET_BYTES_MIN: usize = 16;
const PIECES_SHARE_PERCENT: usize = 75;

/// Where a secret was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// The line from one, where it is known.
    pub(super) line: Option<u32>,
    /// In which form.
    pub(super) form: &'static str,
}

/// All forms of all secrets, ready to be looked for.
pub(super) struct Needles {
    forms: Vec<(Vec<u8>, &'static str)>,
    exact: AhoCorasick,
    squeezed_forms: Vec<&'static str>,
    squeezed: AhoCorasick,
    pieces: Pieces,
}

impl Needles {
    /// None if there is nothing to look for.
    pub(super) fn new(secrets: &[Secret]) -> Option<Self> {
        let mut forms: Vec<(Vec<u8>, &'static str)> = Vec::new();
        for secret in secrets {
            let bytes = secret.expose().trim().as_bytes();
            if bytes.len() >= SECRET_BYTES_MIN {
                all_forms(bytes, &mut forms);
            }
        }
        if forms.is_empty() {
            return None;
        }
        let exact = automaton(forms.iter().map(|(form, _)| form.as_slice()))?;
        let squeezed: Vec<_> = forms
            .iter()
            .map(|(form, name)| (squeeze(form), *name))
            .filter(|(form, _)| form.len() >= SQUEEZED_BYTES_MIN)
            .collect();
        Some(Self {
            exact,
            squeezed: automaton(squeezed.iter().map(|(form, _)| form.as_slice()))?,
            squeezed_forms: squeezed.into_iter().map(|(_, name)| name).collect(),
            pieces: Pieces::new(secrets)?,
            forms,
        })
    }

    /// The first form of a secret in a text that was not in its old version already.
    pub(super) fn find(&self, text: &[u8], old: Option<&[u8]>) -> Option<Found> {
        for hit in self.exact.find_overlapping_iter(text) {
            let (form, name) = self.forms.get(hit.pattern().as_usize())?;
            if !old.is_some_and(|old| contains(old, form)) {
                let before = text.get(..hit.start()).unwrap_or_default();
                let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
                return Some(Found {
                    line: u32::try_from(line).ok(),
                    form: name,
                });
            }
        }
        let squeezed = squeeze(text);
        let squeezed_old = old.map(squeeze);
        let hidden = self.squeezed.find_overlapping_iter(&squeezed).find(|hit| {
            let form = squeezed.get(hit.range()).unwrap_or_default();
            !squeezed_old.as_ref().is_some_and(|old| contains(old, form))
        });
        if let Some(hit) = hidden {
            return Some(Found {
                line: None,
                form: self.squeezed_forms.get(hit.pattern().as_usize())?,
            });
        }
        let mut budget = DECODED_BYTES_MAX;
        self.find_decoded(text, old, DEPTH_MAX, &mut budget)
            .map(|form| Found { line: None, form })
    }

    fn find_decoded(
        &self,
        text: &[u8],
        old: Option<&[u8]>,
        depth: usize,
        budget: &mut usize,
    ) -> Option<&'static str> {
        if depth == 0 {
            return None;
        }
        for (decoded, form) in decodings(text, budget) {
            let known = |found: &[u8]| old.is_some_and(|old| contains(old, found));
            let hit = self
                .exact
                .find(&decoded)
                .is_some_and(|hit| !known(decoded.get(hit.range()).unwrap_or_default()));
            if hit {
                // The old text may hold the same encoded run; then it is not the agent's.
                let in_old = old.is_some_and(|old| {
                    let mut rest = DECODED_BYTES_MAX;
                    decodings(old, &mut rest)
                        .iter()
                        .any(|(other, _)| *other == decoded)
                });
                if !in_old {
                    return Some(form);
                }
            }
            if let Some(inner) = self.find_decoded(&decoded, None, depth - 1, budget) {
                return Some(inner);
            }
        }
        None
    }

    /// Looks for pieces of secrets; what is found adds up over all texts of a change.
    pub(super) fn pieces<'a>(&self, texts: impl Iterator<Item = &'a [u8]>) -> bool {
        self.pieces.found(texts)
    }
}

fn automaton<'a>(forms: impl Iterator<Item = &'a [u8]>) -> Option<AhoCorasick> {
    AhoCorasick::builder()
        .match_kind(MatchKind::Standard)
        .build(forms)
        .ok()
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(text, part).is_some()
}

fn all_forms(secret: &[u8], forms: &mut Vec<(Vec<u8>, &'static str)>) {
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
    let mut add = |form: Vec<u8>, name: &'static str| {
        if form.len() >= SECRET_BYTES_MIN && !forms.iter().any(|(known, _)| *known == form) {
            forms.push((form, name));
        }
    };
    add(secret.to_vec(), "plain");
    let reversed: Vec<u8> = secret.iter().rev().copied().collect();
    for (bytes, form) in [(secret, ""), (&reversed, "reversed")] {
        let named = |plain: &'static str| if form.is_empty() { plain } else { form };
        add(bytes.to_vec(), named("plain"));
        add(hex(bytes).into_bytes(), named("hexadecimal"));
        add(hex(bytes).to_uppercase().into_bytes(), named("hexadecimal"));
        for url_safe in [false, true] {
            for shift in 0..3 {
                add(base64_at(bytes, shift, url_safe), named("base64"));
            }
        }
    }
    let backwards = |text: &[u8]| text.iter().rev().copied().collect::<Vec<u8>>();
    add(backwards(hex(secret).as_bytes()), "hexadecimal, reversed");
    for shift in 0..3 {
        add(
            backwards(&base64_at(secret, shift, false)),
            "base64, reversed",
        );
    }
    for upper in [false, true] {
        add(percent(secret, upper, false), "URL-encoded");
        add(percent(secret, upper, true), "URL-encoded");
    }
    if let Ok(json) = serde_json::to_string(&String::from_utf8_lossy(secret)) {
        add(
            json.trim_matches('"').as_bytes().to_vec(),
            "as a JSON string",
        );
    }
    let rotated = secret
        .iter()
        .map(|byte| match byte {
            b'a'..=b'z' => (byte - b'a' + 13) % 26 + b'a',
            b'A'..=b'Z' => (byte - b'A' + 13) % 26 + b'A',
            other => *other,
        })
        .collect();
    add(rotated, "rotated by 13 letters");
}

/// The letters of base64 that depend on the secret alone, if it begins `shift` bytes into a group of three.
fn base64_at(secret: &[u8], shift: usize, url_safe: bool) -> Vec<u8> {
    let padded = [&[0_u8; 2][..shift.min(2)], secret].concat();
    let text = if url_safe {
        URL_SAFE.encode(&padded)
    } else {
        STANDARD.encode(&padded)
    };
    let first = (shift * 8).div_ceil(6);
    let end = padded.len() * 8 / 6;
    text.as_bytes().get(first..end).unwrap_or_default().to_vec()
}

fn percent(secret: &[u8], upper: bool, all: bool) -> Vec<u8> {
    let mut out = String::new();
    for byte in secret {
        let plain = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
        if plain && !all {
            out.push(char::from(*byte));
        } else if upper {
            out.push_str(&format!("%{byte:02X}"));
        } else {
            out.push_str(&format!("%{byte:02x}"));
        }
    }
    out.into_bytes()
}

/// Letters and digits only, so that line breaks, quotes, plus signs and separators between bytes do not hide a secret.
/// `0x` and `\x` before hexadecimal digits go too.
fn squeeze(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let next = bytes.peek().copied();
        if matches!(byte, b'0' | b'\\') && matches!(next, Some(b'x' | b'X')) {
            bytes.next();
        } else if byte == b'\\' && next.is_some_and(|next| next.is_ascii_alphabetic()) {
            // An escape such as \n in the source of a string.
            bytes.next();
        } else if byte.is_ascii_alphanumeric() {
            out.push(byte);
        }
    }
    out
}

/// What the encoded runs of a text hold.
fn decodings(text: &[u8], budget: &mut usize) -> Vec<(Vec<u8>, &'static str)> {
    let mut found = Vec::new();
    let mut take = |decoded: Vec<u8>, form: &'static str| {
        if !decoded.is_empty() && decoded.len() <= *budget {
            *budget -= decoded.len();
            found.push((decoded, form));
        }
    };
    let mut rest = DECODED_BYTES_MAX;
    for at in memchr::memmem::find_iter(text, b"\x1f\x8b\x08") {
        let packed = text.get(at..).unwrap_or_default();
        take(
            inflate(flate2::read::GzDecoder::new(packed), &mut rest),
            "gzip",
        );
    }
    if matches!(text, [0x78, 0x01 | 0x5e | 0x9c | 0xda, ..]) {
        take(
            inflate(flate2::read::ZlibDecoder::new(text), &mut rest),
            "zlib",
        );
    }
    let is_base64 =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_');
    // A run may be broken into lines.
    let joined: Vec<u8> = text
        .iter()
        .copied()
        .filter(|byte| !matches!(byte, b'\n' | b'\r'))
        .collect();
    let mut sides = vec![text];
    if joined.len() != text.len() {
        sides.push(&joined);
    }
    for side in sides {
        for run in side.split(|byte| !is_base64(*byte)) {
            if run.len() >= RUN_BYTES_MIN {
                take(from_base64(run), "base64");
            }
        }
        for run in side.split(|byte| !byte.is_ascii_hexdigit()) {
            if run.len() >= RUN_BYTES_MIN {
                take(from_hex(run), "hexadecimal");
            }
        }
    }
    found
}

fn inflate(mut packed: impl std::io::Read, budget: &mut usize) -> Vec<u8> {
    let mut out = Vec::new();
    let most = *budget as u64;
    // A broken stream gives what it gave until then.
    match packed.by_ref().take(most).read_to_end(&mut out) {
        Ok(_) | Err(_) => *budget -= out.len().min(*budget),
    }
    out
}

fn from_base64(run: &[u8]) -> Vec<u8> {
    let config = GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let alphabet = if run.iter().any(|byte| matches!(byte, b'-' | b'_')) {
        &alphabet::URL_SAFE
    } else {
        &alphabet::STANDARD
    };
    // A last letter that makes no byte is left out.
    let whole = run.len() - usize::from(run.len() % 4 == 1);
    GeneralPurpose::new(alphabet, config)
        .decode(run.get(..whole).unwrap_or_default())
        .unwrap_or_default()
}

fn from_hex(run: &[u8]) -> Vec<u8> {
    let digit = |byte: &u8| {
        char::from(*byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    run.chunks_exact(2)
        .filter_map(|pair| match pair {
            [high, low] => Some(digit(high)? << 4 | digit(low)?),
            _ => None,
        })
        .collect()
}

/// Secrets cut into overlapping pieces, to find one that is split over lines or files.
struct Pieces {
    automaton: AhoCorasick,
    /// For each pattern the secrets and places that it covers.
    places: Vec<Vec<(usize, usize)>>,
    secrets: Vec<usize>,
}

impl Pieces {
    fn new(secrets: &[Secret]) -> Option<Self> {
        let mut patterns: BTreeMap<&[u8], Vec<(usize, usize)>> = BTreeMap::new();
        let mut lengths = Vec::new();
        for secret in secrets {
            let bytes = secret.expose().trim().as_bytes();
            if bytes.len() < PIECES_SECRET_BYTES_MIN {
                continue;
            }
            let number = lengths.len();
            lengths.push(bytes.len());
            for (at, piece) in bytes.windows(piece_bytes(bytes.len())).enumerate() {
                patterns.entry(piece).or_default().push((number, at));
            }
        }
        Some(Self {
            automaton: automaton(patterns.keys().copied())?,
            places: patterns.into_values().collect(),
            secrets: lengths,
        })
    }

    fn found<'a>(&self, texts: impl Iterator<Item = &'a [u8]>) -> bool {
        let mut seen: Vec<Vec<bool>> = self
            .secrets
            .iter()
            .map(|length| vec![false; *length])
            .collect();
        for text in texts {
            for hit in self.automaton.find_overlapping_iter(text) {
                for (secret, at) in self
                    .places
                    .get(hit.pattern().as_usize())
                    .into_iter()
                    .flatten()
                {
                    let covered = seen
                        .get_mut(*secret)
                        .and_then(|seen| seen.get_mut(*at..*at + hit.len()));
                    if let Some(covered) = covered {
                        covered.fill(true);
                    }
                }
            }
        }
        seen.iter().any(|seen| {
            let covered = seen.iter().filter(|covered| **covered).count();
            covered * 100 >= seen.len() * PIECES_SHARE_PERCENT
        })
    }
}

/// A quarter of the secret, within bounds that neither everyday text nor a cut into many parts meets.
fn piece_bytes(length: usize) -> usize {
    (length / 4).clamp(8, 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "s3cr3t-Value/With+Odd?chars=42";

    fn needles() -> Needles {
        Needles::new(&[Secret::new(SECRET.to_owned())]).expect("a secret")
    }

    fn form(text: impl AsRef<[u8]>) -> Option<&'static str> {
        needles().find(text.as_ref(), None).map(|found| found.form)
    }

    #[test]
    fn plain_secret_is_found_with_its_line() {
        let found = needles().find(format!("a\nb\nkey = {SECRET}\n").as_bytes(), None);
        assert_eq!(
            found,
            Some(Found {
                line: Some(3),
                form: "plain"
            })
        );
    }

    #[test]
    fn everyday_text_is_not_a_secret() {
        assert_eq!(
            form(
                "s3cr3t value with odd chars, base64 aGVsbG8gd29ybGQgaGVsbG8= 68656c6c6f20776f726c64"
            ),
            None
        );
        assert!(Needles::new(&[]).is_none());
        assert!(Needles::new(&[Secret::new("main".to_owned())]).is_none());
    }

    #[test]
    fn secret_that_the_base_holds_already_is_not_the_agents() {
        let text = format!("x = {SECRET}\nnew line\n");
        let old = format!("x = {SECRET}\n");
        assert_eq!(needles().find(text.as_bytes(), Some(old.as_bytes())), None);
    }

    #[test]
    fn every_transform_is_found() {
        let bytes = SECRET.as_bytes();
        let reversed: String = SECRET.chars().rev().collect();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let spaced: String = bytes.iter().map(|byte| format!("0x{byte:02X}, ")).collect();
        let escaped: String = bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect();
        let colons: String = bytes.iter().map(|byte| format!("{byte:02x}:")).collect();
        let mut cases = vec![
            ("reversed", reversed.clone()),
            ("hex", hex.clone()),
            ("HEX", hex.to_uppercase()),
            ("hex reversed", hex.chars().rev().collect()),
            ("bytes", spaced),
            ("escapes", escaped),
            ("colons", colons),
            (
                "percent",
                String::from_utf8(percent(bytes, true, false)).expect("text"),
            ),
            (
                "percent all",
                String::from_utf8(percent(bytes, false, true)).expect("text"),
            ),
            (
                "concatenated",
                "\"s3cr3t-Value\" + \"/With+Odd\" +\n  \"?chars=42\"".to_owned(),
            ),
            ("base64 of reversed", STANDARD.encode(&reversed)),
            ("base64 twice", STANDARD.encode(STANDARD.encode(SECRET))),
            ("base64 of hex", STANDARD.encode(&hex)),
            ("rot13", "f3pe3g-Inyhr/Jvgu+Bqq?punef=42".to_owned()),
        ];
        for before in ["", "a", "ab", "abc"] {
            cases.push((
                "base64",
                STANDARD.encode(format!("{before}{SECRET} and more")),
            ));
            cases.push(("base64 url", URL_SAFE.encode(format!("{before}{SECRET}"))));
        }
        let long = STANDARD.encode(format!("some more text before it {SECRET} and after it"));
        let wrapped: Vec<String> = long
            .as_bytes()
            .chunks(20)
            .map(|line| String::from_utf8_lossy(line).into_owned())
            .collect();
        cases.push(("base64 in lines", wrapped.join("\n")));
        for (name, text) in cases {
            assert!(
                form(format!("let x = '{text}';")).is_some(),
                "{name}: {text}"
            );
        }
    }

    #[test]
    fn packed_secret_is_found_raw_and_in_base64() {
        use std::io::Write as _;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder
            .write_all(format!("{}{SECRET}", "words again ".repeat(50)).as_bytes())
            .expect("written");
        let packed = encoder.finish().expect("written");
        assert_eq!(form(&packed), Some("gzip"));
        assert!(form(STANDARD.encode(&packed)).is_some());
        assert!(form([b"some header".as_slice(), &packed].concat()).is_some());
    }

    #[test]
    fn bomb_is_not_unpacked_beyond_the_limit() {
        use std::io::Write as _;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let zeros = vec![0_u8; 1 << 20];
        for _ in 0..24 {
            encoder.write_all(&zeros).expect("written");
        }
        let packed = encoder.finish().expect("written");
        assert_eq!(form(&packed), None);
    }

    #[test]
    fn pieces_over_several_files_add_up() {
        let needles = needles();
        let (one, other) = SECRET.split_at(14);
        assert!(needles.pieces([one.as_bytes(), b"nothing", other.as_bytes()].into_iter()));
        assert!(!needles.pieces([one.as_bytes(), b"nothing".as_slice()].into_iter()));
    }
}
