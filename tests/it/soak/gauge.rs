//! Memory and file descriptors of a process, over time.

use std::{fmt, fs, time::Duration};

/// Looks in a soak, however long it is.
const LOOKS: u32 = 400;
/// What memory may grow by from the second quarter to the last: pages that a longer life touches, not a leak.
const GROWTH_KIB: u64 = 12 * 1024;
/// How many more descriptors may be open in the last quarter than in the second.
const MORE_FILES: u64 = 12;

/// One look.
#[derive(Debug, Clone, Copy)]
struct Look {
    kib: u64,
    files: u64,
}

/// All looks at one process.
#[derive(Debug)]
pub(super) struct Gauges {
    process: u32,
    every: Duration,
    next: Duration,
    looks: Vec<Look>,
    last: Option<Look>,
}

impl Gauges {
    pub(super) fn of(process: u32, length: Duration) -> Self {
        Self {
            process,
            every: length / LOOKS,
            next: Duration::ZERO,
            looks: Vec::new(),
            last: None,
        }
    }

    /// Looks if it is time.
    pub(super) fn look(&mut self, elapsed: Duration) {
        if elapsed >= self.next {
            self.next = elapsed + self.every;
            self.looks.push(self.now());
        }
    }

    /// Looks when everything has drained.
    pub(super) fn look_last(&mut self) {
        self.last = Some(self.now());
    }

    fn now(&self) -> Look {
        let folder = format!("/proc/{}", self.process);
        let status = fs::read_to_string(format!("{folder}/status")).expect("it runs");
        let resident = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix("kB"))
            .expect("Linux says so");
        Look {
            kib: resident.trim().parse().expect("a number"),
            files: u64::try_from(
                fs::read_dir(format!("{folder}/fd"))
                    .expect("it runs")
                    .count(),
            )
            .expect("few"),
        }
    }

    /// The median of a quarter, from 0.
    fn median(&self, quarter: usize, value: impl Fn(&Look) -> u64) -> u64 {
        let size = self.looks.len() / 4;
        let mut values: Vec<u64> = self.looks[quarter * size..(quarter + 1) * size]
            .iter()
            .map(value)
            .collect();
        values.sort_unstable();
        values[values.len() / 2]
    }

    fn medians(&self, value: impl Fn(&Look) -> u64) -> [u64; 4] {
        [0, 1, 2, 3].map(|quarter| self.median(quarter, &value))
    }

    /// The first quarter is the warm-up.
    pub(super) fn assert_flat(&self) {
        let memory = self.medians(|look| look.kib);
        assert!(memory[3] <= memory[1] + GROWTH_KIB, "memory grows: {self}");
        let files = self.medians(|look| look.files);
        assert!(files[3] <= files[1] + MORE_FILES, "files stay open: {self}");
    }
}

impl fmt::Display for Gauges {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let memory = self.medians(|look| look.kib);
        let files = self.medians(|look| look.files);
        let most = self.looks.iter().map(|look| look.kib).max().unwrap_or(0);
        write!(
            formatter,
            "resident KiB by quarter (medians) {memory:?}, at most {most}; descriptors by quarter {files:?}; \
             {} looks",
            self.looks.len()
        )?;
        if let Some(last) = self.last {
            write!(
                formatter,
                "; drained: {} KiB, {} descriptors",
                last.kib, last.files
            )?;
        }
        Ok(())
    }
}
