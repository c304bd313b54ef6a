//! One running program, driven through the line protocol of `conformance/README.md`.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout},
    time::timeout,
};

use crate::failure::{Doing, Failure};

/// A program that has a producer and a consumer. Dropping it kills it.
#[derive(Debug)]
pub struct Program {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    log: PathBuf,
}

impl Program {
    /// Starts it with a home folder of its own, because clients leave logs there; what it writes on standard error goes
    /// to `folder/stderr.log`.
    ///
    /// # Errors
    /// If it cannot be started, or is not ready within `limit`.
    pub async fn start(command: Command, folder: &Path, limit: Duration) -> Result<Self, Failure> {
        let log = folder.join("stderr.log");
        let errors = File::create(&log).doing(|| format!("make {}", log.display()))?;
        let mut command = tokio::process::Command::from(command);
        command.env("HOME", folder).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors);
        let mut child = command.spawn().doing(|| format!("start {command:?}"))?;
        let input = child.stdin.take().expect("standard input is piped");
        let output = BufReader::new(child.stdout.take().expect("standard output is piped")).lines();
        let mut program = Self { child, input, output, log };
        program.lines_until("ready", limit).await?;
        Ok(program)
    }

    /// Sends `count` messages numbered from `first`; answers with the numbers that it says it sent.
    ///
    /// # Errors
    /// If it is not done within `limit`.
    pub async fn send(&mut self, first: u64, count: u64, limit: Duration) -> Result<Vec<u64>, Failure> {
        self.say(&format!("send {first} {count}")).await?;
        let lines = self.lines_until("done", limit).await?;
        lines
            .iter()
            .map(|line| {
                let number = line.strip_prefix("sent ").and_then(|number| number.parse().ok());
                number.ok_or_else(|| Failure(format!("`sent NUMBER` is expected, not {line:?}")))
            })
            .collect()
    }

    /// Receives until `count` new bodies have come; answers with every body that came.
    ///
    /// # Errors
    /// If it is not done within `limit`.
    pub async fn receive(&mut self, count: u64, limit: Duration) -> Result<Vec<String>, Failure> {
        self.say(&format!("receive {count}")).await?;
        let lines = self.lines_until("done", limit).await?;
        lines
            .iter()
            .map(|line| {
                let body = line.strip_prefix("got ").and_then(from_hex);
                body.ok_or_else(|| Failure(format!("`got HEX` is expected, not {line:?}")))
            })
            .collect()
    }

    /// Ends it.
    pub async fn end(mut self) {
        // An error means that it has ended already, which is what is wanted.
        let _ = self.child.kill().await;
    }

    async fn say(&mut self, line: &str) -> Result<(), Failure> {
        let written = self.input.write_all(format!("{line}\n").as_bytes()).await;
        written.doing(|| format!("write {line:?} to the program")).map_err(|failure| self.with_log(&failure))
    }

    async fn lines_until(&mut self, last: &str, limit: Duration) -> Result<Vec<String>, Failure> {
        let mut lines = Vec::new();
        let read = timeout(limit, async {
            while let Some(line) = self.output.next_line().await.doing(|| "read from the program".to_owned())? {
                if line == last {
                    return Ok(());
                }
                lines.push(line);
            }
            Err(Failure(format!("the program ended before it said {last:?}")))
        });
        let late = || Failure(format!("the program has not said {last:?} within {limit:?}"));
        let read = read.await.unwrap_or_else(|_| Err(late()));
        match read {
            Ok(()) => Ok(lines),
            Err(failure) => Err(Failure(format!("{}; after {} lines", self.with_log(&failure), lines.len()))),
        }
    }

    fn with_log(&self, failure: &Failure) -> Failure {
        const SHOWN_LINES_MAX: usize = 5;
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let shown = lines[lines.len().saturating_sub(SHOWN_LINES_MAX)..].join("\n    ");
        Failure(format!("{failure}; {} ends with:\n    {shown}", self.log.display()))
    }
}

fn from_hex(text: &str) -> Option<String> {
    let bytes = text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    String::from_utf8(bytes.collect::<Option<Vec<u8>>>()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn a_program_is_driven_line_by_line() {
        let folder = tempfile::tempdir().unwrap();
        let script = "echo ready; read l; echo sent 7; echo sent 8; echo done; read l; echo got 61e29c93; echo done";
        let limit = Duration::from_secs(10);
        let mut program = Program::start(shell(script), folder.path(), limit).await.unwrap();
        assert_eq!(program.send(7, 2, limit).await.unwrap(), [7, 8]);
        assert_eq!(program.receive(1, limit).await.unwrap(), ["a\u{2713}"]);
        program.end().await;
    }

    #[tokio::test]
    async fn a_program_that_fails_or_hangs_is_reported_with_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let failed = Program::start(shell("echo no route >&2"), folder.path(), Duration::from_secs(10)).await;
        let text = failed.unwrap_err().to_string();
        assert!(text.contains("ended before it said \"ready\"") && text.contains("no route"), "{text}");
        let hung = Program::start(shell("sleep 30"), folder.path(), Duration::from_millis(50)).await;
        assert!(hung.unwrap_err().to_string().contains("not said \"ready\" within 50ms"));
    }
}
