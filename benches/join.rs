//! Filter and join with the reference table, on one core. Invariant: what is measured is the steps of the queries between decoding and
//! window; figures are rows that enter them, a second.

mod support;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use support::{READINGS, Subject, push};
use thalweg_engine::contract::Output;

fn benchmark(c: &mut Criterion) {
    let mut group = c.benchmark_group("join");
    group.sample_size(20).throughput(Throughput::Elements(READINGS));
    for name in ["tumbling", "filter"] {
        let subject = Subject::new(name).expect("the query");
        let batches = subject.batches().expect("rows");
        group.bench_function(name, |b| {
            b.iter(|| {
                let (mut steps, mut out, mut left) = (subject.steps().expect("steps"), Output::default(), 0);
                for batch in &batches {
                    left += push(&mut steps, batch, &mut out).expect("a step").map_or(0, |b| b.rows.num_rows());
                }
                assert_eq!(left as u64 + out.counters.filtered, READINGS);
                left
            });
        });
    }
    group.finish();
}

criterion_group!(benches, benchmark);
criterion_main!(benches);
