//! The kinds of text that a policy may hold, a check each, with the way to mend what it refuses.
//! It must never accept a text that a later room would have to look at twice: no NUL, no `..`, no reserved name.

use globset::GlobBuilder;

use super::host::{self, Host, Wrong};
use super::model::{Credential, HostPattern};
use super::path::{self, Shape};
use super::verdict;

/// What a check answers.
pub type Check = Result<(), Wrong>;

/// Longest free text (a prompt) in bytes.
pub const TEXT_BYTES_MAX: usize = 64 << 10;
/// Longest name, label, path or pattern in bytes.
pub const NAME_BYTES_MAX: usize = 1024;

fn wrong(text: &str, what: &str, mend: &str) -> Check {
    // A long or hostile text is not repeated whole in a message.
    let shown: String = text.chars().filter(|c| !c.is_control()).take(60).collect();
    let dots = if shown.len() < text.len() { "..." } else { "" };
    Err((format!("`{shown}{dots}` {what}"), mend.to_owned()))
}

fn bounded(text: &str, most: usize, mend: &str) -> Check {
    if text.trim().is_empty() {
        return Err(("the text is empty".to_owned(), mend.to_owned()));
    }
    if text.len() > most {
        return wrong(text, &format!("is longer than {most} bytes"), "shorten it");
    }
    if text.contains('\0') {
        return wrong(text, "holds a NUL character", "remove it");
    }
    Ok(())
}

/// One line of at most [`NAME_BYTES_MAX`] bytes without control characters.
pub fn line(text: &str) -> Check {
    bounded(text, NAME_BYTES_MAX, "write a word, or leave the key out")?;
    if text.chars().any(char::is_control) {
        return wrong(text, "holds a control character", "write it on one line");
    }
    Ok(())
}

/// A policy that can be built on: one that is built in, or a file of the same commit.
pub fn extended(text: &str) -> Check {
    let names: Vec<&str> = super::parse::extend::BUILT_IN
        .iter()
        .map(|(name, _)| *name)
        .collect();
    if names.contains(&text) {
        return Ok(());
    }
    if super::parse::extend::is_file(text) {
        return Ok(());
    }
    let mend = format!(
        "use {}, or a file like .github/policies/base.yml",
        names.join(" or ")
    );
    wrong(
        text,
        "is neither a policy that is built in nor a YAML file below .github/",
        &mend,
    )
}

/// Any text that is not empty, such as a prompt or a shell command.
pub fn prose(text: &str) -> Check {
    bounded(text, TEXT_BYTES_MAX, "write a text, or leave the key out")
}

/// An argument of a command; it may be empty.
pub fn argument(text: &str) -> Check {
    if text.is_empty() {
        Ok(())
    } else {
        prose_or_blank(text)
    }
}

fn prose_or_blank(text: &str) -> Check {
    if text.contains('\0') || text.len() > TEXT_BYTES_MAX {
        return wrong(text, "holds a NUL character or is too long", "shorten it");
    }
    Ok(())
}

