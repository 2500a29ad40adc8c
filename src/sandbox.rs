//! Sandbox: Landlock rules that leave the process only reading below the root, in case a fault lets a request out of it.
//!
//! The only user of landlock. The rules apply to the calling thread and those it starts, so it has to be the first one.

use std::path::PathBuf;

use landlock::RulesetStatus::{self, FullyEnforced, NotEnforced, PartiallyEnforced};
use landlock::{
    ABI, Access, AccessFs, AccessNet, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError,
    Scope,
};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

/// The newest Landlock version in use; an older kernel enforces what it supports.
const NEWEST: ABI = ABI::V6;

/// Restricts this thread, and those it starts, to reading below these directories. The process leaves no core file either.
pub fn enter(readable: &[PathBuf]) -> Result<RulesetStatus, RulesetError> {
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?;
    for place in readable {
        // A missing directory stays unreadable.
        if let Ok(place) = PathFd::new(place) {
            rules = rules.add_rule(PathBeneath::new(place, AccessFs::ReadFile | AccessFs::ReadDir))?;
        }
    }
    Ok(rules.restrict_self()?.ruleset)
}

/// Describes how much the sandbox restricts; `None` is `--no-sandbox`.
pub fn describe(status: Option<RulesetStatus>, readable: &[PathBuf]) -> String {
    let places: Vec<_> = readable.iter().map(|place| place.display().to_string()).collect();
    let places = places.join(" and ");
    let rest = "openat2 keeps requests inside the root";
    match status {
        Some(FullyEnforced) => format!("confined to reading {places}: no writing, no program, no connection out"),
        Some(PartiallyEnforced) => format!("confined to reading {places}, as far as this kernel's Landlock can"),
        Some(NotEnforced) => format!("not confined by Landlock, which this kernel lacks; {rest}"),
        None => format!("not confined by Landlock; {rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::io::{self, ErrorKind};
    use std::net::{TcpListener, TcpStream};
    use std::process::Command;
    use std::slice;
    use std::thread;

    /// A thread of its own, because the sandbox is per thread.
    #[test]
    fn sandbox_permits_only_reading_below_the_root() {
        let root = std::env::temp_dir().join(format!("serve-confined-{}", std::process::id()));
        fs::create_dir_all(root.join("dir")).expect("the directory can be made");
        fs::write(root.join("dir/a.txt"), "a").expect("the file can be written");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("bound");
        let refused = |done: io::Result<()>| done.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied);
        let inside = || {
            let confined = enter(slice::from_ref(&root)).expect("the rules can be made");
            if confined != FullyEnforced {
                eprintln!("{confined:?}: nothing is shown");
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
}
