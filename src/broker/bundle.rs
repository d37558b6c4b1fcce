//! The bundle on disk: `bundle.json` and `blobs/SHA256`, written once by `execute` and read once by `publish`.
//! It must never read anything that the manifest does not name, nor believe a size or a digest that it has not counted.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::broker::job::inside::TreeGone;
use crate::changeset::bundle::{
    BLOBS_BYTES_MAX, FILES_MAX, FORMAT, FileEntry, MANIFEST_BYTES_MAX, Manifest,
};
use crate::changeset::change::{Before, Blob, Change, Changeset, FileMode, Operation};
use crate::names::Digest;

const MANIFEST: &str = "bundle.json";
const BLOBS: &str = "blobs";
/// Most findings and other lists of the manifest.
const LIST_MAX: usize = 10_000;
/// Longest target of a link, in bytes.
const TARGET_BYTES_MAX: u64 = 4096;

/// Why a bundle is refused, or could not be written.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The disk said no.
    #[error("cannot {doing} {}", path.display())]
    Disk {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Something that is no regular file, or no folder where one must be.
    #[error("{0} in the bundle is not a plain file or folder")]
    NotPlain(String),
    /// A file that the manifest does not name.
    #[error("the bundle holds {0:?}, which its manifest does not name")]
    Surplus(String),
    /// A file that the manifest names is not there.
    #[error("the bundle lacks {0}")]
    Missing(String),
    /// The manifest has another digest than `execute` handed over.
    #[error("bundle.json has the digest {found}, not {expected}")]
    Digest {
        /// What was handed over.
        expected: Digest,
        /// What it is.
        found: Digest,
    },
    /// More than we read.
    #[error("the bundle has more than {max} {unit}")]
    TooLarge {
        /// What was counted.
        unit: &'static str,
        /// The limit.
        max: u64,
    },
    /// The manifest is not one.
    #[error("bundle.json cannot be read")]
    Manifest(#[source] serde_json::Error),
    /// A version that we do not read.
    #[error("bundle.json has the format {0}, and only {FORMAT} is read")]
    Format(u32),
    /// An entry that contradicts itself, or stands in the wrong place.
    #[error("the entry {path} of bundle.json is not valid: {why}")]
    Entry {
        /// Which one.
        path: String,
        /// What is wrong.
        why: &'static str,
    },
    /// A blob that is not what its name says.
    #[error("blob {0} is not what its name and size say")]
    Blob(Digest),
}

impl BundleError {
    /// Stable kebab-case code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Disk { .. } => "bundle-unreadable",
            Self::NotPlain(_) => "bundle-not-plain",
            Self::Surplus(_) => "bundle-surplus",
            Self::Missing(_) => "bundle-missing",
            Self::Digest { .. } => "bundle-digest",
            Self::TooLarge { .. } => "bundle-too-large",
            Self::Manifest(_) => "bundle-manifest",
            Self::Format(_) => "bundle-format",
            Self::Entry { .. } => "bundle-entry",
            Self::Blob(_) => "bundle-blob",
        }
    }

    fn disk(doing: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self::Disk {
            doing,
            path: path.to_owned(),
            source: source.into(),
        }
    }
}

/// Writes the bundle into a folder that is new or empty, and returns the digest of `bundle.json`.
///
/// The proof that the agent's tree is gone is asked for here, so that nothing can be sealed that may still change.
///
/// # Errors
/// The folder holds something already, or the disk says no.
pub fn seal(
    folder: &Path,
    manifest: &Manifest,
    changeset: &Changeset,
    _gone: &TreeGone,
) -> Result<Digest, BundleError> {
    let blobs = folder.join(BLOBS);
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .and_then(|()| fs::DirBuilder::new().mode(0o700).create(&blobs))
        .map_err(|source| BundleError::disk("make the folder", &blobs, source))?;
    let mut written = BTreeSet::new();
    for blob in changeset.changes().iter().filter_map(Change::content) {
        if written.insert(blob.digest().clone()) {
            write_new(&blobs.join(blob.digest().as_str()), blob.bytes())?;
        }
    }
    let text = serde_json::to_vec_pretty(manifest).map_err(BundleError::Manifest)?;
    write_new(&folder.join(MANIFEST), &text)?;
    Ok(Digest::of(&text))
}

