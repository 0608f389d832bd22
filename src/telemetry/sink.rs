//! Where log lines go: standard error, gathered while there are many.
//!
//! A line is copied into memory; a thread writes what has gathered, a few milliseconds later and in one piece, so that no
//! answer waits for the log's disk. What alarms (WARN, ERROR) is written at once, with everything before it. When much has
//! gathered, whoever logs writes it: nothing is dropped, and memory stays bounded. [`flush`] is for the end of the process.

use std::{
    io::{self, Write},
    sync::{Condvar, Mutex, MutexGuard, Once, PoisonError},
    thread,
    time::Duration,
};

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// How long lines gather.
const PAUSE: Duration = Duration::from_millis(5);
/// At most about so many bytes gather.
const FULL: usize = 256 * 1024;

static GATHERED: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static SOMETHING: Condvar = Condvar::new();
static WRITER: Once = Once::new();

/// Makes [`Line`]s.
pub(super) struct Sink;

/// One line under way.
pub(super) struct Line {
    at_once: bool,
}

impl<'sink> MakeWriter<'sink> for Sink {
    type Writer = Line;

    fn make_writer(&'sink self) -> Line {
        Line { at_once: true }
    }

    fn make_writer_for(&'sink self, metadata: &Metadata<'_>) -> Line {
        Line {
            at_once: *metadata.level() <= Level::WARN,
        }
    }
}

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut gathered = gathered();
        let first = gathered.is_empty();
        gathered.extend_from_slice(line);
        if self.at_once || gathered.len() > FULL {
            write_out(&mut gathered)?;
        } else if first {
            WRITER.call_once(|| {
                // Without the thread, lines wait for one that alarms, for many, or for the end.
                drop(
                    thread::Builder::new()
                        .name("log".to_owned())
                        .spawn(write_on),
                );
            });
            SOMETHING.notify_one();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        write_out(&mut gathered())
    }
}

/// Writes what has gathered.
pub(super) fn flush() {
    // Nobody is left to be told that standard error is gone.
    drop(write_out(&mut gathered()));
}

/// A thread that panicked while it logged has left whole lines at the least.
fn gathered() -> MutexGuard<'static, Vec<u8>> {
    GATHERED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write_out(gathered: &mut Vec<u8>) -> io::Result<()> {
    let written = io::stderr().lock().write_all(gathered);
    gathered.clear();
    written
}

/// Writes whatever comes, as long as the process lives. Lines that come meanwhile gather in another piece.
fn write_on() {
    let mut piece = Vec::new();
    loop {
        let gathered = SOMETHING.wait_while(gathered(), |gathered| gathered.is_empty());
        drop(gathered.unwrap_or_else(PoisonError::into_inner));
        thread::sleep(PAUSE);
        let mut gathered = self::gathered();
        // Held until the lines are written, so that those of a later piece come after them.
        let mut stderr = io::stderr().lock();
        std::mem::swap(&mut piece, &mut gathered);
        drop(gathered);
        drop(stderr.write_all(&piece));
        piece.clear();
    }
}
