//! TCP transport, blocking.
//!
//! System calls are made by rustix, without the C library's cancellation points.

use std::fs::File;
use std::io::{self, ErrorKind, IoSlice};
use std::net::{Shutdown, TcpStream};
use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::sendfile;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, send, sendmsg, sockopt};

use super::{SendObserver, Transport};

/// Bytes that the client has to read within each period of its pace.
const PACE_BYTES: u64 = 64 * 1024;

/// The most bytes per sendfile call.
// measured: 66 → 70 µs per 1 MiB with a quarter of it
const SENDFILE_MAX: u64 = 1024 * 1024;

/// The longest wait of one send, so that a stalled client is noticed soon.
pub const STALL_CHECK_INTERVAL: Duration = Duration::from_millis(250);

/// Pause where the socket has room for more, but the kernel has no memory.
const ENOBUFS_PAUSE: Duration = Duration::from_millis(10);

/// Read timeouts are rounded up to a multiple of this, so that nearly equal ones need no system call.
const TIMEOUT_GRANULARITY: Duration = Duration::from_millis(100);

/// The most bytes discarded while lingering.
const LINGER_BYTES: usize = 64 * 1024 * 1024;

/// A TCP connection. Other threads can hold the stream too, to shut it down.
pub struct Tcp<'s> {
    stream: &'s TcpStream,
    observer: &'s dyn SendObserver,
    /// SO_RCVTIMEO as it is set; zero is no limit.
    read_timeout: Duration,
    /// Whether the socket is in blocking mode.
    is_blocking: bool,
    is_send_timeout_set: bool,
    pace: Duration,
    /// Start of the current period and the bytes read in it, once the client does not read everything at once.
    stalled: Option<(Instant, u64)>,
}

