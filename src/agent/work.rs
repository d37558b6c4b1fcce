//! The loop: ask, run what was called, tell the results, until the work is done or a limit is met.
//! It must never run for ever: every way round it counts as a turn.

use super::client::Client;
use super::history::History;
use super::instructions::{INSTRUCTIONS, first_message};
use super::protocol::{Answer, Item, Output, Question};
use super::settings::Settings;
use super::tools::{self, Done, Finish, Toolbox};
use super::{AgentError, SUMMARY_BYTES_MAX, TEST_BYTES_MAX, TESTS_MAX, TITLE_BYTES_MAX, Told, cut};
use crate::console;

/// Empty answers in a row after which it is given up.
const SILENT_MAX: u32 = 3;

/// Works on the task; `told` holds what can be said of it, whatever the end.
pub(super) async fn work(settings: &Settings, told: &mut Told) -> Result<(), AgentError> {
    let client = Client::new(settings)?;
    let toolbox = Toolbox::new(&settings.workspace);
    let mut history = History::new();
    history.push(Item::User(first_message(
        &settings.workspace,
        &settings.prompt,
    )));
    let mut asker = Asker {
        client,
        encrypted: true,
    };
    let mut silent = 0;
    let mut warned = false;
    for turn in 1..=settings.turns {
        told.turns = turn;
        history.fit();
        let answer = asker.ask(settings, &mut history).await?;
        told.tokens = told.tokens.saturating_add(answer.tokens);
        silent = if answer.items.is_empty() {
            silent + 1
        } else {
            0
        };
        if silent >= SILENT_MAX {
            return Err(AgentError::Silent);
        }
        match take_turn(&toolbox, &mut history, answer, told).await {
            Next::Done => return Ok(()),
            Next::Further => {}
        }
        if settings.tokens.is_some_and(|limit| told.tokens >= limit) {
            return Err(AgentError::Tokens);
        }
        if !warned && near(settings, told) {
            warned = true;
            history.push(Item::User(format!(
                "Note: four fifths of your limit are used ({turn} of {} turns). Finish the smallest complete version now, check it, \
                 and call finish.",
                settings.turns
            )));
        }
    }
    Err(AgentError::Turns(settings.turns))
}

/// Whether 80 % of a limit is used.
fn near(settings: &Settings, told: &Told) -> bool {
    let turns = u64::from(told.turns) * 5 >= u64::from(settings.turns) * 4;
    let tokens = settings
        .tokens
        .is_some_and(|limit| told.tokens >= limit / 5 * 4);
    turns || tokens
}

/// Asks with what this model turns out to accept.
struct Asker {
    client: Client,
    encrypted: bool,
}

impl Asker {
    async fn ask(
        &mut self,
        settings: &Settings,
        history: &mut History,
    ) -> Result<Answer, AgentError> {
        loop {
            let question = Question {
                model: &settings.model,
                instructions: INSTRUCTIONS,
                items: history.items(),
                tools: tools::TOOLS,
                encrypted: self.encrypted,
            };
            match self.client.ask(&question).await {
                Err(AgentError::Refused { status: 400, body })
                    if self.encrypted && body.contains("ncrypted") =>
                {
                    self.encrypted = false;
                }
                Err(AgentError::Refused {
                    status: 400 | 413,
                    body,
                }) if too_long(&body) && history.shrink() => {
                    console::notice(
                        "agent: the conversation is too long for the model; leaving old outputs out",
                    );
                }
                other => return other,
            }
        }
    }
}

/// Providers word it differently; all name the context or the prompt's length.
fn too_long(body: &str) -> bool {
    let body = body.to_lowercase();
    [
        "context length",
        "context_length",
        "context window",
        "too long",
        "too large",
    ]
    .iter()
    .any(|words| body.contains(words))
}

enum Next {
    Done,
    Further,
}

async fn take_turn(
    toolbox: &Toolbox,
    history: &mut History,
    answer: Answer,
    told: &mut Told,
) -> Next {
    let mut called = false;
    let mut finished = None;
    let mut said = String::new();
    let calls: Vec<Item> = answer.items;
    let mut outputs = Vec::new();
    for item in calls {
        match &item {
            Item::Assistant(text) => {
                said.clone_from(text);
                console::notice(&format!("agent: {}", one_line(text)));
            }
            Item::Call(call) => {
                called = true;
                console::notice(&format!("agent: {}", one_line(&tools::headline(call))));
                let (text, image) = match toolbox.run(call).await {
                    Done::Output { text, image } => (text, image),
                    Done::Finished(finish) => {
                        finished = Some(finish);
                        ("noted".to_owned(), None)
                    }
                };
                outputs.push(Item::Output(Output {
                    call: call.id.clone(),
                    text,
                    image,
                }));
            }
            Item::User(_) | Item::Opaque(_) | Item::Output(_) => {}
        }
        history.push(item);
    }
    for output in outputs {
        history.push(output);
    }
    if let Some(finish) = finished {
        note(told, finish);
        return Next::Done;
    }
    if called {
        return Next::Further;
    }
    if answer.cut {
        history.push(Item::User(
            "Your answer was cut off at its length limit. Go on in smaller steps.".to_owned(),
        ));
        return Next::Further;
    }
    if said.is_empty() {
        history.push(Item::User(
            "Your answer was empty. Go on with the task, or call finish.".to_owned(),
        ));
        return Next::Further;
    }
    // A turn that ends in words alone ends the work; not every model calls finish.
    told.summary = cut(&said, SUMMARY_BYTES_MAX).to_owned();
    Next::Done
}

fn note(told: &mut Told, finish: Finish) {
    let first = finish.title.lines().next().unwrap_or_default();
    told.title = cut(first.trim(), TITLE_BYTES_MAX).to_owned();
    told.summary = cut(finish.summary.trim(), SUMMARY_BYTES_MAX).to_owned();
    told.tests = finish
        .tests
        .iter()
        .take(TESTS_MAX)
        .map(|test| cut(test, TEST_BYTES_MAX).to_owned())
        .collect();
}

/// One short line for the log, without control characters.
fn one_line(text: &str) -> String {
    let line: String = text
        .chars()
        .map(|character| {
            if character.is_control() {
                ' '
            } else {
                character
            }
        })
        .take(200)
        .collect();
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}
