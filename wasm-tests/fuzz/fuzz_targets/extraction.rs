//! See `authgate_fuzz::extraction`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| authgate_fuzz::extraction::run(data));
