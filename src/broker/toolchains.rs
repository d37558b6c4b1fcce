//! Finds the toolchains of the calling user: programs, libraries and package sources, never a whole dot-folder.
//! It must never show a path that holds credentials (`~/.cargo/credentials.toml`, `.npmrc`, `settings.xml` and their kin).

use std::path::{Path, PathBuf};

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Folders that are shown read-only.
    pub folders: Vec<PathBuf>,
    /// Folders of programs, in the caller's order.
    pub path: Vec<PathBuf>,
    /// Variables that tell the tools where their home is.
    pub variables: Vec<(String, String)>,
}

/// Where programs of the system lie.
const SYSTEM_PATH: &[&str] = &[
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

/// A tool whose home is one folder: the variable that names it, the folder below HOME otherwise, and what of it is shown.
struct Home {
    variable: &'static str,
    folder: &'static str,
    shown: &'static [&'static str],
    /// Whether the tool is told its home: not where it also writes there.
    told: bool,
}

const HOMES: &[Home] = &[
    Home {
        variable: "CARGO_HOME",
        folder: ".cargo",
        shown: &["bin"],
        told: false,
    },
    Home {
        variable: "RUSTUP_HOME",
        folder: ".rustup",
        shown: &["toolchains", "settings.toml", "update-hashes"],
        told: true,
    },
    Home {
        variable: "PYENV_ROOT",
        folder: ".pyenv",
        shown: &["bin", "libexec", "shims", "versions", "version", "plugins"],
        told: true,
    },
    Home {
        variable: "NVM_DIR",
        folder: ".nvm",
        shown: &["versions", "nvm.sh", "alias"],
        told: true,
    },
    Home {
        variable: "VOLTA_HOME",
        folder: ".volta",
        shown: &["bin", "tools"],
        told: true,
    },
    Home {
        variable: "GOPATH",
        folder: "go",
        shown: &["bin"],
        told: false,
    },
    Home {
        variable: "GOROOT",
        folder: ".go",
        shown: &["bin", "lib", "pkg", "src", "VERSION", "go.env"],
        told: true,
    },
    Home {
        variable: "DOTNET_ROOT",
        folder: ".dotnet",
        shown: &["dotnet", "host", "shared", "sdk", "packs", "templates"],
        told: true,
    },
    Home {
        variable: "SDKMAN_DIR",
        folder: ".sdkman",
        shown: &["candidates"],
        told: true,
    },
    Home {
        variable: "JAVA_HOME",
        folder: ".java-home",
        shown: &["bin", "lib", "conf", "jmods", "release", "include"],
        told: true,
    },
    Home {
        variable: "BUN_INSTALL",
        folder: ".bun",
        shown: &["bin"],
        told: false,
    },
    Home {
        variable: "DENO_INSTALL",
        folder: ".deno",
        shown: &["bin"],
        told: false,
    },
    Home {
        variable: "RBENV_ROOT",
        folder: ".rbenv",
        shown: &["bin", "libexec", "shims", "versions", "version"],
        told: true,
    },
    Home {
        variable: "ASDF_DATA_DIR",
        folder: ".asdf",
        shown: &["bin", "shims", "installs", "plugins"],
        told: true,
    },
];

/// Looks at the calling process's environment and home.
#[must_use]
pub fn find() -> Found {
    let mut found = Found::default();
    let home = std::env::var_os("HOME")
        .map(PathBuf::from)
        .filter(|home| home.is_absolute());
    for tool in HOMES {
        let named = std::env::var_os(tool.variable).map(PathBuf::from);
        let folder = named.filter(|path| path.is_absolute());
        let Some(folder) = folder.or_else(|| home.as_ref().map(|home| home.join(tool.folder)))
        else {
            continue;
        };
        found.tool(tool, &folder);
    }
    if let Some(cache) = std::env::var_os("RUNNER_TOOL_CACHE").map(PathBuf::from)
        && cache.is_absolute()
        && cache.is_dir()
    {
        found.folders.push(cache);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = SYSTEM_PATH.iter().map(PathBuf::from);
    for folder in std::env::split_paths(&path).chain(system) {
        if found.shows(&folder) && !found.path.contains(&folder) {
            found.path.push(folder);
        }
    }
    found
}

impl Found {
    fn tool(&mut self, tool: &Home, folder: &Path) {
        // Inside the system it is shown already.
        if folder.starts_with("/usr") || !folder.is_dir() {
            return;
        }
        let shown = tool.shown.iter().map(|name| folder.join(name));
        let mut any = false;
        for path in shown.filter(|path| path.exists()) {
            any = true;
            self.folders.push(path);
        }
        if let (true, true, Some(value)) = (any, tool.told, folder.to_str()) {
            self.variables
                .push((tool.variable.to_owned(), value.to_owned()));
        }
    }

    /// Whether a folder of programs is shown inside.
    fn shows(&self, folder: &Path) -> bool {
        let system = ["/usr", "/bin", "/sbin"]
            .iter()
            .any(|root| folder.starts_with(root));
        folder.is_absolute()
            && (system || self.folders.iter().any(|shown| folder.starts_with(shown)))
    }
}
