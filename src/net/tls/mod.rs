//! TLS 1.2 and 1.3 (RFC 5246, RFC 8446). This directory is the only user of rustls.
//!
//! Records travel through [`Tcp`], whose timeouts and send pace therefore apply. There is no renegotiation and no 0-RTT,
//! whose data an attacker can replay (RFC 8446 §8).

pub mod certificates;
pub mod self_signed;

use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::time::Instant;

use rustls::{HandshakeKind, ServerConnection};

use super::Transport;
use super::tcp::Tcp;
use certificates::Certificates;

/// The content type of a handshake record, a TLS client's first byte (RFC 8446 §5.1).
pub const HANDSHAKE_RECORD: u8 = 22;

/// Bytes encrypted before one write call: four records.
// measured: 58 → 63 ms/100 MiB with half of it
const PIECE: usize = 64 * 1024;

/// The record of an `internal_error` alert (RFC 8446 §6). It can be sent instead of a handshake.
pub const INTERNAL_ERROR_ALERT: [u8; 7] = [21, 3, 3, 0, 2, 2, 80];

/// The kind of a finished handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// With a signature by the certificate's key.
    Full,
    /// With the secret of an earlier connection.
    Resumed,
}

/// A TLS connection.
pub struct Tls<'t, 's> {
    tcp: &'t mut Tcp<'s>,
    session: ServerConnection,
    /// Bytes encrypted but not sent, at most [`PIECE`].
    held: usize,
}

impl<'t, 's> Tls<'t, 's> {
    /// Performs the handshake. Its last records, which may be tickets, leave with the first response.
    ///
    /// `UnexpectedEof`: the client, or another thread, ended the connection.
    pub fn accept(tcp: &'t mut Tcp<'s>, certificates: &Certificates) -> io::Result<(Tls<'t, 's>, Handshake)> {
        let mut session = ServerConnection::new(certificates.config()).map_err(io::Error::other)?;
        session.set_buffer_limit(None);
        let mut tls = Tls { tcp, session, held: 0 };
        while tls.session.is_handshaking() {
            tls.flush(false)?;
            if tls.session.read_tls(&mut Incoming(|into: &mut [u8]| tls.tcp.read(into, None)))? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            tls.decrypt()?;
        }
        let is_resumed = tls.session.handshake_kind() == Some(HandshakeKind::Resumed);
        Ok((tls, if is_resumed { Handshake::Resumed } else { Handshake::Full }))
    }

    /// The negotiated version, cipher suite and server name, as text.
    pub fn negotiated(&self) -> String {
        let version = self.session.protocol_version().map_or("", |version| version.as_str().unwrap_or_default());
        let suite = self.session.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or_default();
        let name = self.session.server_name().unwrap_or("no name");
        format!("{version}, {suite}, for {name}")
    }

    /// Decrypts the received records. An error is sent as an alert, without waiting.
    fn decrypt(&mut self) -> io::Result<()> {
        let Err(error) = self.session.process_new_packets() else { return Ok(()) };
        let _ = self.session.write_tls(&mut Outgoing(self.tcp, false));
        Err(io::Error::new(ErrorKind::InvalidData, error))
    }

    /// Reads decrypted bytes; none if there are none, and 0 at EOF. A missing close_notify makes no difference: a request
    /// has its own end.
    fn read_decrypted(&mut self, into: &mut [u8]) -> io::Result<Option<usize>> {
        match self.session.reader().read(into) {
            Ok(count) => Ok(Some(count)),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(Some(0)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends the encrypted bytes.
    fn flush(&mut self, more_follows: bool) -> io::Result<()> {
        while self.session.wants_write() {
            self.session.write_tls(&mut Outgoing(self.tcp, more_follows))?;
        }
        self.held = 0;
        // A stalled client does not resume between two pieces.
        if !more_follows {
            self.tcp.end_stall();
        }
        Ok(())
    }
}

impl Transport for Tls<'_, '_> {
    fn read(&mut self, into: &mut [u8], deadline: Option<Instant>) -> io::Result<usize> {
        // rustls ends a connection after some dozens of empty records or key updates.
        loop {
            if let Some(count) = self.read_decrypted(into)? {
                return Ok(count);
            }
            self.flush(false)?;
            self.session.read_tls(&mut Incoming(|into: &mut [u8]| self.tcp.read(into, deadline)))?;
            self.decrypt()?;
        }
    }

    fn try_read(&mut self, into: &mut [u8]) -> io::Result<Option<usize>> {
        if let Some(count) = self.read_decrypted(into)? {
            return Ok(Some(count));
        }
        let arrived = |into: &mut [u8]| self.tcp.try_read(into)?.ok_or(ErrorKind::WouldBlock.into());
        match self.session.read_tls(&mut Incoming(arrived)) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            read => read?,
        };
        self.decrypt()?;
        self.read_decrypted(into)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.send_more(bytes)?;
        self.flush(false)
    }

    /// Encrypts bytes, and sends earlier ones once they fill a [`PIECE`].
    fn send_more(&mut self, bytes: &[u8]) -> io::Result<()> {
        for piece in bytes.chunks(PIECE) {
            if self.held + piece.len() > PIECE {
                self.flush(true)?;
            }
            self.session.writer().write_all(piece)?;
            self.held += piece.len();
        }
        Ok(())
    }

    /// Reads and encrypts. The span shrinks by the encrypted bytes, which must not be encrypted twice.
    fn send_file(&mut self, file: &File, span: &mut Range<u64>) -> io::Result<()> {
        let mut piece = vec![0; PIECE.min((span.end - span.start) as usize)];
        while span.start < span.end {
            let wanted = piece.len().min((span.end - span.start) as usize);
            let count = file.read_at(&mut piece[..wanted], span.start)?;
            if count == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            self.send_more(&piece[..count])?;
            span.start += count as u64;
        }
        Ok(())
    }

    fn send_last(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.send_more(bytes)?;
        self.session.send_close_notify();
        self.flush(true)?;
        self.tcp.send_last(&[])
    }

    fn may_send_close_notify(&self) -> bool {
        true
    }

    fn linger(&mut self) {
        self.tcp.linger();
    }

    /// Sends no close_notify, so the client detects the truncation (RFC 8446 §6.1).
    fn abort(&mut self) {
        self.tcp.abort();
    }
}

/// Records from the client, as this function reads them.
struct Incoming<F>(F);

impl<F: FnMut(&mut [u8]) -> io::Result<usize>> Read for Incoming<F> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        (self.0)(into)
    }
}

/// Records to the client, and whether more follow at once.
struct Outgoing<'t, 's>(&'t mut Tcp<'s>, bool);

impl Write for Outgoing<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.send_some(slices, self.1)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
