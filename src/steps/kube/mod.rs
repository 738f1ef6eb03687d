//! Steps that read Kubernetes.

pub mod events;
pub mod logs;
pub mod object;
pub mod pods;

mod passages;
mod selector;
mod text;
mod which;

pub(in crate::steps) use passages::pod_passages;
pub use selector::{LabelValue, Selector};
pub use text::{Pattern, Since};
pub use which::Role;
