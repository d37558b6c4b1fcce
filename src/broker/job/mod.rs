//! The main job: from an event to a proposal, each step taking what the step before made.
//! It must never let the agent start before the gate has admitted the event, nor publish what the checks have not passed.

pub mod asked;
pub mod end;
pub mod execute;
pub mod inside;
pub mod interlock;
pub mod publish;
pub mod record;
pub mod seal;
pub mod verify;

use std::future::Future;

use asked::{Asked, NotAsked, Reads, Refused};
use end::End;
use record::Record;

use crate::broker::surroundings::Surroundings;
use crate::cli::{ExecuteArgs, Forge, JobArgs, PublishArgs, RunArgs};
use crate::console;
use crate::outcome::Outcome;
use crate::report::{AgentFacts, Arrangement, Facts, Request, Walls};

/// `tagout run`: both phases in one process tree.
#[must_use]
pub fn run(args: &RunArgs, surroundings: &Surroundings) -> Outcome {
    job(
        &args.job,
        surroundings,
        Arrangement::OneProcess,
        async |record| {
            let forge = asked::forge(&args.job, surroundings);
            let asked = admitted(&args.job, surroundings, Reads::Disk, record, forge).await?;
            let end = both(&asked, args, surroundings, record, forge).await;
            tell(&asked, forge, record, &end).await;
            end
        },
    )
}

async fn both(
    asked: &Asked,
    args: &RunArgs,
    surroundings: &Surroundings,
    record: &mut Record,
    forge: Forge,
) -> Result<End, End> {
    let worked = execute::work(asked, &args.job, &args.agent, surroundings, record).await?;
    verify::verify(asked, &args.job, &worked, record).await?;
    let folder = record.folder().join("bundle");
    let digest = seal::seal(&folder, asked, &worked, surroundings, record)?;
    let (_, changeset) = publish::verified(&folder, &digest, asked, surroundings)?;
    let change = seal::with_base(changeset, asked, &args.job, Reads::Disk).await?;
    let checked = publish::check(change, asked, &worked.secrets, record)?;
    publish::propose(asked, &checked, &args.job, forge, surroundings, record).await
}

/// `tagout execute`: phase 1.
#[must_use]
pub fn execute(args: &ExecuteArgs, surroundings: &Surroundings) -> Outcome {
    job(
        &args.job,
        surroundings,
        Arrangement::TwoJobs,
        async |record| {
            interlock::no_identity(surroundings)?;
            let asked = match asked::ask(&args.job, surroundings, Reads::Disk, record).await {
                Ok(asked) => asked,
                Err(NotAsked::End(end)) => return Err(end),
                // What is to be said of it is the publish job's: this one may not write.
                Err(NotAsked::Refused(refused)) => return Err(asked::refused(&refused.refusal)),
            };
            let end = sealed(&asked, args, surroundings, record).await;
            let end = match end {
                Ok(end) => Ok(end),
                // The publish job may say on the thread how it ended; this one may not.
                Err(end) => {
                    let digest = seal::seal_end(&args.bundle, &asked, &end, surroundings, record)?;
                    record.outputs.push(("digest", digest.to_string()));
                    Err(end)
                }
            };
            record.outputs.push(("artifact", seal::artifact_name()?));
            let bundle = args.bundle.display().to_string();
            record.outputs.push(("bundle", bundle));
            end
        },
    )
}

/// The agent's work, checked before it is sealed: what the checks refuse is not handed over.
async fn sealed(
    asked: &Asked,
    args: &ExecuteArgs,
    surroundings: &Surroundings,
    record: &mut Record,
) -> Result<End, End> {
    interlock::no_writer(asked, surroundings, record).await?;
    let worked = execute::work(asked, &args.job, &args.agent, surroundings, record).await?;
    let change = seal::with_base(worked.changeset.clone(), asked, &args.job, Reads::Disk).await?;
    publish::check(change, asked, &worked.secrets, record)?;
    verify::verify(asked, &args.job, &worked, record).await?;
    let digest = seal::seal(&args.bundle, asked, &worked, surroundings, record)?;
    record.outputs.push(("digest", digest.to_string()));
    Ok(End::good(
        Outcome::Sealed,
        format!("the changes are sealed with the digest {digest}"),
    ))
}

/// `tagout publish`: phase 2.
#[must_use]
pub fn publish(args: &PublishArgs, surroundings: &Surroundings) -> Outcome {
    job(
        &args.job,
        surroundings,
        Arrangement::TwoJobs,
        async |record| {
            let forge = asked::forge(&args.job, surroundings);
            let reads = match forge {
                Forge::Local => Reads::Disk,
                Forge::Github => Reads::Api,
            };
            let asked = admitted(&args.job, surroundings, reads, record, forge).await?;
            let end = proposed(&asked, args, surroundings, record, forge, reads).await;
            tell(&asked, forge, record, &end).await;
            end
        },
    )
}

