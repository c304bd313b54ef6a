//! The child processes: started, watched, stopped; never restarted.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tercet_output::Lines;
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep, timeout_at},
};

use super::{
    error::DevError,
    plan::{Plan, Planned, Role},
};
use crate::process::DEV_PARENT;

/// A child that does not stop in this time is killed; above the default of `shutdown.deadline`.
const STOP_MAX: Duration = Duration::from_secs(15);
/// How much of a log is shown when a child fails.
const TAIL_LINES: usize = 5;
/// Between two looks at the children.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A child that ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) name: String,
    pub(super) pid: u32,
    pub(super) status: String,
    /// How to start it again by hand.
    pub(super) command: String,
    log: PathBuf,
}

impl Ended {
    pub(super) fn into_error(self) -> DevError {
        let tail = tail_of(&self.log);
        DevError::ChildEnded { name: self.name, status: self.status, log: self.log, tail }
    }
}

struct Running {
    planned: Planned,
    pid: u32,
    /// Absent once its end was reported.
    child: Option<Child>,
}

/// All children, in the plan's order.
pub(super) struct Children(Vec<Running>);

impl Children {
    /// Starts everything; if one cannot be started, those before it die with this value.
    pub(super) fn start(plan: &Plan) -> Result<Children, DevError> {
        let program = std::env::current_exe()?;
        plan.processes().iter().map(|planned| start(&program, planned)).collect::<Result<_, _>>().map(Children)
    }

    /// Process ids as they were at the start, in the plan's order.
    pub(super) fn pids(&self) -> impl Iterator<Item = u32> {
        self.0.iter().map(|running| running.pid)
    }

    /// A child that has ended since the last call.
    pub(super) fn poll_end(&mut self) -> Option<Ended> {
        self.0.iter_mut().find_map(|running| {
            let status = running.child.as_mut()?.try_wait().ok()??;
            running.child = None;
            Some(running.ended(status))
        })
    }

    /// Waits for the next child to end; for ever if none is left.
    pub(super) async fn next_end(&mut self) -> Ended {
        loop {
            if let Some(ended) = self.poll_end() {
                return ended;
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    /// Asks all to stop, waits, and kills those that do not. Brokers come first, so that they can still tell the
    /// nameserver that they go.
    pub(super) async fn stop(mut self, lines: &Lines) {
        let deadline = Instant::now() + STOP_MAX;
        for role in [Role::Broker, Role::Nameserver] {
            let mut members: Vec<_> = self.0.iter_mut().filter(|running| running.planned.role == role).collect();
            for running in &members {
                running.terminate();
            }
            for running in &mut members {
                let Some(child) = &mut running.child else { continue };
                if timeout_at(deadline, child.wait()).await.is_err() {
                    lines.say(format!("tercetd dev: {} does not stop; killing it", running.planned.name()));
                }
            }
        }
        // Those that are left are killed as their handles are dropped.
    }
}

impl Running {
    fn ended(&self, status: ExitStatus) -> Ended {
        let planned = &self.planned;
        Ended {
            name: planned.name(),
            pid: self.pid,
            status: status.to_string(),
            command: format!("tercetd {} --config {}", planned.role.command(), planned.config().display()),
            log: planned.log(),
        }
    }

    fn terminate(&self) {
        let Some(pid) = self.child.as_ref().and_then(Child::id) else { return };
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("the system's own process id");
        // It may have ended meanwhile; as it was not waited for, its id is still its own.
        let _ = kill_process(pid, Signal::TERM);
    }
}

fn start(program: &Path, planned: &Planned) -> Result<Running, DevError> {
    let spawned = open_log(planned).and_then(|log| {
        Command::new(program)
            .arg(planned.role.command())
            .arg("--config")
            .arg(planned.config())
            .env(DEV_PARENT, std::process::id().to_string())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C is for the parent, which stops its children in order; a second signal would stop them at once.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
    });
    let child = spawned.map_err(|source| DevError::Spawn { name: planned.name(), source })?;
    let pid = child.id().expect("not waited for yet");
    Ok(Running { planned: planned.clone(), pid, child: Some(child) })
}

fn open_log(planned: &Planned) -> io::Result<File> {
    File::options().create(true).append(true).open(planned.log())
}

/// The last lines of a log.
fn tail_of(log: &Path) -> String {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}
