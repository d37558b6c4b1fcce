//! What the run sees where it shares the host's view (level C): Landlock rules on the host's own paths, and a private copy
//! of the workspace. It must never grant a folder of the host for writing.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::claims;
use super::copy::Copied;
use super::git;
use super::identity::{Leased, Opened};
use super::protect::{self, Protected};
use super::scene;
use super::system::{ETC, SYSTEM};
use super::trust;
use super::walls::files::{Grant, Rule};
use super::walls::limits::Counted;
use super::walls::namespaces::Ids;
use super::walls::{Fault, Step};
use crate::scratch::Scratch;
use crate::wire::{Denied, Network, Plan, Wall, Workspace, java_store};

/// The run's private folders, and what must happen with them afterwards.
#[derive(Debug)]
pub struct Shared {
    /// The Landlock rules.
    pub rules: Vec<Rule>,
    /// The whole environment.
    pub environment: BTreeMap<String, String>,
    /// Where commands start.
    pub folder: PathBuf,
    /// What stands if nothing fails.
    pub walls: BTreeMap<String, Wall>,
    /// Folders that only this run can ever write.
    pub private: Vec<PathBuf>,
    /// Why a run of root's keeps its uid.
    pub kept_uid: Option<String>,
    /// Whom its processes are counted with.
    pub counted: Counted,
    back: Option<(Copied, Protected)>,
    // These come before the folder itself is removed.
    _opened: Vec<Opened>,
    _scratch: Scratch,
    // The uid goes to the next run only when nothing of this one is left.
    leased: Option<Leased>,
}

/// Files and folders of the host that are readable beside the system's.
const ALSO: &[&str] = &[
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/hostname",
    "/sys/devices/system/cpu",
];

/// Device files that programs need. Terminals of the same user are among them, which is why `files` is only partial.
const DEVICES: &[&str] = &[
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/tty",
    "/dev/ptmx",
    "/dev/pts",
];

/// Maven ends where this file is there and cannot be read; at the other levels it is not there.
const MAVEN_SETTINGS: &str = "/etc/maven/settings.xml";

/// Whether settings of Maven's name no account: nothing of `servers`, and no password of a proxy. Comments do not count.
fn hides_nothing(text: &str) -> bool {
    let mut rest = text;
    let mut bare = String::new();
    while let Some((before, after)) = rest.split_once("<!--") {
        bare.push_str(before);
        rest = after.split_once("-->").map_or("", |(_, after)| after);
    }
    bare.push_str(rest);
    let bare = bare.to_ascii_lowercase();
    ![
        "<server>",
        "<server ",
        "password",
        "passphrase",
        "privatekey",
        "<!entity",
        "<![cdata[",
        "@",
    ]
    .iter()
    .any(|word| bare.contains(word))
}

impl Shared {
    /// Makes the private folders and the copy.
    ///
    /// # Errors
    /// The copy is too large or cannot be made, or the plan asks for what this level cannot give.
    pub fn prepare(plan: &Plan) -> Result<Self, Fault> {
        if !plan.write.is_empty() {
            // A program expects them where they are, and there only the host's own can be.
            let error = io::Error::other("only levels with mounts can");
            return Err(Fault::new(
                "throw away what is written below filesystem.write",
                error,
            ));
        }
        let scratch = Scratch::new().step("make a private folder")?;
        let (leased, opened, kept_uid) = match lease(plan, scratch.path()) {
            Ok(Some((leased, opened))) => (Some(leased), opened, None),
            Ok(None) => (None, Vec::new(), None),
            Err(why) => (None, Vec::new(), Some(why)),
        };
        let counted = match &leased {
            Some(_) => Counted::Alone,
            None if rustix::process::geteuid().is_root() => Counted::Never,
            None => Counted::WithOthers,
        };
        let home = scratch.path().join("home");
        let temporary = scratch.path().join("tmp");
        for folder in [&home, &temporary] {
            std::fs::create_dir(folder).step("make a private folder")?;
        }
        let trusted = trusted(plan, scratch.path(), leased.as_ref())?;
        let bundle = trusted.first().map(PathBuf::as_path);
        furnish(&home, plan, bundle)?;
        let shown = workspace(plan, scratch.path(), leased.as_ref())?;
        if let Some(leased) = &leased {
            for folder in [&home, &temporary] {
                leased.give(folder).step("give a private folder away")?;
            }
        }
        let private = vec![shown.folder.clone(), home.clone(), temporary.clone()];
        let mut rules = rules(plan, &private, &trusted);
        if let Workspace::InPlace { path } | Workspace::Copy { path } = &plan.workspace {
            stays_out_of_reach(&rules, plan, path)?;
        }
        rules.extend(shown.objects.map(|path| Rule {
            path,
            grant: Grant::Read,
        }));
        let mut environment = scene::environment(plan, &home, &temporary, &shown.folder, bundle);
        variables(&mut environment, plan);
        Ok(Self {
            rules,
            environment,
            folder: shown.folder,
            walls: claims::of_shared(plan, counted),
            private,
            kept_uid,
            counted,
            back: shown.back,
            _opened: opened,
            _scratch: scratch,
            leased,
        })
    }

