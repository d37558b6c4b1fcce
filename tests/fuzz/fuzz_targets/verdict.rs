//! No request line breaks the reader, both doors of the verdict agree, and nothing passes but what the rules name.
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use tagout::policy::model::{Network, Policy};
use tagout::policy::parse::parse;
use tagout::policy::request::Asked;
use tagout::policy::verdict::{Judge, Verdict, judge};

const POLICY: &str = "version: 1
network:
  allow:
    - { host: api.example.com, paths: [\"/v1/**\", \"/a/*/c\"] }
    - { host: \"*.cdn.example.net\", ports: [80, 443], methods: [GET, POST] }
    - { host: \"::1\", ports: [8443], private: true }
";

static NETWORK: LazyLock<Arc<Network>> = LazyLock::new(|| {
    let policy: Policy = parse("p.yml", POLICY).expect("valid");
    Arc::new(policy.network)
});
static INDEX: LazyLock<Judge> = LazyLock::new(|| Judge::new(Arc::clone(&NETWORK)));

fuzz_target!(|line: &str| {
    let Ok(asked) = Asked::read(line) else {
        return;
    };
    let request = asked.request();
    let verdict = judge(&NETWORK, request);
    assert_eq!(verdict, INDEX.judge(request));
    if let Verdict::Allow(rule) = verdict {
        assert!(rule.ports.contains(&request.port) && rule.methods.iter().any(|method| method == request.method));
        let path = request.path.to_ascii_lowercase();
        assert!(path.starts_with('/') && path.is_ascii());
        assert!(!path.split('/').any(|part| matches!(part, "." | "..")));
        if !rule.paths.is_empty() {
            assert!(path.starts_with("/v1/") || path.starts_with("/a/") || path.contains('%'));
            assert!(!path.contains(';') && !path.contains("//") && !path.contains("%2f") && !path.contains("%5c"));
        }
    }
});
