//! `cluster.json`: what `tercetd dev` says about the processes that it started.

use std::path::Path;

use serde::Deserialize;

/// The file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Description {
    /// What clients connect to: host:port, several separated by commas.
    pub endpoint: String,
    /// Every process.
    pub processes: Vec<Described>,
}

/// What a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// One replica.
    Broker,
    /// A nameserver.
    Nameserver,
}

/// One process. Addresses are host:port; a nameserver lacks some.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Described {
    /// What it is.
    pub role: Role,
    /// Number among those of its role.
    pub id: u64,
    /// Process id.
    pub pid: u32,
    /// Where clients connect.
    #[serde(default)]
    pub client: Option<String>,
    /// Where the group's other nodes connect.
    #[serde(default)]
    pub peer: Option<String>,
    /// Where metrics and health are.
    #[serde(default)]
    pub http: Option<String>,
}

impl Description {
    /// The file's content, or nothing while it is not there or not whole.
    #[must_use]
    pub fn read_if_complete(path: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(path).ok()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_specified_form_is_understood() {
        let text = r#"{"endpoint": "127.0.0.1:8081", "processes": [
            {"role": "broker", "id": 1, "pid": 7, "client": "a:1", "peer": "a:2", "http": "a:3"},
            {"role": "nameserver", "id": 1, "pid": 8, "client": "a:4", "peer": null}]}"#;
        let description: Description = serde_json::from_str(text).unwrap();
        assert_eq!(description.processes[0].peer.as_deref(), Some("a:2"));
        assert_eq!(description.processes[1].role, Role::Nameserver);
    }
}
