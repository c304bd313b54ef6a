//! Limits of messages: what brokers refuse, and clients know beforehand.

/// Largest body, in bytes.
pub const BODY_BYTES_MAX: usize = 4 << 20;
/// User properties of one message.
pub const PROPERTIES_MAX: usize = 128;
/// Tag, keys and user properties of one message, together, in bytes.
pub const PROPERTIES_BYTES_MAX: usize = 16 << 10;
/// A message group is shorter than this, in bytes.
pub const MESSAGE_GROUP_BYTES_LIMIT: usize = 64;
/// Longest name of a topic, in characters, all of them ASCII.
pub const TOPIC_CHARS_MAX: usize = 127;
/// Longest name of a consumer group, in characters, all of them ASCII.
pub const GROUP_CHARS_MAX: usize = 120;
/// The broker keeps the results of so many sequences of a producer: unfinished ones lie within it.
pub const SEQUENCE_SPAN_MAX: u64 = 4096;

/// Names that no user property may have, because RocketMQ keeps them for its own use; sorted.
pub const RESERVED_PROPERTIES: [&str; 55] = [
    "BORN_TIMESTAMP",
    "BUYER_ID",
    "CLUSTER",
    "CONSUME_START_TIME",
    "CORRELATION_ID",
    "DELAY",
    "DLQ_ORIGIN_MESSAGE_ID",
    "DLQ_ORIGIN_TOPIC",
    "EXTEND_UNIQ_INFO",
    "FIRST_POP_TIME",
    "INNER_MULTI_DISPATCH",
    "INNER_MULTI_QUEUE_OFFSET",
    "INNER_NUM",
    "INSTANCE_ID",
    "KEYS",
    "MAX_OFFSET",
    "MIN_OFFSET",
    "MQ-CONSUME-DELAY-LEVEL",
    "MSG_REGION",
    "MSG_TYPE",
    "ORIGIN_GROUP",
    "ORIGIN_MESSAGE_ID",
    "PGROUP",
    "POP_CK",
    "POP_CK_OFFSET",
    "PUSH_REPLY_TIME",
    "REAL_QID",
    "REAL_TOPIC",
    "RECONSUME_TIME",
    "REPLY_TO_CLIENT",
    "RETRY_TOPIC",
    "TAGS",
    "TIMER_DELAY_LEVEL",
    "TIMER_DELAY_MS",
    "TIMER_DELAY_SEC",
    "TIMER_DELETE_UNIQKEY",
    "TIMER_DELIVER_MS",
    "TIMER_DEQUEUE_MS",
    "TIMER_ENQUEUE_MS",
    "TIMER_OUT_MS",
    "TIMER_ROLL_TIMES",
    "TRACE_ON",
    "TRANSACTION_CHECK_TIMES",
    "TRANSACTION_PREPARED_QUEUE_OFFSET",
    "TRANSFER_FLAG",
    "TRAN_MSG",
    "TRAN_PREPARED_QUEUE_OFFSET",
    "TTL",
    "UNIQ_KEY",
    "WAIT",
    "__CHECK_IMMUNITY_TIME_IN_SECONDS",
    "__SHARDINGKEY",
    "__STARTDELIVERTIME",
    "__transactionId__",
    "__transientGroupConfig",
];
