//! The one state that handlers, jobs and commands receive.
