//! Where a model comes from: claims, evidence, verdicts, and the graph they form.
