//! What an incident is. Pure and synchronous: no clock, no IO, no environment, no logging; time comes in as an argument.

pub mod alert;
pub mod card;
pub mod duration;
pub mod evidence;
pub mod expr;
pub mod ids;
pub mod incident;
pub mod matcher;
pub mod oncall;
pub mod redact;
pub mod schedule;
pub mod severity;
pub mod signature;
pub mod suggest;
pub mod target;
pub mod template;
pub mod verdict;