    /// Whose the run is, if not the caller's.
    #[must_use]
    pub fn leased_ids(&self) -> Option<Ids> {
        self.leased.as_ref().map(Leased::ids)
    }

    /// Ends whatever still has the run's own uid, wherever it is, and removes what it left in shared memory. Only when the
    /// run is over.
    ///
    /// # Errors
    /// Something is still there after a while: the run may not be sealed.
    pub fn end_uid(&self) -> io::Result<()> {
        match &self.leased {
            Some(leased) => leased.end_all(),
            None => Ok(()),
        }
    }

    /// Writes changes back to the workspace, protected paths excepted. Only when nothing of the tree is left.
    ///
    /// # Errors
    /// The copy cannot be read back.
    pub fn write_back(&self) -> io::Result<Vec<Denied>> {
        let Some((copied, protected)) = &self.back else {
            return Ok(Vec::new());
        };
        let is_protected = |path: &Path| protected.holds(path);
        let returned = copied.write_back(&is_protected)?;
        let row = |what: String, allow: Option<String>| Denied {
            wall: "files".to_owned(),
            what,
            count: 1,
            allow,
            at: None,
        };
        let refused = returned.refused.iter().map(|path| {
            row(
                format!("write {}", path.display()),
                Some(protect::allowed(path)),
            )
        });
        let lost = returned
            .lost
            .iter()
            .map(|path| row(format!("write back {}", path.display()), None));
        Ok(refused.chain(lost).collect())
    }
}

/// Landlock cannot take a path out of a folder that it grants: where the workspace lies in one, its protected paths would
/// be open by the workspace's own name.
fn stays_out_of_reach(rules: &[Rule], plan: &Plan, workspace: &Path) -> Result<(), Fault> {
    let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_gone| path.to_path_buf());
    let named: Vec<PathBuf> = plan.read.iter().map(|path| real(path)).collect();
    let granted = rules.iter().map(|rule| &rule.path).chain(&named);
    let held = [".git".to_owned()];
    let held = plan
        .deny
        .iter()
        .chain(&held)
        .map(|name| workspace.join(name.trim_matches('/')));
    let held: Vec<PathBuf> = held.collect();
    for path in granted {
        if held
            .iter()
            .any(|held| held.starts_with(path) || path.starts_with(held))
        {
            let error = io::Error::other(format!("{} may be read", path.display()));
            return Err(Fault::new(
                "keep the workspace's own folder out of reach",
                error,
            ));
        }
    }
    Ok(())
}

/// The workspace as the run sees it.
struct Work {
    folder: PathBuf,
    back: Option<(Copied, Protected)>,
    /// The repository's own objects, which must be readable.
    objects: Option<PathBuf>,
}

fn workspace(plan: &Plan, scratch: &Path, leased: Option<&Leased>) -> Result<Work, Fault> {
    let (owner, bytes_max) = (leased.map(Leased::ids), plan.limits.disk_bytes);
    let step = "copy the workspace";
    let work = match &plan.workspace {
        Workspace::InPlace { path } | Workspace::Copy { path } => {
            let folder = scratch.join("workspace");
            std::fs::create_dir(&folder).step("make a private folder")?;
            let protected = Protected::of(path, plan)?;
            let denied = protected.denied.iter().map(|(path, _)| path.clone());
            let left_out = denied.chain([PathBuf::from(".git")]).collect();
            let copied = Copied::make(path, &folder, left_out, bytes_max, owner).step(step)?;
            let objects = git::show(path, &folder).step("show the repository")?;
            if let (Some(leased), Some(_)) = (leased, &objects) {
                let shown = folder.join(".git");
                leased.give(&shown).step("give the repository away")?;
            }
            let in_place = matches!(plan.workspace, Workspace::InPlace { .. });
            Work {
                folder,
                back: in_place.then_some((copied, protected)),
                objects,
            }
        }
        Workspace::View { lower, upper, .. } => {
            Copied::make(lower, upper, Vec::new(), bytes_max, owner).step(step)?;
            Work {
                folder: upper.clone(),
                back: None,
                objects: None,
            }
        }
    };
    if let Some(leased) = leased {
        leased
            .give_folder(&work.folder)
            .step("give the workspace away")?;
    }
    Ok(work)
}

/// A uid for a run of root's, and the folders on the way to its own ones, opened for it. The word is why there is none.
fn lease(plan: &Plan, scratch: &Path) -> Result<Option<(Leased, Vec<Opened>)>, String> {
    let Some(leased) = Leased::take()? else {
        return Ok(None);
    };
    let lost = |error: io::Error| error.to_string();
    let mut opened = leased.open_scratch(scratch).map_err(lost)?;
    let mut readable = plan.read.clone();
    let mut passed = vec![scratch.to_path_buf()];
    match &plan.workspace {
        Workspace::InPlace { path } | Workspace::Copy { path } => {
            readable.push(path.join(".git/objects"));
        }
        Workspace::View { upper, .. } => {
            // The run's folder, and the record's around it.
            for folder in upper.ancestors().skip(1).take(2) {
                opened.extend(leased.open(folder).map_err(lost)?);
            }
            passed.extend(upper.parent().map(Path::to_path_buf));
        }
    }
    readable.retain(|path| path.exists());
    match leased.closed(&readable, &passed).map_err(lost)? {
        None => Ok(Some((leased, opened))),
        Some(path) => Err(format!("{} is closed to other users", path.display())),
    }
}

