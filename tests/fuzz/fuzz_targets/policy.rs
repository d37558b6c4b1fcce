//! Whatever is read as a policy is shown as a text that is read as the same policy; nothing else breaks the reader.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tagout::policy::model::{Network, Policy};
use tagout::policy::parse::{FAULTS_MAX, parse, yaml};
use tagout::policy::show;

fn placeless(mut policy: Policy) -> Policy {
    let at = Network::default().at;
    policy.network.at = at.clone();
    for rule in &mut policy.network.allow {
        rule.at = at.clone();
    }
    if let Some(model) = &mut policy.agent.model {
        model.at = at;
    }
    policy
}

fuzz_target!(|text: &str| {
    match parse("p.yml", text) {
        Ok(policy) => {
            let shown = yaml::write(&show::tree(&policy)).expect("our own values are written");
            let again = parse("p.yml", &shown).expect("what is shown is read");
            assert_eq!(placeless(policy), placeless(again));
        }
        Err(faults) => {
            assert!((1..=FAULTS_MAX).contains(&faults.len()));
            let lines = u32::try_from(text.lines().count()).unwrap_or(u32::MAX);
            for fault in faults {
                assert!(fault.at.line >= 1 && fault.at.column >= 1);
                assert!(fault.at.line <= lines.max(1) + 1, "{fault}");
                assert!(!fault.to_string().contains('\n'), "{fault}");
            }
        }
    }
});
