//! The certificate of the client port.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

/// Counters of whoever reads the certificate. Cheap to clone: clones count together.
#[derive(Clone, Debug, Default)]
pub struct TlsCounters {
    not_after: Gauge,
    read: Family<OutcomeLabels, Counter>,
}

impl TlsCounters {
    /// A certificate is in use that ends at this time, in seconds since 1970, if it says so.
    pub fn loaded(&self, not_after: Option<u64>) {
        self.not_after.set(not_after.and_then(|time| i64::try_from(time).ok()).unwrap_or(0));
        self.read.get_or_create(&OutcomeLabels { outcome: "used" }).inc();
    }

    /// The files could not be used.
    pub fn refused(&self) {
        self.read.get_or_create(&OutcomeLabels { outcome: "refused" }).inc();
    }

    /// When the certificate in use ends, in seconds since 1970; 0 if that is not known.
    #[must_use]
    pub fn not_after(&self) -> i64 {
        self.not_after.get()
    }

    /// How often the files could not be used.
    #[must_use]
    pub fn refusals(&self) -> u64 {
        self.read.get_or_create(&OutcomeLabels { outcome: "refused" }).get()
    }

    /// Puts all of it into a registry.
    pub fn register(&self, registry: &mut Registry) {
        let help = "When the certificate that the client port shows ends, in seconds since 1970";
        registry.register("tercet_tls_certificate_not_after_seconds", help, self.not_after.clone());
        let help = "How often the files of the certificate were read, by whether they could be used";
        registry.register("tercet_tls_certificate_reads", help, self.read.clone());
    }
}
