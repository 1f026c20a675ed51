//! The contract test kit.
