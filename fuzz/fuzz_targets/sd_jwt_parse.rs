#![no_main]

libfuzzer_sys::fuzz_target!(init: fuzz::seed("sd_jwt_parse"), |input: &[u8]| {
    let _ = fuzz::run("sd_jwt_parse", input);
});
