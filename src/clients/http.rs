//! Being built.

/// An HTTP client with the egress guard.
#[derive(Clone, Debug)]
pub struct Client {}
