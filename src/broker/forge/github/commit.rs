//! Trees and commits by API: the changes as they were checked, with their modes, on a parent that we name.
//! It must never force a ref, nor leave out what it was given.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::call::Verb;
use super::error::ForgeError;
use super::shapes::{RawGitCommit, RawRef, RawSha};
use super::{GitHub, encoded};
use crate::broker::forge::Signature;
use crate::changeset::change::{Change, FileMode};
use crate::names::ObjectId;

/// Bytes of the largest file that goes along inside a tree's own request; a larger one becomes a blob first.
const INLINE_BYTES_MAX: usize = 64 * 1024;
/// Bytes of the largest change that goes through GraphQL, in one request.
const GRAPHQL_BYTES_MAX: u64 = 16 << 20;
/// The permission that git data needs.
pub(super) const CONTENTS: &str = "contents: write";

const CREATE_COMMIT: &str = "mutation($input:CreateCommitOnBranchInput!){\
createCommitOnBranch(input:$input){commit{oid tree{oid} signature{isValid}}}}";

#[derive(Deserialize)]
struct Created {
    #[serde(rename = "createCommitOnBranch")]
    create: CreatedCommit,
}

#[derive(Deserialize)]
struct CreatedCommit {
    commit: GraphqlCommit,
}

#[derive(Deserialize)]
struct GraphqlCommit {
    oid: String,
    tree: GraphqlTree,
    signature: Option<GraphqlSignature>,
}

#[derive(Deserialize)]
struct GraphqlTree {
    oid: String,
}

#[derive(Deserialize)]
struct GraphqlSignature {
    #[serde(rename = "isValid")]
    is_valid: bool,
}

/// A commit that now exists.
#[derive(Clone, Debug)]
pub(super) struct Made {
    pub(super) commit: ObjectId,
    pub(super) tree: ObjectId,
    pub(super) signature: Signature,
}

/// Whether GraphQL can carry these changes: it knows regular files without the executable bit, and nothing else.
pub(super) fn is_plain(changes: &[Change]) -> bool {
    let regular = |mode: Option<FileMode>| mode.is_none_or(|mode| mode == FileMode::Regular);
    let bytes: u64 = changes
        .iter()
        .filter_map(Change::content)
        .map(|blob| blob.bytes().len() as u64)
        .sum();
    bytes <= GRAPHQL_BYTES_MAX
        && changes.iter().all(|change| {
            regular(change.mode()) && (change.content().is_none() || regular(change.old_mode()))
        })
}

/// Whether this run made a branch. Only such a branch is taken away after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Born {
    /// It did.
    Here,
    /// It was there, or nobody knows.
    Before,
}

impl GitHub {
    /// The tree that a commit holds.
    pub(super) async fn tree_of(&self, commit: &ObjectId) -> Result<ObjectId, ForgeError> {
        let path = self.path(&format!("git/commits/{commit}"));
        let found = self.caller.get::<RawGitCommit>(&path).await?;
        Ok(found.tree.sha.parse::<ObjectId>()?)
    }

    /// Writes the tree of `base` with the changes put in. Objects have the name of their content, so writing twice is writing once.
    pub(super) async fn write_tree(
        &self,
        base: &ObjectId,
        changes: &[Change],
    ) -> Result<ObjectId, ForgeError> {
        let mut entries = Vec::with_capacity(changes.len());
        for change in changes {
            entries.push(self.entry(change).await?);
        }
        let body = json!({"base_tree": base.as_str(), "tree": entries});
        let made: RawSha = self
            .caller
            .call(
                Verb::Write,
                &self.path("git/trees"),
                Some(&body),
                Some(CONTENTS),
            )
            .await?;
        Ok(made.sha.parse::<ObjectId>()?)
    }

    async fn entry(&self, change: &Change) -> Result<Value, ForgeError> {
        let path = change.path().as_str();
        let (Some(mode), Some(blob)) = (change.mode(), change.content()) else {
            let mode = change.old_mode().unwrap_or(FileMode::Regular).octal();
            return Ok(json!({"path": path, "mode": mode, "type": "blob", "sha": null}));
        };
        let mode = mode.octal();
        match std::str::from_utf8(blob.bytes()) {
            Ok(text) if text.len() <= INLINE_BYTES_MAX && !text.contains('\0') => {
                Ok(json!({"path": path, "mode": mode, "type": "blob", "content": text}))
            }
            Ok(_) | Err(_) => {
                let body = json!({"content": STANDARD.encode(blob.bytes()), "encoding": "base64"});
                let made: RawSha = self
                    .caller
                    .call(
                        Verb::Write,
                        &self.path("git/blobs"),
                        Some(&body),
                        Some(CONTENTS),
                    )
                    .await?;
                Ok(json!({"path": path, "mode": mode, "type": "blob", "sha": made.sha}))
            }
        }
    }

