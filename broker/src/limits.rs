//! The one table of limits (hazards 26): every bound on sizes and counts that a request can meet, in bytes or items.
//!
//! They fit each other from the outside in: a body fits a request, a request's command fits an entry, an entry fits
//! what the log takes and sends to its peers. Settings may lower some of them, nothing may raise them without looking at the
//! whole table.
//!
//! ```text
//! body 4 MiB  <  publish command < 7 MiB  <  request, entry 8 MiB  <  raft_log::ENTRY_BYTES_LIMIT
//! ```

pub use tercet_proto::limits::{
    BODY_BYTES_MAX, MESSAGE_GROUP_BYTES_LIMIT, PROPERTIES_BYTES_MAX, PROPERTIES_MAX, RESERVED_PROPERTIES,
};

/// Largest gRPC request that the client port decodes.
pub const REQUEST_BYTES_MAX: usize = 8 << 20;
/// Requests that are not whole yet, of one connection and of all, in bytes; beyond it they are refused.
pub const CONNECTION_UNFINISHED_BYTES_MAX: usize = 64 << 20;
/// See [`CONNECTION_UNFINISHED_BYTES_MAX`].
pub const UNFINISHED_BYTES_MAX: usize = 128 << 20;
/// A request of at most so many bytes is small, and small ones that are not whole yet have a bound of their own.
pub const SMALL_REQUEST_BYTES_MAX: usize = 64 << 10;
/// See [`SMALL_REQUEST_BYTES_MAX`].
pub const SMALL_UNFINISHED_BYTES_MAX: usize = 32 << 20;
/// What the connections of a port may send ahead of what is read: about this much, shared by those that are open.
pub const WINDOWS_BYTES_MAX: usize = 256 << 20;
/// Largest gRPC answer that a node accepts from another when it forwards.
pub const ANSWER_BYTES_MAX: usize = 16 << 20;
/// Largest gRPC header list; more closes the connection.
pub const HEADERS_BYTES_MAX: u32 = 10 << 10;
/// What the batcher packs into one entry before it starts the next; one command always passes.
pub const ENTRY_BYTES_TARGET: usize = 1 << 20;
/// Largest entry of the log.
pub const ENTRY_BYTES_MAX: usize = 8 << 20;
/// Largest command with bodies: an entry has room for it, for a command of each other class, and for its own header.
pub const COMMAND_BYTES_MAX: usize = ENTRY_BYTES_MAX - 4 * SMALL_COMMAND_BYTES_MAX - (1 << 10);
/// Largest command without bodies.
pub const SMALL_COMMAND_BYTES_MAX: usize = 256 << 10;
/// What a command that waits costs beside its bytes, about: its place in line, its answer, the request that waits for it.
pub const COMMAND_OVERHEAD_BYTES: usize = 256;
/// Entries in flight between the batcher and the log.
pub const ENTRIES_IN_FLIGHT_MAX: usize = 4;
/// Publishes that wait in the batcher or are in flight, together, in bytes; beyond it: too many requests.
pub const PENDING_BYTES_MAX: usize = 64 << 20;
/// The same of acknowledgements, changes and renewals: a hundred thousand of one message each.
pub const SETTLE_PENDING_BYTES_MAX: usize = 32 << 20;
/// The same of receives; as many as may park fit.
pub const RECEIVE_PENDING_BYTES_MAX: usize = 64 << 20;
/// The same of administration, and of what happens by time.
pub const ADMINISTRATION_PENDING_BYTES_MAX: usize = 4 << 20;
/// The same of what keeps the log within its bounds; it is proposed one at a time.
pub const KEEP_PENDING_BYTES_MAX: usize = 16 << 20;
/// Requests of publish streams that are read and wait for room to be worked on, one of each stream, together, in bytes; beyond it they
/// are refused as calls are.
pub const STREAMS_WAITING_BYTES_MAX: usize = 64 << 20;
/// Requests that wait for a leader to be elected, together, in bytes.
pub const WAITING_BYTES_MAX: usize = 64 << 20;

/// Requests on their way to another node that leads, together, in bytes; beyond it: too many requests. Publishes leave a part
/// of it to all others.
pub const FORWARDED_BYTES_MAX: usize = 64 << 20;
/// Receives that one node forwards, and other calls, of each line; beyond it: too many requests.
pub const FORWARDED_RECEIVES_MAX: usize = 32_768;
/// A request on a consume stream: twice what settles as many messages as one may. Decoded, it is some tens of times as large.
pub const CONSUME_REQUEST_BYTES_MAX: usize = 512 << 10;
/// See [`FORWARDED_RECEIVES_MAX`].
pub const FORWARDED_CALLS_MAX: usize = 16_384;
/// Requests of one connection of the client port at once, parked receives among them.
pub const REQUESTS_PER_CONNECTION_MAX: u32 = 8192;

