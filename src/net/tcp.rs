//! A connection over plain TCP, blocking.
//!
//! Reading and sending call the kernel directly, past the C library's cancellation points.

use std::fs::File;
use std::io::{self, ErrorKind, IoSlice};
use std::mem;
use std::net::{Shutdown, TcpStream};
use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::sendfile;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, send, sendmsg, sockopt};

use super::listener::{self, UNSENT_MAX};
use super::{Onlooker, Transport};

/// What the client has to take within each period of its pace.
const PACE_BYTES: u64 = 64 * 1024;

/// The most that one system call is asked to send of a file. In four calls 1 MiB takes 70 µs of processor time instead of 66.
const SENDFILE_MAX: u64 = 1024 * 1024;

/// How much may wait in the system while there are few connections, as long as four times that is left of a file: as much
/// as there is room for with the system's usual settings. At the end it is [`UNSENT_MAX`] again, so that no more is on its
/// way when the connection counts as idle or is closed.
///
/// Both ends are woken less often. 100 MiB for each of 4 clients take 5.1 ms of processor time instead of 7.7, and 4,130 MB
/// leave in a second instead of 3,650. Where the system sends by BBR it is 11 ms instead of 19, but 1,370 MB instead of 1,720.
const UNSENT_MAX_OF_FEW: u32 = 4 * 1024 * 1024;

/// How long a send waits for the client at most until it comes back, so that it is soon known who lags.
pub const LOOK: Duration = Duration::from_millis(250);

/// How long to wait where there is room for more in the connection, but no memory for it in the system.
const SHORTAGE: Duration = Duration::from_millis(10);

/// The steps in which read timeouts are set, so that nearly equal ones are equal.
const STEP: Duration = Duration::from_millis(100);

/// How much we go on reading after our last answer.
const LINGER_BYTES: usize = 64 * 1024 * 1024;

/// A TCP connection. Others may hold the stream too, to end it from outside.
pub struct Tcp<'s> {
    stream: &'s TcpStream,
    onlooker: &'s dyn Onlooker,
    /// What the socket's option is set to; zero is no limit.
    read_timeout: Duration,
    /// Whether calls that do not say otherwise wait for the client.
    blocks: bool,
    send_is_armed: bool,
    /// How much may wait in the system.
    unsent_max: u32,
    pace: Duration,
    /// Since when and how much the client has taken in this period, once it did not take everything at once.
    stalled: Option<(Instant, u64)>,
}

