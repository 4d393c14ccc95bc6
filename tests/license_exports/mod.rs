//! Reports in the forms of others: read back by the programs of those who made the forms.

mod kit;
mod models;

use std::{collections::HashSet, path::PathBuf};

use herdbook::license::{
    Severity,
    export::{Format, exporter, whole},
    report::{ReportInfo, ReportModel},
};
use serde_json::Value;
use tokio::process::Command;

use self::models::{HOSTILE, bare, finding, hostile, info, many, parent, rich};
use crate::support::{program, python};

/// Reports over one model and several, over nothing, and over a scope that has many.
fn cases() -> Vec<(&'static str, ReportInfo, Vec<ReportModel>)> {
    let everything = [rich(), hostile(), bare()].into_iter().chain(many(3)).collect();
    vec![
        ("one", info("acme/Chat"), vec![rich()]),
        ("hostile", info(&hostile().id), vec![hostile()]),
        ("no-address", ReportInfo { endpoint: HOSTILE.to_owned(), ..info("") }, vec![bare()]),
        ("none", info("nobody"), vec![]),
        ("gone", info("nobody/here"), vec![]),
        ("several", info(""), everything),
        ("many", info("many"), many(30)),
    ]
}

/// Writes every report in these forms into a folder.
fn write(formats: &[Format]) -> (tempfile::TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().unwrap();
    let mut paths = Vec::new();
    for (name, info, models) in cases() {
        for format in formats {
            let extension = exporter(*format, info.clone()).extension();
            let path = folder.path().join(format!("{name}.{extension}"));
            std::fs::write(&path, whole(*format, info.clone(), &models)).unwrap();
            paths.push(path);
        }
    }
    (folder, paths)
}

fn json(format: Format, scope: &str, models: &[ReportModel]) -> Value {
    serde_json::from_str(&whole(format, info(scope), models)).unwrap()
}

#[tokio::test]
async fn the_libraries_of_cyclonedx_and_spdx_accept_reports() {
    let Some(interpreter) = python::interpreter("HERDBOOK_TEST_PYTHON") else { return };
    let (folder, paths) = write(&[Format::Csv, Format::CycloneDx, Format::Spdx]);
    let mut command = Command::new(interpreter);
    command.arg(python::path("exports.py")).arg(folder.path());
    let output = program::finish(&mut command).await.expect(0);
    assert_eq!(output.stdout.trim(), paths.len().to_string(), "{output:?}");
}

#[tokio::test]
async fn the_tool_for_sarif_accepts_reports_without_a_warning() {
    let Some(tool) = python::interpreter("HERDBOOK_TEST_SARIF") else { return };
    let (_folder, paths) = write(&[Format::Sarif]);
    let mut command = Command::new(&tool);
    // Its runtime would want libraries for the languages of the world.
    command.env("DOTNET_SYSTEM_GLOBALIZATION_INVARIANT", "1").arg("validate").args(&paths);
    let output = program::finish(&mut command).await.expect(0);
    let counted = format!("{} files scanned", paths.len());
    let is_clean = !output.stdout.contains("warning") && !output.stdout.contains("error");
    assert!(is_clean && output.stdout.contains(&counted), "{output:?}");
}

#[test]
fn equal_data_give_equal_bytes_and_other_data_other_addresses() {
    let mut other = rich();
    other.findings.pop();
    for format in Format::ALL {
        let written = |model: &ReportModel| whole(format, info("acme/Chat"), std::slice::from_ref(model));
        assert_eq!(written(&rich()), written(&rich()), "{format}");
        assert_ne!(written(&rich()), written(&other), "{format}");
    }
    let serial = |model: ReportModel| json(Format::CycloneDx, "acme/Chat", &[model])["serialNumber"].clone();
    assert_ne!(serial(rich()), serial(other.clone()));
    let address = |model: ReportModel| json(Format::Spdx, "acme/Chat", &[model])["@graph"][1]["spdxId"].clone();
    assert_ne!(address(rich()), address(other));
}

#[test]
fn no_piece_of_a_report_grows_with_the_number_of_models() {
    let largest = |format: Format, count: usize| {
        let mut exporter = exporter(format, info(""));
        let models = many(count);
        let mut largest = 0;
        for pass in 0..exporter.passes() {
            let mut pieces = vec![exporter.begin(pass)];
            pieces.extend(models.iter().map(|model| exporter.model(pass, model)));
            pieces.push(exporter.end(pass));
            largest = largest.max(pieces.iter().map(String::len).max().unwrap());
        }
        largest
    };
    for format in Format::ALL {
        let (few, more) = (largest(format, 10), largest(format, 200));
        assert!(more < few + few / 10, "{format}: {few} and {more}");
    }
}

#[test]
fn words_name_forms() {
    for format in Format::ALL {
        assert_eq!(format.to_string().parse(), Ok(format));
    }
    let error = "xml".parse::<Format>().unwrap_err().to_string();
    assert_eq!(error, "`xml` is no form of report: there are `csv`, `cyclonedx`, `spdx` and `sarif`");
}

#[test]
fn a_line_of_csv_can_be_read_by_a_person() {
    let text = whole(Format::Csv, info(""), &[rich(), bare()]);
    let lines: Vec<&str> = text.split_terminator("\r\n").collect();
    assert_eq!(lines.len(), 1 + rich().findings.len());
    assert_eq!(
        lines[5],
        "acme/Chat,0123456789abcdef0123456789abcdef01234567,violation,NAME_PREFIX,violation,llama2,llama2,§1.a,\
         acme/Chat > lmsys/Vicuna-7b > meta-llama/Llama-2-7b,\
         \"it is labeled `apache-2.0`, but holds weights under Llama 2\",\
         \"declare `llama2`, or an expression that contains it\",\
         agreed with the licensor,legal@acme.example,2027-03-14T15:09:26Z"
    );
}

