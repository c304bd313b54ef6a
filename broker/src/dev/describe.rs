//! `cluster.json`: what runs where, for programs.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
};

use serde::Serialize;

use super::{
    children::Children,
    plan::{Plan, Role},
};

#[derive(Serialize)]
struct Description<'a> {
    endpoint: String,
    /// What clients who come by TLS are to trust.
    certificate: Option<String>,
    processes: Vec<Process<'a>>,
}

#[derive(Serialize)]
struct Process<'a> {
    role: Role,
    id: u64,
    pid: u32,
    client: &'a str,
    peer: Option<&'a str>,
    http: &'a str,
}

/// Writes the file whole or not at all.
pub(super) fn write(path: &Path, plan: &Plan, children: &Children) -> io::Result<()> {
    let processes = plan.processes().iter().zip(children.pids()).map(|(planned, pid)| Process {
        role: planned.role,
        id: planned.id,
        pid,
        client: &planned.client,
        peer: planned.peer.as_deref(),
        http: &planned.http,
    });
    let certificate = plan.certificate().map(|path| path.display().to_string());
    let description = Description { endpoint: plan.endpoint(), certificate, processes: processes.collect() };
    let mut text = serde_json::to_vec_pretty(&description)?;
    text.push(b'\n');
    let temporary = path.with_extension("json.tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}
