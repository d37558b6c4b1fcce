//! Tests that go, or that check less than before. Told, not blocked: a human knows why.

use std::sync::LazyLock;

use regex::bytes::Regex;

use crate::changeset::change::{Change, Operation};
use crate::changeset::diff::Line;
use crate::changeset::finding::{Code, Finding};

/// Lines that check something, in the words of the common test libraries.
static CHECK: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?-u)\bassert(?:\w*\s*[!(.]| )|\bexpect\s*\(|\bshould\b|\brequire\.\w+\(|\bt\.(?:Error|Fatal)\w*\(|\bEXPECT_|\bASSERT_|\bverify\s*\(")
        .expect("the pattern is tested")
});

/// Lines that switch a test off.
static OFF: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?-u)#\[ignore|@(?:pytest\.mark\.)?(?:skip|xfail)\w*|@unittest\.skip|\b(?:it|test|describe|context)\.(?:skip|todo|only)\b|\bx(?:it|describe|test)\s*\(|\bt\.Skip\w*\(|@Disabled\b|@Ignore\b|\[Ignore|\bpending\b\s*\(")
        .expect("the pattern is tested")
});

/// Whether the path is a test's by the customs of its language.
fn is_test(path: &str) -> bool {
    let lower = path.to_lowercase();
    let name = lower.rsplit('/').next().unwrap_or(&lower);
    let stem = name.split('.').next().unwrap_or(name);
    let folder = lower.split('/').rev().skip(1).any(|part| {
        matches!(
            part,
            "test" | "tests" | "__tests__" | "spec" | "specs" | "testing"
        )
    });
    folder
        || stem.starts_with("test_")
        || stem.ends_with("_test")
        || stem.ends_with("_spec")
        || name.contains(".test.")
        || name.contains(".spec.")
        || path.rsplit('/').next().is_some_and(|name| {
            name.split('.').next().is_some_and(|stem| {
                stem.ends_with("Test") || stem.ends_with("Tests") || stem.ends_with("Spec")
            })
        })
}

/// Findings about one path.
pub(super) fn one(
    change: &Change,
    added: &[Line<'_>],
    removed: &[Line<'_>],
    findings: &mut Vec<Finding>,
) {
    let path = change.path().as_str();
    let is_test = is_test(path);
    if is_test && change.operation() == Operation::Delete {
        findings.push(Finding::new(Code::TestDeleted, "a test is deleted").at(path));
        return;
    }
    if let Some(line) = added.iter().find(|line| OFF.is_match(line.bytes)) {
        findings.push(
            Finding::new(
                Code::TestWeakened,
                "a test is switched off, or others with it",
            )
            .at(path)
            .line(line.number),
        );
    }
    let checks = |lines: &[Line<'_>]| {
        lines
            .iter()
            .filter(|line| CHECK.is_match(line.bytes))
            .count()
    };
    let (fewer, more) = (checks(removed), checks(added));
    if is_test && fewer > more {
        findings.push(
            Finding::new(
                Code::TestWeakened,
                format!("a test loses checks: {fewer} removed, {more} added"),
            )
            .at(path),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_known_by_the_customs_of_their_language() {
        for path in [
            "tests/a.rs",
            "src/x_test.go",
            "a/test_x.py",
            "web/x.test.ts",
            "spec/x_spec.rb",
            "src/FooTest.java",
        ] {
            assert!(is_test(path), "{path}");
        }
        for path in [
            "src/latest.rs",
            "docs/testing.md",
            "src/contest.py",
            "attest.go",
        ] {
            assert!(!is_test(path), "{path}");
        }
    }

    #[test]
    fn words_that_switch_off_and_that_check_are_known() {
        for line in [
            "    #[ignore = \"slow\"]",
            "@pytest.mark.skip(reason='x')",
            "it.skip('x', () => {",
            "xit('x')",
            "t.Skip()",
            "describe.only(",
        ] {
            assert!(OFF.is_match(line.as_bytes()), "{line}");
        }
        for line in [
            "assert_eq!(1, 2);",
            "assert x == 1",
            "expect(a).toBe(b)",
            "self.assertEqual(a, b)",
            "t.Fatalf(\"x\")",
        ] {
            assert!(CHECK.is_match(line.as_bytes()), "{line}");
        }
        assert!(!OFF.is_match(b"// we skip this") && !CHECK.is_match(b"let assertion = 1;"));
    }
}
