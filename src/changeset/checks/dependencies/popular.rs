//! Names that look like a popular one of the same ecosystem.
//! It must never call a popular name itself a look-alike, nor a real name that is near to one by chance.

use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Names by ecosystem, as `tests/popular/generate.py` writes them.
const LISTS: &str = include_str!("popular.txt");

/// Shorter names are near to each other by chance.
const NAME_CHARS_MIN: usize = 5;

/// A list of one ecosystem, sorted.
#[derive(Debug, Default)]
struct List {
    popular: Vec<&'static str>,
    /// Real names that would be taken for look-alikes.
    known: Vec<&'static str>,
}

static ECOSYSTEMS: LazyLock<BTreeMap<&'static str, List>> = LazyLock::new(|| {
    let mut lists: BTreeMap<&'static str, List> = BTreeMap::new();
    let mut section = "";
    for line in LISTS.lines().filter(|line| !line.starts_with('#')) {
        if let Some(title) = line.strip_prefix('[') {
            section = title.trim_end_matches(']');
            continue;
        }
        match section.strip_suffix(" known") {
            Some(ecosystem) => lists.entry(ecosystem).or_default().known.push(line),
            None => lists.entry(section).or_default().popular.push(line),
        }
    }
    lists
});

/// The section of the list for an owner of manifests.
fn ecosystem(owner: &str) -> Option<&'static str> {
    Some(match owner {
        "Cargo" => "cargo",
        "npm" | "Yarn" | "pnpm" | "Bun" => "npm",
        "Python" => "pypi",
        "Go" => "go",
        "RubyGems" => "rubygems",
        "Composer" => "composer",
        "Maven" | "Gradle" => "maven",
        "NuGet" => "nuget",
        _ => return None,
    })
}

/// The name as its registry compares it; of a Go module without the number of its version.
fn normal(ecosystem: &str, name: &str) -> String {
    let name = name.to_lowercase();
    match ecosystem {
        "cargo" => name.replace('_', "-"),
        "pypi" => name.replace(['_', '.'], "-"),
        "go" => match name.rsplit_once(['/', '.']) {
            Some((path, version)) if is_version(version) => path.to_owned(),
            _ => name,
        },
        _ => name,
    }
}

fn is_version(text: &str) -> bool {
    text.strip_prefix('v').is_some_and(|digits| {
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// The popular name that another name could be taken for.
pub(super) fn looks_like(owner: &str, name: &str) -> Option<&'static str> {
    let ecosystem = ecosystem(owner)?;
    let list = ECOSYSTEMS.get(ecosystem)?;
    let name = normal(ecosystem, name);
    let is_in = |names: &[&str]| names.binary_search(&name.as_str()).is_ok();
    if name.chars().count() < NAME_CHARS_MIN || is_in(&list.popular) || is_in(&list.known) {
        return None;
    }
    list.popular
        .iter()
        .copied()
        .find(|popular| is_near(name.as_bytes(), popular.as_bytes()))
}

/// One letter more, less or other, or two neighbours swapped. One digit for another is another version, no other name.
fn is_near(one: &[u8], other: &[u8]) -> bool {
    let same = one.iter().zip(other).take_while(|(a, b)| a == b).count();
    let (one, other) = (
        one.get(same..).unwrap_or_default(),
        other.get(same..).unwrap_or_default(),
    );
    match (one, other) {
        ([], [_]) | ([_], []) => true,
        ([a, rest @ ..], [b, others @ ..]) => {
            rest == others && !(a.is_ascii_digit() && b.is_ascii_digit())
                || rest == other
                || one == others
                || matches!((rest, others), ([c, rest @ ..], [d, others @ ..]) if a == d && b == c && rest == others)
        }
        ([], _) | (_, []) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn look_alikes_are_found_and_everyday_names_are_not() {
        for (owner, name, popular) in [
            ("Python", "reqeusts", "requests"),
            ("Python", "Reqests", "requests"),
            ("npm", "lodahs", "lodash"),
            ("Yarn", "expresss", "express"),
            ("npm", "@type/node", "@types/node"),
            ("Cargo", "serde_jsom", "serde-json"),
            ("Cargo", "tokioo", "tokio"),
            ("Go", "github.com/spf13/cobar", "github.com/spf13/cobra"),
            ("RubyGems", "nokogirl", "nokogiri"),
            ("Composer", "symfony/proces", "symfony/process"),
            ("Gradle", "org.slf4j:slf4j-apl", "org.slf4j:slf4j-api"),
            ("NuGet", "Newtonsof.Json", "newtonsoft.json"),
        ] {
            assert_eq!(looks_like(owner, name), Some(popular), "{name}");
        }
        for (owner, name) in [
            ("Python", "requests"),
            ("Cargo", "tokio"),
            ("Cargo", "hyper-util"),
            ("Cargo", "serde_json"),
            ("Cargo", "rand"),
            ("npm", "left-pad"),
            ("npm", "lodash-es"),
            ("npm", "preact"),
            ("npm", "@tsconfig/node17"),
            ("Python", "nvidia-cudnn-cu15"),
            ("Go", "gopkg.in/yaml.v4"),
            ("Go", "github.com/golang-jwt/jwt/v9"),
            // Each ecosystem has its own names.
            ("Cargo", "reqeusts"),
            ("Helm", "reqeusts"),
        ] {
            assert_eq!(looks_like(owner, name), None, "{name}");
        }
    }

    #[test]
    fn no_listed_name_is_a_look_alike_and_every_list_is_sorted() {
        for (ecosystem, list) in &*ECOSYSTEMS {
            assert!(!list.popular.is_empty(), "{ecosystem}");
            for names in [&list.popular, &list.known] {
                assert!(names.is_sorted(), "{ecosystem}");
                for name in names {
                    assert_eq!(normal(ecosystem, name), *name, "{ecosystem}");
                }
            }
        }
        for (owner, section) in [
            ("npm", "npm"),
            ("Python", "pypi"),
            ("Cargo", "cargo"),
            ("Go", "go"),
        ] {
            let list = &ECOSYSTEMS[section];
            assert!(list.popular.len() >= 900, "{section}");
            for name in list.popular.iter().chain(&list.known) {
                assert_eq!(looks_like(owner, name), None, "{name}");
            }
        }
    }

    #[test]
    fn crates_of_this_project_are_no_look_alikes() {
        let lock = include_str!("../../../../Cargo.lock");
        for name in lock
            .lines()
            .filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'))
        {
            assert_eq!(looks_like("Cargo", name), None, "{name}");
        }
    }
}