/// Writes the end of a run that has no changes to hand over, so that the publishing phase can tell it.
///
/// # Errors
/// The manifest names files, the folder holds something already, or the disk says no.
pub fn seal_end(folder: &Path, manifest: &Manifest) -> Result<Digest, BundleError> {
    if let Some(entry) = manifest.files.first() {
        return Err(BundleError::Surplus(entry.path.to_string()));
    }
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|source| BundleError::disk("make the folder", folder, source))?;
    let text = serde_json::to_vec_pretty(manifest).map_err(BundleError::Manifest)?;
    write_new(&folder.join(MANIFEST), &text)?;
    Ok(Digest::of(&text))
}

fn write_new(path: &Path, bytes: &[u8]) -> Result<(), BundleError> {
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(bytes))
        .map_err(|source| BundleError::disk("write", path, source))
}

/// Reads a bundle whose `bundle.json` has the expected digest. The old side of each change holds the claimed mode only;
/// a trusted repository must fill it in (`Source::with_before`).
///
/// # Errors
/// Anything in the bundle that is not exactly as it must be.
pub fn open(folder: &Path, expected: &Digest) -> Result<(Manifest, Changeset), BundleError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = rustix::fs::open(folder, flags, Mode::empty())
        .map_err(|source| BundleError::disk("open", folder, source))?;
    for name in names(&root, folder, 2)? {
        if name != MANIFEST && name != BLOBS {
            return Err(BundleError::Surplus(name));
        }
    }
    let text = read(&root, MANIFEST, MANIFEST_BYTES_MAX, "bytes in bundle.json")?;
    let found = Digest::of(&text);
    if &found != expected {
        return Err(BundleError::Digest {
            expected: expected.clone(),
            found,
        });
    }
    let manifest: Manifest = serde_json::from_slice(&text).map_err(BundleError::Manifest)?;
    let sizes = validate(&manifest)?;
    let blobs = match rustix::fs::openat2(&root, BLOBS, flags, Mode::empty(), BENEATH) {
        Ok(blobs) => blobs,
        // Artifact stores drop empty folders: deletions alone, or the end of a run without a change.
        Err(Errno::NOENT) if sizes.is_empty() => {
            let changeset = changeset(&manifest, &BTreeMap::new())?;
            return Ok((manifest, changeset));
        }
        Err(Errno::NOENT) => return Err(BundleError::Missing(BLOBS.to_owned())),
        Err(Errno::NOTDIR | Errno::LOOP) => return Err(BundleError::NotPlain(BLOBS.to_owned())),
        Err(error) => return Err(BundleError::disk("open", &folder.join(BLOBS), error)),
    };
    for name in names(&blobs, folder, sizes.len())? {
        if !name
            .parse()
            .is_ok_and(|digest: Digest| sizes.contains_key(&digest))
        {
            return Err(BundleError::Surplus(name));
        }
    }
    let mut contents = BTreeMap::new();
    for (digest, size) in sizes {
        let bytes =
            read(&blobs, digest.as_str(), size, "bytes in a blob").map_err(
                |error| match error {
                    BundleError::TooLarge { .. } => BundleError::Blob(digest.clone()),
                    other => other,
                },
            )?;
        let blob = Blob::new(bytes);
        if blob.digest() != &digest || blob.bytes().len() as u64 != size {
            return Err(BundleError::Blob(digest));
        }
        contents.insert(digest, blob);
    }
    let changeset = changeset(&manifest, &contents)?;
    Ok((manifest, changeset))
}

const BENEATH: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

/// Names in a folder; more than `max` are an error before they are all read.
fn names(folder: &OwnedFd, path: &Path, max: usize) -> Result<Vec<String>, BundleError> {
    let failed = |source: Errno| BundleError::disk("list", path, source);
    let mut found = Vec::new();
    for entry in Dir::read_from(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if matches!(name.as_str(), "." | "..") {
            continue;
        }
        if found.len() == max {
            return Err(BundleError::Surplus(name));
        }
        found.push(name);
    }
    Ok(found)
}

