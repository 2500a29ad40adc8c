//! Endpoints: a listening socket, and the service behind it.

use crate::net::listener::Listener;

/// A listening socket, and the service behind it.
#[derive(Debug)]
pub struct Endpoint {
    /// The socket.
    pub listener: Listener,
    /// The service.
    pub service: Service,
}

/// A service, which responds to the requests of its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// The site.
    Site,
    /// Redirects to the site over TLS.
    Redirect,
    /// Health and metrics of the server, for its operator.
    Admin,
}

impl Endpoint {
    /// Reports whether it accepts until the process ends: health is reported unless another process can take over.
    pub fn outlives_shutdown(&self) -> bool {
        self.service == Service::Admin && !self.listener.is_shared()
    }
}
