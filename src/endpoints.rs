//! Endpoints: the sockets that the process inherits or binds, and the service of each.

use std::io::ErrorKind;
use std::net::SocketAddr;

use crate::config::Config;
use crate::net::listener::{BindError, bind_all};
use crate::net::socket_activation;
use crate::server::endpoint::{Endpoint, Service};

/// Opens the endpoints. A service is bound only if no socket for it is inherited. The error is a line for the operator.
pub fn open(config: &Config) -> Result<Vec<Endpoint>, String> {
    let service_of = |name: &str| match name {
        "admin" => Service::Admin,
        "redirect" if config.tls.is_some() => Service::Redirect,
        _ => Service::Site,
    };
    let inherited = socket_activation::take(config.listen.write_timeout)?.into_iter();
    let mut endpoints: Vec<Endpoint> =
        inherited.map(|(name, listener)| Endpoint { service: service_of(&name), listener }).collect();
    for (service, addrs, port) in &config.services {
        if !endpoints.iter().any(|endpoint| endpoint.service == *service) {
            let bound = bind_all(addrs, *port, config.listen).map_err(|error| explain(&error, *service))?;
            endpoints.extend(bound.into_iter().map(|listener| Endpoint { listener, service: *service }));
        }
    }
    Ok(endpoints)
}

/// Explains why an address cannot be bound, and what to type instead.
fn explain(bind: &BindError, service: Service) -> String {
    let (addr, ip, port) = (bind.addr, bind.addr.ip(), bind.addr.port());
    let (port_flag, addr_flag) = match service {
        Service::Site => ("--port", "--bind"),
        Service::Redirect => ("--https-redirect", "--bind"),
        Service::Admin => ("--admin", "--admin"),
    };
    let at = |port: u16| match service {
        Service::Admin => format!("--admin {}", SocketAddr::new(ip, port)),
        _ => format!("{port_flag} {port}"),
    };
    match bind.error.kind() {
        ErrorKind::AddrInUse => format!(
            "{port_flag}: {addr} is in use; stop the program that uses it, or try {}, or {} for a free one",
            at(port.checked_add(1).unwrap_or(8080)),
            at(0),
        ),
        ErrorKind::PermissionDenied => {
            format!("{port_flag}: port {port} needs root: run as root, or try {}", at(port.saturating_add(8000)))
        }
        ErrorKind::AddrNotAvailable if addr_flag == "--bind" => {
            format!("--bind: {ip} is no address of this machine; leave --bind out to listen on all")
        }
        ErrorKind::AddrNotAvailable => format!("{addr_flag}: {ip} is no address of this machine"),
        _ => format!("{addr_flag}: cannot listen on {addr}: {}", bind.error),
    }
}
