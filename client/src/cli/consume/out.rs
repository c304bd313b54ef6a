//! Where consumed messages are written: it may wait for a slow reader, and not for ever once the user wants an end.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
    time::Duration,
};

use tokio_util::sync::CancellationToken;

/// A reader that takes nothing gets so long once an end is wanted.
const LAST_WRITE_MAX: Duration = Duration::from_secs(1);

pub(super) struct Out {
    /// Absent once a write has failed.
    writer: Option<Box<dyn Write + Send>>,
}

impl Out {
    pub(super) fn open(path: Option<&Path>) -> Result<Out, String> {
        let writer: Box<dyn Write + Send> = match path {
            None => Box::new(io::stdout()),
            Some(path) => {
                Box::new(File::create(path).map_err(|error| format!("cannot write {}: {error}", path.display()))?)
            }
        };
        Ok(Out { writer: Some(writer) })
    }

    /// Writes whole lines; after an error it takes no more.
    pub(super) async fn write(&mut self, lines: Vec<u8>, end: &CancellationToken) -> io::Result<()> {
        let Some(mut writer) = self.writer.take() else { return Err(io::ErrorKind::BrokenPipe.into()) };
        // On a thread that is left behind if nobody ever reads on.
        let writing = tokio::task::spawn_blocking(move || {
            writer.write_all(&lines).and_then(|()| writer.flush()).map(|()| writer)
        });
        let patience = async {
            end.cancelled().await;
            tokio::time::sleep(LAST_WRITE_MAX).await;
        };
        tokio::select! {
            biased;
            written = writing => {
                self.writer = Some(written.map_err(io::Error::other)??);
                Ok(())
            }
            () = patience => Err(io::Error::new(io::ErrorKind::TimedOut, "nobody reads it")),
        }
    }
}
