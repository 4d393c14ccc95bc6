//! Brings catalogued models in from JSON lines.
