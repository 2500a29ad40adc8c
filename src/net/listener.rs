//! Listening sockets: bound, accepted from, and ended when it is time to stop. The only user of socket2 and if_addrs; of nix
//! it uses a macro, because socket2 does not know one of the options.

use std::io::{self, ErrorKind, PipeReader, PipeWriter, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::socket::SetSockOpt;
use nix::sys::socket::sockopt::SetUsize;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use socket2::{Domain, SockFilter, SockRef, Socket, Type};

/// How many connections wait in the system until they are accepted.
const BACKLOG: i32 = 4096;

/// How much of an answer the system takes from us before it can send it. What it has sent and nobody has confirmed comes
/// to that; but without a limit for the rest, a thousand clients that take nothing hold gigabytes of its memory.
pub const UNSENT_MAX: u32 = 256 * 1024;

/// How long those who wait already are accepted once the house is stopping.
const LAST_ONES: Duration = Duration::from_millis(500);

/// TCP_DEFER_ACCEPT of tcp(7): for so many seconds a connection is not there to be accepted while its client says nothing.
///
/// No thread is woken for it before, only to fall asleep again until the request comes: a connection with one request takes
/// 26.5 µs of processor time instead of 32.2, and there are 18 % more of them in a second (medians of 7 rounds).
///
/// What sets it is written by nix, and of its code that is `unsafe`; here is only said which option it is.
#[derive(Clone, Copy, Debug)]
struct DeferAccept;

nix::setsockopt_impl!(DeferAccept, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, usize, SetUsize);

/// For so many seconds a client may have connected and say nothing until it is known: the least there is. Then its time to
/// ask begins.
const SILENT_SECS: usize = 1;

/// After so long everybody is known who had connected when that was set to nothing: by then the system has asked the silent.
const ALL_ARE_KNOWN: Duration = Duration::from_millis(1100);

/// How long those who have begun to connect when the end comes may take for that, or to say something first.
const HANDSHAKE: Duration = Duration::from_millis(200);

/// Drops what asks for a connection (SYN without ACK) and nothing else: a program for the kernel, which begins to read at
/// the TCP header, whose flags are its byte 13 (RFC 9293 §3.1).
const NO_REQUESTS: [SockFilter; 5] = [
    SockFilter::new(LOAD_BYTE, 0, 0, 13),
    SockFilter::new(AND, 0, 0, 0x12),
    SockFilter::new(JUMP_IF_EQUAL, 0, 1, 0x02),
    SockFilter::new(RETURN, 0, 0, 0),
    SockFilter::new(RETURN, 0, 0, u32::MAX),
];
const LOAD_BYTE: u16 = 0x30;
const AND: u16 = 0x54;
const JUMP_IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

/// How often a free port is looked for that all addresses have.
const ATTEMPTS: usize = 32;

/// The shortest and the longest pause after an accept that failed for want of resources.
const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Where accepted connections go.
pub trait House: Sync {
    /// Takes a connection over.
    fn admit(&self, stream: TcpStream, peer: SocketAddr);

    /// Ends a connection that can be spared, because the system has no descriptor left for another.
    fn make_room(&self);

    /// Reports whether no more connections are wanted.
    fn is_stopping(&self) -> bool;
}

/// A bound and listening TCP socket.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    sharing: Sharing,
    /// Where it listens.
    pub addr: SocketAddr,
}

/// How to listen.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// What is sent on a connection and not confirmed within twice this time ends it.
    pub patience: Duration,
    /// Whether other processes may listen at the same address, each with a socket of its own (SO_REUSEPORT).
    pub reuse_port: bool,
}

/// Who else takes connections from where a socket does.
#[derive(Debug)]
enum Sharing {
    /// Nobody.
    Alone,
    /// Whoever has another socket at the same address.
    Address,
    /// Whoever has this very socket. The pipe ends the waiting for a connection.
    Socket(PipeReader, PipeWriter),
}

/// An address that cannot be listened on, and why.
#[derive(Debug)]
pub struct BindError {
    /// The address.
    pub addr: SocketAddr,
    /// Why.
    pub error: io::Error,
}

/// Listens on all these addresses at one port; port 0 picks one that is free on all of them.
///
/// An address of all interfaces (`0.0.0.0`, `::`) is left out where the system does not speak its version of IP, as
/// long as another is left.
pub fn bind_all(addrs: &[IpAddr], port: u16, terms: Terms) -> Result<Vec<Listener>, BindError> {
    let mut bound = bind_each(addrs, port, terms);
    for _ in 1..ATTEMPTS {
        match &bound {
            // The port that was free on the first address was taken on another.
            Err(taken) if port == 0 && taken.error.kind() == ErrorKind::AddrInUse => {
                bound = bind_each(addrs, port, terms);
            }
            _ => break,
        }
    }
    bound
}

