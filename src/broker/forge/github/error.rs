//! What can go wrong with GitHub, in words that say what was tried and what would mend it.
//! It must never hold a token, nor more of an answer than its `message`.

use crate::names::NotValid;

/// GitHub said no, or nothing, or something that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ForgeError {
    /// The address of the API is none.
    #[error("the API's address cannot be used")]
    Address(#[source] octocrab::Error),
    /// The connection failed.
    #[error("GitHub was not reached: {what}")]
    Unreached {
        /// What was tried.
        what: String,
        /// The cause.
        #[source]
        source: octocrab::Error,
    },
    /// No answer in time.
    #[error("GitHub did not answer in {seconds} seconds: {what}")]
    Late {
        /// What was tried.
        what: String,
        /// The limit.
        seconds: u64,
    },
    /// An answer that says no.
    #[error("GitHub answered {status} to {what}: {message}{}", hint(needs.as_deref()))]
    Status {
        /// What was tried.
        what: String,
        /// The status.
        status: u16,
        /// GitHub's message, shortened.
        message: String,
        /// The permission that is missing, where it can be told.
        needs: Option<String>,
    },
    /// A rate limit that ends later than we wait.
    #[error("GitHub's rate limit was reached at {what}; it ends in {seconds} seconds")]
    RateLimit {
        /// What was tried.
        what: String,
        /// Seconds until it ends.
        seconds: u64,
    },
    /// An answer longer than its limit.
    #[error("GitHub's answer to {what} is longer than {limit_bytes} bytes")]
    TooLong {
        /// What was tried.
        what: String,
        /// The limit.
        limit_bytes: usize,
    },
    /// More pages than we read.
    #[error("GitHub's list for {what} has more than {pages_max} pages")]
    TooMany {
        /// What was tried.
        what: String,
        /// The limit.
        pages_max: usize,
    },
    /// An answer of another shape.
    #[error("GitHub's answer to {what} cannot be read")]
    Shape {
        /// What was tried.
        what: String,
        /// What serde says.
        #[source]
        source: serde_json::Error,
    },
    /// GraphQL answered with errors.
    #[error("GitHub's GraphQL refused {what}: {message}")]
    Graphql {
        /// What was tried.
        what: String,
        /// The first error's message.
        message: String,
    },
    /// A word that cannot be used.
    #[error("a name cannot be used")]
    Word(#[from] NotValid),
    /// The proposal's own text is too long.
    #[error("the proposal's {what} has more than {limit} characters")]
    Text {
        /// Title or body.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// The branch is not as we left it.
    #[error(
        "branch {branch} holds {head}, which is not the commit that was last published here; somebody else works on it, so it is left alone"
    )]
    BranchForeign {
        /// The branch.
        branch: String,
        /// Its head.
        head: String,
    },
    /// The base commit is not on its branch any more.
    #[error("commit {commit} is not on branch {branch} any more; ask again")]
    BaseGone {
        /// The base commit.
        commit: String,
        /// The base branch.
        branch: String,
    },
    /// The branch that the agent's work is for stands elsewhere now.
    #[error(
        "branch {branch} was pushed to while the agent worked: it stood at {commit} and stands at {head}; nothing was published, ask again"
    )]
    BranchMoved {
        /// The branch.
        branch: String,
        /// Its head now.
        head: String,
        /// Its head at the event.
        commit: String,
    },
    /// A pull request for our branch that somebody else opened.
    #[error(
        "pull request {number} for branch {branch} was opened by somebody else, so it is left alone"
    )]
    PullForeign {
        /// Its number.
        number: u64,
        /// The branch.
        branch: String,
    },
    /// The changes are against another commit than the admitted one.
    #[error("the changes are against {found}, but {admitted} was admitted")]
    OtherBase {
        /// The changeset's base.
        found: String,
        /// The gate's base.
        admitted: String,
    },
    /// The commit that GitHub made holds another tree than the one that was checked.
    #[error("GitHub made a commit with tree {found}, but {wanted} was checked")]
    OtherTree {
        /// What is there.
        found: String,
        /// What was checked.
        wanted: String,
    },
    /// A failure after which the branch could not be taken away again.
    #[error("{first}; and branch {branch} is left behind, delete it")]
    LeftBehind {
        /// The branch.
        branch: String,
        /// The first failure.
        first: Box<ForgeError>,
        /// Why the branch could not be deleted.
        #[source]
        source: Box<ForgeError>,
    },
    /// The policy demands a lock, and the one that stands can be opened by any workflow.
    #[error(
        "the policy demands a lock, and the ruleset of branch {branch} that requires the check {context} binds it to no App of your own: any workflow with statuses: write or checks: write could set it"
    )]
    LockUnbound {
        /// The base branch.
        branch: String,
        /// The check.
        context: String,
    },
    /// The policy demands a lock that does not stand.
    #[error(
        "the policy demands that a ruleset of branch {branch} requires the check {context}, and none does"
    )]
    LockMissing {
        /// The base branch.
        branch: String,
        /// The check.
        context: String,
    },
}

impl ForgeError {
    /// Whether the race against somebody who pushed was lost.
    #[must_use]
    pub fn is_moved(&self) -> bool {
        matches!(self, Self::BranchMoved { .. } | Self::BaseGone { .. })
    }

    /// Whether it is an answer with this status.
    #[must_use]
    pub fn is_status(&self, wanted: u16) -> bool {
        matches!(self, Self::Status { status, .. } if *status == wanted)
    }

    /// Whether it is not known if the request had an effect: no answer, or a server's error.
    #[must_use]
    pub fn is_unclear(&self) -> bool {
        match self {
            Self::Unreached { .. } | Self::Late { .. } => true,
            Self::Status { status, .. } => *status >= 500,
            Self::Address(_)
            | Self::RateLimit { .. }
            | Self::TooLong { .. }
            | Self::TooMany { .. }
            | Self::Shape { .. }
            | Self::Graphql { .. }
            | Self::Word(_)
            | Self::Text { .. }
            | Self::BranchForeign { .. }
            | Self::BaseGone { .. }
            | Self::BranchMoved { .. }
            | Self::PullForeign { .. }
            | Self::OtherBase { .. }
            | Self::OtherTree { .. }
            | Self::LeftBehind { .. }
            | Self::LockMissing { .. }
            | Self::LockUnbound { .. } => false,
        }
    }
}

fn hint(needs: Option<&str>) -> String {
    needs.map_or_else(String::new, |needs| {
        format!("; the token may lack the permission {needs}")
    })
}
