//! What each tool is asked, and how its answer is read. The answer is text of a program: only URLs are taken out of it.
//! It must never name a host: where packages lie is for the tools to say.

use serde_json::Value;

use super::Told;
use crate::policy::registry::{Part, Tool};

/// The name of a package that no index has; tools that do not print where they look say it when they look for this.
const NOTHING: &str = "tagout-asks-for-nothing";

/// What one tool is asked.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) tool: Tool,
    /// The user's configuration: the variable that names the file, or a folder and the file in it, if there is one, and its usual path below HOME.
    pub(super) files: &'static [(&'static str, &'static str)],
    /// The system's configuration.
    pub(super) system: &'static [&'static str],
    /// Variables of the runner that configure it.
    pub(super) variables: &'static [&'static str],
    /// Runs in an empty folder, with HOME a folder that holds nothing but `files`; 127 where the tool is not installed.
    pub(super) script: &'static str,
    /// Takes the URLs out of the answer.
    pub(super) read: fn(&str) -> Vec<Told>,
}

/// The table; `git` is not in it, for it has no registry.
pub(super) static QUESTIONS: &[Question] = &[
    Question {
        tool: Tool::Cargo,
        files: &[("CARGO_HOME/config.toml", ".cargo/config.toml")],
        system: &[],
        variables: &["CARGO_REGISTRY_DEFAULT", "CARGO_REGISTRIES_CRATES_IO_PROTOCOL"],
        // The second command is for nightly only, unless it is asked for like this; where it fails the first has said enough.
        script: "export CARGO_HOME=\"$HOME/.cargo\" CARGO_NET_RETRY=0 CARGO_TERM_COLOR=never
            mkdir src && : > src/lib.rs
            printf '[package]\\nname = \"asks\"\\nversion = \"0.0.0\"\\n[dependencies]\\ntagout-asks-for-nothing = \"*\"\\n' > Cargo.toml
            cargo generate-lockfile
            RUSTC_BOOTSTRAP=1 cargo -Zunstable-options config get --format json",
        read: cargo,
    },
    Question {
        tool: Tool::Npm,
        files: &[("NPM_CONFIG_USERCONFIG", ".npmrc")],
        system: &["/etc/npmrc"],
        variables: &["npm_config_registry", "NPM_CONFIG_REGISTRY"],
        script: "npm config ls -l --json",
        read: npm,
    },
    Question {
        tool: Tool::Pip,
        files: &[
            ("PIP_CONFIG_FILE", ".config/pip/pip.conf"),
            ("", ".pip/pip.conf"),
        ],
        system: &["/etc/pip.conf", "/etc/xdg/pip/pip.conf"],
        variables: &["PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX"],
        script: "command -v pip > /dev/null || pip() { pip3 \"$@\"; }
            pip download -vv --retries 0 --timeout 1 --no-deps --no-input --no-cache-dir --disable-pip-version-check \
              --dest d tagout-asks-for-nothing",
        read: pip,
    },
    Question {
        tool: Tool::Yarn,
        files: &[("", ".yarnrc"), ("", ".yarnrc.yml"), ("NPM_CONFIG_USERCONFIG", ".npmrc")],
        system: &[],
        variables: &["YARN_REGISTRY", "YARN_NPM_REGISTRY_SERVER", "npm_config_registry"],
        script: "case $(yarn --version) in
              '') exit 127;;
              1.*) yarn config get registry;;
              *) yarn config get npmRegistryServer;;
            esac",
        read: lines,
    },
    Question {
        tool: Tool::Pnpm,
        files: &[("NPM_CONFIG_USERCONFIG", ".npmrc"), ("", ".config/pnpm/rc")],
        system: &[],
        variables: &["npm_config_registry", "NPM_CONFIG_REGISTRY"],
        // `config get` does not know pnpm's own file.
        script: "pnpm config list",
        read: pnpm,
    },
    Question {
        tool: Tool::Uv,
        files: &[("", ".config/uv/uv.toml")],
        system: &["/etc/uv/uv.toml"],
        variables: &["UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL"],
        script: "echo tagout-asks-for-nothing > r.in
            UV_HTTP_RETRIES=0 uv pip compile --no-cache --no-progress --no-python-downloads r.in",
        read: uv,
    },
    Question {
        tool: Tool::Go,
        files: &[("", ".config/go/env")],
        system: &[],
        variables: &["GOPROXY", "GOSUMDB", "GONOSUMDB", "GONOSUMCHECK", "GOFLAGS"],
        script: "GOTOOLCHAIN=local go env GOPROXY GOSUMDB",
        read: go,
    },
    Question {
        tool: Tool::Maven,
        files: &[("", ".m2/settings.xml")],
        system: &["/etc/maven"],
        variables: &[],
        // Java does not take its home from the environment, and the walls have told it of their own.
        script: "export JAVA_TOOL_OPTIONS=\"\\\"-Duser.home=$HOME\\\"\"
            printf '<project><modelVersion>4.0.0</modelVersion><parent><groupId>tagout.asks</groupId>\
                <artifactId>nothing</artifactId><version>1</version></parent><artifactId>a</artifactId></project>' > pom.xml
            mvn -B -e validate \"-Dmaven.repo.local=$HOME/repository\"",
        read: maven,
    },
    Question {
        tool: Tool::Rubygems,
        files: &[("", ".gemrc")],
        system: &["/etc/gemrc"],
        variables: &[],
        script: "gem sources --list",
        read: lines,
    },
    Question {
        tool: Tool::Nuget,
        files: &[("", ".nuget/NuGet/NuGet.Config")],
        system: &[],
        variables: &[],
        script: "export DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1; dotnet nuget list source --format Short",
        read: words,
    },
    Question {
        tool: Tool::Apt,
        files: &[],
        system: &[
            "/etc/apt/sources.list",
            "/etc/apt/sources.list.d",
            "/etc/apt/apt.conf",
            "/etc/apt/apt.conf.d",
        ],
        variables: &[],
        // `indextargets` tells only of lists that were fetched already.
        script: "mkdir -p state/lists/partial cache/archives/partial
            apt-get --print-uris update -o Dir::State=\"$PWD/state\" -o Dir::Cache=\"$PWD/cache\" \
              -o Dir::State::status=/dev/null",
        read: apt,
    },
];

