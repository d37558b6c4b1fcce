//! What the run sees: turns the plan into the new root, the Landlock rules, the environment and what is claimed of each wall.
//! It must never show a path because it was convenient: what is not listed is not there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::claims;
use super::helper::inside;
use super::protect::Protected;
use super::system::{self, CA_BUNDLE, bind};
use super::trust;
use super::walls::Fault;
use super::walls::files::{Grant, Rule};
use super::walls::namespaces::Ids;
use super::walls::root::{Item, Root, Shown};
use crate::wire::{Network, Plan, Wall, Workspace};

/// Home of the run.
pub const HOME: &str = "/home/agent";
/// Where temporary files go.
pub const TEMPORARY: &str = "/tmp";
/// Everything that is decided before the first process is made.
#[derive(Debug)]
pub struct Scene {
    /// The new root.
    pub root: Root,
    /// The Landlock rules.
    pub rules: Vec<Rule>,
    /// The whole environment.
    pub environment: BTreeMap<String, String>,
    /// Where commands start.
    pub folder: PathBuf,
    /// What stands if nothing fails.
    pub walls: BTreeMap<String, Wall>,
    /// Folders of the host that the run writes to.
    pub written: Vec<PathBuf>,
    /// The folder on the host whose protected paths are looked at after the run, and which.
    pub protected: Option<Protected>,
}

impl Scene {
    /// Levels A and B: a new root.
    ///
    /// # Errors
    /// A workspace whose protected paths cannot be found.
    pub fn of_new_root(plan: &Plan, ids: Ids) -> Result<Self, Fault> {
        let mut items = Vec::with_capacity(96);
        private(&mut items);
        items.extend(plan.home.iter().map(|(path, text)| Item::File {
            target: Path::new(HOME).join(path),
            content: text.clone().into_bytes(),
        }));
        system::show(&mut items);
        for path in &plan.read {
            if exists(path) {
                items.push(bind(path, path, Shown::ReadOnly));
            }
        }
        for path in &plan.write {
            let (lower, upper, target) = (path.clone(), None, path.clone());
            if exists(path) {
                items.push(Item::Overlay {
                    lower,
                    upper,
                    target,
                });
            }
        }
        let folder = workspace(&mut items, plan);
        let protected = match &plan.workspace {
            Workspace::InPlace { path } => Some(Protected::of(path, plan)?),
            Workspace::Copy { .. } | Workspace::View { .. } => None,
        };
        mask(&mut items, plan, &folder, protected.as_ref())?;
        system::show_certificates(&mut items, plan, Path::new(HOME));
        let root_uid = ids.user == 0;
        let bundle = match &plan.network {
            Network::Egress { .. } => Some(Path::new(CA_BUNDLE)),
            Network::None => None,
        };
        Ok(Self {
            rules: rules(plan, &folder, root_uid),
            environment: environment(plan, Path::new(HOME), Path::new(TEMPORARY), &folder, bundle),
            walls: claims::of_new_root(plan, root_uid),
            root: Root {
                items,
                memory_bytes: plan.limits.disk_bytes.min(plan.limits.memory_bytes),
                root_uid,
            },
            folder,
            written: match &plan.workspace {
                Workspace::InPlace { path } => vec![path.clone()],
                Workspace::View { upper, .. } => vec![upper.clone()],
                // It is written in memory, which is bounded by its own size.
                Workspace::Copy { .. } => Vec::new(),
            },
            protected,
        })
    }
}

impl Scene {
    /// Level A: a new root in which the run has a uid that nobody else on the host has.
    ///
    /// # Errors
    /// As for any new root.
    pub fn of_leased_uid(plan: &Plan, caller: Ids) -> Result<Self, Fault> {
        let ids = Ids {
            user: inside::shown(caller.user),
            group: inside::shown(caller.group),
        };
        let mut scene = Self::of_new_root(plan, ids)?;
        if caller.user == 0 {
            system::name_user(&mut scene.root.items, Path::new(HOME));
        }
        Ok(scene)
    }
}

fn exists(path: &Path) -> bool {
    path.is_absolute() && path.exists()
}