fn bind_each(addrs: &[IpAddr], mut port: u16, terms: Terms) -> Result<Vec<Listener>, BindError> {
    let mut listeners: Vec<Listener> = Vec::new();
    for (at, &ip) in addrs.iter().enumerate() {
        let addr = SocketAddr::new(ip, port);
        match Listener::bind(addr, terms) {
            Ok(listener) => {
                port = listener.addr.port();
                listeners.push(listener);
            }
            Err(error) => {
                let others = listeners.len() + (addrs.len() - at - 1);
                if !ip.is_unspecified() || !is_unsupported(&error) || others == 0 {
                    return Err(BindError { addr, error });
                }
                log::info!("not listening on {ip}: {error}");
            }
        }
    }
    Ok(listeners)
}

fn is_unsupported(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL))
}

impl Listener {
    /// Binds one address.
    fn bind(addr: SocketAddr, terms: Terms) -> io::Result<Listener> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        let sharing = if terms.reuse_port { Sharing::Address } else { Sharing::Alone };
        if terms.reuse_port {
            socket.set_reuse_port(true)?;
        }
        if addr.is_ipv6() {
            // IPv4 has a socket of its own, so that every address is shown and logged as what it is.
            socket.set_only_v6(true)?;
        }
        set_options(&socket, terms.patience)?;
        socket.bind(&addr.into())?;
        socket.listen(BACKLOG)?;
        let socket = TcpListener::from(socket);
        Ok(Listener { addr: socket.local_addr()?, socket, sharing })
    }

    /// Takes over a socket that listens and that other processes have too.
    pub fn inherit(socket: TcpListener, patience: Duration) -> io::Result<Listener> {
        if !SockRef::from(&socket).is_listener()? {
            return Err(io::Error::new(ErrorKind::InvalidInput, "it does not listen"));
        }
        set_options(&SockRef::from(&socket), patience)?;
        // For all that have it. Those that are this program do not mind, and others are told by systemd anew.
        socket.set_nonblocking(true)?;
        let (woken, wake) = io::pipe()?;
        Ok(Listener { addr: socket.local_addr()?, socket, sharing: Sharing::Socket(woken, wake) })
    }

    /// Reports whether another process may listen here while this one ends.
    pub fn is_shared(&self) -> bool {
        !matches!(self.sharing, Sharing::Alone)
    }

    /// Reports whether the socket was opened by another process.
    pub fn is_inherited(&self) -> bool {
        matches!(self.sharing, Sharing::Socket(..))
    }

    /// Hands every connection to the house, until that is stopping and those that wait already have been handed over too,
    /// as far as that goes in a moment. Until then, whatever goes wrong with one accept, the next is tried.
    pub fn accept_all(&self, house: &impl House) {
        if let Sharing::Socket(woken, _) = &self.sharing {
            return self.accept_in_turn(house, woken);
        }
        let mut pause = PAUSE_MIN;
        let mut until: Option<Instant> = None;
        while until.is_none_or(|until| Instant::now() < until) {
            match self.socket.accept() {
                Ok((stream, peer)) => {
                    pause = PAUSE_MIN;
                    house.admit(stream, peer);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock || house.is_stopping() => return,
                Err(error) => self.recover(&error, house, &mut pause),
            }
            if house.is_stopping() {
                until.get_or_insert_with(|| Instant::now() + LAST_ONES);
                if self.socket.set_nonblocking(true).is_err() {
                    return;
                }
            }
        }
    }

    /// The same on a socket that other processes have too. Nobody is waited for in accept, because only the end of the
    /// socket, for all of them, would end that; and who waits when the house is stopping is left to the others.
    fn accept_in_turn(&self, house: &impl House, woken: &PipeReader) {
        let mut pause = PAUSE_MIN;
        loop {
            let mut events = [PollFd::new(&self.socket, PollFlags::IN), PollFd::new(woken, PollFlags::IN)];
            if poll(&mut events, None).is_err() {
                thread::sleep(PAUSE_MIN);
            }
            if house.is_stopping() {
                return;
            }
            match self.socket.accept() {
                Ok((stream, peer)) => {
                    pause = PAUSE_MIN;
                    house.admit(stream, peer);
                }
                // Another process was faster.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => {
                    self.recover(&error, house, &mut pause);
                    // Where another process has ended the socket, that does not pass.
                    thread::sleep(PAUSE_MIN);
                }
            }
        }
    }

    /// Waits until an accept that failed may be tried again.
    fn recover(&self, error: &io::Error, house: &impl House, pause: &mut Duration) {
        if !is_exhaustion(error) {
            return log::debug!("a connection to {} failed before it began: {error}", self.addr);
        }
        log::warn!("cannot accept on {}: {error}; trying again in {pause:?}", self.addr);
        house.make_room();
        thread::sleep(*pause);
        *pause = (*pause * 2).min(PAUSE_MAX);
    }

    /// Accepts who connects from now on though it says nothing; otherwise the system would drop those at the end and tell
    /// them nothing. Says after what time those are known too who had connected before. They are waited for where somebody
    /// may take this one's place, so that nobody is lost; a socket that others have is left as it is for them.
    pub fn accept_silent(&self) -> Duration {
        if !self.is_inherited() {
            let _ = DeferAccept.set(&self.socket, &0);
        }
        if let Sharing::Address = self.sharing { ALL_ARE_KNOWN } else { Duration::ZERO }
    }

    /// Leaves new connections to the other sockets at this address, where there may be any, and says how long to go on
    /// accepting those that have begun.
    ///
    /// Without that one to three of four clients that connected all the time had a connection reset within 60 handovers, with
    /// it none within 100. A client whose request is dropped asks again after a second, and meets another socket.
    pub fn leave_to_others(&self) -> Duration {
        if let Sharing::Address = self.sharing {
            let _ = SockRef::from(&self.socket).attach_filter(&NO_REQUESTS);
        }
        if self.is_inherited() { Duration::ZERO } else { HANDSHAKE }
    }

    /// Ends the listening of a house that is stopping; then nobody can connect to this process any more. Whoever waits is
    /// handed over on this thread too, because another that is blocked in accept does not see that it need not wait any
    /// more until the socket has ended.
    pub fn end(&self, house: &impl House) {
        if let Sharing::Socket(_, wake) = &self.sharing {
            let _ = { wake }.write(&[1]);
            return;
        }
        if self.socket.set_nonblocking(true).is_ok() {
            self.accept_all(house);
        }
        let _ = SockRef::from(&self.socket).shutdown(Shutdown::Both);
    }
}

