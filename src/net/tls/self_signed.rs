//! Self-signed certificate for a local network or a test. The only user of rcgen.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};
use rustls::crypto::ring::{cipher_suite, default_provider};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::certificates::Certificates;

/// Its validity; some clients reject a longer one.
const VALID: Duration = Duration::from_secs(397 * DAY);

/// Its validity before now, for clients whose clock is slow.
const BEFORE: Duration = Duration::from_secs(DAY);

const DAY: u64 = 24 * 60 * 60;

/// Makes a certificate for these names and addresses; returns it and its fingerprint.
pub fn make(names: &[&str], addrs: &[IpAddr], now: SystemTime) -> Result<(Certificates, String), String> {
    let mut params = CertificateParams::default();
    // A name that is no DNS name is left out.
    let names = names.iter().filter_map(|name| Some(SanType::DnsName((*name).try_into().ok()?)));
    params.subject_alt_names = names.chain(addrs.iter().map(|addr| SanType::IpAddress(*addr))).collect();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "serve --tls-self-signed");
    params.not_before = (now - BEFORE).into();
    params.not_after = (now + VALID).into();
    let key = KeyPair::generate().map_err(|error| error.to_string())?;
    let cert = params.self_signed(&key).map_err(|error| error.to_string())?.der().clone();
    let fingerprint = fingerprint(&cert);
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let certified = CertifiedKey::from_der(vec![cert], key, &default_provider());
    let certificates = certified.and_then(|certified| Certificates::new(&[], vec![Arc::new(certified)]));
    Ok((certificates.map_err(|error| error.to_string())?, fingerprint))
}

/// The SHA-256 of a certificate, as other programs show it.
fn fingerprint(cert: &CertificateDer<'_>) -> String {
    let suite = cipher_suite::TLS13_AES_128_GCM_SHA256.tls13().expect("the suite is one of TLS 1.3");
    let hash = suite.common.hash_provider.hash(cert);
    let bytes: Vec<_> = hash.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    bytes.join(":")
}
