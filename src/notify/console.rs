//! Being built.

use super::{Caps, Class, Delivery, Notifier, Receipt, Result};

/// Prints to standard output.
#[derive(Clone, Debug, Default)]
pub struct Console {}

impl Notifier for Console {
    const KIND: &'static str = "console";
    const CAPS: Caps = Caps {
        edit: false,
        threads: false,
        actions: false,
        class: Class::Blind,
        per_second: 100.0,
        burst: 100,
    };

    async fn send(&self, delivery: &Delivery<'_>) -> Result {
        Ok(Receipt { address: delivery.address.to_owned(), id: delivery.key.to_owned() })
    }
}
