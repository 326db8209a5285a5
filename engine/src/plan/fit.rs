//! Which state of an older plan a newer one takes over. Invariant: a part takes the state of a part that is equal to it, and each is
//! taken once; what differs is told in words that name the clause.

use super::layout::{ScanPart, StateLayout, StatePart};

/// How an older layout fits a newer one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fit {
    /// Of each scan of the newer one, the older that is equal to it.
    pub scans: Vec<Option<usize>>,
    /// Of each scan of the newer one, the older that it goes on from: the equal one, or one of the same table whose event times and
    /// watermarks were others. Of that it takes the position, and nothing else.
    pub places: Vec<Option<usize>>,
    /// The same of windows.
    pub windows: Vec<Option<usize>>,
    /// The same of steps.
    pub steps: Vec<Option<usize>>,
    /// What keeps the older state from being the newer one's, a sentence each; empty if it fits.
    pub differences: Vec<String>,
}

impl StateLayout {
    /// How state of `older` fits this one.
    pub fn fit(&self, older: &Self) -> Fit {
        let mut differences = Vec::new();
        let scans = matching(&self.scans, &older.scans, |new, old| new == old);
        differ(&self.scans, &older.scans, &scans, &mut differences);
        let places = places(&self.scans, &older.scans, &scans);
        let windows = matching(&self.windows, &older.windows, |(scan, new), (other, old)| scans[*scan] == Some(*other) && new == old);
        let part = |(_, part): &(usize, StatePart)| part.clone();
        let (new, old): (Vec<_>, Vec<_>) = (self.windows.iter().map(part).collect(), older.windows.iter().map(part).collect());
        differ(&new, &old, &windows, &mut differences);
        let steps = matching(&self.steps, &older.steps, |new, old| new == old);
        differ(&self.steps, &older.steps, &steps, &mut differences);
        Fit { scans, places, windows, steps, differences }
    }
}

/// Of each new part the first old one that is like it and that no other has taken.
fn matching<T>(new: &[T], old: &[T], is_like: impl Fn(&T, &T) -> bool) -> Vec<Option<usize>> {
    let mut taken = vec![false; old.len()];
    let mut find = |part: &T| {
        let found = (0..old.len()).find(|&i| !taken[i] && is_like(part, &old[i]))?;
        taken[found] = true;
        Some(found)
    };
    new.iter().map(&mut find).collect()
}

/// Scans without an equal one go on where a scan of the same table stood that nobody else goes on from.
fn places(new: &[ScanPart], old: &[ScanPart], equal: &[Option<usize>]) -> Vec<Option<usize>> {
    let mut places = equal.to_vec();
    for (at, scan) in new.iter().enumerate().filter(|(at, _)| equal[*at].is_none()) {
        let is_left = |i: &usize| !places.contains(&Some(*i)) && (&old[*i].stream, &old[*i].table) == (&scan.stream, &scan.table);
        let found = (0..old.len()).find(is_left);
        places[at] = found;
    }
    places
}

/// A part that can be compared in words.
trait Told {
    /// What it is, and what there is to say of it.
    fn told(&self) -> (String, Vec<(String, String)>);
}

impl Told for StatePart {
    fn told(&self) -> (String, Vec<(String, String)>) {
        (self.what.clone(), self.traits.clone())
    }
}

impl Told for ScanPart {
    fn told(&self) -> (String, Vec<(String, String)>) {
        let mut traits = vec![("stream".to_owned(), self.stream.clone()), ("table".to_owned(), self.table.clone())];
        traits.extend(self.part.traits.iter().cloned());
        (self.part.what.clone(), traits)
    }
}

/// Says what became of the parts that found no match: those of a kind are compared in their order.
fn differ<T: Told>(new: &[T], old: &[T], matches: &[Option<usize>], differences: &mut Vec<String>) {
    let mut left: Vec<(String, Vec<(String, String)>)> =
        (0..old.len()).filter(|i| !matches.contains(&Some(*i))).map(|i| old[i].told()).collect();
    for (what, now) in new.iter().zip(matches).filter(|(_, m)| m.is_none()).map(|(part, _)| part.told()) {
        match left.iter().position(|(other, _)| *other == what) {
            Some(at) => differences.push(changed(&what, &left.remove(at).1, &now)),
            None => differences.push(format!("there was no {what} {} before", brief(&now))),
        }
    }
    differences.extend(left.into_iter().map(|(what, traits)| format!("the {what} {} is no longer there", brief(&traits))));
}

