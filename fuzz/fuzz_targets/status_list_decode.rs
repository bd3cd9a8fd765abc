#![no_main]

libfuzzer_sys::fuzz_target!(init: fuzz::seed("status_list_decode"), |input: &[u8]| {
    let _ = fuzz::run("status_list_decode", input);
});
