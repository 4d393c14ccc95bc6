//! What client commands share: where the server is, who we are, requests with errors that say what to do, bars.

use std::{
    io::{IsTerminal as _, stderr, stdout},
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;

/// What a path of a URL cannot hold as it is; `/` stays.
const PATH: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>').add(b'?').add(b'`').add(b'{').add(b'}').add(b'%');

/// Which server, and as whom.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Options {
    /// The server [default: http://127.0.0.1:8080, or HF_ENDPOINT]
    #[arg(long, env = "HERDBOOK_ENDPOINT", value_name = "URL")]
    endpoint: Option<String>,
    /// The token; HF_TOKEN is understood too
    #[arg(long, env = "HERDBOOK_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

/// A server that answers.
#[derive(Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    endpoint: String,
    token: Option<String>,
}

impl Client {
    /// Reads options and environment.
    pub(super) fn new(options: &Options) -> anyhow::Result<Self> {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let endpoint = options.endpoint.clone().or_else(|| variable("HF_ENDPOINT"));
        let endpoint = endpoint.unwrap_or_else(|| "http://127.0.0.1:8080".to_owned()).trim_end_matches('/').to_owned();
        let token = options.token.clone().or_else(|| variable("HF_TOKEN"));
        let http = reqwest::Client::builder()
            .user_agent(concat!("herdbook/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs(10))
            .build()?;
        Ok(Self { http, endpoint, token })
    }

    /// The server's address.
    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Begins a request to a path such as `/api/v1/models`.
    pub(super) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{}", self.endpoint, utf8_percent_encode(path, PATH)));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Sends a request; an answer that is no success becomes the error that the server explained.
    pub(super) async fn send(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        let response = request.send().await.map_err(|error| self.unreachable(error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = response.bytes().await.unwrap_or_default();
        let problem: Value = serde_json::from_slice(&body).unwrap_or_default();
        let detail = problem["detail"].as_str().or(problem["error"].as_str()).unwrap_or("no reason was given");
        let hint = match status {
            StatusCode::UNAUTHORIZED if self.token.is_none() => "; set HERDBOOK_TOKEN or pass --token",
            _ => "",
        };
        bail!("{detail}{hint} ({status})")
    }

    fn unreachable(&self, error: reqwest::Error) -> anyhow::Error {
        if error.is_connect() {
            let hint = "is it running, and is --endpoint or HERDBOOK_ENDPOINT right?";
            return anyhow!("no server answers at {}: {hint}", self.endpoint);
        }
        anyhow::Error::new(error).context(format!("the request to {} broke off", self.endpoint))
    }

    /// Reads JSON from a path.
    pub(super) async fn get(&self, path: &str, query: &[(&str, &str)]) -> anyhow::Result<Value> {
        let response = self.send(self.request(Method::GET, path).query(query)).await?;
        response.json().await.context("the answer is not JSON: is this a herdbook server?")
    }

    /// Posts JSON to a path.
    pub(super) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let response = self.send(self.request(Method::POST, path).json(body)).await?;
        response.json().await.context("the answer is not JSON: is this a herdbook server?")
    }
}

/// Bars on a terminal, nothing elsewhere.
pub(super) fn bars() -> MultiProgress {
    let target = if stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    MultiProgress::with_draw_target(target)
}

/// A bar that counts bytes.
pub(super) fn bytes_bar(total: u64, what: &str) -> ProgressBar {
    let bar = bars().add(ProgressBar::new(total));
    style_bytes(&bar, what);
    bar
}

/// Makes a bar show bytes, speed and what is left.
pub(super) fn style_bytes(bar: &ProgressBar, what: &str) {
    let template = "{msg:28!} {bar:24} {bytes:>10}/{total_bytes:10} {bytes_per_sec:>12} {eta:>4}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("━╸ "));
    }
    bar.set_message(what.to_owned());
}

/// Whether colors are wanted on standard output.
pub(super) fn colors() -> bool {
    stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// Text from strangers with what could steer a terminal replaced.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