#[test]
fn cyclonedx_tells_declared_from_concluded_and_lineage_from_claims_that_the_weights_contradict() {
    let bom = json(Format::CycloneDx, "acme/chat", &[rich()]);
    let model = &bom["metadata"]["component"];
    assert_eq!(model["bom-ref"], "pkg:huggingface/acme/Chat@0123456789abcdef0123456789abcdef01234567");
    let licenses: Vec<(&str, &str)> = model["licenses"].as_array().unwrap().iter().map(license).collect();
    let expected = [
        ("Apache-2.0", "declared"),
        ("Apache-2.0", "concluded"),
        ("LicenseRef-llama2", "concluded"),
        ("(MIT OR CC-BY-4.0)", "concluded"),
    ];
    assert_eq!(licenses, expected);
    let ancestors = model["pedigree"]["ancestors"].as_array().unwrap();
    assert_eq!(ancestors.len(), 4);
    assert!(!ancestors.iter().any(|ancestor| ancestor["name"] == "stranger"));
    assert!(model.to_string().contains("merge of acme/stranger"));
    assert_eq!(bom["annotations"].as_array().unwrap().len(), rich().findings.len());
    assert!(bom.get("components").is_none());
    assert_eq!(json(Format::CycloneDx, "acme", &[rich()])["components"][0], *model);
    assert_eq!(bom.to_string().matches("legal advice").count(), 1);
}

fn license(entry: &Value) -> (&str, &str) {
    let license = &entry["license"];
    let name = license["id"].as_str().or(license["name"].as_str()).unwrap();
    (name, license["acknowledgement"].as_str().unwrap())
}

#[test]
fn spdx_relates_models_as_lineage_does() {
    let mut child = bare();
    child.parents =
        ["finetune", "distill", "trained_on", "merge"].map(|r| parent("acme/Chat", r, "confirmed")).to_vec();
    child.parents[3].verdict = "contradicted".to_owned();
    child.parents.push(parent("else/where", "trained_on", "pending"));
    let report = json(Format::Spdx, "", &[child, rich()]);
    let graph = report["@graph"].as_array().unwrap();
    let related =
        |kind: &str| graph.iter().filter(|e| e["relationshipType"] == kind && is_of(e, "/models/gpt2")).count();
    assert_eq!([related("descendantOf"), related("other"), related("trainedOn")], [1, 1, 2]);
    let kinds = |name: &str| -> Vec<&Value> {
        graph.iter().filter(|element| element["name"] == name).map(|element| &element["type"]).collect()
    };
    assert_eq!(kinds("acme/Chat"), ["ai_AIPackage"]);
    assert_eq!(kinds("else/where"), ["dataset_DatasetPackage"]);
    let document = graph.iter().find(|element| element["type"] == "SpdxDocument").unwrap();
    assert_eq!(document["rootElement"].as_array().unwrap().len(), 2);
}

fn is_of(element: &Value, ending: &str) -> bool {
    element["from"].as_str().is_some_and(|from| from.ends_with(ending))
}

#[test]
fn sarif_leads_from_the_ancestor_to_the_model_and_suppresses_what_was_accepted() {
    let report = json(Format::Sarif, "", &[rich()]);
    let run = &report["runs"][0];
    let results = run["results"].as_array().unwrap();
    let levels: Vec<&str> = results.iter().map(|result| result["level"].as_str().unwrap()).collect();
    assert_eq!(levels, ["error", "warning", "warning", "note", "error"]);
    let flow = results[0]["codeFlows"][0]["threadFlows"][0]["locations"].as_array().unwrap();
    let names = flow.iter().map(|step| step["location"]["logicalLocations"][0]["fullyQualifiedName"].as_str().unwrap());
    assert_eq!(names.collect::<Vec<_>>(), ["meta-llama/Llama-2-7b", "lmsys/Vicuna-7b", "acme/Chat"]);
    assert_eq!(results[0]["suppressions"], serde_json::json!([]));
    assert_eq!(results[4]["suppressions"][0]["status"], "accepted");
    assert!(results[4]["suppressions"][0]["justification"].as_str().unwrap().starts_with("agreed with the licensor"));
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    assert_eq!(rules.len(), 5);
    assert!(
        results
            .iter()
            .all(|result| rules[usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap()]["id"]
                == result["ruleId"])
    );
}

#[test]
fn a_result_keeps_its_fingerprint_while_it_is_the_same_finding() {
    let prints = |model: &ReportModel| -> Vec<String> {
        let report = json(Format::Sarif, "", std::slice::from_ref(model));
        let results = report["runs"][0]["results"].as_array().unwrap();
        results.iter().map(|result| result["partialFingerprints"]["herdbook/v1"].as_str().unwrap().to_owned()).collect()
    };
    let before = prints(&rich());
    let mut later = rich();
    later.commit = None;
    later.findings[0].message = "in other words".to_owned();
    later.findings[0].path.remove(1);
    later.findings.push(finding("RELICENSED_WITHOUT_RIGHT", Severity::Violation, &["acme/Chat", "other/ancestor"]));
    let after = prints(&later);
    assert_eq!(before, after[..5]);
    assert_eq!(after.iter().collect::<HashSet<_>>().len(), after.len());
}
