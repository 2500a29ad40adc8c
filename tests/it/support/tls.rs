//! TLS clients, and certificates for the server.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::{cipher_suite, default_provider};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};

use super::{Client, Folder};

/// A version of TLS.
#[derive(Clone, Copy, Debug)]
pub enum Version {
    V12,
    V13,
}

/// Makes a self-signed certificate for these names; returns it and its key in PEM.
pub fn certificate(names: &[&str]) -> (String, String) {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let params = CertificateParams::new(names).expect("these are names");
    let key = KeyPair::generate().expect("there are random numbers");
    (params.self_signed(&key).expect("it can be signed").pem(), key.serialize_pem())
}

impl Folder {
    /// Writes a certificate for these names to `name.pem`, and its key to `name.key`.
    pub fn pair(self, name: &str, names: &[&str]) -> Folder {
        let (cert, key) = certificate(names);
        self.file(&format!("{name}.pem"), cert).file(&format!("{name}.key"), key)
    }
}

/// A client that accepts every certificate and caches its sessions.
#[derive(Clone)]
pub struct Trust {
    config: Arc<ClientConfig>,
}

impl Trust {
    /// A client of one version.
    pub fn of(version: Version) -> Trust {
        let versions = match version {
            Version::V12 => &[&TLS12],
            Version::V13 => &[&TLS13],
        };
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_protocol_versions(versions).expect("it is known").dangerous();
        let mut config = builder.with_custom_certificate_verifier(Arc::new(Anyone)).with_no_client_auth();
        config.enable_secret_extraction = true;
        Trust { config: Arc::new(config) }
    }

    /// The same, offering these protocols.
    pub fn offering(self, protocols: &[&str]) -> Trust {
        let mut config = (*self.config).clone();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Trust { config: Arc::new(config) }
    }

    /// The same, without tickets of TLS 1.2.
    pub fn without_tickets(self) -> Trust {
        let mut config = (*self.config).clone();
        config.resumption = config.resumption.tls12_resumption(rustls::client::Tls12Resumption::SessionIdOnly);
        Trust { config: Arc::new(config) }
    }

    /// A session with a server by this name.
    pub fn session(&self, name: &str) -> ClientConnection {
        let name = ServerName::try_from(name.to_owned()).expect("it is a name");
        ClientConnection::new(Arc::clone(&self.config), name).expect("the client is set up")
    }

    /// Connects to the server by this name.
    pub fn connect(&self, addr: SocketAddr, name: &str) -> Client {
        Client::connect(addr).over_tls(self.session(name))
    }
}

/// The fingerprint of a certificate.
pub fn fingerprint(cert: &[u8]) -> String {
    let suite = cipher_suite::TLS13_AES_128_GCM_SHA256.tls13().expect("it is of TLS 1.3");
    let hash = suite.common.hash_provider.hash(cert);
    hash.as_ref().iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

/// Accepts every certificate, but verifies signatures.
#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, signed, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, signed, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}
