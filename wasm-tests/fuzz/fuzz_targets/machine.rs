//! See `authgate_fuzz::machine`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| authgate_fuzz::machine::run(data));
