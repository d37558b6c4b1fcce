//! Findings as SARIF 2.1.0, which GitHub's code scanning takes.

use serde_json::{Value, json};

use super::finding::{Code, Finding, Severity};

/// Most results that GitHub keeps of one run (docs.github.com, "SARIF support for code scanning").
pub const RESULTS_MAX: usize = 5000;

/// The document.
#[must_use]
pub fn document(findings: &[Finding]) -> Value {
    let rules: Vec<Value> = Code::ALL.iter().map(|code| rule(*code)).collect();
    let results: Vec<Value> = findings.iter().take(RESULTS_MAX).map(result).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "tagout",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn rule(code: Code) -> Value {
    json!({
        "id": code.as_str(),
        "shortDescription": { "text": code.about() },
        "defaultConfiguration": { "level": level(code.severity()) },
    })
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Note => "note",
        Severity::Review => "warning",
        Severity::Block => "error",
    }
}

fn result(finding: &Finding) -> Value {
    let mut text = finding.message.clone();
    if let Some(mend) = &finding.mend {
        text.push_str("; allowed by ");
        text.push_str(mend);
    }
    let mut result = json!({
        "ruleId": finding.code.as_str(),
        "level": level(finding.severity),
        "message": { "text": text },
    });
    if let Some(path) = &finding.path {
        let place = json!({
            "physicalLocation": {
                "artifactLocation": { "uri": uri(path), "uriBaseId": "%SRCROOT%" },
                "region": { "startLine": finding.line.unwrap_or(1) },
            }
        });
        if let Some(fields) = result.as_object_mut() {
            fields.insert("locations".to_owned(), json!([place]));
        }
    }
    result
}

/// A relative reference (RFC 3986): what has a meaning there is escaped.
fn uri(path: &str) -> String {
    let mut text = String::new();
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'.' | b'~') {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finding_becomes_a_result_on_its_line() {
        let finding = Finding::new(Code::HiddenUnicode, "hidden")
            .at("a b/ü.rs")
            .line(7);
        let found = document(&[finding]);
        let result = &found["runs"][0]["results"][0];
        assert_eq!(result["ruleId"], "hidden-unicode");
        assert_eq!(result["level"], "error");
        let place = &result["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "a%20b/%C3%BC.rs");
        assert_eq!(place["region"]["startLine"], 7);
    }
}
