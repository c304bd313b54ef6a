//! Which messages a receive asks for.

use std::collections::BTreeSet;

/// A filter by tags. The text is resolved to interned ids inside `apply`, so that tags with equal hashes are told
/// apart and a tag that nobody has used yet simply matches nothing (hazards 20).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagFilter {
    /// Every message, with and without a tag.
    All,
    /// Messages with one of these tags.
    Tags(BTreeSet<String>),
}
