//! Dropping of privileges once the server listens: the switch to another user, then the sandbox.
//!
//! The only user, beside the listener, of nix: rustix neither reads the user database nor sets the IDs of all threads.

use std::ffi::CString;
use std::fmt;

use nix::errno::Errno;
use nix::unistd::{Uid, User, geteuid, initgroups, setgid, setuid};

use crate::config::Config;
use crate::net::tls::certificates::Certificates;
use crate::sandbox::{self, SandboxStatus};

/// Why the process cannot switch to a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UserError {
    /// The user does not exist.
    Unknown,
    /// Only root can switch to another user.
    NotRoot,
    /// The kernel refuses.
    Kernel(Errno),
}

/// Drops the privileges that serving does not need; returns notes for the operator. The error is a line for them.
pub fn drop(config: &Config, certificates: Option<&Certificates>) -> Result<Vec<String>, String> {
    let mut notes = Vec::new();
    if let Some(name) = &config.user {
        switch_user(name).map_err(|error| format!("--user: {name}: {error}"))?;
        let root = config.site.root.open().and_then(|root| root.probe());
        root.map_err(|error| format!("--user: {name} may not enter the root: {error}"))?;
        for file in certificates.map(Certificates::unreadable).unwrap_or_default() {
            notes.push(format!("warning: {name} may not read {}; when it changes, start again", file.display()));
        }
    }
    if geteuid().is_root() {
        notes.push("warning: serve runs as root; --user NAME switches to another user".to_owned());
    }
    let status = if config.sandbox {
        let mut readable = config.site.root.places().map_err(|error| format!("--root: {error}"))?;
        readable.extend(certificates.map(Certificates::places).unwrap_or_default());
        sandbox::enter(readable).map_err(|error| format!("--no-sandbox is needed here: {error}"))?
    } else {
        SandboxStatus::Disabled
    };
    notes.push(status.to_string());
    Ok(notes)
}

/// Switches to this user, its group and its supplementary groups, for good.
fn switch_user(name: &str) -> Result<(), UserError> {
    let user = User::from_name(name)?.ok_or(UserError::Unknown)?;
    if user.uid == geteuid() && !user.uid.is_root() {
        return Ok(());
    }
    if !geteuid().is_root() {
        return Err(UserError::NotRoot);
    }
    let c_name = CString::new(name).map_err(|_| UserError::Unknown)?;
    initgroups(&c_name, user.gid)?;
    setgid(user.gid)?;
    setuid(user.uid)?;
    // The switch has to be irreversible.
    if !user.uid.is_root() && setuid(Uid::from_raw(0)).is_ok() {
        return Err(UserError::Kernel(Errno::EPERM));
    }
    Ok(())
}

impl From<Errno> for UserError {
    fn from(errno: Errno) -> UserError {
        UserError::Kernel(errno)
    }
}

impl fmt::Display for UserError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UserError::Unknown => f.write_str("no such user"),
            UserError::NotRoot => {
                f.write_str("only root can become another user; start serve as root, or without --user")
            }
            UserError::Kernel(errno) => write!(f, "the kernel refuses: {}", errno.desc()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_user_is_refused() {
        assert_eq!(switch_user("nobody-by-that-name"), Err(UserError::Unknown));
        assert_eq!(switch_user("a\0b"), Err(UserError::Unknown));
    }
}
