//! What the model can do: a handful of tools, all of them inside the walls.
//! It must never fail the run because of what a model wrote; a wrong call is answered in words.

mod fetch;
mod files;
mod image;
mod shell;

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::patch;
use super::protocol::{Call, Image, Tool};
use crate::console;

/// What a call gave.
pub(super) enum Done {
    /// Something to tell the model.
    Output { text: String, image: Option<Image> },
    /// The work is done.
    Finished(Finish),
}

/// The model's own words on its work.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Finish {
    pub(super) title: String,
    pub(super) summary: String,
    pub(super) tests: Vec<String>,
}

#[derive(Deserialize)]
struct Patch {
    #[serde(alias = "input")]
    patch: String,
}

#[derive(Deserialize)]
struct Steps {
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    #[serde(alias = "description")]
    step: String,
    #[serde(default)]
    status: String,
}

/// All tools.
pub(super) const TOOLS: &[Tool] = &[
    Tool {
        name: "shell",
        description: "Runs a command with sh -c and returns its exit code and output (stdout and stderr together, long output cut in the middle). \
            Standard input is empty. Each call is a new shell.",
        parameters: || {
            json!({"type": "object", "properties": {
                "command": {"type": "string", "description": "The command line."},
                "workdir": {"type": "string", "description": "The folder to run in, relative to the workspace."},
                "timeout_seconds": {"type": "integer", "description": "Kill it after this long. Default 120, at most 1200."}
            }, "required": ["command"], "additionalProperties": false})
        },
    },
    Tool {
        name: "apply_patch",
        description: "Edits files. All of the patch is applied, or nothing. The patch looks like this:\n\
            *** Begin Patch\n*** Update File: path/of/file\n@@ an unchanged line before the place, such as a function's head\n unchanged line\n\
            -old line\n+new line\n unchanged line\n*** Add File: path/of/new\n+its lines\n*** Delete File: path/of/old\n*** End Patch\n\
            Paths are relative. Lines begin with a space (unchanged), - (removed) or + (added); give about three unchanged lines around each \
            change. `*** Move to: path` after an Update line renames. `*** End of File` after a part ties it to the file's end.",
        parameters: || {
            json!({"type": "object", "properties": {
                "patch": {"type": "string", "description": "The whole patch."}
            }, "required": ["patch"], "additionalProperties": false})
        },
    },
    Tool {
        name: "read_file",
        description: "Shows lines of a text file as they are.",
        parameters: || {
            json!({"type": "object", "properties": {
                "path": {"type": "string"},
                "offset": {"type": "integer", "description": "The first line, from 1."},
                "limit": {"type": "integer", "description": "How many lines. Default 800."}
            }, "required": ["path"], "additionalProperties": false})
        },
    },
    Tool {
        name: "fetch",
        description: "Sends one HTTP request and shows the status and the body. The network reaches only what the project's policy allows; a \
            denial says which policy line decided.",
        parameters: || {
            json!({"type": "object", "properties": {
                "url": {"type": "string"},
                "method": {"type": "string", "description": "Default GET."},
                "body": {"type": "string"}
            }, "required": ["url"], "additionalProperties": false})
        },
    },
    Tool {
        name: "view_image",
        description: "Shows a PNG, JPEG, GIF or WebP file as a picture.",
        parameters: || {
            json!({"type": "object", "properties": {
                "path": {"type": "string"}
            }, "required": ["path"], "additionalProperties": false})
        },
    },
    Tool {
        name: "plan",
        description: "Notes the steps of your work for the people who follow it. Send the whole list each time.",
        parameters: || {
            json!({"type": "object", "properties": {"steps": {"type": "array", "items": {"type": "object", "properties": {
                "step": {"type": "string"},
                "status": {"type": "string", "enum": ["pending", "in_progress", "completed"]}
            }, "required": ["step", "status"], "additionalProperties": false}}}, "required": ["steps"], "additionalProperties": false})
        },
    },
    Tool {
        name: "finish",
        description: "Ends the work. Call it once, when the task is done and checked, or when it cannot be done.",
        parameters: || {
            json!({"type": "object", "properties": {
                "title": {"type": "string", "description": "One line for the pull request, at most 70 characters."},
                "summary": {"type": "string", "description": "What was wrong, what changed, how it was checked, what is left."},
                "tests": {"type": "array", "items": {"type": "string"}, "description": "Each check that was run, with its result."}
            }, "required": ["title", "summary"], "additionalProperties": false})
        },
    },
];