impl<'s> Tcp<'s> {
    /// Takes over a blocking connection, whose client gets `pace` to read each 64 KiB, or the rest if that is less.
    pub fn new(stream: &'s TcpStream, observer: &'s dyn SendObserver, pace: Duration) -> Tcp<'s> {
        let read_timeout = Duration::ZERO;
        Tcp { stream, observer, read_timeout, is_blocking: true, is_send_timeout_set: false, pace, stalled: None }
    }

    /// Reads bytes and leaves them to be read again, waiting for one at least; 0 at the end of the stream.
    pub fn peek(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.receive(into, None, RecvFlags::PEEK)
    }

    fn receive(&mut self, into: &mut [u8], deadline: Option<Instant>, flags: RecvFlags) -> io::Result<usize> {
        self.set_blocking(true)?;
        loop {
            self.set_read_deadline(deadline)?;
            // measured: recv 17.8, read 19.3 µs/request with 1000 connections
            if let Some((count, _)) = ready(recv(self.stream, &mut *into, flags))? {
                return Ok(count);
            }
        }
    }

    /// Makes the next read time out at the deadline. Between requests there is none, and no system call is needed.
    fn set_read_deadline(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Err(ErrorKind::TimedOut.into());
        }
        let steps = left.map_or(0, |left| left.as_nanos().div_ceil(TIMEOUT_GRANULARITY.as_nanos()));
        let timeout = TIMEOUT_GRANULARITY * u32::try_from(steps).unwrap_or(u32::MAX);
        if timeout != self.read_timeout {
            self.stream.set_read_timeout(left.map(|_| timeout))?;
            self.read_timeout = timeout;
        }
        Ok(())
    }

    fn set_blocking(&mut self, is_blocking: bool) -> io::Result<()> {
        if is_blocking != self.is_blocking {
            self.stream.set_nonblocking(!is_blocking)?;
            self.is_blocking = is_blocking;
        }
        Ok(())
    }

    fn send_all(&mut self, mut bytes: &[u8], more_follows: bool) -> io::Result<()> {
        while !bytes.is_empty() {
            let sent = self.send_some(&[IoSlice::new(bytes)], more_follows)?;
            bytes = &bytes[sent..];
        }
        self.end_stall();
        Ok(())
    }

    /// Sends some of these bytes and returns how many. After the last call comes [`Tcp::end_stall`].
    pub fn send_some(&mut self, slices: &[IoSlice<'_>], more_follows: bool) -> io::Result<usize> {
        let mut flags = SendFlags::NOSIGNAL | self.wait_flag()?;
        flags.set(SendFlags::MORE, more_follows);
        let sent = match slices {
            [bytes] => send(self.stream, bytes, flags),
            _ => sendmsg(self.stream, slices, &mut SendAncillaryBuffer::default(), flags),
        };
        let sent = ready(sent)?.unwrap_or(0);
        if self.stalled.is_some() || sent < slices.iter().map(|bytes| bytes.len()).sum() {
            self.check_pace(sent as u64)?;
        }
        Ok(sent)
    }

    /// Most responses fit into the socket buffer; only a send to a stalled client waits, with a timeout.
    fn wait_flag(&mut self) -> io::Result<SendFlags> {
        if self.stalled.is_none() {
            return Ok(SendFlags::DONTWAIT);
        }
        self.set_blocking(true)?;
        if !self.is_send_timeout_set {
            self.stream.set_write_timeout(Some(STALL_CHECK_INTERVAL))?;
            self.is_send_timeout_set = true;
        }
        Ok(SendFlags::empty())
    }

    /// Sends a piece of a file; returns its length, and whether the socket buffer is full.
    fn send_piece(&self, file: &File, span: &mut Range<u64>) -> io::Result<(u64, bool)> {
        // The pace of a stalled client is checked in small steps.
        let max = if self.stalled.is_some() { PACE_BYTES } else { SENDFILE_MAX };
        let wanted = (span.end - span.start).min(max) as usize;
        match ready(sendfile(self.stream, file, Some(&mut span.start), wanted))? {
            Some(0) => Err(ErrorKind::UnexpectedEof.into()),
            Some(sent) => Ok((sent as u64, sent < wanted)),
            None => Ok((0, true)),
        }
    }

    /// Waits until the socket buffer has room, or the client has closed; false after [`STALL_CHECK_INTERVAL`].
    fn wait_for_room(&self) -> io::Result<bool> {
        let timeout = Timespec { tv_sec: 0, tv_nsec: STALL_CHECK_INTERVAL.as_nanos() as _ };
        let found = ready(poll(&mut [PollFd::new(self.stream, PollFlags::OUT)], Some(&timeout)))?;
        Ok(found != Some(0))
    }

    /// Counts bytes in the current period, which begins when the client first does not read everything at once.
    fn check_pace(&mut self, sent: u64) -> io::Result<()> {
        let now = Instant::now();
        let (since, taken) = self.stalled.unwrap_or((now, 0));
        let taken = taken + sent;
        if taken < PACE_BYTES && now - since >= self.pace {
            return Err(ErrorKind::TimedOut.into());
        }
        if taken >= PACE_BYTES || self.stalled.is_none() {
            self.observer.stalled();
        }
        self.stalled = Some(if taken >= PACE_BYTES { (now, 0) } else { (since, taken) });
        Ok(())
    }

    /// Ends the stall of a client that has read everything.
    pub fn end_stall(&mut self) {
        if self.stalled.take().is_some() {
            self.observer.resumed();
        }
    }
}

