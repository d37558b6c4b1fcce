//! What belongs to a thread beside its words: a text as GitHub shows it, the jobs of a workflow run, where a log lies.
//! It must never follow where GitHub sends: the token is for GitHub alone, and whoever follows goes without it.

use serde::Deserialize;

use super::GitHub;
use super::call::Verb;
use super::error::ForgeError;
use crate::gate::AskedBy;

/// Pages of a hundred jobs that are read of one run.
const PAGES_MAX: usize = 5;

#[derive(Deserialize)]
struct Rendered {
    #[serde(default)]
    body_html: String,
}

#[derive(Deserialize)]
struct RawJobs {
    total_count: usize,
    jobs: Vec<RawJob>,
}

#[derive(Deserialize)]
struct RawJob {
    id: u64,
    name: String,
    conclusion: Option<String>,
}

/// A job of a workflow run that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its number.
    pub id: u64,
    /// Its name, not yet sanitised.
    pub name: String,
}

impl GitHub {
    /// A text of a thread as GitHub shows it, in HTML. There an attachment has an address that needs no token.
    ///
    /// # Errors
    /// No answer, or one that cannot be read.
    pub async fn rendered(&self, issue: u64, by: AskedBy) -> Result<String, ForgeError> {
        let what = match by {
            AskedBy::Comment(id) => format!("issues/comments/{id}"),
            AskedBy::Line(id) => format!("pulls/comments/{id}"),
            AskedBy::Review(id) => format!("pulls/{issue}/reviews/{id}"),
            AskedBy::Issue | AskedBy::Run(_) => format!("issues/{issue}"),
        };
        let found: Rendered = self
            .caller
            .call(Verb::GetRendered, &self.path(&what), None::<&()>, None)
            .await?;
        Ok(found.body_html)
    }

    /// The jobs of one attempt of a workflow run that failed.
    ///
    /// # Errors
    /// No answer, or more jobs than are read.
    pub async fn failed_jobs(&self, run: u64, attempt: u32) -> Result<Vec<Job>, ForgeError> {
        let (mut failed, mut seen) = (Vec::new(), 0);
        for page in 1..=PAGES_MAX {
            let path = self.path(&format!(
                "actions/runs/{run}/attempts/{attempt}/jobs?per_page=100&page={page}"
            ));
            let found: RawJobs = self.caller.get(&path).await?;
            seen += found.jobs.len();
            let done = seen >= found.total_count || found.jobs.is_empty();
            let jobs = found.jobs.into_iter();
            failed.extend(
                jobs.filter(|job| job.conclusion.as_deref() == Some("failure"))
                    .map(|job| Job {
                        id: job.id,
                        name: job.name,
                    }),
            );
            if done {
                return Ok(failed);
            }
        }
        Err(ForgeError::TooMany {
            what: format!("the jobs of run {run}"),
            pages_max: PAGES_MAX,
        })
    }

    /// Where the log of a job can be fetched for a minute, by whoever has the address.
    ///
    /// # Errors
    /// No answer; 403 or 404 where the token may not read Actions.
    pub async fn log_place(&self, job: u64) -> Result<String, ForgeError> {
        let path = self.path(&format!("actions/jobs/{job}/logs"));
        self.caller.place_of(&path).await
    }
}
