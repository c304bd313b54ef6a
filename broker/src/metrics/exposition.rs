//! The registry of one process, and its text form.

use std::{borrow::Cow, fmt};

use prometheus_client::{encoding::text::encode, registry::Registry};

/// The labels that every metric of a process carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeLabels {
    /// The broker group as clients see it, or `nameserver`.
    pub cluster: String,
    /// `broker` or `nameserver`.
    pub node_type: &'static str,
    /// The node's number.
    pub node_id: String,
}

/// All metrics of a process.
pub struct Exposition(Registry);

impl Exposition {
    /// An empty registry; `register` fills it.
    #[must_use]
    pub fn new(labels: &NodeLabels, register: impl FnOnce(&mut Registry)) -> Exposition {
        let label = |name, value: &str| (Cow::Borrowed(name), Cow::Owned(value.to_owned()));
        let labels = [
            label("cluster", &labels.cluster),
            label("node_type", labels.node_type),
            label("node_id", &labels.node_id),
        ];
        let mut registry = Registry::with_labels(labels.into_iter());
        register(&mut registry);
        Exposition(registry)
    }

    /// All metrics in the OpenMetrics text format.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.0).expect("a String takes all text");
        text
    }
}

impl fmt::Debug for Exposition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exposition")
    }
}
