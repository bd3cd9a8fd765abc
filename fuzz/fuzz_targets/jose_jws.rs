#![no_main]

libfuzzer_sys::fuzz_target!(init: fuzz::seed("jose_jws"), |input: &[u8]| {
    let _ = fuzz::run("jose_jws", input);
});
