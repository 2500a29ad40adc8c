//! Certificates and their keys: loaded from PEM files, selected by SNI, and reloaded when the files change.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::mem;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{self, Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use rustix::fs::OFlags;
use rustls::CertificateError::{Expired, ExpiredContext, NotValidYet, NotValidYetContext};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::ring::{Ticketer, default_provider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert, ServerSessionMemoryCache};
use rustls::sign::CertifiedKey;
use rustls::{Error, RootCertStore, ServerConfig};

/// The most cached sessions of TLS 1.2 clients without tickets, some 200 bytes each.
const SESSIONS_MAX: usize = 4096;

/// The most bytes read from a file.
const FILE_MAX: u64 = 1 << 20;

/// The files of a certificate chain and its key, both in PEM.
#[derive(Clone, Debug)]
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
    pub pairs: Vec<CertPair>,
    config: RwLock<Arc<ServerConfig>>,
    files: Mutex<Files>,
}

/// The stamps of the files.
#[derive(Debug, Default)]
struct Files {
    /// When they were last read.
    read: FileStamps,
    /// When they were last checked.
    seen: FileStamps,
}

/// Device, inode, size, mtime and ctime of each file; none for a missing one.
type FileStamps = Vec<Option<(u64, u64, u64, (i64, i64), (i64, i64))>>;

/// The certificates, by preference.
#[derive(Debug)]
struct SniResolver(Vec<Arc<CertifiedKey>>);

impl Certificates {
    /// Reads these files, and reports which certificates are not valid now. The error is a line for the operator.
    pub fn read(pairs: &[CertPair]) -> Result<(Certificates, Vec<String>), String> {
        let certificates = Certificates::new(pairs, Vec::new()).map_err(|error| pairs[0].key_error(error))?;
        let invalid = certificates.reload()?;
        Ok((certificates, invalid))
    }

    /// Holds these certificates: for both versions, HTTP/1.1 only, with tickets, and cached sessions for clients without
    /// them. The server's order selects the cipher suite, as TLS scanners expect. It fails only without random numbers.
    pub(super) fn new(pairs: &[CertPair], certified: Vec<Arc<CertifiedKey>>) -> Result<Certificates, Error> {
        let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_safe_default_protocol_versions()?.with_no_client_auth();
        let mut config = builder.with_cert_resolver(Arc::new(SniResolver(certified)));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.ignore_client_order = true;
        config.ticketer = Ticketer::new()?;
        config.session_storage = ServerSessionMemoryCache::new(SESSIONS_MAX);
        Ok(Certificates { pairs: pairs.to_vec(), config: RwLock::new(Arc::new(config)), files: Mutex::default() })
    }

    /// The configuration for a new connection.
    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config.read())
    }

    /// Reloads the files, and reports which certificates are not valid now, and why. On an error the old certificates stay.
    /// Open connections keep theirs, and tickets stay valid.
    pub fn reload(&self) -> Result<Vec<String>, String> {
        let mut files = self.files.lock();
        files.read = file_stamps(&self.pairs);
        let certified = self.pairs.iter().map(CertPair::read).collect::<Result<Vec<_>, _>>()?;
        let invalid = |(pair, certified): (&CertPair, &Arc<CertifiedKey>)| {
            Some(format!("{} {}", pair.cert.display(), why_invalid(certified.cert.first()?)?))
        };
        let invalid = self.pairs.iter().zip(&certified).filter_map(invalid).collect();
        Arc::make_mut(&mut self.config.write()).cert_resolver = Arc::new(SniResolver(certified));
        Ok(invalid)
    }

    /// Reports whether the files have changed, but not since the last check: a certificate and its key are seldom replaced
    /// at the same moment.
    pub fn have_changed(&self) -> bool {
        let mut files = self.files.lock();
        let before = mem::replace(&mut files.seen, file_stamps(&self.pairs));
        files.seen == before && files.seen != files.read
    }

    /// The directories of the files, and of the targets of links.
    pub fn places(&self) -> BTreeSet<PathBuf> {
        let named_and_real = |file| [path::absolute(file).ok(), fs::canonicalize(file).ok()];
        let files = paths(&self.pairs).flat_map(named_and_real).flatten();
        files.filter_map(|file| Some(file.parent()?.to_path_buf())).collect()
    }

    /// The files that the process may not read now. Their present stamps count as read.
    pub fn unreadable(&self) -> Vec<&Path> {
        let unreadable: Vec<_> = paths(&self.pairs).filter(|file| File::open(file).is_err()).collect();
        if !unreadable.is_empty() {
            self.files.lock().read = file_stamps(&self.pairs);
        }
        unreadable
    }
}

