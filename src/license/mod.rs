//! What one may do with a model: declared and inherited licenses, obligations, findings.
