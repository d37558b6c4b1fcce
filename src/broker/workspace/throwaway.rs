//! The repository inside a workspace: one commit, no remotes, no history, no credentials.
//! Nothing in it is ever read back.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use git2::{ObjectType, Oid};
use sha1::{Digest as _, Sha1};

use super::listing::Listing;
use super::material::Written;
use super::pack::PackWriter;
use super::{WorkspaceError, branch_or_main};

/// No hooks, no remotes. Times are compared by the second and size only, since a copy or an overlay has other inodes
/// than the tree that the index was written for.
const CONFIG: &str = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n\tlogallrefupdates = true\n\tcheckStat = minimal\n\ttrustctime = false\n\
[user]\n\tname = Tagout\n\temail = tagout@localhost\n[commit]\n\tgpgsign = false\n[gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n";

/// Makes the empty repository and returns its folder.
pub(super) fn make(root: &Path, branch: &str) -> Result<PathBuf, WorkspaceError> {
    let git_dir = root.join(".git");
    let made = || -> io::Result<()> {
        for folder in [
            "",
            "objects",
            "objects/pack",
            "objects/info",
            "refs",
            "refs/heads",
            "refs/tags",
            "info",
        ] {
            fs::create_dir(git_dir.join(folder))?;
        }
        fs::write(git_dir.join("HEAD"), format!("ref: refs/heads/{branch}\n"))?;
        fs::write(git_dir.join("config"), CONFIG)
    };
    made().map_err(|source| WorkspaceError::disk("make the repository", &git_dir, source))?;
    Ok(git_dir)
}

/// Adds trees, the commit, the branch and the index.
pub(super) fn fill(
    git_dir: &Path,
    listing: &Listing,
    written: &[Written],
    time_s: i64,
    branch: &str,
) -> Result<(), WorkspaceError> {
    let filled = || -> io::Result<()> {
        let commit = write_objects(git_dir, listing, written, time_s)?;
        let branch = git_dir.join("refs/heads").join(branch_or_main(branch));
        if let Some(folder) = branch.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(branch, format!("{commit}\n"))?;
        fs::write(git_dir.join("index"), index(listing, written)?)
    };
    filled().map_err(|source| WorkspaceError::disk("fill the repository", git_dir, source))
}

/// Trees, links and the commit go into one more pack.
fn write_objects(
    git_dir: &Path,
    listing: &Listing,
    written: &[Written],
    time_s: i64,
) -> io::Result<Oid> {
    let mut seen = std::collections::HashSet::new();
    let trees: Vec<_> = listing
        .folders
        .iter()
        .filter(|folder| seen.insert(folder.id))
        .collect();
    let root = listing
        .folders
        .first()
        .ok_or_else(|| io::Error::other("a tree without a root"))?;
    let commit = format!(
        "tree {}\nauthor Tagout <tagout@localhost> {time_s} +0000\ncommitter Tagout <tagout@localhost> {time_s} +0000\n\nThe tree as Tagout shows it\n",
        root.id
    );
    let id = Oid::hash_object(ObjectType::Commit, commit.as_bytes()).map_err(io::Error::other)?;
    let links: Vec<_> = links(git_dir, listing, written)?;
    let mut pack = PackWriter::new(&git_dir.join("objects/pack"), trees.len() + links.len() + 1)?;
    pack.add(ObjectType::Commit, id, commit.as_bytes())?;
    for folder in trees {
        pack.add(ObjectType::Tree, folder.id, &folder.object)?;
    }
    for (link, target) in links {
        pack.add(ObjectType::Blob, link, &target)?;
    }
    pack.finish()?;
    Ok(id)
}

/// Targets of links, read back from the tree that we have just written.
fn links(
    git_dir: &Path,
    listing: &Listing,
    written: &[Written],
) -> io::Result<Vec<(Oid, Vec<u8>)>> {
    use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
    let root = git_dir.parent().unwrap_or(git_dir);
    let mut links = Vec::new();
    for file in written
        .iter()
        .filter_map(|file| listing.files.get(file.place))
    {
        if file.kind == super::listing::Kind::Symlink && file.packed {
            let path = root.join(std::ffi::OsStr::from_bytes(&file.path));
            links.push((file.id, fs::read_link(path)?.into_os_string().into_vec()));
        }
    }
    Ok(links)
}

/// The index (gitformat-index(5), version 2) with what the disk says of each file, and the tree extension, so that
/// `git status` compares sizes and times instead of reading 50,000 files.
fn index(listing: &Listing, written: &[Written]) -> io::Result<Vec<u8>> {
    let mut entries: Vec<(&[u8], Vec<u8>)> = Vec::new();
    for place in written {
        let file = listing
            .files
            .get(place.place)
            .ok_or_else(|| io::Error::other("a file that is not listed"))?;
        let stat = &place.stat;
        let head = [
            word(stat.st_ctime),
            word(stat.st_ctime_nsec),
            word(super::material::FILE_TIME_S),
            0,
            word(stat.st_dev),
            word(stat.st_ino),
            file.kind.mode(),
            stat.st_uid,
            stat.st_gid,
            word(stat.st_size),
        ];
        entries.push((&file.path, entry(&file.path, &head, file.id)));
    }
    for (path, id) in &listing.submodules {
        let head = [0, 0, 0, 0, 0, 0, 0o160_000, 0, 0, 0];
        entries.push((path, entry(path, &head, *id)));
    }
    entries.sort_unstable_by(|one, other| one.0.cmp(other.0));
    let count = u32::try_from(entries.len()).map_err(io::Error::other)?;
    let mut out = b"DIRC\0\0\0\x02".to_vec();
    out.extend_from_slice(&count.to_be_bytes());
    for (_, bytes) in entries {
        out.extend_from_slice(&bytes);
    }
    let trees = tree_extension(listing);
    out.extend_from_slice(b"TREE");
    out.extend_from_slice(
        &u32::try_from(trees.len())
            .map_err(io::Error::other)?
            .to_be_bytes(),
    );
    out.extend_from_slice(&trees);
    let sum = Sha1::digest(&out);
    out.extend_from_slice(&sum);
    Ok(out)
}

/// The index keeps the low 32 bits of what the system says.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "gitformat-index(5): statistics are truncated to 32 bits"
)]
fn word(value: impl Into<i128>) -> u32 {
    value.into() as u32
}

fn entry(path: &[u8], head: &[u32], id: Oid) -> Vec<u8> {
    let mut out = Vec::with_capacity(72 + path.len());
    for number in head {
        out.extend_from_slice(&number.to_be_bytes());
    }
    out.extend_from_slice(id.as_bytes());
    let length = u16::try_from(path.len()).unwrap_or(0xfff).min(0xfff);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(path);
    // One to eight NULs, so that the entry's length is a multiple of eight.
    let padding = 8 - out.len() % 8;
    out.extend(std::iter::repeat_n(0, padding));
    out
}

fn tree_extension(listing: &Listing) -> Vec<u8> {
    let mut out = Vec::new();
    for folder in &listing.folders {
        let name = folder
            .path
            .rsplit(|byte| *byte == b'/')
            .next()
            .unwrap_or_default();
        out.extend_from_slice(name);
        out.push(0);
        out.extend_from_slice(format!("{} {}\n", folder.entries, folder.folders).as_bytes());
        out.extend_from_slice(folder.id.as_bytes());
    }
    out
}
