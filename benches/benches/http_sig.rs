//! A signed catalog, down to its cheapest item, beside its floor. `max alloc` is what is held beyond the body.

use benches::{Catalog, Job as _};
use divan::counter::BytesCount;
use divan::{AllocProfiler, Bencher};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

#[divan::bench(args = [100, 10_000])]
fn catalog(bencher: Bencher<'_, '_>, items: usize) {
    let job = Catalog::new(items);
    bencher.counter(BytesCount::new(job.octets())).bench_local(|| job.ours());
}

#[divan::bench(args = [100, 10_000])]
fn catalog_floor(bencher: Bencher<'_, '_>, items: usize) {
    let job = Catalog::new(items);
    bencher.counter(BytesCount::new(job.octets())).bench_local(|| job.floor());
}