fn changed(what: &str, before: &[(String, String)], now: &[(String, String)]) -> String {
    let value = |of: &[(String, String)], name: &str| of.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
    let mut names: Vec<&String> = before.iter().chain(now).map(|(name, _)| name).collect();
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert((*name).clone()));
    let none = || "none".to_owned();
    let said = |v: Option<String>| v.filter(|v| !v.is_empty()).unwrap_or_else(none);
    let mut differing = names.into_iter().filter(|name| value(before, name) != value(now, name));
    let told = |name: &String| {
        let (was, is) = if name.ends_with('s') { ("were", "are") } else { ("was", "is") };
        format!("the {what}'s {name} {was} {}, {is} now {}", said(value(before, name)), said(value(now, name)))
    };
    // The first one: what follows from it, such as the types of state, comes behind.
    differing.next().map_or_else(|| format!("the {what} stands over other rows"), told)
}

/// Enough to recognize a part.
fn brief(traits: &[(String, String)]) -> String {
    let known = traits.iter().filter(|(name, value)| !name.starts_with("type") && name != "precision" && !value.is_empty());
    let text: Vec<String> = known.take(4).map(|(name, value)| format!("{name} {value}")).collect();
    format!("({})", text.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(size: &str, keys: &str) -> (usize, StatePart) {
        let traits = [("kind", "tumble"), ("size", size), ("keys", keys), ("types of state", keys)];
        (0, StatePart { what: "window".into(), traits: traits.map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec() })
    }

    fn scan(stream: &str) -> ScanPart {
        let traits = vec![("event time".to_owned(), "ts".to_owned())];
        ScanPart { stream: stream.into(), table: stream.into(), part: StatePart { what: "scan".into(), traits } }
    }

    fn layout(windows: &[(usize, StatePart)]) -> StateLayout {
        StateLayout { scans: vec![scan("a")], windows: windows.to_vec(), steps: vec![], outputs: 1, rows: None }
    }

    #[test]
    fn parts_find_their_state_wherever_it_stood_and_each_is_taken_once() {
        let (ten, minute) = (window("10 s", "site"), window("60 s", "site"));
        let before = layout(&[ten.clone(), minute.clone(), ten.clone()]);
        let fit = layout(&[minute.clone(), ten.clone(), ten.clone()]).fit(&before);
        assert_eq!((fit.windows, fit.differences), (vec![Some(1), Some(0), Some(2)], Vec::<String>::new()));
        let fit = layout(&[ten.clone(), ten.clone(), ten]).fit(&before);
        assert_eq!(fit.windows, [Some(0), Some(2), None]);
    }

    #[test]
    fn a_difference_names_what_was_and_what_is() {
        let before = layout(&[window("10 s", "site")]);
        let told = |now: &StateLayout| now.fit(&before).differences;
        assert_eq!(told(&layout(&[window("30 s", "site")])), ["the window's size was 10 s, is now 30 s"]);
        assert_eq!(told(&layout(&[window("10 s", "")])), ["the window's keys were site, are now none"]);
        assert_eq!(told(&layout(&[])), ["the window (kind tumble; size 10 s; keys site) is no longer there"]);
        let more = layout(&[window("10 s", "site"), window("1 s", "site")]);
        assert_eq!(told(&more), ["there was no window (kind tumble; size 1 s; keys site) before"]);
        let other = StateLayout { scans: vec![scan("b")], ..before.clone() };
        assert_eq!(other.fit(&before).differences[0], "the scan's stream was a, is now b");
        assert_eq!(other.fit(&before).windows, [None], "a window over another stream is another window");
    }

    #[test]
    fn a_table_with_other_times_goes_on_where_it_stood_without_its_windows() {
        let later = |stream: &str| {
            let mut scan = scan(stream);
            scan.part.traits[0].1 = "sent".to_owned();
            scan
        };
        let of = |scans: Vec<ScanPart>| StateLayout { scans, ..layout(&[window("10 s", "site")]) };
        let fit = of(vec![later("a")]).fit(&of(vec![scan("a")]));
        assert_eq!((fit.scans, fit.places, fit.windows), (vec![None], vec![Some(0)], vec![None]));
        assert_eq!(fit.differences[0], "the scan's event time was ts, is now sent");
        // Each position is taken once, and by an equal scan first.
        let fit = of(vec![later("a"), scan("a"), later("b")]).fit(&of(vec![scan("a"), scan("c")]));
        assert_eq!(fit.places, [None, Some(0), None]);
    }
}
