//! State to bytes and back: what a checkpoint costs a partition, and what it costs where partitions meet. Invariant: what is restored of a
//! window gives the same bytes again; figures are bytes a second, of GROUP BY without a window groups a second.

mod support;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use support::{Subject, WINDOWS, json, queries};
use thalweg_engine::contract::Operator;
use thalweg_engine::error::Result;
use thalweg_engine::plan::JobPlan;
use thalweg_engine::runtime::Replay;
use thalweg_replay::Database;

const GROUPS: u64 = 100_000;

/// A plan with so many groups and four calls.
fn grouped() -> Result<JobPlan> {
    let select = format!(
        "SELECT MOD(seq, {GROUPS}), COUNT(*), SUM(battery), AVG(temperature), MAX(temperature) FROM telemetry GROUP BY MOD(seq, {GROUPS})"
    );
    let script = [queries::telemetry("'format' = 'json'"), select];
    Ok(*Database::new()?.plan(&script.join(";\n"))?.expect("it reads the stream"))
}

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
    for threads in [1, 2] {
        let plan = JobPlan { parallelism: threads, ..grouped().expect("the query") };
        let begin = || Replay::new(&plan, 1, &[]).expect("a run");
        let mut running = begin();
        json().iter().for_each(|records| running.feed(0, records).expect("groups"));
        let state = running.snapshot().expect("state");
        let restored = || {
            let mut run = begin();
            run.restore(&state).expect("it fits");
            run
        };
        group.throughput(Throughput::Elements(GROUPS));
        group.bench_function(format!("{GROUPS} groups, taken by {threads}"), |b| b.iter(|| running.snapshot().expect("state")));
        group.bench_function(format!("{GROUPS} groups, restored by {threads}"), |b| b.iter(|| restored().counters().consumed));
    }
    group.finish();
}

criterion_group!(benches, benchmark);
criterion_main!(benches);
