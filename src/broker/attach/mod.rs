//! What belongs to a thread beside its words: images that people attached, and the logs of the jobs that failed, as files.
//! It must never take an image from words that are not shown, send a token to anybody but the API, nor read without a bound.
//!
//! `named` finds images in texts, `roads` makes the rules, the egress fetches and judges each hop, `picture` looks at what came.

mod named;
pub mod picture;
mod roads;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use url::Url;

use super::egress::fetch::{self, Fetched, NoAnswer, Take, Wanted};
use super::egress::setup::{EgressSetup, Proxy, ProxyAuth};
use super::forge::github::{GitHub, Job};
use super::job::asked::Asked;
use super::job::end::End;
use super::job::record::Record;
use super::journal::Source;
use super::surroundings::Surroundings;
use crate::cli::JobArgs;
use crate::gate::AskedBy;
use crate::gate::context::{Context, Handed, Shown};
use crate::outcome::Outcome;
use crate::sanitize;
use crate::wire::Denied;
use roads::Forge;

/// Images of one run.
pub const IMAGES_MAX: usize = 10;
/// Bytes of one image.
pub const IMAGE_BYTES_MAX: usize = 5 << 20;
/// Pixels of one image: a screen of eight thousand by five thousand.
pub const IMAGE_PIXELS_MAX: u64 = 40_000_000;
/// Logs of one run.
pub const LOGS_MAX: usize = 5;
/// Bytes of one log that are handed over, its last ones.
pub const LOG_BYTES_MAX: usize = 256 << 10;
/// Lines of one log that the agent is shown with the task, its last ones.
pub const LOG_LINES_SHOWN_MAX: usize = 100;
/// Characters of one log that the agent is shown with the task.
pub const LOG_CHARS_SHOWN_MAX: usize = 8_000;

/// The permission without which GitHub does not hand a log over.
const NEEDS_ACTIONS: &str = "the token needs actions: read";

/// The context with what was attached, and the folder that must be readable inside.
#[derive(Debug)]
pub struct Attached {
    /// What the agent is shown.
    pub context: Context,
    /// Where the files are; none where there are none.
    pub folder: Option<PathBuf>,
}

/// What is to be fetched, and what it is.
struct Question {
    wanted: Wanted,
    what: What,
}

enum What {
    Image { whose: String },
    Log { job: Job },
}

