//! The attribution kit: what it ships for which license, and what it leaves alone in a model that has files already.

use herdbook::license::{
    Obligation, Severity,
    catalogue::CATALOGUE,
    kit::{KitFile, archive, kit, merge_into, reads},
    report::ReportModel,
};

use super::models::{HOSTILE, bare, finding, hostile, rich};

/// A model that carries a license by way of another model, with these duties.
fn model(license: &str, duties: &[&str], expression: &str) -> ReportModel {
    let obligation = |id: &&str| Obligation {
        id: (*id).to_owned(),
        summary: format!("do what {id} asks"),
        license: license.to_owned(),
        section: "§1".to_owned(),
        via: ["acme/Chat", "lmsys/middle", "base/Model"].map(str::to_owned).to_vec(),
        satisfied: "no".to_owned(),
    };
    ReportModel {
        obligations: duties.iter().map(obligation).collect(),
        findings: Vec::new(),
        expression: Some(expression.to_owned()),
        ..rich()
    }
}

fn llama() -> ReportModel {
    let duties = ["license-copy", "notice", "display", "name", "use-policy", "change-notices"];
    model("llama3.1", &duties, "LicenseRef-llama3.1")
}

fn paths(files: &[KitFile]) -> Vec<&str> {
    files.iter().map(|file| file.path.as_str()).collect()
}

fn text<'a>(files: &'a [KitFile], path: &str) -> &'a str {
    &files.iter().find(|file| file.path == path).unwrap_or_else(|| panic!("no {path} in {:?}", paths(files))).text
}

fn owned(files: &[(&str, &str)]) -> Vec<(String, String)> {
    files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
}

#[test]
fn a_llama_gets_its_license_notice_phrase_policy_and_label() {
    let files = kit(&llama(), &CATALOGUE).files();
    let expected = [
        "ATTRIBUTION.md",
        "CHANGES.md",
        "LICENSES/llama3.1-use-policy.md",
        "LICENSES/llama3.1.txt",
        "NOTICE",
        "README.block.md",
    ];
    assert_eq!(paths(&files), expected);
    assert!(text(&files, "LICENSES/llama3.1.txt").contains("Llama 3.1 Version Release Date: July 23, 2024"));
    assert!(text(&files, "NOTICE").contains(
        "\nLlama 3.1 is licensed under the Llama 3.1 Community License, Copyright © Meta Platforms, Inc. All Rights Reserved.\n"
    ));
    assert!(text(&files, "NOTICE").contains("built on base/Model"));
    assert_eq!(text(&files, "README.block.md"), "---\nlicense: llama3.1\n---\n\nBuilt with Llama\n");
    assert!(text(&files, "CHANGES.md").contains("- finetune of `lmsys/Vicuna-7b` at revision"));
    assert!(!text(&files, "CHANGES.md").contains("stranger"), "a claim that the weights contradict");
    let overview = text(&files, "ATTRIBUTION.md");
    assert!(overview.contains("`acme/Chat` > `lmsys/middle` > `base/Model`"), "{overview}");
    assert!(overview.contains("- [ ] rename `Chat` to begin with `Llama`"), "{overview}");
    assert!(files.iter().all(|file| !file.why.is_empty()));
}

#[test]
fn only_what_is_asked_is_shipped() {
    // Trained on outputs: the name must say so, and nothing has to travel.
    let student = kit(&model("llama3.1", &["name"], "MIT"), &CATALOGUE);
    assert_eq!(paths(&student.files()), ["ATTRIBUTION.md", "README.block.md"]);
    assert!(student.phrases.is_empty() && student.is_empty());
    // A verbatim copy has no changes to tell of.
    let mut copy = model("apache-2.0", &["change-notices"], "Apache-2.0");
    copy.parents.retain(|parent| parent.verdict == "confirmed");
    copy.parents[0].relation = "copy".to_owned();
    assert_eq!(kit(&copy, &CATALOGUE).changes, None);
    let free = kit(&bare(), &CATALOGUE);
    assert_eq!(paths(&free.files()), ["ATTRIBUTION.md"]);
    assert!(free.overview.contains("asks for anything"));
}

