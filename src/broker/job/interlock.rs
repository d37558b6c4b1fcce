//! The interlock: where the agent is to run, nothing is at hand that can write or prove an identity.
//! It must never start a run that it could not ask about, nor ask in a way that could change something.

use super::asked::Asked;
use super::end::{End, causes};
use super::record::Record;
use crate::broker::forge::github::{Endpoint, GitHub};
use crate::broker::journal::Source;
use crate::broker::surroundings::Surroundings;
use crate::names::Secret;
use crate::outcome::Outcome;

/// Refuses to execute where an identity could be asked for. Nothing is sent for it, so it comes first.
///
/// # Errors
/// `Refused` with the variables that were found.
pub fn no_identity(surroundings: &Surroundings) -> Result<(), End> {
    if surroundings.identity_requests.is_empty() {
        return Ok(());
    }
    Err(End::new(
        Outcome::Refused,
        "identity-at-hand",
        format!(
            "{} is set, so that this job could ask for an identity; give the execute job no id-token permission",
            surroundings.identity_requests.join(" and ")
        ),
    ))
}

/// Refuses to execute where a token can write. GitHub is asked after the gate has said yes, for before that nothing that
/// looks like a write may leave, and before any secret is read or any process of the agent's is started.
///
/// # Errors
/// `Refused` where a token can write, or where nobody could say.
pub async fn no_writer(
    asked: &Asked,
    surroundings: &Surroundings,
    record: &mut Record,
) -> Result<(), End> {
    let Some(github) = &asked.github else {
        if surroundings.token.is_some() || !surroundings.other_tokens.is_empty() {
            record.facts.notes.push(
                "a GitHub token is in the environment, and without an event nobody was asked what it may write"
                    .to_owned(),
            );
        }
        return Ok(());
    };
    if surroundings.token.is_some() {
        reads_only("GITHUB_TOKEN", github).await?;
    }
    for (name, token) in &surroundings.other_tokens {
        let github = as_owner_of(token, github, surroundings).await?;
        reads_only(name, &github).await?;
    }
    record.say(
        "interlock",
        Source::Broker,
        &serde_json::json!({ "writes": [] }),
    )
}

async fn as_owner_of(
    token: &Secret,
    github: &GitHub,
    surroundings: &Surroundings,
) -> Result<GitHub, End> {
    GitHub::connect(Endpoint::at(
        surroundings,
        github.repository(),
        token.clone(),
    ))
    .await
    .map_err(|error| not_established("a token", &causes(&error)))
}

async fn reads_only(name: &str, github: &GitHub) -> Result<(), End> {
    match github.writes().await {
        Ok(writes) if writes.is_empty() => Ok(()),
        Ok(writes) => Err(End::new(
            Outcome::Refused,
            "token-can-write",
            format!(
                "{name} can write ({}), and no agent is started beside such a token; give the execute job the permissions contents, issues and pull-requests: read, and nothing else",
                writes.join(", ")
            ),
        )),
        Err(error) => Err(not_established(name, &causes(&error))),
    }
}

fn not_established(name: &str, why: &str) -> End {
    End::new(
        Outcome::Refused,
        "token-not-established",
        format!(
            "whether {name} can write could not be established, so no agent is started beside it: {why}"
        ),
    )
}
