#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| smtp_checkpoint_fuzz::checks::pair::check(data));
