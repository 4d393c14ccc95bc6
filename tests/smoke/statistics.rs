//! Sums that were made while weights were uploaded: the smoke test takes them over, and finds what it finds by reading.

use serde_json::{Value, json};

use super::bases::latest;

use crate::support::{TestApp, files};

#[tokio::test]
async fn what_was_summed_at_upload_is_not_read_again_and_says_the_same() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let mut damaged = files::stories();
    let weights = damaged.iter_mut().find(|(path, _)| path == "model.safetensors").unwrap();
    let middle = weights.1.len() / 8 * 4;
    let header = u64::from_le_bytes(weights.1[..8].try_into().unwrap()) as usize % 4;
    weights.1[middle + header..middle + header + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    alice.publish("alice/sound", &files::stories()).await;
    alice.publish("alice/damaged", &damaged).await;
    app.drain().await;
    let summed = [latest(&alice, "alice/sound").await, latest(&alice, "alice/damaged").await];
    let tensors = summed[0]["metrics"]["tensors"].as_u64().unwrap();
    for report in &summed {
        assert_eq!(report["metrics"]["summed_at_upload"], tensors, "{report:#}");
    }
    assert_eq!((&summed[0]["verdict"], &summed[1]["verdict"]), (&"passed".into(), &"failed".into()));

    assert_eq!(app.sql("delete from weight_statistics").await, 2);
    for (model, before) in ["alice/sound", "alice/damaged"].into_iter().zip(&summed) {
        alice.post(&format!("/api/v1/models/{model}/smoke-tests"), json!({})).await.expect(202);
        app.drain().await;
        let after = latest(&alice, model).await;
        assert_eq!(after["metrics"]["summed_at_upload"], 0);
        assert_eq!(after["checks"], before["checks"]);
        assert_eq!(after["metrics"]["tensor_stats"], before["metrics"]["tensor_stats"]);
        let read = |report: &Value| report["metrics"]["bytes_read"].as_u64().unwrap();
        assert!(read(before) < read(&after), "{} {}", read(before), read(&after));
    }
    app.finish().await;
}
