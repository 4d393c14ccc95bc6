//! Draws how large activations become from layer to layer, on a logarithmic scale, and says the same in words.

use std::fmt::Write as _;

use serde_json::Value;

/// The largest finite half.
const HALF: f64 = 65_504.0;
/// Bars that are drawn at most; more layers are drawn together.
const MOST_BARS: usize = 160;
const HEIGHT: f64 = 132.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = TOP + HEIGHT;
const LEFT: f64 = 46.0;

/// A chart, its text and its table.
pub(super) struct Chart {
    pub(super) svg: String,
    pub(super) summary: String,
    /// Layers that a bar stands for.
    pub(super) together: usize,
    /// Layer and largest activation.
    pub(super) rows: Vec<(usize, String)>,
}

/// Makes the chart of the largest activation of each layer; `None`: nothing was measured.
pub(super) fn chart(largest: &Value) -> Option<Chart> {
    // JSON has no NaN: what is no number there was not finite.
    let layers: Vec<Option<f64>> = largest.as_array()?.iter().map(Value::as_f64).collect();
    let together = layers.len().div_ceil(MOST_BARS).max(1);
    let bars: Vec<Option<f64>> = layers.chunks(together).map(most).collect();
    let rows = layers.iter().enumerate().map(|(layer, size)| (layer, size.map_or("not finite".to_owned(), number)));
    Some(Chart { svg: draw(&bars, together)?, summary: summary(&layers)?, together, rows: rows.collect() })
}

/// The largest of some layers; one that is not finite is the largest of all.
fn most(layers: &[Option<f64>]) -> Option<f64> {
    layers.iter().copied().try_fold(0.0, |most: f64, size| size.map(|size| most.max(size)))
}

fn summary(layers: &[Option<f64>]) -> Option<String> {
    let count = layers.len();
    if let Some(first) = layers.iter().position(Option::is_none) {
        return Some(format!("Of {count} layers, layer {first} is the first whose activations are not finite."));
    }
    let sized = || layers.iter().copied().flatten().enumerate();
    let (least_at, least) = sized().min_by(|a, b| a.1.total_cmp(&b.1))?;
    let (most_at, most) = sized().max_by(|a, b| a.1.total_cmp(&b.1))?;
    let room = if most > HALF {
        "more than half precision can hold"
    } else if most > HALF / 4.0 {
        "close to what half precision can hold"
    } else {
        "well within half precision"
    };
    Some(format!(
        "Over {count} layer{}, the largest activation goes from {} (layer {least_at}) to {} (layer {most_at}): {room}.",
        if count == 1 { "" } else { "s" },
        number(least),
        number(most),
    ))
}

/// Where things are in the drawing.
struct Plot {
    /// Powers of ten at the bottom and at the top.
    low: i32,
    high: i32,
    /// The largest bar that is finite.
    most: f64,
    /// From bar to bar.
    step: f64,
    /// Where the last bar ends.
    right: f64,
}

impl Plot {
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "coordinates of a drawing")]
    fn new(bars: &[Option<f64>]) -> Self {
        let sizes = || bars.iter().flatten().copied().filter(|size| *size > 0.0);
        let most = sizes().fold(0.0, f64::max);
        let step = (480.0 / bars.len() as f64).clamp(4.0, 52.0).floor();
        let right = LEFT + step * bars.len() as f64 + 4.0;
        if most == 0.0 {
            return Self { low: 0, high: 1, most, step, right };
        }
        let high = (most.log10() + 0.02).ceil() as i32;
        let low = sizes().fold(f64::INFINITY, f64::min).log10().floor() as i32;
        Self { low: low.clamp(high - 9, high - 1), high, most, step, right }
    }

    fn y(&self, size: f64) -> f64 {
        let share = (size.max(f64::MIN_POSITIVE).log10() - f64::from(self.low)) / f64::from(self.high - self.low);
        BOTTOM - share.clamp(0.0, 1.0) * HEIGHT
    }

    #[expect(clippy::cast_precision_loss, reason = "a coordinate of a drawing")]
    fn x(&self, at: usize) -> f64 {
        LEFT + 2.0 + self.step * at as f64
    }

    fn bar_width(&self) -> f64 {
        (self.step - if self.step > 8.0 { 4.0 } else { 1.0 }).max(2.0)
    }

    /// Whether the bound of half precision is in sight.
    fn shows_bound(&self) -> bool {
        self.most > HALF / 10.0
    }
}

