//! What the followers of a node hold: nothing that anybody asks for, outside of the simulation.

#[derive(Default)]
pub(crate) struct Acknowledged {}
