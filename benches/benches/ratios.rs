//! How far each job is from its floor: both are timed in turns, so that a noisy machine disturbs both alike, and the
//! median of the pairs' ratios is printed beside the goal. Nothing fails here: a figure informs, it does not judge.
//! `cargo bench -p benches --bench ratios -- present` times the jobs whose name has that word.
#![expect(clippy::print_stdout, reason = "this is a report")]

use std::time::{Duration, Instant};

use benches::{AuditChain, Catalog, Job, Mint, Present, VerifyPresentation};

fn main() {
    println!("{:<36} {:>10} {:>10} {:>7} {:>7}", "job", "floor", "ours", "ratio", "goal");
    report("DPoP mint", 1.12, &Mint::new());
    report("SD-JWT present, 2 of 5", 1.12, &Present::new());
    report("SD-JWT+KB verify, 25 claims", 1.2, &VerifyPresentation::new());
    report("signed catalog, 100 items", 1.2, &Catalog::new(100));
    report("signed catalog, 10,000 items", 1.1, &Catalog::new(10_000));
    report("audit chain, 200 entries", 7.2, &AuditChain::new(200));
    report("audit chain, 10,000 entries", 7.2, &AuditChain::new(10_000));
}

fn report(name: &str, goal: f64, job: &dyn Job) {
    let mut words = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).peekable();
    if words.peek().is_some() && !words.any(|word| name.contains(&word)) {
        return;
    }
    let batch = batch(job);
    let mut pairs: Vec<_> = (0..PAIRS).map(|turn| pair(job, batch, turn % 2 == 0)).collect();
    let median = |pairs: &mut [(f64, f64)], of: fn(&(f64, f64)) -> f64| {
        pairs.sort_by(|a, b| of(a).total_cmp(&of(b)));
        of(&pairs[PAIRS / 2])
    };
    let floor = median(&mut pairs, |pair| pair.0);
    let ours = median(&mut pairs, |pair| pair.1);
    let ratio = median(&mut pairs, |pair| pair.1 / pair.0);
    println!("{name:<36} {floor:>7.1} µs {ours:>7.1} µs {ratio:>6.3}x {goal:>6.2}x");
}

/// Microseconds per call of floor and ours, one right after the other, in either order.
fn pair(job: &dyn Job, batch: u32, floor_first: bool) -> (f64, f64) {
    let (floor, ours) = match floor_first {
        true => {
            let floor = time(batch, || job.floor());
            (floor, time(batch, || job.ours()))
        }
        false => {
            let ours = time(batch, || job.ours());
            (time(batch, || job.floor()), ours)
        }
    };
    let micros = |total: Duration| total.as_secs_f64() * 1e6 / f64::from(batch);
    (micros(floor), micros(ours))
}

/// So many calls that one measurement takes about two milliseconds, and the clock's own cost does not show.
fn batch(job: &dyn Job) -> u32 {
    let once = time(16, || job.floor()) / 16;
    u32::try_from(Duration::from_millis(2).as_nanos() / once.as_nanos().max(1)).unwrap_or(u32::MAX).max(1)
}

#[expect(clippy::disallowed_methods, reason = "measuring time is what this is for")]
fn time(batch: u32, work: impl Fn()) -> Duration {
    let start = Instant::now();
    (0..batch).for_each(|_| work());
    start.elapsed()
}

const PAIRS: usize = 401;
