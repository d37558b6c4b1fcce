//! What is in the changed files: limits, text that a human can read, lines that hide something.

use super::mend;
use crate::changeset::change::{Change, Changeset, FileMode};
use crate::changeset::diff::{Line, is_binary};
use crate::changeset::finding::{Code, Finding, shown};
use crate::policy::model::{Changes, OnBinary};
use crate::sanitize::hidden_characters;

/// Longest added line in bytes. GitHub shows about a thousand characters of one; nobody reviews more.
pub(super) const LINE_BYTES_MAX: usize = 10_000;
/// Most hidden characters that are listed for one file.
const HIDDEN_LISTED_MAX: usize = 5;
/// Largest diff that GitHub renders without a click, in added lines and bytes (docs.github.com, "Limits for viewing content and diffs").
const SHOWN_LINES_MAX: usize = 400;
const SHOWN_BYTES_MAX: usize = 20 << 10;

/// Limits on the change as a whole.
pub(super) fn whole(changeset: &Changeset, changes: &Changes, findings: &mut Vec<Finding>) {
    let files = changeset.changes().len() as u64;
    if files > changes.files {
        findings.push(
            Finding::new(
                Code::ChangesTooMany,
                format!("{files} files are changed, more than {}", changes.files),
            )
            .mend(mend::FILES),
        );
    }
    let bytes = changeset.bytes();
    if bytes > changes.bytes {
        findings.push(
            Finding::new(
                Code::ChangesTooLarge,
                format!(
                    "the changed files have {bytes} bytes, more than {}",
                    changes.bytes
                ),
            )
            .mend(mend::BYTES),
        );
    }
}

/// Findings about one file's new content; returns whether its lines can be looked at.
pub(super) fn one(change: &Change, changes: &Changes, findings: &mut Vec<Finding>) -> bool {
    let Some(content) = change.content() else {
        return false;
    };
    let path = change.path().as_str();
    let bytes = content.bytes();
    let size = bytes.len() as u64;
    if size > changes.file_bytes {
        findings.push(
            Finding::new(
                Code::FileTooLarge,
                format!(
                    "the file has {size} bytes, more than {}",
                    changes.file_bytes
                ),
            )
            .at(path)
            .mend(mend::FILE_BYTES),
        );
    }
    let unchanged = change
        .old_content()
        .is_some_and(|old| old.digest() == content.digest());
    if unchanged || change.mode() == Some(FileMode::Symlink) {
        return false;
    }
    if is_lfs_pointer(bytes) {
        findings.push(
            Finding::new(
                Code::LfsPointer,
                "it is a Git LFS pointer; what it points to is not in the change",
            )
            .at(path),
        );
    }
    if is_binary(bytes) || std::str::from_utf8(bytes).is_err() {
        if changes.binary == OnBinary::Block {
            let what = if is_binary(bytes) {
                "the file is binary"
            } else {
                "the file is not UTF-8 text"
            };
            findings.push(
                Finding::new(Code::BinaryFile, what)
                    .at(path)
                    .mend(mend::BINARY),
            );
        }
        return false;
    }
    true
}

/// Git LFS, specification of the pointer file; the second name is of its first versions.
fn is_lfs_pointer(bytes: &[u8]) -> bool {
    bytes.len() < 1024
        && (bytes.starts_with(b"version https://git-lfs.github.com/spec/")
            || bytes.starts_with(b"version https://hawser.github.com/spec/"))
}

