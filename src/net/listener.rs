//! Listening sockets: bind, accept, close. The only user of socket2 and if_addrs, and of nix for an option that socket2 lacks.

use std::io::{self, ErrorKind, PipeReader, PipeWriter, Write};
use std::iter;
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::socket::SetSockOpt;
use nix::sys::socket::sockopt::SetUsize;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use socket2::{Domain, SockRef, Socket, Type};

/// Length of the accept queue.
const BACKLOG: i32 = 4096;

/// TCP_NOTSENT_LOWAT, in bytes: unsent bytes that the kernel buffers per socket, on top of bytes in flight. Less costs more
/// wake-ups; with more, a thousand clients that read nothing hold more than 1 GiB of kernel memory.
// measured: 0.25, 0.5, 1, 4 MiB: 14.6, 11.4, 9.9, 8.9 ms per 100 MiB; 0.5, 1 MiB: 1.2, 2.1 GiB for 1,000 (2026-12-01)
const NOTSENT_LOWAT: u32 = 384 * 1024;

/// The longest time for accepting what waits in the accept queue once the server stops.
const BACKLOG_DRAIN: Duration = Duration::from_millis(500);

/// TCP_DEFER_ACCEPT, in seconds, the least there is: a client that connects and sends nothing gets no thread meanwhile.
// measured: 32.2 → 26.5 µs/conn
const DEFER_ACCEPT_SECS: usize = 1;

/// TCP_DEFER_ACCEPT (tcp(7)).
#[derive(Clone, Copy, Debug)]
struct DeferAccept;

nix::setsockopt_impl!(DeferAccept, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, usize, SetUsize);

/// Tries to find a port that is free on all addresses.
const ATTEMPTS: usize = 32;

/// The shortest and the longest pause after an accept that failed for lack of resources.
const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// A bound and listening TCP socket.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    sharing: Sharing,
    /// The address.
    pub addr: SocketAddr,
}

/// How to listen.
#[derive(Clone, Copy, Debug)]
pub struct ListenOptions {
    /// TCP_USER_TIMEOUT is twice this time: unacknowledged bytes end a connection.
    pub write_timeout: Duration,
    /// Whether other processes can listen at the same address with sockets of their own (SO_REUSEPORT).
    pub reuse_port: bool,
}

/// Whether other processes accept connections at the same address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sharing {
    /// None do.
    Exclusive,
    /// Others do, by sockets of their own.
    ReusePort,
    /// Others do, by this very socket.
    Inherited,
}

/// A flag that ends accept loops, which wait for it and for connections at once.
#[derive(Debug)]
pub struct Stop {
    is_set: AtomicBool,
    reader: PipeReader,
    writer: PipeWriter,
}

/// An address that cannot be listened on.
#[derive(Debug)]
pub struct BindError {
    /// The address.
    pub addr: SocketAddr,
    /// Why.
    pub error: io::Error,
}

/// Listens on all these addresses at one port; port 0 picks one that is free on all of them.
///
/// An unspecified address (`0.0.0.0`, `::`) is left out where the kernel lacks its IP version, as long as another is left.
pub fn bind_all(addrs: &[IpAddr], port: u16, options: ListenOptions) -> Result<Vec<Listener>, BindError> {
    for _ in 1..ATTEMPTS {
        match bind_each(addrs, port, options) {
            // The port that was free on the first address is in use on another.
            Err(taken) if port == 0 && taken.error.kind() == ErrorKind::AddrInUse => {}
            bound => return bound,
        }
    }
    bind_each(addrs, port, options)
}

fn bind_each(addrs: &[IpAddr], mut port: u16, options: ListenOptions) -> Result<Vec<Listener>, BindError> {
    let mut listeners: Vec<Listener> = Vec::new();
    for (at, &ip) in addrs.iter().enumerate() {
        let addr = SocketAddr::new(ip, port);
        let has_others = !listeners.is_empty() || at + 1 < addrs.len();
        match Listener::bind(addr, options) {
            Ok(listener) => {
                port = listener.addr.port();
                listeners.push(listener);
            }
            Err(error) if ip.is_unspecified() && is_unsupported(&error) && has_others => {
                log::info!("not listening on {ip}: {error}");
            }
            Err(error) => return Err(BindError { addr, error }),
        }
    }
    Ok(listeners)
}

fn is_unsupported(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL))
}

