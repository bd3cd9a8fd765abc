#![no_main]

libfuzzer_sys::fuzz_target!(init: fuzz::seed("dpop_verify"), |input: &[u8]| {
    let _ = fuzz::run("dpop_verify", input);
});
