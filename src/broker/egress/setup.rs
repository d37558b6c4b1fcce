//! What the egress process is given before it serves: rules, secrets, overrides. It travels once, over a private socket.
//! A secret in it must never be printed, logged or put into an environment.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::error::EgressError;
use crate::names::Secret;
use crate::policy::model::{Model, Network};

/// Largest setup in bytes: some ten thousand rules.
pub const SETUP_BYTES_MAX: usize = 16 << 20;
/// Shortest secret in bytes: a shorter one would be found in ordinary text.
pub const SECRET_BYTES_MIN: usize = 8;
/// Longest secret in bytes.
pub const SECRET_BYTES_MAX: usize = 16 << 10;
/// The name under which programs inside reach a model whose `base-url` is a loopback address of the host.
pub const MODEL_NAME_INSIDE: &str = "model.tagout.internal";

/// Who may use the explicit proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProxyAuth {
    /// Whoever knows the run's password.
    Password,
    /// Whoever connects.
    Anyone,
}

/// The explicit proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proxy {
    /// Where it listens; always loopback.
    pub listen: SocketAddr,
    /// Who may use it.
    pub auth: ProxyAuth,
}

impl Proxy {
    /// Of a run: on any free port, for whoever has the run's password. At level C it serves programs that resolve names by
    /// other means than the C library.
    #[must_use]
    pub fn of_run() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            auth: ProxyAuth::Password,
        }
    }
}

/// A name's fixed address, as curl's `--resolve`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolve {
    /// The name, lower case.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The address.
    pub address: IpAddr,
}

/// The model and the bound on its use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelRule {
    /// The rule.
    pub model: Model,
    /// Tokens of the whole run, input and output together.
    pub tokens: u64,
}

/// A secret and what stands for it inside.
#[derive(Clone, Debug)]
pub struct Injected {
    /// The value. Only the egress puts it on a wire.
    pub value: Secret,
    /// What the agent sees instead, made for this run.
    pub placeholder: String,
}

/// Everything that the egress process is given.
#[derive(Clone, Debug)]
pub struct EgressSetup {
    pub(super) open: Open,
    pub(super) secrets: BTreeMap<String, Injected>,
    /// Where the caller wants the log; it is opened by the caller's side.
    pub(super) log: Option<PathBuf>,
}

/// The part that holds no secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Open {
    pub(super) policy_file: String,
    pub(super) network: Network,
    pub(super) model: Option<ModelRule>,
    pub(super) resolve: Vec<Resolve>,
    pub(super) proxy: Option<Proxy>,
    pub(super) root_file: Option<PathBuf>,
    pub(super) root_folder: Option<PathBuf>,
    /// Where the process writes roots and CA before it locks itself down.
    pub(super) ca_bundle: PathBuf,
}

impl EgressSetup {
    /// The rules of a policy, without model, secrets and explicit proxy. `policy_file` is its name as the user knows it.
    #[must_use]
    pub fn new(policy_file: &str, network: Network) -> Self {
        Self {
            open: Open {
                policy_file: policy_file.to_owned(),
                network,
                model: None,
                resolve: Vec::new(),
                proxy: None,
                root_file: None,
                root_folder: None,
                ca_bundle: PathBuf::new(),
            },
            secrets: BTreeMap::new(),
            log: None,
        }
    }

    /// Appends the log to this file instead of a fresh one in the run's folder.
    #[must_use]
    pub fn with_log(mut self, log: PathBuf) -> Self {
        self.log = Some(log);
        self
    }

    /// Adds the model's rule; `tokens` bounds the whole run.
    #[must_use]
    pub fn with_model(mut self, model: Model, tokens: u64) -> Self {
        self.open.model = Some(ModelRule { model, tokens });
        self
    }

    /// Opens the explicit proxy.
    ///
    /// # Errors
    /// `listen` is not loopback: other users of the network could spend the keys.
    pub fn with_proxy(mut self, proxy: Proxy) -> Result<Self, EgressError> {
        if !proxy.listen.ip().is_loopback() {
            return Err(EgressError::Listen(proxy.listen.to_string()));
        }
        self.open.proxy = Some(proxy);
        Ok(self)
    }

    /// Fixes names' addresses; each text is `HOST:PORT:ADDR`, an IPv6 address with or without brackets.
    ///
    /// # Errors
    /// A text that is not of this form.
    pub fn with_resolve(mut self, texts: &[String]) -> Result<Self, EgressError> {
        for text in texts {
            let fixed = parse_resolve(text).ok_or_else(|| EgressError::Resolve(text.clone()))?;
            self.open.resolve.push(fixed);
        }
        Ok(self)
    }

    /// Trusts more roots beside the system's: the values of `SSL_CERT_FILE` and `SSL_CERT_DIR`.
    #[must_use]
    pub fn with_roots(mut self, file: Option<PathBuf>, folder: Option<PathBuf>) -> Self {
        self.open.root_file = file;
        self.open.root_folder = folder;
        self
    }

