//! Tells the program which commit it was built from, for `--version`, and how it is linked.

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
    link_at_a_fixed_address();
}

/// 29,000 pointers of the program would have to be moved at every start, which costs as much as raising a wall: 130 page
/// faults, and the pages again at each clone. Stack, heap and libraries still lie at random addresses.
fn link_at_a_fixed_address() {
    let is = |name, value: &str| std::env::var(name).is_ok_and(|found| found == value);
    let is_static = std::env::var("CARGO_CFG_TARGET_FEATURE")
        .is_ok_and(|features| features.split(',').any(|feature| feature == "crt-static"));
    if is("CARGO_CFG_TARGET_ENV", "gnu") && !is_static {
        println!("cargo::rustc-link-arg-bins=-no-pie");
    }
}
