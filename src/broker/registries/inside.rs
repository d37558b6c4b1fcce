//! The user's configuration of tools as it is shown inside: which registry, and nothing else of it.
//! It must never hold a credential: what is written here is readable by the agent.

use serde_json::Value;

use super::{Told, tools};
use crate::policy::registry::{Part, Tool};

/// Files below HOME that make a tool inside use what the tool outside named. Each is the weakest configuration that the
/// tool knows, so that a project's own still counts before it.
pub(super) fn files(tool: Tool, said: &str, told: &[Told]) -> Vec<(String, String)> {
    let index = |part| {
        let mut urls = told.iter().filter(move |one| one.part == part);
        urls.next().map(|one| bare(&one.url))
    };
    match tool {
        Tool::Cargo => cargo(said)
            .map(|text| (".cargo/config.toml".to_owned(), text))
            .into_iter()
            .collect(),
        Tool::Npm => {
            let lines: String = tools::registries_of_npm(said)
                .into_iter()
                .map(|(key, url)| format!("{key}={}\n", bare(&url)))
                .collect();
            vec![(".npmrc".to_owned(), lines)]
        }
        Tool::Pip => vec![(".config/pip/pip.conf".to_owned(), pip(told))],
        Tool::Uv => index(Part::Index)
            .map(|url| {
                (
                    ".config/uv/uv.toml".to_owned(),
                    format!("index-url = {}\n", quoted(&url)),
                )
            })
            .into_iter()
            .collect(),
        Tool::Go => {
            let proxies: Vec<String> = told
                .iter()
                .filter(|one| one.part == Part::Index)
                .map(|one| bare(&one.url))
                .collect();
            match proxies.as_slice() {
                [] => Vec::new(),
                _ => vec![(
                    ".config/go/env".to_owned(),
                    format!("GOPROXY={}\n", proxies.join(",")),
                )],
            }
        }
        Tool::Yarn | Tool::Pnpm | Tool::Maven | Tool::Rubygems | Tool::Nuget => {
            index(Part::Index).map_or_else(Vec::new, |url| of_one_index(tool, &url))
        }
        Tool::Apt | Tool::Git => Vec::new(),
    }
}

/// For tools that are told of one index.
fn of_one_index(tool: Tool, url: &str) -> Vec<(String, String)> {
    let file = |path: &str, text: String| (path.to_owned(), text);
    match tool {
        // The first line of Yarn reads the one, the later ones the other.
        Tool::Yarn => vec![
            file(".yarnrc", format!("registry {}\n", quoted(url))),
            file(
                ".yarnrc.yml",
                format!("npmRegistryServer: {}\n", quoted(url)),
            ),
        ],
        Tool::Pnpm => vec![file(".config/pnpm/rc", format!("registry={url}\n"))],
        Tool::Maven => vec![file(
            ".m2/settings.xml",
            format!(
                "<settings><mirrors><mirror><id>configured</id><mirrorOf>central</mirrorOf><url>{}</url></mirror></mirrors></settings>\n",
                escaped(url)
            ),
        )],
        Tool::Rubygems => vec![file(".gemrc", format!(":sources:\n- {}\n", quoted(url)))],
        Tool::Nuget => vec![file(
            ".nuget/NuGet/NuGet.Config",
            format!(
                "<configuration><packageSources><clear/><add key=\"configured\" value=\"{}\"/></packageSources></configuration>\n",
                escaped(url)
            ),
        )],
        Tool::Cargo | Tool::Npm | Tool::Pip | Tool::Uv | Tool::Go | Tool::Apt | Tool::Git => {
            Vec::new()
        }
    }
}

/// A URL in XML. Of the characters that count there a URL may hold these two.
fn escaped(url: &str) -> String {
    url.replace('&', "&amp;").replace('\'', "&apos;")
}

/// The URL without its user and password.
fn bare(url: &str) -> String {
    let Ok(mut url) = url::Url::parse(url) else {
        return String::new();
    };
    // They fail only for URLs that have no host, and then there is nothing to remove.
    if url.set_username("").is_err() || url.set_password(None).is_err() {
        return String::new();
    }
    url.set_query(None);
    url.to_string()
}

/// A text of TOML. JSON's escapes are TOML's (TOML 1.0, "Basic strings").
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn pip(told: &[Told]) -> String {
    let mut text = "[global]\n".to_owned();
    let urls = |part| {
        told.iter()
            .filter(move |one| one.part == part)
            .map(|one| bare(&one.url))
    };
    let mut indices = urls(Part::Index);
    if let Some(first) = indices.next() {
        text.push_str(&format!("index-url = {first}\n"));
    }
    let more: Vec<String> = indices.collect();
    if !more.is_empty() {
        text.push_str(&format!("extra-index-url = {}\n", more.join(" ")));
    }
    let links: Vec<String> = urls(Part::Files).collect();
    if !links.is_empty() {
        text.push_str(&format!("find-links = {}\n", links.join(" ")));
    }
    text
}

/// Replacements of sources and further registries of Cargo's configuration, by key; nothing else of it.
fn cargo(said: &str) -> Option<String> {
    let configured = tools::cargo_configuration(said);
    let mut text = String::new();
    let tables = [
        ("source", &["registry", "replace-with"][..]),
        ("registries", &["index"][..]),
    ];
    for (table, keys) in tables {
        for (name, entry) in configured[table].as_object().into_iter().flatten() {
            text.push_str(&format!("[{table}.{}]\n", quoted(name)));
            for key in keys {
                if let Some(value) = entry[*key].as_str() {
                    text.push_str(&format!("{key} = {}\n", quoted(&address(value))));
                }
            }
        }
    }
    (!text.is_empty()).then_some(text)
}

/// A name stays; an address loses its user and password.
fn address(value: &str) -> String {
    match value.strip_prefix("sparse+") {
        Some(url) => format!("sparse+{}", bare(url)),
        None if value.contains("://") => bare(value),
        None => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_credential_is_shown_inside() {
        let said = "x\n{\"source\":{\"crates-io\":{\"replace-with\":\"m\"},\"m\":{\"registry\":\"sparse+https://u:canary@m.example/i/\"}},\"registries\":{\"a\":{\"index\":\"https://canary@a.example/i\",\"token\":\"canary\"}},\"net\":{\"x\":\"canary\"}}\n";
        let told = [Told {
            part: Part::Index,
            url: "https://u:canary@p.example/simple/?canary".to_owned(),
        }];
        let npm =
            "{\"registry\": \"https://u:canary@r.example/\", \"//r.example/:_auth\": \"canary\"}";
        let mut all = String::new();
        for (tool, said) in [
            (Tool::Cargo, said),
            (Tool::Npm, npm),
            (Tool::Pip, ""),
            (Tool::Uv, ""),
            (Tool::Go, ""),
            (Tool::Yarn, ""),
            (Tool::Pnpm, ""),
            (Tool::Maven, ""),
            (Tool::Rubygems, ""),
            (Tool::Nuget, ""),
        ] {
            let files = files(tool, said, &told);
            assert!(!files.is_empty(), "{tool:?}");
            for (_, text) in files {
                assert!(text.contains("https://"), "{tool:?}");
                all.push_str(&text);
            }
        }
        assert!(!all.contains("canary"), "{all}");
        assert!(
            all.contains("registry = \"sparse+https://m.example/i/\""),
            "{all}"
        );
        assert!(all.contains("replace-with = \"m\""), "{all}");
        assert!(
            all.contains("index-url = https://p.example/simple/\n"),
            "{all}"
        );
        assert!(all.contains("registry=https://r.example/\n"), "{all}");
    }
}
