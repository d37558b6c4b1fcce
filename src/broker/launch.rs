//! From what was typed and the policy to a plan of the walls; `tagout sandbox` from its start to its exit code.
//! It must start nothing that the policy does not allow, and must stay in one thread: the walls are raised from here.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::egress::denials::aggregate;
use super::egress::error::EgressError;
use super::egress::process::{Handle, spawn};
use super::egress::setup::{EgressSetup, Proxy};
use super::refusals::Written;
use super::registries::{self, RegistriesError};
use super::toolchains;
use crate::broker::patterns::{self, PatternError};
use crate::cli::{LevelChoice, SandboxArgs};
use crate::console;
use crate::names::Level;
use crate::outcome::sandbox_code;
use crate::policy::defaults::NO_FILE;
use crate::policy::model::{HostPattern, NetworkMode, Policy};
use crate::policy::parse::{Places, parse_whole_placed};
use crate::sanitize;
use crate::scratch::Scratch;
use crate::wire::{Command, Denied, Limits, Network, Plan, WallsReport, Workspace};

/// Largest policy file in bytes.
pub const POLICY_BYTES_MAX: u64 = 1 << 20;

/// The number of SIGKILL, by which the command ends when its road out is gone (signal(7)).
const KILL: i32 = 9;

/// Why `tagout sandbox` starts nothing. Each has a stable code.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// A file of ours cannot be read or written.
    #[error("usage: cannot use {}: {cause}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// An argument is not UTF-8.
    #[error("usage: an argument is not valid UTF-8")]
    Argument,
    /// The policy is wrong; all faults, one a line.
    #[error("policy-invalid: {0}")]
    Policy(String),
    /// A glob of the policy cannot be resolved.
    #[error("pattern-unresolved: {0}")]
    Pattern(#[from] PatternError),
    /// No private folder can be made.
    #[error("internal: cannot make a private folder: {0}")]
    Scratch(io::Error),
    /// The road out cannot be opened.
    #[error("egress-failed: {0}")]
    Egress(#[from] EgressError),
    /// The registries of the policy are not known.
    #[error(transparent)]
    Registries(#[from] RegistriesError),
}

/// What a plan is made of.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// Exactly this level, or the strongest that works.
    pub level: Option<Level>,
    /// The workspace.
    pub workspace: Workspace,
    /// The commands in order.
    pub commands: Vec<Command>,
    /// The road out.
    pub network: Network,
    /// Whether output ends the run at the policy's limit; else it passes through.
    pub bound_output: bool,
}

/// Makes the plan, with the toolchains and the allowed variables of the calling process's environment.
#[must_use]
pub fn plan(wanted: Wanted<'_>) -> Plan {
    let policy = wanted.policy;
    let found = toolchains::find();
    let mut environment = found.variables;
    for name in &policy.environment.pass {
        if let Some(value) = std::env::var_os(name).and_then(|value| value.into_string().ok()) {
            environment.push((name.clone(), value));
        }
    }
    environment.extend(policy.environment.set.clone());
    let mut read = found.folders;
    read.extend(policy.filesystem.read.iter().map(PathBuf::from));
    let limits = &policy.limits;
    Plan {
        level: wanted.level,
        require: policy.require,
        workspace: wanted.workspace,
        read,
        path: found.path,
        write: policy.filesystem.write.iter().map(PathBuf::from).collect(),
        read_only: policy.filesystem.read_only.clone(),
        deny: policy.filesystem.deny.clone(),
        environment,
        home: Vec::new(),
        limits: Limits {
            memory_bytes: limits.memory_bytes,
            processes: limits.processes,
            cpu_time_ms: limits
                .cpu_time
                .map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
            file_bytes: limits.file_bytes,
            disk_bytes: limits.disk_bytes,
            output_bytes: wanted.bound_output.then_some(limits.output_bytes),
            wall_time_ms: u64::try_from(limits.wall_time.as_millis()).unwrap_or(u64::MAX),
        },
        commands: wanted.commands,
        network: wanted.network,
        listen: literal_addresses(policy),
    }
}

/// Addresses that a rule names, with the rule's ports.
fn literal_addresses(policy: &Policy) -> Vec<SocketAddr> {
    let mut addresses = Vec::new();
    for rule in &policy.network.allow {
        if let HostPattern::Address(address) = rule.host {
            addresses.extend(
                rule.ports
                    .iter()
                    .map(|port| SocketAddr::new(address, *port)),
            );
        }
    }
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// `tagout sandbox`; the answer is its exit code. `run` raises the walls and runs the plan's commands in them.
#[must_use]
pub fn sandbox(args: &SandboxArgs, run: impl FnOnce(&Plan) -> WallsReport) -> u8 {
    // Opened before anything else, so that the command cannot choose what is written to.
    let mut json = match args.json.as_deref().map(open_report).transpose() {
        Ok(json) => json,
        Err(error) => {
            tell(&error);
            return sandbox_code::OURS;
        }
    };
    let report = match prepare(args) {
        Ok(prepared) => prepared.run(run),
        Err(error) => {
            tell(&error);
            not_started(args, &error)
        }
    };
    write_report(json.as_mut(), &report);
    say(&report);
    u8::try_from(report.exit).unwrap_or(sandbox_code::OURS)
}

/// Everything is ready for the walls.
struct Prepared {
    plan: Plan,
    road: Option<Road>,
    policy: Policy,
    places: Places,
}

/// The egress process and what it needs. The door stays open here because the plan names it by its number.
struct Road {
    egress: Handle,
    _door: OwnedFd,
    _scratch: Scratch,
}

impl Prepared {
    fn run(self, run: impl FnOnce(&Plan) -> WallsReport) -> WallsReport {
        let mut report = run(&self.plan);
        let written = Written {
            policy: &self.policy,
            places: &self.places,
        };
        report.denied = report
            .denied
            .map(|all| all.into_iter().map(|one| written.explain(one)).collect());
        let Some(mut road) = self.road else {
            return report;
        };
        if let Ok(Some(status)) = road.egress.ended() {
            console::notice(&format!(
                "tagout: egress-died: the egress process ended before the command did ({status}); what was inside was ended"
            ));
            if report.exit == 0 {
                report.exit = i32::from(sandbox_code::SIGNAL_BASE) + KILL;
            }
            report.denied = None;
            return report;
        }
        match road.egress.finish() {
            Ok(events) => {
                let requests: Vec<Denied> = aggregate(events.iter())
                    .into_iter()
                    .map(Denied::from)
                    .collect();
                if !requests.is_empty() {
                    report.denied.get_or_insert_default().extend(requests);
                }
            }
            Err(error) => {
                // Without its log nobody can say that nothing was refused.
                report.denied = None;
                console::notice(&format!("tagout: {error}"));
            }
        }
        report
    }
}

/// The report of a run that was refused before the walls were asked.
fn not_started(args: &SandboxArgs, error: &LaunchError) -> WallsReport {
    WallsReport {
        level: None,
        abi: 0,
        workspace: if args.copy { "copied" } else { "in-place" }.to_owned(),
        walls: BTreeMap::new(),
        denied: None,
        limit: None,
        exit: i32::from(sandbox_code::OURS),
        missing: vec![error.to_string()],
        commands: Vec::new(),
    }
}

fn prepare(args: &SandboxArgs) -> Result<Prepared, LaunchError> {
    let ((mut policy, places), name) = match &args.policy {
        Some(path) => (read_policy(path)?, path.to_string_lossy().into_owned()),
        None => ((Policy::default(), Places::none()), NO_FILE.to_owned()),
    };
    let path = args
        .workspace
        .canonicalize()
        .map_err(|cause| LaunchError::File {
            path: args.workspace.clone(),
            cause,
        })?;
    let workspace = if args.copy {
        Workspace::Copy { path: path.clone() }
    } else {
        Workspace::InPlace { path: path.clone() }
    };
    let words: Result<Vec<String>, OsString> = args
        .command
        .iter()
        .cloned()
        .map(OsString::into_string)
        .collect();
    let argv = words.map_err(|_bytes| LaunchError::Argument)?;
    let home = add_registries(args, &mut policy, &name, &path)?;
    let (network, placeholders, road) = road(args, &policy, &name)?;
    let mut plan = plan(Wanted {
        policy: &policy,
        level: level(args.level),
        workspace,
        commands: vec![Command {
            argv,
            wall_time_ms: None,
            environment: Vec::new(),
        }],
        network,
        // Streams pass through, a file of gigabytes too, unless the policy says how much may.
        bound_output: policy.limits.output_bytes != Policy::default().limits.output_bytes,
    });
    plan.environment.extend(placeholders);
    plan.home = home;
    if args.policy.is_none() && args.level == LevelChoice::D {
        // Whoever asks for it by name, and has no policy that says otherwise, knows what is missing.
        plan.require = Level::D;
    }
    patterns::resolve(&mut plan)?;
    Ok(Prepared {
        plan,
        road,
        policy,
        places,
    })
}

/// Asks the tools for their registries, says on stderr what they named, and adds the rules. The answer is what the tools
/// inside find in their HOME.
fn add_registries(
    args: &SandboxArgs,
    policy: &mut Policy,
    name: &str,
    workspace: &Path,
) -> Result<Vec<(String, String)>, LaunchError> {
    if policy.network.registries.is_empty() {
        return Ok(Vec::new());
    }
    let scratch = Scratch::new().map_err(LaunchError::Scratch)?;
    let resolved = registries::resolve(&registries::Wanted {
        policy,
        policy_file: name,
        level: level(args.level),
        repositories: &[workspace.to_path_buf()],
        resolve: &args.resolve,
        folder: Some(scratch.path()),
    })?;
    for found in &resolved.found {
        console::notice(&format!("tagout: registries: {found}"));
    }
    policy.network.allow.extend(resolved.rules);
    Ok(resolved.home)
}

type Placeholders = Vec<(String, String)>;

/// Starts the egress if the policy allows any host; without a rule there is no such process at all.
fn road(
    args: &SandboxArgs,
    policy: &Policy,
    name: &str,
) -> Result<(Network, Placeholders, Option<Road>), LaunchError> {
    let network = &policy.network;
    let closed = network.allow.is_empty() && network.mode == NetworkMode::Enforce;
    if closed && policy.agent.model.is_none() {
        return Ok((Network::None, Vec::new(), None));
    }
    let scratch = Scratch::new().map_err(LaunchError::Scratch)?;
    let file = |name| std::env::var_os(name).map(PathBuf::from);
    let mut setup = EgressSetup::new(name, policy.network.clone())
        .with_resolve(&args.resolve)?
        .with_roots(file("SSL_CERT_FILE"), file("SSL_CERT_DIR"))
        .with_proxy(Proxy::of_run())?;
    if let Some(model) = &policy.agent.model {
        setup = setup.with_model(model.clone(), policy.agent.tokens);
    }
    let setup = setup.with_secrets(&args.secrets, &|name| std::env::var(name).ok())?;
    let mut egress = spawn(&setup, scratch.path())?;
    let placeholders = egress.placeholders().to_vec();
    let door = egress
        .take_door()
        .ok_or(EgressError::Message("it has no door"))?;
    let network = egress.network(door.as_raw_fd());
    let road = Road {
        egress,
        _door: door,
        _scratch: scratch,
    };
    Ok((network, placeholders, Some(road)))
}

fn level(choice: LevelChoice) -> Option<Level> {
    match choice {
        LevelChoice::Auto => None,
        LevelChoice::A => Some(Level::A),
        LevelChoice::B => Some(Level::B),
        LevelChoice::C => Some(Level::C),
        LevelChoice::D => Some(Level::D),
    }
}

fn read_policy(path: &Path) -> Result<(Policy, Places), LaunchError> {
    let unreadable = |cause| LaunchError::File {
        path: path.to_path_buf(),
        cause,
    };
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(POLICY_BYTES_MAX + 1).read_to_string(&mut text))
        .map_err(unreadable)?;
    if text.len() as u64 > POLICY_BYTES_MAX {
        return Err(unreadable(io::Error::from(io::ErrorKind::FileTooLarge)));
    }
    let name = path.to_string_lossy();
    let others = super::policies::others_on_disk(path, &text);
    parse_whole_placed(&name, &text, &others).map_err(|faults| {
        let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
        LaunchError::Policy(lines.join("\n"))
    })
}

/// No symlink is followed: whoever can plant one would choose the file that we overwrite.
fn open_report(path: &Path) -> Result<File, LaunchError> {
    let flags =
        OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::from_raw_mode(0o644))
        .map(|file: OwnedFd| File::from(file))
        .map_err(|errno| LaunchError::File {
            path: path.to_path_buf(),
            cause: errno.into(),
        })
}