/// The bundle of certificates and Java's, where the run can read them; nothing where there is no road out.
fn trusted(plan: &Plan, scratch: &Path, leased: Option<&Leased>) -> Result<Vec<PathBuf>, Fault> {
    let Some(on_host) = trust::on_host(plan) else {
        return Ok(Vec::new());
    };
    if leased.is_none() {
        return Ok(on_host.to_vec());
    }
    let bundle = scratch.join("ca.pem");
    let store = java_store(&bundle);
    for (from, to) in on_host.iter().zip([&bundle, &store]) {
        if from.exists() {
            std::fs::copy(from, to)
                .and_then(|_bytes| std::fs::set_permissions(to, PermissionsExt::from_mode(0o644)))
                .step("show the certificates")?;
        }
    }
    Ok(vec![bundle, store])
}

/// Puts what the plan and the table of certificates say into the private HOME.
fn furnish(home: &Path, plan: &Plan, bundle: Option<&Path>) -> Result<(), Fault> {
    let ours = bundle.into_iter().flat_map(trust::files);
    let planned = plan
        .home
        .iter()
        .map(|(path, text)| (PathBuf::from(path), text.clone()));
    for (path, text) in planned.chain(ours) {
        let path = home.join(path);
        std::fs::create_dir_all(path.parent().unwrap_or(home))
            .and_then(|()| std::fs::write(&path, text))
            .step("put a file into the private home")?;
    }
    Ok(())
}

fn rules(plan: &Plan, private: &[PathBuf], trusted: &[PathBuf]) -> Vec<Rule> {
    let rule = |path: &Path, grant| Rule {
        path: path.to_path_buf(),
        grant,
    };
    let mut rules: Vec<Rule> = Vec::new();
    rules.extend(SYSTEM.iter().map(|path| rule(Path::new(path), Grant::Read)));
    rules.extend(
        ETC.iter()
            .map(|name| rule(&Path::new("/etc").join(name), Grant::Read)),
    );
    rules.extend(ALSO.iter().map(|path| rule(Path::new(path), Grant::Look)));
    rules.extend(plan.read.iter().map(|path| rule(path, Grant::Read)));
    rules.extend(private.iter().map(|path| rule(path, Grant::Write)));
    rules.extend(
        DEVICES
            .iter()
            .map(|path| rule(Path::new(path), Grant::Device)),
    );
    rules.push(rule(Path::new("/dev/shm"), Grant::Write));
    rules.push(rule(Path::new("/proc"), Grant::Look));
    if std::fs::read_to_string(MAVEN_SETTINGS).is_ok_and(|text| hides_nothing(&text)) {
        rules.push(rule(Path::new(MAVEN_SETTINGS), Grant::Look));
    }
    rules.extend(trusted.iter().map(|path| rule(path, Grant::Look)));
    rules
}

/// Names are asked for over TCP, which is supervised; the proxy is for programs that resolve by other means.
fn variables(environment: &mut BTreeMap<String, String>, plan: &Plan) {
    let mut set = |name: &str, value: &str| {
        environment.insert(name.to_owned(), value.to_owned());
    };
    set("RES_OPTIONS", "use-vc ndots:1");
    // The system's file is there and may not be read, which ends every git command; at the other levels it is not there.
    set("GIT_CONFIG_NOSYSTEM", "1");
    if let Network::Egress {
        proxy: Some(proxy), ..
    } = &plan.network
    {
        for name in [
            "http_proxy",
            "https_proxy",
            "all_proxy",
            "HTTP_PROXY",
            "HTTPS_PROXY",
            "ALL_PROXY",
        ] {
            set(name, proxy);
        }
        for name in ["no_proxy", "NO_PROXY"] {
            set(name, "localhost,127.0.0.1,::1");
        }
        set("NODE_USE_ENV_PROXY", "1");
    }
}

#[cfg(test)]
mod tests {
    use super::hides_nothing;

    #[test]
    fn settings_with_an_account_are_not_shown() {
        assert!(hides_nothing(
            "<settings><!-- <server><password>x</password></server> --><servers></servers><mirrors/></settings>"
        ));
        for hiding in [
            "<settings><servers><server><id>a</id></server></servers></settings>",
            "<settings><proxy><password>x</password></proxy></settings>",
            "<settings><mirror><url>https://u:p@m.example/</url></mirror></settings>",
            "<!-- a --><server><!-- --></server>",
        ] {
            assert!(!hides_nothing(hiding), "{hiding}");
        }
    }
}