fn told(part: Part, url: &str) -> Told {
    Told {
        part,
        url: url.to_owned(),
    }
}

fn is_url(text: &str) -> bool {
    text.starts_with("https://") || text.starts_with("http://")
}

/// A URL a line.
fn lines(text: &str) -> Vec<Told> {
    let lines = text.lines().map(str::trim).filter(|line| is_url(line));
    lines.map(|line| told(Part::Index, line)).collect()
}

/// URLs among other words.
fn words(text: &str) -> Vec<Told> {
    let words = text.split_whitespace().filter(|word| is_url(word));
    words.map(|word| told(Part::Index, word)).collect()
}

/// What stands between a text and a closing mark, wherever it stands.
fn between<'a>(text: &'a str, open: &'a str, close: char) -> impl Iterator<Item = &'a str> {
    text.split(open)
        .skip(1)
        .filter_map(move |rest| rest.split(close).next())
}

/// The address of an index as a configuration writes it.
fn index(address: &str) -> Option<Told> {
    match address.strip_prefix("sparse+") {
        Some(url) => is_url(url).then(|| told(Part::Index, url)),
        None => is_url(address).then(|| told(Part::Repository, address)),
    }
}

fn cargo(text: &str) -> Vec<Told> {
    let mut all = Vec::new();
    for url in between(text, "failed to download from `", '`') {
        if let Some(base) = url.strip_suffix("config.json") {
            all.push(told(Part::Index, base));
        }
    }
    for url in between(text, "failed to fetch `", '`').filter(|url| is_url(url)) {
        all.push(told(Part::Repository, url));
    }
    let configured = cargo_configuration(text);
    if let Some(registries) = configured["registries"].as_object() {
        let indices = registries.values().filter_map(|one| one["index"].as_str());
        all.extend(indices.filter_map(index));
    }
    all
}

/// The merged configuration of Cargo, the last line of its answer.
pub(super) fn cargo_configuration(text: &str) -> Value {
    let line = text.lines().rfind(|line| line.starts_with('{'));
    line.and_then(|line| serde_json::from_str(line).ok())
        .unwrap_or_default()
}

fn npm(text: &str) -> Vec<Told> {
    registries_of_npm(text)
        .into_iter()
        .map(|(_, url)| told(Part::Index, &url))
        .collect()
}

/// `registry` and `@scope:registry` with their URLs.
pub(super) fn registries_of_npm(text: &str) -> Vec<(String, String)> {
    let json = text
        .find('{')
        .zip(text.rfind('}'))
        .and_then(|(from, to)| text.get(from..=to))
        .and_then(|json| serde_json::from_str::<Value>(json).ok())
        .unwrap_or_default();
    let Some(all) = json.as_object() else {
        return Vec::new();
    };
    let mine = all.iter().filter(|(key, _)| {
        *key == "registry" || key.starts_with('@') && key.ends_with(":registry")
    });
    mine.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .filter(|(_, url)| is_url(url))
        .collect()
}

/// The default registry. Registries of scopes are not taken: pnpm lists one that nobody configured.
fn pnpm(text: &str) -> Vec<Told> {
    let registries = text
        .lines()
        .filter_map(|line| line.strip_prefix("registry="));
    registries
        .filter(|url| is_url(url))
        .map(|url| told(Part::Index, url))
        .collect()
}

fn pip(text: &str) -> Vec<Told> {
    let listed = text.lines().filter_map(|line| line.strip_prefix("* "));
    let project = format!("{NOTHING}/");
    listed
        .filter(|url| is_url(url))
        .map(|url| match url.strip_suffix(&project) {
            Some(index) => told(Part::Index, index),
            None => told(Part::Files, url),
        })
        .collect()
}

fn uv(text: &str) -> Vec<Told> {
    let project = format!("{NOTHING}/");
    text.split(|c: char| c.is_whitespace() || matches!(c, '`' | '(' | ')'))
        .filter(|word| is_url(word))
        .map(|word| told(Part::Index, word.trim_end_matches(&project)))
        .collect()
}

