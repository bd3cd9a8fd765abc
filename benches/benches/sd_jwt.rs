//! Presenting and verifying an SD-JWT beside their floors.

use benches::{Job as _, Present, VerifyPresentation};
use divan::Bencher;

fn main() {
    divan::main();
}

#[divan::bench]
fn present(bencher: Bencher<'_, '_>) {
    let job = Present::new();
    bencher.bench_local(|| job.ours());
}

#[divan::bench]
fn present_floor(bencher: Bencher<'_, '_>) {
    let job = Present::new();
    bencher.bench_local(|| job.floor());
}

#[divan::bench]
fn verify(bencher: Bencher<'_, '_>) {
    let job = VerifyPresentation::new();
    bencher.bench_local(|| job.ours());
}

#[divan::bench]
fn verify_floor(bencher: Bencher<'_, '_>) {
    let job = VerifyPresentation::new();
    bencher.bench_local(|| job.floor());
}
