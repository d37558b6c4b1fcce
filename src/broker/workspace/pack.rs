//! Writes git packs (gitformat-pack(5), version 2) without deltas.
//! libgit2's own builder searches for deltas, which takes seconds that the throw-away repository does not pay back.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::ZlibEncoder;
use git2::{ObjectType, Oid};
use sha1::{Digest as _, Sha1};

/// A pack in the making.
pub(super) struct PackWriter {
    out: Counted,
    folder: PathBuf,
    partial: PathBuf,
    expected: usize,
    entries: Vec<Entry>,
}

struct Entry {
    id: Oid,
    crc: u32,
    offset: u32,
}

/// Writes on and keeps the sum of everything and the check sum of one entry.
struct Counted {
    file: BufWriter<File>,
    sum: Sha1,
    crc: flate2::Crc,
    offset: u64,
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        let done = bytes.get(..count).unwrap_or_default();
        self.sum.update(done);
        self.crc.update(done);
        self.offset += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl PackWriter {
    /// Begins a pack of exactly `count` objects in a folder.
    pub(super) fn new(folder: &Path, count: usize) -> io::Result<Self> {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let partial = folder.join(format!("tmp_{number}"));
        let mut out = Counted {
            file: BufWriter::with_capacity(1 << 18, File::create_new(&partial)?),
            sum: Sha1::new(),
            crc: flate2::Crc::new(),
            offset: 0,
        };
        out.write_all(b"PACK\0\0\0\x02")?;
        out.write_all(&u32_of(count)?.to_be_bytes())?;
        Ok(Self {
            out,
            folder: folder.to_owned(),
            partial,
            expected: count,
            entries: Vec::with_capacity(count),
        })
    }

    /// Adds one object; each id once.
    pub(super) fn add(&mut self, kind: ObjectType, id: Oid, bytes: &[u8]) -> io::Result<()> {
        self.out.crc.reset();
        let offset = u32::try_from(self.out.offset)
            .ok()
            .filter(|offset| *offset < 1 << 31)
            .ok_or_else(|| io::Error::other("a pack grew past two GiB"))?;
        self.out.write_all(&entry_head(kind, bytes.len() as u64)?)?;
        let mut encoder = ZlibEncoder::new(&mut self.out, Compression::fast());
        encoder.write_all(bytes)?;
        encoder.finish()?;
        self.entries.push(Entry {
            id,
            crc: self.out.crc.sum(),
            offset,
        });
        Ok(())
    }

    /// Ends the pack and writes its index. A pack without objects is not kept.
    pub(super) fn finish(mut self) -> io::Result<()> {
        if self.entries.len() != self.expected {
            return Err(io::Error::other(
                "a pack holds another number of objects than said",
            ));
        }
        let sum = self.out.sum.clone().finalize();
        self.out.write_all(&sum)?;
        self.out.flush()?;
        if self.entries.is_empty() {
            return std::fs::remove_file(&self.partial);
        }
        let name: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
        self.entries.sort_unstable_by_key(|entry| entry.id);
        let index = index(&self.entries, &sum)?;
        std::fs::write(self.folder.join(format!("pack-{name}.idx")), index)?;
        std::fs::rename(&self.partial, self.folder.join(format!("pack-{name}.pack")))
    }
}

/// Type and size: four bits of the size in the first byte, then seven each.
fn entry_head(kind: ObjectType, bytes: u64) -> io::Result<Vec<u8>> {
    let kind: u8 = match kind {
        ObjectType::Commit => 1,
        ObjectType::Tree => 2,
        ObjectType::Blob => 3,
        ObjectType::Tag | ObjectType::Any => return Err(io::Error::other("not a kind for a pack")),
    };
    let low = |value: u64, mask: u8| u8::try_from(value & u64::from(mask)).unwrap_or(mask);
    let mut head = vec![kind << 4 | low(bytes, 15)];
    let mut rest = bytes >> 4;
    while rest > 0 {
        if let Some(last) = head.last_mut() {
            *last |= 0x80;
        }
        head.push(low(rest, 127));
        rest >>= 7;
    }
    Ok(head)
}

/// Version 2 of the index: fan-out, ids, check sums, offsets, both sums.
fn index(entries: &[Entry], pack_sum: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(8 + 1024 + entries.len() * 28 + 40);
    out.extend_from_slice(b"\xfftOc\0\0\0\x02");
    let mut counts = [0_u32; 256];
    for entry in entries {
        let first = entry.id.as_bytes().first().copied().unwrap_or_default();
        for count in counts.iter_mut().skip(usize::from(first)) {
            *count += 1;
        }
    }
    for count in counts {
        out.extend_from_slice(&count.to_be_bytes());
    }
    for entry in entries {
        out.extend_from_slice(entry.id.as_bytes());
    }
    for entry in entries {
        out.extend_from_slice(&entry.crc.to_be_bytes());
    }
    for entry in entries {
        out.extend_from_slice(&entry.offset.to_be_bytes());
    }
    out.extend_from_slice(pack_sum);
    let sum = Sha1::digest(&out);
    out.extend_from_slice(&sum);
    Ok(out)
}

fn u32_of(count: usize) -> io::Result<u32> {
    u32::try_from(count).map_err(|_too_many| io::Error::other("too many objects for a pack"))
}
