//! The files of a ledger: private to their owner, and one process at a time.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
};

use super::{LedgerError, Source};

#[cfg(unix)]
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600)
}

#[cfg(not(unix))]
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

/// Makes a file that its owner alone may read. It must not exist.
pub(super) fn create_new(path: &Path) -> io::Result<File> {
    private(OpenOptions::new().write(true).create_new(true)).open(path)
}

/// Makes the ledger's file if there is none, and takes it away from everybody but its owner. SQLite gives the files it
/// makes beside it the same mode.
pub(super) fn claim_file(path: &Path) -> Result<(), LedgerError> {
    let open = |error: io::Error| LedgerError::Open {
        path: path.to_owned(),
        source: Source::new(error),
    };
    let file = private(
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false),
    )
    .open(path)
    .map_err(open)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = file.metadata().map_err(open)?.permissions().mode();
        if mode & 0o077 != 0 {
            file.set_permissions(std::fs::Permissions::from_mode(0o600))
                .map_err(open)?;
        }
    }
    drop(file);
    sync_folder(path).map_err(open)
}

/// Makes the entry of a file in its folder survive a power loss.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

/// The file beside this one whose name goes on like that.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Takes the lock that makes one process the ledger's. It is held as long as the file is open, and the operating system
/// lets go of it when the process dies, however it dies.
pub(super) fn lock(path: &Path) -> Result<File, LedgerError> {
    let beside = beside(path, ".lock");
    let open = |error: io::Error| LedgerError::Open {
        path: beside.clone(),
        source: Source::new(error),
    };
    let file = private(
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false),
    )
    .open(&beside)
    .map_err(open)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(LedgerError::Locked {
            path: path.to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(open(error)),
    }
}

/// Where the file lies: differs for a copy, even one in the same place.
pub(super) fn place(path: &Path) -> io::Result<String> {
    let canonical = path.canonicalize()?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        Ok(format!(
            "{}#{}",
            canonical.display(),
            canonical.metadata()?.ino()
        ))
    }
    #[cfg(not(unix))]
    {
        Ok(canonical.display().to_string())
    }
}

/// Which file a path leads to, whatever way it takes; where the operating system tells.
#[cfg(unix)]
pub(in super::super) fn identity(path: &Path) -> io::Result<Option<(u64, u64)>> {
    use std::os::unix::fs::MetadataExt;
    let file = path.metadata()?;
    Ok(Some((file.dev(), file.ino())))
}

#[cfg(not(unix))]
pub(in super::super) fn identity(path: &Path) -> io::Result<Option<(u64, u64)>> {
    path.metadata().map(|_file| None)
}
