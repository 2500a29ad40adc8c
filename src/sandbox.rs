//! What the process gives up once it listens: the rights of root, and everything but reading below the root. Requests are
//! kept inside the root by how files are opened; this is for the case that a fault in that is found one day.
//!
//! The only user of landlock, and beside the listener of nix. It has to come before the first thread: what a thread gives up,
//! only it and those that it starts lose.

use std::ffi::CString;
use std::fmt;
use std::path::PathBuf;

use landlock::{
    ABI, Access, AccessFs, AccessNet, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError,
    RulesetStatus, Scope,
};
use nix::errno::Errno;
use nix::sys::prctl;
use nix::unistd::{Uid, User, geteuid, initgroups, setgid, setuid};

/// The newest version of Landlock that is asked for; an older kernel does as much of it as it can.
const NEWEST: ABI = ABI::V6;

/// How far the process is confined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SandboxStatus {
    /// Reading below these directories is all that is left of files; no program can be started and no TCP connection made.
    Enforced(Vec<PathBuf>),
    /// The same, as far as this kernel can.
    Partial(Vec<PathBuf>),
    /// This kernel has no Landlock.
    Unsupported,
    /// Nobody wanted it.
    Disabled,
}

/// Why a user's rights cannot be taken on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserError {
    /// There is no such user.
    Unknown,
    /// Only root can become somebody else.
    NotRoot,
    /// The system refuses.
    System(Errno),
}

/// Reports whether the process has the rights of root.
pub fn is_root() -> bool {
    geteuid().is_root()
}

/// Takes on the rights of this user, of its group and its further groups, for good.
pub fn switch_user(name: &str) -> Result<(), UserError> {
    let user = User::from_name(name)?.ok_or(UserError::Unknown)?;
    if user.uid == geteuid() && !is_root() {
        return Ok(());
    }
    if !is_root() {
        return Err(UserError::NotRoot);
    }
    let c_name = CString::new(name).map_err(|_| UserError::Unknown)?;
    initgroups(&c_name, user.gid)?;
    setgid(user.gid)?;
    setuid(user.uid)?;
    // It would be of no use if there were a way back.
    if !user.uid.is_root() && setuid(Uid::from_raw(0)).is_ok() {
        return Err(UserError::System(Errno::EPERM));
    }
    Ok(())
}

/// Gives up everything but reading below these directories, for this thread and those it starts. Of what the process has
/// in memory, no core file is left either.
pub fn enter(readable: Vec<PathBuf>) -> Result<SandboxStatus, RulesetError> {
    let _ = prctl::set_dumpable(false);
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?;
    for place in &readable {
        // What cannot be reached now cannot be read later.
        if let Ok(place) = PathFd::new(place) {
            rules = rules.add_rule(PathBeneath::new(place, AccessFs::ReadFile | AccessFs::ReadDir))?;
        }
    }
    Ok(match rules.restrict_self()?.ruleset {
        RulesetStatus::FullyEnforced => SandboxStatus::Enforced(readable),
        RulesetStatus::PartiallyEnforced => SandboxStatus::Partial(readable),
        RulesetStatus::NotEnforced => SandboxStatus::Unsupported,
    })
}

impl fmt::Display for SandboxStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |places: &[PathBuf]| {
            let names: Vec<_> = places.iter().map(|place| place.display().to_string()).collect();
            names.join(" and ")
        };
        match self {
            SandboxStatus::Enforced(places) => {
                write!(f, "confined to reading {}: no writing, no program, no connection out", list(places))
            }
            SandboxStatus::Partial(places) => {
                write!(f, "confined to reading {}, as far as this kernel's Landlock can", list(places))
            }
            SandboxStatus::Unsupported => {
                f.write_str("not confined by Landlock, which this kernel lacks; openat2 keeps requests inside the root")
            }
            SandboxStatus::Disabled => f.write_str("not confined by Landlock; openat2 keeps requests inside the root"),
        }
    }
}

impl From<Errno> for UserError {
    fn from(errno: Errno) -> UserError {
        UserError::System(errno)
    }
}

impl fmt::Display for UserError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UserError::Unknown => f.write_str("no such user"),
            UserError::NotRoot => {
                f.write_str("only root can become another user; start serve as root, or without --user")
            }
            UserError::System(errno) => write!(f, "the system refuses: {}", errno.desc()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::io::{self, ErrorKind};
    use std::net::{TcpListener, TcpStream};
    use std::process::Command;
    use std::thread;

    /// From inside, on a thread of its own: only that is confined, and the rest of the tests are not.
    #[test]
    fn inside_the_root_can_be_read_and_nothing_else_can_be_done() {
        let root = std::env::temp_dir().join(format!("serve-confined-{}", std::process::id()));
        fs::create_dir_all(root.join("dir")).expect("the directory can be made");
        fs::write(root.join("dir/a.txt"), "a").expect("the file can be written");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("bound");
        let refused = |done: io::Result<()>| done.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied);
        let inside = || {
            let confined = enter(vec![root.clone()]).expect("the rules can be made");
            if !matches!(confined, SandboxStatus::Enforced(_)) {
                eprintln!("{confined}: nothing is shown");
                return;
            }
            assert_eq!(fs::read(root.join("dir/a.txt")).expect("it is in the root"), b"a");
            assert_eq!(fs::read_dir(root.join("dir")).expect("it is in the root").count(), 1);
            assert!(refused(File::open("/etc/passwd").map(drop)), "another file");
            assert!(refused(fs::read_dir("/etc").map(drop)), "another directory");
            assert!(refused(File::options().write(true).open(root.join("dir/a.txt")).map(drop)), "writing");
            assert!(refused(File::create(root.join("new")).map(drop)), "a new file");
            assert!(refused(fs::remove_file(root.join("dir/a.txt"))), "removing");
            assert!(refused(Command::new("/bin/true").status().map(drop)), "a program");
            assert!(refused(TcpStream::connect(addr).map(drop)), "a connection out");
            assert!(refused(TcpListener::bind("127.0.0.1:0").map(drop)), "another listener");
        };
        thread::scope(|scope| scope.spawn(inside).join()).expect("confined as it should be");
        fs::remove_dir_all(&root).expect("the other threads are free");
    }

    #[test]
    fn a_user_that_does_not_exist_is_not_become() {
        assert_eq!(switch_user("nobody-by-that-name"), Err(UserError::Unknown));
        assert_eq!(switch_user("a\0b"), Err(UserError::Unknown));
    }
}
