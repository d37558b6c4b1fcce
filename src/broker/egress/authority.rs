//! The run's own certificate authority: made at the start, kept in memory, dead after a day.
//! Its key must never leave the process, and no leaf may share it.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::error::EgressError;
use super::setup::random_hex;

/// How long the CA is valid.
pub(super) const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// Clocks of containers differ; certificates begin a little earlier.
const CLOCK_SLACK: Duration = Duration::from_secs(60 * 60);
/// Most leaves that are kept.
const LEAVES_MAX: usize = 512;

/// The CA and the leaves that it made.
pub(super) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    provider: Arc<CryptoProvider>,
    ends: SystemTime,
    leaves: Mutex<Leaves>,
}

#[derive(Default)]
struct Leaves {
    by_name: HashMap<String, Arc<ServerConfig>>,
    order: VecDeque<String>,
}

impl Authority {
    /// Makes a new CA.
    pub(super) fn new(provider: Arc<CryptoProvider>) -> Result<Self, EgressError> {
        let now = SystemTime::now();
        let mut params = CertificateParams::default();
        let mut name = DistinguishedName::new();
        let serial = random_hex()?;
        let short = serial.get(..8).unwrap_or_default();
        name.push(DnType::CommonName, format!("tagout run {short}"));
        params.distinguished_name = name;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = (now - CLOCK_SLACK).into();
        params.not_after = (now + LIFETIME).into();
        params.serial_number = Some(serial_number()?);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).or(Err(CANNOT_MAKE))?;
        let issuer = CertifiedIssuer::self_signed(params, key).or(Err(CANNOT_MAKE))?;
        Ok(Self {
            issuer,
            provider,
            ends: now + LIFETIME,
            leaves: Mutex::default(),
        })
    }

    /// The CA as PEM.
    pub(super) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// The CA itself.
    pub(super) fn certificate(&self) -> &CertificateDer<'static> {
        self.issuer.der()
    }

    /// How to answer TLS under this name; made once and kept.
    pub(super) fn leaf(&self, name: &str) -> Result<Arc<ServerConfig>, EgressError> {
        if let Some(leaf) = self.lock().by_name.get(name) {
            return Ok(Arc::clone(leaf));
        }
        let leaf = Arc::new(self.make(name)?);
        let mut leaves = self.lock();
        if leaves.order.len() >= LEAVES_MAX
            && let Some(oldest) = leaves.order.pop_front()
        {
            leaves.by_name.remove(&oldest);
        }
        if leaves
            .by_name
            .insert(name.to_owned(), Arc::clone(&leaf))
            .is_none()
        {
            leaves.order.push_back(name.to_owned());
        }
        Ok(leaf)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Leaves> {
        self.leaves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn make(&self, name: &str) -> Result<ServerConfig, EgressError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, "tagout egress");
        params.subject_alt_names = vec![match name.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(name.try_into().or(Err(CANNOT_MAKE))?),
        }];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        params.not_before = (SystemTime::now() - CLOCK_SLACK).into();
        params.not_after = self.ends.into();
        params.serial_number = Some(serial_number()?);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).or(Err(CANNOT_MAKE))?;
        let leaf = params.signed_by(&key, &self.issuer).or(Err(CANNOT_MAKE))?;
        let chain: Vec<CertificateDer<'static>> =
            vec![leaf.der().clone(), self.issuer.der().clone()];
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .or(Err(CANNOT_MAKE))?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .or(Err(CANNOT_MAKE))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // A resumed session saves the client's round trip; one ticket is enough for it.
        config.send_tls13_tickets = 1;
        Ok(config)
    }
}

const CANNOT_MAKE: EgressError = EgressError::Message("a certificate cannot be made");

fn serial_number() -> Result<rcgen::SerialNumber, EgressError> {
    let digits = random_hex()?;
    let mut bytes: Vec<u8> = digits
        .as_bytes()
        .chunks(2)
        .filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect();
    // RFC 5280, 4.1.2.2: positive.
    if let Some(first) = bytes.first_mut() {
        *first = (*first & 0x7f) | 0x40;
    }
    Ok(rcgen::SerialNumber::from(bytes))
}
