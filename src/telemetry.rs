//! Structured logs and the metrics we export.

use std::io::{self, Write};

use prometheus::{
    Encoder as _, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};
use tracing_subscriber::{EnvFilter, fmt};

use crate::config::LogFormat;

/// Stderr that takes whatever it is given: a log whose disk is full or whose reader is gone costs no request.
struct Stderr;

impl Write for Stderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // The log itself is where a failure would be told.
        drop(io::stderr().write_all(line));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        drop(io::stderr().flush());
        Ok(())
    }
}

/// Starts logging to stderr. A second call is ignored.
pub fn start(format: LogFormat, filter: &str) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = fmt().with_env_filter(filter).with_writer(|| Stderr).with_target(false).log_internal_errors(false);
    let started = match format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    drop(started);
}

/// What we count, in Prometheus' form.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    /// Requests by method, route and status.
    pub requests: IntCounterVec,
    /// Seconds to the response's head, by route.
    pub latency: HistogramVec,
    /// Jobs by state.
    pub jobs: IntGaugeVec,
    /// Blobs in the store.
    pub blobs: IntGauge,
    /// Bytes in the store.
    pub blob_bytes: IntGauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new().expect("the names below are valid and distinct")
    }
}

impl Metrics {
    fn new() -> prometheus::Result<Self> {
        let requests = Opts::new("herdbook_http_requests_total", "Requests answered");
        let latency = HistogramOpts::new("herdbook_http_request_duration_seconds", "Seconds to the head of the answer")
            .buckets(vec![0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0]);
        let metrics = Self {
            registry: Registry::new(),
            requests: IntCounterVec::new(requests, &["method", "route", "status"])?,
            latency: HistogramVec::new(latency, &["route"])?,
            jobs: IntGaugeVec::new(Opts::new("herdbook_jobs", "Jobs by state"), &["state"])?,
            blobs: IntGauge::new("herdbook_blobs", "Blobs in the store")?,
            blob_bytes: IntGauge::new("herdbook_blob_bytes", "Bytes of all blobs")?,
        };
        metrics.registry.register(Box::new(metrics.requests.clone()))?;
        metrics.registry.register(Box::new(metrics.latency.clone()))?;
        metrics.registry.register(Box::new(metrics.jobs.clone()))?;
        metrics.registry.register(Box::new(metrics.blobs.clone()))?;
        metrics.registry.register(Box::new(metrics.blob_bytes.clone()))?;
        Ok(metrics)
    }

    /// Returns everything in Prometheus' text form.
    pub fn render(&self) -> String {
        let mut text = Vec::new();
        // Writing into memory cannot fail; an encoder that disagrees is not worth a panic.
        drop(TextEncoder::new().encode(&self.registry.gather(), &mut text));
        String::from_utf8(text).unwrap_or_default()
    }
}