/// Messages of one send request.
pub const BATCH_MESSAGES_MAX: usize = 4096;
/// Message id, born host and trace context: each, in bytes.
pub const LABEL_BYTES_MAX: usize = 1 << 10;
/// Bytes of a client id.
pub const CLIENT_ID_BYTES_MAX: usize = 1 << 10;
/// Bytes of a filter expression.
pub const FILTER_BYTES_MAX: usize = 8 << 10;
/// Tags that one filter names.
pub const FILTER_TAGS_MAX: usize = 256;
/// Characters of a receipt handle.
pub const HANDLE_CHARS_MAX: usize = 256;

/// Bodies of answers that one connection has not taken, and those of all connections, in bytes; beyond it deliveries wait.
pub const CONNECTION_ANSWERS_BYTES_MAX: usize = 32 << 20;
/// See [`CONNECTION_ANSWERS_BYTES_MAX`].
pub const ANSWERS_BYTES_MAX: usize = 128 << 20;
/// Messages of one receive.
pub const RECEIVE_MESSAGES_MAX: usize = 32;
/// Messages of one receive for a consume stream.
pub const STREAM_RECEIVE_MESSAGES_MAX: usize = 1024;
/// Bytes of one batch on a consume stream; a message always passes.
pub const STREAM_BATCH_BYTES: usize = 256 << 10;
/// Messages of credit that one consume stream keeps, and of what it pushed and nobody confirmed.
pub const STREAM_CREDIT_MESSAGES_MAX: u64 = 16_384;
/// Messages that all consume streams pushed and nobody confirmed; a reference of 32 bytes is kept of each. Beyond it they wait.
pub const STREAM_REFERENCES_MAX: u64 = 1 << 20;
/// Messages of all consume streams of which is being written what became of them; beyond it what else is said waits.
pub const STREAM_SETTLING_MESSAGES_MAX: usize = 1 << 18;
/// Bytes of credit that one consume stream keeps.
pub const STREAM_CREDIT_BYTES_MAX: u64 = CONNECTION_ANSWERS_BYTES_MAX as u64;
/// Bytes that one receive reads from the log at a time; a larger answer is read as the client takes it.
pub const RECEIVE_READ_BYTES: usize = 1 << 20;
/// Entries that deliveries read last and keep, in bytes.
pub const RECENT_ENTRIES_BYTES_MAX: usize = 16 << 20;
/// Entries of one acknowledgement.
pub const ACK_ENTRIES_MAX: usize = 4096;
/// Receives that park on one node.
pub const PARKED_MAX: usize = 100_000;
/// Client sessions that one node keeps.
pub const SESSIONS_MAX: usize = 100_000;
/// Topics or subscriptions of one client's settings.
pub const SETTINGS_TOPICS_MAX: usize = 1024;
/// Clients whose deliveries one command renews.
pub const RENEWALS_MAX: usize = 4096;

const _: () = {
    assert!(BODY_BYTES_MAX + PROPERTIES_BYTES_MAX + (64 << 10) < COMMAND_BYTES_MAX, "one message always fits");
    assert!(BODY_BYTES_MAX < REQUEST_BYTES_MAX);
    assert!(COMMAND_BYTES_MAX < ENTRY_BYTES_MAX && ENTRY_BYTES_MAX <= raft_log::ENTRY_BYTES_LIMIT);
    assert!(REQUEST_BYTES_MAX < ANSWER_BYTES_MAX && REQUEST_BYTES_MAX < STREAMS_WAITING_BYTES_MAX);
    assert!(SMALL_REQUEST_BYTES_MAX < REQUEST_BYTES_MAX && REQUEST_BYTES_MAX < CONNECTION_UNFINISHED_BYTES_MAX);
    assert!(CONNECTION_UNFINISHED_BYTES_MAX < UNFINISHED_BYTES_MAX, "one connection cannot take all of it");
    assert!(FORWARDED_CALLS_MAX >= REQUESTS_PER_CONNECTION_MAX as usize && FORWARDED_RECEIVES_MAX <= PARKED_MAX);
    assert!(ENTRY_BYTES_TARGET < COMMAND_BYTES_MAX && COMMAND_BYTES_MAX < PENDING_BYTES_MAX);
    assert!(ACK_ENTRIES_MAX * 32 < SMALL_COMMAND_BYTES_MAX && RENEWALS_MAX * 8 + 64 < SMALL_COMMAND_BYTES_MAX);
    assert!(ACK_ENTRIES_MAX <= STREAM_SETTLING_MESSAGES_MAX && STREAM_CREDIT_MESSAGES_MAX <= STREAM_REFERENCES_MAX / 4);
    assert!(SMALL_COMMAND_BYTES_MAX < ADMINISTRATION_PENDING_BYTES_MAX && COMMAND_BYTES_MAX < KEEP_PENDING_BYTES_MAX);
};
