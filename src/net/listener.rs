//! Listening sockets: bound, accepted from, and ended when it is time to stop. The only user of socket2 and if_addrs.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use socket2::{Domain, SockRef, Socket, Type};

/// How many connections wait in the system until they are accepted.
const BACKLOG: i32 = 4096;

/// How much of an answer the system takes from us before it can send it. What it has sent and nobody has confirmed comes
/// to that; but without a limit for the rest, a thousand clients that take nothing hold gigabytes of its memory.
const UNSENT_MAX: u32 = 256 * 1024;

/// How long those who wait already are accepted once the house is stopping.
const LAST_ONES: Duration = Duration::from_millis(500);

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
    /// Where it listens.
    pub addr: SocketAddr,
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
///
/// What is sent on their connections and not confirmed within twice `patience` ends them.
pub fn bind_all(addrs: &[IpAddr], port: u16, patience: Duration) -> Result<Vec<Listener>, BindError> {
    let mut bound = bind_each(addrs, port, patience);
    for _ in 1..ATTEMPTS {
        match &bound {
            // The port that was free on the first address was taken on another.
            Err(taken) if port == 0 && taken.error.kind() == ErrorKind::AddrInUse => {
                bound = bind_each(addrs, port, patience);
            }
            _ => break,
        }
    }
    bound
}

fn bind_each(addrs: &[IpAddr], mut port: u16, patience: Duration) -> Result<Vec<Listener>, BindError> {
    let mut listeners: Vec<Listener> = Vec::new();
    for (at, &ip) in addrs.iter().enumerate() {
        let addr = SocketAddr::new(ip, port);
        match Listener::bind(addr, patience) {
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
    /// Binds one address. Connections that are accepted inherit the socket's options.
    fn bind(addr: SocketAddr, patience: Duration) -> io::Result<Listener> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        if addr.is_ipv6() {
            // IPv4 has a socket of its own, so that every address is shown and logged as what it is.
            socket.set_only_v6(true)?;
        }
        // Without it, an answer in two segments waits for the client's delayed acknowledgement, some 40 ms.
        socket.set_tcp_nodelay(true)?;
        socket.set_tcp_notsent_lowat(UNSENT_MAX)?;
        // It holds on after we have closed, so a client that takes nothing does not keep memory of the system for long.
        // Before that the pace of sending judges, and says why.
        socket.set_tcp_user_timeout(Some(patience * 2))?;
        socket.bind(&addr.into())?;
        socket.listen(BACKLOG)?;
        let socket = TcpListener::from(socket);
        Ok(Listener { addr: socket.local_addr()?, socket })
    }

    /// Hands every connection to the house, until that is stopping and those that wait already have been handed over too,
    /// as far as that goes in a moment. Until then, whatever goes wrong with one accept, the next is tried.
    pub fn accept_all(&self, house: &impl House) {
        let mut pause = PAUSE_MIN;
        let mut until: Option<Instant> = None;
        while until.is_none_or(|until| Instant::now() < until) {
            match self.socket.accept() {
                Ok((stream, peer)) => {
                    pause = PAUSE_MIN;
                    house.admit(stream, peer);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock || house.is_stopping() => return,
                Err(error) if is_exhaustion(&error) => {
                    log::warn!("cannot accept on {}: {error}; trying again in {pause:?}", self.addr);
                    house.make_room();
                    thread::sleep(pause);
                    pause = (pause * 2).min(PAUSE_MAX);
                }
                Err(error) => log::debug!("a connection to {} failed before it began: {error}", self.addr),
            }
            if house.is_stopping() {
                until.get_or_insert_with(|| Instant::now() + LAST_ONES);
                if self.socket.set_nonblocking(true).is_err() {
                    return;
                }
            }
        }
    }

    /// Ends the listening of a house that is stopping; then nobody can connect any more. Whoever waits is handed over on
    /// this thread too, because another that is blocked in accept does not see that it need not wait any more until the
    /// socket has ended.
    pub fn end(&self, house: &impl House) {
        if self.socket.set_nonblocking(true).is_ok() {
            self.accept_all(house);
        }
        let _ = SockRef::from(&self.socket).shutdown(Shutdown::Both);
    }
}

fn is_exhaustion(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM))
}

/// The URLs under which a person on this machine or near it reaches a server at these addresses.
pub fn urls(addrs: &[SocketAddr]) -> Vec<String> {
    let mut urls = Vec::new();
    let mut add = |host: String, port: u16| {
        let url = if port == 80 { format!("http://{host}/") } else { format!("http://{host}:{port}/") };
        if !urls.contains(&url) {
            urls.push(url);
        }
    };
    for addr in addrs {
        if !addr.ip().is_unspecified() {
            add(host(addr.ip()), addr.port());
            continue;
        }
        add("localhost".to_owned(), addr.port());
        let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
        let others = interfaces.iter().filter(|interface| !interface.is_loopback() && !interface.is_link_local());
        for interface in others.filter(|interface| interface.ip().is_ipv4() == addr.is_ipv4()) {
            add(host(interface.ip()), addr.port());
        }
    }
    urls
}

fn host(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_limited_in_what_the_system_holds_for_it() {
        let patience = Duration::from_secs(7);
        let bound = bind_all(&[IpAddr::from([127, 0, 0, 1])], 0, patience).expect("a free port");
        let _client = TcpStream::connect(bound[0].addr).expect("listening");
        let (stream, _) = bound[0].socket.accept().expect("connected");
        let stream = SockRef::from(&stream);
        assert_eq!(stream.tcp_user_timeout().expect("it can be asked"), Some(patience * 2));
        assert_eq!(stream.tcp_notsent_lowat().expect("it can be asked"), UNSENT_MAX);
        assert!(stream.tcp_nodelay().expect("it can be asked"));
    }

    /// A house that is stopping, and to which somebody comes for each who is admitted.
    struct Besieged {
        door: SocketAddr,
        since: Instant,
        until: Duration,
    }

    impl House for Besieged {
        fn admit(&self, _: TcpStream, _: SocketAddr) {
            if self.since.elapsed() < self.until {
                thread::sleep(Duration::from_millis(2));
                TcpStream::connect(self.door).expect("listening");
            }
        }

        fn make_room(&self) {}

        fn is_stopping(&self) -> bool {
            true
        }
    }

    #[test]
    fn a_house_that_is_stopping_closes_although_somebody_always_waits() {
        let bound = bind_all(&[IpAddr::from([127, 0, 0, 1])], 0, LAST_ONES).expect("a free port");
        let house = Besieged { door: bound[0].addr, since: Instant::now(), until: LAST_ONES * 10 };
        TcpStream::connect(house.door).expect("listening");
        bound[0].accept_all(&house);
        assert!(house.since.elapsed() < house.until);
    }

    #[test]
    fn a_url_is_what_a_person_would_type() {
        let urls_of = |addr: &str| urls(&[addr.parse().expect("an address")]);
        assert_eq!(urls_of("127.0.0.1:8080"), ["http://127.0.0.1:8080/"]);
        assert_eq!(urls_of("127.0.0.1:80"), ["http://127.0.0.1/"]);
        assert_eq!(urls_of("[::1]:8080"), ["http://[::1]:8080/"]);
        assert_eq!(urls_of("0.0.0.0:8080")[0], "http://localhost:8080/");
    }
}
