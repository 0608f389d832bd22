//! A file of people, a line of JSON for each, that a later run goes on with.

use std::{
    fs::{File, OpenOptions},
    io::{BufRead as _, BufReader, Seek as _, SeekFrom, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use crate::server::survey::PersonLine;

/// The file, open behind its last whole line.
pub(super) struct LineFile {
    file: File,
    path: PathBuf,
}

impl LineFile {
    /// Opens it, for its owner alone, and gives each whole line to `each`. What a run that was killed left of a line is cut
    /// off.
    pub(super) fn open(
        path: &Path,
        mut each: impl FnMut(&PersonLine) -> anyhow::Result<()>,
    ) -> anyhow::Result<Self> {
        let failed = || format!("could not open `{}`", path.display());
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .with_context(failed)?;
        let mut reader = BufReader::new(&file);
        let (mut line, mut number, mut whole) = (Vec::new(), 0, 0);
        loop {
            line.clear();
            let read = reader.read_until(b'\n', &mut line).with_context(failed)?;
            if line.last() != Some(&b'\n') {
                break;
            }
            number += 1;
            let found = serde_json::from_slice(&line).with_context(|| {
                format!(
                    "line {number} of `{}` is no person that this command found\nhint: name a file that is not there yet",
                    path.display()
                )
            })?;
            each(&found)?;
            whole += read as u64;
        }
        file.set_len(whole).with_context(failed)?;
        file.seek(SeekFrom::End(0)).with_context(failed)?;
        Ok(Self {
            file,
            path: path.to_owned(),
        })
    }

    /// Writes lines behind the others.
    pub(super) fn append(&mut self, lines: &[PersonLine]) -> anyhow::Result<()> {
        let mut text = Vec::new();
        for line in lines {
            serde_json::to_writer(&mut text, line)?;
            text.push(b'\n');
        }
        self.file
            .write_all(&text)
            .with_context(|| format!("could not write `{}`", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::survey::Cursor;

    fn person(number: usize) -> PersonLine {
        PersonLine {
            cursor: Cursor::Typed { done: number },
            definition: "d".to_owned(),
            user: Some(number.to_string()),
            user_ref: None,
            sites: Vec::new(),
        }
    }

    fn read(path: &Path) -> anyhow::Result<(LineFile, Vec<PersonLine>)> {
        let mut lines = Vec::new();
        let file = LineFile::open(path, |line| {
            lines.push(line.clone());
            Ok(())
        })?;
        Ok((file, lines))
    }

    #[test]
    fn a_torn_line_is_written_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("plan.jsonl");
        let (mut file, lines) = read(&path).expect("a new file");
        assert_eq!(lines, []);
        file.append(&[person(1), person(2)]).expect("written");
        drop(file);
        let whole = std::fs::read(&path).expect("the file");
        for torn in [0, 1, 40] {
            std::fs::write(&path, &whole[..whole.len() - torn]).expect("torn");
            let (mut file, lines) = read(&path).expect("the file");
            let kept = if torn == 0 { 2 } else { 1 };
            assert_eq!(lines.len(), kept, "{torn} bytes torn off");
            file.append(&[person(2)]).expect("written");
            let (_, lines) = read(&path).expect("the file");
            assert_eq!(lines.last(), Some(&person(2)));
            assert_eq!(lines.len(), kept + 1);
        }
    }

    #[test]
    fn another_file_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notes.txt");
        std::fs::write(&path, "buy milk\nand bread").expect("a file");
        let error = read(&path).err().expect("no file of ours").to_string();
        assert!(
            error.contains("line 1") && error.contains("hint:"),
            "{error}"
        );
        assert_eq!(
            std::fs::read_to_string(&path).expect("still there"),
            "buy milk\nand bread"
        );
    }
}
