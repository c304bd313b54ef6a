//! What the process counts, for Prometheus.
//!
//! Names that RocketMQ 5 has keep them (`rocketmq_...`), so that dashboards carry over; ours stand beside them
//! (`tercet_...`). Counters are written where things happen ([`Traffic`]); what is known anyway, such as the Raft
//! status, is read when somebody asks ([`ReplicaCollector`], [`RetentionCollector`], [`BacklogCollector`]).

mod backlog;
mod exposition;
mod lost_lines;
mod ports;
mod replica;
mod reserve;
mod retention;
mod tls;
mod traffic;

pub use backlog::{BacklogCollector, BacklogSources};
pub use exposition::{Exposition, NodeLabels};
pub use lost_lines::LostLinesCollector;
pub use ports::{Closed, Ports, Unadmitted};
pub use replica::{ReadStats, ReplicaCollector};
pub use reserve::ReserveCollector;
pub use retention::RetentionCollector;
pub use tls::TlsCounters;
pub use traffic::Traffic;