/// Lower-case words joined by single hyphens.
pub fn kebab(text: &str) -> Check {
    let word = |word: &str| {
        !word.is_empty()
            && word
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    if text.len() <= 64 && text.split('-').all(word) {
        return Ok(());
    }
    wrong(
        text,
        "is not a name in kebab-case",
        "use lower-case letters, digits and single hyphens, as in update-deps",
    )
}

/// The word that a comment starts with: a slash and a kebab-case name.
pub fn command_word(text: &str) -> Check {
    match text.strip_prefix('/') {
        Some(rest) if kebab(rest).is_ok() => Ok(()),
        Some(_) | None => wrong(
            text,
            "is not a command word",
            "write a slash and a name in kebab-case, as in /tagout",
        ),
    }
}

/// A GitHub login.
pub fn login(text: &str) -> Check {
    let letters = text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if letters && (1..=39).contains(&text.len()) && !text.starts_with('-') && !text.ends_with('-') {
        return Ok(());
    }
    wrong(
        text,
        "is not a GitHub login",
        "write the login alone, without @",
    )
}

/// A login, or `team/SLUG`.
pub fn reviewer(text: &str) -> Check {
    match text.split_once('/') {
        Some(("team", slug)) if kebab(&slug.to_ascii_lowercase().replace('_', "-")).is_ok() => {
            Ok(())
        }
        Some(_) => wrong(
            text,
            "is not a reviewer",
            "write a login, or team/SLUG for a team of the owner",
        ),
        None => login(text),
    }
}

/// A label of GitHub: at most 50 characters on one line.
pub fn label(text: &str) -> Check {
    line(text)?;
    if text.chars().count() > 50 {
        return wrong(
            text,
            "is longer than 50 characters",
            "shorten it; GitHub takes no longer label",
        );
    }
    Ok(())
}

/// A POSIX cron line of five fields, as `on.schedule` of a workflow takes it.
pub fn cron(text: &str) -> Check {
    let field = |field: &str| {
        !field.is_empty()
            && field
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'*' | b',' | b'-' | b'/'))
    };
    if text.split(' ').count() == 5 && text.split(' ').all(field) {
        return Ok(());
    }
    wrong(
        text,
        "is not a cron line",
        "write the five fields as in the workflow's `on.schedule`, for example \"17 4 * * 1\"",
    )
}

/// A glob over paths of the repository.
pub fn glob(text: &str) -> Check {
    relative(text)?;
    match GlobBuilder::new(text).literal_separator(true).build() {
        Ok(_) => Ok(()),
        Err(error) => wrong(
            text,
            &format!("is not a glob: {}", error.kind()),
            "use *, ** and ? as in `src/**/*.rs`",
        ),
    }
}

/// A path inside the workspace.
pub fn relative(text: &str) -> Check {
    line(text)?;
    if text.starts_with('/') || text.starts_with('~') {
        return wrong(
            text,
            "is not inside the workspace",
            "write it relative to the repository's root",
        );
    }
    if text.contains('\\') {
        return wrong(text, "holds a backslash", "separate folders by /");
    }
    let odd = |part: &str| matches!(part, "" | "." | "..");
    if text.strip_suffix('/').unwrap_or(text).split('/').any(odd) {
        return wrong(
            text,
            "has an empty part, `.` or `..`",
            "write the path without them",
        );
    }
    Ok(())
}

/// A path of the host.
pub fn absolute(text: &str) -> Check {
    line(text)?;
    let Some(rest) = text.strip_prefix('/') else {
        return wrong(
            text,
            "is not an absolute path",
            "write it from the first /; the workspace is always there",
        );
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.is_empty() {
        return wrong(
            text,
            "is the whole system",
            "name the folders that are needed",
        );
    }
    if rest.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return wrong(
            text,
            "has an empty part, `.` or `..`",
            "write the path without them",
        );
    }
    Ok(())
}

/// A path of the host that may be written: not where kernel and devices are.
pub fn writable(text: &str) -> Check {
    absolute(text)?;
    let first = text.split('/').nth(1).unwrap_or_default();
    if matches!(first, "proc" | "sys" | "dev" | "run" | "boot") {
        return wrong(
            text,
            "belongs to the kernel or to other services",
            "name a folder that holds data",
        );
    }
    Ok(())
}

/// A branch, or a glob over branches.
pub fn base(text: &str) -> Check {
    ref_name(text, "write a branch as main, or a glob as release/*")?;
    match GlobBuilder::new(text).literal_separator(true).build() {
        Ok(_) => Ok(()),
        Err(error) => wrong(
            text,
            &format!("is not a glob: {}", error.kind()),
            "write a branch as main, or a glob as release/*",
        ),
    }
}

/// The first part of a branch's name. It must end in a separator, so that no other branch starts alike by chance.
pub fn branch_prefix(text: &str) -> Check {
    let mend = "write a word and a slash, as in tagout/";
    ref_name(text.trim_end_matches('/'), mend)?;
    if text.contains('*') || text.ends_with("//") || text.len() < 2 || !text.ends_with(['/', '-']) {
        return wrong(text, "is not a prefix for branches", mend);
    }
    if text.starts_with("refs/") {
        return wrong(text, "names a ref, not a branch", mend);
    }
    Ok(())
}

