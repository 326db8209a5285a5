//! What is measured again and again, and whether it grows. Invariant: a slope comes with its 95 % interval, which is wider if
//! neighbouring samples resemble each other; a leak is an interval that lies above 0.

use std::path::Path;

/// One look at the process and at what its users saw since the last one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sample {
    /// Seconds since the load began.
    pub at: f64,
    /// Memory that is in use, in MiB.
    pub memory: f64,
    /// Open descriptors.
    pub descriptors: f64,
    /// Threads.
    pub threads: f64,
    /// Size of the data directory in MiB.
    pub disk: f64,
    /// Acknowledgement, p99 in milliseconds.
    pub acknowledged: f64,
    /// From sending to the result, p99 in milliseconds.
    pub seen: f64,
    /// Records acknowledged in a second.
    pub rate: f64,
}

/// A name, and the figure of that name.
pub type Watched = (&'static str, fn(&Sample) -> f64);

/// What must not grow, by name.
pub const WATCHED: &[Watched] = &[
    ("acknowledgement p99, ms", |s| s.acknowledged),
    ("descriptors", |s| s.descriptors),
    ("end to end p99, ms", |s| s.seen),
    ("memory, MiB", |s| s.memory),
    ("threads", |s| s.threads),
];

/// A slope an hour, and half the width of its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slope {
    /// How much more in an hour.
    pub hourly: f64,
    /// Plus or minus.
    pub margin: f64,
}

impl Slope {
    /// Least squares over points (seconds, value); `None` for fewer than five. Residuals that follow one another make the
    /// interval wider, as many fewer independent samples would.
    pub fn of(points: &[(f64, f64)]) -> Option<Self> {
        let n = points.len() as f64;
        if points.len() < 5 {
            return None;
        }
        let mean = |f: fn(&(f64, f64)) -> f64| points.iter().map(f).sum::<f64>() / n;
        let (x, y) = (mean(|p| p.0), mean(|p| p.1));
        let spread: f64 = points.iter().map(|p| (p.0 - x).powi(2)).sum();
        let slope = points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum::<f64>() / spread;
        let residuals: Vec<f64> = points.iter().map(|p| p.1 - y - slope * (p.0 - x)).collect();
        let squares: f64 = residuals.iter().map(|r| r * r).sum();
        let following: f64 = residuals.windows(2).map(|pair| pair[0] * pair[1]).sum();
        let likeness = if squares > 0.0 { (following / squares).clamp(0.0, 0.95) } else { 0.0 };
        let error = (squares / (n - 2.0) / spread * (1.0 + likeness) / (1.0 - likeness)).sqrt();
        Some(Self { hourly: slope * 3600.0, margin: error * student(points.len() - 2) * 3600.0 })
    }

    /// Whether the interval lies above 0.
    pub fn grows(&self) -> bool {
        self.hourly - self.margin > 1e-9
    }

    /// Whether the interval contains 0.
    pub fn contains_zero(&self) -> bool {
        self.hourly.abs() <= self.margin + 1e-9
    }
}

/// The 97.5 % point of Student's distribution.
fn student(freedom: usize) -> f64 {
    match freedom {
        0..=3 => 3.18,
        4 => 2.78,
        5 => 2.57,
        6..=7 => 2.45,
        8..=10 => 2.31,
        11..=15 => 2.2,
        16..=30 => 2.12,
        31..=60 => 2.04,
        _ => 2.0,
    }
}

/// What the system says of a process: memory in MiB, threads, descriptors.
pub fn process(id: u32) -> Result<(f64, f64, f64), String> {
    let place = format!("/proc/{id}");
    let failed = |e: std::io::Error| format!("{place}: {e}");
    let status = std::fs::read_to_string(format!("{place}/status")).map_err(failed)?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<f64>().ok()
    };
    let descriptors = std::fs::read_dir(format!("{place}/fd")).map_err(failed)?.count();
    let (memory, threads) = (field("VmRSS:"), field("Threads:"));
    Ok((memory.unwrap_or(0.0) / 1024.0, threads.unwrap_or(0.0), descriptors as f64))
}

/// Size of everything below a directory in MiB. What goes away meanwhile does not count.
pub fn size(directory: &Path) -> f64 {
    let (mut pending, mut bytes) = (vec![directory.to_owned()], 0);
    while let Some(directory) = pending.pop() {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(found) if found.is_dir() => pending.push(entry.path()),
                Ok(found) => bytes += found.len(),
                Err(_) => {}
            }
        }
    }
    bytes as f64 / 1024.0 / 1024.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Between -5 and 5, and one value says nothing of the next.
    fn noise(i: f64) -> f64 {
        ((i * 12.9898).sin() * 43_758.545_3).fract().abs() * 10.0 - 5.0
    }

    fn points(value: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
        (0..60).map(|i| (f64::from(i) * 10.0, value(f64::from(i)))).collect()
    }

    #[test]
    fn growth_is_told_from_noise() {
        let flat = Slope::of(&points(noise)).unwrap();
        assert!(flat.contains_zero() && !flat.grows(), "{flat:?}");
        let leak = Slope::of(&points(|i| 100.0 + i / 2.0 + noise(i))).unwrap();
        assert!(leak.grows() && (leak.hourly - 180.0).abs() < 30.0, "{leak:?}");
        let still = Slope::of(&points(|_| 12.0)).unwrap();
        assert!(still.contains_zero() && !still.grows(), "{still:?}");
        let falls = Slope::of(&points(|i| 100.0 - i)).unwrap();
        assert!(!falls.contains_zero() && !falls.grows(), "{falls:?}");
        assert_eq!(Slope::of(&[(0.0, 1.0); 4]), None);
    }

    #[test]
    fn samples_that_follow_one_another_say_less() {
        let wave = Slope::of(&points(|i| (i / 9.0).sin() * 5.0)).unwrap();
        let noise = Slope::of(&points(noise)).unwrap();
        assert!(wave.margin > 2.0 * noise.margin, "{wave:?} {noise:?}");
    }

    #[test]
    fn the_own_process_can_be_looked_at() {
        let (memory, threads, descriptors) = process(std::process::id()).unwrap();
        assert!(memory > 1.0 && threads >= 1.0 && descriptors >= 3.0);
        let temp = tempfile::tempdir().unwrap();
        std::fs::create_dir(temp.path().join("a")).unwrap();
        std::fs::write(temp.path().join("a/b"), vec![0; 1 << 20]).unwrap();
        assert!((1.0..1.1).contains(&size(temp.path())));
    }
}
