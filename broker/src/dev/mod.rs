//! `tercetd dev`: a nameserver and a broker group on one machine, each node a process of its own with its own folder.
//!
//! ```text
//! DIR/
//!   cluster.json                 what runs where; there while the group is ready
//!   bootstrapped                 the group exists; never bootstrapped again
//!   dev.lock                     held while `tercetd dev` runs on DIR
//!   tls/cert.pem, key.pem        the self-signed certificate that all nodes show, kept over restarts
//!   nameserver/tercet.toml, tercetd.log
//!   node-<id>/tercet.toml, tercetd.log, data/
//! ```
//!
//! It starts the processes, waits until they serve, says so, and waits to be stopped. It restarts nothing: a child that
//! dies is logged, and may be started again by hand with `tercetd broker --config DIR/node-<id>/tercet.toml`. When it
//! stops, its children stop; when it is killed, the system kills them.

mod children;
mod describe;
mod error;
mod plan;
mod probe;

use std::{
    fs::{self, File},
    io,
    path::Path,
    time::Duration,
};

use rustix::fs::{FlockOperation, flock};
use tercet_output::Lines;
use tokio::{runtime::Builder, time::Instant};

pub use error::DevError;

use self::{children::Children, error::READY_MAX, plan::Plan};
use crate::{
    cli::{DevArgs, bootstrap_group},
    config::Voter,
    process::{Asked, Signals},
};

/// Between two looks at the nodes.
const PROBE_INTERVAL: Duration = Duration::from_millis(50);

/// Runs until SIGTERM, SIGINT, or until its terminal closes.
///
/// # Errors
/// See [`DevError`]; the children are stopped then.
pub fn run(args: &DevArgs, lines: &Lines) -> Result<(), DevError> {
    // One thread, the main one: the system kills the children when the thread that started them ends.
    Builder::new_current_thread().enable_all().build()?.block_on(supervise(args, lines))
}

async fn supervise(args: &DevArgs, lines: &Lines) -> Result<(), DevError> {
    let plan = Plan::new(args)?;
    let _lock = lock(plan.dir())?;
    plan.write()?;
    remove_if_there(&plan.description_path())?;
    let mut signals = Signals::catch()?;
    let mut children = Children::start(&plan)?;
    let outcome = run_children(&plan, &mut children, &mut signals, lines).await;
    remove_if_there(&plan.description_path())?;
    tokio::select! {
        () = children.stop(lines) => {}
        // Children that are left are killed as their handles are dropped.
        () = asked_to_stop(&mut signals) => lines.say("tercetd dev: asked a second time: killing what still runs"),
    }
    outcome
}

/// Until a signal comes, or something fails.
async fn run_children(
    plan: &Plan,
    children: &mut Children,
    signals: &mut Signals,
    lines: &Lines,
) -> Result<(), DevError> {
    tokio::select! {
        ready = become_ready(plan, children) => ready?,
        () = asked_to_stop(signals) => return Ok(()),
    }
    let description = plan.description_path();
    describe::write(&description, plan, children).map_err(|source| DevError::File { path: description, source })?;
    let (endpoint, description) = (plan.endpoint(), plan.description_path());
    let trust = plan.certificate().map(|path| format!("; TLS clients trust {}", path.display())).unwrap_or_default();
    let processes = description.display();
    let ready = format!("ready: connect to {endpoint} (stop with Ctrl-C; processes in {processes}{trust})");
    Lines::stdout()?.say(ready);
    loop {
        tokio::select! {
            () = asked_to_stop(signals) => return Ok(()),
            ended = children.next_end() => lines.say(format!(
                "tercetd dev: {} (pid {}) ended with {}; start it again with: {}",
                ended.name, ended.pid, ended.status, ended.command
            )),
        }
    }
}

/// A terminal that closes asks for it too, but not under `nohup`.
async fn asked_to_stop(signals: &mut Signals) {
    while signals.asked().await == Asked::Reload && signals.hang_up_was_ignored() {}
}

async fn become_ready(plan: &Plan, children: &mut Children) -> Result<(), DevError> {
    let started = Instant::now();
    let mut bootstrapped = plan.bootstrapped_path().exists();
    let mut missing = String::new();
    while started.elapsed() < READY_MAX {
        if let Some(ended) = children.poll_end() {
            return Err(ended.into_error());
        }
        if !bootstrapped && probe::all_alive(plan).await {
            bootstrap(plan).await?;
            bootstrapped = true;
        }
        match probe::all_ready(plan).await {
            Ok(()) => return Ok(()),
            Err(why) => missing = why,
        }
        tokio::time::sleep(PROBE_INTERVAL).await;
    }
    Err(DevError::NotReady { missing })
}

/// Makes the group. A call that an earlier run was interrupted in is taken up again by repeating it.
async fn bootstrap(plan: &Plan) -> Result<(), DevError> {
    let voters: Vec<Voter> = plan.voters();
    bootstrap_group(&plan.first_client(), &voters).await.map_err(DevError::Bootstrap)?;
    let path = plan.bootstrapped_path();
    File::create(&path).and_then(|file| file.sync_all()).map_err(|source| DevError::File { path, source })
}

fn lock(dir: &Path) -> Result<File, DevError> {
    fs::create_dir_all(dir).map_err(|source| DevError::File { path: dir.to_owned(), source })?;
    let path = dir.join("dev.lock");
    let file = File::create(&path).map_err(|source| DevError::File { path, source })?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| DevError::Running(dir.to_owned()))?;
    Ok(file)
}

fn remove_if_there(path: &Path) -> Result<(), DevError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(DevError::File { path: path.to_owned(), source: error })
        }
        _ => Ok(()),
    }
}
