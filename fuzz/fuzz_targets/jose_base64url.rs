#![no_main]

libfuzzer_sys::fuzz_target!(init: fuzz::seed("jose_base64url"), |input: &[u8]| {
    let _ = fuzz::run("jose_base64url", input);
});
