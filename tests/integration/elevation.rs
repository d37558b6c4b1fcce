//! A plain user whose sudo starts the root helper, as on a runner that was set up for level a. All of it lives in a mount
//! namespace of the test's own: the machine's sudoers and programs stay as they are.
#![expect(
    clippy::print_stderr,
    reason = "a test that is left out says so where people look"
)]

use std::path::Path;
use std::process::Command;

/// Where the helper is in that namespace.
pub(crate) const HELPER: &str = "/mnt/tagout";
/// The plain user.
pub(crate) const USER: u32 = 65_534;

/// The line that `docs/levels.md` asks an administrator for, with this user and this path.
const SUDOERS: &str = "nobody ALL=(root) NOPASSWD: /mnt/tagout __helper";

/// `$0` is the binary, `$@` the command.
const PREPARE: &str = r#"set -e
mount -t tmpfs -o mode=755 tmpfs /etc/sudoers.d
mount -t tmpfs -o mode=755 tmpfs /mnt
printf '%s\n' "$SUDOERS" > /etc/sudoers.d/tagout
chmod 440 /etc/sudoers.d/tagout
touch /mnt/tagout
mount --bind "$0" /mnt/tagout
exec "$@""#;

/// Whether it can be made here, or a word about why not. TAGOUT_TEST_ALL makes that a failure.
pub(crate) fn is_here() -> bool {
    let root = rustix::process::geteuid().is_root();
    let programs = ["/usr/bin/sudo", "/usr/bin/setpriv", "/usr/bin/unshare"];
    let missing = programs.iter().find(|path| !Path::new(path).is_file());
    if root && missing.is_none() {
        return true;
    }
    let all = std::env::var_os("TAGOUT_TEST_ALL").is_some_and(|value| value == "1");
    assert!(
        !(all && root),
        "{missing:?} is missing, and TAGOUT_TEST_ALL=1 allows no test to be left out"
    );
    eprintln!("skipped: level a needs root, sudo, setpriv and unshare");
    false
}

/// A command that runs the words which are added to it as the plain user. The caller sets the environment.
pub(crate) fn plain_with_sudo() -> Command {
    let mut command = as_root();
    command.args(["setpriv", "--reuid", "65534", "--regid", "65534"]);
    command.arg("--clear-groups");
    command
}

/// The same, as root.
pub(crate) fn as_root() -> Command {
    let mut command = Command::new("/usr/bin/unshare");
    command
        .args(["--mount", "--", "/bin/sh", "-c"])
        .arg(PREPARE.replace("\"$SUDOERS\"", &format!("'{SUDOERS}'")))
        .arg(env!("CARGO_BIN_EXE_tagout"));
    command
}

#[test]
fn plain_user_may_start_the_helper_and_nothing_else() {
    if !is_here() {
        return;
    }
    let run = |words: &[&str]| {
        let output = plain_with_sudo()
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .args(["/usr/bin/sudo", "-n"])
            .args(words)
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (code, said) = run(&[HELPER, "__helper"]);
    assert_eq!(code, Some(125), "{said}");
    assert!(
        said.contains("stdin is not the launcher's socket"),
        "{said}"
    );
    for words in [
        &[HELPER, "sandbox"][..],
        &[HELPER, "__helper", "x"],
        &["/bin/true"],
    ] {
        let (code, said) = run(words);
        assert_eq!(code, Some(1), "{words:?}: {said}");
    }
}
