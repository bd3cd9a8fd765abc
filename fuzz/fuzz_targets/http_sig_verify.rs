#![no_main]

libfuzzer_sys::fuzz_target!(init: fuzz::seed("http_sig_verify"), |input: &[u8]| {
    let _ = fuzz::run("http_sig_verify", input);
});
