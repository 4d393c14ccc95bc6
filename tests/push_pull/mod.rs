//! Files in and out: over REST, and with `herdbook push` and `herdbook pull`.

mod broken;
mod commands;
mod downloads;
mod names;
mod resume;
