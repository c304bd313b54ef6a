//! Metadata of Tercet's own, beside that of the RocketMQ API.

/// Of a publish: its producer's id, 32 hexadecimal digits.
pub const PRODUCER: &str = "x-tercet-producer";
/// Of a publish: the producer's epoch.
pub const EPOCH: &str = "x-tercet-producer-epoch";
/// Of a publish: the sequence of its first message.
pub const SEQUENCE: &str = "x-tercet-sequence";
/// Of a publish: the lowest sequence whose outcome the producer does not know and still wants. Without it the last results are
/// kept by their number.
pub const LOWEST: &str = "x-tercet-lowest";
/// Of a publish: `1` if an earlier try of the same messages may have been stored.
pub const AGAIN: &str = "x-tercet-again";
/// Of the answer to a publish: the broker group and the queues that the messages went to, run-length coded in message order
/// (`0:3*100,1*20`); a single number stands for all.
pub const QUEUES: &str = "x-tercet-queues";
/// Of an answer: `unknown` if it cannot be said that nothing was stored, `refused` if it surely was not.
pub const OUTCOME: &str = "x-tercet-outcome";
/// Of a route: `unknown` if the node knows no leader and names itself first.
pub const LEADER: &str = "x-tercet-leader";
/// Of the making of a consumer group: `1` if a subscription made it, and it may go when nobody uses it.
pub const AUTOMATIC: &str = "x-tercet-automatic";
