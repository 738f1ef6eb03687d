//! Comparing secrets in constant time.

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// A secret's SHA-256: all of one length, so that a comparison tells nothing of the secret's own.
#[derive(Clone)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Of a secret.
    pub fn of(secret: &[u8]) -> Self {
        Self(Sha256::digest(secret).into())
    }

    /// True for equal secrets.
    pub fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}
