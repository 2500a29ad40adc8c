//! Critical threads: those without which the server cannot run. A panic in one ends the process with an error instead of
//! leaving a server that looks ready and does nothing.

use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;
use std::thread::{self, JoinHandle};

/// Exit code after a panic, the same as that of a panic in `main`.
const EXIT_PANIC: i32 = 101;

/// Starts a critical thread. The error names it.
pub fn spawn(name: &'static str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    let guarded = move || {
        if catch_unwind(AssertUnwindSafe(work)).is_err() {
            // Not through the log: its writer can be the thread that panicked.
            let _ = writeln!(io::stderr(), "serve: the {name} thread failed; the server ends");
            process::exit(EXIT_PANIC);
        }
    };
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(guarded);
    spawned.map_err(|error| io::Error::new(error.kind(), format!("the {name} thread cannot be started: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// The thread of a process of its own, because its panic ends that.
    #[test]
    fn panic_in_a_critical_thread_ends_the_process() {
        const CHILD: &str = "SERVE_TEST_CRITICAL_THREAD";
        if std::env::var_os(CHILD).is_some() {
            let _ = spawn("test", || panic!("on purpose")).expect("a thread can be started").join();
            process::exit(0);
        }
        let test = "server::critical_thread::tests::panic_in_a_critical_thread_ends_the_process";
        let mut child = Command::new(std::env::current_exe().expect("it runs"));
        let output = child.args(["--exact", test, "--nocapture"]).env(CHILD, "1").output().expect("it can be started");
        assert_eq!(output.status.code(), Some(EXIT_PANIC), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("the test thread failed"), "{output:?}");
    }
}
