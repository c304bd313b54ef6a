//! What a few messages carry beside queue, group and tag.

/// Marks of a message; each is absent from the bytes of a message that does not have it.
///
/// No client sets one yet and nothing acts on one: the fields are kept, so that what acts on them changes no format. What
/// will hold for them:
/// - A time to live is judged when the message is picked, by the stamp of the picking entry; no timer runs for it.
/// - Each (queue, priority) will have offsets, and a frontier of each group, of its own. So the priority names the lane that a
///   message is put into; it is no property by which messages of one lane are sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// The priority; 0 is none.
    pub priority: u8,
    /// For how long it may be picked after it became visible in its queue, in milliseconds; 0 is for ever.
    pub live_ms: u64,
    /// How it is delivered (at a time, by a commit, by a schedule); 0 is at once.
    pub delivery: u8,
    /// Hash of the key by which it is found; 0 is none.
    pub key_hash: u64,
}

impl Marks {
    /// Those of nearly all messages.
    pub const NONE: Marks = Marks { priority: 0, live_ms: 0, delivery: 0, key_hash: 0 };
}
