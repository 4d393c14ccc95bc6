//! Structured logs and the metrics we export.