impl<'s> Tcp<'s> {
    /// Takes a connection over.
    pub fn new(stream: &'s TcpStream, onlooker: &'s dyn Onlooker) -> Tcp<'s> {
        let [read_timeout, pace] = [Duration::ZERO; 2];
        let (blocks, send_is_armed, unsent_max) = (true, false, UNSENT_MAX);
        Tcp { stream, onlooker, read_timeout, blocks, send_is_armed, unsent_max, pace, stalled: None }
    }

    /// Makes the next read end at this moment. Between requests there is none, and nothing has to be set.
    fn arm_read(&mut self, until: Option<Instant>) -> io::Result<()> {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Err(ErrorKind::TimedOut.into());
        }
        let steps = left.map_or(0, |left| left.as_nanos().div_ceil(STEP.as_nanos()));
        let timeout = STEP * u32::try_from(steps).unwrap_or(u32::MAX);
        if timeout != self.read_timeout {
            self.stream.set_read_timeout(left.map(|_| timeout))?;
            self.read_timeout = timeout;
        }
        Ok(())
    }

    /// Makes calls that do not say otherwise wait for the client, or not.
    fn set_blocks(&mut self, blocks: bool) -> io::Result<()> {
        if blocks != self.blocks {
            self.stream.set_nonblocking(!blocks)?;
            self.blocks = blocks;
        }
        Ok(())
    }

    /// Makes a send wait for the client, and come back in time.
    fn arm_send(&mut self) -> io::Result<()> {
        self.set_blocks(true)?;
        if !self.send_is_armed {
            self.stream.set_write_timeout(Some(LOOK))?;
            self.send_is_armed = true;
        }
        Ok(())
    }

    fn send_flagged(&mut self, mut bytes: &[u8], flags: SendFlags) -> io::Result<()> {
        while !bytes.is_empty() {
            let flags = flags | self.waits()?;
            let sent = send(self.stream, bytes, flags);
            let sent = self.progress(sent, bytes.len())?;
            bytes = &bytes[sent..];
        }
        self.all_is_sent();
        Ok(())
    }

    /// How a send is to wait. Most answers fit into the socket's buffer; only one that does not needs a time limit.
    fn waits(&mut self) -> io::Result<SendFlags> {
        if self.stalled.is_none() {
            return Ok(SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        }
        self.arm_send()?;
        Ok(SendFlags::NOSIGNAL)
    }

    /// Sends some of these bytes, and says how many; where more follows at once, a last incomplete segment is held back.
    /// When it was the last, it is to be told by [`Tcp::all_is_sent`].
    pub fn send_some(&mut self, slices: &[IoSlice<'_>], more_follows: bool) -> io::Result<usize> {
        let more = if more_follows { SendFlags::MORE } else { SendFlags::empty() };
        let flags = more | self.waits()?;
        let sent = match slices {
            [bytes] => send(self.stream, bytes, flags),
            _ => sendmsg(self.stream, slices, &mut SendAncillaryBuffer::default(), flags),
        };
        self.progress(sent, slices.iter().map(|bytes| bytes.len()).sum())
    }

    /// Hands over a part of a file; the connection is not to wait by itself.
    fn hand_over(&mut self, file: &File, span: &mut Range<u64>) -> io::Result<()> {
        let unsent_max = if self.onlooker.sees_few() { UNSENT_MAX_OF_FEW } else { UNSENT_MAX };
        let mut has_room = false;
        let (mut since, mut taken) = (Instant::now(), 0);
        while span.start < span.end {
            let left = span.end - span.start;
            let less = self.let_wait((left / 4).clamp(UNSENT_MAX.into(), unsent_max.into()) as u32)?;
            // Of a client that lags it has to be known when it has taken as much as it must.
            let most = if self.stalled.is_some() { PACE_BYTES } else { SENDFILE_MAX };
            let wanted = left.min(most) as usize;
            let sent = match sendfile(self.stream, file, Some(&mut span.start), wanted) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(sent) => sent,
                Err(Errno::AGAIN | Errno::INTR) => 0,
                Err(error) => return Err(error.into()),
            };
            if sent == 0 && has_room {
                thread::sleep(SHORTAGE);
            }
            let is_full = sent < wanted;
            has_room = is_full && self.wait_for_room()?;
            // That less waits than before is the client's doing too.
            let sent = sent as u64 + less;
            taken += sent;
            let is_over = since.elapsed() >= LOOK;
            if self.stalled.is_some() || is_full && !has_room || is_over && taken < PACE_BYTES {
                self.check_pace(sent)?;
            }
            if is_over {
                (since, taken) = (Instant::now(), 0);
            }
        }
        self.all_is_sent();
        Ok(())
    }

    /// Lets so much wait in the system, and says how much less that is than before.
    fn let_wait(&mut self, bytes: u32) -> io::Result<u64> {
        let before = mem::replace(&mut self.unsent_max, bytes);
        if bytes != before {
            listener::set_unsent_max(self.stream, bytes)?;
        }
        Ok(before.saturating_sub(bytes).into())
    }

    /// Waits until there is room for more, or it is known that the client has gone; false if there is none soon.
    fn wait_for_room(&self) -> io::Result<bool> {
        let look = Timespec { tv_sec: 0, tv_nsec: LOOK.as_nanos() as _ };
        match poll(&mut [PollFd::new(self.stream, PollFlags::OUT)], Some(&look)) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::INTR) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    /// Judges a call that sent something: the error, or the number of bytes where the client is fast enough.
    fn progress(&mut self, sent: Result<usize, Errno>, wanted: usize) -> io::Result<usize> {
        let sent = match sent {
            Ok(sent) => sent,
            // The socket's own timeout has passed without any progress; or a signal came.
            Err(Errno::AGAIN | Errno::INTR) => 0,
            Err(error) => return Err(error.into()),
        };
        if sent < wanted || self.stalled.is_some() {
            self.check_pace(sent as u64)?;
        }
        Ok(sent)
    }

    /// Counts what the client takes in a period that begins when it first does not take everything at once.
    fn check_pace(&mut self, sent: u64) -> io::Result<()> {
        let now = Instant::now();
        let (since, taken) = self.stalled.unwrap_or((now, 0));
        let taken = taken + sent;
        if taken < PACE_BYTES && now - since >= self.pace {
            return Err(ErrorKind::TimedOut.into());
        }
        if taken >= PACE_BYTES || self.stalled.is_none() {
            self.onlooker.client_lags();
        }
        self.stalled = Some(if taken >= PACE_BYTES { (now, 0) } else { (since, taken) });
        Ok(())
    }

    /// Takes note that the client has taken everything.
    pub fn all_is_sent(&mut self) {
        if self.stalled.take().is_some() {
            self.onlooker.client_caught_up();
        }
    }
}

