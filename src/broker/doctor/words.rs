//! What the doctor says of a level: the walls and what they leave open, or why it is not to be had and what helps at what cost.
//! It must never advise what opens more than it says.

use crate::names::Level;
use crate::report::gaps;
use crate::wire::{Wall, WallsReport};

/// What a level is worth here, or why it is not to be had and what helps.
pub(super) fn words(level: Level, report: &WallsReport) -> String {
    if report.level.is_none() {
        return format!(
            "level {level}: not to be had: {}{}",
            report.missing.join("; "),
            advice(level)
        );
    }
    let mut text = format!("level {level}: can be raised (Landlock ABI {})", report.abi);
    for (state, word) in [
        (Wall::Enforced, "enforced"),
        (Wall::Partial, "partial"),
        (Wall::Absent, "absent"),
    ] {
        let names: Vec<&str> = report
            .walls
            .iter()
            .filter(|(_, wall)| **wall == state)
            .map(|(name, _)| name.as_str())
            .collect();
        if !names.is_empty() {
            text.push_str(&format!("\n  {word}: {}", names.join(", ")));
            for name in names {
                if let Some(gap) = gaps::gap(level, name, state) {
                    text.push_str(&format!("\n    {name}: {gap}"));
                }
            }
        }
    }
    text
}

/// What can be done where a level is missing; the reasons and costs are in the documents.
fn advice(level: Level) -> &'static str {
    match level {
        Level::B => {
            "\n  Level b needs user namespaces. On Ubuntu 24.04 AppArmor forbids them: give this program a profile with `userns,` (costs nothing \
             to other programs), or set kernel.apparmor_restrict_unprivileged_userns=0 (allows them to every program).\
             \n  In Docker the default profiles forbid them: --security-opt seccomp=unconfined --security-opt apparmor=unconfined \
             --security-opt systempaths=unconfined, for a container that runs nothing else.\
             \n  docs/levels.md has the profile and the ways of other systems."
        }
        Level::C => {
            "\n  Level c needs Landlock: Linux 5.13 or newer with landlock among the security modules (/sys/kernel/security/lsm)."
        }
        Level::A => {
            "\n  Level a needs root for a moment: start Tagout as root, or install its helper where only root can write and allow one command in sudoers.\
             \n    sudo install -D -o root -g root -m 0755 tagout /usr/lib/tagout/tagout\
             \n    USER ALL=(root) NOPASSWD: /usr/lib/tagout/tagout __helper\
             \n  Whoever is named there can start the helper, which gives nothing that the caller has not; a run starts some ten milliseconds later."
        }
        Level::D => "",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn report(level: Option<Level>, missing: &str) -> WallsReport {
        let walls = [("files", Wall::Enforced), ("metadata", Wall::Absent)];
        WallsReport {
            level,
            abi: 6,
            workspace: String::new(),
            walls: BTreeMap::from(walls.map(|(name, wall)| (name.to_owned(), wall))),
            denied: None,
            limit: None,
            exit: 125,
            missing: vec![missing.to_owned()],
            commands: Vec::new(),
        }
    }

    #[test]
    fn level_that_stands_tells_what_is_open() {
        assert_eq!(
            words(Level::C, &report(Some(Level::C), "")),
            "level c: can be raised (Landlock ABI 6)\
             \n  enforced: files\
             \n  absent: metadata\
             \n    metadata: mode, owner, times and attributes of the user's files outside can be changed, and whether a path exists, or that \
             something happens in a folder, can be found out"
        );
    }

    #[test]
    fn level_that_is_missing_tells_what_helps_and_what_it_costs() {
        let apparmor = "level b: write uid_map: Operation not permitted (os error 1)";
        assert_eq!(
            words(Level::B, &report(None, apparmor)),
            "level b: not to be had: level b: write uid_map: Operation not permitted (os error 1)\
             \n  Level b needs user namespaces. On Ubuntu 24.04 AppArmor forbids them: give this program a profile with `userns,` (costs nothing \
             to other programs), or set kernel.apparmor_restrict_unprivileged_userns=0 (allows them to every program).\
             \n  In Docker the default profiles forbid them: --security-opt seccomp=unconfined --security-opt apparmor=unconfined \
             --security-opt systempaths=unconfined, for a container that runs nothing else.\
             \n  docs/levels.md has the profile and the ways of other systems."
        );
        assert_eq!(
            words(
                Level::A,
                &report(None, "level a: find the root helper: /x is not there")
            ),
            "level a: not to be had: level a: find the root helper: /x is not there\
             \n  Level a needs root for a moment: start Tagout as root, or install its helper where only root can write and allow one command in sudoers.\
             \n    sudo install -D -o root -g root -m 0755 tagout /usr/lib/tagout/tagout\
             \n    USER ALL=(root) NOPASSWD: /usr/lib/tagout/tagout __helper\
             \n  Whoever is named there can start the helper, which gives nothing that the caller has not; a run starts some ten milliseconds later."
        );
        assert_eq!(
            words(
                Level::C,
                &report(None, "level c: use Landlock: not supported")
            ),
            "level c: not to be had: level c: use Landlock: not supported\
             \n  Level c needs Landlock: Linux 5.13 or newer with landlock among the security modules (/sys/kernel/security/lsm)."
        );
    }
}
