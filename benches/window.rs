//! Rows into windows and out of them, in one partition on one core. Invariant: every window is closed in each run; figures are rows that
//! reach the window, a second.

mod support;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use support::{Subject, WINDOWS};
use thalweg_engine::contract::{Operator, Output};

fn benchmark(c: &mut Criterion) {
    let mut group = c.benchmark_group("window");
    group.sample_size(20);
    for name in WINDOWS {
        let subject = Subject::new(name).expect("the query");
        let batches = subject.windowed().expect("rows");
        let rows: usize = batches.iter().map(|b| b.rows.num_rows()).sum();
        group.throughput(Throughput::Elements(rows as u64));
        group.bench_function(name, |b| {
            b.iter(|| {
                let (mut window, mut out) = (subject.window().expect("a window"), Output::default());
                for batch in &batches {
                    window.push(batch.clone(), &mut out).expect("aggregates");
                }
                window.advance(i64::MAX, &mut out).expect("closes");
                assert_eq!(out.counters.aggregated, rows as u64);
                out.emissions.len()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, benchmark);
criterion_main!(benches);
