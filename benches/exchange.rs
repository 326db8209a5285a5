//! Where partitions meet: partial results of two of them become windows. Invariant: both partitions hold the same devices, which is the
//! worst case; figures are groups of partial results, a second.

mod support;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use support::{Subject, WINDOWS};
use thalweg_engine::contract::{Emission, Operator};
use thalweg_engine::operators::window::WindowMerge;

fn benchmark(c: &mut Criterion) {
    let mut group = c.benchmark_group("exchange");
    group.sample_size(20);
    for name in WINDOWS {
        let subject = Subject::new(name).expect("the query");
        let (mut window, mut out) = subject.filled().expect("aggregates");
        window.advance(i64::MAX, &mut out).expect("closes");
        let groups: usize = out.emissions.iter().map(groups).sum();
        group.throughput(Throughput::Elements(2 * groups as u64));
        let input = &subject.plan.inputs[0];
        let new = || WindowMerge::new(input.window.clone().expect("the query has a window"), input.unit).expect("a merge");
        group.bench_function(name, |b| {
            b.iter_batched(
                new,
                |mut merge| {
                    for partition in 0..2 {
                        out.emissions.iter().for_each(|e| merge.add(partition, e.clone()).expect("it fits"));
                    }
                    let closed = merge.close(i64::MAX).expect("windows");
                    closed.iter().map(|c| c.result.num_rows()).sum::<usize>()
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

fn groups(emission: &Emission) -> usize {
    match emission {
        Emission::Rows(rows) => rows.num_rows(),
        Emission::Pane { partial, .. } => partial.num_rows(),
        Emission::Sessions { closed, .. } => closed.num_rows(),
    }
}

criterion_group!(benches, benchmark);
criterion_main!(benches);
