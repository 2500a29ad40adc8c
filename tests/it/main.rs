//! The behaviour of the real binary, over real sockets and with foreign clients.
//!
//! One module for each behaviour, in the order of a request's way through the server. A test that needs a foreign program
//! is ignored by default; `SERVE_FULL_RACES=1` runs the long races in full.

// Fixtures: folders, processes, raw clients, and faults injected by strace.
mod strace;
mod support;
mod terminal;

// Parsing: requests, their framing, targets and limits.
mod framing;
mod hosts;
mod methods;
mod request_limits;
mod requests;
mod targets;

// Files: names, links, directories, listings, and roots that change or vanish.
mod directories;
mod files;
mod flipper;
mod listings;
mod names;
mod permissions;
mod symlinks;
mod vanishing_roots;

// Representations: conditions, ranges, codings and validators.
mod changing;
mod compressed;
mod decisions;
mod digests;
mod multiparts;
mod precompressed;
mod preconditions;
mod ranges;
mod validators;

// Responses: error pages, and faults of the file system.
mod faults;
mod faults_changing;
mod faults_sending;
mod pages;

// Connections: persistence, timeouts, eviction, shutdown and handover.
mod connections;
mod hostile;
mod soak;

// TLS and proxies.
mod balancer;
mod haproxy;
mod proxied;
mod tls;
mod tls_clients;
mod tls_keys;
mod tls_limits;

// Operation: command line, start, logs, metrics, sandbox and service managers.
mod access_log;
mod admin;
mod command_line;
mod deploy;
mod forging;
mod listening;
mod managed;
mod metrics;
mod operation;
mod refused_start;
mod sandbox;
mod trace;

// Foreign clients.
mod browser;
mod clients;
mod packages;
mod telnet;

// Documents and the structure of the source.
mod documents;
mod structure;
