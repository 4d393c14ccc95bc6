//! Files in and out: over REST, and with `herdbook push` and `herdbook pull`.

mod broken;
mod commands;
mod crowd;
mod downloads;
mod names;
mod nul;
mod resume;
mod scans;
