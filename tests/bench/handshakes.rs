//! Load of TLS handshakes: clients that open a TLS connection for each request.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, HandshakeKind, SignatureScheme, StreamOwned,
};

/// Runs the clients for the given time; returns the number of successful and of failed requests.
pub fn run(addr: SocketAddr, path: &str, kind: HandshakeKind, clients: usize, seconds: usize) -> (u64, u64) {
    let end = Instant::now() + Duration::from_secs(seconds as u64);
    let client = || {
        let config = config(kind);
        let (mut succeeded, mut failed) = (0, 0);
        // The first connection has no session to resume.
        let _ = request(addr, path, &config);
        while Instant::now() < end {
            match request(addr, path, &config) {
                Ok(found) if found == kind => succeeded += 1,
                _ => failed += 1,
            }
        }
        (succeeded, failed)
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..clients).map(|_| scope.spawn(client)).collect();
        let outcomes = clients.into_iter().map(|client| client.join().expect("no client panics"));
        outcomes.fold((0, 0), |(succeeded, failed), (more, more_failed)| (succeeded + more, failed + more_failed))
    })
}

fn request(addr: SocketAddr, path: &str, config: &Arc<ClientConfig>) -> io::Result<HandshakeKind> {
    let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
    let session = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(session, TcpStream::connect(addr)?);
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut response = Vec::new();
    stream.read_to_end(&mut response)?;
    let kind = stream.conn.handshake_kind();
    kind.filter(|_| response.starts_with(b"HTTP/1.1 200")).ok_or_else(|| io::Error::other("no successful response"))
}

fn config(kind: HandshakeKind) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("ring supports both versions").dangerous();
    let mut config = builder.with_custom_certificate_verifier(Arc::new(AcceptAny)).with_no_client_auth();
    if kind != HandshakeKind::Resumed {
        config.resumption = Resumption::disabled();
    }
    Arc::new(config)
}

/// Accepts every certificate: the benchmark measures the server.
#[derive(Debug)]
struct AcceptAny;

impl ServerCertVerifier for AcceptAny {
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
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}