fn write_report(file: Option<&mut File>, report: &WallsReport) {
    let Some(file) = file else { return };
    let written = serde_json::to_vec_pretty(report)
        .map_err(io::Error::from)
        .and_then(|text| file.write_all(&text))
        .and_then(|()| file.write_all(b"\n"));
    if let Err(error) = written {
        console::notice(&format!("tagout: cannot write the report: {error}"));
    }
}

/// Says on stderr why nothing was started.
fn tell(error: &LaunchError) {
    console::notice(&format!("tagout: {error}"));
}

/// One refusal for a person.
fn spoken(denied: &Denied) -> String {
    let mut text = format!("tagout: denied by {}: {}", denied.wall, denied.what);
    if denied.count > 1 {
        text.push_str(&format!(" ({} times)", denied.count));
    }
    if let Some(at) = &denied.at {
        text.push_str(&format!("\n  decided by {at}"));
    }
    if let Some(allow) = &denied.allow {
        text.push_str(&format!("\n  would be allowed by {allow}"));
    }
    // Names of files and hosts are the command's choice.
    text.lines()
        .map(sanitize::log_line)
        .collect::<Vec<_>>()
        .join("\n")
}

/// Says on stderr what the caller should know of a run.
fn say(report: &WallsReport) {
    if report.level.is_none() {
        console::notice("tagout: walls-missing: no level that is allowed can be raised here");
        for why in &report.missing {
            console::notice(&format!("  {why}"));
        }
    }
    for denied in report.denied.iter().flatten() {
        console::notice(&spoken(denied));
    }
    if let Some(limit) = &report.limit {
        console::notice(&format!("tagout: limit reached: {limit}"));
    }
}