/// What `git check-ref-format --branch` accepts, `*` besides.
fn ref_name(text: &str, mend: &str) -> Check {
    line(text)?;
    let part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && !part.ends_with(".lock")
            && !part.ends_with('.')
    };
    let banned = |c: char| {
        c.is_control() || c.is_whitespace() || matches!(c, '~' | '^' | ':' | '?' | '[' | '\\')
    };
    let bad = text.starts_with('-')
        || text.contains("..")
        || text.contains("@{")
        || text == "@"
        || text.contains(banned);
    if text.len() > 200 || bad || !text.split('/').all(part) {
        return wrong(text, "is not a name that git allows for a branch", mend);
    }
    Ok(())
}

/// A variable's name that neither GitHub nor the runner owns.
fn variable(text: &str) -> Check {
    let first = text
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    if !first || text.len() > 128 || !text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return wrong(
            text,
            "is not the name of a variable",
            "use letters, digits and underscores",
        );
    }
    let upper = text.to_ascii_uppercase();
    if ["GITHUB_", "ACTIONS_", "RUNNER_"]
        .iter()
        .any(|prefix| upper.starts_with(prefix))
    {
        return wrong(
            text,
            "belongs to the runner, whose variables never reach an agent",
            "remove it",
        );
    }
    Ok(())
}

/// A variable that the agent may see.
pub fn visible_variable(text: &str) -> Check {
    variable(text)?;
    if is_credential(text) {
        return wrong(
            text,
            "sounds like a credential, and credentials never reach an agent",
            "remove it; a rule's `credential` puts one on the wire outside of the walls",
        );
    }
    Ok(())
}

/// A variable that holds a key for the egress.
pub fn secret_variable(text: &str) -> Check {
    variable(text)
}

/// Whether the name of a variable says that it holds a credential.
#[must_use]
pub fn is_credential(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    let inside = [
        "TOKEN",
        "SECRET",
        "PASSWORD",
        "PASSWD",
        "PASSPHRASE",
        "CREDENTIAL",
        "APIKEY",
        "PRIVATE_KEY",
        "ACCESS_KEY",
    ];
    let whole = [
        "AUTH",
        "PAT",
        "DSN",
        "COOKIE",
        "COOKIES",
        "PASS",
        "PWD_FILE",
        "NETRC",
        "KUBECONFIG",
    ];
    let last = upper.rsplit('_').next().unwrap_or_default();
    inside.iter().any(|part| upper.contains(part))
        || upper.split('_').any(|word| whole.contains(&word))
        || matches!(last, "KEY" | "KEYS")
        || matches!(
            upper.as_str(),
            "DATABASE_URL" | "REDIS_URL" | "MONGODB_URI" | "GNUPGHOME" | "DOCKER_CONFIG"
        )
}

/// The host of a rule.
pub fn host(text: &str) -> Check {
    let pattern = host::pattern(text)?;
    let HostPattern::Address(address) = pattern else {
        return Ok(());
    };
    let class = super::address::class_of(address);
    if class.may_be_dialled(true) {
        return Ok(());
    }
    wrong(
        text,
        &format!("is a {class} address, which is never dialled"),
        "name the host instead",
    )
}

/// A path of a rule.
pub fn path(text: &str) -> Check {
    path::pattern(text).map(|_pattern| ())
}

/// A method of a rule.
pub fn method(text: &str) -> Check {
    if !verdict::is_method(text) {
        return wrong(text, "is not an HTTP method", "write it as in GET");
    }
    if text.bytes().any(|b| b.is_ascii_lowercase()) {
        let mend = format!("write {}", text.to_ascii_uppercase());
        return wrong(
            text,
            "is not in upper case, and methods are case-sensitive",
            &mend,
        );
    }
    if matches!(text, "CONNECT" | "TRACE" | "TRACK") {
        return wrong(
            text,
            "is not a method that can be allowed",
            "remove it; a tunnel is `tls: tunnel`",
        );
    }
    Ok(())
}

