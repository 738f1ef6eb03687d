//! Being built.

/// A client.
#[derive(Clone, Debug)]
pub struct Client {}
