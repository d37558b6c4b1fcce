//! A model request that passed passes again unchanged, and what an answer cost is read alike however it is cut.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tagout::broker::egress::model_traffic::review;
use tagout::broker::egress::model_traffic::usage::Reader;
use tagout::policy::model::{Model, ModelApi, Network};

static MODELS: LazyLock<[Model; 3]> = LazyLock::new(|| {
    [ModelApi::Responses, ModelApi::Chat, ModelApi::Messages].map(|api| Model {
        api,
        name: "m".to_owned(),
        base_url: "https://api.example.com/v1".to_owned(),
        key: "KEY".to_owned(),
        at: Network::default().at,
    })
});
const KIND: Option<&str> = Some("application/json");

fuzz_target!(|input: (u8, u16, &[u8])| {
    let (api, cut, bytes) = input;
    let model = &MODELS[usize::from(api) % MODELS.len()];
    if let Ok(reviewed) = review(model, KIND, bytes) {
        let again = review(model, KIND, reviewed.body()).expect("what passed passes");
        assert_eq!(again.body(), reviewed.body());
        assert_eq!(again.tokens_reserved(), reviewed.tokens_reserved());
    }
    let (front, back) = bytes.split_at(usize::from(cut) % (bytes.len() + 1));
    for kind in ["application/json", "text/event-stream"] {
        let read = |pieces: &[&[u8]]| {
            let mut reader = Reader::new(model.api, Some(kind));
            for piece in pieces {
                reader.feed(piece);
            }
            reader.finish()
        };
        assert_eq!(read(&[bytes]), read(&[front, back]));
    }
});