    /// Makes a commit that no ref names yet. No author, committer or signature is given: only then does GitHub sign it.
    pub(super) async fn commit_by_rest(
        &self,
        message: &str,
        tree: &ObjectId,
        parents: &[&ObjectId],
    ) -> Result<Made, ForgeError> {
        let parents: Vec<&str> = parents.iter().map(|parent| parent.as_str()).collect();
        let body = json!({"message": message, "tree": tree.as_str(), "parents": parents});
        let made: RawGitCommit = self
            .caller
            .call(
                Verb::Write,
                &self.path("git/commits"),
                Some(&body),
                Some(CONTENTS),
            )
            .await?;
        let verified = made.verification.is_some_and(|found| found.verified);
        Ok(Made {
            commit: made.sha.parse::<ObjectId>()?,
            tree: made.tree.sha.parse::<ObjectId>()?,
            signature: signature(verified),
        })
    }

    /// Makes a signed commit on a branch whose head must be `parent`.
    pub(super) async fn commit_by_graphql(
        &self,
        branch: &str,
        parent: &ObjectId,
        message: &str,
        changes: &[Change],
    ) -> Result<Made, ForgeError> {
        let (headline, body) = message.split_once("\n\n").unwrap_or((message, ""));
        let additions: Vec<Value> = changes
            .iter()
            .filter_map(|change| {
                let contents = STANDARD.encode(change.content()?.bytes());
                Some(json!({"path": change.path().as_str(), "contents": contents}))
            })
            .collect();
        let deletions: Vec<Value> = changes
            .iter()
            .filter(|change| change.content().is_none())
            .map(|change| json!({"path": change.path().as_str()}))
            .collect();
        let input = json!({"input": {
            "branch": {"repositoryNameWithOwner": self.repository.as_str(), "branchName": branch},
            "message": {"headline": headline, "body": body.trim_end()},
            "expectedHeadOid": parent.as_str(),
            "fileChanges": {"additions": additions, "deletions": deletions},
        }});
        let created: Created = self
            .caller
            .graphql("createCommitOnBranch", CREATE_COMMIT, input, Some(CONTENTS))
            .await?;
        let commit = created.create.commit;
        Ok(Made {
            commit: commit.oid.parse::<ObjectId>()?,
            tree: commit.tree.oid.parse::<ObjectId>()?,
            signature: signature(commit.signature.is_some_and(|found| found.is_valid)),
        })
    }

    /// The head of one of our branches; none where there is no such branch.
    pub(super) async fn head(&self, branch: &str) -> Result<Option<ObjectId>, ForgeError> {
        let path = self.path(&format!("git/ref/heads/{}", encoded(branch)));
        match self.caller.find::<RawRef>(&path).await? {
            Some(found) => Ok(Some(found.object.sha.parse::<ObjectId>()?)),
            None => Ok(None),
        }
    }

    /// Makes a branch that does not exist yet. Where the answer is unclear, what is there decides; who made it is not known
    /// then, so that nobody takes it away again.
    pub(super) async fn make_branch(
        &self,
        branch: &str,
        at: &ObjectId,
    ) -> Result<Born, ForgeError> {
        let body = json!({"ref": format!("refs/heads/{branch}"), "sha": at.as_str()});
        let made: Result<RawRef, ForgeError> = self
            .caller
            .call(
                Verb::Post,
                &self.path("git/refs"),
                Some(&body),
                Some(CONTENTS),
            )
            .await;
        let Err(error) = made else {
            return Ok(Born::Here);
        };
        if !error.is_unclear() && !error.is_status(422) {
            return Err(error);
        }
        match self.head(branch).await? {
            Some(head) if head == *at => Ok(Born::Before),
            Some(head) => Err(ForgeError::BranchForeign {
                branch: branch.to_owned(),
                head: head.to_string(),
            }),
            None => Err(error),
        }
    }

    /// Moves one of our branches forward, never back and never aside.
    pub(super) async fn advance(&self, branch: &str, to: &ObjectId) -> Result<(), ForgeError> {
        let path = self.path(&format!("git/refs/heads/{}", encoded(branch)));
        let body = json!({"sha": to.as_str(), "force": false});
        let moved: Result<RawRef, ForgeError> = self
            .caller
            .call(Verb::Patch, &path, Some(&body), Some(CONTENTS))
            .await;
        let Err(error) = moved else { return Ok(()) };
        if !error.is_status(422) {
            return Err(error);
        }
        let head = self.head(branch).await?;
        Err(ForgeError::BranchForeign {
            branch: branch.to_owned(),
            head: head.map_or_else(|| "nothing".to_owned(), String::from),
        })
    }

    /// Takes a branch of ours away again, if it still holds what we put there.
    pub(super) async fn take_back(
        &self,
        branch: &str,
        ours: &[&ObjectId],
    ) -> Result<(), ForgeError> {
        match self.head(branch).await? {
            Some(head) if ours.contains(&&head) => {}
            Some(_) | None => return Ok(()),
        }
        let path = self.path(&format!("git/refs/heads/{}", encoded(branch)));
        let gone: Result<Option<Value>, ForgeError> = self
            .caller
            .call(Verb::Delete, &path, None::<&()>, Some(CONTENTS))
            .await;
        match gone {
            Ok(_) => Ok(()),
            Err(error) if self.head(branch).await?.is_none() => {
                drop(error);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

fn signature(verified: bool) -> Signature {
    if verified {
        Signature::Verified
    } else {
        Signature::Unsigned
    }
}

/// Decodes base64 as GitHub sends it, line breaks taken out.
pub(super) fn from_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}
