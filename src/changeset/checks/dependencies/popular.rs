//! Names that look like a popular one.
//! It must never call a popular name itself a look-alike.

/// Much used names of Rust, Node and Python, in lower case with dashes: those that look-alikes have been made of most often.
const POPULAR: &[&str] = &[
    "anyhow",
    "async-trait",
    "base64",
    "bytes",
    "chrono",
    "clap",
    "crossbeam",
    "futures",
    "hyper",
    "itertools",
    "lazy-static",
    "libc",
    "log",
    "num-traits",
    "once-cell",
    "openssl",
    "parking-lot",
    "proc-macro2",
    "rand",
    "rayon",
    "regex",
    "reqwest",
    "rustls",
    "serde",
    "serde-json",
    "serde-yaml",
    "sha2",
    "syn",
    "tempfile",
    "thiserror",
    "tokio",
    "tracing",
    "uuid",
    "winapi",
    "ansi-styles",
    "axios",
    "babel-core",
    "body-parser",
    "chalk",
    "commander",
    "cross-env",
    "debug",
    "discord.js",
    "dotenv",
    "electron",
    "eslint",
    "express",
    "fs-extra",
    "glob",
    "jquery",
    "jsonwebtoken",
    "lodash",
    "minimist",
    "moment",
    "mongoose",
    "mysql",
    "next",
    "node-fetch",
    "nodemailer",
    "prettier",
    "prop-types",
    "react",
    "react-dom",
    "redux",
    "request",
    "rimraf",
    "rxjs",
    "semver",
    "socket.io",
    "typescript",
    "underscore",
    "vue",
    "webpack",
    "yargs",
    "beautifulsoup4",
    "boto3",
    "botocore",
    "certifi",
    "charset-normalizer",
    "click",
    "colorama",
    "cryptography",
    "django",
    "fastapi",
    "flask",
    "idna",
    "jinja2",
    "matplotlib",
    "numpy",
    "openai",
    "pandas",
    "pillow",
    "pip",
    "psutil",
    "psycopg2",
    "pydantic",
    "pygments",
    "pytest",
    "python-dateutil",
    "pyyaml",
    "requests",
    "scikit-learn",
    "scipy",
    "selenium",
    "setuptools",
    "sqlalchemy",
    "tensorflow",
    "torch",
    "tqdm",
    "transformers",
    "urllib3",
    "virtualenv",
    "werkzeug",
    "wheel",
];

/// Shorter names are near to each other by chance.
const NAME_CHARS_MIN: usize = 5;

/// The popular name that another name could be taken for.
pub(super) fn looks_like(name: &str) -> Option<&'static str> {
    let name = name.to_lowercase().replace('_', "-");
    if name.chars().count() < NAME_CHARS_MIN || POPULAR.contains(&name.as_str()) {
        return None;
    }
    POPULAR
        .iter()
        .copied()
        .filter(|popular| popular.len() >= NAME_CHARS_MIN)
        .find(|popular| is_near(name.as_bytes(), popular.as_bytes()))
}

/// One letter more, less or other, or two neighbours swapped.
fn is_near(one: &[u8], other: &[u8]) -> bool {
    let same = one.iter().zip(other).take_while(|(a, b)| a == b).count();
    let (one, other) = (
        one.get(same..).unwrap_or_default(),
        other.get(same..).unwrap_or_default(),
    );
    match (one, other) {
        ([], [_]) | ([_], []) => true,
        ([a, rest @ ..], [b, others @ ..]) => {
            rest == others
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
        for (name, popular) in [
            ("reqeusts", "requests"),
            ("reqests", "requests"),
            ("lodahs", "lodash"),
            ("expresss", "express"),
            ("serde_jsom", "serde-json"),
            ("tokioo", "tokio"),
            ("crossenv", "cross-env"),
        ] {
            assert_eq!(looks_like(name), Some(popular), "{name}");
        }
        for name in [
            "requests",
            "tokio",
            "hyper-util",
            "left-pad",
            "left",
            "lodash-es",
            "serde_json",
            "rand",
            "land",
        ] {
            assert_eq!(looks_like(name), None, "{name}");
        }
    }
}
