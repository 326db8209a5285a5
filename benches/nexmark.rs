//! How fast each query of Nexmark runs: a hundred thousand events, from payloads in memory to results, on one core. Invariant: every
//! query reads the same records, in batches of the same size; figures are events a second.

use criterion::{Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::time::Duration;
use thalweg_replay::Way;
use thalweg_replay::nexmark::{QUERIES, database, events, plan};

const EVENTS: usize = 100_000;
const WAY: Way = Way { partitions: 1, batch: 8_192, restart_every: 0, threads: [1, 1] };

fn benchmark(c: &mut Criterion) {
    let events = events(EVENTS);
    let mut group = c.benchmark_group("nexmark");
    group.sampling_mode(SamplingMode::Flat).sample_size(10).throughput(Throughput::Elements(EVENTS as u64));
    group.warm_up_time(Duration::from_millis(100)).measurement_time(Duration::from_secs(2));
    for number in QUERIES {
        let mut database = database(&events).expect("the tables");
        let plan = plan(&mut database, &format!("q{number}.sql")).expect("the query").expect("it reads the stream");
        group.bench_function(format!("q{number}"), |b| {
            b.iter(|| black_box(database.replay(&plan, WAY).expect("it runs").0.iter().flatten().map(|c| c.len()).sum::<usize>()));
        });
    }
    group.finish();
}

criterion_group!(benches, benchmark);
criterion_main!(benches);
