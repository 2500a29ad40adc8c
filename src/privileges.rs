//! Dropping of privileges once the server listens: the switch to another user, then the sandbox.
//!
//! The only user, beside the listener, of nix: rustix neither reads the user database nor sets the IDs of all threads.

use std::ffi::CString;

use nix::errno::Errno;
use nix::unistd::{Uid, User, geteuid, initgroups, setgid, setuid};

use crate::config::Config;
use crate::net::tls::certificates::Certificates;
use crate::sandbox;

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
    let (mut status, mut readable) = (None, Vec::new());
    if config.sandbox {
        readable = config.site.root.places().map_err(|error| format!("--root: {error}"))?;
        readable.extend(certificates.map(Certificates::places).unwrap_or_default());
        status = Some(sandbox::enter(&readable).map_err(|error| format!("--no-sandbox is needed here: {error}"))?);
    }
    notes.push(sandbox::describe(status, &readable));
    Ok(notes)
}

/// Switches to this user, its group and its supplementary groups, for good.
fn switch_user(name: &str) -> Result<(), String> {
    let refused = |errno: Errno| format!("the kernel refuses: {}", errno.desc());
    let user = User::from_name(name).map_err(refused)?.ok_or("no such user")?;
    if user.uid == geteuid() && !user.uid.is_root() {
        return Ok(());
    }
    if !geteuid().is_root() {
        return Err("only root can become another user; start serve as root, or without --user".to_owned());
    }
    let c_name = CString::new(name).map_err(|_| "no such user")?;
    let switched = initgroups(&c_name, user.gid).and_then(|()| setgid(user.gid)).and_then(|()| setuid(user.uid));
    switched.map_err(refused)?;
    // The switch has to be irreversible.
    if !user.uid.is_root() && setuid(Uid::from_raw(0)).is_ok() {
        return Err(refused(Errno::EPERM));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_user_is_refused() {
        assert_eq!(switch_user("nobody-by-that-name"), Err("no such user".to_owned()));
        assert_eq!(switch_user("a\0b"), Err("no such user".to_owned()));
    }
}