impl Listener {
    fn bind(addr: SocketAddr, options: ListenOptions) -> io::Result<Listener> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(options.reuse_port)?;
        if addr.is_ipv6() {
            // IPv4 has a socket of its own, so that every address is shown and logged as what it is.
            socket.set_only_v6(true)?;
        }
        socket.bind(&addr.into())?;
        socket.listen(BACKLOG)?;
        let sharing = if options.reuse_port { Sharing::ReusePort } else { Sharing::Exclusive };
        Listener::new(socket.into(), sharing, options.write_timeout)
    }

    /// Takes over a listening socket that other processes have too.
    pub fn inherit(socket: TcpListener, write_timeout: Duration) -> io::Result<Listener> {
        if !SockRef::from(&socket).is_listener()? {
            return Err(io::Error::other("it does not listen"));
        }
        Listener::new(socket, Sharing::Inherited, write_timeout)
    }

    /// Sets the options that accepted connections inherit.
    fn new(socket: TcpListener, sharing: Sharing, write_timeout: Duration) -> io::Result<Listener> {
        let options = SockRef::from(&socket);
        // Without it, a response in two segments waits for the client's delayed acknowledgement, some 40 ms.
        options.set_tcp_nodelay(true)?;
        options.set_tcp_notsent_lowat(NOTSENT_LOWAT)?;
        // It makes connections cheaper, no more.
        let _ = DeferAccept.set(&socket, &DEFER_ACCEPT_SECS);
        // It holds after the close too, so a client that reads nothing does not keep kernel memory for long.
        options.set_tcp_user_timeout(Some(write_timeout * 2))?;
        // Only shutting the socket down wakes a blocking accept, and that would close it for the other processes too.
        socket.set_nonblocking(sharing == Sharing::Inherited)?;
        Ok(Listener { addr: socket.local_addr()?, socket, sharing })
    }

    /// Reports whether another process can accept connections here while this one stops.
    pub fn is_shared(&self) -> bool {
        self.sharing != Sharing::Exclusive
    }

    /// Reports whether the socket was opened by another process.
    pub fn is_inherited(&self) -> bool {
        self.sharing == Sharing::Inherited
    }

    /// Accepts connections until the stop flag is set, then those left in the accept queue for at most [`BACKLOG_DRAIN`]; an
    /// inherited socket is left to the other processes that have it. An error is a lack of descriptors or memory: closing a
    /// connection helps.
    pub fn incoming<'l>(&'l self, stop: &'l Stop) -> impl Iterator<Item = io::Result<(TcpStream, SocketAddr)>> + 'l {
        let (mut pause, mut drain_deadline) = (Duration::ZERO, None);
        iter::from_fn(move || {
            thread::sleep(pause);
            while !stop.is_set() || self.may_drain(&mut drain_deadline) {
                match self.socket.accept() {
                    Ok(accepted) => {
                        pause = Duration::ZERO;
                        return Some(Ok(accepted));
                    }
                    // The accept queue is empty, or the socket is closed.
                    Err(error) if stop.is_set() && ends_the_drain(&error) => return None,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait(stop),
                    Err(error) if is_exhaustion(&error) => {
                        pause = (pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
                        log::warn!("cannot accept on {}: {error}; next try in {pause:?}", self.addr);
                        return Some(Err(error));
                    }
                    Err(error) => {
                        log::debug!("a connection to {} failed before it was accepted: {error}", self.addr);
                        // Where another process has shut down the socket, each accept fails.
                        thread::sleep(PAUSE_MIN);
                    }
                }
            }
            None
        })
    }

    /// Reports whether the accept queue may be drained further, from the first call on.
    fn may_drain(&self, deadline: &mut Option<Instant>) -> bool {
        let deadline = *deadline.get_or_insert_with(|| Instant::now() + BACKLOG_DRAIN);
        !self.is_inherited() && Instant::now() < deadline && self.socket.set_nonblocking(true).is_ok()
    }

    /// Closes the socket for this process; clients that connect from now on are refused, or reach another process.
    pub fn close(&self) {
        if !self.is_inherited() {
            let _ = SockRef::from(&self.socket).shutdown(Shutdown::Both);
        }
    }

    fn wait(&self, stop: &Stop) {
        let mut events = [PollFd::new(&self.socket, PollFlags::IN), PollFd::new(&stop.reader, PollFlags::IN)];
        if poll(&mut events, None).is_err() {
            thread::sleep(PAUSE_MIN);
        }
    }
}

