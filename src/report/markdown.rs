//! The report as Markdown: step summary and body of the pull request.
//! It must never pass on a text from outside without the sanitiser.

use std::fmt::Write as _;

use super::gaps;
use super::{Arrangement, Facts};
use crate::sanitize;
use crate::wire::{Denied, Wall};

/// Most rows of one table; the rest is counted.
pub const ROWS_MAX: usize = 50;

/// Longest report in characters: GitHub takes 65,536 in a body, and a footer follows.
pub const CHARACTERS_MAX: usize = 60_000;

/// Draws the whole report.
#[must_use]
pub fn draw(facts: &Facts) -> String {
    let mut page = String::new();
    head(&mut page, facts);
    request(&mut page, facts);
    walls(&mut page, facts);
    refused(&mut page, facts);
    changes(&mut page, facts);
    verified(&mut page, facts);
    findings(&mut page, facts);
    claims(&mut page, facts);
    notes(&mut page, facts);
    suggested(&mut page, facts);
    bounded(page)
}

fn head(page: &mut String, facts: &Facts) {
    line(page, &format!("## Tagout: {}", facts.outcome.word()));
    line(page, "");
    line(page, &text(&facts.sentence));
    if let Some(code) = &facts.code {
        line(page, "");
        line(page, &format!("Code: {}", cell(code)));
    }
}

fn request(page: &mut String, facts: &Facts) {
    let request = &facts.request;
    line(page, "\n### Who asked, for what\n");
    line(page, "| | |");
    line(page, "|---|---|");
    row(page, "asked by", &cell(&request.requester));
    row(page, "task", &cell(&request.task));
    let optional = [
        ("repository", request.repository.clone()),
        ("issue", request.issue.map(|number| number.to_string())),
        ("base branch", request.base_branch.clone()),
        ("base commit", request.base_commit.clone()),
        ("policy (SHA-256)", request.policy_digest.clone()),
        ("workflow run", request.run_url.clone()),
        ("journal (last digest)", facts.journal.clone()),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            row(page, name, &cell(&value));
        }
    }
    let arrangement = match facts.arrangement {
        Arrangement::TwoJobs => "two jobs: what ran the agent held no credential that can write",
        Arrangement::OneProcess => {
            "one process tree: weaker than two jobs with separate permissions"
        }
    };
    row(page, "arrangement", arrangement);
}

fn walls(page: &mut String, facts: &Facts) {
    let walls = &facts.walls;
    line(page, "\n### Walls\n");
    let Some(level) = walls.level else {
        line(page, "No agent was started.");
        for reason in &walls.missing {
            line(page, &format!("- {}", text(reason)));
        }
        return;
    };
    line(
        page,
        &format!("Level {level}, Landlock ABI {}.\n", walls.abi),
    );
    let named = |state: Wall| {
        let names: Vec<&str> = walls
            .walls
            .iter()
            .filter(|(_, wall)| **wall == state)
            .map(|(name, _)| name.as_str())
            .collect();
        if names.is_empty() {
            "none".to_owned()
        } else {
            cell(&names.join(", "))
        }
    };
    line(page, "| wall | |");
    line(page, "|---|---|");
    row(page, "enforced", &named(Wall::Enforced));
    row(page, "partial", &named(Wall::Partial));
    row(page, "absent", &named(Wall::Absent));
    if let Some(limit) = &walls.limit {
        row(page, "limit reached", &cell(limit));
    }
    let open: Vec<String> = walls
        .walls
        .iter()
        .filter_map(|(name, state)| Some((name, gaps::gap(level, name, *state)?)))
        .map(|(name, gap)| format!("- {}: {gap}", cell(name)))
        .collect();
    if !open.is_empty() {
        line(page, "\nWhat is open there:\n");
        open.iter().for_each(|gap| line(page, gap));
    }
    if !walls.missing.is_empty() {
        line(page, "\nWhy no stronger level was to be had:\n");
    }
    for reason in &walls.missing {
        line(page, &format!("- {}", text(reason)));
    }
}

/// The commands ran inside the walls on code that the agent wrote: their exit codes are what that code made of them.
fn verified(page: &mut String, facts: &Facts) {
    if facts.verified.is_empty() {
        return;
    }
    line(page, "\n### How the policy's own tests ended\n");
    line(
        page,
        "They ran in a second, fresh sandbox on the base commit plus the changes. What they run may be the agent's own code.\n",
    );
    line(page, "| command | ended |");
    line(page, "|---|---|");
    for result in facts.verified.iter().take(ROWS_MAX) {
        let ended = match result.exit {
            Some(0) => "well".to_owned(),
            Some(code) => format!("**failed** with exit code {code}"),
            None => "not started".to_owned(),
        };
        line(page, &format!("| {} | {ended} |", cell(&result.command)));
    }
    rest(page, facts.verified.len());
}

