//! What the parts of one consume stream share.

use std::sync::Arc;

use super::{super::node::Node, end::Ending, flow::Flow, outgoing::Outgoing};
use crate::{
    consume::{Delivered, Wanted},
    listen::Load,
    model::GroupName,
};

/// See the module.
pub(super) struct Session {
    pub(super) node: Arc<Node>,
    /// What each receive asks for, but for how much.
    pub(super) wanted: Wanted,
    pub(super) of: Delivered,
    pub(super) group: GroupName,
    pub(super) connection: Option<Arc<Load>>,
    pub(super) flow: Flow,
    pub(super) out: Outgoing,
    pub(super) ending: Ending,
}
