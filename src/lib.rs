//! Herdbook: a model registry that knows how models are related.
//!
//! The modules, from values up to delivery (each may use what stands above it, `ARCHITECTURE.md` has the rules):
//!
//! - [`name`], [`digest`]: names and digests, parsed once at the edge.
//! - [`formats`]: what is in a weight file, a config, a card: pure, synchronous, panics on no input.
//! - [`db`]: the connection pool, the embedded cluster, migrations.
//! - [`storage`], [`catalog`], [`xet`], [`lineage`], [`license`], [`auth`], [`smoke`], [`import`], [`demo`]: the features.
//! - [`jobs`]: work that must not block a request.
//! - [`http`], [`cli`]: thin delivery.

pub mod app;
pub mod auth;
pub mod catalog;
pub mod cli;
pub mod config;
pub mod db;
pub mod demo;
pub mod digest;
pub mod formats;
pub mod hooks;
pub mod http;
pub mod import;
pub mod jobs;
pub mod license;
pub mod lineage;
pub mod name;
pub mod smoke;
pub mod storage;
pub mod tally;
pub mod telemetry;
pub mod xet;
