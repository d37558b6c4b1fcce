//! GitHub Actions: the jobs of a workflow run and where their logs lie.

use serde_json::{Value, json};

use super::super::Answer;
use super::super::world::World;
use super::missing;

/// The paths, as GitHub's description names them.
pub(super) const TEMPLATES: &[&str] = &[JOBS, LOGS];

const JOBS: &str = "/repos/{owner}/{repo}/actions/runs/{run_id}/attempts/{attempt_number}/jobs";
const LOGS: &str = "/repos/{owner}/{repo}/actions/jobs/{job_id}/logs";

/// Answers a question; none where the path belongs to somebody else.
pub(super) fn read(world: &World, parts: &[&str]) -> Option<Answer> {
    Some(match parts {
        ["actions", "runs", _, "attempts", _, "jobs"] => {
            let jobs: Vec<Value> = world
                .jobs
                .iter()
                .map(|(id, name, conclusion, _)| {
                    // GitHub's example leaves out what its schema demands.
                    json!({"id": id, "name": name, "conclusion": conclusion, "created_at": "2026-01-01T00:00:00Z"})
                })
                .collect();
            Answer::new(200, JOBS, json!({"total_count": jobs.len(), "jobs": jobs}))
        }
        ["actions", "jobs", id, "logs"] => {
            match world.jobs.iter().find(|job| job.0.to_string() == **id) {
                Some((_, _, _, place)) => {
                    let mut answer = Answer::new(302, LOGS, Value::Null);
                    answer.headers.push(("location".to_owned(), place.clone()));
                    answer
                }
                None => missing(LOGS),
            }
        }
        _ => return None,
    })
}
