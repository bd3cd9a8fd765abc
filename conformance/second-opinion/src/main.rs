//! Second opinions: josekit, jsonwebtoken and httpsig verify what our crates sign, and our crates verify what they sign.
//!
//! Where one of them accepts what a standard forbids, or refuses what it allows, the check is named `differs: ...` and its
//! comment says why we do otherwise. Such a check fails when the other side has changed, so that it can go.
//!
//! ```sh
//! cargo run --manifest-path conformance/second-opinion/Cargo.toml
//! ```

use std::process::ExitCode;

mod artefacts;
mod count;
mod httpsig;
mod josekit;
mod jsonwebtoken;

use count::Count;

fn main() -> anyhow::Result<ExitCode> {
    let counts = [josekit::run()?, jsonwebtoken::run()?, httpsig::run()?];
    for Count { name, passed, failed } in &counts {
        println!("{name}: {passed} passed, {failed} failed, 0 skipped");
    }
    let passed: u32 = counts.iter().map(|count| count.passed).sum();
    let failed: u32 = counts.iter().map(|count| count.failed).sum();
    println!("{passed} passed, {failed} failed, 0 skipped");
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
