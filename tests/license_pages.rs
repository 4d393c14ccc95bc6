//! The pages about licenses: what they answer, and what their forms change.

use serde_json::json;

use crate::support::{Caller, TestApp, files};

/// A base that may not be sold, and a fine-tune of somebody else whose label says that it may.
async fn drift(app: &TestApp) -> Caller {
    let olga = app.user("olga").await;
    olga.publish("olga/base", &files::card("license: cc-by-nc-4.0")).await;
    let child = files::card("license: mit\nbase_model: olga/base\nbase_model_relation: finetune");
    app.admin.publish("admin/child", &child).await;
    app.drain().await;
    olga
}

#[tokio::test]
async fn the_license_tab_answers_in_a_sentence_and_draws_the_path() {
    let app = TestApp::spawn().await;
    drift(&app).await;
    let page = app.anonymous().get("/admin/child/license").await.expect(200).text();
    for wanted in [
        "A license forbids what is here.",
        "Non-commercial limit dropped",
        "class=\"decides violation\"",
        "forbids: Commercial use.",
        "says cc-by-nc-4.0",
        "only stated",
        "The path in words",
        "/licenses/cc-by-nc-4.0",
        "What would it be for another use?",
        "format=sarif",
        "not legal advice",
    ] {
        assert!(page.contains(wanted), "{wanted} is missing in {page}");
    }
    assert!(!page.contains("Accept this finding"), "{page}");
    let asked = app.anonymous().get("/olga/base/license?commercial=true&mau=&as=").await.expect(200).text();
    assert!(asked.contains("For another use:") && asked.contains("commercial"), "{asked}");
    app.anonymous().get("/olga/base/license?mau=many").await.expect(400);
    app.finish().await;
}

#[tokio::test]
async fn a_finding_is_accepted_on_the_tab_and_taken_back() {
    let app = TestApp::spawn().await;
    drift(&app).await;
    let mut fields = vec![
        ("action", "waive"),
        ("rule", "NC_DROPPED"),
        ("about", "cc-by-nc-4.0"),
        ("reason", "we have a contract"),
        ("owner", "legal"),
    ];
    app.admin.post_form("/admin/child/license", &fields).await.expect(400);
    fields.push(("expires", "2030-01-31"));
    app.admin.post_form("/admin/child/license", &fields).await.expect(303);
    app.drain().await;
    let page = app.admin.get("/admin/child/license").await.expect(200).text();
    for wanted in ["Accepted by <b>legal</b> until 2030-01-31", "we have a contract", "Take it back"] {
        assert!(page.contains(wanted), "{wanted} is missing in {page}");
    }
    let listed = app.admin.get("/compliance?namespace=admin").await.expect(200).text();
    assert!(listed.contains("Accepted until a day") && listed.contains("we have a contract"), "{listed}");
    let waivers = app.admin.get("/api/v1/waivers?namespace=admin").await.expect(200).json();
    let id = waivers["items"][0]["id"].to_string();
    app.admin.post_form("/admin/child/license", &[("action", "revoke"), ("waiver", &id)]).await.expect(303);
    app.drain().await;
    let page = app.admin.get("/admin/child/license").await.expect(200).text();
    assert!(!page.contains("we have a contract") && page.contains("Accept this finding"), "{page}");
    app.finish().await;
}

#[tokio::test]
async fn marked_findings_are_accepted_together() {
    let app = TestApp::spawn().await;
    let olga = drift(&app).await;
    let page = app.admin.get("/compliance?namespace=admin&waived=open").await.expect(200).text();
    let pick = "admin/child NC_DROPPED cc-by-nc-4.0";
    assert!(page.contains(&format!("name=\"pick\" value=\"{pick}\"")), "{page}");
    let fields = [
        ("action", "waive"),
        ("pick", pick),
        ("reason", "for tests only"),
        ("owner", "admin"),
        ("expires", "2030-01-31"),
        ("back", "/compliance?namespace=admin"),
    ];
    olga.post_form("/compliance", &fields).await.expect(403);
    app.anonymous().post_form("/compliance", &fields).await.expect(401);
    app.admin.post_form("/compliance", &[("action", "waive"), ("reason", "x")]).await.expect(400);
    let done = app.admin.post_form("/compliance", &fields).await.expect(303);
    assert_eq!(done.headers["location"], "/compliance?namespace=admin#findings");
    app.drain().await;
    let open = app.admin.get("/compliance?namespace=admin&waived=open&rule=NC_DROPPED").await.expect(200).text();
    assert!(open.contains("Nothing was found in this scope."), "{open}");
    app.finish().await;
}

