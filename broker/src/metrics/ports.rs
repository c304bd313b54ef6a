//! Counters of the listening ports: who came, who was turned away, and what strangers leave open.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PortLabels {
    port: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ClosedLabels {
    port: &'static str,
    why: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct WhyLabels {
    why: &'static str,
}

/// Why this side closes a connection that the other would keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// It never asked for anything.
    Silent,
    /// It has asked for nothing for long.
    Idle,
    /// It took a place that somebody else needed, and did nothing with it.
    Displaced,
    /// It does not read its answers.
    Unread,
    /// It takes too long.
    Late,
}

impl Closed {
    fn name(self) -> &'static str {
        match self {
            Closed::Silent => "silent",
            Closed::Idle => "idle",
            Closed::Displaced => "displaced",
            Closed::Unread => "unread",
            Closed::Late => "late",
        }
    }
}

/// Why a request is refused before it is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unadmitted {
    /// Too many bytes of unfinished requests are held.
    Bytes,
    /// It was not finished in time.
    Late,
}

/// Counters that the ports of one process write. Cheap to clone: clones count together.
#[derive(Clone, Debug, Default)]
pub struct Ports {
    open: Family<PortLabels, Gauge>,
    refused: Family<PortLabels, Counter>,
    closed: Family<ClosedLabels, Counter>,
    unfinished_bytes: Gauge,
    unadmitted: Family<WhyLabels, Counter>,
}

impl Ports {
    /// The open connections of a port.
    #[must_use]
    pub fn open(&self, port: &'static str) -> Gauge {
        self.open.get_or_create(&PortLabels { port }).clone()
    }

    /// A connection was refused, because all places were taken by such as work.
    pub fn refuse(&self, port: &'static str) {
        self.refused.get_or_create(&PortLabels { port }).inc();
    }

    /// A connection was closed by this side.
    pub fn close(&self, port: &'static str, why: Closed) {
        self.closed.get_or_create(&ClosedLabels { port, why: why.name() }).inc();
    }

    /// Bytes of requests that are not whole yet.
    #[must_use]
    pub fn unfinished_bytes(&self) -> &Gauge {
        &self.unfinished_bytes
    }

    /// A request was refused before it was whole.
    pub fn unadmitted(&self, why: Unadmitted) {
        let why = match why {
            Unadmitted::Bytes => "bytes",
            Unadmitted::Late => "late",
        };
        self.unadmitted.get_or_create(&WhyLabels { why }).inc();
    }

    /// Puts all of it into a registry.
    pub fn register(&self, registry: &mut Registry) {
        let p = self.clone();
        registry.register("tercet_connections", "Open connections", p.open);
        registry.register("tercet_connections_refused", "Connections refused at the bound of their port", p.refused);
        registry.register("tercet_connections_closed", "Connections closed by this side, by reason", p.closed);
        registry.register("tercet_unfinished_request_bytes", "Bytes of requests not whole yet", p.unfinished_bytes);
        registry.register("tercet_requests_unadmitted", "Requests refused before they were whole", p.unadmitted);
    }
}
