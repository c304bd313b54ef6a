//! The `tercet` command line as a process: what the proofs do, a person can do too.

use std::{
    ffi::OsStr,
    io::{self, Read},
    process::{Child, Command, ExitStatus, Stdio},
    thread::JoinHandle,
    time::Duration,
};

use crate::{
    binaries,
    failure::{Doing, Failure},
    wait,
};

/// A running `tercet`. Dropping it kills it.
#[derive(Debug)]
pub struct Running {
    child: Child,
    output: Reader,
    errors: Reader,
}

/// Reads a pipe while the process runs: a full one would stop it.
type Reader = Option<JoinHandle<io::Result<Vec<u8>>>>;

impl Running {
    /// Starts `tercet --endpoint ENDPOINTS ARGUMENTS`.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start<A: AsRef<OsStr>>(endpoints: &str, arguments: &[A]) -> Result<Self, Failure> {
        let mut child = Command::new(binaries::tercet()?)
            .arg("--endpoint")
            .arg(endpoints)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .doing(|| "start tercet".to_owned())?;
        let (output, errors) = (child.stdout.take().map(reader), child.stderr.take().map(reader));
        Ok(Self { child, output, errors })
    }

    /// Waits until it has ended well: what it wrote on standard output.
    ///
    /// # Errors
    /// If it ends otherwise or takes longer than `limit`; the text holds what it wrote.
    pub async fn finish(self, limit: Duration) -> Result<String, Failure> {
        match self.end(limit).await? {
            (status, output, _) if status.success() => Ok(output),
            (status, output, errors) => Err(Failure(format!("tercet ended with {status}: {errors}{output}"))),
        }
    }

    /// Waits until it has ended, well or not: what it wrote on standard output.
    ///
    /// # Errors
    /// If it takes longer than `limit`; the text holds what it wrote.
    pub async fn finish_somehow(self, limit: Duration) -> Result<String, Failure> {
        Ok(self.end(limit).await?.1)
    }

    async fn end(mut self, limit: Duration) -> Result<(ExitStatus, String, String), Failure> {
        let child = &mut self.child;
        let ended = wait::until("the end of tercet", limit, async || child.try_wait().ok().flatten()).await;
        if ended.is_err() {
            self.kill();
        }
        let (output, errors) = (text(&mut self.output)?, text(&mut self.errors)?);
        match ended {
            Ok(status) => Ok((status, output, errors)),
            Err(failure) => Err(Failure(format!("{failure}; it wrote: {errors}{output}"))),
        }
    }

    fn kill(&mut self) {
        // An error means that it has ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Starts `tercet` and waits until it has ended well: what it wrote on standard output.
///
/// # Errors
/// If it cannot be started, ends otherwise or takes longer than `limit`.
pub async fn run<A: AsRef<OsStr>>(endpoints: &str, arguments: &[A], limit: Duration) -> Result<String, Failure> {
    Running::start(endpoints, arguments)?.finish(limit).await
}

fn reader(mut pipe: impl Read + Send + 'static) -> JoinHandle<io::Result<Vec<u8>>> {
    std::thread::spawn(move || {
        let mut text = Vec::new();
        pipe.read_to_end(&mut text).map(|_| text)
    })
}

fn text(reader: &mut Reader) -> Result<String, Failure> {
    let reader = reader.take().expect("a process is finished once");
    let bytes = reader.join().expect("reading a pipe does not panic").doing(|| "output of tercet".to_owned())?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