impl Stop {
    /// Creates a flag that is not set.
    pub fn new() -> io::Result<Stop> {
        let (reader, writer) = io::pipe()?;
        Ok(Stop { is_set: AtomicBool::new(false), reader, writer })
    }

    fn is_set(&self) -> bool {
        self.is_set.load(Ordering::Acquire)
    }

    /// Sets the flag and wakes the accept loops.
    pub fn set(&self) {
        self.is_set.store(true, Ordering::Release);
        // The byte stays in the pipe, so every loop sees it.
        let _ = (&self.writer).write(&[1]);
    }
}

fn ends_the_drain(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::InvalidInput)
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

    const IDLE: Duration = Duration::from_secs(7);

    fn listener() -> Listener {
        let options = ListenOptions { write_timeout: IDLE, reuse_port: false };
        bind_all(&[IpAddr::from([127, 0, 0, 1])], 0, options).expect("a free port").remove(0)
    }

    /// Connects and sends a byte, without which TCP_DEFER_ACCEPT holds the connection back.
    fn connect(listener: &Listener) -> TcpStream {
        let mut client = TcpStream::connect(listener.addr).expect("listening");
        client.write_all(b"x").expect("connected");
        client
    }

    #[test]
    fn accepted_connections_have_bounded_kernel_buffers() {
        let (listener, stop) = (listener(), Stop::new().expect("there are descriptors"));
        let _client = connect(&listener);
        let (stream, _) = listener.incoming(&stop).next().expect("not stopped").expect("accepted");
        let stream = SockRef::from(&stream);
        assert_eq!(stream.tcp_notsent_lowat().expect("it can be queried"), NOTSENT_LOWAT);
        assert_eq!(stream.tcp_user_timeout().expect("it can be queried"), Some(IDLE * 2));
        assert!(stream.tcp_nodelay().expect("it can be queried"));
        assert!(!stream.nonblocking().expect("it can be queried"));
    }

    #[test]
    fn stopped_accept_loop_drains_its_queue_and_ends() {
        let (listener, stop) = (listener(), Stop::new().expect("there are descriptors"));
        let _clients: Vec<_> = (0..3).map(|_| connect(&listener)).collect();
        listener.incoming(&stop).next().expect("not stopped").expect("accepted");
        stop.set();
        assert_eq!(listener.incoming(&stop).filter(Result::is_ok).count(), 2);
        listener.close();
        TcpStream::connect(listener.addr).expect_err("it does not listen");
    }

    #[test]
    fn close_ends_a_waiting_accept_loop() {
        let bound = listener();
        let inherited =
            Listener::inherit(bound.socket.try_clone().expect("there are descriptors"), IDLE).expect("it listens");
        for listener in [inherited, listener()] {
            let stop = Stop::new().expect("there are descriptors");
            thread::scope(|scope| {
                let waiting = scope.spawn(|| listener.incoming(&stop).next().is_none());
                stop.set();
                assert!(listener.incoming(&stop).next().is_none());
                listener.close();
                assert!(waiting.join().expect("no panic"));
            });
        }
    }

    #[test]
    fn accept_loop_ends_while_clients_keep_connecting() {
        let (listener, stop) = (listener(), Stop::new().expect("there are descriptors"));
        stop.set();
        let mut clients = vec![connect(&listener)];
        let since = Instant::now();
        // Another client connects for each that is accepted.
        for accepted in listener.incoming(&stop) {
            assert!(since.elapsed() < Duration::from_secs(30), "it does not end");
            if accepted.is_ok() {
                clients.push(connect(&listener));
            }
        }
    }

    #[test]
    fn inherited_socket_leaves_its_queue_to_other_processes() {
        let bound = listener();
        let _client = connect(&bound);
        let socket = bound.socket.try_clone().expect("there are descriptors");
        let inherited = Listener::inherit(socket, IDLE).expect("it listens");
        let stop = Stop::new().expect("there are descriptors");
        stop.set();
        assert!(inherited.incoming(&stop).next().is_none());
        inherited.close();
        let other = Stop::new().expect("there are descriptors");
        assert!(bound.incoming(&other).next().is_some_and(|accepted| accepted.is_ok()));
    }
}