/// What a call is about, for the log.
pub(super) fn headline(call: &Call) -> String {
    let arguments: Value = serde_json::from_str(&call.arguments).unwrap_or(Value::Null);
    let word = |name: &str| {
        arguments
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    match call.name.as_str() {
        "shell" => format!("$ {}", word("command")),
        "apply_patch" => {
            let patch = word("patch");
            let files: Vec<&str> = patch
                .lines()
                .filter(|line| line.starts_with("*** ") && line.contains(" File: "))
                .filter_map(|line| line.strip_prefix("*** "))
                .collect();
            format!("apply_patch: {}", files.join(", "))
        }
        "read_file" | "view_image" => format!("{} {}", call.name, word("path")),
        "fetch" => format!("fetch {} {}", word("method"), word("url")),
        "finish" => format!("finish: {}", word("title")),
        other => other.to_owned(),
    }
}

/// The tools, bound to a workspace.
#[derive(Debug)]
pub(super) struct Toolbox {
    workspace: PathBuf,
}

impl Toolbox {
    pub(super) fn new(workspace: &Path) -> Self {
        Self {
            workspace: workspace.to_owned(),
        }
    }

    /// Does what was called, or says why not.
    pub(super) async fn run(&self, call: &Call) -> Done {
        match self.dispatch(call).await {
            Ok(done) => done,
            Err(why) => Done::Output {
                text: format!("error: {why}"),
                image: None,
            },
        }
    }

    async fn dispatch(&self, call: &Call) -> Result<Done, String> {
        let text = match call.name.as_str() {
            "shell" => shell::run(&self.workspace, &read(call)?).await?,
            "apply_patch" => {
                let Patch { patch } = read(call)?;
                let done =
                    patch::apply(&self.workspace, &patch).map_err(|error| error.to_string())?;
                format!("done:\n{}", done.join("\n"))
            }
            "fetch" => fetch::run(read(call)?).await?,
            "read_file" => files::read(&self.workspace, &read(call)?)?,
            "view_image" => {
                let image = image::view(&self.workspace, &read(call)?)?;
                return Ok(Done::Output {
                    text: "the picture:".to_owned(),
                    image: Some(image),
                });
            }
            "plan" => {
                let Steps { steps } = read(call)?;
                for Step { step, status } in steps.iter().take(30) {
                    let sign = match status.as_str() {
                        "completed" => "x",
                        "in_progress" => ">",
                        _ => " ",
                    };
                    let step: String = step.chars().filter(|c| !c.is_control()).take(120).collect();
                    console::notice(&format!("agent: [{sign}] {step}"));
                }
                "noted".to_owned()
            }
            "finish" => return Ok(Done::Finished(read(call)?)),
            other => {
                let names: Vec<&str> = TOOLS.iter().map(|tool| tool.name).collect();
                return Err(format!(
                    "there is no tool {other:?}; there are {}",
                    names.join(", ")
                ));
            }
        };
        Ok(Done::Output { text, image: None })
    }
}

fn read<Arguments: DeserializeOwned>(call: &Call) -> Result<Arguments, String> {
    let text = if call.arguments.trim().is_empty() {
        "{}"
    } else {
        &call.arguments
    };
    serde_json::from_str(text).map_err(|error| {
        format!(
            "the arguments of {} are not what it takes: {error}",
            call.name
        )
    })
}
