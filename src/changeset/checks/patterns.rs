//! Credentials that can be known by their form: each service documents the beginning of its tokens.
//! It must never repeat what it found.

use std::sync::LazyLock;

use regex::bytes::{Regex, RegexSet};

/// What it is, and how it looks. A word boundary comes first, so that a longer word that ends so does not count.
const PATTERNS: &[(&str, &str)] = &[
    (
        "a private key",
        r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----",
    ),
    (
        "a GitHub token",
        r"\b(?:gh[pousr]_[A-Za-z0-9]{36,251}|github_pat_[A-Za-z0-9_]{50,})",
    ),
    (
        "a GitLab token",
        r"\b(?:glpat|gldt|glptt|glrt|glcbt|glsoat)-[A-Za-z0-9_.-]{20,}",
    ),
    ("an AWS access key", r"\b(?:AKIA|ASIA)[A-Z2-7]{16}\b"),
    ("a Google API key", r"\bAIza[A-Za-z0-9_-]{35}\b"),
    (
        "a Google OAuth token",
        r"\b(?:ya29\.[A-Za-z0-9_-]{30,}|GOCSPX-[A-Za-z0-9_-]{28})",
    ),
    ("an Azure storage key", r"AccountKey=[A-Za-z0-9+/]{86}=="),
    (
        "a Slack token",
        r"\bxox[abeoprs]-[A-Za-z0-9-]{20,}|\bxapp-[0-9]-[A-Z0-9]+-[0-9]+-[a-f0-9]{32,}",
    ),
    (
        "a Slack web hook",
        r"hooks\.slack\.com/(?:services|workflows)/[A-Za-z0-9+/]{40,}",
    ),
    (
        "a Discord web hook",
        r"discord(?:app)?\.com/api/webhooks/[0-9]{17,20}/[A-Za-z0-9_-]{60,}",
    ),
    (
        "a Stripe key",
        r"\b(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{20,}",
    ),
    ("an npm token", r"\bnpm_[A-Za-z0-9]{36}\b"),
    ("a PyPI token", r"\bpypi-AgE[A-Za-z0-9_-]{50,}"),
    ("a RubyGems key", r"\brubygems_[a-f0-9]{48}\b"),
    ("a NuGet key", r"\boy2[a-z0-9]{43}\b"),
    ("a Cargo registry token", r"\bcio[A-Za-z0-9]{32}\b"),
    (
        "a Docker Hub token",
        r"\bdckr_(?:pat|oat)_[A-Za-z0-9_-]{27,}",
    ),
    ("an Anthropic key", r"\bsk-ant-[a-z0-9]+-[A-Za-z0-9_-]{80,}"),
    (
        "an OpenAI key",
        r"\bsk-(?:proj|svcacct|admin)-[A-Za-z0-9_-]{40,}|\bsk-[A-Za-z0-9]{20}T3BlbkFJ[A-Za-z0-9]{20}",
    ),
    ("a Hugging Face token", r"\bhf_[A-Za-z0-9]{34,}\b"),
    (
        "a SendGrid key",
        r"\bSG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}\b",
    ),
    ("a Twilio key", r"\bSK[0-9a-f]{32}\b"),
    ("a Mailgun key", r"\bkey-[0-9a-f]{32}\b"),
    ("a Shopify token", r"\bshp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}\b"),
    (
        "a Square token",
        r"\b(?:sq0csp-[A-Za-z0-9_-]{43}|sq0atp-[A-Za-z0-9_-]{22}|EAAA[A-Za-z0-9_-]{60})",
    ),
    ("a DigitalOcean token", r"\bdo[por]_v1_[a-f0-9]{64}\b"),
    ("a Databricks token", r"\bdapi[a-f0-9]{32}\b"),
    ("a Vault token", r"\bhv[sbr]\.[A-Za-z0-9_-]{24,}"),
    (
        "a Terraform Cloud token",
        r"\b[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_-]{60,}",
    ),
    (
        "a Doppler token",
        r"\bdp\.(?:pt|st|ct|sa|scim|audit)\.[A-Za-z0-9._-]{40,}",
    ),
    (
        "an age secret key",
        r"AGE-SECRET-KEY-1[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58}",
    ),
    ("a Grafana token", r"\bgl(?:sa|c)_[A-Za-z0-9_=+/-]{32,}"),
    ("a Sentry token", r"\bsntry[su]_[A-Za-z0-9_=+/-]{40,}"),
    ("a Linear key", r"\blin_api_[A-Za-z0-9]{40}\b"),
    (
        "a Notion token",
        r"\b(?:ntn_[A-Za-z0-9]{40,}|secret_[A-Za-z0-9]{43})\b",
    ),
    ("an Atlassian token", r"\bATATT3[A-Za-z0-9_=-]{100,}"),
    ("a New Relic key", r"\bNRAK-[A-Z0-9]{27}\b"),
    ("a Postman key", r"\bPMAK-[a-f0-9]{24}-[a-f0-9]{34}\b"),
    (
        "a Telegram bot token",
        r"\b[0-9]{8,10}:AA[A-Za-z0-9_-]{33}\b",
    ),
    ("a Supabase token", r"\bsbp_[a-f0-9]{40}\b"),
    (
        "a JSON web token",
        r"\beyJ[A-Za-z0-9_-]{15,}\.eyJ[A-Za-z0-9_-]{15,}\.[A-Za-z0-9_-]{20,}",
    ),
    (
        "a password in a URL",
        r"\b[a-z][a-z0-9+.-]*://[A-Za-z0-9._~%-]+:[^\s/@:$<>{}*\[\]]{6,}@[A-Za-z0-9.-]+",
    ),
];

