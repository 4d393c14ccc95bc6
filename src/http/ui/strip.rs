//! Draws how much each layer changed in each role: a strip of cells, and the same numbers as a table.
//!
//! The scale is logarithmic: training moves weights by thousandths or by halves, and both must be told apart.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{escape, format, measured::Cell};

/// Columns of the drawing; deeper models are drawn several layers to a column.
const MOST_COLUMNS: usize = 48;
/// Roles that have a row of their own.
const MOST_ROLES: usize = 12;
/// Pixels that the cells share, the width of a cell at most, and what is beside and above the cells.
const SPACE: usize = 960;
const WIDEST: usize = 72;
const LEFT: usize = 104;
const TOP: usize = 20;
const HEIGHT: usize = 24;
/// Cells from this width on carry their number.
const ROOMY: usize = 46;

/// The steps of the scale: up to which change, and in words.
const STEPS: [(f64, &str); 8] = [
    (0.0, "equal"),
    (0.000_1, "to 0.01 %"),
    (0.001, "to 0.1 %"),
    (0.01, "to 1 %"),
    (0.1, "to 10 %"),
    (0.5, "to 50 %"),
    (1.0, "to 100 %"),
    (f64::INFINITY, "above"),
];

/// The strip and its table.
pub(super) struct Strip {
    pub(super) svg: String,
    /// What the strip shows, for those who do not see it.
    pub(super) summary: String,
    /// Heads of the table: roles of the layers.
    pub(super) roles: Vec<String>,
    /// Layers, each with a change per role.
    pub(super) layers: Vec<(String, Vec<String>)>,
    /// What the model has once, with its change.
    pub(super) once: Vec<(String, String)>,
    pub(super) legend: Vec<(usize, &'static str)>,
    /// How many layers share a column.
    pub(super) together: usize,
}

/// Mean changes: by role what the model has once, by role and column what its layers have.
struct Means {
    once: Vec<(String, f64)>,
    rows: Vec<(String, Vec<Option<f64>>)>,
    labels: Vec<String>,
    together: usize,
}

/// Draws the strip; `None` where no matrix was compared.
pub(super) fn draw(cells: &[Cell]) -> Option<Strip> {
    if cells.is_empty() {
        return None;
    }
    let means = means(cells);
    let text = |change: &Option<f64>| change.map_or_else(|| "–".to_owned(), format::percent);
    let layers = means.labels.iter().enumerate();
    let layers = layers.map(|(at, label)| (label.clone(), means.rows.iter().map(|(_, row)| text(&row[at])).collect()));
    Some(Strip {
        svg: svg(&means),
        summary: summary(cells),
        roles: means.rows.iter().map(|(role, _)| role.clone()).collect(),
        layers: layers.collect(),
        once: means.once.iter().map(|(role, change)| (role.clone(), format::percent(*change))).collect(),
        legend: STEPS.iter().enumerate().map(|(step, (_, word))| (step, *word)).collect(),
        together: means.together,
    })
}

fn summary(cells: &[Cell]) -> String {
    let least = cells.iter().min_by(|a, b| a.change.total_cmp(&b.change));
    let most = cells.iter().max_by(|a, b| a.change.total_cmp(&b.change));
    let (Some(least), Some(most)) = (least, most) else { return String::new() };
    format!(
        "Relative change by layer and role: from {} ({}) to {} ({}).",
        format::percent(least.change),
        place(least),
        format::percent(most.change),
        place(most)
    )
}

fn place(cell: &Cell) -> String {
    let role = role_words(&cell.role);
    cell.layer.map_or_else(|| role.to_owned(), |layer| format!("{role} of layer {layer}"))
}

fn means(cells: &[Cell]) -> Means {
    let depth = cells.iter().filter_map(|cell| cell.layer).max().map_or(0, |layer| usize::from(layer) + 1);
    let together = depth.div_ceil(MOST_COLUMNS).max(1);
    let columns = depth.div_ceil(together);
    let mut once: Vec<(String, Vec<f64>)> = Vec::new();
    let mut rows: BTreeMap<(usize, String), Vec<Vec<f64>>> = BTreeMap::new();
    let mut known: Vec<&str> = Vec::new();
    for cell in cells {
        if !known.contains(&cell.role.as_str()) {
            known.push(&cell.role);
        }
        let is_shown = known.iter().position(|role| *role == cell.role).unwrap_or(0) < MOST_ROLES;
        let role = if is_shown { role_words(&cell.role) } else { "others" };
        match cell.layer {
            None => match once.iter_mut().find(|(known, _)| known == role) {
                Some((_, changes)) => changes.push(cell.change),
                None => once.push((role.to_owned(), vec![cell.change])),
            },
            Some(layer) => {
                let rank = if is_shown { rank(&cell.role) } else { usize::MAX };
                let row = rows.entry((rank, role.to_owned())).or_insert_with(|| vec![Vec::new(); columns]);
                row[usize::from(layer) / together].push(cell.change);
            }
        }
    }
    let label = |column: usize| {
        let (first, last) = (column * together, ((column + 1) * together).min(depth) - 1);
        if first == last { first.to_string() } else { format!("{first}–{last}") }
    };
    Means {
        once: once.into_iter().filter_map(|(role, changes)| Some((role, mean(&changes)?))).collect(),
        rows: rows.into_iter().map(|((_, role), row)| (role, row.iter().map(|cell| mean(cell)).collect())).collect(),
        labels: (0..columns).map(label).collect(),
        together,
    }
}

#[expect(clippy::cast_precision_loss, reason = "a few matrices")]
fn mean(changes: &[f64]) -> Option<f64> {
    (!changes.is_empty()).then(|| changes.iter().sum::<f64>() / changes.len() as f64)
}

/// Roles in the order in which a layer computes.
fn rank(role: &str) -> usize {
    ["q", "k", "v", "o", "gate", "up", "down"].iter().position(|known| *known == role).unwrap_or(7)
}

fn role_words(role: &str) -> &str {
    match role {
        "embed" => "embedding",
        "q" => "query",
        "k" => "key",
        "v" => "value",
        "o" => "attention out",
        "head" => "output head",
        other => other,
    }
}

fn step(change: f64) -> usize {
    STEPS.iter().position(|(most, _)| change <= *most).unwrap_or(STEPS.len() - 1)
}

fn svg(means: &Means) -> String {
    let columns = means.labels.len().max(1);
    let cell = (SPACE / columns).clamp(8, WIDEST);
    let span = (columns * cell).max(2 * WIDEST);
    let top = if means.labels.is_empty() { 2 } else { TOP };
    let (width, height) = (LEFT + span + 2, top + (means.rows.len() + means.once.len()) * HEIGHT + 6);
    let mut svg =
        format!("<svg viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" aria-hidden=\"true\">");
    // Writing to a String cannot fail.
    let every = (28 / cell).max(1) * if means.together > 1 { 2 } else { 1 };
    for (at, label) in means.labels.iter().enumerate().step_by(every) {
        let x = LEFT + at * cell + cell / 2;
        let _ = write!(svg, "<text class=\"sub\" x=\"{x}\" y=\"13\" text-anchor=\"middle\">{label}</text>");
    }
    for (at, (role, row)) in means.rows.iter().enumerate() {
        begin_row(&mut svg, role, top + at * HEIGHT);
        for (column, change) in row.iter().enumerate() {
            let title = format!("{}, layer {}", escape(role), means.labels[column]);
            draw_cell(&mut svg, &title, column * cell, cell, *change);
        }
        svg.push_str("</g>");
    }
    for (at, (role, change)) in means.once.iter().enumerate() {
        begin_row(&mut svg, role, top + (means.rows.len() + at) * HEIGHT + 4);
        draw_cell(&mut svg, &escape(role), 0, span, Some(*change));
        svg.push_str("</g>");
    }
    svg.push_str("</svg>");
    svg
}

fn begin_row(svg: &mut String, role: &str, y: usize) {
    let role = escape(&role.chars().take(16).collect::<String>());
    let _ =
        write!(svg, "<g transform=\"translate({LEFT} {y})\"><text x=\"-8\" y=\"16\" text-anchor=\"end\">{role}</text>");
}

fn draw_cell(svg: &mut String, title: &str, x: usize, width: usize, change: Option<f64>) {
    let Some(change) = change else { return };
    let (step, text) = (step(change), format::percent(change));
    let _ = write!(
        svg,
        "<rect class=\"s{step}\" x=\"{x}\" width=\"{width}\" height=\"{HEIGHT}\"><title>{title}: {text}</title></rect>"
    );
    if width >= ROOMY {
        let class = if step >= 5 { "on" } else { "in" };
        let _ = write!(svg, "<text class=\"{class}\" x=\"{}\" y=\"16\">{text}</text>", x + width / 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(role: &str, layer: Option<u16>, change: f64) -> Cell {
        Cell { role: role.to_owned(), layer, cosine: 1.0, change }
    }

    #[test]
    fn the_strip_of_the_deepest_model_stays_small() {
        let roles = ["q", "k", "v", "o", "gate", "up", "down", "router", "shared"];
        let layers = (0..126).flat_map(|layer| roles.map(|role| cell(role, Some(layer), f64::from(layer) / 100.0)));
        let cells: Vec<Cell> = layers.chain([cell("embed", None, 0.0), cell("head", None, 2.0)]).collect();
        let strip = draw(&cells).unwrap();
        assert!(strip.svg.len() < 60_000, "{} bytes", strip.svg.len());
        assert_eq!((strip.together, strip.layers.len(), strip.roles.len()), (3, 42, 9));
        assert_eq!(strip.layers[41].0, "123–125");
    }

    #[test]
    fn experts_of_a_layer_share_a_cell_and_roles_keep_their_order() {
        let cells = [
            cell("down", Some(0), 0.1),
            cell("q", Some(0), 0.0),
            cell("down", Some(0), 0.3),
            cell("q", Some(1), 0.000_05),
        ];
        let strip = draw(&cells).unwrap();
        assert_eq!(strip.roles, ["query", "down"]);
        assert_eq!(strip.layers[0].1, ["0 %", "20 %"]);
        assert_eq!(strip.layers[1].1, ["under 0.01 %", "–"]);
        assert!(draw(&[]).is_none());
    }
}
