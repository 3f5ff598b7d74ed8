//! What the fuzz targets run: the checks, and an allocator that counts.
//!
//! The checks are plain functions of octets, so that `tests/fuzz_seeds.rs` of the crate runs the
//! same ones over the committed seeds, without a fuzzer.

mod allocator;
pub mod checks;
