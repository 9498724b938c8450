//! The faults, one function for each.

pub mod clients;
pub mod machines;
pub mod mail;
pub mod races;
pub mod storage;