impl CertPair {
    fn cert_error(&self, what: impl Display) -> String {
        format!("--tls-cert: {}: {what}", self.cert.display())
    }

    fn key_error(&self, what: impl Display) -> String {
        format!("--tls-key: {}: {what}", self.key.display())
    }

    /// Reads both files; the key has to match the certificate.
    fn read(&self) -> Result<Arc<CertifiedKey>, String> {
        let text = read_file(&self.cert).map_err(|error| self.cert_error(error))?;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        let chain = chain.map_err(|error| self.cert_error(format!("not PEM: {error}")))?;
        if chain.is_empty() {
            return Err(self.cert_error("expected a PEM certificate"));
        }
        let text = read_file(&self.key).map_err(|error| self.key_error(error))?;
        let key = PrivateKeyDer::from_pem_slice(&text)
            .map_err(|_| self.key_error("expected an unencrypted PEM key (PKCS#8, PKCS#1 or SEC1)"))?;
        let certified = CertifiedKey::from_der(chain, key, &default_provider());
        certified.map(Arc::new).map_err(|error| match error {
            Error::InconsistentKeys(_) => {
                self.key_error(format!("the key does not belong to the certificate {}", self.cert.display()))
            }
            Error::General(_) => self.key_error(format!("unusable key: {error}")),
            error => self.cert_error(format!("unusable certificate: {error}")),
        })
    }
}

impl ResolvesServerCert for SniResolver {
    /// Selects the first certificate for the client's server name with a signature scheme it supports; for an unknown
    /// name, or none, the first certificate.
    fn resolve(&self, client: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = client.server_name().and_then(|name| ServerName::try_from(name).ok());
        let is_named = |certified: &CertifiedKey| {
            let cert = certified.end_entity_cert().and_then(ParsedCertificate::try_from);
            cert.is_ok_and(|cert| name.as_ref().is_some_and(|name| verify_server_name(&cert, name).is_ok()))
        };
        let is_supported = |certified: &CertifiedKey| certified.key.choose_scheme(client.signature_schemes()).is_some();
        self.0.iter().min_by_key(|certified| (!is_named(certified), !is_supported(certified))).cloned()
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

/// The paths of all files.
fn paths(pairs: &[CertPair]) -> impl Iterator<Item = &Path> {
    pairs.iter().flat_map(|pair| [pair.cert.as_path(), &pair.key])
}

fn file_stamps(pairs: &[CertPair]) -> FileStamps {
    let stamp = |meta: Metadata| {
        let (modified, changed) = ((meta.mtime(), meta.mtime_nsec()), (meta.ctime(), meta.ctime_nsec()));
        (meta.dev(), meta.ino(), meta.size(), modified, changed)
    };
    paths(pairs).map(|path| fs::metadata(path).ok().map(stamp)).collect()
}

/// Checks a certificate's validity period. Verification with an empty trust store checks it before the issuer.
fn why_invalid(cert: &CertificateDer<'_>) -> Option<&'static str> {
    let cert = ParsedCertificate::try_from(cert).ok()?;
    let (roots, algorithms) = (RootCertStore::empty(), default_provider().signature_verification_algorithms.all);
    match verify_server_cert_signed_by_trust_anchor(&cert, &roots, &[], UnixTime::now(), algorithms).err()? {
        Error::InvalidCertificate(Expired | ExpiredContext { .. }) => Some("has expired"),
        Error::InvalidCertificate(NotValidYet | NotValidYetContext { .. }) => Some("is not valid yet"),
        _ => None,
    }
}