/// What is not handed over, by kind and reason.
#[derive(Default)]
struct Withheld(BTreeMap<(&'static str, String), u64>);

impl Withheld {
    fn add(&mut self, kind: &'static str, why: &str) {
        *self.0.entry((kind, why.to_owned())).or_default() += 1;
    }
}

const IMAGE: &str = "image of the thread";
const LOG: &str = "log of a failed job";

/// Fetches what belongs to the words that the agent is shown. What cannot be had or may not be shown is counted and told.
///
/// # Errors
/// A folder of the run cannot be written, or the egress cannot be started.
pub async fn gather(
    asked: &Asked,
    args: &JobArgs,
    surroundings: &Surroundings,
    record: &mut Record,
) -> Result<Attached, End> {
    let mut context = asked.context.clone();
    let Some(github) = &asked.github else {
        return Ok(Attached {
            context,
            folder: None,
        });
    };
    let forge = Forge::at(
        surroundings.server_url.as_deref(),
        surroundings.api_url.as_deref(),
    );
    let mut network = forge.network(&asked.trusted.policy.network);
    let mut withheld = Withheld::default();
    let mut questions = images(asked, github, &forge, &mut withheld).await;
    for (job, place) in logs(asked, github, &mut withheld).await {
        network.allow.extend(forge.named_by_api(&place));
        let take = Take::Tail {
            bytes_max: LOG_BYTES_MAX,
        };
        questions.push(Question {
            wanted: wanted(&place, "text/plain", take),
            what: What::Log { job },
        });
    }
    let mut folder = None;
    if !questions.is_empty() {
        let setup = EgressSetup::new(&asked.trusted.file, network);
        let answers = answers(setup, args, &questions, record)?;
        let place = record.folder().join("attached");
        make(&place, 0o755)?;
        let at = asked.admitted.at().unwrap_or_default();
        let mut files = Files {
            folder: &place,
            at,
            context: &mut context,
            withheld: &mut withheld,
        };
        for (question, answer) in questions.into_iter().zip(answers) {
            files.take(question.what, answer)?;
        }
        folder = Some(place);
    }
    tell(&context, withheld, record)?;
    Ok(Attached { context, folder })
}

fn wanted(url: &Url, accept: &'static str, take: Take) -> Wanted {
    Wanted {
        url: url.to_string(),
        accept,
        take,
    }
}

/// The images of every text that is shown, with the addresses that need no token.
async fn images(
    asked: &Asked,
    github: &GitHub,
    forge: &Forge,
    withheld: &mut Withheld,
) -> Vec<Question> {
    let mut seen: Vec<Url> = Vec::new();
    let mut pages: Vec<(AskedBy, String)> = Vec::new();
    let mut questions = Vec::new();
    for (by, whose, text) in texts(asked) {
        for url in named::images(text) {
            if seen.contains(&url) {
                continue;
            }
            seen.push(url.clone());
            if questions.len() >= IMAGES_MAX {
                withheld.add(IMAGE, "too-many");
                continue;
            }
            let place = match (forge.is_attachment(&url), asked.admitted.issue(), by) {
                (true, Some(issue), Some(by)) => {
                    if !pages.iter().any(|(known, _)| *known == by) {
                        // Without it the attachment's own address is tried, which is enough where everybody may read.
                        let page = github.rendered(issue, by).await.unwrap_or_default();
                        pages.push((by, page));
                    }
                    let page = pages.iter().find(|(known, _)| *known == by);
                    page.and_then(|(_, page)| named::signed(page, &url))
                        .unwrap_or(url)
                }
                (true | false, _, _) => url,
            };
            let take = Take::Whole {
                bytes_max: IMAGE_BYTES_MAX,
            };
            questions.push(Question {
                wanted: wanted(&place, "image/png, image/jpeg, image/gif, image/webp", take),
                what: What::Image {
                    whose: whose.to_owned(),
                },
            });
        }
    }
    questions
}

/// Every text that the agent is shown: the task's, where it is somebody's words, the issue's, and those of the thread.
fn texts(asked: &Asked) -> impl Iterator<Item = (Option<AskedBy>, &str, &str)> {
    let admitted = &asked.admitted;
    let task = (
        admitted.origin().map(|origin| origin.by),
        admitted.requester().login.as_str(),
        admitted.task(),
    );
    let thread = admitted.thread().map(|it| {
        (
            Some(AskedBy::Issue),
            it.author.login.as_str(),
            it.body.as_str(),
        )
    });
    let shown = asked.context.shown.iter();
    let shown = shown.map(|it| (Some(it.by), it.author.as_str(), it.body.as_str()));
    std::iter::once(task).chain(thread).chain(shown)
}

/// Where the logs of the jobs that failed can be fetched.
async fn logs(asked: &Asked, github: &GitHub, withheld: &mut Withheld) -> Vec<(Job, Url)> {
    let Some((run, attempt)) = asked.admitted.failed_run() else {
        return Vec::new();
    };
    let denied = |error: &crate::broker::forge::github::error::ForgeError| {
        error.is_status(403) || error.is_status(404)
    };
    let jobs = match github.failed_jobs(run, attempt).await {
        Ok(jobs) => jobs,
        Err(error) if denied(&error) => {
            withheld.add(LOG, NEEDS_ACTIONS);
            return Vec::new();
        }
        Err(_) => {
            withheld.add(LOG, "no-answer");
            return Vec::new();
        }
    };
    let mut places = Vec::new();
    for (number, job) in jobs.into_iter().enumerate() {
        if number >= LOGS_MAX {
            withheld.add(LOG, "too-many");
            continue;
        }
        match github.log_place(job.id).await {
            Ok(place) => match Url::parse(&place) {
                Ok(place) => places.push((job, place)),
                Err(_) => withheld.add(LOG, "redirect-unreadable"),
            },
            Err(error) if denied(&error) => withheld.add(LOG, NEEDS_ACTIONS),
            Err(_) => withheld.add(LOG, "no-answer"),
        }
    }
    places
}

fn answers(
    setup: EgressSetup,
    args: &JobArgs,
    questions: &[Question],
    record: &mut Record,
) -> Result<Vec<Result<Vec<u8>, NoAnswer>>, End> {
    let failed = |error: &dyn std::error::Error| End::internal("egress-failed", error);
    let path = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let setup = setup
        .with_resolve(&args.resolve)
        .map_err(|error| End::of(Outcome::Usage, "egress-setup", &error))?
        .with_roots(path("SSL_CERT_FILE"), path("SSL_CERT_DIR"))
        .with_proxy(Proxy {
            listen: std::net::SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, 0)),
            auth: ProxyAuth::Password,
        })
        .map_err(|error| failed(&error))?;
    let folder = record.folder().join("attached-egress");
    make(&folder, 0o700)?;
    let wanted: Vec<Wanted> = questions.iter().map(|it| it.wanted.clone()).collect();
    let Fetched { answers, requests } =
        fetch::fetch(&setup, &folder, &wanted).map_err(|error| failed(&error))?;
    for request in &requests {
        record.say("request", Source::Egress, request)?;
    }
    Ok(answers)
}