fn draw(bars: &[Option<f64>], together: usize) -> Option<String> {
    if bars.is_empty() {
        return None;
    }
    let plot = Plot::new(bars);
    let width = (plot.right + if plot.shows_bound() { 110.0 } else { 4.0 }).max(150.0);
    let height = BOTTOM + 24.0;
    let mut svg =
        format!("<svg viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" aria-hidden=\"true\">");
    draw_scale(&mut svg, &plot);
    for (at, size) in bars.iter().enumerate() {
        draw_bar(&mut svg, &plot, at, *size, at * together);
    }
    // About ten labels, whatever the number of bars.
    let every = bars.len().div_ceil(10).max(1);
    for at in (0..bars.len()).step_by(every) {
        let middle = plot.x(at) + plot.bar_width() / 2.0;
        // Writing to a String cannot fail.
        let _ = write!(svg, "<text class=\"in\" x=\"{middle}\" y=\"{}\">{}</text>", BOTTOM + 16.0, at * together);
    }
    svg.push_str("</svg>");
    Some(svg)
}

/// Lines for powers of ten, and for what half precision holds.
fn draw_scale(svg: &mut String, plot: &Plot) {
    let right = plot.right;
    for decade in (plot.low..=plot.high).step_by(if plot.high - plot.low > 5 { 2 } else { 1 }) {
        let (at, label) = (plot.y(10_f64.powi(decade)), decade_label(decade));
        let (x, y) = (LEFT - 6.0, at + 4.0);
        let _ = write!(
            svg,
            "<path d=\"M{LEFT} {at:.1}H{right}\"/><text class=\"end\" x=\"{x}\" y=\"{y:.1}\">{label}</text>"
        );
    }
    if plot.shows_bound() {
        let at = plot.y(HALF);
        let (x, y) = (right + 6.0, at + 4.0);
        let _ = write!(
            svg,
            "<path class=\"bound\" d=\"M{LEFT} {at:.1}H{right}\"/><text x=\"{x}\" y=\"{y:.1}\">half precision</text>"
        );
    }
}

/// A bar; one that is not finite has the whole height and a cross.
fn draw_bar(svg: &mut String, plot: &Plot, at: usize, size: Option<f64>, layer: usize) {
    let (x, width) = (plot.x(at), plot.bar_width());
    let (top, class, said) = match size {
        Some(size) => (plot.y(size), "", number(size)),
        None => (TOP, " class=\"bad\"", "not finite".to_owned()),
    };
    let height = (BOTTOM - top).max(1.0);
    let y = BOTTOM - height;
    let _ = write!(
        svg,
        "<rect{class} x=\"{x}\" y=\"{y:.1}\" width=\"{width}\" height=\"{height:.1}\"><title>layer {layer}: {said}</title></rect>"
    );
    if size.is_none() && plot.step > 8.0 {
        let _ = write!(svg, "<text class=\"in\" x=\"{}\" y=\"{}\">✕</text>", x + width / 2.0, TOP + 14.0);
    }
}

fn decade_label(decade: i32) -> String {
    match decade {
        -2..=3 => number(10_f64.powi(decade)),
        other => format!("1e{other}"),
    }
}

/// Three digits, or the power of ten.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if !(1e-3..1e6).contains(&size) => format!("{value:.2e}"),
        size if size >= 999.5 => format!("{value:.0}"),
        size if size >= 99.95 => trimmed(format!("{value:.1}")),
        size if size >= 0.1 => trimmed(format!("{value:.2}")),
        _ => trimmed(format!("{value:.4}")),
    }
}

/// Without zeros at the end of a fraction.
fn trimmed(text: String) -> String {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_chart_says_what_it_draws() {
        let drawn = chart(&json!([3.66, 4.2, 8.643_039])).unwrap();
        assert_eq!(drawn.svg.matches("<rect").count(), 3);
        assert!(drawn.summary.contains("from 3.66 (layer 0) to 8.64 (layer 2): well within"), "{}", drawn.summary);
        assert_eq!(drawn.rows[2], (2, "8.64".to_owned()));
        let broken = chart(&json!([3.0, null, null])).unwrap();
        assert!(broken.summary.contains("layer 1 is the first"), "{}", broken.summary);
        let deep = chart(&json!(vec![70_000.0; 400])).unwrap();
        assert_eq!((deep.together, deep.svg.matches("<rect").count()), (3, 134));
        assert!(deep.svg.contains("half precision") && deep.summary.contains("more than half precision"));
        assert!(chart(&json!([0.0])).unwrap().svg.contains("<rect"));
        assert!(chart(&json!([])).is_none() && chart(&Value::Null).is_none());
    }

    #[test]
    fn numbers_keep_three_digits() {
        let said = [0.0, 0.000_04, 0.01, 0.5, 8.643, 41.0, 123.44, 65_504.0, 4e9].map(number);
        assert_eq!(said, ["0", "4.00e-5", "0.01", "0.5", "8.64", "41", "123.4", "65504", "4.00e9"]);
    }
}
