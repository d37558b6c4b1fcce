//! Which files of the repository a workflow runs, read from its text.
//! It must never miss a plain call of a script; what it takes for one and is none does no harm unless such a path exists.

/// Programs whose first argument is a script.
const INTERPRETERS: &[&str] = &[
    "sh",
    "bash",
    "zsh",
    "dash",
    "fish",
    "source",
    ".",
    "python",
    "python3",
    "node",
    "ruby",
    "perl",
    "php",
    "pwsh",
    "powershell",
    "deno",
    "bun",
    "tsx",
    "ts-node",
    "exec",
    "sudo",
    "env",
    "time",
    "xvfb-run",
    "lua",
    "Rscript",
    "just",
    "groovy",
];

/// Paths that the workflow runs, as candidates: whoever asks must see whether they exist.
#[must_use]
pub fn runs(workflow: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in workflow.lines() {
        let line = line.trim_start().trim_start_matches("- ");
        if let Some(action) = line.strip_prefix("uses:") {
            let action = action.trim().trim_matches(['"', '\'']);
            if let Some(path) = action.strip_prefix("./") {
                push(&mut found, path);
            }
            continue;
        }
        let text = line.strip_prefix("run:").unwrap_or(line);
        for command in text.split(['|', ';', '&', '(', ')', '`']) {
            commands(command, &mut found);
        }
        let calls = |program: &str| text.split_whitespace().any(|word| word == program);
        if calls("make") {
            for name in ["Makefile", "makefile", "GNUmakefile"] {
                push(&mut found, name);
            }
        }
        if calls("just") {
            push(&mut found, "justfile");
        }
    }
    found.sort();
    found.dedup();
    found
}

fn commands(command: &str, found: &mut Vec<String>) {
    let mut may_be_script = true;
    for word in command.split_whitespace() {
        let word = word.trim_matches(['"', '\'', ',']);
        if word.starts_with("./") {
            push(found, word);
            may_be_script = false;
        } else if INTERPRETERS.contains(&word) || word.starts_with('-') || word.contains('=') {
            // An option or a variable before the script.
        } else if may_be_script {
            push(found, word);
            may_be_script = false;
        }
    }
}

fn push(found: &mut Vec<String>, path: &str) {
    let path = path
        .trim_start_matches("${{ github.workspace }}/")
        .trim_start_matches("$GITHUB_WORKSPACE/");
    let path: Vec<&str> = path
        .split('/')
        .filter(|part| !matches!(*part, "" | "."))
        .collect();
    if !path.is_empty() && !path.contains(&"..") {
        found.push(path.join("/"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_and_local_actions_are_found() {
        let found = runs(
            "jobs:\n  a:\n    steps:\n      - uses: ./.github/actions/setup\n      - uses: actions/checkout@v4\n      - run: ./ci/build.sh --fast\n      - run: |\n          python3 -u tools/gen.py src/lib.rs && bash scripts/test.sh\n          FOO=1 scripts/x\n          make all\n",
        );
        for path in [
            ".github/actions/setup",
            "ci/build.sh",
            "tools/gen.py",
            "scripts/test.sh",
            "scripts/x",
            "Makefile",
        ] {
            assert!(
                found.iter().any(|found| found == path),
                "{path} in {found:?}"
            );
        }
        assert!(!found.iter().any(|found| found == "src/lib.rs"));
    }
}
