//! Certificates and their keys: loaded from PEM files, selected by SNI, and reloaded when the files change.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use rustix::fs::OFlags;
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{Ticketer, default_provider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert, ServerSessionMemoryCache};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, Error, InconsistentKeys, RootCertStore, ServerConfig};

/// The most cached sessions of TLS 1.2 clients without tickets, some 200 bytes each.
const SESSIONS_MAX: usize = 4096;

/// The most bytes read from a file.
const FILE_MAX: u64 = 1 << 20;

/// The files of a certificate chain and its key, both in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertPair {
    /// The file of the certificates, the server's own first.
    pub cert: PathBuf,
    /// The file of the key.
    pub key: PathBuf,
}

/// The certificates for new connections.
#[derive(Debug)]
pub struct Certificates {
    /// Their files, if they come from any.
    pairs: Vec<CertPair>,
    config: RwLock<Arc<ServerConfig>>,
    files: Mutex<Files>,
}

/// The stamps of the files.
#[derive(Debug)]
struct Files {
    /// When they were last read.
    read: FileStamps,
    /// When they were last checked.
    seen: FileStamps,
}

/// Identity, size and times of each file; none for a missing one.
type FileStamps = Vec<Option<[i64; 7]>>;

/// An unusable file.
#[derive(Debug, PartialEq, Eq)]
pub struct LoadError {
    /// The file.
    pub path: PathBuf,
    /// Whether it is the key, not the certificate.
    pub is_key: bool,
    /// The reason.
    pub what: String,
}

/// The certificates, by preference.
#[derive(Debug)]
struct SniResolver(Vec<Arc<CertifiedKey>>);

impl Certificates {
    /// Reads these files.
    pub fn read(pairs: Vec<CertPair>) -> Result<Certificates, LoadError> {
        let files = file_stamps(&pairs);
        let certified = read_all(&pairs)?;
        let files = Mutex::new(Files { seen: files.clone(), read: files });
        // This fails only without random numbers.
        let config = configure(certified).map_err(|error| pairs[0].key_error(error.to_string()))?;
        Ok(Certificates { pairs, config: RwLock::new(Arc::new(config)), files })
    }

    /// Holds a certificate that comes from no file.
    pub fn holding(certified: CertifiedKey) -> Result<Certificates, Error> {
        let config = RwLock::new(Arc::new(configure(vec![Arc::new(certified)])?));
        let files = Mutex::new(Files { read: Vec::new(), seen: Vec::new() });
        Ok(Certificates { pairs: Vec::new(), config, files })
    }

    /// The configuration for a new connection.
    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config.read())
    }

    /// Reloads the files; on an error the old certificates stay. Open connections keep theirs, and tickets stay valid.
    pub fn reload(&self) -> Result<(), LoadError> {
        let mut files = self.files.lock();
        files.seen = file_stamps(&self.pairs);
        files.read = files.seen.clone();
        let certified = read_all(&self.pairs)?;
        let mut config = (*self.config()).clone();
        config.cert_resolver = Arc::new(SniResolver(certified));
        *self.config.write() = Arc::new(config);
        Ok(())
    }

    /// Reloads the files if they have changed, but not since the last check: a certificate and its key are seldom replaced
    /// at the same moment.
    pub fn reload_if_changed(&self) -> Option<Result<(), LoadError>> {
        let now = file_stamps(&self.pairs);
        let mut files = self.files.lock();
        let is_at_rest = files.seen == now;
        let is_new = files.read != now;
        files.seen = now;
        drop(files);
        (is_new && is_at_rest).then(|| self.reload())
    }

    /// Reports whether the certificates come from files.
    pub fn are_from_files(&self) -> bool {
        !self.pairs.is_empty()
    }

    /// The directories of the files, and of the targets of links.
    pub fn places(&self) -> Vec<PathBuf> {
        let files = self.pairs.iter().flat_map(|pair| [&pair.cert, &pair.key]);
        let named_and_real = files.flat_map(|file| [std::path::absolute(file).ok(), fs::canonicalize(file).ok()]);
        let mut places: Vec<_> =
            named_and_real.flatten().filter_map(|file| Some(file.parent()?.to_path_buf())).collect();
        places.sort();
        places.dedup();
        places
    }

    /// The files that the process may not read now. Their present stamps count as read.
    pub fn unreadable(&self) -> Vec<&Path> {
        let files = self.pairs.iter().flat_map(|pair| [pair.cert.as_path(), &pair.key]);
        let unreadable: Vec<_> = files.filter(|file| File::open(file).is_err()).collect();
        if !unreadable.is_empty() {
            let mut files = self.files.lock();
            files.seen = file_stamps(&self.pairs);
            files.read = files.seen.clone();
        }
        unreadable
    }

    /// The certificates that are not valid now, and why.
    pub fn invalid(&self) -> Vec<String> {
        let now = UnixTime::now();
        let invalid = self.pairs.iter().filter_map(|pair| {
            let chain = read_chain(&pair.cert).ok()?;
            Some(format!("{} {}", pair.cert.display(), why_invalid(chain.first()?, now)?))
        });
        invalid.collect()
    }
}

