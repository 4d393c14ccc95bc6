//! The content-addressed blob store over object storage.
