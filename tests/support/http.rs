//! Requests as somebody, and whole answers to assert on.

use reqwest::{
    Method, RequestBuilder, StatusCode,
    header::{HeaderMap, HeaderName},
};
use serde_json::{Value, json};

/// Somebody who sends requests to one server.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) token: Option<String>,
    pub(crate) url: String,
    pub(crate) http: reqwest::Client,
}

impl Caller {
    /// Begins a request; the path is taken as it is, with its query.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.url));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        send(self.request(Method::GET, path)).await
    }

    pub(crate) async fn head(&self, path: &str) -> Answer {
        send(self.request(Method::HEAD, path)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        send(self.request(Method::DELETE, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        send(self.request(Method::POST, path).json(&body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        send(self.request(Method::PUT, path).json(&body)).await
    }

    /// Sends a file in one call, which commits it.
    pub(crate) async fn put_file(&self, model: &str, path: &str, content: impl Into<reqwest::Body>) -> Answer {
        send(self.request(Method::PUT, &file_url(model, path)).body(content)).await
    }

    /// As [`Self::put_file`], on a branch.
    pub(crate) async fn put_file_on(&self, model: &str, branch: &str, path: &str, content: Vec<u8>) -> Answer {
        let url = format!("{}?branch={branch}", file_url(model, path));
        send(self.request(Method::PUT, &url).body(content)).await
    }

    /// Posts a form as a browser does.
    pub(crate) async fn post_form(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let form = "application/x-www-form-urlencoded";
        send(self.request(Method::POST, path).header("Content-Type", form).body(body)).await
    }

    /// Creates a model if it is not there, and publishes files as one revision, whose commit id it returns.
    pub(crate) async fn publish(&self, model: &str, files: &Files) -> String {
        let base = format!("/api/v1/models/{model}");
        self.put(&base, json!({})).await.succeed();
        let upload = self.post(&format!("{base}/uploads"), json!({})).await.expect(201).json();
        let upload = upload["upload"].as_str().unwrap().to_owned();
        for (path, content) in files {
            let url = format!("{}?upload={upload}", file_url(model, path));
            send(self.request(Method::PUT, &url).body(content.clone())).await.expect(200);
        }
        let body = json!({ "message": "Publish" });
        let committed = self.post(&format!("{base}/uploads/{upload}/commit"), body).await.expect(200).json();
        committed["revision"].as_str().unwrap().to_owned()
    }

    /// Creates a private model and publishes files to it.
    pub(crate) async fn publish_private(&self, model: &str, files: &Files) -> String {
        self.put(&format!("/api/v1/models/{model}"), json!({ "visibility": "private" })).await.expect(201);
        self.publish(model, files).await
    }

    /// What REST says of a model.
    pub(crate) async fn model(&self, model: &str) -> Value {
        self.get(&format!("/api/v1/models/{model}")).await.expect(200).json()
    }
}

/// Paths and contents of a revision.
pub(crate) type Files = Vec<(String, Vec<u8>)>;

/// The address of a file over REST.
pub(crate) fn file_url(model: &str, path: &str) -> String {
    let encoded: Vec<String> =
        path.split('/').map(|part| url::form_urlencoded::byte_serialize(part.as_bytes()).collect()).collect();
    format!("/api/v1/models/{model}/files/{}", encoded.join("/").replace('+', "%20"))
}

/// Sends a request and reads the whole answer.
pub(crate) async fn send(request: RequestBuilder) -> Answer {
    let response = request.send().await.expect("the server answers");
    let (status, headers, url) = (response.status(), response.headers().clone(), response.url().to_string());
    let body = response.bytes().await.expect("the answer is whole").to_vec();
    Answer { status, headers, body, url }
}

/// A whole answer.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) url: String,
}

impl Answer {
    /// Asserts the status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}: {}", self.url, self.text());
        self
    }

    /// Asserts any success.
    #[track_caller]
    pub(crate) fn succeed(self) -> Self {
        assert!(self.status.is_success(), "{}: {} {}", self.url, self.status, self.text());
        self
    }

    /// Asserts a refusal with this status whose stable code and message are these.
    #[track_caller]
    pub(crate) fn refused(self, status: u16, code: &str, message: &str) {
        let answer = self.expect(status);
        let problem = answer.json();
        assert_eq!(problem["code"], code, "{problem}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(message), "`{message}` is not in `{detail}`");
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{}: {error}: {}", self.url, self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header as text; empty when it is absent.
    pub(crate) fn header(&self, name: &str) -> &str {
        let name: HeaderName = name.parse().unwrap();
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}
