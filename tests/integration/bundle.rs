//! The bundle between two jobs: what is sealed comes out as it went in, and nothing else comes out.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tagout::broker::bundle::{open, seal};
use tagout::broker::job::inside::TreeGone;
use tagout::changeset::bundle::{Bill, Claims, Manifest};
use tagout::changeset::change::{Before, Blob, Change, Changeset, FileMode};
use tagout::changeset::finding::{Code, Finding};
use tagout::changeset::path::RepoPath;
use tagout::names::Digest;

fn path(text: &str) -> RepoPath {
    RepoPath::new(text).expect(text)
}

fn blob(text: &str) -> Blob {
    Blob::new(text.as_bytes().to_vec())
}

fn changeset() -> Changeset {
    let before = |mode| Before {
        mode,
        content: Some(blob("old\n")),
    };
    let changes = vec![
        Change::add(path("new.txt"), FileMode::Regular, blob("same\n")),
        Change::add(path("twin.txt"), FileMode::Executable, blob("same\n")),
        Change::add(path("link"), FileMode::Symlink, blob("new.txt")),
        Change::modify(
            path("a"),
            before(FileMode::Executable),
            FileMode::Regular,
            blob("x\n"),
        ),
        Change::delete(path("gone"), before(FileMode::Regular)),
    ];
    let aside = vec![Finding::new(Code::ModeDropped, "a bit is left out").at("a")];
    Changeset::new("b".repeat(40).parse().expect("an id"), changes, aside).expect("once each")
}

fn claims() -> Claims {
    Claims {
        run: "1/1".to_owned(),
        attempt: 1,
        event: None,
        policy: Digest::of(b"policy"),
        outcome: "sealed".to_owned(),
        level: None,
        walls: BTreeMap::new(),
        title: "a title".to_owned(),
        summary: String::new(),
        denials: Vec::new(),
        verify: Vec::new(),
        bill: Bill::default(),
        journal: None,
    }
}

struct Sealed {
    _folder: tempfile::TempDir,
    path: PathBuf,
    digest: Digest,
}

fn sealed() -> Sealed {
    let folder = tempfile::tempdir().expect("made");
    let path = folder.path().join("bundle");
    let changeset = changeset();
    let manifest = Manifest::new(claims(), &changeset);
    let digest = seal(&path, &manifest, &changeset, &TreeGone::never_started()).expect("sealed");
    Sealed {
        _folder: folder,
        path,
        digest,
    }
}

fn code(path: &Path, digest: &Digest) -> &'static str {
    open(path, digest).expect_err("it is refused").code()
}

/// Rewrites the manifest and opens the bundle with the new digest, as a forger of the artifact and the output could.
fn forged(change: impl FnOnce(&mut serde_json::Value)) -> &'static str {
    let sealed = sealed();
    let file = sealed.path.join("bundle.json");
    let mut json: serde_json::Value =
        serde_json::from_slice(&fs::read(&file).expect("there")).expect("JSON");
    change(&mut json);
    let text = serde_json::to_vec(&json).expect("JSON");
    fs::write(&file, &text).expect("written");
    code(&sealed.path, &Digest::of(&text))
}

#[test]
fn what_was_sealed_comes_out() {
    let sealed = sealed();
    let (manifest, found) = open(&sealed.path, &sealed.digest).expect("opened");
    let before = changeset();
    assert_eq!(manifest, Manifest::new(claims(), &before));
    assert_eq!(found.set_aside(), before.set_aside());
    for (one, other) in found.changes().iter().zip(before.changes()) {
        assert_eq!(one.path(), other.path());
        assert_eq!(
            (one.mode(), one.old_mode()),
            (other.mode(), other.old_mode())
        );
        assert_eq!(one.content(), other.content());
        // The old content is not taken from the bundle.
        assert!(one.old_content().is_none());
    }
    assert_eq!(
        fs::read_dir(sealed.path.join("blobs"))
            .expect("there")
            .count(),
        3
    );
}

#[test]
fn bundle_is_never_written_over_another() {
    let sealed = sealed();
    let manifest = Manifest::new(claims(), &changeset());
    let again = seal(
        &sealed.path,
        &manifest,
        &changeset(),
        &TreeGone::never_started(),
    );
    assert!(again.is_err());
}

#[test]
fn other_digest_is_refused() {
    let sealed = sealed();
    assert_eq!(code(&sealed.path, &Digest::of(b"other")), "bundle-digest");
    let file = sealed.path.join("bundle.json");
    let mut text = fs::read(&file).expect("there");
    text.push(b'\n');
    fs::write(&file, text).expect("written");
    assert_eq!(code(&sealed.path, &sealed.digest), "bundle-digest");
}

/// Spoils a sealed bundle and opens it.
fn spoiled(spoil: impl FnOnce(&Path)) -> &'static str {
    let sealed = sealed();
    spoil(&sealed.path);
    code(&sealed.path, &sealed.digest)
}

