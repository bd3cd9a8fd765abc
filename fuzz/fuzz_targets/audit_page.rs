#![no_main]

libfuzzer_sys::fuzz_target!(init: fuzz::seed("audit_page"), |input: &[u8]| {
    let _ = fuzz::run("audit_page", input);
});
