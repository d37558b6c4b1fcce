//! One request to GitHub: bounded in time, size and retries, with the missing permission named.
//! It must never send a creating request twice on its own: whoever creates looks first.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http_body_util::{BodyExt as _, Limited};
use octocrab::Octocrab;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::ForgeError;
use super::rights;

/// Seconds that one request may take.
pub(super) const REQUEST_SECONDS_MAX: u64 = 30;
/// Bytes of the longest answer that is read: 16 MiB, above GitHub's largest page of commits.
pub(super) const ANSWER_BYTES_MAX: usize = 16 << 20;
/// Pages of a hundred that are read of one list; a longer list counts as not established.
pub(super) const PAGES_MAX: usize = 50;
/// How often a reading request is tried.
const TRIES_MAX: u32 = 3;
/// Seconds that we wait for a rate limit to end, at most, in one request.
pub(super) const WAIT_SECONDS_MAX: u64 = 60;
/// Characters of GitHub's message that are kept.
const MESSAGE_CHARS_MAX: usize = 300;

/// What a request does, and whether it may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Get,
    /// As `Get`, with the texts as GitHub shows them beside those that were written.
    GetRendered,
    /// Creates something: sent once.
    Post,
    /// A POST whose second sending changes nothing, as with objects that are named by their content: may be sent again.
    Write,
    /// Sets something to a value: may be sent again.
    Patch,
    Delete,
}

impl Verb {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Get | Self::GetRendered => "GET",
            Self::Post | Self::Write => "POST",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    fn repeatable(self) -> bool {
        match self {
            Self::Get | Self::GetRendered | Self::Write | Self::Patch => true,
            Self::Post | Self::Delete => false,
        }
    }
}

/// The clients. GraphQL has one of its own: octocrab puts every path below its base, and on GitHub Enterprise Server
/// GraphQL lives beside the base of REST (`/api/graphql`, `/api/v3`).
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) rest: Octocrab,
    pub(super) graph: Octocrab,
    pub(super) graph_path: String,
}

/// An answer that was read to its end.
struct Reply {
    status: u16,
    body: Vec<u8>,
    next: Option<String>,
    wait_seconds: Option<u64>,
    accepted: Option<String>,
    scopes: Option<String>,
    location: Option<String>,
}

#[derive(serde::Deserialize)]
struct Message {
    message: Option<String>,
    errors: Option<Value>,
}

#[derive(serde::Deserialize)]
struct GraphqlAnswer<T> {
    data: Option<T>,
    #[serde(default)]
    errors: Vec<GraphqlFault>,
}

#[derive(serde::Deserialize)]
struct GraphqlFault {
    message: String,
}

