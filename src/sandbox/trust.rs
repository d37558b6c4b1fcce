//! How the programs inside learn whom to believe: one table for all levels, by variables and by files of configuration that
//! variables name. It must never hold anything but paths of ours.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::wire::{Network, Plan, java_store};

/// Variables by which programs with roots of their own are told of the bundle.
const BUNDLE_VARIABLES: &[&str] = &[
    "SSL_CERT_FILE",
    "GIT_SSL_CAINFO",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "PIP_CERT",
    "NODE_EXTRA_CA_CERTS",
    "npm_config_cafile",
    "CARGO_HTTP_CAINFO",
    "PERL_LWP_SSL_CA_FILE",
    "DENO_CERT",
    "AWS_CA_BUNDLE",
    "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
    "NIX_SSL_CERT_FILE",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
];

/// A program that is told by a file: the variable that names the file, or its folder, and what it holds before and after the path.
struct Told {
    variable: &'static str,
    file: &'static str,
    keys: &'static [&'static str],
    end: &'static str,
}

/// Below HOME.
const FOLDER: &str = ".config/tagout";

const FILES: &[Told] = &[
    // Instead of the system's file, which at level C is there and may not be read: wget ends then.
    Told {
        variable: "SYSTEM_WGETRC",
        file: "wgetrc",
        keys: &["ca_certificate = "],
        end: "\n",
    },
    Told {
        variable: "APT_CONFIG",
        file: "apt.conf",
        keys: &["Acquire::https::CAInfo \""],
        end: "\";\n",
    },
    Told {
        variable: PHP,
        file: "php/tagout.ini",
        keys: &["curl.cainfo=\"", "openssl.cafile=\""],
        end: "\"\n",
    },
];

/// It names folders; an empty one stands for PHP's own.
const PHP: &str = "PHP_INI_SCAN_DIR";
/// Java reads it at every start, and says so on stderr.
const JAVA: &str = "JAVA_TOOL_OPTIONS";

/// The files of `FILES`, with their paths below HOME. `bundle` is where the bundle is seen inside.
pub(super) fn files(bundle: &Path) -> impl Iterator<Item = (PathBuf, String)> {
    FILES.iter().map(move |told| {
        let line = |key: &&str| format!("{key}{}{}", bundle.display(), told.end);
        let text = told.keys.iter().map(line).collect();
        (Path::new(FOLDER).join(told.file), text)
    })
}

/// Sets the variables. Java's also tells where HOME is, which Java does not take from the environment.
pub(super) fn variables(
    all: &mut BTreeMap<String, String>,
    plan: &Plan,
    home: &Path,
    bundle: Option<&Path>,
) {
    let mut java = format!("\"-Duser.home={}\"", home.display());
    if let Some(bundle) = bundle {
        for name in BUNDLE_VARIABLES {
            all.insert((*name).to_owned(), bundle.display().to_string());
        }
        for told in FILES {
            let file = home.join(FOLDER).join(told.file);
            let value = match (told.variable, file.parent()) {
                (PHP, Some(folder)) => format!(":{}", folder.display()),
                _ => file.display().to_string(),
            };
            all.insert(told.variable.to_owned(), value);
        }
        let store = java_store(bundle);
        java.push_str(&format!(
            " \"-Djavax.net.ssl.trustStore={}\" -Djavax.net.ssl.trustStoreType=JKS",
            store.display()
        ));
    }
    let own = plan.environment.iter().find(|(name, _)| name == JAVA);
    if let Some((_, own)) = own {
        // What comes later counts.
        java.push_str(&format!(" {own}"));
    }
    all.insert(JAVA.to_owned(), java);
}

/// The bundle and Java's store on the host.
pub(super) fn on_host(plan: &Plan) -> Option<[PathBuf; 2]> {
    match &plan.network {
        Network::Egress { ca_bundle, .. } => Some([ca_bundle.clone(), java_store(ca_bundle)]),
        Network::None => None,
    }
}
