//! The deterministic twin of the machine (see the parent module).