/// The result of a system call; none if it was interrupted, or would have to wait.
fn ready<T>(result: Result<T, Errno>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Errno::AGAIN | Errno::INTR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl Transport for Tcp<'_> {
    fn read(&mut self, into: &mut [u8], deadline: Option<Instant>) -> io::Result<usize> {
        self.receive(into, deadline, RecvFlags::empty())
    }

    fn try_read(&mut self, into: &mut [u8]) -> io::Result<Option<usize>> {
        Ok(ready(recv(self.stream, into, RecvFlags::DONTWAIT))?.map(|(count, _)| count))
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.send_all(bytes, false)
    }

    fn send_more(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.send_all(bytes, true)
    }

    /// Sends from a non-blocking socket: a blocking sendfile waits anew whenever the client has read anything, and can take
    /// minutes. A later blocking call switches the socket back, and usually there is none.
    fn send_file(&mut self, file: &File, span: &mut Range<u64>) -> io::Result<()> {
        self.set_blocking(false)?;
        let mut has_room = false;
        let (mut since, mut taken) = (Instant::now(), 0);
        while span.start < span.end {
            let (sent, is_full) = self.send_piece(file, span)?;
            if sent == 0 && has_room {
                thread::sleep(ENOBUFS_PAUSE);
            }
            has_room = is_full && self.wait_for_room()?;
            taken += sent;
            let is_check_due = since.elapsed() >= STALL_CHECK_INTERVAL;
            if self.stalled.is_some() || is_full && !has_room || is_check_due && taken < PACE_BYTES {
                self.check_pace(sent)?;
            }
            if is_check_due {
                (since, taken) = (Instant::now(), 0);
            }
        }
        self.end_stall();
        Ok(())
    }

    /// The last segment is held back until the FIN can go with it, so that the client is woken once.
    fn send_last(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.send_more(bytes)?;
        self.stream.shutdown(Shutdown::Write)
    }

    fn linger(&mut self) {
        let (mut discarded, mut total) = ([0; 4096], 0);
        while total <= LINGER_BYTES
            && let Ok(count @ 1..) = self.read(&mut discarded, None)
        {
            total += count;
        }
    }

    fn abort(&mut self) {
        // The close sends RST, not FIN, which would end a complete response in HTTP/0.9.
        let _ = sockopt::set_socket_linger(self.stream, Some(Duration::ZERO));
        let _ = self.stream.shutdown(Shutdown::Read);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{OFlags, fcntl_getfl};
    use socket2::{Domain, Socket, Type};
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::mpsc::{Sender, channel};
    use std::{env, fs, process};

    const LONG: u64 = 32 << 20;

    /// Reports each stall.
    struct Observer(Sender<()>);

    impl SendObserver for Observer {
        fn stalled(&self) {
            let _ = self.0.send(());
        }
        fn resumed(&self) {}
    }

    /// Both ends of a connection: the client's and the server's.
    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("listening");
        let (stream, _) = listener.accept().expect("connected");
        (client, stream)
    }

    /// A file of zeros that is removed with its descriptor.
    fn sparse_file(name: &str) -> File {
        let path = env::temp_dir().join(format!("serve-unit-{}-{name}", process::id()));
        let mut options = File::options();
        let file = options.create(true).read(true).write(true).truncate(true).open(&path).expect("it can be made");
        fs::remove_file(path).expect("it is there");
        file.set_len(LONG).expect("there is room for a hole");
        file
    }

    #[test]
    fn client_that_reads_little_at_a_time_is_stalled() {
        let file = sparse_file("little");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let mut client = Socket::new(Domain::IPV4, Type::STREAM, None).expect("there are descriptors");
        // Small segments and buffers, so that any room is noticed soon.
        client.set_tcp_mss(536).expect("the option can be set");
        client.set_recv_buffer_size(4096).expect("the option can be set");
        client.connect(&listener.local_addr().expect("bound").into()).expect("listening");
        let (stream, _) = listener.accept().expect("connected");
        sockopt::set_socket_send_buffer_size(&stream, 16 * 1024).expect("the option can be set");
        let (observed, stalls) = channel();
        let observer = Observer(observed);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut tcp = Tcp::new(&stream, &observer, Duration::from_secs(60));
                let sent = tcp.send_file(&file, &mut (0..LONG));
                sent.expect_err("the client closes");
            });
            let mut little = vec![0; 1024];
            let stalled = (0..400).any(|_| {
                client.read_exact(&mut little).expect("it goes on");
                stalls.recv_timeout(Duration::from_millis(10)).is_ok()
            });
            drop(client);
            assert!(stalled, "a client that reads 100 KiB a second is not stalled");
        });
    }

    #[test]
    fn failed_sendfile_leaves_the_connection_usable() {
        let (mut client, stream) = pair();
        let dir = File::open(env::temp_dir()).expect("it is there");
        let observer = Observer(channel().0);
        let mut tcp = Tcp::new(&stream, &observer, Duration::ZERO);
        tcp.send_file(&dir, &mut (0..LONG)).expect_err("a directory has no content");
        client.write_all(b"x").expect("it is open");
        assert_eq!(tcp.read(&mut [0; 9], None).expect("it is open"), 1);
        assert!(is_blocking(&stream));
    }

    #[test]
    fn send_after_sendfile_waits_in_a_blocking_call() {
        let (mut client, stream) = pair();
        let file = sparse_file("rest");
        let (observed, stalls) = channel();
        let observer = Observer(observed);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut tcp = Tcp::new(&stream, &observer, Duration::from_secs(60));
                tcp.send_file(&file, &mut (0..1)).expect("there is room");
                tcp.send(&vec![0; LONG as usize]).expect("the client reads it");
                stream.shutdown(Shutdown::Write).expect("it is open");
            });
            stalls.recv().expect("the client reads nothing");
            assert_eq!(io::copy(&mut client, &mut io::sink()).expect("it is sent"), LONG + 1);
        });
        assert!(is_blocking(&stream));
    }

    fn is_blocking(stream: &TcpStream) -> bool {
        !fcntl_getfl(stream).expect("it can be queried").contains(OFlags::NONBLOCK)
    }
}
