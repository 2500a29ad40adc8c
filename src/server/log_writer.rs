//! Non-blocking log writer for standard output and standard error.
//!
//! Callers append to a buffer; a thread writes it. A full pipe blocks no caller: lines are dropped and counted.

use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::mem;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::critical_thread;

/// The most buffered bytes.
const BUFFERED_MAX: usize = 4 * 1024 * 1024;

/// Buffered bytes at which lines are written at once.
const FLUSH_AT: usize = 256 * 1024;

/// The time a line waits for others, except on a terminal and on standard error.
const DELAY: Duration = Duration::from_millis(200);

/// The pause before retrying an output that returned EAGAIN.
const FULL_PAUSE: Duration = Duration::from_millis(10);

/// The time limit for the last lines at exit.
const LOG_DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// An output that never blocks its callers. Clones share the output.
#[derive(Clone, Debug)]
pub struct LogWriter(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    output: File,
    state: Mutex<State>,
    changed: Condvar,
    /// Buffered bytes that wake the writer.
    flush_at: usize,
}

#[derive(Debug, Default)]
struct State {
    buffered: Vec<u8>,
    /// Lines dropped since the start.
    dropped: u64,
    is_closing: bool,
    is_done: bool,
}

impl LogWriter {
    /// Opens standard output. Nothing is written before [`LogWriter::start`].
    pub fn to_stdout() -> io::Result<LogWriter> {
        let flush_at = if io::stdout().is_terminal() { 1 } else { FLUSH_AT };
        LogWriter::open(flush_at, io::stdout())
    }

    /// Opens standard error in the same way.
    pub fn to_stderr() -> io::Result<LogWriter> {
        LogWriter::open(1, io::stderr())
    }

    fn open(flush_at: usize, output: impl AsFd) -> io::Result<LogWriter> {
        // Unbuffered, so that the count of written bytes is exact.
        let output = File::from(output.as_fd().try_clone_to_owned()?);
        Ok(LogWriter(Arc::new(Shared { output, state: Mutex::default(), changed: Condvar::new(), flush_at })))
    }

    /// Starts the writing thread.
    pub fn start(&self) -> io::Result<()> {
        let shared = Arc::clone(&self.0);
        critical_thread::spawn("log", move || shared.write_all()).map(drop)
    }

    /// Adds a line, which includes its line end.
    pub fn add(&self, line: &[u8]) {
        let mut state = self.0.state.lock();
        let before = state.buffered.len();
        let after = before + line.len();
        if after > BUFFERED_MAX {
            state.dropped += 1;
            return;
        }
        state.buffered.extend_from_slice(line);
        if before == 0 || (before < self.0.flush_at && after >= self.0.flush_at) {
            self.0.changed.notify_all();
        }
    }

    /// The number of lines dropped because the output was too slow.
    pub fn dropped(&self) -> u64 {
        self.0.state.lock().dropped
    }

    /// Writes the buffered lines at exit, within a time limit.
    pub fn finish(&self) {
        let mut state = self.0.state.lock();
        state.is_closing = true;
        self.0.changed.notify_all();
        self.0.changed.wait_while_for(&mut state, |state| !state.is_done, LOG_DRAIN_TIMEOUT);
    }
}

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.add(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    /// Writes lines until the end. A failed write (full disk) loses lines; one cut by it is ended before the next.
    fn write_all(&self) {
        let (mut lines, mut reported, mut ends_mid_line) = (Vec::new(), 0, false);
        loop {
            let dropped = self.take_lines(&mut lines);
            if lines.is_empty() {
                break;
            }
            if ends_mid_line {
                lines.insert(0, b'\n');
            }
            if let Some(last) = lines[..write_most(&self.output, &lines)].last() {
                ends_mid_line = *last != b'\n';
            }
            if dropped > reported {
                log::warn!("{} log lines dropped: the output is too slow", dropped - reported);
                reported = dropped;
            }
            lines.clear();
            lines.shrink_to(FLUSH_AT);
        }
        self.state.lock().is_done = true;
        self.changed.notify_all();
    }

    /// Waits for a first line, then up to [`DELAY`] for more, and returns how many were dropped. No line means the end.
    fn take_lines(&self, lines: &mut Vec<u8>) -> u64 {
        let mut state = self.state.lock();
        self.changed.wait_while(&mut state, |state| state.buffered.is_empty() && !state.is_closing);
        let is_short = |state: &mut State| state.buffered.len() < self.flush_at && !state.is_closing;
        self.changed.wait_while_for(&mut state, is_short, DELAY);
        mem::swap(lines, &mut state.buffered);
        state.dropped
    }
}

/// Writes until the output fails, and returns the count of bytes.
fn write_most(mut output: &File, bytes: &[u8]) -> usize {
    let mut written = 0;
    while written < bytes.len() {
        match output.write(&bytes[written..]) {
            Ok(count @ 1..) => written += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Another process that shares the output has set O_NONBLOCK. This thread may wait.
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(FULL_PAUSE),
            _ => break,
        }
    }
    written
}
