//! Which messages a receive asks for.

use std::collections::BTreeSet;

/// A filter by tags. Compared by their [keys](super::TagKey), which the index holds (hazards 20).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagFilter {
    /// Every message, with and without a tag.
    All,
    /// Messages with one of these tags.
    Tags(BTreeSet<String>),
}
