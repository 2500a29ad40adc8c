//! LogWriter of text on their way to standard output or standard error.
//!
//! Whoever has something to say only adds lines to a buffer; a thread of its own writes them. So an output that takes no
//! more, such as a pipe that nobody reads, holds nobody up: lines are dropped then, and counted.

use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::mem;
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// The most bytes of lines that wait to be written.
const BUFFERED_MAX: usize = 4 * 1024 * 1024;

/// From so many bytes on, lines are written without waiting for more.
const FLUSH_AT: usize = 256 * 1024;

/// How long a line waits for others. On a terminal it does not, and an error does not.
const DELAY: Duration = Duration::from_millis(200);

/// How long an output that takes nothing now, and says so, is left alone.
const FULL_PAUSE: Duration = Duration::from_millis(10);

/// How long the end of the program waits for the last lines to be written.
const LOG_DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// An output that never blocks who writes to it. Clones are the same output.
#[derive(Clone, Debug)]
pub struct LogWriter {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    output: File,
    state: Mutex<State>,
    changed: Condvar,
    /// From so many waiting bytes on, the writer is woken.
    flush_at: usize,
}

#[derive(Debug, Default)]
struct State {
    buffered: Vec<u8>,
    /// How many lines were dropped, and how many of them nobody has been told of.
    dropped: u64,
    unreported: u64,
    is_closing: bool,
    is_done: bool,
}

impl LogWriter {
    /// Opens standard output. Nothing is written before [`LogWriter::start`].
    pub fn to_stdout() -> io::Result<LogWriter> {
        let flush_at = if io::stdout().is_terminal() { 1 } else { FLUSH_AT };
        LogWriter::open(flush_at, io::stdout())
    }

    /// Opens standard error, in the same way.
    pub fn to_stderr() -> io::Result<LogWriter> {
        LogWriter::open(1, io::stderr())
    }

    fn open(flush_at: usize, output: impl AsFd) -> io::Result<LogWriter> {
        // Past the standard library's buffer, because it has to be known what was written.
        let output = File::from(output.as_fd().try_clone_to_owned()?);
        Ok(LogWriter {
            shared: Arc::new(Shared { output, state: Mutex::default(), changed: Condvar::new(), flush_at }),
        })
    }

    /// Starts the thread that writes.
    pub fn start(&self) -> io::Result<()> {
        let writer = Arc::clone(&self.shared);
        thread::Builder::new().name("lines".to_owned()).spawn(move || writer.write_all())?;
        Ok(())
    }

    /// Adds a line, which brings its line end.
    pub fn add(&self, line: &[u8]) {
        let mut state = self.shared.lock();
        if state.buffered.len() + line.len() > BUFFERED_MAX {
            state.dropped += 1;
            state.unreported += 1;
            return;
        }
        let before = state.buffered.len();
        state.buffered.extend_from_slice(line);
        if before == 0 || (before < self.shared.flush_at && state.buffered.len() >= self.shared.flush_at) {
            self.shared.changed.notify_all();
        }
    }

    /// How many lines were dropped because the output did not take them.
    pub fn dropped(&self) -> u64 {
        self.shared.lock().dropped
    }

    /// Writes what waits, at the end of the program; an output that takes no more is not waited for for long.
    pub fn finish(&self) {
        let mut state = self.shared.lock();
        state.is_closing = true;
        self.shared.changed.notify_all();
        drop(self.shared.changed.wait_timeout_while(state, LOG_DRAIN_TIMEOUT, |state| !state.is_done));
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
    /// Writes lines until the end, each time as many as there are. What an output does not take, such as a full disk, is
    /// lost: nobody is left to be told. A line that was torn by that is ended before the next one.
    fn write_all(&self) {
        let mut lines = Vec::new();
        let mut ends_mid_line = false;
        loop {
            let mut state = self.wait_for_lines();
            if state.buffered.is_empty() {
                state.is_done = true;
                self.changed.notify_all();
                return;
            }
            mem::swap(&mut lines, &mut state.buffered);
            let dropped = mem::take(&mut state.unreported);
            drop(state);
            if ends_mid_line {
                lines.insert(0, b'\n');
            }
            if let Some(last) = lines[..write_most(&self.output, &lines)].last() {
                ends_mid_line = *last != b'\n';
            }
            if dropped > 0 {
                log::warn!("{dropped} lines are dropped, because an output takes them too slowly");
            }
            lines.clear();
            lines.shrink_to(FLUSH_AT);
        }
    }

    /// Waits for a first line, then a moment for more.
    fn wait_for_lines(&self) -> MutexGuard<'_, State> {
        let is_quiet = |state: &mut State| state.buffered.is_empty() && !state.is_closing;
        let state = self.changed.wait_while(self.lock(), is_quiet).unwrap_or_else(PoisonError::into_inner);
        let is_little = |state: &mut State| state.buffered.len() < self.flush_at && !state.is_closing;
        let state = self.changed.wait_timeout_while(state, DELAY, is_little);
        state.unwrap_or_else(PoisonError::into_inner).0
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes as much as the output takes, and returns how much that is.
fn write_most(mut output: &File, bytes: &[u8]) -> usize {
    let mut written = 0;
    while written < bytes.len() {
        match output.write(&bytes[written..]) {
            Ok(count @ 1..) => written += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Whoever shares the output with us has asked not to be made to wait. Here that does no harm.
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(FULL_PAUSE),
            _ => break,
        }
    }
    written
}
