//! Writes loose objects and one branch as git lays them out (gitrepository-layout(5)).
//! libgit2 would do it too, but only after reading the repository's configuration, which we do not.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use git2::{ObjectType, Oid};

use super::LocalError;
use crate::broker::git::Source;
use crate::names::ObjectId;

/// Most linked worktrees whose HEAD is looked at.
const WORKTREES_MAX: usize = 10_000;
/// Most bytes of `packed-refs` that are searched for names in the way.
const PACKED_REFS_BYTES_MAX: u64 = 256 << 20;

fn failed(path: &Path, source: io::Error) -> LocalError {
    LocalError::Disk {
        path: path.to_owned(),
        source,
    }
}

/// Writes one object. It is complete before it has its name.
pub(super) fn object(
    common_dir: &Path,
    id: Oid,
    kind: ObjectType,
    bytes: &[u8],
) -> Result<(), LocalError> {
    let objects = common_dir.join("objects");
    let text = id.to_string();
    let (folder, name) = text.split_at(2);
    let folder = objects.join(folder);
    let path = folder.join(name);
    let partial = objects.join(format!("tmp_obj_tagout_{}_{text}", std::process::id()));
    let write = || -> io::Result<()> {
        make_folder(&folder, &objects)?;
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o444)
            .open(&partial)?;
        give_to_owner(&file, &objects)?;
        let mut encoder = ZlibEncoder::new(file, Compression::default());
        write!(encoder, "{} {}\0", kind.str(), bytes.len())?;
        encoder.write_all(bytes)?;
        encoder.finish()?.sync_data()?;
        fs::rename(&partial, &path)
    };
    write().map_err(|source| {
        // What was begun has no name that git reads; it goes if it is there.
        match fs::remove_file(&partial) {
            Ok(()) | Err(_) => failed(&path, source),
        }
    })
}

/// A folder with the owner of the one it belongs to, so that root leaves nothing behind that the owner cannot clean up.
fn make_folder(folder: &Path, like: &Path) -> io::Result<()> {
    match fs::create_dir(folder) {
        Ok(()) => give_to_owner(&File::open(folder)?, like),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

fn give_to_owner(file: &File, like: &Path) -> io::Result<()> {
    let wanted = fs::metadata(like)?;
    let own = file.metadata()?;
    if rustix::process::geteuid().is_root() && own.uid() != wanted.uid() {
        std::os::unix::fs::fchown(file, Some(wanted.uid()), Some(wanted.gid()))?;
    }
    Ok(())
}

/// Moves a branch from what it was to what it shall be. Nobody else can move it meanwhile: git takes the same lock.
pub(super) fn move_branch(
    source: &Source,
    branch: &str,
    from: Option<&ObjectId>,
    to: &ObjectId,
) -> Result<(), LocalError> {
    let heads = source.common_dir().join("refs/heads");
    nothing_in_the_way(source, branch)?;
    let path = heads.join(branch);
    let mut folder = heads.clone();
    let mut parts: Vec<&str> = branch.split('/').collect();
    parts.pop();
    for part in parts {
        folder.push(part);
        make_folder(&folder, &heads).map_err(|error| failed(&folder, error))?;
    }
    let lock = path.with_file_name(format!(
        "{}.lock",
        branch.rsplit('/').next().unwrap_or(branch)
    ));
    let held = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(&lock);
    let mut held = match held {
        Ok(held) => held,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(LocalError::Moved(branch.to_owned()));
        }
        Err(error) => return Err(failed(&lock, error)),
    };
    let mut moved = || -> Result<(), LocalError> {
        if source.reference(&format!("refs/heads/{branch}"))?.as_ref() != from {
            return Err(LocalError::Moved(branch.to_owned()));
        }
        give_to_owner(&held, &heads)
            .and_then(|()| writeln!(held, "{to}"))
            .and_then(|()| held.sync_data())
            .and_then(|()| fs::rename(&lock, &path))
            .map_err(|error| failed(&path, error))
    };
    let result = moved();
    if result.is_err() {
        fs::remove_file(&lock).map_err(|error| failed(&lock, error))?;
    }
    result
}

/// A branch `a` and a branch `a/b` cannot both be.
fn nothing_in_the_way(source: &Source, branch: &str) -> Result<(), LocalError> {
    let in_the_way = |other: &str| LocalError::InTheWay(branch.to_owned(), other.to_owned());
    for (at, _) in branch.match_indices('/') {
        let above = branch.get(..at).unwrap_or_default();
        if source.reference(&format!("refs/heads/{above}"))?.is_some() {
            return Err(in_the_way(above));
        }
    }
    let path = source.common_dir().join("refs/heads").join(branch);
    if path.is_dir() && fs::remove_dir(&path).is_err() {
        // An empty folder that a deleted branch left behind is removed, as git does.
        return Err(in_the_way(&format!("{branch}/")));
    }
    let packed = source.common_dir().join("packed-refs");
    let below = format!(" refs/heads/{branch}/");
    match fs::metadata(&packed) {
        Ok(found) if found.len() > PACKED_REFS_BYTES_MAX => {
            Err(in_the_way("a packed-refs file that is too large to read"))
        }
        Ok(_) => {
            let text = fs::read(&packed).map_err(|error| failed(&packed, error))?;
            if memchr::memmem::find(&text, below.as_bytes()).is_some() {
                Err(in_the_way(&format!("{branch}/")))
            } else {
                Ok(())
            }
        }
        Err(_) => Ok(()),
    }
}

/// Branches that some work tree of the repository has checked out.
pub(super) fn checked_out(source: &Source) -> Result<BTreeSet<String>, LocalError> {
    let mut heads = vec![
        source.git_dir().join("HEAD"),
        source.common_dir().join("HEAD"),
    ];
    if let Ok(linked) = fs::read_dir(source.common_dir().join("worktrees")) {
        for entry in linked.take(WORKTREES_MAX) {
            let entry = entry.map_err(|error| failed(source.common_dir(), error))?;
            heads.push(entry.path().join("HEAD"));
        }
    }
    let mut found = BTreeSet::new();
    for head in heads {
        match fs::read_to_string(&head) {
            Ok(text) => found.extend(text.trim_end().strip_prefix("ref: ").map(str::to_owned)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(&head, error)),
        }
    }
    Ok(found)
}
