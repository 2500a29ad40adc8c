//! A connection over TLS 1.2 or 1.3 (RFC 5246, RFC 8446). This directory is the only user of rustls.
//!
//! Records travel through [`Tcp`], so that what holds for a plain connection holds here: its limits of time, its pace, its
//! end from outside. Nothing is renegotiated, and nothing is taken before the handshake is over (no 0-RTT), because that
//! can be sent twice by whoever listens (RFC 8446 §8).

pub mod certificates;
pub mod self_signed;

use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use rustls::{HandshakeKind, ServerConnection};

use super::Transport;
use super::tcp::Tcp;
use certificates::Certificates;

/// The first byte of a client that speaks TLS: it begins a record of the handshake (RFC 8446 §5.1).
const HANDSHAKE_RECORD: u8 = 22;

/// So many bytes are encrypted before they are sent: four records, which leave with one call. 100 MiB take 58 ms of
/// processor time so, and 63 with half of it.
const PIECE: usize = 64 * 1024;

/// Says to a client that its connection ends because of the server: the record of an alert, `internal_error`
/// (RFC 8446 §6). It can be sent instead of a handshake.
pub const INTERNAL_ERROR_ALERT: [u8; 7] = [21, 3, 3, 0, 2, 2, 80];

/// How a client has become known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// With a signature of our key.
    Full,
    /// With a secret of an earlier connection.
    Resumed,
}

/// A TLS connection.
pub struct Tls<'s> {
    tcp: Tcp<'s>,
    session: ServerConnection,
    /// How many bytes have been encrypted but not sent.
    held: usize,
}

/// Reports whether a client whose first byte this is speaks TLS.
pub fn is_handshake(first: u8) -> bool {
    first == HANDSHAKE_RECORD
}

impl<'s> Tls<'s> {
    /// Shakes hands with a client. `UnexpectedEof` says that the client, or the house, has ended it before.
    pub fn accept(tcp: Tcp<'s>, keys: &Certificates) -> Result<(Tls<'s>, Handshake), (Tcp<'s>, io::Error)> {
        let mut session = match ServerConnection::new(keys.config()) {
            Ok(session) => session,
            Err(error) => return Err((tcp, io::Error::other(error))),
        };
        // What waits is bounded here: nothing is encrypted while PIECE bytes have not been sent.
        session.set_buffer_limit(None);
        let mut tls = Tls { tcp, session, held: 0 };
        match tls.shake_hands() {
            Ok(handshake) => Ok((tls, handshake)),
            Err(error) => Err((tls.tcp, error)),
        }
    }

    /// Goes on until the handshake is over. Our last words in it, which may be tickets, leave with the first answer.
    fn shake_hands(&mut self) -> io::Result<Handshake> {
        while self.session.is_handshaking() {
            let mut incoming = Incoming { tcp: &mut self.tcp, wait: Wait::Until(None) };
            if self.session.read_tls(&mut incoming)? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            self.decrypt()?;
            if self.session.is_handshaking() {
                self.flush(false)?;
            }
        }
        Ok(match self.session.handshake_kind() {
            Some(HandshakeKind::Resumed) => Handshake::Resumed,
            _ => Handshake::Full,
        })
    }

    /// What was agreed upon, for a person.
    pub fn agreed(&self) -> String {
        let version = self.session.protocol_version().map_or("", |version| version.as_str().unwrap_or_default());
        let suite = self.session.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or_default();
        let name = self.session.server_name().unwrap_or("no name");
        format!("{version}, {suite}, for {name}")
    }

    /// Decrypts what has been read. What is wrong with it is said to the client, as far as it takes that at once.
    fn decrypt(&mut self) -> io::Result<()> {
        let Err(error) = self.session.process_new_packets() else { return Ok(()) };
        let _ = self.session.write_tls(&mut Outgoing { tcp: &mut self.tcp, more_follows: false });
        Err(io::Error::new(ErrorKind::InvalidData, error))
    }

