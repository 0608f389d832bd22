//! A file system of a test's own, in a mount namespace that only the program under test is in.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A command that does what follows in a namespace of its own, with an empty file system of that size, as `4m`, in `folder`.
/// It keeps its process id.
pub(crate) fn with_a_small_disk(size: &str, folder: &Path) -> Command {
    const SCRIPT: &str = r#"mount -t tmpfs -o size="$1" tmpfs "$2" && shift 2 && exec "$@""#;
    let mut command = Command::new("unshare");
    let is_root = fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    if !is_root {
        command.arg("--map-root-user");
    }
    command
        .args(["--mount", "sh", "-c", SCRIPT, "sh", size])
        .arg(folder);
    command
}

/// Whether this machine lets us. A container may not, and no installation helps there.
pub(crate) fn are_allowed() -> bool {
    with_a_small_disk("1m", Path::new("/mnt"))
        .arg("true")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// How a path looks from here that such a process has.
pub(crate) fn as_seen_by(process: u32, path: &Path) -> PathBuf {
    let mut seen = PathBuf::from(format!("/proc/{process}/root"));
    seen.extend(path.components().skip(1));
    seen
}
