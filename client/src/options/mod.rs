//! Settings: made by calls in a row, checked once when a client, producer or consumer is made.

mod client;
mod consumer;
mod credentials;
mod producer;
mod tls;

use std::ops::RangeInclusive;

use crate::error::Error;

pub use client::ClientOptions;
pub use consumer::ConsumerOptions;
pub use credentials::Credentials;
pub use producer::ProducerOptions;
pub use tls::TlsOptions;
pub(crate) use tls::{Pem, Trust};

fn within<T: PartialOrd + std::fmt::Debug>(
    name: &'static str,
    value: T,
    bounds: RangeInclusive<T>,
) -> Result<(), Error> {
    if bounds.contains(&value) {
        return Ok(());
    }
    refuse(name, format!("{value:?} is not within {:?} to {:?}", bounds.start(), bounds.end()))
}

fn refuse(name: &'static str, problem: impl Into<String>) -> Result<(), Error> {
    Err(Error::Setting { name, problem: problem.into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::Endpoint;

    #[test]
    fn defaults_are_within_their_bounds() {
        ClientOptions::new(Endpoint::parse_list("a:1").unwrap()).check().unwrap();
        ProducerOptions::new().check().unwrap();
        ConsumerOptions::new().check().unwrap();
    }

    #[test]
    fn a_setting_out_of_bounds_is_named() {
        let error = ProducerOptions::new().batch_messages_max(0).check().unwrap_err();
        assert_eq!(error.to_string(), "bad setting batch_messages_max: 0 is not within 1 to 1024");
        assert!(!error.can_retry());
        let error = ClientOptions::new(Vec::new()).check().unwrap_err();
        assert!(error.to_string().contains("endpoints"));
    }

    #[test]
    fn unfinished_sequences_fit_the_broker_s_memory_of_results() {
        let bounds = ProducerOptions::new().batch_messages_max(1024).requests_in_flight_max(4);
        bounds.check().unwrap();
        assert!(
            (bounds.batch_messages_max * bounds.requests_in_flight_max) as u64
                <= tercet_proto::limits::SEQUENCE_SPAN_MAX
        );
    }
}