#[test]
fn findings_alone_say_which_duties_are_open() {
    let mut model = ReportModel { obligations: Vec::new(), ..rich() };
    model.findings = vec![finding("LICENSE_COPY_MISSING", Severity::Incomplete, &["acme/Chat", "base/Model"])];
    assert!(paths(&kit(&model, &CATALOGUE).files()).contains(&"LICENSES/llama2.txt"));
}

#[test]
fn a_text_that_is_not_here_is_said_to_be_missing_and_is_not_committed() {
    let kit = kit(&model("gemma", &["license-copy", "notice", "use-policy"], "LicenseRef-gemma"), &CATALOGUE);
    let files = kit.files();
    assert!(text(&files, "LICENSES/gemma.txt").contains("https://ai.google.dev/gemma/terms"));
    assert!(text(&files, "LICENSES/gemma.txt").contains("not a copy"));
    let merge = merge_into(&kit, &[]);
    assert_eq!(paths(&merge.files), ["ATTRIBUTION.md", "NOTICE", "README.md"]);
    assert!(merge.by_hand.iter().any(|task| task.contains("LICENSES/gemma.txt")), "{:?}", merge.by_hand);
    assert!(merge.by_hand.iter().any(|task| task.contains("use restrictions")), "{:?}", merge.by_hand);
}

#[test]
fn texts_with_blanks_are_left_to_a_person() {
    let kit = kit(&model("mit", &["license-copy"], "MIT"), &CATALOGUE);
    let wanted = "put the copyright line from the license file of `base/Model` into `LICENSES/mit.txt`";
    assert_eq!(kit.by_hand, [wanted]);
    assert_eq!(paths(&merge_into(&kit, &owned(&[("LICENSE", "MIT License, Copyright me")])).files).len(), 3);
}

#[test]
fn labels_are_identifiers_of_the_hub_where_there_is_one() {
    let label = |expression: &str| kit(&model("mit", &[], expression), &CATALOGUE).label;
    assert_eq!(label("MIT"), [("license", "mit".to_owned())]);
    assert_eq!(label("LicenseRef-llama2"), [("license", "llama2".to_owned())]);
    let unlisted = label("LicenseRef-yi-2.1");
    assert_eq!(unlisted[0], ("license", "other".to_owned()));
    assert_eq!(unlisted[1], ("license_name", "yi-2.1".to_owned()));
    assert_eq!(label("MIT AND LicenseRef-llama2")[0], ("license", "MIT AND LicenseRef-llama2".to_owned()));
}

#[test]
fn every_license_of_the_catalogue_makes_a_kit() {
    for license in &CATALOGUE.licenses {
        let duties = ["license-copy", "notice", "display", "use-policy", "change-notices", "name"];
        let kit = kit(&model(&license.key, &duties, &license.expression()), &CATALOGUE);
        let files = kit.files();
        assert!(files.iter().any(|file| file.path.starts_with("LICENSES/")), "{}", license.key);
        let notice = kit.notices.join("\n");
        assert!(!notice.contains("retain"), "{}: an instruction is no notice line: {notice}", license.key);
        assert!(kit.phrases.iter().all(|phrase| !phrase.contains('[')), "{}: {:?}", license.key, kit.phrases);
    }
}

#[test]
fn a_model_without_files_gets_all_of_them() {
    let merge = merge_into(&kit(&llama(), &CATALOGUE), &[]);
    let expected = [
        "ATTRIBUTION.md",
        "CHANGES.md",
        "LICENSES/llama3.1-use-policy.md",
        "LICENSES/llama3.1.txt",
        "NOTICE",
        "README.md",
    ];
    assert_eq!(paths(&merge.files), expected);
    assert_eq!(text(&merge.files, "README.md"), "---\nlicense: llama3.1\n---\n\n## Attribution\n\nBuilt with Llama\n");
}

