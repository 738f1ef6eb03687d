//! Tracing output: readable lines on a terminal, JSON elsewhere; always on stderr.