fn first_blob(path: &Path) -> PathBuf {
    let mut names: Vec<_> = fs::read_dir(path.join("blobs"))
        .expect("there")
        .map(|entry| entry.expect("there").path())
        .collect();
    names.sort();
    names.remove(0)
}

#[test]
fn surplus_missing_and_changed_files_are_refused() {
    let write = |path: PathBuf, bytes: &[u8]| fs::write(path, bytes).expect("written");
    assert_eq!(
        spoiled(|path| write(path.join("extra"), b"x")),
        "bundle-surplus"
    );
    assert_eq!(
        spoiled(|path| write(path.join("blobs/extra"), b"x")),
        "bundle-surplus"
    );
    assert_eq!(
        spoiled(|path| write(path.join("blobs").join("a".repeat(64)), b"x")),
        "bundle-surplus"
    );
    assert_eq!(
        spoiled(|path| fs::remove_file(first_blob(path)).expect("removed")),
        "bundle-missing"
    );
    assert_eq!(
        spoiled(|path| fs::remove_file(path.join("bundle.json")).expect("removed")),
        "bundle-missing"
    );
    assert_eq!(
        spoiled(|path| write(first_blob(path), b"other")),
        "bundle-blob"
    );
    assert_eq!(
        spoiled(|path| write(first_blob(path), &[0; 1 << 20])),
        "bundle-blob"
    );
}

#[test]
fn links_pipes_and_second_names_are_refused() {
    let link = |from: &Path, to: &Path| std::os::unix::fs::symlink(from, to).expect("linked");
    let soft = |path: &Path| {
        let name = first_blob(path);
        let kept = path.with_extension("kept");
        fs::rename(&name, &kept).expect("moved");
        link(&kept, &name);
    };
    let hard = |path: &Path| {
        fs::hard_link(first_blob(path), path.with_extension("link")).expect("linked");
    };
    let pipe = |path: &Path| {
        let name = first_blob(path);
        fs::remove_file(&name).expect("removed");
        let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU);
        rustix::fs::mknodat(rustix::fs::CWD, &name, kind, mode, 0).expect("made");
    };
    let folder = |path: &Path| {
        fs::rename(path.join("blobs"), path.with_extension("blobs")).expect("moved");
        link(&path.with_extension("blobs"), &path.join("blobs"));
    };
    assert_eq!(spoiled(soft), "bundle-not-plain");
    assert_eq!(spoiled(hard), "bundle-not-plain");
    assert_eq!(spoiled(pipe), "bundle-not-plain");
    assert_eq!(spoiled(folder), "bundle-not-plain");
}

/// Puts another thing in the place of a blob.
fn instead(put: impl FnOnce(&Path)) -> &'static str {
    spoiled(|path| {
        let name = first_blob(path);
        fs::remove_file(&name).expect("removed");
        put(&name);
    })
}

#[test]
fn folder_socket_device_and_endless_file_are_no_blobs() {
    let folder = |name: &Path| fs::create_dir(name).expect("made");
    assert_eq!(instead(folder), "bundle-not-plain");
    let socket = |name: &Path| drop(std::os::unix::net::UnixListener::bind(name).expect("bound"));
    assert_eq!(instead(socket), "bundle-not-plain");
    // Sparse: it costs nothing to make, and only as much is read as the manifest says and one byte.
    let endless = |name: &Path| {
        let file = fs::File::create(name).expect("made");
        file.set_len(1 << 40).expect("set");
    };
    assert_eq!(instead(endless), "bundle-blob");
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root makes devices");
        return;
    }
    let device = |name: &Path| {
        let (kind, mode) = (
            rustix::fs::FileType::CharacterDevice,
            rustix::fs::Mode::RWXU,
        );
        let zero = rustix::fs::makedev(1, 5);
        rustix::fs::mknodat(rustix::fs::CWD, name, kind, mode, zero).expect("made");
    };
    assert_eq!(instead(device), "bundle-not-plain");
}

#[test]
fn bomb_is_carried_as_the_bytes_that_it_is() {
    use std::io::Write as _;
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..64 {
        packer.write_all(&vec![0; 1 << 20]).expect("packed");
    }
    let bomb = Blob::new(packer.finish().expect("packed"));
    let changes = vec![Change::add(
        path("bomb.gz"),
        FileMode::Regular,
        bomb.clone(),
    )];
    let base = "b".repeat(40).parse().expect("an id");
    let changeset = Changeset::new(base, changes, Vec::new()).expect("once");
    let folder = tempfile::tempdir().expect("made");
    let place = folder.path().join("bundle");
    let manifest = Manifest::new(claims(), &changeset);
    let digest = seal(&place, &manifest, &changeset, &TreeGone::never_started()).expect("sealed");
    let (_, found) = open(&place, &digest).expect("opened");
    assert_eq!(found.changes()[0].content(), Some(&bomb));
}

