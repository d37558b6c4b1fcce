//! Tells the program which commit it was built from, for `--version`.

use std::process::Command;

fn main() {
    let commit = Command::new("git")
        .args(["rev-parse", "--short=12", "HEAD"])
        .output()
        .ok()
        .filter(|answer| answer.status.success())
        .and_then(|answer| String::from_utf8(answer.stdout).ok());
    // A source archive has no repository; then nobody knows.
    let commit = commit.as_deref().map_or("unknown commit", str::trim);
    println!("cargo::rustc-env=TAGOUT_COMMIT={commit}");
    println!("cargo::rerun-if-changed=.git/HEAD");
    println!("cargo::rerun-if-changed=.git/logs/HEAD");
}
