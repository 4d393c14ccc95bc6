//! What requests may cost: each limit, asked for from outside.

use reqwest::Method;

use crate::support::{TestApp, send};

/// Every route that takes a body, as `routes.rs` lists them, with a letter for each part that varies.
fn routes_with_bodies() -> Vec<(Method, String)> {
    let lines = include_str!("../src/http/routes.rs").split(".route(");
    let mut routes = Vec::new();
    for line in lines {
        let method = if line.contains(" post().to(") {
            Method::POST
        } else if line.contains(" put().to(") {
            Method::PUT
        } else {
            continue;
        };
        let pattern = line.split('"').nth(1).unwrap();
        let mut path = String::new();
        for (at, part) in pattern.split(['{', '}']).enumerate() {
            path.push_str(if at % 2 == 0 { part } else { "1" });
        }
        routes.push((method, path));
    }
    routes
}

#[tokio::test]
async fn no_route_unpacks_a_body() {
    let app = TestApp::spawn().await;
    let routes = routes_with_bodies();
    assert!(routes.len() > 40, "{routes:?}");
    for (method, path) in routes {
        for encoding in ["br", "gzip", "zstd", "deflate", "identity, br"] {
            let request = app.admin.request(method.clone(), &path).header("Content-Encoding", encoding);
            let answer = send(request.body("x")).await.expect(415);
            assert_eq!(answer.header("content-type"), "application/problem+json", "{method} {path}");
            assert_eq!(answer.json()["code"], "packed-body");
            assert!(answer.json()["detail"].as_str().unwrap().contains("without `Content-Encoding`"));
        }
    }
    let plain = app.admin.request(Method::POST, "/api/validate-yaml").header("Content-Encoding", "identity");
    assert_ne!(send(plain.body("{}")).await.status, 415);
    app.finish().await;
}