/// The header that a credential is put in.
pub fn credential_header(text: &str) -> Check {
    if !verdict::is_method(text) || text.bytes().any(|b| b.is_ascii_uppercase()) {
        return wrong(
            text,
            "is not a header's name in lower case",
            "write it as in authorization",
        );
    }
    let owned = [
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "te",
        "trailer",
        "upgrade",
        "expect",
        "keep-alive",
    ];
    if owned.contains(&text) || text.starts_with("proxy-") {
        return wrong(
            text,
            "is a header that the connection itself needs",
            "use the header that the service documents",
        );
    }
    Ok(())
}

/// The value of a credential: printable ASCII with exactly one `${NAME}`.
pub fn credential_value(text: &str) -> Check {
    // What stands here may be a secret that was written by mistake: no message repeats it.
    let refuse = |what: &str, mend: &str| Err((what.to_owned(), mend.to_owned()));
    if !text.bytes().all(|b| matches!(b, b' '..=b'~')) || text.len() > NAME_BYTES_MAX {
        return refuse(
            "the value is not printable ASCII",
            "write it on one line, as in \"Bearer ${EXAMPLE_KEY}\"",
        );
    }
    let Some(name) = credential_variable(text) else {
        return refuse(
            "the value does not hold exactly one variable",
            "name the variable once, as in \"Bearer ${EXAMPLE_KEY}\"; a secret itself is never written in a policy",
        );
    };
    secret_variable(name)
}

/// The one variable of a credential's value.
fn credential_variable(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("${")?;
    let (name, after) = rest.split_once('}')?;
    (!name.is_empty() && !after.contains("${")).then_some(name)
}

/// A credential of two texts that were checked.
#[must_use]
pub fn credential(header: &str, value: &str) -> Option<Credential> {
    Some(Credential {
        header: header.to_owned(),
        value: value.to_owned(),
        variable: credential_variable(value)?.to_owned(),
    })
}

