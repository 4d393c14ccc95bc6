//! Draws how large activations become from layer to layer, on a logarithmic scale, and says the same in words.

use std::fmt::Write as _;

use serde_json::Value;

/// The largest finite half.
const HALF: f64 = 65_504.0;
/// Bars that are drawn at most; more layers are drawn together.
const MOST_BARS: usize = 160;
const HEIGHT: f64 = 132.0;
const TOP: f64 = 12.0;
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

#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "coordinates of a drawing")]
fn draw(bars: &[Option<f64>], together: usize) -> Option<String> {
    let sizes = || bars.iter().flatten().copied().filter(|size| *size > 0.0);
    let most = sizes().fold(0.0, f64::max);
    let (high, low) = if most > 0.0 {
        let high = (most.log10() + 0.02).ceil() as i32;
        let low = sizes().fold(f64::INFINITY, f64::min).log10().floor() as i32;
        (high, low.clamp(high - 9, high - 1))
    } else {
        (1, 0)
    };
    if bars.is_empty() {
        return None;
    }
    let decades = f64::from(high - low);
    let step = (480.0 / bars.len() as f64).clamp(4.0, 52.0).floor();
    let right = LEFT + step * bars.len() as f64 + 4.0;
    let width = (right + if most > HALF / 10.0 { 110.0 } else { 4.0 }).max(150.0);
    let bottom = TOP + HEIGHT;
    let y = |size: f64| bottom - ((size.log10() - f64::from(low)) / decades).clamp(0.0, 1.0) * HEIGHT;
    let mut svg = format!(
        "<svg viewBox=\"0 0 {width} {0}\" width=\"{width}\" height=\"{0}\" aria-hidden=\"true\">",
        bottom + 24.0
    );
    // Writing to a String cannot fail.
    for decade in (low..=high).step_by(if decades > 5.0 { 2 } else { 1 }) {
        let (at, label) = (y(10_f64.powi(decade)), decade_label(decade));
        let _ = write!(
            svg,
            "<path d=\"M{LEFT} {at:.1}H{right}\"/><text class=\"end\" x=\"{}\" y=\"{:.1}\">{label}</text>",
            LEFT - 6.0,
            at + 4.0
        );
    }
    let bar_width = (step - if step > 8.0 { 4.0 } else { 1.0 }).max(2.0);
    for (at, size) in bars.iter().enumerate() {
        let x = LEFT + 2.0 + step * at as f64;
        let (top, class) = size.map_or((TOP, " class=\"bad\""), |size| (y(size.max(f64::MIN_POSITIVE)), ""));
        let height = (bottom - top).max(1.0);
        let _ = write!(
            svg,
            "<rect{class} x=\"{x}\" y=\"{:.1}\" width=\"{bar_width}\" height=\"{height:.1}\"><title>layer {}: {}</title></rect>",
            bottom - height,
            at * together,
            size.map_or("not finite".to_owned(), number),
        );
        if size.is_none() && step > 8.0 {
            let middle = x + bar_width / 2.0;
            let _ = write!(svg, "<text class=\"in\" x=\"{middle}\" y=\"{}\">✕</text>", TOP + 14.0);
        }
    }
    let ticks = (bars.len() as f64 * step / 60.0).max(1.0);
    let every = ((bars.len() as f64 / ticks).ceil() as usize).max(1);
    for at in (0..bars.len()).step_by(every) {
        let middle = LEFT + 2.0 + step * at as f64 + bar_width / 2.0;
        let _ = write!(svg, "<text class=\"in\" x=\"{middle}\" y=\"{}\">{}</text>", bottom + 16.0, at * together);
    }
    if most > HALF / 10.0 {
        let at = y(HALF);
        let _ = write!(
            svg,
            "<path class=\"bound\" d=\"M{LEFT} {at:.1}H{right}\"/><text x=\"{}\" y=\"{:.1}\">half precision</text>",
            right + 6.0,
            at + 4.0
        );
    }
    svg.push_str("</svg>");
    Some(svg)
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