    /// What has been decrypted; none where nothing has, and 0 at the end of the stream. Whether the client has said that it
    /// ends there makes no difference to a request, which has its own end.
    fn content(&mut self, into: &mut [u8]) -> io::Result<Option<usize>> {
        match self.session.reader().read(into) {
            Ok(count) => Ok(Some(count)),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(Some(0)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Encrypts bytes and sends those before them, once they are enough.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        for piece in bytes.chunks(PIECE) {
            if self.held + piece.len() > PIECE {
                self.flush(true)?;
            }
            self.session.writer().write_all(piece)?;
            self.held += piece.len();
        }
        Ok(())
    }

    /// Sends what has been encrypted.
    fn flush(&mut self, more_follows: bool) -> io::Result<()> {
        while self.session.wants_write() {
            self.session.write_tls(&mut Outgoing { tcp: &mut self.tcp, more_follows })?;
        }
        self.held = 0;
        // A client that lags does not catch up in between.
        if !more_follows {
            self.tcp.end_stall();
        }
        Ok(())
    }
}

impl Transport for Tls<'_> {
    fn set_send_pace(&mut self, pace: Duration) {
        self.tcp.set_send_pace(pace);
    }

    fn read(&mut self, into: &mut [u8], until: Option<Instant>) -> io::Result<usize> {
        // A client that goes on with empty records or new keys is sent away by rustls after some dozens.
        loop {
            if let Some(count) = self.content(into)? {
                return Ok(count);
            }
            self.flush(false)?;
            self.session.read_tls(&mut Incoming { tcp: &mut self.tcp, wait: Wait::Until(until) })?;
            self.decrypt()?;
        }
    }

    fn try_read(&mut self, into: &mut [u8]) -> io::Result<Option<usize>> {
        if let Some(count) = self.content(into)? {
            return Ok(Some(count));
        }
        match self.session.read_tls(&mut Incoming { tcp: &mut self.tcp, wait: Wait::Never }) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            read => read?,
        };
        self.decrypt()?;
        self.content(into)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write(bytes)?;
        self.flush(false)
    }

    fn send_more(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write(bytes)
    }

    /// Reads and encrypts. Of the span is taken what has been encrypted: it must never be encrypted a second time.
    fn send_file(&mut self, file: &File, span: &mut Range<u64>) -> io::Result<()> {
        let mut piece = vec![0; PIECE.min((span.end - span.start) as usize)];
        while span.start < span.end {
            let wanted = piece.len().min((span.end - span.start) as usize);
            let count = file.read_at(&mut piece[..wanted], span.start)?;
            if count == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            self.flush(true)?;
            self.session.writer().write_all(&piece[..count])?;
            self.held += count;
            span.start += count as u64;
        }
        Ok(())
    }

    fn send_last(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write(bytes)?;
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

    /// Without a word that this is the end, so the client knows that something is missing (RFC 8446 §6.1).
    fn abort(&mut self) {
        self.tcp.abort();
    }
}

/// How long reading waits.
enum Wait {
    /// Until this moment, where there is one.
    Until(Option<Instant>),
    /// Not at all; `WouldBlock` says that nothing has arrived.
    Never,
}

/// Records from the client.
struct Incoming<'t, 's> {
    tcp: &'t mut Tcp<'s>,
    wait: Wait,
}

impl Read for Incoming<'_, '_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.wait {
            Wait::Until(until) => self.tcp.read(into, until),
            Wait::Never => self.tcp.try_read(into)?.ok_or_else(|| ErrorKind::WouldBlock.into()),
        }
    }
}

/// Records to the client.
struct Outgoing<'t, 's> {
    tcp: &'t mut Tcp<'s>,
    more_follows: bool,
}

impl Write for Outgoing<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.tcp.send_some(&[IoSlice::new(bytes)], self.more_follows)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.tcp.send_some(slices, self.more_follows)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
