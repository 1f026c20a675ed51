//! The desktop sink.