/// Sets when connections are there to be accepted, and what they inherit.
fn set_options(socket: &Socket, patience: Duration) -> io::Result<()> {
    // Without it, an answer in two segments waits for the client's delayed acknowledgement, some 40 ms.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(UNSENT_MAX)?;
    // A system that does not know it wakes us earlier.
    let _ = DeferAccept.set(socket, &SILENT_SECS);
    // It holds on after we have closed, so a client that takes nothing does not keep memory of the system for long.
    // Before that the pace of sending judges, and says why.
    socket.set_tcp_user_timeout(Some(patience * 2))
}

/// Sets how much of an answer may wait on this connection until the system can send it. It begins with [`UNSENT_MAX`].
pub fn set_unsent_max(stream: &TcpStream, bytes: u32) -> io::Result<()> {
    SockRef::from(stream).set_tcp_notsent_lowat(bytes)
}

/// How much of an answer may wait on this connection until the system can send it.
#[cfg(test)]
pub fn unsent_max(stream: &TcpStream) -> u32 {
    SockRef::from(stream).tcp_notsent_lowat().expect("it can be asked")
}

fn is_exhaustion(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM))
}

/// This machine's addresses, but for those that mean something only on it or on one cable.
pub fn own_addrs() -> Vec<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let others = interfaces.iter().filter(|interface| !interface.is_loopback() && !interface.is_link_local());
    others.map(|interface| interface.ip()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_limited_in_what_the_system_holds_for_it() {
        let patience = Duration::from_secs(7);
        let terms = Terms { patience, reuse_port: false };
        let bound = bind_all(&[IpAddr::from([127, 0, 0, 1])], 0, terms).expect("a free port");
        let mut client = TcpStream::connect(bound[0].addr).expect("listening");
        client.write_all(b"x").expect("it is open");
        let (stream, _) = bound[0].socket.accept().expect("connected");
        assert_eq!(unsent_max(&stream), UNSENT_MAX);
        let stream = SockRef::from(&stream);
        assert_eq!(stream.tcp_user_timeout().expect("it can be asked"), Some(patience * 2));
        assert!(stream.tcp_nodelay().expect("it can be asked"));
    }

    /// A house that is stopping, and to which somebody comes for each who is admitted.
    struct Besieged {
        endpoint: SocketAddr,
        since: Instant,
        until: Duration,
    }

    impl House for Besieged {
        fn admit(&self, _: TcpStream, _: SocketAddr) {
            if self.since.elapsed() < self.until {
                thread::sleep(Duration::from_millis(2));
                TcpStream::connect(self.endpoint).expect("listening");
            }
        }

        fn make_room(&self) {}

        fn is_stopping(&self) -> bool {
            true
        }
    }

    #[test]
    fn a_house_that_is_stopping_closes_although_somebody_always_waits() {
        let terms = Terms { patience: LAST_ONES, reuse_port: false };
        let bound = bind_all(&[IpAddr::from([127, 0, 0, 1])], 0, terms).expect("a free port");
        let house = Besieged { endpoint: bound[0].addr, since: Instant::now(), until: LAST_ONES * 10 };
        TcpStream::connect(house.endpoint).expect("listening");
        bound[0].accept_all(&house);
        assert!(house.since.elapsed() < house.until);
    }
}
