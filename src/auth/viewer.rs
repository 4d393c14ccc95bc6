//! What a caller may read, as queries need it.

/// What a caller may read: all of it, or public models and those of some namespaces.
#[derive(Debug, Clone, Default)]
pub struct Viewer {
    /// An administrator's view.
    pub everything: bool,
    /// Namespaces whose private models are visible, lower case.
    pub namespaces: Vec<String>,
}

impl Viewer {
    /// The view of somebody unknown.
    pub fn anonymous() -> Self {
        Self::default()
    }

    /// The view of the product itself, for jobs and operator commands.
    pub fn everything() -> Self {
        Self { everything: true, namespaces: Vec::new() }
    }
}