/// Where what came is put.
struct Files<'a> {
    folder: &'a Path,
    at: &'a str,
    context: &'a mut Context,
    withheld: &'a mut Withheld,
}

impl Files<'_> {
    fn take(&mut self, what: What, answer: Result<Vec<u8>, NoAnswer>) -> Result<(), End> {
        match (what, answer) {
            (What::Image { whose }, Ok(bytes)) => self.image(&whose, &bytes),
            (What::Log { job }, Ok(bytes)) => self.log(&job, &bytes),
            (What::Image { .. }, Err(no)) => {
                self.withheld.add(IMAGE, &no.code);
                Ok(())
            }
            (What::Log { .. }, Err(no)) => {
                self.withheld.add(LOG, &no.code);
                Ok(())
            }
        }
    }

    fn image(&mut self, whose: &str, bytes: &[u8]) -> Result<(), End> {
        let Some(picture) = picture::read(bytes) else {
            self.withheld.add(IMAGE, "not-an-image");
            return Ok(());
        };
        if u64::from(picture.width) * u64::from(picture.height) > IMAGE_PIXELS_MAX {
            self.withheld.add(IMAGE, "too-many-pixels");
            return Ok(());
        }
        let format = picture.format.word();
        let what = format!(
            "{format} image, {} by {} pixels, attached by {}",
            picture.width,
            picture.height,
            sanitize::title(whose).text()
        );
        self.put("image", format, bytes, what)
    }

    /// The end of a log as a file, and its last lines among what is shown.
    fn log(&mut self, job: &Job, bytes: &[u8]) -> Result<(), End> {
        let text = String::from_utf8_lossy(bytes);
        let lines: Vec<String> = text.lines().map(sanitize::log_line).collect();
        let from = lines.len().saturating_sub(LOG_LINES_SHOWN_MAX);
        let end = lines.get(from..).unwrap_or_default().join("\n");
        let over = end.chars().count().saturating_sub(LOG_CHARS_SHOWN_MAX);
        let end: String = end.chars().skip(over).collect();
        let name = sanitize::title(&job.name);
        self.context.shown.push(Shown {
            by: AskedBy::Run(job.id),
            author: "CI".to_owned(),
            at: self.at.to_owned(),
            place: None,
            body: format!(
                "The end of the log of the job \"{}\", which failed:\n\n{}",
                name.text(),
                sanitize::fence(&end, "")
            ),
        });
        let whole = lines.join("\n") + "\n";
        let what = "the end of the log of a job that failed".to_owned();
        self.put("log", "txt", whole.as_bytes(), what)
    }

    /// Inside another user may read it, and nobody may write it.
    fn put(&mut self, name: &str, end: &str, bytes: &[u8], what: String) -> Result<(), End> {
        let number = self.context.files.len() + 1;
        let path = self.folder.join(format!("{name}-{number}.{end}"));
        fs::write(&path, bytes)
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o444)))
            .map_err(|error| unwritable(&path, &error))?;
        let path = path.display().to_string();
        self.context.files.push(Handed { path, what });
        Ok(())
    }
}

/// The counts, for the report and for the job that publishes.
fn tell(context: &Context, withheld: Withheld, record: &mut Record) -> Result<(), End> {
    if context.files.is_empty() && withheld.0.is_empty() {
        return Ok(());
    }
    let handed: Vec<&str> = context.files.iter().map(|it| it.what.as_str()).collect();
    let reasons: Vec<String> = withheld
        .0
        .iter()
        .map(|((what, why), count)| format!("{what}: {why} {count}"))
        .collect();
    record.say(
        "attached",
        Source::Broker,
        &serde_json::json!({ "handed": handed, "withheld": reasons }),
    )?;
    let denied = withheld.0.into_iter().map(|((what, why), count)| Denied {
        wall: "egress".to_owned(),
        what: format!("{what}, withheld from the agent: {why}"),
        count,
        allow: None,
        at: None,
    });
    record.facts.network.extend(denied);
    Ok(())
}

fn make(folder: &Path, mode: u32) -> Result<(), End> {
    fs::DirBuilder::new()
        .mode(mode)
        .create(folder)
        .and_then(|()| fs::set_permissions(folder, fs::Permissions::from_mode(mode)))
        .map_err(|error| unwritable(folder, &error))
}

fn unwritable(path: &Path, error: &std::io::Error) -> End {
    End::new(
        Outcome::Internal,
        "run-folder-unwritable",
        format!("cannot write {}: {error}", path.display()),
    )
}
