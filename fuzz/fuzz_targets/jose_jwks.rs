#![no_main]

libfuzzer_sys::fuzz_target!(init: fuzz::seed("jose_jwks"), |input: &[u8]| {
    let _ = fuzz::run("jose_jwks", input);
});