/// The base of a model's endpoint.
pub fn base_url(text: &str) -> Check {
    let mend = "write it as in https://api.example.com/v1";
    let (clear, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
        (Some(rest), _) => (false, rest),
        (None, Some(rest)) => (true, rest),
        (None, None) => return wrong(text, "is not a URL of a model over https", mend),
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let Ok((host, _)) = super::request::authority(authority, 443) else {
        return wrong(text, "has no host that can be read without doubt", mend);
    };
    let loopback = match host::read(host) {
        Ok(Host::Address(address)) => address.is_loopback(),
        Ok(Host::Name(_)) => false,
        Err(fault) => {
            return wrong(
                text,
                &format!("has a host that cannot be used: {fault}"),
                mend,
            );
        }
    };
    if clear && !loopback {
        return wrong(
            text,
            "is in clear, and a key goes over TLS only",
            "use https, or a loopback address such as http://127.0.0.1:8080/v1",
        );
    }
    if !path.is_empty() && path::shape(path) != Shape::Plain || path.contains('*') {
        return wrong(
            text,
            "has a path that can be read in more than one way, or a query",
            mend,
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(check: fn(&str) -> Check, good: &[&str], bad: &[&str]) {
        for text in good {
            assert_eq!(check(text), Ok(()), "{text}");
        }
        for text in bad {
            assert!(check(text).is_err(), "{text:?} passed");
        }
    }

    #[test]
    fn each_kind_of_text_passes_and_is_refused() {
        holds(
            kebab,
            &["update-deps", "a1"],
            &["", "Update", "a--b", "-a", "a_b", "a b"],
        );
        holds(
            command_word,
            &["/tagout", "/fix-it"],
            &["tagout", "/", "/Tag", "//x", "/a b"],
        );
        holds(
            login,
            &["octocat", "a-b", "mona_corp"],
            &["", "@octocat", "-a", "a b", "dependabot[bot]"],
        );
        holds(
            reviewer,
            &["octocat", "team/core", "team/a_b"],
            &["org/core", "team/", "team/a/b"],
        );
        holds(
            cron,
            &["17 4 * * 1", "*/5 0-3 1,2 JAN MON"],
            &[
                "",
                "@daily",
                "1 2 3 4",
                "1 2 3 4 5 6",
                "1  2 3 4 5",
                "a;b * * * *",
            ],
        );
        holds(
            glob,
            &["**", "src/**/*.rs", "a/", ".github"],
            &["", "/a", "../a", "a/../b", "a//b", "[", "a\\b", "{a", "./a"],
        );
        holds(
            absolute,
            &["/opt/x", "/opt/x/"],
            &["", "/", "opt", "/a/../b", "//", "~/x", "/a\0"],
        );
        holds(
            writable,
            &["/var/cache/x"],
            &["/proc/1", "/sys", "/dev/shm", "/run/x"],
        );
        holds(
            base,
            &["main", "release/*", "v1.x"],
            &[
                "", "-x", "a..b", "a b", "a.lock", "/a", "a/", "@", "a~1", "[ab]",
            ],
        );
        holds(
            branch_prefix,
            &["tagout/", "bot/tagout/", "tagout-"],
            &[
                "",
                "/",
                "tagout",
                "refs/heads/",
                "a b/",
                "a//",
                "*/",
                "-a/",
                ".a/",
                "..//",
            ],
        );
    }

    #[test]
    fn credentials_and_the_runners_variables_are_not_for_agents() {
        holds(
            visible_variable,
            &["LANG", "CI", "MONKEY", "GIT_AUTHOR_NAME", "keyboard"],
            &[
                "GITHUB_TOKEN",
                "github_sha",
                "ACTIONS_RUNTIME_URL",
                "RUNNER_TEMP",
                "OPENAI_API_KEY",
                "NPM_TOKEN",
                "AWS_SECRET_ACCESS_KEY",
                "SSH_AUTH_SOCK",
                "GH_PAT",
                "PGPASSWORD",
                "DATABASE_URL",
                "1A",
                "A=B",
                "",
                "A B",
                "my_secret",
                "KUBECONFIG",
            ],
        );
        holds(
            secret_variable,
            &["OPENAI_API_KEY"],
            &["GITHUB_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "a-b"],
        );
        holds(
            credential_value,
            &["Bearer ${KEY}", "${KEY}"],
            &[
                "Bearer abc",
                "${A}${B}",
                "${}",
                "$KEY",
                "${GITHUB_TOKEN}",
                "a\n${KEY}",
                "${A",
                "é${KEY}",
            ],
        );
        holds(
            credential_header,
            &["authorization", "x-api-key"],
            &[
                "Authorization",
                "host",
                "proxy-authorization",
                "a b",
                "",
                "content-length",
            ],
        );
    }

    #[test]
    fn network_texts_pass_and_are_refused() {
        holds(
            method,
            &["GET", "PROPFIND"],
            &["get", "Get", "", "G T", "CONNECT", "TRACE", "GET\r"],
        );
        holds(
            host,
            &["a.example", "127.0.0.1", "10.0.0.1"],
            &["169.254.169.254", "0.0.0.0", "224.0.0.1", "*"],
        );
        holds(
            base_url,
            &[
                "https://api.example.com",
                "https://api.example.com/v1",
                "https://api.example.com:8443/v1/",
                "http://127.0.0.1:80/v1",
                "http://[::1]:8080",
            ],
            &[
                "api.example.com",
                "http://api.example.com/v1",
                "http://localhost/v1",
                "http://10.0.0.1/",
                "https://a@b/",
                "https://",
                "https:///v1",
                "https://a.example/?x",
                "https://a.example/../v1",
                "ftp://a.example",
                "https://a.example:0/",
                "https://a.example:99999/",
                "http://2130706433/",
            ],
        );
    }
}
