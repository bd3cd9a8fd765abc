//! A DPoP proof beside one raw signature.

use benches::{Job as _, Mint};
use divan::Bencher;

fn main() {
    divan::main();
}

#[divan::bench]
fn mint(bencher: Bencher<'_, '_>) {
    let job = Mint::new();
    bencher.bench(|| job.ours());
}

#[divan::bench]
fn mint_floor(bencher: Bencher<'_, '_>) {
    let job = Mint::new();
    bencher.bench(|| job.floor());
}
