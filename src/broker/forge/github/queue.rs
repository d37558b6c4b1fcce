//! Which pull requests a merge queue's commit holds.
//! It must never leave one out: what cannot be established is an error, and that is red.

use serde::Deserialize;
use serde_json::json;

use super::GitHub;
use super::error::ForgeError;
use super::shapes::RawSha;
use crate::names::{NotValid, ObjectId};

/// Entries of a queue that are read; GitHub lets a queue build a hundred at once.
const QUEUE: &str = "query($owner:String!,$name:String!,$branch:String!){repository(owner:$owner,name:$name){\
mergeQueue(branch:$branch){entries(first:100){nodes{position headCommit{oid} pullRequest{number}}}}}}";

#[derive(Deserialize)]
struct RawCommit {
    parents: Vec<RawSha>,
}

#[derive(Deserialize)]
struct RawPull {
    head: RawSha,
}

#[derive(Deserialize)]
struct Answer {
    repository: Option<Home>,
}

#[derive(Deserialize)]
struct Home {
    #[serde(rename = "mergeQueue")]
    queue: Option<Queue>,
}

#[derive(Deserialize)]
struct Queue {
    entries: Entries,
}

#[derive(Deserialize)]
struct Entries {
    nodes: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    position: u64,
    #[serde(rename = "headCommit")]
    head: Option<Oid>,
    #[serde(rename = "pullRequest")]
    pull: Option<Number>,
}

#[derive(Deserialize)]
struct Oid {
    oid: String,
}

#[derive(Deserialize)]
struct Number {
    number: u64,
}

impl GitHub {
    /// The pull requests in the commit that a merge queue asks about: the one that its branch is named after, and those
    /// before it in the queue.
    ///
    /// # Errors
    /// No answer, or a queue that does not hold this commit.
    pub async fn queued(
        &self,
        head: &ObjectId,
        base: &str,
        named: u64,
    ) -> Result<Vec<u64>, ForgeError> {
        if self.is_alone(head, base, named).await? {
            return Ok(vec![named]);
        }
        let variables = json!({"owner": self.repository.owner(), "name": self.repository.name(), "branch": base});
        let answer: Answer = self
            .caller
            .graphql("the merge queue", QUEUE, variables, None)
            .await?;
        let entries = answer
            .repository
            .and_then(|home| home.queue)
            .map(|queue| queue.entries.nodes)
            .unwrap_or_default();
        held(&entries, head, named).ok_or_else(|| {
            ForgeError::Word(NotValid::new(
                "merge queue",
                "it does not say which pull requests the commit holds",
            ))
        })
    }

    /// Whether the commit lies directly on the base branch: each parent is on that, or is the pull request's own head.
    async fn is_alone(&self, head: &ObjectId, base: &str, named: u64) -> Result<bool, ForgeError> {
        let path = self.path(&format!("git/commits/{head}"));
        let Some(commit) = self.caller.find::<RawCommit>(&path).await? else {
            return Ok(false);
        };
        let pull: RawPull = self
            .caller
            .get(&self.path(&format!("pulls/{named}")))
            .await?;
        for parent in &commit.parents {
            if parent.sha != pull.head.sha && !self.is_on(&parent.sha.parse()?, base).await? {
                return Ok(false);
            }
        }
        Ok(!commit.parents.is_empty())
    }
}

/// The entry with this commit, and all before it. Every one must name its pull request.
fn held(entries: &[Entry], head: &ObjectId, named: u64) -> Option<Vec<u64>> {
    let is_it = |entry: &&Entry| {
        entry
            .head
            .as_ref()
            .is_some_and(|commit| commit.oid == head.as_str())
    };
    let last = entries.iter().find(is_it)?;
    let numbers: Option<Vec<u64>> = entries
        .iter()
        .filter(|entry| entry.position <= last.position)
        .map(|entry| entry.pull.as_ref().map(|pull| pull.number))
        .collect();
    numbers.filter(|numbers| numbers.contains(&named))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(position: u64, head: char, pull: Option<u64>) -> Entry {
        Entry {
            position,
            head: Some(Oid {
                oid: head.to_string().repeat(40),
            }),
            pull: pull.map(|number| Number { number }),
        }
    }

    #[test]
    fn commit_of_a_queue_holds_all_before_it() {
        let head: ObjectId = "b".repeat(40).parse().unwrap();
        let queue = [
            entry(1, 'a', Some(7)),
            entry(2, 'b', Some(8)),
            entry(3, 'c', Some(9)),
        ];
        assert_eq!(held(&queue, &head, 8), Some(vec![7, 8]));
        assert_eq!(
            held(&queue, &head, 9),
            None,
            "the branch is named after another"
        );
        assert_eq!(held(&queue[..1], &head, 8), None, "the commit is not in it");
        let nameless = [entry(1, 'a', None), entry(2, 'b', Some(8))];
        assert_eq!(held(&nameless, &head, 8), None);
    }
}
