//! Stories against the real servers.
