//! The limit per address (--max-per-ip).

use crate::support::{Client, GET, serve, site};

#[test]
fn connection_past_per_ip_limit_gets_503() {
    let folder = site();
    for start in [
        serve(&folder).args(&["--max-per-ip", "2"]),
        serve(&folder).env("SERVE_MAX_PER_IP", "2"),
        serve(&folder).args(&["--max-per-ip", "2"]).env("SERVE_MAX_PER_IP", "3"),
    ] {
        let server = start.start();
        let mut idle: Vec<Client> = (0..2).map(|_| server.connect()).collect();
        for client in &mut idle {
            client.send(GET).response().status(200);
            server.rests();
        }
        let response = server.get("/page.txt").status(503).has("Retry-After", "1").has("Connection", "close");
        assert!(response.text().contains("from this address"), "{}", response.exchange);
        idle[0].closed();
        idle[1].still_open();
        server.rests();
        server.get("/page.txt").status(200);
        idle[1].still_open();
    }
}

#[test]
fn zero_per_ip_limit_allows_all_connections() {
    let folder = site();
    let server = serve(&folder).args(&["--max-connections", "50", "--max-per-ip", "0"]).start();
    let mut clients: Vec<Client> = (0..50).map(|_| server.connect()).collect();
    clients.iter_mut().for_each(|client| client.still_open());
    clients.iter_mut().for_each(|client| client.still_open());
}