    /// Takes the value of every variable that the rules use. `named` are the words of `--secret`, `read` looks a variable up.
    ///
    /// # Errors
    /// A variable that is used but not named, has no value, belongs to the runner, or whose value cannot stand in a header.
    pub fn with_secrets(
        mut self,
        named: &[String],
        read: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, EgressError> {
        for variable in self.variables() {
            if is_reserved(&variable) {
                return Err(EgressError::SecretReserved(variable));
            }
            if !named.contains(&variable) {
                return Err(EgressError::SecretNotNamed(variable));
            }
            let value = Secret::new(
                read(&variable).ok_or_else(|| EgressError::SecretMissing(variable.clone()))?,
            );
            let fits = (SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&value.expose().len())
                && value.expose().bytes().all(|byte| byte.is_ascii_graphic());
            if !fits {
                return Err(EgressError::SecretUnfit(variable));
            }
            let placeholder = format!("tagout-{}", random_hex()?);
            self.secrets
                .insert(variable, Injected { value, placeholder });
        }
        Ok(self)
    }

    /// The variables that credentials and the model use, sorted, each once.
    #[must_use]
    pub fn variables(&self) -> Vec<String> {
        let credentials = self.open.network.allow.iter();
        let mut variables: Vec<String> = credentials
            .filter_map(|rule| Some(rule.credential.as_ref()?.variable.clone()))
            .chain(self.open.model.iter().map(|rule| rule.model.key.clone()))
            .collect();
        variables.sort();
        variables.dedup();
        variables
    }

    /// Variables and the placeholders that stand for their values inside: part of the environment of the commands.
    #[must_use]
    pub fn placeholders(&self) -> Vec<(String, String)> {
        let pairs = self.secrets.iter();
        pairs
            .map(|(variable, injected)| (variable.clone(), injected.placeholder.clone()))
            .collect()
    }

    /// The values themselves, for the checks that look for them in what the agent made.
    pub fn secret_values(&self) -> impl Iterator<Item = (&str, &Secret)> {
        let pairs = self.secrets.iter();
        pairs.map(|(variable, injected)| (variable.as_str(), &injected.value))
    }

    /// The model's base URL as programs inside must use it: the rule's own, or for a loopback one a name that only the egress knows.
    #[must_use]
    pub fn model_url_inside(&self) -> Option<String> {
        let model = &self.open.model.as_ref()?.model;
        Some(model_url_inside(&model.base_url))
    }

    /// Every port on which some rule or the model may be dialled, sorted; 80 and 443 always. For `wire::Network::Egress`.
    #[must_use]
    pub fn ports(&self) -> Vec<u16> {
        let mut ports: Vec<u16> = vec![80, 443];
        ports.extend(self.open.network.allow.iter().flat_map(|rule| &rule.ports));
        let model = self.open.model.as_ref();
        ports.extend(model.and_then(|rule| {
            url::Url::parse(&rule.model.base_url)
                .ok()?
                .port_or_known_default()
        }));
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    /// The bytes that travel.
    pub(super) fn pack(&self) -> Result<Zeroizing<Vec<u8>>, EgressError> {
        let secrets = self.secrets.iter();
        let packed = PackedOut {
            open: &self.open,
            secrets: secrets
                .map(|(variable, injected)| {
                    (
                        variable.as_str(),
                        injected.value.expose(),
                        injected.placeholder.as_str(),
                    )
                })
                .collect(),
        };
        let bytes = serde_json::to_vec(&packed).map(Zeroizing::new);
        match bytes {
            Ok(bytes) if bytes.len() <= SETUP_BYTES_MAX => Ok(bytes),
            Ok(_) => Err(EgressError::Message("the setup is too large")),
            Err(_) => Err(EgressError::Message("the setup cannot be written as JSON")),
        }
    }

    /// The value back from the bytes.
    pub(super) fn unpack(bytes: &[u8]) -> Result<Self, EgressError> {
        let packed: PackedIn = serde_json::from_slice(bytes)
            .or(Err(EgressError::Message("the setup cannot be read")))?;
        let secrets = packed.secrets.into_iter();
        Ok(Self {
            open: packed.open,
            secrets: secrets
                .map(|(variable, value, placeholder)| {
                    let value = Secret::new(value);
                    (variable, Injected { value, placeholder })
                })
                .collect(),
            log: None,
        })
    }
}

#[derive(Serialize)]
struct PackedOut<'a> {
    open: &'a Open,
    secrets: Vec<(&'a str, &'a str, &'a str)>,
}

#[derive(Deserialize)]
struct PackedIn {
    open: Open,
    secrets: Vec<(String, String, String)>,
}

/// The base URL as programs inside must use it; see `MODEL_NAME_INSIDE`.
fn model_url_inside(base_url: &str) -> String {
    let Some(rest) = base_url.strip_prefix("http://") else {
        return base_url.to_owned();
    };
    let path = rest.find('/').map_or("", |at| &rest[at..]);
    format!("http://{MODEL_NAME_INSIDE}{path}")
}

/// The runner's own variables never count as secrets of a policy: one of them could write to the repository.
fn is_reserved(variable: &str) -> bool {
    ["GITHUB_", "ACTIONS_", "RUNNER_"]
        .iter()
        .any(|prefix| variable.starts_with(prefix))
}

fn parse_resolve(text: &str) -> Option<Resolve> {
    let (host, rest) = text.split_once(':')?;
    let (port, address) = rest.split_once(':')?;
    let bare = address
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(address);
    if host.is_empty() {
        return None;
    }
    Some(Resolve {
        host: host.to_ascii_lowercase(),
        port: port.parse().ok().filter(|port| *port != 0)?,
        address: bare.parse().ok()?,
    })
}

/// 128 random bits of the kernel as hexadecimal digits.
pub(super) fn random_hex() -> Result<String, EgressError> {
    let path = PathBuf::from("/dev/urandom");
    let mut bytes = [0_u8; 16];
    File::open(&path)
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|cause| EgressError::File { path, cause })?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
