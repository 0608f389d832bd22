//! Where log lines go: standard error, written by a thread of its own.
//!
//! A line is copied into memory, and nobody who logs waits for whoever reads the log. The thread writes what has gathered a
//! few milliseconds later and in one piece; what alarms (WARN, ERROR) at once, with everything before it. Whoever reads may
//! stop reading: then lines gather, and what finds no room any more is left out and counted. The count is a line itself
//! (`log.lines_left_out`) once lines are read again. [`flush`] is for the end of the process.

use std::{
    io::{self, Write},
    mem,
    sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
    time::Duration,
};

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

use super::events;

/// How long lines gather.
const PAUSE: Duration = Duration::from_millis(5);
/// With so many bytes they gather no longer.
const FULL: usize = 256 * 1024;
/// At most so many bytes gather while nobody reads.
const ROOM: usize = 8 * 1024 * 1024;
/// How long the end of the process waits for somebody to read its last lines.
const LAST_WORDS: Duration = Duration::from_secs(2);

static LINES: Lines = Lines::with_room(ROOM);
/// Whether there is a thread that writes.
static WRITER: OnceLock<bool> = OnceLock::new();

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
        let has_writer = *WRITER.get_or_init(|| {
            let writer = thread::Builder::new().name("log".to_owned());
            writer
                .spawn(|| LINES.write_on(|piece| drop(io::stderr().lock().write_all(piece)), tell))
                .is_ok()
        });
        if has_writer {
            LINES.add(line, self.at_once);
        } else {
            io::stderr().lock().write_all(line)?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Waits until what has gathered is written, unless nobody reads it.
pub(super) fn flush() {
    LINES.wait_written(LAST_WORDS);
}

fn tell(left_out: u64) {
    tracing::warn!(
        event = events::LOG_LINES_LEFT_OUT,
        kind = "unread",
        left_out,
        "nobody read the log for a while, and there was no room for more lines"
    );
}

/// Lines on their way.
struct Lines {
    state: Mutex<State>,
    something: Condvar,
    written: Condvar,
    /// The most bytes that gather.
    room: usize,
}

struct State {
    gathered: Vec<u8>,
    /// Whether what has gathered is to be written without a pause.
    is_urgent: bool,
    /// Whether the thread has a piece in hand.
    is_writing: bool,
    left_out: u64,
}

impl Lines {
    const fn with_room(room: usize) -> Self {
        Self {
            state: Mutex::new(State {
                gathered: Vec::new(),
                is_urgent: false,
                is_writing: false,
                left_out: 0,
            }),
            something: Condvar::new(),
            written: Condvar::new(),
            room,
        }
    }

    /// Keeps a line until it is written, if there is room.
    fn add(&self, line: &[u8], at_once: bool) {
        let mut state = self.state();
        if state.gathered.len() + line.len() > self.room {
            state.left_out += 1;
            return;
        }
        let was_empty = state.gathered.is_empty();
        state.gathered.extend_from_slice(line);
        let is_urgent = at_once || state.gathered.len() > FULL;
        let becomes_urgent = is_urgent && !state.is_urgent;
        state.is_urgent |= is_urgent;
        if was_empty || becomes_urgent {
            self.something.notify_one();
        }
    }

    /// Writes whatever comes, as long as the process lives. Lines that come meanwhile gather in another piece.
    fn write_on(&self, mut write: impl FnMut(&[u8]), mut tell: impl FnMut(u64)) {
        let mut piece = Vec::new();
        loop {
            self.take(&mut piece);
            write(&piece);
            piece.clear();
            // A long silence of whoever reads must not cost its memory for ever.
            piece.shrink_to(FULL);
            let left_out = self.take_left_out();
            if left_out > 0 {
                tell(left_out);
            }
            self.state().is_writing = false;
            self.written.notify_all();
        }
    }

    /// Waits for lines, and a little longer for more.
    fn take(&self, piece: &mut Vec<u8>) {
        let nothing = |state: &mut State| state.gathered.is_empty();
        let state = self.something.wait_while(self.state(), nothing);
        let state = state.unwrap_or_else(PoisonError::into_inner);
        let calm = |state: &mut State| !state.is_urgent;
        let waited = self.something.wait_timeout_while(state, PAUSE, calm);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        mem::swap(piece, &mut state.gathered);
        state.is_urgent = false;
        state.is_writing = true;
    }

    /// How many lines were left out, once there is room for a line that says so.
    fn take_left_out(&self) -> u64 {
        let mut state = self.state();
        if state.gathered.len() > self.room / 2 {
            return 0;
        }
        mem::take(&mut state.left_out)
    }

    fn wait_written(&self, patience: Duration) {
        let mut state = self.state();
        state.is_urgent = true;
        self.something.notify_one();
        let under_way = |state: &mut State| state.is_writing || !state.gathered.is_empty();
        // Nobody is left to be told that nobody reads.
        drop(self.written.wait_timeout_while(state, patience, under_way));
    }

    /// A thread that panicked while it logged has left whole lines at the least.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// What whoever reads comes to see.
    enum Read {
        Lines(usize),
        LeftOut(u64),
    }

    /// Whoever reads has stopped: adding lines returns all the same, and each is either read later or counted.
    #[test]
    fn who_stops_reading_stops_nobody_and_what_found_no_room_is_counted() {
        static UNREAD: Lines = Lines::with_room(1_000);
        const LINE: &[u8] = b"123456789\n";
        let (writes, reader) = mpsc::sync_channel(0);
        let tells = writes.clone();
        thread::spawn(move || {
            let write = |piece: &[u8]| drop(writes.send(Read::Lines(piece.len() / LINE.len())));
            UNREAD.write_on(write, |left_out| drop(tells.send(Read::LeftOut(left_out))));
        });
        for number in 0..1_000 {
            UNREAD.add(LINE, number % 7 == 0);
            assert!(UNREAD.state().gathered.len() <= 1_000);
        }
        UNREAD.wait_written(Duration::ZERO);
        let (mut lines, mut left_out) = (0, 0);
        while lines + left_out < 1_000 {
            match reader.recv_timeout(Duration::from_secs(20)) {
                Ok(Read::Lines(more)) => lines += more,
                Ok(Read::LeftOut(more)) => left_out += usize::try_from(more).expect("few"),
                Err(error) => panic!("{error}: {lines} lines, {left_out} left out"),
            }
        }
        assert_eq!(lines + left_out, 1_000, "each once");
        // One piece in hand, one that gathers.
        assert!((100..=200).contains(&lines), "{lines} lines");
    }
}