#[test]
fn what_stands_there_stays_as_it_is() {
    let kit = kit(&llama(), &CATALOGUE);
    let license = kit.texts.iter().find(|file| file.path == "LICENSES/llama3.1.txt").unwrap();
    let license = license.text.replace('\n', "\r\n");
    let readme = "\u{feff}---\r\ntags: [a]\r\n---\r\n# Mine\r\nWords.";
    let existing =
        owned(&[("readme.md", readme), ("NOTICE.txt", "Ours.\n"), ("LICENSE", &license), ("CHANGES.md", "mine")]);
    let merge = merge_into(&kit, &existing);
    assert_eq!(paths(&merge.files), ["ATTRIBUTION.md", "LICENSES/llama3.1-use-policy.md", "NOTICE.txt", "readme.md"]);
    assert!(text(&merge.files, "NOTICE.txt").starts_with("Ours.\n\nThis model is built on base/Model"));
    assert_eq!(
        text(&merge.files, "readme.md"),
        "\u{feff}---\r\ntags: [a]\r\nlicense: llama3.1\r\n---\r\n# Mine\r\nWords.\r\n\r\n## Attribution\r\n\r\nBuilt with Llama\r\n"
    );
}

#[test]
fn a_second_merge_changes_nothing() {
    let kit = kit(&llama(), &CATALOGUE);
    let cards = [
        "",
        "---\nlicense: mit\n---\n",
        "# No front matter\n",
        "---\nlicence: x\n---\nBuilt with  LLAMA",
        "---\nbroken",
    ];
    for card in cards {
        let mut existing = owned(&[("README.md", card), ("LICENSE", "something else")]);
        for file in merge_into(&kit, &existing).files {
            assert!(reads(&file.path), "{}", file.path);
            existing.retain(|(path, _)| *path != file.path);
            existing.push((file.path, file.text));
        }
        let (_, merged) = existing.iter().find(|(path, _)| path == "README.md").unwrap();
        for line in card.lines() {
            assert!(merged.lines().any(|there| there == line), "{card:?} became {merged:?}");
        }
        assert_eq!(merge_into(&kit, &existing).files, [], "{card:?}");
    }
}

#[test]
fn a_label_that_is_there_is_never_changed() {
    let merged = |card: &str| merge_into(&kit(&llama(), &CATALOGUE), &owned(&[("README.md", card)]));
    for card in ["---\nlicense: mit\n---\nBuilt with Llama", "---\n\"license\" : mit\n---\nbuilt with llama"] {
        assert!(!paths(&merged(card).files).contains(&"README.md"), "{card}");
    }
    let broken = merged("---\ntags: x\nBuilt with Llama");
    assert!(!paths(&broken.files).contains(&"README.md"));
    assert!(broken.by_hand.iter().any(|task| task.contains("front matter")));
}

#[test]
fn hostile_names_stay_on_their_line_and_in_their_folder() {
    let mut model = hostile();
    model.obligations[0].id = "license-copy".to_owned();
    model.obligations[0].license = format!("../../{HOSTILE}");
    model.obligations[0].via = vec![model.id.clone(), HOSTILE.to_owned()];
    let files = kit(&model, &CATALOGUE).files();
    let overview = text(&files, "ATTRIBUTION.md");
    assert!(!overview.contains('\u{1b}') && !overview.contains('\r'), "{overview}");
    for file in &files {
        assert!(!file.path.contains("..") && file.path.matches('/').count() < 2, "{}", file.path);
    }
}

#[test]
fn equal_kits_make_equal_archives_that_open() {
    let files = kit(&llama(), &CATALOGUE).files();
    let packed = archive(&files);
    assert_eq!(packed, archive(&files));
    let mut opened = zip::ZipArchive::new(std::io::Cursor::new(&packed)).unwrap();
    assert_eq!(opened.len(), files.len());
    let mut notice = String::new();
    std::io::Read::read_to_string(&mut opened.by_name("NOTICE").unwrap(), &mut notice).unwrap();
    assert_eq!(notice, text(&files, "NOTICE"));
}
