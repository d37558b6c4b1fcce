//! No text breaks the reader of bundles; without the blobs that it names it opens to no change.
#![no_main]

use std::fs;

use libfuzzer_sys::fuzz_target;
use tagout::broker::bundle;
use tagout::names::Digest;

fuzz_target!(|text: &[u8]| {
    let folder = std::env::temp_dir().join(format!("tagout-fuzz-bundle-{}", std::process::id()));
    fs::create_dir_all(folder.join("blobs")).expect("a folder can be made");
    fs::write(folder.join("bundle.json"), text).expect("it can be written");
    if let Ok((manifest, _)) = bundle::open(&folder, &Digest::of(text)) {
        assert!(serde_json::to_vec(&manifest).is_ok());
    }
});
