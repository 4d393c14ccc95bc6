//! Questions about another use and about models that do not exist yet; license files as evidence; the kit.

use serde_json::json;

use super::{family, finding, has, license};
use crate::support::files;

const MIT: &str = "MIT License\n\nCopyright (c) 2026 Bob\n\nPermission is hereby granted, free of charge, to any person \
    obtaining a copy of this software and associated documentation files (the \"Software\"), to deal in the Software \
    without restriction, including without limitation the rights to use, copy, modify, merge, publish, distribute, \
    sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is furnished to do so, \
    subject to the following conditions:\n\nThe above copyright notice and this permission notice shall be included in \
    all copies or substantial portions of the Software.\n\nTHE SOFTWARE IS PROVIDED \"AS IS\", WITHOUT WARRANTY OF ANY \
    KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR \
    PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR \
    OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH \
    THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.\n";

#[tokio::test]
async fn another_use_is_judged_on_request_and_not_kept() {
    let (app, _, bob) = family().await;
    bob.publish("bob/keeps", &files::card("license: cc-by-nc-4.0\nbase_model: alice/nc")).await;
    app.drain().await;
    let sold = bob.get("/api/v1/models/bob/keeps/license?commercial=true").await.expect(200).json();
    assert_eq!((&sold["position"], &sold["profile"]["commercial"]), (&json!("violation"), &json!(true)));
    finding(&sold, "NC_USE");
    assert!(!has(&license(&bob, "bob/keeps").await, "NC_USE"));
    let audit = bob.get("/api/v1/audit?scope=bob&commercial=true").await.expect(200).json();
    let findings = audit["findings"].as_array().unwrap();
    assert!(findings.iter().any(|f| f["model"] == "bob/keeps" && f["rule"] == "NC_USE"), "{audit}");
    for (arguments, code) in [
        (vec!["audit", "bob/keeps"], 0),
        (vec!["audit", "bob/keeps", "--commercial"], 1),
        (vec!["audit", "bob/keeps", "--commercial", "--json"], 1),
        (vec!["audit", "nobody-here"], 2),
    ] {
        let output = app.run_as(&bob, &arguments).await;
        assert_eq!(output.code, Some(code), "{arguments:?}: {output:?}");
    }
    app.finish().await;
}

#[tokio::test]
async fn a_plan_is_judged_before_it_is_trained() {
    let (app, _, bob) = family().await;
    let plan = json!({
        "name": "bob/next", "license": "mit", "parents": [{ "model": "alice/nc", "relation": "finetune" }],
    });
    let said = bob.post("/api/v1/license/what-if", plan.clone()).await.expect(200).json();
    assert_eq!(said["position"], "violation", "{said}");
    finding(&said, "NC_DROPPED");
    let mut keeps = plan.clone();
    keeps["license"] = json!("cc-by-nc-4.0");
    assert_ne!(bob.post("/api/v1/license/what-if", keeps).await.expect(200).json()["position"], "violation");
    let mut odd = plan.clone();
    odd["parents"][0]["relation"] = json!("cousin");
    bob.post("/api/v1/license/what-if", odd).await.refused(400, "unknown-relation", "`cousin`");
    let mut unknown = plan;
    unknown["parents"][0]["model"] = json!("alice/nobody");
    bob.post("/api/v1/license/what-if", unknown).await.refused(404, "model-not-found", "alice/nobody");
    let output =
        app.run_as(&bob, &["what-if", "bob/next", "--parent", "alice/nc:finetune", "--license", "mit"]).await.expect(1);
    assert!(output.stdout.contains("NC_DROPPED"), "{}", output.stdout);
    assert!(bob.get("/api/v1/models/bob/next").await.status.as_u16() == 404, "nothing was made");
    app.finish().await;
}

#[tokio::test]
async fn a_license_file_outweighs_the_label() {
    let (app, _, bob) = family().await;
    let mut both = files::card("license: cc-by-nc-4.0");
    both.push(files::file("LICENSE", MIT));
    bob.publish("bob/odd", &both).await;
    let mut large = files::card("license: mit");
    large.push(files::file("LICENSE", vec![b'x'; 10 * 1024 * 1024]));
    bob.publish("bob/large", &large).await;
    app.drain().await;
    let odd = license(&bob, "bob/odd").await;
    assert_eq!(odd["detected"], json!([{ "path": "LICENSE", "license": "mit" }]));
    finding(&odd, "DECLARED_FILE_MISMATCH");
    let large = license(&bob, "bob/large").await;
    assert_eq!(
        large["detected"],
        json!([{ "path": "LICENSE", "license": null }]),
        "a large file is looked at, not trusted"
    );
    app.finish().await;
}

#[tokio::test]
async fn the_kit_mends_what_is_missing() {
    let (app, _, bob) = family().await;
    bob.publish("bob/derived", &files::card("license: apache-2.0\nbase_model: bob/root")).await;
    bob.publish("bob/root", &files::card("license: apache-2.0")).await;
    bob.publish("bob/derived", &files::card("license: apache-2.0\nbase_model: bob/root\ntags: [x]")).await;
    app.drain().await;
    let kit = bob.get("/api/v1/models/bob/tune/license/kit").await.expect(200);
    assert_eq!(kit.header("content-type"), "application/zip");
    assert!(kit.body.starts_with(b"PK"));
    app.anonymous().post("/api/v1/models/bob/tune/license/kit", json!({})).await.expect(401);
    let added = bob.post("/api/v1/models/bob/tune/license/kit", json!({})).await.expect(200).json();
    let paths: Vec<&str> = added["files"].as_array().unwrap().iter().filter_map(|path| path.as_str()).collect();
    assert!(paths.iter().any(|path| path.starts_with("LICENSES/")), "{added}");
    app.drain().await;
    assert!(!has(&license(&bob, "bob/tune").await, "LICENSE_COPY_MISSING"));
    let again = bob.post("/api/v1/models/bob/tune/license/kit", json!({})).await.expect(200).json();
    assert_eq!(again["files"], json!([]), "a second time there is nothing to add");
    app.finish().await;
}