/// A manifest of these bytes, with its right digest.
fn written(text: &str) -> &'static str {
    let sealed = sealed();
    fs::write(sealed.path.join("bundle.json"), text).expect("written");
    code(&sealed.path, &Digest::of(text.as_bytes()))
}

#[test]
fn json_that_is_read_in_two_ways_or_without_end_is_refused() {
    for text in [
        "",
        "null",
        "[]",
        "{\"format\": 1}",
        "{\"format\": 1, \"format\": 1}",
        "{\"format\": 1e400}",
        "\u{feff}{}",
    ] {
        assert_eq!(written(text), "bundle-manifest", "{text:?}");
    }
    assert_eq!(written(&"[".repeat(1_000_000)), "bundle-manifest");
}

#[test]
fn manifest_that_is_not_ours_is_refused() {
    assert_eq!(
        forged(|json| json["surprise"] = 1.into()),
        "bundle-manifest"
    );
    assert_eq!(
        forged(|json| json["claims"]["surprise"] = 1.into()),
        "bundle-manifest"
    );
    assert_eq!(
        forged(|json| json["files"][0]["surprise"] = 1.into()),
        "bundle-manifest"
    );
    assert_eq!(forged(|json| json["format"] = 2.into()), "bundle-format");
    for name in [
        "../x",
        "/etc/passwd",
        ".git/config",
        "a\\b",
        "c:x",
        "sub/.GIT/x",
        "a\u{0}b",
    ] {
        assert_eq!(
            forged(|json| json["files"][0]["path"] = name.into()),
            "bundle-manifest",
            "{name:?}"
        );
    }
    assert_eq!(
        forged(|json| json["files"][0]["mode"] = "setuid".into()),
        "bundle-manifest"
    );
    assert_eq!(
        forged(|json| json["files"][0]["mode"] = "directory".into()),
        "bundle-manifest"
    );
    assert_eq!(
        forged(|json| json["files"][0]["operation"] = "rename".into()),
        "bundle-manifest"
    );
    assert_eq!(
        forged(|json| json["files"][0]["sha256"] = "../../x".into()),
        "bundle-manifest"
    );
    assert_eq!(
        forged(|json| json["base"] = "HEAD".into()),
        "bundle-manifest"
    );
}

#[test]
fn entry_that_contradicts_itself_is_refused() {
    // In order: a (modify), gone (delete), link, new.txt, twin.txt (add).
    assert_eq!(
        forged(|json| json["files"][0]["operation"] = "add".into()),
        "bundle-entry"
    );
    assert_eq!(
        forged(|json| json["files"][0]["operation"] = "delete".into()),
        "bundle-entry"
    );
    assert_eq!(
        forged(|json| json["files"][3]["old-mode"] = "regular".into()),
        "bundle-entry"
    );
    assert_eq!(
        forged(|json| json["files"][3]["sha256"] = serde_json::Value::Null),
        "bundle-entry"
    );
    assert_eq!(
        forged(|json| json["files"][4]["path"] = "new.txt".into()),
        "bundle-entry"
    );
    assert_eq!(
        forged(|json| json["files"][4]["path"] = "b".into()),
        "bundle-entry"
    );
    assert_eq!(
        forged(|json| json["files"][3]["size"] = 4.into()),
        "bundle-entry"
    );
    assert_eq!(
        forged(|json| json["files"][2]["size"] = 5000.into()),
        "bundle-entry"
    );
    assert_eq!(
        forged(|json| json["files"][0]["size"] = 3.into()),
        "bundle-blob"
    );
}

#[test]
fn sizes_and_counts_are_bounded_before_anything_is_read() {
    assert_eq!(
        forged(|json| json["files"][0]["size"] = (1_u64 << 40).into()),
        "bundle-too-large"
    );
    assert_eq!(
        forged(|json| json["files"][0]["size"] = u64::MAX.into()),
        "bundle-too-large"
    );
    assert_eq!(
        forged(|json| {
            let files: Vec<serde_json::Value> = (0..20_000)
                .map(|number| serde_json::json!({ "path": format!("f{number:06}"), "operation": "delete", "mode": null, "old-mode": "regular", "size": null, "sha256": null }))
                .collect();
            json["files"] = files.into();
        }),
        "bundle-too-large"
    );
    let sealed = sealed();
    let file = sealed.path.join("bundle.json");
    fs::File::create(&file)
        .expect("made")
        .set_len(1 << 33)
        .expect("set");
    assert_eq!(code(&sealed.path, &sealed.digest), "bundle-too-large");
}

#[test]
fn folder_that_is_a_link_is_refused() {
    let sealed = sealed();
    let link = sealed.path.with_extension("link");
    std::os::unix::fs::symlink(&sealed.path, &link).expect("linked");
    assert_eq!(code(&link, &sealed.digest), "bundle-unreadable");
}
