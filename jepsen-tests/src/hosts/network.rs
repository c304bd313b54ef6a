//! Network namespaces, a bridge, and the cables between them, made with `ip` and removed at the end.

use std::process::Command;

use crate::failure::{Doing, Failure};

const SUBNET: &str = "10.83.0";

/// The bridge, and the prefix of all names.
#[derive(Debug)]
pub(super) struct Network {
    bridge: String,
    prefix: String,
}

/// A host's namespace and the cable to it.
#[derive(Debug)]
pub(super) struct Cable {
    bridge: String,
    namespace: String,
    /// The end on the bridge's side.
    link: String,
    address: String,
}

impl Network {
    pub(super) fn make() -> Result<Self, Failure> {
        let prefix = format!("tc{}", std::process::id());
        let bridge = format!("{prefix}b");
        // In a namespace of its own this process has not even a loopback yet.
        ip(&["link", "set", "lo", "up"])?;
        ip(&["link", "add", &bridge, "type", "bridge"])?;
        let network = Self { bridge, prefix };
        ip(&["addr", "add", &format!("{SUBNET}.254/24"), "dev", &network.bridge])?;
        ip(&["link", "set", &network.bridge, "up"])?;
        Ok(network)
    }

    /// A new host with the last number `id` in its address.
    pub(super) fn host(&self, id: u64) -> Result<Cable, Failure> {
        let namespace = format!("{}-{id}", self.prefix);
        let (link, inner) = (format!("{}h{id}", self.prefix), format!("{}n{id}", self.prefix));
        let address = format!("{SUBNET}.{id}");
        ip(&["netns", "add", &namespace])?;
        let cable = Cable { bridge: self.bridge.clone(), namespace, link, address };
        let namespace = cable.namespace.as_str();
        ip(&["link", "add", &cable.link, "type", "veth", "peer", "name", &inner, "netns", namespace])?;
        ip(&["link", "set", &cable.link, "up"])?;
        ip(&["-n", namespace, "addr", "add", &format!("{}/24", cable.address), "dev", &inner])?;
        ip(&["-n", namespace, "link", "set", &inner, "up"])?;
        ip(&["-n", namespace, "link", "set", "lo", "up"])?;
        cable.plug()?;
        Ok(cable)
    }
}

impl Cable {
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }

    pub(super) fn plug(&self) -> Result<(), Failure> {
        ip(&["link", "set", &self.link, "master", &self.bridge])
    }

    /// Destroys every open connection of this host from or to this port; the other ends get a reset.
    pub(super) fn reset(&self, port: u16) -> Result<(), Failure> {
        let of_port = format!("( dport = :{port} or sport = :{port} )");
        ip(&["netns", "exec", &self.namespace, "ss", "-K", "-t", "state", "established", &of_port])
    }

    pub(super) fn unplug(&self) -> Result<(), Failure> {
        ip(&["link", "set", &self.link, "nomaster"])
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        // The cable ends with the namespace; one that is gone already is what is wanted.
        let _ = ip(&["netns", "del", &self.namespace]);
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = ip(&["link", "del", &self.bridge]);
    }
}

fn ip(arguments: &[&str]) -> Result<(), Failure> {
    let what = || format!("ip {}", arguments.join(" "));
    let output = Command::new("ip").args(arguments).output().doing(what)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(Failure(format!("{} failed, which needs root and iproute2: {}", what(), said.trim())))
}
