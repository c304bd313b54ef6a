//! Calls of the simulated disk as moments at which the thread that makes them may be held up; only whole simulated groups
//! have such threads.

/// The call is made: in a simulated process, whatever else it does may go on first.
macro_rules! at_disk {
    ($call:ident) => {
        #[cfg(tercet_sim)]
        crate::exec::at_disk(crate::sim::Call::$call);
    };
}

pub(super) use at_disk;