impl Caller {
    /// Reads one thing.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ForgeError> {
        self.call(Verb::Get, path, None::<&()>, None).await
    }

    /// Reads one thing, and the scopes of a classic personal token, which every answer to it names.
    pub(super) async fn get_with_scopes<T: DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<(T, Option<String>), ForgeError> {
        let reply = self.reply(Verb::Get, path, None::<&()>).await?;
        let what = what(Verb::Get, path);
        let reply = accepted(reply, &what, None)?;
        Ok((read(&reply.body, &what)?, reply.scopes))
    }

    /// Sends a request that cannot be carried out, and tells whether the token would have been let.
    pub(super) async fn is_let(&self, path: &str, body: &Value) -> Result<bool, ForgeError> {
        let reply = self.reply(Verb::Write, path, Some(body)).await?;
        match rights::lets(reply.status) {
            Some(is_let) => Ok(is_let),
            None => Err(ForgeError::Status {
                what: what(Verb::Write, path),
                status: reply.status,
                message: message(&reply.body),
                needs: None,
            }),
        }
    }

    /// Where GitHub sends whoever asks for this. It is told and not followed: the token is for GitHub alone.
    pub(super) async fn place_of(&self, path: &str) -> Result<String, ForgeError> {
        let reply = self.reply(Verb::Get, path, None::<&()>).await?;
        let what = what(Verb::Get, path);
        match (reply.status, reply.location.clone()) {
            (301 | 302 | 303 | 307 | 308, Some(place)) => Ok(place),
            (status, _) => {
                let reply = accepted(reply, &what, Some("actions: read"))?;
                Err(ForgeError::Status {
                    what,
                    status,
                    message: message(&reply.body),
                    needs: None,
                })
            }
        }
    }

    /// Reads one thing that may be missing: 404 is none.
    pub(super) async fn find<T: DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<Option<T>, ForgeError> {
        match self.get(path).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_status(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads a list to its end, by the links that GitHub gives: some lists count pages, others have cursors. Of a link only
    /// the query is taken, so that no answer can send us elsewhere. `path` has no query, or one that ends in `&`.
    pub(super) async fn list<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>, ForgeError> {
        let mut all = Vec::new();
        let (place, query) = path.split_once('?').unwrap_or((path, ""));
        let mut query = format!("{query}per_page=100");
        for _ in 0..PAGES_MAX {
            let path = format!("{place}?{query}");
            let reply = self.reply(Verb::Get, &path, None::<&()>).await?;
            let what = what(Verb::Get, &path);
            let reply = accepted(reply, &what, None)?;
            all.extend(read::<Vec<T>>(&reply.body, &what)?);
            match reply.next {
                Some(next) => query = next,
                None => return Ok(all),
            }
        }
        Err(ForgeError::TooMany {
            what: what(Verb::Get, path),
            pages_max: PAGES_MAX,
        })
    }

    /// Sends something and reads the answer. `needs` is the permission that the token may lack.
    pub(super) async fn call<B: Serialize + ?Sized, T: DeserializeOwned>(
        &self,
        verb: Verb,
        path: &str,
        body: Option<&B>,
        needs: Option<&str>,
    ) -> Result<T, ForgeError> {
        let reply = self.reply(verb, path, body).await?;
        let what = what(verb, path);
        let reply = accepted(reply, &what, needs)?;
        if reply.body.is_empty() {
            return read(b"null", &what);
        }
        read(&reply.body, &what)
    }

    /// Asks GraphQL.
    pub(super) async fn graphql<T: DeserializeOwned>(
        &self,
        what: &str,
        query: &str,
        variables: Value,
        needs: Option<&str>,
    ) -> Result<T, ForgeError> {
        let body = serde_json::json!({"query": query, "variables": variables});
        let reply = self
            .once(&self.graph, Verb::Post, &self.graph_path, Some(&body))
            .await?;
        let reply = accepted(reply, what, needs)?;
        let answer: GraphqlAnswer<T> = read(&reply.body, what)?;
        match (answer.errors.into_iter().next(), answer.data) {
            (None, Some(data)) => Ok(data),
            (fault, _) => Err(ForgeError::Graphql {
                what: what.to_owned(),
                message: shortened(
                    &fault.map_or_else(|| "no data and no error".to_owned(), |fault| fault.message),
                ),
            }),
        }
    }

    /// Sends a request, and a repeatable one again where the server failed or asks to wait.
    async fn reply<B: Serialize + ?Sized>(
        &self,
        verb: Verb,
        path: &str,
        body: Option<&B>,
    ) -> Result<Reply, ForgeError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let outcome = self.once(&self.rest, verb, path, body).await;
            let again = tries < TRIES_MAX;
            let pause = match &outcome {
                // A rate limit is answered before anything is done, so that even a creating request may be sent again.
                Ok(Reply {
                    wait_seconds: Some(seconds),
                    ..
                }) => {
                    if *seconds > WAIT_SECONDS_MAX || !again {
                        return Err(ForgeError::RateLimit {
                            what: what(verb, path),
                            seconds: *seconds,
                        });
                    }
                    Duration::from_secs(*seconds)
                }
                Ok(reply) if reply.status >= 500 && again && verb.repeatable() => pause(tries),
                Err(error) if error.is_unclear() && again && verb.repeatable() => pause(tries),
                Ok(_) | Err(_) => return outcome,
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn once<B: Serialize + ?Sized>(
        &self,
        crab: &Octocrab,
        verb: Verb,
        path: &str,
        body: Option<&B>,
    ) -> Result<Reply, ForgeError> {
        let work = async {
            let sent = match verb {
                Verb::Get => crab._get(path).await,
                Verb::GetRendered => crab._get_with_headers(path, Some(rendered())).await,
                Verb::Post | Verb::Write => crab._post(path, body).await,
                Verb::Patch => crab._patch(path, body).await,
                Verb::Delete => crab._delete(path, body).await,
            };
            let response = sent.map_err(|source| ForgeError::Unreached {
                what: what(verb, path),
                source,
            })?;
            let header = |name: &str| {
                response
                    .headers()
                    .get(name)
                    .and_then(|value| value.to_str().ok())
                    .map(str::to_owned)
            };
            let status = response.status().as_u16();
            let next = header("link").as_deref().and_then(next_query);
            let wait_seconds = wait(
                status,
                header("retry-after"),
                header("x-ratelimit-remaining"),
                header("x-ratelimit-reset"),
            );
            let accepted = header("x-accepted-github-permissions");
            let scopes = header("x-oauth-scopes");
            let location = header("location");
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX)
                .collect()
                .await
                .map_err(|_error| ForgeError::TooLong {
                    what: what(verb, path),
                    limit_bytes: ANSWER_BYTES_MAX,
                })?
                .to_bytes()
                .to_vec();
            Ok(Reply {
                status,
                body,
                next,
                wait_seconds,
                accepted,
                scopes,
                location,
            })
        };
        tokio::time::timeout(Duration::from_secs(REQUEST_SECONDS_MAX), work)
            .await
            .unwrap_or_else(|_late| {
                Err(ForgeError::Late {
                    what: what(verb, path),
                    seconds: REQUEST_SECONDS_MAX,
                })
            })
    }
}

/// Seconds to wait, where the answer is a rate limit (docs.github.com, "Rate limits for the REST API").
fn wait(
    status: u16,
    retry_after: Option<String>,
    remaining: Option<String>,
    reset: Option<String>,
) -> Option<u64> {
    if !matches!(status, 403 | 429) {
        return None;
    }
    if let Some(seconds) = retry_after.and_then(|text| text.parse().ok()) {
        return Some(seconds);
    }
    if remaining.as_deref() == Some("0") {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let reset: u64 = reset.and_then(|text| text.parse().ok()).unwrap_or(now);
        return Some(reset.saturating_sub(now).saturating_add(1));
    }
    // GitHub asks for at least a minute where it names no time.
    (status == 429).then_some(WAIT_SECONDS_MAX)
}

/// The query of the link to the next page (RFC 8288; docs.github.com, "Using pagination in the REST API").
fn next_query(link: &str) -> Option<String> {
    link.split(',')
        .find(|part| part.contains("rel=\"next\""))
        .and_then(|part| part.split_once('<')?.1.split_once('>'))
        .and_then(|(url, _)| url.split_once('?'))
        .map(|(_, query)| query.to_owned())
}

/// GitHub's words for "with the HTML too" (docs.github.com, "Media types for comments").
fn rendered() -> reqwest::header::HeaderMap {
    let full = reqwest::header::HeaderValue::from_static("application/vnd.github.full+json");
    reqwest::header::HeaderMap::from_iter([(reqwest::header::ACCEPT, full)])
}

/// Half a second, then one.
fn pause(tries: u32) -> Duration {
    Duration::from_millis(500) * tries
}

fn what(verb: Verb, path: &str) -> String {
    let path = path.split('?').next().unwrap_or(path);
    format!("{} {path}", verb.word())
}

fn accepted(reply: Reply, what: &str, needs: Option<&str>) -> Result<Reply, ForgeError> {
    if (200..300).contains(&reply.status) {
        return Ok(reply);
    }
    let denied = matches!(reply.status, 401 | 403 | 404);
    Err(ForgeError::Status {
        what: what.to_owned(),
        status: reply.status,
        message: message(&reply.body),
        needs: reply
            .accepted
            .filter(|text| !text.is_empty())
            .or_else(|| needs.map(str::to_owned))
            .filter(|_| denied),
    })
}

fn message(body: &[u8]) -> String {
    let Ok(message) = serde_json::from_slice::<Message>(body) else {
        return "no message".to_owned();
    };
    let mut text = message.message.unwrap_or_default();
    if let Some(errors) = message.errors {
        text.push(' ');
        text.push_str(&errors.to_string());
    }
    shortened(&text)
}

fn shortened(text: &str) -> String {
    text.chars()
        .filter(|letter| !letter.is_control())
        .take(MESSAGE_CHARS_MAX)
        .collect()
}

fn read<T: DeserializeOwned>(body: &[u8], what: &str) -> Result<T, ForgeError> {
    serde_json::from_slice(body).map_err(|source| ForgeError::Shape {
        what: what.to_owned(),
        source,
    })
}
