//! The model's endpoint: one path, reviewed bodies, the key put in, tokens counted.

use super::{Egress, Origin, network, with_secrets};
use tagout::broker::egress::setup::{EgressSetup, MODEL_NAME_INSIDE, ProxyAuth};
use tagout::policy::model::{Model, ModelApi, Place};

const KEY: &str = "sk-model-0123456789";

fn start(origin: &Origin, tokens: u64) -> (Egress, String, String) {
    let model = Model {
        api: ModelApi::Responses,
        name: "test-model".to_owned(),
        base_url: format!("http://127.0.0.1:{}/v1", origin.port()),
        key: "MODEL_KEY".to_owned(),
        at: Place {
            file: "p.yml".into(),
            line: 3,
            column: 3,
        },
    };
    let setup = EgressSetup::new("p.yml", network(Vec::new())).with_model(model, tokens);
    let setup = with_secrets(setup, &[("MODEL_KEY", KEY)]);
    let placeholder = setup.placeholders()[0].1.clone();
    let base = setup.model_url_inside().unwrap();
    let egress = Egress::start_with(setup, origin, &[], ProxyAuth::Anyone);
    (egress, placeholder, base)
}

fn ask(egress: &Egress, url: &str, key: &str, body: &str) -> super::Answer {
    let header = format!("Authorization: Bearer {key}");
    egress.curl(&[
        "-H",
        &header,
        "-H",
        "Content-Type: application/json",
        "-H",
        "OpenAI-Organization: other",
        "-d",
        body,
        url,
    ])
}

#[test]
fn key_is_put_in_for_the_one_path_only() {
    let origin = Origin::clear();
    let (egress, placeholder, base) = start(&origin, 1_000_000);
    assert_eq!(base, format!("http://{MODEL_NAME_INSIDE}/v1"));
    let url = format!("{base}/responses");
    let body = r#"{"model":"test-model","input":"hello","max_output_tokens":100}"#;
    let good = ask(&egress, &url, &placeholder, body);
    assert_eq!(good.status, 200, "{good:?}");
    let seen = origin.seen().pop().unwrap();
    assert_eq!(seen.target, "/v1/responses");
    assert_eq!(seen.headers["authorization"], format!("Bearer {KEY}"));
    assert!(!seen.headers.contains_key("openai-organization"));
    assert_eq!(seen.headers["host"], format!("127.0.0.1:{}", origin.port()));

    let own = format!(
        "http://127.0.0.1:{}/v1/responses?api-version=x",
        origin.port()
    );
    assert_eq!(ask(&egress, &own, &placeholder, body).status, 200);
    assert_eq!(origin.seen().pop().unwrap().target, "/v1/responses");

    for (url, key, body, code) in [
        (
            format!("{base}/files"),
            placeholder.as_str(),
            body,
            "model-request-not-allowed",
        ),
        (
            format!("{base}/responses/../files"),
            placeholder.as_str(),
            body,
            "model-request-not-allowed",
        ),
        (url.clone(), "sk-mine", body, "model-placeholder-missing"),
        (
            url.clone(),
            placeholder.as_str(),
            r#"{"model":"other","input":"x"}"#,
            "model-name",
        ),
    ] {
        let denied = ask(&egress, &url, key, body);
        assert_eq!(
            (denied.status, denied.code()),
            (403, Some(code)),
            "{url} {denied:?}"
        );
    }
    let get = egress.curl(&[&url]);
    assert_eq!(get.code(), Some("model-request-not-allowed"));
    assert_eq!(origin.seen().len(), 2);
}

#[test]
fn tokens_are_reserved_and_kept_where_no_usage_comes() {
    let origin = Origin::clear();
    let (egress, placeholder, base) = start(&origin, 1_000);
    let url = format!("{base}/responses");
    let body = r#"{"model":"test-model","input":"hello","max_output_tokens":600}"#;
    assert_eq!(ask(&egress, &url, &placeholder, body).status, 200);
    let spent = ask(&egress, &url, &placeholder, body);
    assert_eq!(
        (spent.status, spent.code()),
        (403, Some("model-tokens-spent")),
        "{spent:?}"
    );
    let events = egress.finish();
    assert!(
        events[0].tokens.is_some_and(|tokens| tokens >= 600),
        "{events:?}"
    );
}