/// A regular file below a folder, at most `max` bytes.
fn read(
    folder: impl AsFd,
    name: &str,
    max: u64,
    unit: &'static str,
) -> Result<Vec<u8>, BundleError> {
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let failed = |source: io::Error| BundleError::disk("read", Path::new(name), source);
    let file = match rustix::fs::openat2(folder, name, flags, Mode::empty(), BENEATH) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Err(BundleError::Missing(name.to_owned())),
        Err(Errno::LOOP | Errno::NXIO | Errno::XDEV) => {
            return Err(BundleError::NotPlain(name.to_owned()));
        }
        Err(error) => return Err(failed(error.into())),
    };
    let stat = rustix::fs::fstat(&file).map_err(|error| failed(error.into()))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_nlink != 1 {
        return Err(BundleError::NotPlain(name.to_owned()));
    }
    let mut bytes = Vec::new();
    fs::File::from(file)
        .take(max + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > max {
        return Err(BundleError::TooLarge { unit, max });
    }
    Ok(bytes)
}

/// Everything that can be known without the blobs; returns the blobs that must be there.
fn validate(manifest: &Manifest) -> Result<BTreeMap<Digest, u64>, BundleError> {
    if manifest.format != FORMAT {
        return Err(BundleError::Format(manifest.format));
    }
    let lists = [
        manifest.set_aside.len(),
        manifest.claims.denials.len(),
        manifest.claims.verify.len(),
        manifest.claims.walls.len(),
    ];
    if manifest.files.len() > FILES_MAX || lists.iter().any(|count| *count > LIST_MAX) {
        return Err(BundleError::TooLarge {
            unit: "entries",
            max: FILES_MAX as u64,
        });
    }
    let mut sizes = BTreeMap::new();
    let mut total = 0_u64;
    for entry in &manifest.files {
        let invalid = |why| BundleError::Entry {
            path: entry.path.to_string(),
            why,
        };
        whole(entry).map_err(invalid)?;
        let (Some(size), Some(digest)) = (entry.size, &entry.sha256) else {
            continue;
        };
        match sizes.insert(digest.clone(), size) {
            Some(other) if other != size => return Err(invalid("one digest with two sizes")),
            Some(_) => {}
            None => total = total.saturating_add(size),
        }
    }
    if total > BLOBS_BYTES_MAX {
        return Err(BundleError::TooLarge {
            unit: "bytes in blobs",
            max: BLOBS_BYTES_MAX,
        });
    }
    let in_order = |pair: &[FileEntry]| matches!(pair, [one, other] if one.path < other.path);
    if let Some([_, entry]) = manifest.files.windows(2).find(|pair| !in_order(pair)) {
        return Err(BundleError::Entry {
            path: entry.path.to_string(),
            why: "it stands twice or out of order",
        });
    }
    Ok(sizes)
}

/// Whether an entry says exactly what its operation needs.
fn whole(entry: &FileEntry) -> Result<(), &'static str> {
    let has_new = (
        entry.mode.is_some(),
        entry.size.is_some(),
        entry.sha256.is_some(),
    );
    let fits = match entry.operation {
        Operation::Add => has_new == (true, true, true) && entry.old_mode.is_none(),
        Operation::Modify => has_new == (true, true, true) && entry.old_mode.is_some(),
        Operation::Delete => has_new == (false, false, false) && entry.old_mode.is_some(),
    };
    if !fits {
        return Err("its fields do not fit its operation");
    }
    if entry.mode == Some(FileMode::Symlink)
        && entry.size.is_some_and(|size| size > TARGET_BYTES_MAX)
    {
        return Err("the target of the link is longer than 4096 bytes");
    }
    Ok(())
}

fn changeset(
    manifest: &Manifest,
    contents: &BTreeMap<Digest, Blob>,
) -> Result<Changeset, BundleError> {
    let mut changes = Vec::with_capacity(manifest.files.len());
    for entry in &manifest.files {
        let invalid = |why| BundleError::Entry {
            path: entry.path.to_string(),
            why,
        };
        let before = entry.old_mode.map(|mode| Before {
            mode,
            content: None,
        });
        let content = entry
            .sha256
            .as_ref()
            .and_then(|digest| contents.get(digest))
            .cloned();
        let change = match (before, entry.mode, content) {
            (None, Some(mode), Some(content)) => Change::add(entry.path.clone(), mode, content),
            (Some(before), Some(mode), Some(content)) => {
                Change::modify(entry.path.clone(), before, mode, content)
            }
            (Some(before), None, None) => Change::delete(entry.path.clone(), before),
            _ => return Err(invalid("its fields do not fit its operation")),
        };
        changes.push(change);
    }
    Changeset::new(manifest.base.clone(), changes, manifest.set_aside.clone()).map_err(|twice| {
        BundleError::Entry {
            path: twice.0.to_string(),
            why: "it stands twice",
        }
    })
}
