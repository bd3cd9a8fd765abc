//! A holder: reads an SD-JWT from the first argument, shows the claims named by the others (a dot goes one member down)
//! and prints the presentation. Without any, it lists what can be shown. No key binding here: `verifier` has that part.
//!
//! `cargo run -p oid4ac-sd-jwt --example holder -- '<SD-JWT>' given_name address.street_address`

use sd_jwt::{ClaimPath, HeldSdJwt, PathSegment};

#[expect(clippy::print_stdout, reason = "an example talks to its reader")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let token = arguments.next().ok_or("the first argument is an SD-JWT")?;
    // Some issuers leave the `~` out where there is nothing to disclose.
    let held = HeldSdJwt::parse(sd_jwt::complete(&token).into_owned())?;

    let wanted: Vec<ClaimPath> = arguments.map(|argument| argument.split('.').map(segment).collect()).collect();
    if wanted.is_empty() {
        held.disclosable().for_each(|path| println!("{path}"));
    } else {
        println!("{}", held.select(&wanted)?.as_str());
    }
    Ok(())
}

/// A number is a position in an array, everything else a member's name.
fn segment(text: &str) -> PathSegment {
    text.parse().map_or_else(|_| PathSegment::Member(text.to_owned()), PathSegment::Element)
}