/// Comes first, so that a workspace below one of these folders is mounted inside it and not hidden by it.
fn private(items: &mut Vec<Item>) {
    for (target, mode) in [
        (HOME, 0o700),
        (TEMPORARY, 0o1777),
        ("/var/tmp", 0o1777),
        ("/dev/shm", 0o1777),
    ] {
        items.push(Item::Private {
            target: target.into(),
            mode,
        });
    }
    items.push(Item::Folder {
        target: "/run".into(),
    });
    items.push(Item::Link {
        target: "/var/run".into(),
        to: "../run".into(),
    });
}

/// Shows the workspace; the answer is the path at which it is seen.
fn workspace(items: &mut Vec<Item>, plan: &Plan) -> PathBuf {
    match &plan.workspace {
        Workspace::InPlace { path } => {
            items.push(bind(path, path, Shown::Writable));
            path.clone()
        }
        Workspace::Copy { path } => {
            items.push(Item::Overlay {
                lower: path.clone(),
                upper: None,
                target: path.clone(),
            });
            path.clone()
        }
        Workspace::View {
            lower,
            upper,
            work,
            shown,
        } => {
            items.push(Item::Overlay {
                lower: lower.clone(),
                upper: Some((upper.clone(), work.clone())),
                target: shown.clone(),
            });
            shown.clone()
        }
    }
}

/// Puts the read-only and the denied paths of the workspace out of reach.
fn mask(
    items: &mut Vec<Item>,
    plan: &Plan,
    folder: &Path,
    protected: Option<&Protected>,
) -> Result<(), Fault> {
    let host = match &plan.workspace {
        Workspace::InPlace { path } | Workspace::Copy { path } => path,
        Workspace::View { lower, .. } => lower,
    };
    let found = match protected {
        Some(protected) => protected.clone(),
        None => Protected::of(host, plan)?,
    };
    // Those above come first in this order, and before what is mounted inside them.
    for path in &found.anchors {
        items.push(Item::Anchor {
            target: folder.join(path),
        });
    }
    for path in &found.read_only {
        items.push(Item::Freeze {
            target: folder.join(path),
        });
    }
    if let Some((path, content)) = found.git_config {
        items.push(Item::MaskFile {
            target: folder.join(path),
            content: Some(content),
        });
    }
    for (path, is_folder) in &found.denied {
        let target = folder.join(path);
        items.push(if *is_folder {
            Item::MaskFolder { target }
        } else {
            Item::MaskFile {
                target,
                content: None,
            }
        });
    }
    Ok(())
}

fn rules(plan: &Plan, folder: &Path, root_uid: bool) -> Vec<Rule> {
    let rule = |path: &Path, grant| Rule {
        path: path.to_path_buf(),
        grant,
    };
    // The new root holds nothing but what may be read.
    let mut rules = vec![rule(Path::new("/"), Grant::Read)];
    for path in [
        Path::new(HOME),
        Path::new(TEMPORARY),
        Path::new("/var/tmp"),
        Path::new("/dev/shm"),
        folder,
    ] {
        rules.push(rule(path, Grant::Write));
    }
    for path in &plan.write {
        rules.push(rule(path, Grant::Write));
    }
    rules.push(rule(Path::new("/dev"), Grant::Device));
    if !root_uid {
        rules.push(rule(Path::new("/proc"), Grant::Device));
    }
    rules
}

/// The allowlist, and what the walls themselves set. `bundle` is where the system's roots and the run's CA are seen.
pub(super) fn environment(
    plan: &Plan,
    home: &Path,
    temporary: &Path,
    folder: &Path,
    bundle: Option<&Path>,
) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> = plan.environment.iter().cloned().collect();
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let path: Vec<String> = plan.path.iter().map(|path| text(path)).collect();
    let mut set = |name: &str, value: String| {
        all.insert(name.to_owned(), value);
    };
    set("PATH", path.join(":"));
    set("HOME", text(home));
    set("TMPDIR", text(temporary));
    set("PWD", text(folder));
    trust::variables(&mut all, plan, home, bundle);
    all
}
