//! Where the files of an index lie, if not beside it: what Cargo's and Python's indices say themselves.
//! An index is believed in this one thing only, and what it names is held to the same rules as a tool's own answer.

use serde_json::Value;

use super::Told;
use crate::broker::egress::fetch::{Take, Wanted};
use crate::policy::registry::{Part, Tool};

/// What has to be fetched to know it; none where files lie with the index.
pub(super) fn question(tool: Tool, told: &Told) -> Option<Wanted> {
    if told.part != Part::Index {
        return None;
    }
    let base = told.url.trim_end_matches('/');
    match tool {
        Tool::Cargo => Some(Wanted {
            url: format!("{base}/config.json"),
            accept: "application/json",
            take: Take::Head,
        }),
        // Every index of Python's that holds anything holds pip.
        Tool::Pip | Tool::Uv => Some(Wanted {
            url: format!("{base}/pip/"),
            accept: "application/vnd.pypi.simple.v1+json, text/html;q=0.5",
            take: Take::Head,
        }),
        Tool::Npm
        | Tool::Yarn
        | Tool::Pnpm
        | Tool::Go
        | Tool::Maven
        | Tool::Rubygems
        | Tool::Nuget
        | Tool::Apt
        | Tool::Git => None,
    }
}

/// Where files lie by an answer.
pub(super) fn files(tool: Tool, answer: &[u8]) -> Option<Told> {
    let text = String::from_utf8_lossy(answer);
    let url = if tool == Tool::Cargo {
        let config: Value = serde_json::from_str(&text).ok()?;
        // The address is cut where names are filled in (The Cargo Book, "Index Configuration").
        let template = config["dl"].as_str()?;
        template.split('{').next()?.to_owned()
    } else {
        python(&text)?
    };
    let url = url::Url::parse(&url).ok()?;
    let base = match tool {
        Tool::Cargo => url.as_str().to_owned(),
        // Files of one index lie in as many folders as there are packages.
        _ => url.join("/").ok()?.to_string(),
    };
    Some(Told {
        part: Part::Files,
        url: base,
    })
}

/// The first address of a file in an answer of the simple API, in JSON (PEP 691) or HTML (PEP 503).
fn python(text: &str) -> Option<String> {
    if let Ok(page) = serde_json::from_str::<Value>(text) {
        return Some(page["files"][0]["url"].as_str()?.to_owned());
    }
    let at = text.find("href=\"https://")?;
    let rest = text.get(at + 6..)?;
    let end = rest.find(['"', '#'])?;
    rest.get(..end).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(tool: Tool, answer: &str) -> Option<String> {
        files(tool, answer.as_bytes()).map(|told| told.url)
    }

    #[test]
    fn index_says_where_its_files_lie() {
        let dl = |dl: &str| {
            url(
                Tool::Cargo,
                &format!("{{\"dl\": \"{dl}\", \"api\": \"https://x.example\"}}"),
            )
        };
        assert_eq!(
            dl("https://f.example/crates").as_deref(),
            Some("https://f.example/crates")
        );
        assert_eq!(
            dl("https://f.example/crates/{crate}/{version}").as_deref(),
            Some("https://f.example/crates/")
        );
        assert_eq!(url(Tool::Cargo, "<html>"), None);
        let json = "{\"files\": [{\"url\": \"https://f.example/a/b.whl\"}]}";
        assert_eq!(url(Tool::Pip, json).as_deref(), Some("https://f.example/"));
        let html = "<a href=\"https://f.example/a/b.whl#sha256=0\">b</a>";
        assert_eq!(url(Tool::Pip, html).as_deref(), Some("https://f.example/"));
        // Beside the index: nothing more is needed.
        assert_eq!(url(Tool::Pip, "<a href=\"../../b.whl\">b</a>"), None);
        assert_eq!(url(Tool::Pip, "{\"files\": []}"), None);
    }
}
