//! One DNS question in, one answer out (RFC 1035, section 4). Only the header and the single question are read, so that
//! hostile bytes reach little code: a crate that parses every kind of record would read all the rest as well.
#![deny(clippy::indexing_slicing)]

use std::net::Ipv4Addr;

/// Bytes of a header.
const HEADER_BYTES: usize = 12;
/// Longest message that is read, in bytes: a question with room for EDNS and its padding (RFC 8467 pads to 128).
pub const MESSAGE_BYTES_MAX: usize = 1232;
/// Longest name in bytes on the wire (RFC 1035, section 2.3.4).
const NAME_BYTES_MAX: usize = 255;
/// Longest label in bytes; larger numbers are compression pointers, which a question does not need.
const LABEL_BYTES_MAX: usize = 63;
/// Seconds that an answer may be kept: the table is cheap to ask and a kept answer outlives nothing.
const KEEP_SECONDS: u32 = 1;

const ANSWER_BIT: u8 = 0x80;
const OPERATION_BITS: u8 = 0x78;
const RECURSION_DESIRED_BIT: u8 = 0x01;
const RECURSION_AVAILABLE_BIT: u8 = 0x80;
const CLASS_INTERNET: u16 = 1;
const TYPE_ADDRESS: u16 = 1;

/// How a question is answered (RFC 1035, section 4.1.1, RCODE).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Answered, perhaps with nothing.
    Good,
    /// It cannot be read.
    Malformed,
    /// There is no such name.
    NoSuchName,
    /// Another operation than a query.
    NotBuilt,
    /// We do not say.
    Refused,
}

impl Code {
    fn number(self) -> u8 {
        match self {
            Self::Good => 0,
            Self::Malformed => 1,
            Self::NoSuchName => 3,
            Self::NotBuilt => 4,
            Self::Refused => 5,
        }
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An IPv4 address.
    Address,
    /// Anything else, which we never have.
    Other,
}

/// A question that could be read.
#[derive(Debug)]
pub struct Question<'a> {
    header: [u8; HEADER_BYTES],
    labels: Vec<&'a [u8]>,
    bytes: &'a [u8],
    kind: Kind,
}

/// A message that gets no data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Nothing is sent back: no whole header, or an answer itself, which could make two servers talk for ever.
    Silent,
    /// The header is sent back with this code.
    Told(Code),
}

impl Refusal {
    /// The message to send back, if one may be.
    #[must_use]
    pub fn reply(self, query: &[u8]) -> Option<Vec<u8>> {
        let header = header(query)?;
        match self {
            Self::Silent => None,
            Self::Told(code) => Some(written(&header, code, None, None)),
        }
    }
}

fn header(query: &[u8]) -> Option<[u8; HEADER_BYTES]> {
    query.first_chunk().copied()
}

/// Reads the header and the question.
///
/// # Errors
/// What is wrong with them, and with it what may be sent back.
pub fn read(query: &[u8]) -> Result<Question<'_>, Refusal> {
    let header = header(query).ok_or(Refusal::Silent)?;
    let [
        _,
        _,
        flags,
        _,
        questions_high,
        questions_low,
        answers @ ..,
        _,
        _,
    ] = header;
    if flags & ANSWER_BIT != 0 {
        return Err(Refusal::Silent);
    }
    if flags & OPERATION_BITS != 0 {
        return Err(Refusal::Told(Code::NotBuilt));
    }
    let one_question = [questions_high, questions_low] == [0, 1] && answers == [0; 4];
    if query.len() > MESSAGE_BYTES_MAX || !one_question {
        return Err(Refusal::Told(Code::Malformed));
    }
    let rest = query.get(HEADER_BYTES..).unwrap_or_default();
    let (labels, after) = labels(rest).ok_or(Refusal::Told(Code::Malformed))?;
    let [kind_high, kind_low, class_high, class_low] =
        *after.first_chunk().ok_or(Refusal::Told(Code::Malformed))?;
    if u16::from_be_bytes([class_high, class_low]) != CLASS_INTERNET {
        return Err(Refusal::Told(Code::Refused));
    }
    let kind = match u16::from_be_bytes([kind_high, kind_low]) {
        TYPE_ADDRESS => Kind::Address,
        _ => Kind::Other,
    };
    let length = rest.len() - after.len() + 4;
    let bytes = rest.get(..length).unwrap_or_default();
    Ok(Question {
        header,
        labels,
        bytes,
        kind,
    })
}

/// The labels of a name without compression, and what comes after it.
fn labels(mut rest: &[u8]) -> Option<(Vec<&[u8]>, &[u8])> {
    let whole = rest.len();
    let mut labels = Vec::new();
    loop {
        let (length, after) = rest.split_first()?;
        let length = usize::from(*length);
        if length > LABEL_BYTES_MAX {
            return None;
        }
        let (label, after) = after.split_at_checked(length)?;
        rest = after;
        if whole - rest.len() > NAME_BYTES_MAX {
            return None;
        }
        if length == 0 {
            return Some((labels, rest));
        }
        labels.push(label);
    }
}

impl Question<'_> {
    /// The labels as they came.
    #[must_use]
    pub fn name(&self) -> &[&[u8]] {
        &self.labels
    }

    /// What is asked for.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The whole answer, with one address or none.
    #[must_use]
    pub fn reply(&self, code: Code, address: Option<Ipv4Addr>) -> Vec<u8> {
        written(&self.header, code, Some(self.bytes), address)
    }
}

fn written(
    header: &[u8; HEADER_BYTES],
    code: Code,
    question: Option<&[u8]>,
    address: Option<Ipv4Addr>,
) -> Vec<u8> {
    let [id_high, id_low, flags, ..] = *header;
    let flags = ANSWER_BIT | (flags & (OPERATION_BITS | RECURSION_DESIRED_BIT));
    let counts = [u8::from(question.is_some()), u8::from(address.is_some())];
    let [questions, answers] = counts;
    let codes = RECURSION_AVAILABLE_BIT | code.number();
    let mut message = vec![id_high, id_low, flags, codes];
    message.extend([0, questions, 0, answers, 0, 0, 0, 0]);
    message.extend(question.unwrap_or_default());
    if let Some(address) = address {
        // The name is a pointer to the question's, which starts right behind the header.
        message.extend([0xC0, 12]);
        message.extend(TYPE_ADDRESS.to_be_bytes());
        message.extend(CLASS_INTERNET.to_be_bytes());
        message.extend(KEEP_SECONDS.to_be_bytes());
        message.extend(4_u16.to_be_bytes());
        message.extend(address.octets());
    }
    message
}