/// Findings about added lines.
pub(super) fn lines(path: &str, lines: &[Line<'_>], findings: &mut Vec<Finding>) {
    let mut listed = 0;
    for line in lines {
        if line.bytes.len() > LINE_BYTES_MAX {
            findings.push(
                Finding::new(
                    Code::LineTooLong,
                    format!(
                        "the line has {} bytes, more than {LINE_BYTES_MAX}",
                        line.bytes.len()
                    ),
                )
                .at(path)
                .line(line.number),
            );
        }
        let Ok(text) = std::str::from_utf8(line.bytes) else {
            continue;
        };
        if listed < HIDDEN_LISTED_MAX
            && let Some((_, character, kind)) =
                hidden_characters(text).find(|found| !is_mark_of_byte_order(line.number, *found))
        {
            listed += 1;
            findings.push(
                Finding::new(
                    Code::HiddenUnicode,
                    format!("U+{:04X} cannot be seen ({kind})", u32::from(character)),
                )
                .at(path)
                .line(line.number),
            );
        }
    }
}

/// A file may begin with U+FEFF; editors on Windows put it there.
fn is_mark_of_byte_order(line: u32, (at, character, _): (usize, char, &str)) -> bool {
    line == 1 && at == 0 && character == '\u{feff}'
}

/// Files whose diff GitHub would not show.
pub(super) fn hidden_diff(
    change: &Change,
    added: &[Line<'_>],
    attributes: &str,
    findings: &mut Vec<Finding>,
) {
    let path = change.path().as_str();
    let bytes: usize = added.iter().map(|line| line.bytes.len()).sum();
    let why = if is_generated(path) {
        Some("GitHub takes it for generated".to_owned())
    } else if let Some(rule) = attribute(path, attributes) {
        Some(format!("the attribute {} hides it", shown(rule)))
    } else if added.len() > SHOWN_LINES_MAX || bytes > SHOWN_BYTES_MAX {
        Some(format!("it adds {} lines", added.len()))
    } else {
        None
    };
    if let Some(why) = why {
        findings.push(
            Finding::new(
                Code::DiffHidden,
                format!("GitHub folds the diff of this file: {why}"),
            )
            .at(path),
        );
    }
}

/// Names that github-linguist takes for generated, so far as they are names and not contents.
fn is_generated(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let named = [
        "Cargo.lock",
        "package-lock.json",
        "npm-shrinkwrap.json",
        "pnpm-lock.yaml",
        "yarn.lock",
        "bun.lock",
        "composer.lock",
        "Gemfile.lock",
        "Pipfile.lock",
        "poetry.lock",
        "pdm.lock",
        "uv.lock",
        "flake.lock",
        "go.sum",
        "Gopkg.lock",
        "glide.lock",
        "deno.lock",
        "mix.lock",
        "pubspec.lock",
        "Podfile.lock",
        "gradlew",
        "gradlew.bat",
        "mvnw",
        "mvnw.cmd",
        ".terraform.lock.hcl",
        "esy.lock",
        "Package.resolved",
    ];
    let ending = [
        ".min.js",
        ".min.css",
        ".pb.go",
        ".pb.cc",
        ".pb.h",
        "_pb2.py",
        "_pb2_grpc.py",
        ".designer.cs",
        ".g.dart",
        ".js.map",
        ".css.map",
        ".nib",
        ".xcworkspacedata",
    ];
    named.contains(&name)
        || ending.iter().any(|ending| name.ends_with(ending))
        || path
            .split('/')
            .any(|part| part == "node_modules" || part == "Godeps")
}

/// The line of the base commit's `.gitattributes` that hides the path, if the last one that says something does.
fn attribute<'a>(path: &str, attributes: &'a str) -> Option<&'a str> {
    let mut found = None;
    for line in attributes.lines() {
        let mut words = line.split_whitespace();
        let Some(pattern) = words.next().filter(|pattern| !pattern.starts_with('#')) else {
            continue;
        };
        let whole = if pattern.trim_end_matches('/').contains('/') {
            pattern.trim_start_matches('/').to_owned()
        } else {
            format!("**/{pattern}")
        };
        let matches =
            super::globs::Globs::new(&[whole]).is_ok_and(|globs| globs.covering(path).is_some());
        if !matches {
            continue;
        }
        for word in words {
            match word {
                "-diff" | "binary" | "linguist-generated" | "linguist-generated=true" => {
                    found = Some(line)
                }
                "diff" | "-linguist-generated" | "linguist-generated=false" | "!diff" => {
                    found = None
                }
                _ => {}
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_attribute_that_says_something_decides() {
        let text = "*.txt -diff\ndocs/*.txt diff\n# x -diff\n/gen/** linguist-generated\n";
        assert!(attribute("a/b.txt", text).is_some());
        assert!(attribute("docs/b.txt", text).is_none());
        assert!(attribute("gen/a/b.rs", text).is_some());
        assert!(attribute("x/gen/b.rs", text).is_none());
    }
}
