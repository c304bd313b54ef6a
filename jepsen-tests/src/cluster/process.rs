//! A process as the operating system describes it: its command line, what it uses, and whether it still lives. Linux
//! only (`/proc`).

use std::{
    ffi::OsString,
    io,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};

use crate::{
    failure::{Doing, Failure},
    wait,
};

/// How long a killed process may take to vanish.
pub(crate) const DEATH_LIMIT: Duration = Duration::from_secs(10);

/// How a process was started; enough to start it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandLine {
    words: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    folder: PathBuf,
}

impl CommandLine {
    /// Of a running process.
    ///
    /// # Errors
    /// If it does not run, or belongs to someone else.
    pub fn of(pid: u32) -> Result<Self, Failure> {
        let read = |file: &str| {
            let path = format!("/proc/{pid}/{file}");
            std::fs::read(&path).doing(|| format!("read {path}"))
        };
        let environment = split(&read("environ")?)
            .map(|pair| {
                let at = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
                let value = pair.get(at + 1..).unwrap_or_default();
                (OsString::from_vec(pair[..at].to_vec()), OsString::from_vec(value.to_vec()))
            })
            .collect();
        let words = words_of(&read("cmdline")?);
        if words.is_empty() {
            return Err(Failure(format!("process {pid} has ended")));
        }
        let link = format!("/proc/{pid}/cwd");
        Ok(Self { words, environment, folder: std::fs::read_link(&link).doing(|| format!("read {link}"))? })
    }

    /// Whether the process `pid` runs with these words and then `extra`.
    #[must_use]
    pub fn is_of(&self, pid: u32, extra: &[String]) -> bool {
        let Ok(line) = std::fs::read(format!("/proc/{pid}/cmdline")) else { return false };
        let words = words_of(&line);
        words.len() == self.words.len() + extra.len() && words.iter().eq(self.words.iter().chain(&os_words(extra)))
    }

    /// The same with further words, for another process.
    #[must_use]
    pub fn followed_by(&self, more: impl IntoIterator<Item = String>) -> Self {
        let mut longer = self.clone();
        longer.words.extend(more.into_iter().map(OsString::from));
        longer
    }

    /// The words, the program first.
    #[must_use]
    pub fn words(&self) -> &[OsString] {
        &self.words
    }

    /// Starts it again, with `extra` behind its words; it writes to the end of `log`.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(&self, extra: &[String], log: &Path) -> Result<Child, Failure> {
        let output = super::log_file::open_log(log)?;
        Command::new(&self.words[0])
            .args(&self.words[1..])
            .args(extra)
            .env_clear()
            .envs(self.environment.iter().cloned())
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(output.try_clone().doing(|| "log file".to_owned())?)
            .stderr(output)
            .spawn()
            .doing(|| format!("start {:?}", self.words))
    }
}

fn words_of(line: &[u8]) -> Vec<OsString> {
    split(line).map(|word| OsString::from_vec(word.to_vec())).collect()
}

fn os_words(words: &[String]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

fn split(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|byte| *byte == 0).filter(|part| !part.is_empty())
}

/// Sends `signal` to one process.
///
/// # Errors
/// If there is no such process.
pub fn signal(pid: u32, signal: Signal) -> io::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(kill_process(pid, signal)?)
}

/// Whether the process can still do something, or still holds something, such as its ports; one that only waits to be
/// buried does not.
#[must_use]
pub fn is_alive(pid: u32) -> bool {
    // The first thread of a killed process may be gone while another one still holds the files of all.
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    threads.flatten().any(|thread| {
        let Ok(stat) = std::fs::read_to_string(thread.path().join("stat")) else { return false };
        // The state follows the name in parentheses, which may contain anything.
        let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
        !matches!(state, None | Some('Z' | 'X'))
    })
}

/// Waits until the process can do nothing any more.
///
/// # Errors
/// If it lives on after `limit`.
pub async fn wait_until_dead(pid: u32, limit: Duration) -> Result<(), Failure> {
    let what = format!("the death of process {pid}");
    wait::until(&what, limit, async || (!is_alive(pid)).then_some(())).await
}

/// What a process uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Processor time since it started.
    pub cpu: Duration,
    /// Memory that is resident, in bytes.
    pub resident_bytes: u64,
}

/// What the process uses now.
///
/// # Errors
/// If it does not run.
pub fn usage(pid: u32) -> Result<Usage, Failure> {
    let unreadable = || Failure(format!("process {pid} does not run"));
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).map_err(|_| unreadable())?;
    let fields: Vec<&str> = stat.rsplit_once(") ").ok_or_else(unreadable)?.1.split(' ').collect();
    // Fields 14, 15 and 24 of proc(5); the first of `fields` is field 3.
    let number = |field: usize| fields.get(field - 3).and_then(|text| text.parse::<u64>().ok()).ok_or_else(unreadable);
    let ticks = number(14)? + number(15)?;
    Ok(Usage {
        cpu: Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second()),
        resident_bytes: number(24)? * rustix::param::page_size() as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_is_killed_and_started_again_with_its_own_command_line() {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new("sleep").arg("30").env("TERCET_TEST", "a=b").spawn().unwrap();
        // Until `exec` has happened the child still carries our own command line, and what is read meanwhile may be half of each.
        let words = [OsString::from("sleep"), OsString::from("30")];
        let variable = ("TERCET_TEST".into(), "a=b".into());
        let line = wait::until("exec", DEATH_LIMIT, async || {
            let line = CommandLine::of(child.id()).ok();
            line.filter(|line| line.words() == words && line.environment.contains(&variable))
        })
        .await
        .unwrap();
        assert!(is_alive(child.id()) && line.is_of(child.id(), &[]));
        signal(child.id(), Signal::KILL).unwrap();
        // Not buried yet, and dead all the same.
        wait_until_dead(child.id(), DEATH_LIMIT).await.unwrap();
        assert!(!line.is_of(child.id(), &[]));
        child.wait().unwrap();

        let extra = ["0".to_owned()];
        let mut again = line.start(&extra, &folder.path().join("log")).unwrap();
        wait::until("exec", DEATH_LIMIT, async || line.is_of(again.id(), &extra).then_some(())).await.unwrap();
        again.kill().unwrap();
        again.wait().unwrap();
    }

    #[test]
    fn the_usage_of_this_process_is_plausible() {
        let usage = usage(std::process::id()).unwrap();
        assert!(usage.resident_bytes > 1 << 19, "{usage:?}");
        assert!(super::usage(u32::MAX).is_err());
    }
}