impl CertPair {
    fn cert_error(&self, what: impl Into<String>) -> LoadError {
        LoadError { path: self.cert.clone(), is_key: false, what: what.into() }
    }

    fn key_error(&self, what: impl Into<String>) -> LoadError {
        LoadError { path: self.key.clone(), is_key: true, what: what.into() }
    }

    /// Reads both files; the key has to match the certificate.
    fn read(&self, provider: &CryptoProvider) -> Result<CertifiedKey, LoadError> {
        let chain = read_chain(&self.cert).map_err(|what| self.cert_error(what))?;
        let text = read_file(&self.key).map_err(|error| self.key_error(error.to_string()))?;
        let key = PrivateKeyDer::from_pem_slice(&text)
            .map_err(|_| self.key_error("expected an unencrypted PEM key (PKCS#8, PKCS#1 or SEC1)"))?;
        let key = provider.key_provider.load_private_key(key);
        let key = key.map_err(|error| self.key_error(format!("unusable key: {error}")))?;
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(certified),
            Err(Error::InconsistentKeys(_)) => {
                Err(self.key_error(format!("the key does not belong to the certificate {}", self.cert.display())))
            }
            Err(error) => Err(self.cert_error(format!("unusable certificate: {error}"))),
        }
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flag = if self.is_key { "--tls-key" } else { "--tls-cert" };
        write!(f, "{flag}: {}: {}", self.path.display(), self.what)
    }
}

impl ResolvesServerCert for SniResolver {
    /// Selects the first certificate for the client's server name with a signature scheme it supports; for an unknown
    /// name, or none, the first certificate.
    fn resolve(&self, client: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = client.server_name().and_then(|name| ServerName::try_from(name).ok());
        let is_named = |certified: &CertifiedKey| match (&name, certified.end_entity_cert()) {
            (Some(name), Ok(cert)) => {
                ParsedCertificate::try_from(cert).is_ok_and(|cert| verify_server_name(&cert, name).is_ok())
            }
            _ => false,
        };
        let is_supported = |certified: &CertifiedKey| certified.key.choose_scheme(client.signature_schemes()).is_some();
        let all = &self.0;
        if all.len() == 1 {
            return all.first().cloned();
        }
        let named = || all.iter().filter(|certified| is_named(certified));
        let chosen = named().find(|certified| is_supported(certified)).or_else(|| named().next());
        chosen.or_else(|| all.iter().find(|certified| is_supported(certified))).or(all.first()).cloned()
    }
}

/// The configuration: both versions, HTTP/1.1 only, tickets, and cached sessions for clients without them. The server's
/// order selects the cipher suite, as TLS scanners expect.
fn configure(certified: Vec<Arc<CertifiedKey>>) -> Result<ServerConfig, Error> {
    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?.with_no_client_auth();
    let mut config = builder.with_cert_resolver(Arc::new(SniResolver(certified)));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.ignore_client_order = true;
    config.ticketer = Ticketer::new()?;
    config.session_storage = ServerSessionMemoryCache::new(SESSIONS_MAX);
    Ok(config)
}

fn read_all(pairs: &[CertPair]) -> Result<Vec<Arc<CertifiedKey>>, LoadError> {
    let provider = default_provider();
    pairs.iter().map(|pair| pair.read(&provider).map(Arc::new)).collect()
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = read_file(path).map_err(|error| error.to_string())?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) => Err("expected a PEM certificate".to_owned()),
        Err(error) => Err(format!("not PEM: {error}")),
    }
}

/// Reads a regular file. A pipe, for example, could block the reaper thread.
fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::options().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(FILE_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn file_stamps(pairs: &[CertPair]) -> FileStamps {
    let identity = |path: &PathBuf| {
        let found = fs::metadata(path).ok()?;
        let (dev, ino, size) = (found.dev().cast_signed(), found.ino().cast_signed(), found.size().cast_signed());
        Some([dev, ino, size, found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec()])
    };
    pairs.iter().flat_map(|pair| [identity(&pair.cert), identity(&pair.key)]).collect()
}

/// Checks a certificate's validity period. Verification with an empty trust store checks it before the issuer.
fn why_invalid(cert: &CertificateDer<'_>, now: UnixTime) -> Option<&'static str> {
    let parsed = ParsedCertificate::try_from(cert).ok()?;
    let algorithms = default_provider().signature_verification_algorithms;
    let verified =
        verify_server_cert_signed_by_trust_anchor(&parsed, &RootCertStore::empty(), &[], now, algorithms.all);
    match verified {
        Err(Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. })) => {
            Some("has expired")
        }
        Err(Error::InvalidCertificate(CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. })) => {
            Some("is not valid yet")
        }
        _ => None,
    }
}
