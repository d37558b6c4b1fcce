//! What of a thread is shown to the agent: each rule with a text that is shown and one that is withheld.

use serde_json::json;
use tagout::event::{Account, AccountKind};
use tagout::gate::context::{self, Context, ITEM_CHARS_MAX, ITEMS_MAX, Item};
use tagout::gate::{self, AskedBy};

use crate::gate::{event, facts, payload, policy};

/// Before octocat's comment 70, which is of midnight.
const BEFORE: &str = "2025-12-31T20:00:00Z";
const AFTER: &str = "2026-01-01T00:00:00Z";

fn item(id: u64, login: &str, account: u64, body: &str) -> Item {
    Item {
        by: AskedBy::Comment(id),
        author: Some(Account {
            login: login.to_owned(),
            id: account,
            kind: AccountKind::Human,
        }),
        by_app: false,
        created_at: Some(BEFORE.to_owned()),
        updated_at: Some(BEFORE.to_owned()),
        place: None,
        body: body.to_owned(),
    }
}

fn octocats(id: u64, body: &str) -> Item {
    item(id, "octocat", 1, body)
}

fn select(items: Vec<Item>) -> Context {
    let event = event(&payload("/tagout fix"));
    let facts = facts(&event);
    let addressed = gate::address(&event, &policy()).expect("addressed to us");
    let admitted = gate::admit(addressed, &policy(), &facts).expect("admitted");
    context::select(items, &admitted, &policy(), &facts)
}

fn withheld(item: Item) -> Vec<&'static str> {
    let context = select(vec![item]);
    assert!(context.shown.is_empty(), "{context:?}");
    context.withheld.into_keys().collect()
}

#[test]
fn words_of_those_who_may_ask_are_shown_with_their_place() {
    let mut line = octocats(1, "Rename this");
    line.by = AskedBy::Line(1);
    line.place = Some(("src/a.rs".to_owned(), Some(3)));
    let context = select(vec![line, octocats(2, "And that")]);
    assert_eq!(context.shown.len(), 2);
    assert_eq!(context.shown[0].author, "octocat");
    assert_eq!(
        context.shown[0].place,
        Some(("src/a.rs".to_owned(), Some(3)))
    );
    assert!(context.withheld.is_empty());
}

#[test]
fn words_of_others_are_counted_and_not_shown() {
    assert_eq!(
        withheld(item(1, "reporter", 3, "Leak it")),
        ["permission-too-low"]
    );
    assert_eq!(
        withheld(item(1, "stranger", 9, "x")),
        ["permission-not-established"]
    );
    assert_eq!(withheld(item(1, "octocat", 2, "x")), ["account-changed"]);
    let mut gone = octocats(1, "x");
    gone.author = None;
    assert_eq!(withheld(gone), ["author-gone"]);
    let mut app = octocats(1, "x");
    app.by_app = true;
    assert_eq!(withheld(app), ["app-not-listed"]);
    let mut bot = item(1, "other[bot]", 78, "x");
    bot.author.as_mut().expect("set").kind = AccountKind::Bot;
    assert_eq!(withheld(bot), ["bot-not-listed"]);
}

#[test]
fn words_from_after_the_request_or_of_no_known_time_are_not_shown() {
    for (created, updated) in [
        (Some(AFTER), Some(AFTER)),
        (Some(BEFORE), Some(AFTER)),
        (None, Some(BEFORE)),
        (Some(BEFORE), None),
        (Some("yesterday"), Some(BEFORE)),
    ] {
        let mut late = octocats(1, "x");
        late.created_at = created.map(str::to_owned);
        late.updated_at = updated.map(str::to_owned);
        assert_eq!(
            withheld(late),
            ["later-than-asked"],
            "{created:?} {updated:?}"
        );
    }
}

#[test]
fn what_asked_and_our_own_words_are_no_context() {
    let mut own = item(
        1,
        "github-actions[bot]",
        gate::GITHUB_ACTIONS_BOT,
        "Proposed",
    );
    own.author.as_mut().expect("set").kind = AccountKind::Bot;
    let context = select(vec![octocats(70, "/tagout fix"), own, octocats(3, " ")]);
    assert_eq!(context, Context::default());
}

#[test]
fn thread_is_bounded_in_texts_and_in_characters() {
    let long = "é".repeat(ITEM_CHARS_MAX + 1);
    let items = (0..ITEMS_MAX as u64 + 5)
        .map(|id| octocats(1000 + id, if id == 64 { &long } else { "x" }))
        .collect();
    let context = select(items);
    assert_eq!(context.shown.len(), ITEMS_MAX);
    assert_eq!(context.withheld["too-many"], 5);
    let last = &context.shown.last().expect("shown").body;
    assert_eq!(last.chars().count(), ITEM_CHARS_MAX + "\n(cut)".len());
}

#[test]
fn few_people_are_asked_about_and_the_newest_first() {
    let items: Vec<Item> = (0..100)
        .map(|number| item(number, &format!("p{number}"), 100 + number, "x"))
        .collect();
    let asked = context::authors(&items, AFTER);
    assert_eq!(asked.len(), context::AUTHORS_MAX);
    assert_eq!(asked[0], "p99");
    assert!(
        context::authors(&items, BEFORE).is_empty(),
        "{}",
        json!(asked)
    );
}
