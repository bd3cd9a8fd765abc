#![no_main]

libfuzzer_sys::fuzz_target!(init: fuzz::seed("jose_jwk"), |input: &[u8]| {
    let _ = fuzz::run("jose_jwk", input);
});