async fn proposed(
    asked: &Asked,
    args: &PublishArgs,
    surroundings: &Surroundings,
    record: &mut Record,
    forge: Forge,
    reads: Reads,
) -> Result<End, End> {
    let digest = args
        .digest
        .parse()
        .map_err(|error| End::of(Outcome::Usage, "digest-unusable", &error))?;
    let (manifest, changeset) = publish::verified(&args.bundle, &digest, asked, surroundings)?;
    seal::claims_into(&manifest.claims, record);
    if let Some(end) = seal::claimed_end(&manifest.claims) {
        return Err(end);
    }
    let change = seal::with_base(changeset, asked, &args.job, reads).await?;
    let secrets: Vec<_> = surroundings.token.iter().cloned().collect();
    let checked = publish::check(change, asked, &secrets, record)?;
    publish::propose(asked, &checked, &args.job, forge, surroundings, record).await
}

/// Asks the gate, and answers a refusal on the thread at most once where we may write.
async fn admitted(
    args: &JobArgs,
    surroundings: &Surroundings,
    reads: Reads,
    record: &mut Record,
    forge: Forge,
) -> Result<Asked, End> {
    match asked::ask(args, surroundings, reads, record).await {
        Ok(asked) => Ok(asked),
        Err(NotAsked::End(end)) => Err(end),
        Err(NotAsked::Refused(refused)) => {
            answer(&refused, forge).await;
            Err(asked::refused(&refused.refusal))
        }
    }
}

async fn answer(refused: &Refused, forge: Forge) {
    let (Forge::Github, Some(github), Some(origin)) = (forge, &refused.github, refused.origin)
    else {
        return;
    };
    if let Err(error) = github.refuse(&refused.refusal, origin).await {
        console::notice(&format!(
            "tagout: the refusal was not told on the thread: {}",
            end::causes(&error)
        ));
    }
}

/// Tells the thread how the run ended, in one comment that later runs edit.
async fn tell(asked: &Asked, forge: Forge, record: &mut Record, end: &Result<End, End>) {
    let (Forge::Github, Some(github)) = (forge, &asked.github) else {
        return;
    };
    let (Ok(end) | Err(end)) = end;
    record.facts.outcome = end.outcome;
    record.facts.sentence.clone_from(&end.sentence);
    record.facts.code = end.code.map(str::to_owned);
    let page = crate::report::markdown::draw(&record.facts);
    if let Err(error) = github.tell(&asked.admitted, end.outcome, &page).await {
        let note = format!(
            "the comment on the thread was not written: {}",
            end::causes(&error)
        );
        console::notice(&format!("tagout: {note}"));
        record.facts.notes.push(note);
    }
}

/// Makes the record, runs the steps on a runtime of one thread, and ends the record.
fn job<Steps>(
    args: &JobArgs,
    surroundings: &Surroundings,
    arrangement: Arrangement,
    steps: Steps,
) -> Outcome
where
    Steps: AsyncFnOnce(&mut Record) -> Result<End, End>,
{
    if let Err(error) =
        rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
    {
        console::notice(&format!(
            "tagout: cannot make this process undumpable: {error}"
        ));
        return Outcome::Internal;
    }
    let facts = facts(args, surroundings, arrangement);
    let mut record = match Record::create(args.out.as_deref(), &surroundings.temp(), facts) {
        Ok(record) => record,
        Err(end) => {
            console::notice(&format!("tagout: {}", end.sentence));
            return end.outcome;
        }
    };
    let end = match block_on(steps(&mut record)) {
        Ok(Ok(end) | Err(end)) => end,
        Err(error) => End::internal("runtime-failed", &error),
    };
    record.clear_scratch();
    record.finish(end, surroundings, args.json)
}

fn block_on<Step: Future>(step: Step) -> std::io::Result<Step::Output> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Ok(runtime.block_on(step))
}

fn facts(args: &JobArgs, surroundings: &Surroundings, arrangement: Arrangement) -> Facts {
    Facts {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        outcome: Outcome::Internal,
        sentence: String::new(),
        code: None,
        request: Request {
            requester: "not established".to_owned(),
            task: args.task.clone().unwrap_or_default(),
            repository: surroundings.repository.clone(),
            run_url: run_url(surroundings),
            ..Request::default()
        },
        arrangement,
        walls: Walls::default(),
        agent: AgentFacts::default(),
        changes: Vec::new(),
        verified: Vec::new(),
        findings: Vec::new(),
        network: Vec::new(),
        suggested_policy: None,
        bill: None,
        notes: Vec::new(),
        journal: None,
        proposal: None,
    }
}

fn run_url(surroundings: &Surroundings) -> Option<String> {
    let server = surroundings.server_url.as_deref()?;
    let repository = surroundings.repository.as_deref()?;
    let run = surroundings.run_id.as_deref()?;
    Some(format!("{server}/{repository}/actions/runs/{run}"))
}
