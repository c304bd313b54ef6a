//! The acks file of `tercet publish`: whole lines, each of which is true, whatever becomes of the file (hazards 40).

use std::{
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Serialize;
use tercet_client::Stored;

/// A line of the file.
#[derive(Serialize)]
pub(super) struct Acknowledged {
    line: u64,
    pub(super) message_id: String,
    pub(super) queue: Option<u32>,
    pub(super) offset: u64,
}

impl Acknowledged {
    pub(super) fn new(line: u64, stored: &Stored) -> Acknowledged {
        let Stored { queue, offset, message_id, .. } = stored;
        Acknowledged { line, message_id: message_id.to_string(), queue: *queue, offset: *offset }
    }

    pub(super) fn write_to(&self, lines: &mut Vec<u8>) {
        serde_json::to_writer(&mut *lines, self).expect("numbers and text are always JSON");
        lines.push(b'\n');
    }
}

/// A pipe or a device that takes nothing for this long counts as failed.
const STANDSTILL_MAX: Duration = Duration::from_secs(30);

/// Where acknowledgements are written.
#[derive(Debug)]
pub(super) struct Acks {
    path: PathBuf,
    /// Absent once it has failed.
    file: Option<File>,
    /// What a regular file holds in whole lines; nothing for a pipe or a device, which may stand still.
    whole: Option<u64>,
    standstill_max: Duration,
}

impl Acks {
    /// Begins an empty file.
    pub(super) fn create(path: &Path) -> Result<Acks, String> {
        let made = File::create(path).and_then(|file| Ok((file.metadata()?.is_file(), file)));
        let (regular, file) = made.map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        let (whole, standstill_max) = (regular.then_some(0), STANDSTILL_MAX);
        Ok(Acks { path: path.to_owned(), file: Some(file), whole, standstill_max })
    }

    /// Whether there is still something to write to.
    pub(super) fn works(&self) -> bool {
        self.file.is_some()
    }

    /// Writes whole lines at once: a killed process leaves what was acknowledged. After an error it takes no more.
    pub(super) async fn write(&mut self, lines: &[u8]) -> Result<(), String> {
        let Some(mut file) = self.file.take() else { return Ok(()) };
        let outcome = match &mut self.whole {
            Some(whole) => match file.write_all(lines) {
                Ok(()) => {
                    *whole += lines.len() as u64;
                    Ok(file)
                }
                Err(error) => {
                    // Half a line says nothing. Where it cannot be taken back, it stays without its line feed.
                    let _ = file.set_len(*whole);
                    Err(error)
                }
            },
            None => write_where_it_may_wait(file, lines.to_vec(), self.standstill_max).await,
        };
        match outcome {
            Ok(file) => {
                self.file = Some(file);
                Ok(())
            }
            Err(error) => Err(format!("cannot write the acks file {}: {error}", self.path.display())),
        }
    }
}

/// On a thread that is left behind if the other end never reads on.
async fn write_where_it_may_wait(mut file: File, lines: Vec<u8>, within: Duration) -> io::Result<File> {
    let writing = tokio::task::spawn_blocking(move || file.write_all(&lines).map(|()| file));
    match tokio::time::timeout(within, writing).await {
        Ok(written) => written.map_err(io::Error::other)?,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, format!("nobody has read from it for {within:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_in_the_file_when_write_returns() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut acks = Acks::create(file.path()).unwrap();
        acks.write(b"one\n").await.unwrap();
        acks.write(b"two\n").await.unwrap();
        assert_eq!(std::fs::read(file.path()).unwrap(), b"one\ntwo\n");
    }

    #[tokio::test]
    async fn a_device_that_is_full_is_an_error_with_its_name_and_then_left_alone() {
        let mut acks = Acks::create(Path::new("/dev/full")).unwrap();
        let error = acks.write(b"one\n").await.unwrap_err();
        assert!(error.starts_with("cannot write the acks file /dev/full: No space left"), "{error}");
        assert!(!acks.works());
        acks.write(b"two\n").await.unwrap();
    }

    #[test]
    fn a_reader_that_stands_still_is_an_error_in_the_end() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (_reader, writer) = io::pipe().unwrap();
        let file = File::from(std::os::fd::OwnedFd::from(writer));
        let mut acks = Acks {
            path: PathBuf::from("fifo"),
            file: Some(file),
            whole: None,
            standstill_max: Duration::from_millis(50),
        };
        let error = runtime.block_on(acks.write(&vec![b'x'; 1 << 20])).unwrap_err();
        assert!(error.contains("nobody has read from it for 50ms"), "{error}");
        runtime.shutdown_background();
    }
}
