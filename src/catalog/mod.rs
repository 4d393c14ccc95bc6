//! Models, revisions, refs and files.