/// Words with which documents mark a value that is none.
const EXAMPLES: &[&[u8]] = &[
    b"EXAMPLE",
    b"example",
    b"xxxxxx",
    b"XXXXXX",
    b"password@",
    b"your",
    b"YOUR",
    b"placeholder",
    b"changeme",
    b"secret@",
];

struct Rules {
    set: RegexSet,
    each: Vec<Regex>,
}

static RULES: LazyLock<Rules> = LazyLock::new(|| {
    let texts = || PATTERNS.iter().map(|(_, text)| format!("(?-u){text}"));
    Rules {
        set: RegexSet::new(texts()).expect("the patterns are tested"),
        each: texts()
            .map(|text| Regex::new(&text).expect("the patterns are tested"))
            .collect(),
    }
});

/// What a line looks like to hold, if anything.
pub(super) fn find(line: &[u8]) -> Option<&'static str> {
    let rules = &*RULES;
    rules.set.matches(line).into_iter().find_map(|number| {
        let is_real = rules.each.get(number)?.find_iter(line).any(|found| {
            !EXAMPLES
                .iter()
                .any(|word| memchr::memmem::find(found.as_bytes(), word).is_some())
        });
        let (what, _) = PATTERNS.get(number)?;
        is_real.then_some(*what)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Put together at run time, so that no scanner takes this file for a leak.
    fn token(parts: &[&str]) -> String {
        parts.concat()
    }

    #[test]
    fn tokens_are_known_by_their_form() {
        let a36 = "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF2hI5";
        for (what, text) in [
            ("a GitHub token", token(&["gh", "p_", a36])),
            ("an npm token", token(&["np", "m_", a36])),
            (
                "an AWS access key",
                token(&["AK", "IA", "2345ABCDEFGHIJKL"]),
            ),
            (
                "a private key",
                token(&["-----BEGIN OPENSSH ", "PRIVATE KEY-----"]),
            ),
            (
                "a Slack token",
                token(&["xo", "xb-123456789012-abcdefghijkl"]),
            ),
            (
                "a password in a URL",
                token(&["postgres://admin:", "hunter22@", "db.internal/x"]),
            ),
        ] {
            assert_eq!(
                find(format!("key = \"{text}\"").as_bytes()),
                Some(what),
                "{what}"
            );
        }
    }

    #[test]
    fn documented_examples_and_everyday_code_are_let_through() {
        for text in [
            "AKIAIOSFODNN7EXAMPLE",
            "postgres://user:${PASSWORD}@db/x",
            "https://user:password@example.com/",
            "let sk_live_count = 3;",
            "0123456789abcdef0123456789abcdef01234567",
            "ghp_short",
            "git@github.com:owner/repo.git",
            "http://localhost:8080/path@2x.png",
            "-----BEGIN PUBLIC KEY-----",
        ] {
            assert_eq!(find(text.as_bytes()), None, "{text}");
        }
    }
}
