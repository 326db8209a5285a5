//! What should come out, computed the slow way.

use std::collections::BTreeMap;

use super::*;

/// Watermark delay of the tests.
pub(super) const DELAY: i64 = 2 * SECOND;

/// Every window that `time` lies in, counted out; not for sessions. By end.
pub(super) fn windows_over(parameters: &WindowParameters, time: i64) -> Vec<(i64, i64)> {
    let offset = parameters.offset;
    let mut found = Vec::new();
    for n in -100..400 {
        match (parameters.kind.as_str(), parameters.sizes.as_slice()) {
            ("tumble", &[size]) => found.push((offset + n * size, offset + (n + 1) * size)),
            ("hop", &[slide, size]) => found.push((offset + n * slide, offset + n * slide + size)),
            ("cumulate", &[step, size]) => found.extend((1..=size / step).map(|k| (offset + n * size, offset + n * size + k * step))),
            other => panic!("{other:?}"),
        }
    }
    found.retain(|&(start, end)| (start..end).contains(&time));
    found.sort_by_key(|w| w.1);
    found
}

/// A row with the watermark before it in its partition.
fn with_watermarks(rows: &[Row]) -> Vec<(Row, i64)> {
    let mut watermark = i64::MIN;
    let before = |row: &Row| {
        let before = watermark;
        watermark = watermark.max(row.time - DELAY);
        (*row, before)
    };
    rows.iter().map(before).collect()
}

fn keys(row: &Row, keys: usize) -> Vec<Option<String>> {
    let all = [row.key.map(str::to_owned), row.value.map(|v| (v > 0.0).to_string())];
    all.into_iter().take(keys).collect()
}

/// A row and the windows that it counts in.
type Judged = (Row, Vec<(i64, i64)>);

/// What becomes of the rows of one partition: numbers of late rows, of rows between windows, and the windows of each other row.
fn judge(parameters: &WindowParameters, unit: i64, rows: &[Row]) -> (Vec<u64>, u64, Vec<Judged>) {
    let (mut late, mut nowhere, mut good) = (Vec::new(), 0, Vec::new());
    for (offset, (row, watermark)) in (0u64..).zip(with_watermarks(rows)) {
        if parameters.kind == "session" {
            if row.time <= watermark {
                late.push(offset)
            } else {
                good.push((row, Vec::new()))
            }
            continue;
        }
        let all = windows_over(parameters, row.time);
        let open: Vec<(i64, i64)> = all.iter().copied().filter(|w| w.1 - unit > watermark).collect();
        match (all.is_empty(), open.is_empty()) {
            (true, _) => nowhere += 1,
            (false, true) => late.push(offset),
            (false, false) => good.push((row, open)),
        }
    }
    (late, nowhere, good)
}

/// Late rows of each partition, number of rows between windows, and results in order.
pub(super) fn expected(
    (parameters, key_count, unit): (&WindowParameters, usize, i64),
    partitions: &[Vec<Row>],
) -> (Vec<Vec<u64>>, u64, Vec<Group>) {
    let (mut late, mut nowhere, mut members) = (Vec::new(), 0, BTreeMap::<_, Vec<Row>>::new());
    let mut sessions = BTreeMap::<_, Vec<Row>>::new();
    for rows in partitions {
        let (l, n, good) = judge(parameters, unit, rows);
        late.push(l);
        nowhere += n;
        for (row, windows) in good {
            if parameters.kind == "session" {
                sessions.entry(keys(&row, key_count)).or_default().push(row);
            }
            for (start, end) in windows {
                members.entry((end, start, keys(&row, key_count))).or_default().push(row);
            }
        }
    }
    for (key, mut rows) in sessions {
        rows.sort_by_key(|r| r.time);
        for session in rows.chunk_by(|a, b| b.time - a.time <= parameters.sizes[0]) {
            let end = session[session.len() - 1].time + parameters.sizes[0];
            members.insert((end, session[0].time, key.clone()), session.to_vec());
        }
    }
    (late, nowhere, members.into_iter().map(|(window, rows)| group(window, &rows)).collect())
}

fn group((end, start, keys): (i64, i64, Vec<Option<String>>), rows: &[Row]) -> Group {
    let values: Vec<f64> = rows.iter().filter_map(|r| r.value).collect();
    let sum = |values: &[f64]| values.iter().copied().reduce(|a, b| a + b);
    let positive: Vec<f64> = values.iter().copied().filter(|v| *v > 0.0).collect();
    Group {
        end,
        start,
        keys,
        count: values.len() as i64,
        sum: sum(&values).map(f64::to_bits),
        mean: sum(&values).map(|s| (s / values.len() as f64).to_bits()),
        positive: sum(&positive).map(f64::to_bits),
        text: values.iter().map(|v| text(*v)).min(),
    }
}
