//! The repositories of an organisation with their policies and open proposals, fifty a request.
//! It must never plan for what it could not read: such a repository is told and left out.

use serde::Deserialize;
use serde_json::json;

use super::GitHub;
use super::error::ForgeError;
use super::shapes::{RawAccount, RawId};
use crate::gate::GITHUB_ACTIONS_BOT;

/// Repositories that one request asks for; with their branches it stays far below GraphQL's limit of 500,000 nodes.
const PAGE_REPOSITORIES: usize = 50;
/// Pages that are read: 5,000 repositories.
const PAGES_MAX: usize = 100;
/// Branches of proposals that are read of one repository.
const BRANCHES_MAX: usize = 100;
/// How often one page is asked for.
const TRIES_MAX: u32 = 3;

const QUERY: &str = "query($organization:String!,$after:String,$page:Int!,$branches:Int!){\
organization(login:$organization){repositories(first:$page,after:$after,isArchived:false,orderBy:{field:NAME,direction:ASC}){\
pageInfo{hasNextPage endCursor} nodes{databaseId nameWithOwner \
policy:object(expression:\"HEAD:.github/tagout.yml\"){... on Blob{text byteSize isTruncated}} \
refs(refPrefix:\"refs/heads/tagout/\",first:$branches){totalCount nodes{name associatedPullRequests(states:OPEN,first:1){totalCount}}}}}}}";

/// A repository of a fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its number.
    pub id: u64,
    /// `owner/name`.
    pub name: String,
    /// The text of its policy; none where it has none or it cannot be read whole.
    pub policy: Option<String>,
    /// Tasks whose proposals are open, by the end of their branch's name.
    pub open: Vec<String>,
    /// Whether all branches of proposals were seen.
    pub whole: bool,
}

#[derive(Deserialize)]
struct Answer {
    organization: Option<Organization>,
}

#[derive(Deserialize)]
struct Organization {
    repositories: Page,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    page_info: PageInfo,
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageInfo {
    has_next_page: bool,
    end_cursor: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Node {
    database_id: u64,
    name_with_owner: String,
    policy: Option<Blob>,
    refs: Option<Refs>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Blob {
    text: Option<String>,
    byte_size: Option<usize>,
    is_truncated: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Refs {
    total_count: usize,
    nodes: Vec<Ref>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ref {
    name: String,
    associated_pull_requests: Count,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Count {
    total_count: usize,
}

impl GitHub {
    /// Every repository of an organisation that is not archived.
    ///
    /// # Errors
    /// No such organisation for this token, no answer, or more repositories than are read.
    pub async fn fleet(&self, organization: &str) -> Result<Vec<Member>, ForgeError> {
        let mut members = Vec::new();
        let mut after: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let page = self.fleet_page(organization, after.as_deref()).await?;
            members.extend(page.nodes.into_iter().map(member));
            match page.page_info.end_cursor {
                Some(cursor) if page.page_info.has_next_page => after = Some(cursor),
                Some(_) | None => return Ok(members),
            }
        }
        Err(ForgeError::TooMany {
            what: format!("the repositories of {organization}"),
            pages_max: PAGES_MAX,
        })
    }

    async fn fleet_page(
        &self,
        organization: &str,
        after: Option<&str>,
    ) -> Result<Page, ForgeError> {
        let what = "the organisation's repositories";
        let variables = json!({"organization": organization, "after": after,
            "page": PAGE_REPOSITORIES, "branches": BRANCHES_MAX});
        let mut tries = 0;
        loop {
            tries += 1;
            let asked = self
                .caller
                .graphql::<Answer>(what, QUERY, variables.clone(), Some("contents: read"))
                .await;
            match asked {
                Ok(Answer {
                    organization: Some(found),
                }) => return Ok(found.repositories),
                Ok(Answer { organization: None }) => {
                    return Err(ForgeError::Graphql {
                        what: what.to_owned(),
                        message: "there is no such organisation for this token".to_owned(),
                    });
                }
                Err(error) if error.is_unclear() && tries < TRIES_MAX => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn member(node: Node) -> Member {
    let refs = node.refs.unwrap_or(Refs {
        total_count: 0,
        nodes: Vec::new(),
    });
    Member {
        id: node.database_id,
        name: node.name_with_owner,
        policy: node.policy.and_then(|blob| {
            let whole = blob.is_truncated == Some(false) && blob.byte_size.is_some();
            blob.text.filter(|_| whole)
        }),
        whole: refs.total_count == refs.nodes.len(),
        open: refs
            .nodes
            .into_iter()
            .filter(|found| found.associated_pull_requests.total_count > 0)
            .map(|found| found.name)
            .collect(),
    }
}

#[derive(Deserialize)]
struct RawPull {
    user: Option<RawAccount>,
    head: RawHead,
    base: RawHead,
}

#[derive(Deserialize)]
struct RawHead {
    #[serde(rename = "ref")]
    name: String,
    repo: Option<RawId>,
}

impl GitHub {
    /// The head branches of the open proposals: opened by the account of this token or of every workflow's, from a branch
    /// of this repository. A name alone could be anybody's.
    ///
    /// # Errors
    /// No answer, or one that cannot be read.
    pub async fn open_heads(&self) -> Result<Vec<String>, ForgeError> {
        let me = self.identity().await;
        let pulls: Vec<RawPull> = self.caller.list(&self.path("pulls?state=open&")).await?;
        let ours = |pull: &RawPull| {
            let author = pull.user.as_ref().map(|user| user.id);
            let known = author.is_some_and(|id| id == me.id || id == GITHUB_ACTIONS_BOT);
            known && pull.head.repo.is_some() && pull.head.repo == pull.base.repo
        };
        Ok(pulls
            .into_iter()
            .filter(ours)
            .map(|pull| pull.head.name)
            .collect())
    }
}
