//! Stories across modules, against strict fakes over HTTP.

mod oncall;
