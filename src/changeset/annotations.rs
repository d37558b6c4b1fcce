//! Findings as workflow commands, which GitHub Actions shows beside the changed lines.
//! It must never let a name or a message begin a command of its own.

use super::finding::{Finding, Severity};

/// Most annotations of one kind: GitHub shows ten errors, ten warnings and ten notices of a step
/// (docs.github.com, "Workflow commands for GitHub Actions" and the limits of annotations).
pub const KIND_MAX: usize = 10;

/// One line a finding, those that block first, as far as GitHub shows them.
#[must_use]
pub fn lines(findings: &[Finding]) -> Vec<String> {
    [Severity::Block, Severity::Review, Severity::Note]
        .into_iter()
        .flat_map(|severity| {
            findings
                .iter()
                .filter(move |finding| finding.severity == severity)
                .take(KIND_MAX)
                .map(line)
        })
        .collect()
}

fn line(finding: &Finding) -> String {
    let command = match finding.severity {
        Severity::Block => "error",
        Severity::Review => "warning",
        Severity::Note => "notice",
    };
    let mut properties = Vec::new();
    if let Some(path) = &finding.path {
        properties.push(format!("file={}", property(path)));
        if let Some(line) = finding.line {
            properties.push(format!("line={line}"));
        }
    }
    properties.push(format!("title={}", property(finding.code.as_str())));
    let mut text = finding.message.clone();
    if let Some(mend) = &finding.mend {
        text.push_str("; allowed by ");
        text.push_str(mend);
    }
    format!("::{command} {}::{}", properties.join(","), data(&text))
}

/// What the runner decodes in the text of a command (actions/toolkit, `escapeData`).
fn data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// What it decodes in a property (`escapeProperty`).
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changeset::finding::Code;

    #[test]
    fn finding_becomes_a_command_on_its_line() {
        let finding = Finding::new(Code::HiddenUnicode, "50 % hidden")
            .at("a,b/ü.rs")
            .line(7);
        assert_eq!(
            lines(&[finding]),
            ["::error file=a%2Cb/ü.rs,line=7,title=hidden-unicode::50 %25 hidden"]
        );
        let note = Finding::new(Code::ModeDropped, "a bit is left out").mend("x: [1]");
        assert_eq!(
            lines(&[note]),
            ["::notice title=mode-dropped::a bit is left out; allowed by x: [1]"]
        );
    }

    #[test]
    fn name_and_message_cannot_begin_a_command() {
        let finding = Finding::new(Code::LineTooLong, "a\n::add-mask::x\r::stop-commands::y")
            .at("a\n::error::b::c");
        for line in lines(&[finding]) {
            assert_eq!(line.lines().count(), 1, "{line}");
            assert!(
                line.starts_with("::error file=a\\u{a}%3A%3Aerror%3A%3Ab%3A%3Ac,title="),
                "{line}"
            );
        }
    }

    #[test]
    fn no_more_are_written_than_github_shows() {
        let blocking = Finding::new(Code::BinaryFile, "binary").at("a");
        let noted = Finding::new(Code::ModeDropped, "dropped").at("b");
        let mut findings = vec![noted];
        findings.extend(vec![blocking; 30]);
        let found = lines(&findings);
        assert_eq!(found.len(), KIND_MAX + 1);
        assert!(
            found
                .last()
                .is_some_and(|line| line.starts_with("::notice "))
        );
    }
}
