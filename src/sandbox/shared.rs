//! What the run sees where it shares the host's view (level C): Landlock rules on the host's own paths, and a private copy
//! of the workspace. It must never grant a folder of the host for writing.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::copy::Copied;
use super::git;
use super::protect::{self, Protected};
use super::scene::{self, ETC, SYSTEM};
use super::trust;
use super::walls::files::{Grant, Rule};
use super::walls::namespaces::Ids;
use super::walls::{Fault, Step};
use crate::scratch::Scratch;
use crate::wire::{Denied, Network, Plan, Wall, Workspace};

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
    back: Option<(Copied, Protected)>,
    _scratch: Scratch,
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
    pub fn prepare(plan: &Plan, ids: Ids) -> Result<Self, Fault> {
        if !plan.write.is_empty() {
            // A program expects them where they are, and there only the host's own can be.
            let error = io::Error::other("only levels with mounts can");
            return Err(Fault::new(
                "throw away what is written below filesystem.write",
                error,
            ));
        }
        let scratch = Scratch::new().step("make a private folder")?;
        let home = scratch.path().join("home");
        let temporary = scratch.path().join("tmp");
        for folder in [&home, &temporary] {
            std::fs::create_dir(folder).step("make a private folder")?;
        }
        let bundle = trust::on_host(plan).map(|[bundle, _]| bundle);
        furnish(&home, plan, bundle.as_deref())?;
        let mut objects = None;
        let (folder, back) = match &plan.workspace {
            Workspace::InPlace { path } | Workspace::Copy { path } => {
                let folder = scratch.path().join("workspace");
                std::fs::create_dir(&folder).step("make a private folder")?;
                let protected = Protected::of(path, plan)?;
                let mut left_out: Vec<PathBuf> = protected
                    .denied
                    .iter()
                    .map(|(path, _)| path.clone())
                    .collect();
                left_out.push(PathBuf::from(".git"));
                let copied = Copied::make(path, &folder, left_out, plan.limits.disk_bytes)
                    .step("copy the workspace")?;
                objects = git::show(path, &folder).step("show the repository")?;
                let in_place = matches!(plan.workspace, Workspace::InPlace { .. });
                (folder, in_place.then_some((copied, protected)))
            }
            Workspace::View { lower, upper, .. } => {
                Copied::make(lower, upper, Vec::new(), plan.limits.disk_bytes)
                    .step("copy the workspace")?;
                (upper.clone(), None)
            }
        };
        let private = vec![folder.clone(), home.clone(), temporary.clone()];
        let mut rules = rules(plan, &private);
        if let Workspace::InPlace { path } | Workspace::Copy { path } = &plan.workspace {
            stays_out_of_reach(&rules, plan, path)?;
        }
        rules.extend(objects.map(|path| Rule {
            path,
            grant: Grant::Read,
        }));
        let bundle = bundle.as_deref();
        let mut environment = scene::environment(plan, &home, &temporary, &folder, bundle);
        variables(&mut environment, plan);
        Ok(Self {
            rules,
            environment,
            folder,
            walls: claims(plan, ids),
            private,
            back,
            _scratch: scratch,
        })
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

fn rules(plan: &Plan, private: &[PathBuf]) -> Vec<Rule> {
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
    for path in trust::on_host(plan).iter().flatten() {
        rules.push(rule(path, Grant::Look));
    }
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

/// What stands at level C; the gaps are those that the documents name.
fn claims(plan: &Plan, ids: Ids) -> BTreeMap<String, Wall> {
    let mut walls = scene::claims(plan, ids.user == 0);
    for (name, wall) in [
        // /dev/shm and the user's terminals are shared.
        ("files", Wall::Partial),
        // chmod, chown, utimes and setxattr know no path that a filter could see.
        ("metadata", Wall::Absent),
        ("unix-sockets", Wall::Enforced),
        // The command lines of others are readable.
        ("processes", Wall::Partial),
        ("uid", Wall::Partial),
        ("limits.processes", Wall::Partial),
    ] {
        walls.insert(name.to_owned(), wall);
    }
    walls
}

/// What stands at level D: system calls, the environment, and limits that need no more than that.
#[must_use]
pub fn bare_claims(at_c: &BTreeMap<String, Wall>) -> BTreeMap<String, Wall> {
    at_c.iter()
        .map(|(name, wall)| {
            let wall = match name.as_str() {
                "syscalls" | "environment" => Wall::Enforced,
                // A daemon that listens on a unix socket may have a road.
                "network" => Wall::Partial,
                limit if limit.starts_with("limits.") => *wall,
                _ => Wall::Absent,
            };
            (name.clone(), wall)
        })
        .collect()
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
