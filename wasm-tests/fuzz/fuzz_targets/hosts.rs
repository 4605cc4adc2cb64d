//! See `authgate_fuzz::hosts`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| authgate_fuzz::hosts::run(data));
