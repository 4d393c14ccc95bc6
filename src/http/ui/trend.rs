//! How many models were in which position, day by day: small lines, and the same as a table.

use std::{collections::BTreeMap, fmt::Write as _};

use super::format::{self, Mark};
use crate::license::db::TrendPoint;

const WIDTH: i32 = 180;
const HEIGHT: i32 = 34;
/// Positions that have a line, the gravest first.
const SHOWN: [&str; 4] = ["violation", "incomplete", "review", "clear"];
/// Positions of the table.
const COLUMNS: [&str; 6] = ["violation", "incomplete", "review", "notice", "clear", "unknown"];

/// A line of one position.
pub(super) struct Line {
    pub(super) mark: Mark,
    pub(super) svg: String,
    pub(super) now: String,
    /// `33 fewer than on 2026-01-02`.
    pub(super) change: String,
}

/// The last days.
pub(super) struct Trend {
    pub(super) lines: Vec<Line>,
    pub(super) columns: [&'static str; 6],
    pub(super) days: Vec<(String, Vec<String>)>,
}

/// Makes lines and table from points.
pub(super) fn build(points: &[TrendPoint]) -> Trend {
    let mut days: BTreeMap<&str, BTreeMap<&str, i64>> = BTreeMap::new();
    for point in points {
        days.entry(&point.day).or_default().insert(&point.position, point.models);
    }
    let of = |position: &str| -> Vec<(&str, i64)> {
        days.iter().map(|(day, counts)| (*day, counts.get(position).copied().unwrap_or(0))).collect()
    };
    let line = |position: &&str| {
        let series = of(position);
        let (first_day, first) = series.first().copied()?;
        let last = series.last()?.1;
        if series.iter().all(|(_, count)| *count == 0) {
            return None;
        }
        let change = match last - first {
            0 => format!("as on {first_day}"),
            more if more > 0 => format!("{} more than on {first_day}", format::count(more)),
            fewer => format!("{} fewer than on {first_day}", format::count(-fewer)),
        };
        let svg = draw(&series.iter().map(|(_, count)| *count).collect::<Vec<_>>());
        Some(Line { mark: Mark::position(position), svg, now: format::count(last), change })
    };
    let row = |(day, counts): (&&str, &BTreeMap<&str, i64>)| {
        let cells = COLUMNS.map(|position| format::count(counts.get(position).copied().unwrap_or(0)));
        ((*day).to_owned(), cells.into())
    };
    Trend {
        lines: SHOWN.iter().filter_map(line).collect(),
        columns: COLUMNS,
        days: days.iter().rev().map(row).collect(),
    }
}

/// A line with the area under it; zero is at the bottom.
fn draw(series: &[i64]) -> String {
    let most = series.iter().copied().max().unwrap_or(0).max(1);
    let steps = i64::try_from(series.len().max(2) - 1).unwrap_or(1);
    let (width, height) = (i64::from(WIDTH), i64::from(HEIGHT));
    let mut line = String::new();
    for (at, count) in (0..).zip(series) {
        let (x, y) = (2 + at * (width - 4) / steps, height - 3 - count * (height - 6) / most);
        // Writing to a String cannot fail.
        let _ = write!(line, "{}{x} {y}", if at == 0 { "M" } else { "L" });
    }
    let end = 2 + (i64::try_from(series.len()).unwrap_or(1) - 1) * (width - 4) / steps;
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" aria-hidden=\"true\">\
         <path class=\"area\" d=\"{line}L{end} {HEIGHT}L2 {HEIGHT}Z\"/><path class=\"line\" d=\"{line}\"/></svg>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trend_says_how_much_changed() {
        let point = |day: &str, models| TrendPoint { day: day.into(), position: "violation".into(), models };
        let trend = build(&[point("2026-01-01", 40), point("2026-01-02", 7)]);
        assert_eq!(trend.lines.len(), 1);
        assert_eq!((trend.lines[0].now.as_str(), trend.lines[0].change.as_str()), ("7", "33 fewer than on 2026-01-01"));
        assert_eq!(trend.days[0], ("2026-01-02".to_owned(), ["7", "0", "0", "0", "0", "0"].map(str::to_owned).into()));
        assert!(build(&[]).lines.is_empty());
    }
}