fn go(text: &str) -> Vec<Told> {
    let mut lines = text.lines();
    let proxies = lines.next().unwrap_or_default().split([',', '|']);
    let mut all: Vec<Told> = proxies
        .filter(|proxy| is_url(proxy))
        .map(|proxy| told(Part::Index, proxy))
        .collect();
    // `NAME`, `NAME+KEY`, either with a URL after a space, or `off`.
    let mut sums = lines.next().unwrap_or_default().split_whitespace();
    let is_host = |name: &&str| {
        name.contains('.')
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
    };
    let name = sums
        .next()
        .and_then(|word| word.split('+').next())
        .filter(is_host);
    match (sums.next(), name) {
        (Some(url), Some(_)) if is_url(url) => all.push(told(Part::Files, url)),
        (None, Some(name)) => all.push(told(Part::Files, &format!("https://{name}/"))),
        (Some(_) | None, Some(_) | None) => {}
    }
    all
}

fn maven(text: &str) -> Vec<Told> {
    let named = between(text, " from/to ", ')').filter_map(|rest| rest.split_once('('));
    let mut all: Vec<Told> = named.map(|(_, url)| told(Part::Index, url)).collect();
    all.sort();
    all.dedup();
    all
}

/// The list of each suite: `'https://host/debian/dists/stable/InRelease' ...`, or without `dists` for a flat one.
fn apt(text: &str) -> Vec<Told> {
    let quoted = text
        .lines()
        .filter_map(|line| line.strip_prefix('\'')?.split('\'').next());
    let mut all: Vec<Told> = quoted
        .filter_map(|url| url.strip_suffix("InRelease"))
        .filter(|url| is_url(url))
        .map(|url| match url.split_once("/dists/") {
            Some((base, _)) => told(Part::Index, base),
            None => told(Part::Index, url.trim_end_matches("./")),
        })
        .collect();
    all.sort();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(told: Vec<Told>) -> Vec<(Part, String)> {
        told.into_iter().map(|one| (one.part, one.url)).collect()
    }

    #[test]
    fn nothing_but_urls_is_taken_from_an_answer() {
        let text = "  download of config.json failed\n  failed to download from `https://i.example/x/config.json`\n  failed to fetch `https://g.example/index`\n{\"registries\":{\"a\":{\"index\":\"sparse+https://a.example/\",\"token\":\"canary\"},\"b\":{\"index\":\"file:///x\"}}}\n";
        assert_eq!(
            urls(cargo(text)),
            [
                (Part::Index, "https://i.example/x/".to_owned()),
                (Part::Repository, "https://g.example/index".to_owned()),
                (Part::Index, "https://a.example/".to_owned()),
            ]
        );
        let text = "npm warn x\n{\"registry\": \"https://r.example/\", \"@s:registry\": \"https://s.example/\", \"proxy\": null, \"//r.example/:_authToken\": \"(protected)\"}\n";
        assert_eq!(
            urls(npm(text)),
            [
                (Part::Index, "https://s.example/".to_owned()),
                (Part::Index, "https://r.example/".to_owned()),
            ]
        );
        let text = format!(
            "2 location(s) to search for versions of {NOTHING}:\n* https://p.example/simple/{NOTHING}/\n* https://f.example/wheels/\n* /opt/wheels\n"
        );
        assert_eq!(
            urls(pip(&text)),
            [
                (Part::Index, "https://p.example/simple/".to_owned()),
                (Part::Files, "https://f.example/wheels/".to_owned()),
            ]
        );
        let text = format!("  cause: Failed to fetch: `https://p.example/simple/{NOTHING}/`\n");
        assert_eq!(
            urls(uv(&text)),
            [(Part::Index, "https://p.example/simple/".to_owned())]
        );
        assert_eq!(
            urls(go(
                "https://a.example|https://b.example,direct\nsum.example+key\n"
            )),
            [
                (Part::Index, "https://a.example".to_owned()),
                (Part::Index, "https://b.example".to_owned()),
                (Part::Files, "https://sum.example/".to_owned()),
            ]
        );
        assert_eq!(urls(go("off\noff\n")), []);
        let text = "transfer x from/to central (https://m.example/2): y from/to central (https://m.example/2)";
        assert_eq!(
            urls(maven(text)),
            [(Part::Index, "https://m.example/2".to_owned())]
        );
        let text = "'https://d.example/debian/dists/a/InRelease' d 0 \n'https://d.example/debian/dists/b/InRelease' d 0 \n'https://d.example/debian/dists/a/main/Packages.xz' d 0 \n'https://f.example/x/./InRelease' f 0 \n";
        assert_eq!(
            urls(apt(text)),
            [
                (Part::Index, "https://d.example/debian".to_owned()),
                (Part::Index, "https://f.example/x/".to_owned()),
            ]
        );
        for read in [cargo, npm, pnpm, pip, uv, go, maven, apt, lines, words] {
            assert_eq!(urls(read("error: no such command\n{}\n")), []);
        }
    }
}