fn refused(page: &mut String, facts: &Facts) {
    line(page, "\n### What was refused\n");
    let inside = facts.walls.denied.as_deref();
    let all: Vec<&Denied> = facts
        .network
        .iter()
        .chain(inside.unwrap_or_default())
        .collect();
    if all.is_empty() {
        line(page, "Nothing that is known.");
    }
    if !all.is_empty() {
        line(
            page,
            "| wall | what | times | decided by | would be allowed by |",
        );
        line(page, "|---|---|---|---|---|");
        for denied in all.iter().take(ROWS_MAX) {
            let allow = denied.allow.as_deref().map_or_else(String::new, cell);
            let at = denied.at.as_deref().map_or_else(String::new, cell);
            line(
                page,
                &format!(
                    "| {} | {} | {} | {at} | {allow} |",
                    cell(&denied.wall),
                    cell(&denied.what),
                    denied.count
                ),
            );
        }
        rest(page, all.len());
    }
    if facts.walls.level.is_some() {
        line(
            page,
            "\nWhat the kernel refused beyond this is not known: calls are not traced one by one.",
        );
    }
}

fn changes(page: &mut String, facts: &Facts) {
    if facts.changes.is_empty() {
        return;
    }
    line(page, "\n### What changed\n");
    line(page, "| path | | + | - |");
    line(page, "|---|---|---|---|");
    for change in facts.changes.iter().take(ROWS_MAX) {
        line(
            page,
            &format!(
                "| {} | {} | {} | {} |",
                cell(&change.path),
                cell(&change.operation),
                change.added,
                change.removed
            ),
        );
    }
    rest(page, facts.changes.len());
}

fn findings(page: &mut String, facts: &Facts) {
    if facts.findings.is_empty() {
        return;
    }
    line(page, "\n### What the checks found\n");
    line(
        page,
        "| severity | code | where | what | would be allowed by |",
    );
    line(page, "|---|---|---|---|---|");
    for finding in facts.findings.iter().take(ROWS_MAX) {
        let mut place = finding.path.clone().unwrap_or_default();
        if let Some(number) = finding.line {
            place = format!("{place}:{number}");
        }
        let mend = finding.mend.as_deref().map_or_else(String::new, cell);
        line(
            page,
            &format!(
                "| {} | {} | {} | {} | {mend} |",
                cell(&finding.severity),
                cell(&finding.code),
                cell(&place),
                text(&finding.sentence)
            ),
        );
    }
    rest(page, facts.findings.len());
}

fn claims(page: &mut String, facts: &Facts) {
    let agent = &facts.agent;
    if agent.claimed_title.is_none() && agent.claimed_summary.is_none() {
        return;
    }
    line(
        page,
        "\n### What the agent says of it (a claim, not checked)\n",
    );
    let both: Vec<&str> = [&agent.claimed_title, &agent.claimed_summary]
        .into_iter()
        .flatten()
        .map(String::as_str)
        .collect();
    line(page, &sanitize::fence(&text(&both.join("\n\n")), "text"));
}

fn notes(page: &mut String, facts: &Facts) {
    line(page, "\n### What was not enforced\n");
    if facts.notes.is_empty() {
        line(page, "Nothing beyond the partial and absent walls above.");
    }
    for note in &facts.notes {
        line(page, &format!("- {}", text(note)));
    }
    if let Some(bill) = facts.bill {
        line(
            page,
            &format!(
                "\nModel: {} requests, {} tokens.",
                bill.requests, bill.tokens
            ),
        );
    }
    if facts.agent.exit.is_some() {
        line(
            page,
            &format!(
                "\nAgent: {}, {} ms.",
                cell(&facts.agent.program),
                facts.agent.wall_ms
            ),
        );
    }
    line(page, &format!("\ntagout {}", facts.version));
}

/// The text comes from the YAML serialiser, of hosts, methods and paths that the policy's own readers took: nothing in it can
/// end the fence.
fn suggested(page: &mut String, facts: &Facts) {
    let Some(policy) = &facts.suggested_policy else {
        return;
    };
    line(
        page,
        "\n### A policy that would allow what the agent asked for\n",
    );
    line(page, &sanitize::fence(policy, "yaml"));
}

fn line(page: &mut String, text: &str) {
    page.push_str(text);
    page.push('\n');
}

fn row(page: &mut String, name: &str, value: &str) {
    line(page, &format!("| {name} | {value} |"));
}

fn rest(page: &mut String, rows: usize) {
    if rows > ROWS_MAX {
        line(page, &format!("\nand {} more", rows - ROWS_MAX));
    }
}

/// A text from outside as one line of prose.
fn text(value: &str) -> String {
    sanitize::outgoing(value, &sanitize::OutgoingRules::default()).into_text()
}

/// A text from outside as a code span in a table's cell: nothing in it acts, and it cannot end the cell.
fn cell(value: &str) -> String {
    let mut flat = String::new();
    for character in text(value).chars() {
        match character {
            '\n' | '\r' | '\t' => flat.push(' '),
            '|' => flat.push('¦'),
            '`' => flat.push('\''),
            other => flat.push(other),
        }
    }
    let short: String = flat.chars().take(400).collect();
    let mut shown = String::new();
    if write!(shown, "`{}`", short.trim()).is_err() || short.trim().is_empty() {
        return String::new();
    }
    shown
}

fn bounded(mut page: String) -> String {
    if let Some((end, _)) = page.char_indices().nth(CHARACTERS_MAX) {
        page.truncate(end);
        page.push_str("\n\n(cut: the journal of the run holds the rest)\n");
    }
    page
}
