//! The settings of a consumer group, as they are shown.

use serde::Serialize;
use tercet_client::{ConsumerGroup, Start};

use super::super::output;

#[derive(Debug, Serialize)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) fifo: bool,
    pub(super) max_attempts: u32,
    pub(super) from: String,
}

impl Group {
    pub(super) fn of(group: ConsumerGroup) -> Group {
        let from = match group.start {
            Start::Last => "last".to_owned(),
            Start::At(time) => output::time_text(time),
            _ => "first".to_owned(),
        };
        Group { name: group.name, fifo: group.fifo, max_attempts: group.max_attempts, from }
    }
}
