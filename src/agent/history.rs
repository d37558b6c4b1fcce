//! The conversation so far, kept within a bound by leaving out what tools gave long ago.
//! It must never leave out the task or a call without its output: providers refuse the one without the other.

use super::protocol::Item;

/// Most bytes of the whole conversation; about 120,000 tokens of code.
const HISTORY_BYTES_MAX: usize = 480_000;
/// Outputs that are shorter are not worth leaving out.
const OUTPUT_BYTES_KEPT: usize = 300;
/// Bytes that an image counts for, whatever its file size: models see it in a fixed number of tokens.
const IMAGE_BYTES: usize = 8_000;

/// All items, oldest first.
#[derive(Debug)]
pub(super) struct History {
    items: Vec<Item>,
    bytes_max: usize,
}

impl History {
    pub(super) fn new() -> Self {
        Self {
            items: Vec::new(),
            bytes_max: HISTORY_BYTES_MAX,
        }
    }

    pub(super) fn push(&mut self, item: Item) {
        self.items.push(item);
    }

    pub(super) fn items(&self) -> &[Item] {
        &self.items
    }

    /// Halves the bound, because the provider says that the conversation is too long. False if it is small already.
    pub(super) fn shrink(&mut self) -> bool {
        self.bytes_max = self.bytes_max.min(self.bytes()) / 2;
        self.fit();
        self.bytes_max > 10_000
    }

    /// Leaves out the oldest outputs, and then the oldest arguments, until three quarters of the bound are met.
    pub(super) fn fit(&mut self) {
        if self.bytes() <= self.bytes_max {
            return;
        }
        let goal = self.bytes_max / 4 * 3;
        // What the last answer asked for is what the model is working with.
        let recent = self.items.len().saturating_sub(4);
        for leave_out in [output, arguments] {
            for at in 0..recent {
                if self.bytes() <= goal {
                    return;
                }
                if let Some(item) = self.items.get_mut(at) {
                    leave_out(item);
                }
            }
        }
    }

    fn bytes(&self) -> usize {
        self.items.iter().map(size).sum()
    }
}

fn size(item: &Item) -> usize {
    match item {
        Item::User(text) | Item::Assistant(text) => text.len(),
        Item::Opaque(value) => value.to_string().len(),
        Item::Call(call) => call.arguments.len() + 50,
        Item::Output(output) => {
            output.text.len() + output.image.as_ref().map_or(0, |_| IMAGE_BYTES)
        }
    }
}

fn output(item: &mut Item) {
    if let Item::Output(output) = item
        && (output.text.len() > OUTPUT_BYTES_KEPT || output.image.is_some())
    {
        output.text = format!(
            "[{} bytes of output were left out to keep the conversation short; run the tool again if you need them]",
            output.text.len()
        );
        output.image = None;
    }
}

fn arguments(item: &mut Item) {
    if let Item::Call(call) = item
        && call.arguments.len() > OUTPUT_BYTES_KEPT
    {
        call.arguments = r#"{"note":"left out to keep the conversation short"}"#.to_owned();
    }
}

#[cfg(test)]
mod tests {
    use super::super::protocol::{Call, Output};
    use super::*;

    fn long(rounds: usize, bytes: usize) -> History {
        let mut history = History::new();
        history.push(Item::User("the task".to_owned()));
        for round in 0..rounds {
            history.push(Item::Call(Call {
                id: round.to_string(),
                name: "shell".to_owned(),
                arguments: "x".repeat(bytes),
            }));
            history.push(Item::Output(Output {
                call: round.to_string(),
                text: "y".repeat(bytes),
                image: None,
            }));
        }
        history
    }

    #[test]
    fn oldest_outputs_go_first_and_the_newest_stay() {
        let mut history = long(20, 20_000);
        history.fit();
        assert!(history.bytes() <= HISTORY_BYTES_MAX);
        assert_eq!(history.items().len(), 41, "no item disappears");
        assert_eq!(
            history.items().first(),
            Some(&Item::User("the task".to_owned()))
        );
        let Some(Item::Output(last)) = history.items().last() else {
            panic!("an output");
        };
        assert_eq!(last.text.len(), 20_000);
    }

    #[test]
    fn arguments_go_when_outputs_are_not_enough() {
        let mut history = long(50, 20_000);
        history.fit();
        assert!(history.bytes() <= HISTORY_BYTES_MAX);
    }

    #[test]
    fn short_conversation_is_left_alone() {
        let mut history = long(3, 100);
        let before = history.bytes();
        history.fit();
        assert_eq!(history.bytes(), before);
    }
}
