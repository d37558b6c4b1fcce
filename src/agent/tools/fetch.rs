//! Sends one HTTP request by the road that every program inside has, so that a job needs no curl, and shows the answer.
//! It must never follow a redirect: each hop is the model's to judge and the egress' to allow.

use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;

use super::super::cut;
use super::super::fence::fence;

/// Largest body that is shown, in bytes.
const SHOWN_BYTES_MAX: usize = 24 * 1024;
const TIME_MAX: Duration = Duration::from_secs(60);

#[derive(Debug, Deserialize)]
pub(super) struct Arguments {
    url: String,
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    body: Option<String>,
}

/// Asks and words the answer.
pub(super) async fn run(arguments: Arguments) -> Result<String, String> {
    let word = arguments.method.as_deref().unwrap_or("GET");
    let method = Method::from_bytes(word.as_bytes())
        .map_err(|_not_a_method| format!("{word:?} is no method"))?;
    let http = reqwest::Client::builder()
        .user_agent(concat!("tagout-agent/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .timeout(TIME_MAX)
        .build()
        .map_err(|error| error.to_string())?;
    let mut request = http.request(method, &arguments.url);
    if let Some(body) = arguments.body {
        request = request.body(body);
    }
    let mut response = request
        .send()
        .await
        .map_err(|error| super::super::client::chain(&error))?;
    let status = response.status();
    let header = |name: &str| {
        let value = response.headers().get(name)?.to_str().ok()?;
        Some(format!("{name}: {}\n", cut(value, 500)))
    };
    let headers: String = ["content-type", "location", "x-tagout-denied"]
        .into_iter()
        .filter_map(header)
        .collect();
    let mut body = Vec::new();
    while body.len() <= SHOWN_BYTES_MAX
        && let Some(chunk) = response.chunk().await.map_err(|error| error.to_string())?
    {
        body.extend_from_slice(&chunk);
    }
    let text = String::from_utf8_lossy(&body);
    let shown = cut(&text, SHOWN_BYTES_MAX);
    let note = if shown.len() < text.len() {
        "\n(the rest is left out)"
    } else {
        ""
    };
    Ok(format!(
        "status {status}\n{headers}{}{note}",
        fence("output", shown)
    ))
}
