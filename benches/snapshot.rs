//! State to bytes and back: what a checkpoint costs a partition. Invariant: what is restored gives the same bytes again; figures are bytes
//! a second.

mod support;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use support::{Subject, WINDOWS};
use thalweg_engine::contract::Operator;

fn benchmark(c: &mut Criterion) {
    let mut group = c.benchmark_group("snapshot");
    group.sample_size(20);
    for name in WINDOWS {
        let subject = Subject::new(name).expect("the query");
        let (mut window, _) = subject.filled().expect("aggregates");
        let state = window.snapshot().expect("state");
        let restored = || {
            let mut window = subject.window().expect("a window");
            window.restore(&state).expect("it fits");
            window
        };
        assert_eq!(restored().snapshot().expect("state"), state, "{name}");
        group.throughput(Throughput::Bytes(state.len() as u64));
        group.bench_function(format!("{name}, taken"), |b| b.iter(|| window.snapshot().expect("state").len()));
        group.bench_function(format!("{name}, restored"), |b| b.iter(|| restored().open_rows()));
    }
    group.finish();
}

criterion_group!(benches, benchmark);
criterion_main!(benches);
