//! Where requests go: the nodes that are known, who leads, and who failed lately.
//!
//! Every node serves every request, so a route is an order of preference and never a precondition: the leader first
//! (it saves the hop), then the other replicas, then the endpoints that the application gave.

mod table;
mod wire;

pub(crate) use table::{Fault, Route, RouteTable};
pub(crate) use wire::{endpoints_of_groups, route_of};