#[tokio::test]
async fn an_auditor_learns_from_the_start_page_what_may_not_be_sold_and_why() {
    let app = TestApp::spawn().await;
    drift(&app).await;
    let home = app.anonymous().get("/").await.expect(200).text();
    assert!(home.contains("href=\"/compliance?use=commercial\""), "{home}");
    let answer = app.anonymous().get("/compliance?use=commercial").await.expect(200).text();
    for wanted in
        ["<b>2 of 2 models</b> may not", "/admin/child/license?commercial=true", "/licenses/cc-by-nc-4.0", "§2(a)(1)"]
    {
        assert!(answer.contains(wanted), "{wanted} is missing in {answer}");
    }
    let one = app.anonymous().get("/compliance?use=commercial&namespace=Olga").await.expect(200).text();
    assert!(one.contains("<b>1 of 1 model</b>") && one.contains("its own license"), "{one}");
    let none = app.anonymous().get("/compliance?use=commercial&namespace=olga&answer=yes").await.expect(200).text();
    assert!(none.contains("No model of this scope."), "{none}");
    app.finish().await;
}

#[tokio::test]
async fn a_policy_says_whom_it_would_hit_before_it_holds() {
    let app = TestApp::spawn().await;
    let olga = drift(&app).await;
    let wanted = [("namespace", "admin"), ("block_push", "violation"), ("block_download", "violation")];
    let with = |action: &'static str| [&[("action", action)], &wanted[..]].concat();
    olga.post_form("/policy", &with("try")).await.expect(403);
    let tried = app.admin.post_form("/policy", &with("try")).await.expect(200).text();
    assert!(tried.contains("1 would not be served any more") && tried.contains("admin/child"), "{tried}");
    app.anonymous().get("/admin/child/resolve/main/README.md").await.expect(200);
    app.admin.post_form("/policy", &with("apply")).await.expect(303);
    app.drain().await;
    // A developer who is refused reads why.
    let refused = app.anonymous().get("/admin/child/resolve/main/README.md").await.expect(403).text();
    assert!(refused.contains("/admin/child/license"), "{refused}");
    let page = app.anonymous().get("/admin/child").await.expect(200).text();
    assert!(page.contains("What was found, and what mends it"), "{page}");
    let shown = app.admin.get("/policy?namespace=admin").await.expect(200).text();
    assert!(shown.contains("A push is refused for: violations.") && shown.contains("Changed by admin"), "{shown}");
    app.anonymous().get("/policy?namespace=admin").await.expect(401);
    let bad = [("namespace", "admin"), ("action", "try"), ("deny", "no-such-key")];
    app.admin.post_form("/policy", &bad).await.expect(400);
    app.finish().await;
}

#[tokio::test]
async fn the_policy_page_gives_rights_and_takes_them() {
    let app = TestApp::spawn().await;
    app.user("olga").await;
    let right = |action| [("namespace", "admin"), ("action", action), ("user", "olga")];
    app.admin.post_form("/policy", &right("give")).await.expect(303);
    let page = app.admin.get("/policy?namespace=admin").await.expect(200).text();
    assert!(page.contains("take the right from olga"), "{page}");
    app.admin.post_form("/policy", &right("take")).await.expect(303);
    let page = app.admin.get("/policy?namespace=admin").await.expect(200).text();
    assert!(!page.contains("take the right from olga"), "{page}");
    app.finish().await;
}

#[tokio::test]
async fn a_plan_is_judged_from_its_address() {
    let app = TestApp::spawn().await;
    drift(&app).await;
    let place = "/what-if?parent=olga/base&relation=finetune&name=you/next&license=apache-2.0";
    let page = app.anonymous().get(place).await.expect(200).text();
    for wanted in
        ["A license would forbid it as planned.", "cc-by-nc-4.0", "What would be asked", "/api/v1/license/what-if"]
    {
        assert!(page.contains(wanted), "{wanted} is missing in {page}");
    }
    let page = app.anonymous().get("/what-if?parent=nobody/nothing&name=you/next").await.expect(200).text();
    assert!(page.contains("<code>nobody/nothing</code> does not exist"), "{page}");
    let empty = app.anonymous().get("/what-if").await.expect(200).text();
    assert!(!empty.contains("id=\"answer\""), "{empty}");
    app.finish().await;
}

#[tokio::test]
async fn a_license_of_ones_own_is_listed_with_the_models_that_carry_it() {
    let app = TestApp::spawn().await;
    let mut entry = app.admin.get("/api/v1/licenses/cc-by-nc-4.0").await.expect(200).json();
    entry.as_object_mut().unwrap().retain(|field, _| !["plain", "models", "fingerprint"].contains(&field.as_str()));
    let own = [("key", json!("LicenseRef-acme")), ("name", json!("Acme Model License")), ("spdx", json!(null))];
    let own = own.into_iter().chain([("hf_ids", json!([])), ("license_name_aliases", json!(["acme"]))]);
    own.for_each(|(field, value)| entry[field] = value);
    app.admin.put("/api/v1/licenses/LicenseRef-acme", entry).await.expect(200);
    app.drain().await;
    let list = app.anonymous().get("/licenses?q=acme").await.expect(200).text();
    assert!(list.contains("Acme Model License") && list.contains(">own<"), "{list}");
    assert!(!list.contains("Apache License"), "{list}");
    let page = app.anonymous().get("/licenses/LicenseRef-acme").await.expect(200).text();
    assert!(page.contains("Commercial use.") && page.contains("§2(a)(1)"), "{page}");
    app.finish().await;
}