impl Tcp<'_> {
    /// Looks at what has arrived and leaves it to be read, waiting for one byte at least; 0 at the end of the stream.
    pub fn peek(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.receive(into, None, RecvFlags::PEEK)
    }

    fn receive(&mut self, into: &mut [u8], until: Option<Instant>, flags: RecvFlags) -> io::Result<usize> {
        self.set_blocks(true)?;
        loop {
            self.arm_read(until)?;
            // To read from a descriptor of any kind costs a little more: 19.3 µs of processor time a request with 1000
            // connections instead of 17.8.
            match recv(self.stream, &mut *into, flags) {
                Ok((count, _)) => return Ok(count),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Transport for Tcp<'_> {
    fn set_send_pace(&mut self, pace: Duration) {
        self.pace = pace;
    }

    fn read(&mut self, into: &mut [u8], until: Option<Instant>) -> io::Result<usize> {
        self.receive(into, until, RecvFlags::empty())
    }

    fn try_read(&mut self, into: &mut [u8]) -> io::Result<Option<usize>> {
        match recv(self.stream, into, RecvFlags::DONTWAIT) {
            Ok((count, _)) => Ok(Some(count)),
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.send_flagged(bytes, SendFlags::empty())
    }

    fn send_more(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.send_flagged(bytes, SendFlags::MORE)
    }

    fn send_file(&mut self, file: &File, span: &mut Range<u64>) -> io::Result<()> {
        // A call that waits for the client begins to wait anew whenever that has taken anything, and may come back after
        // minutes. What has to wait later says so then: mostly the next request is there already, and the next file too. So
        // 100 KiB take 35.2 µs of processor time instead of 36.6.
        self.set_blocks(false)?;
        let handed_over = self.hand_over(file, span);
        self.let_wait(UNSENT_MAX)?;
        handed_over
    }

    /// The last segment is held back until the end can go with it, so that the client is woken once: 7 % more connections with
    /// one request each in a second.
    fn send_last(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.send_more(bytes)?;
        self.stream.shutdown(Shutdown::Write)
    }

    fn has_last_words(&self) -> bool {
        false
    }

    fn linger(&mut self) {
        let mut unwanted = [0; 4096];
        let mut total = 0;
        while let Ok(count @ 1..) = self.read(&mut unwanted, None) {
            total += count;
            if total > LINGER_BYTES {
                break;
            }
        }
    }

    fn abort(&mut self) {
        // Closing then sends a reset, not an orderly end, which to HTTP/0.9 would mean that the answer is whole.
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

    struct House {
        has_few: bool,
        lagging: Sender<()>,
    }

    impl Onlooker for House {
        fn client_lags(&self) {
            let _ = self.lagging.send(());
        }
        fn client_caught_up(&self) {}
        fn sees_few(&self) -> bool {
            self.has_few
        }
    }

    /// Two ends of a connection: the client's, and ours as it is accepted.
    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("listening");
        let (stream, _) = listener.accept().expect("connected");
        listener::set_unsent_max(&stream, UNSENT_MAX).expect("the option can be set");
        (client, stream)
    }

    /// A file of zeros that is gone with its descriptor.
    fn hole(name: &str) -> File {
        let path = env::temp_dir().join(format!("serve-unit-{}-{name}", process::id()));
        let mut options = File::options();
        let file = options.create(true).read(true).write(true).truncate(true).open(&path).expect("it can be made");
        fs::remove_file(path).expect("it is there");
        file.set_len(LONG).expect("there is room for a hole");
        file
    }

    #[test]
    fn a_client_that_makes_room_again_and_again_but_little_lags() {
        let file = hole("little");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let mut client = Socket::new(Domain::IPV4, Type::STREAM, None).expect("there are descriptors");
        // Small segments, and little room on the way, so that any room is soon known of.
        client.set_tcp_mss(536).expect("the option can be set");
        client.set_recv_buffer_size(4096).expect("the option can be set");
        client.connect(&listener.local_addr().expect("bound").into()).expect("listening");
        let (stream, _) = listener.accept().expect("connected");
        sockopt::set_socket_send_buffer_size(&stream, 16 * 1024).expect("the option can be set");
        let (lagging, lags) = channel();
        let house = House { has_few: false, lagging };
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut tcp = Tcp::new(&stream, &house);
                tcp.set_send_pace(Duration::from_secs(60));
                let sent = tcp.send_file(&file, &mut (0..LONG));
                sent.expect_err("the client goes away");
            });
            let mut little = vec![0; 1024];
            let lagged = (0..400).any(|_| {
                client.read_exact(&mut little).expect("it goes on");
                lags.recv_timeout(Duration::from_millis(10)).is_ok()
            });
            drop(client);
            assert!(lagged, "a client that takes 100 KiB a second does not lag");
        });
    }

    #[test]
    fn more_of_a_long_answer_waits_while_there_are_few_but_not_at_its_end() {
        let file = hole("long");
        for (has_few, expected) in [(true, UNSENT_MAX_OF_FEW), (false, UNSENT_MAX)] {
            let (mut client, stream) = pair();
            let (lagging, lags) = channel();
            let house = House { has_few, lagging };
            thread::scope(|scope| {
                scope.spawn(|| {
                    let mut tcp = Tcp::new(&stream, &house);
                    tcp.set_send_pace(Duration::from_secs(60));
                    tcp.send_file(&file, &mut (0..LONG)).expect("the client takes it");
                    stream.shutdown(Shutdown::Write).expect("it is open");
                });
                let lagged = lags.recv_timeout(Duration::from_secs(30));
                let meanwhile = listener::unsent_max(&stream);
                assert_eq!(io::copy(&mut client, &mut io::sink()).expect("it is sent"), LONG);
                assert_eq!((lagged, meanwhile), (Ok(()), expected));
            });
            assert_eq!(listener::unsent_max(&stream), UNSENT_MAX);
        }
    }

    #[test]
    fn what_cannot_be_handed_over_leaves_the_connection_as_it_was() {
        let (mut client, stream) = pair();
        let dir = File::open(env::temp_dir()).expect("it is there");
        let house = House { has_few: true, lagging: channel().0 };
        let mut tcp = Tcp::new(&stream, &house);
        tcp.send_file(&dir, &mut (0..LONG)).expect_err("a directory has no content");
        assert_eq!(listener::unsent_max(&stream), UNSENT_MAX);
        client.write_all(b"x").expect("it is open");
        assert_eq!(tcp.read(&mut [0; 9], None).expect("it is open"), 1);
        assert!(does_block(&stream));
    }

    #[test]
    fn after_a_file_a_client_that_does_not_take_the_rest_is_waited_for_asleep() {
        let (mut client, stream) = pair();
        let file = hole("rest");
        let (lagging, lags) = channel();
        let house = House { has_few: false, lagging };
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut tcp = Tcp::new(&stream, &house);
                tcp.set_send_pace(Duration::from_secs(60));
                tcp.send_file(&file, &mut (0..1)).expect("there is room");
                tcp.send(&vec![0; LONG as usize]).expect("the client takes it");
                stream.shutdown(Shutdown::Write).expect("it is open");
            });
            lags.recv().expect("the client takes nothing");
            assert_eq!(io::copy(&mut client, &mut io::sink()).expect("it is sent"), LONG + 1);
        });
        assert!(does_block(&stream));
    }

    fn does_block(stream: &TcpStream) -> bool {
        !fcntl_getfl(stream).expect("it can be asked").contains(OFlags::NONBLOCK)
    }
}
