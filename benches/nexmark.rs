//! How fast each query of Nexmark runs: a hundred thousand events, from payloads in memory to results, on one core; where keys can be
//! shared, by two threads too. Invariant: every query reads the same records, in batches of the same size; figures are events a second.

use criterion::{Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::time::Duration;
use thalweg_replay::Way;
use thalweg_replay::nexmark::{QUERIES, database, events, plan};

const EVENTS: usize = 100_000;

fn way(threads: usize) -> Way {
    Way { partitions: 1, batch: 8_192, restart_every: 0, threads: [threads; 2] }
}

fn benchmark(c: &mut Criterion) {
    let events = events(EVENTS);
    let mut group = c.benchmark_group("nexmark");
    group.sampling_mode(SamplingMode::Flat).sample_size(10).throughput(Throughput::Elements(EVENTS as u64));
    group.warm_up_time(Duration::from_millis(100)).measurement_time(Duration::from_secs(2));
    for number in QUERIES {
        let mut database = database(&events).expect("the tables");
        let plan = plan(&mut database, &format!("q{number}.sql")).expect("the query").expect("it reads the stream");
        let is_keyed = plan.steps.iter().any(|step| step.kind.keys().is_some());
        for threads in 1..=if is_keyed { 2 } else { 1 } {
            let rows = || database.replay(&plan, way(threads)).expect("it runs").0.iter().flatten().map(|c| c.len()).sum::<usize>();
            group.bench_function(format!("q{number}/{threads}"), |b| b.iter(|| black_box(rows())));
        }
    }
    group.finish();
}

criterion_group!(benches, benchmark);
criterion_main!(benches);
