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
        r"\b(?:glpat|gldt|glptt|glrt|glcbt|glsoat|glft|glimt|glagent|gloas|glffct)-[A-Za-z0-9_.-]{20,}",
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
    ("an AWS Bedrock key", r"\bABSK[A-Za-z0-9+/]{109,269}={0,2}"),
    (
        "an Azure client secret",
        r"(?:^|[^A-Za-z0-9_~.])[A-Za-z0-9_~.]{3}[0-9]Q~[A-Za-z0-9_~.-]{31,34}",
    ),
    ("an Alibaba access key", r"\bLTAI[A-Za-z0-9]{20}\b"),
    ("a 1Password token", r"\bops_eyJ[A-Za-z0-9+/]{250,}={0,3}"),
    ("an Artifactory key", r"\bAKCp[A-Za-z0-9]{69}\b"),
    ("a Buildkite token", r"\bbkua_[a-z0-9]{40}\b"),
    ("a Brevo key", r"\bxkeysib-[a-f0-9]{64}-[A-Za-z0-9]{16}\b"),
    ("a Clojars token", r"\bCLOJARS_[a-z0-9]{60}\b"),
    (
        "a Dynatrace token",
        r"\bdt0c01\.[A-Z0-9]{24}\.[A-Z0-9]{64}\b",
    ),
    ("an EasyPost key", r"\bEZ[AT]K[A-Za-z0-9]{54}\b"),
    ("a Figma token", r"\bfig[du]_[A-Za-z0-9_-]{40,}"),
    (
        "a Fly.io token",
        r"\bfo1_[A-Za-z0-9_-]{43}\b|\bFlyV1 fm2_[A-Za-z0-9+/=_-]{80,}",
    ),
    ("a Groq key", r"\bgsk_[A-Za-z0-9]{52}\b"),
    ("a Heroku key", r"\bHRKU-AA[A-Za-z0-9_-]{58}\b"),
    ("an Infracost key", r"\bico-[A-Za-z0-9]{32}\b"),
    (
        "a Mapbox secret token",
        r"\bsk\.eyJ[A-Za-z0-9_-]{60,}\.[A-Za-z0-9_-]{20,}",
    ),
    ("a Mailchimp key", r"\b[a-f0-9]{32}-us[0-9]{1,2}\b"),
    (
        "a Microsoft Teams web hook",
        r"\.webhook\.office\.com/webhookb2/[a-f0-9-]{36}@[a-f0-9-]{36}/IncomingWebhook/[a-f0-9]{32}/",
    ),
    ("a Netlify token", r"\bnfp_[A-Za-z0-9]{36}\b"),
    ("an OpenShift token", r"\bsha256~[A-Za-z0-9_-]{43}"),
    ("a Perplexity key", r"\bpplx-[A-Za-z0-9]{48}\b"),
    (
        "a PlanetScale token",
        r"\bpscale_(?:tkn|oauth|pw)_[A-Za-z0-9_=.-]{32,}",
    ),
    ("a Prefect token", r"\bpnu_[A-Za-z0-9]{36}\b"),
    ("a Pulumi token", r"\bpul-[a-f0-9]{40}\b"),
    ("a Replicate token", r"\br8_[A-Za-z0-9]{37}\b"),
    (
        "a Shippo token",
        r"\bshippo_(?:live|test)_[a-fA-F0-9]{40}\b",
    ),
    ("a SonarQube token", r"\bsq[pau]_[a-f0-9]{40}\b"),
    (
        "a Sourcegraph token",
        r"\bsgp_(?:[a-fA-F0-9]{16}_|local_)?[a-fA-F0-9]{40}\b",
    ),
    (
        "a Tailscale key",
        r"\btskey-[a-z]+-[A-Za-z0-9]+-[A-Za-z0-9]{20,}",
    ),
    ("a Typeform token", r"\btfp_[A-Za-z0-9_.-]{59}"),
    ("an xAI key", r"\bxai-[A-Za-z0-9]{80}\b"),
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

    /// Letters of one kind, as many as asked for.
    fn letters(alphabet: &str, count: usize) -> String {
        alphabet.chars().cycle().take(count).collect()
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "one row a service")]
    fn services_of_every_kind_are_covered() {
        let mixed = |count| letters("aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF", count);
        let hex = |count| letters("3f9a0c7e51b8d264", count);
        let upper = |count| letters("A1B2C3D4E5F6G7H8", count);
        let lower = |count| letters("a1b2c3d4e5f6g7h8", count);
        for (what, before, after) in [
            ("a GitLab token", "glpat-", mixed(20)),
            ("a Google API key", "AIza", mixed(35)),
            ("an Azure client secret", "abc8Q~", mixed(34)),
            ("an Alibaba access key", "LTAI", mixed(20)),
            ("an Artifactory key", "AKCp", mixed(69)),
            ("an Anthropic key", "sk-ant-api03-", mixed(93)),
            ("an OpenAI key", "sk-proj-", mixed(60)),
            ("a Buildkite token", "bkua_", lower(40)),
            (
                "a Brevo key",
                "xkeysib-",
                format!("{}-{}", hex(64), mixed(16)),
            ),
            ("a Clojars token", "CLOJARS_", lower(60)),
            ("a Databricks token", "dapi", hex(32)),
            ("a DigitalOcean token", "dop_v1_", hex(64)),
            ("a Docker Hub token", "dckr_pat_", mixed(27)),
            (
                "a Dynatrace token",
                "dt0c01.",
                format!("{}.{}", upper(24), upper(64)),
            ),
            ("an EasyPost key", "EZAK", mixed(54)),
            ("a Figma token", "figd_", mixed(40)),
            ("a Fly.io token", "fo1_", mixed(43)),
            ("a Grafana token", "glsa_", mixed(40)),
            ("a Groq key", "gsk_", mixed(52)),
            ("a Heroku key", "HRKU-AA", mixed(58)),
            ("a Hugging Face token", "hf_", mixed(34)),
            ("an Infracost key", "ico-", mixed(32)),
            ("a Linear key", "lin_api_", mixed(40)),
            ("a Mailchimp key", "", format!("{}-us12", hex(32))),
            ("a Netlify token", "nfp_", mixed(36)),
            ("a New Relic key", "NRAK-", upper(27)),
            ("an OpenShift token", "sha256~", mixed(43)),
            ("a Perplexity key", "pplx-", mixed(48)),
            ("a PlanetScale token", "pscale_tkn_", mixed(43)),
            ("a Postman key", "PMAK-", format!("{}-{}", hex(24), hex(34))),
            ("a Prefect token", "pnu_", mixed(36)),
            ("a Pulumi token", "pul-", hex(40)),
            ("a PyPI token", "pypi-AgE", mixed(60)),
            ("a Replicate token", "r8_", mixed(37)),
            ("a RubyGems key", "rubygems_", hex(48)),
            (
                "a SendGrid key",
                "SG.",
                format!("{}.{}", mixed(22), mixed(43)),
            ),
            ("a Shippo token", "shippo_live_", hex(40)),
            ("a Shopify token", "shpat_", hex(32)),
            ("a SonarQube token", "squ_", hex(40)),
            ("a Sourcegraph token", "sgp_", hex(40)),
            ("a Stripe key", "sk_live_", mixed(24)),
            ("a Supabase token", "sbp_", hex(40)),
            (
                "a Tailscale key",
                "tskey-",
                format!("auth-{}-{}", mixed(12), mixed(32)),
            ),
            ("a Twilio key", "SK", hex(32)),
            ("a Typeform token", "tfp_", mixed(59)),
            ("a Vault token", "hvs.", mixed(90)),
            ("an xAI key", "xai-", mixed(80)),
        ] {
            let line = format!("key: '{before}{after}'");
            assert_eq!(find(line.as_bytes()), Some(what), "{what}");
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
