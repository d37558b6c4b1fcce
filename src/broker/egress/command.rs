//! `tagout egress`: the same process as in a run, opened to programs on this host through the explicit proxy.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::error::EgressError;
use super::process::{self, Handle};
use super::setup::{EgressSetup, Proxy, ProxyAuth, random_hex};
use crate::broker::registries::{self, RegistriesError};
use crate::cli::EgressArgs;
use crate::console;
use crate::outcome::Outcome;
use crate::policy::model::Policy;
use crate::policy::parse::{self, Fault};

/// How often the process is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Largest policy file in bytes.
const POLICY_BYTES_MAX: u64 = 4 << 20;

/// Why the command ends otherwise than by a signal.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error("cannot read the policy {0}")]
    Unreadable(PathBuf, #[source] io::Error),
    #[error("the policy is not valid")]
    Policy(Vec<Fault>),
    #[error("{0:?} is not a loopback address and port")]
    Listen(String),
    #[error(transparent)]
    Egress(#[from] EgressError),
    #[error(transparent)]
    Registries(#[from] Box<RegistriesError>),
    #[error("the egress process ended by itself")]
    Gone,
    #[error("cannot wait for a signal")]
    Wait(#[source] io::Error),
}

/// Serves until SIGTERM or SIGINT; the exit code.
#[must_use]
pub fn run(args: &EgressArgs) -> u8 {
    let error = match serve(args) {
        Ok(()) => return 0,
        Err(error) => error,
    };
    if let CommandError::Policy(faults) = &error {
        for fault in faults {
            console::notice(&fault.to_string());
        }
    }
    let mut text = format!("tagout egress: {error}");
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    console::notice(&text);
    code(&error).code()
}

fn code(error: &CommandError) -> Outcome {
    match error {
        CommandError::Unreadable(..) | CommandError::Policy(_) => Outcome::PolicyInvalid,
        CommandError::Registries(error) => match **error {
            RegistriesError::NoWalls { .. } => Outcome::WallsMissing,
            RegistriesError::Silent { .. } | RegistriesError::Unfit { .. } => Outcome::Refused,
            RegistriesError::Ask { .. } | RegistriesError::Egress(_) => Outcome::Internal,
        },
        CommandError::Listen(_)
        | CommandError::Egress(
            EgressError::Resolve(_)
            | EgressError::Listen(_)
            | EgressError::SecretNotNamed(_)
            | EgressError::SecretMissing(_)
            | EgressError::SecretReserved(_)
            | EgressError::SecretUnfit(_)
            | EgressError::ModelUrl(_)
            | EgressError::File { .. }
            | EgressError::Refused(_),
        ) => Outcome::Usage,
        CommandError::Egress(
            EgressError::Start(_) | EgressError::Talk(_) | EgressError::Message(_),
        )
        | CommandError::Gone
        | CommandError::Wait(_) => Outcome::Internal,
    }
}

fn serve(args: &EgressArgs) -> Result<(), CommandError> {
    let setup = setup(args)?;
    let folder = Folder::new()?;
    let program = Path::new("/proc/self/exe");
    let mut handle = process::start(program, &setup, &folder.0)?.ready()?;
    let ca = args
        .ca_out
        .clone()
        .unwrap_or_else(|| folder.0.join("ca.pem"));
    fs::write(&ca, handle.ca()).map_err(|cause| EgressError::File {
        path: ca.clone(),
        cause,
    })?;
    let ready = json!({
        "listening": handle.listening().map(|address| address.to_string()),
        "ca": ca,
        "proxy": handle.proxy(),
    });
    // The door is for walls; here there are none, and shutting it shuts that way in.
    drop(handle.take_door());
    console::answer(&ready.to_string());
    wait(&mut handle)?;
    handle.finish()?;
    Ok(())
}

fn setup(args: &EgressArgs) -> Result<EgressSetup, CommandError> {
    let unreadable = |cause| CommandError::Unreadable(args.policy.clone(), cause);
    let size = fs::metadata(&args.policy).map_err(unreadable)?.len();
    if size > POLICY_BYTES_MAX {
        return Err(unreadable(io::ErrorKind::FileTooLarge.into()));
    }
    let text = fs::read_to_string(&args.policy).map_err(unreadable)?;
    let file = args.policy.display().to_string();
    let mut policy = parse::parse_whole(
        &file,
        &text,
        &crate::broker::policies::others_on_disk(Path::new(&file), &text),
    )
    .map_err(CommandError::Policy)?;
    add_registries(args, &mut policy, &file)?;
    let listen = args
        .listen
        .parse()
        .map_err(|_not_an_address| CommandError::Listen(args.listen.clone()))?;
    let auth = if args.no_auth {
        ProxyAuth::Anyone
    } else {
        ProxyAuth::Password
    };
    let mut setup = EgressSetup::new(&file, policy.network)
        .with_proxy(Proxy { listen, auth })?
        .with_resolve(&args.resolve)?
        .with_roots(path_of("SSL_CERT_FILE"), path_of("SSL_CERT_DIR"));
    if let Some(model) = policy.agent.model {
        setup = setup.with_model(model, policy.agent.tokens);
    }
    if let Some(log) = &args.log {
        setup = setup.with_log(log.clone());
    }
    let read = |name: &str| std::env::var(name).ok();
    Ok(setup.with_secrets(&args.secrets, &read)?)
}

/// Asks the tools for their registries, says on stderr what they named, and adds the rules.
fn add_registries(
    args: &EgressArgs,
    policy: &mut Policy,
    policy_file: &str,
) -> Result<(), CommandError> {
    if policy.network.registries.is_empty() {
        return Ok(());
    }
    let folder = Folder::new()?;
    let here: Vec<PathBuf> = std::env::current_dir().into_iter().collect();
    let resolved = registries::resolve(&registries::Wanted {
        policy,
        policy_file,
        level: None,
        repositories: &here,
        resolve: &args.resolve,
        folder: Some(&folder.0),
    })
    .map_err(Box::new)?;
    for found in &resolved.found {
        console::notice(&format!("tagout: registries: {found}"));
    }
    policy.network.allow.extend(resolved.rules);
    Ok(())
}

fn path_of(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

/// Returns at SIGTERM or SIGINT; an error if the process is gone before.
fn wait(handle: &mut Handle) -> Result<(), CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(CommandError::Wait)?;
    runtime.block_on(async {
        let mut term = signal(SignalKind::terminate()).map_err(CommandError::Wait)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(CommandError::Wait)?;
        loop {
            tokio::select! {
                _ = term.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            if handle.ended().map_err(CommandError::Wait)?.is_some() {
                return Err(CommandError::Gone);
            }
        }
    })
}

/// A private folder that goes away with its holder.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self, EgressError> {
        let path = std::env::temp_dir().join(format!("tagout-egress-{}", random_hex()?));
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(|cause| EgressError::File {
                path: path.clone(),
                cause,
            })?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}
