//! Configuration: command-line options with their environment variables, read once.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use url::Url;

/// Where the data is: what `serve`, `worker` and the operator commands share.
#[derive(Debug, Clone, Args)]
pub struct DataOptions {
    /// Folder for the embedded database, the local store and the first token
    #[arg(long, env = "HERDBOOK_DATA_DIR", default_value = "./herdbook-data", value_name = "DIR")]
    pub data_dir: PathBuf,
    /// Postgres to use; without it a private cluster runs in the data folder
    #[arg(long, env = "HERDBOOK_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// Object store: file:///folder, s3://bucket/prefix, gs://bucket/prefix, az://container/prefix
    /// (credentials from each cloud's usual variables) [default: DATA_DIR/store]
    #[arg(long, env = "HERDBOOK_STORE", value_name = "URL")]
    pub store: Option<Url>,
    /// Folder with initdb and postgres for the embedded cluster [default: found on the machine]
    #[arg(long, env = "HERDBOOK_POSTGRES_BIN", value_name = "DIR")]
    pub postgres_bin: Option<PathBuf>,
    /// How log lines look on stderr
    #[arg(long, env = "HERDBOOK_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// What is logged, as tracing directives
    #[arg(long, env = "HERDBOOK_LOG", default_value = "info,sqlx=warn", value_name = "FILTER")]
    pub log: String,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: one JSON object a line.
    Json,
}

/// How the server serves.
#[derive(Debug, Clone, Args)]
pub struct ServeOptions {
    /// Address to listen on; port 0 picks a free one
    #[arg(long, env = "HERDBOOK_LISTEN", default_value = "127.0.0.1:8080", value_name = "HOST:PORT")]
    pub listen: String,
    /// Address that clients use, when a proxy stands in front [default: the Host of each request]
    #[arg(long, env = "HERDBOOK_PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<Url>,
    /// Believe X-Forwarded-Proto and X-Forwarded-Host of a proxy in front
    #[arg(long, env = "HERDBOOK_TRUST_PROXY")]
    pub trust_proxy: bool,
    /// Threads that answer requests
    #[arg(long, env = "HERDBOOK_HTTP_WORKERS", default_value_t = 2, value_name = "N")]
    pub http_workers: usize,
    /// Jobs that run at the same time in this process; 0 leaves them to `herdbook worker`
    #[arg(long, env = "HERDBOOK_JOBS", default_value_t = 1, value_name = "N")]
    pub jobs: usize,
    /// Let webhooks be told inside this server's own network
    #[arg(long, env = "HERDBOOK_WEBHOOK_PRIVATE")]
    pub webhook_private: bool,
}

impl ServeOptions {
    /// Options of a process that serves nothing.
    pub fn offline() -> Self {
        let listen = "127.0.0.1:0".to_owned();
        Self { listen, public_url: None, trust_proxy: false, http_workers: 1, jobs: 0, webhook_private: false }
    }
}
