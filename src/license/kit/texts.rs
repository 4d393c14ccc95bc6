//! Texts of licenses that a kit ships, and where to get those that it does not.
//!
//! The texts of listed licenses are those of the SPDX license list (<https://spdx.org/licenses/>), the agreements and
//! use policies for Llama those that Meta publishes (<https://github.com/meta-llama/llama-models>); both are meant to be
//! passed on with what they license. Other agreements stay where their licensors publish them.

/// Key, text.
static TEXTS: &[(&str, &str)] = &[
    ("agpl-3.0", include_str!("../data/texts/agpl-3.0.txt")),
    ("apache-2.0", include_str!("../data/texts/apache-2.0.txt")),
    ("bsd-2-clause", include_str!("../data/texts/bsd-2-clause.txt")),
    ("bsd-3-clause", include_str!("../data/texts/bsd-3-clause.txt")),
    ("c-uda", include_str!("../data/texts/c-uda.txt")),
    ("cc-by-4.0", include_str!("../data/texts/cc-by-4.0.txt")),
    ("cc-by-nc-4.0", include_str!("../data/texts/cc-by-nc-4.0.txt")),
    ("cc-by-nc-nd-4.0", include_str!("../data/texts/cc-by-nc-nd-4.0.txt")),
    ("cc-by-nc-sa-4.0", include_str!("../data/texts/cc-by-nc-sa-4.0.txt")),
    ("cc-by-nd-4.0", include_str!("../data/texts/cc-by-nd-4.0.txt")),
    ("cc-by-sa-4.0", include_str!("../data/texts/cc-by-sa-4.0.txt")),
    ("cc0-1.0", include_str!("../data/texts/cc0-1.0.txt")),
    ("cdla-permissive-2.0", include_str!("../data/texts/cdla-permissive-2.0.txt")),
    ("gpl-2.0", include_str!("../data/texts/gpl-2.0.txt")),
    ("gpl-3.0", include_str!("../data/texts/gpl-3.0.txt")),
    ("lgpl-3.0", include_str!("../data/texts/lgpl-3.0.txt")),
    ("llama2", include_str!("../data/texts/llama2.txt")),
    ("llama3.1", include_str!("../data/texts/llama3.1.txt")),
    ("llama3.2", include_str!("../data/texts/llama3.2.txt")),
    ("llama3.3", include_str!("../data/texts/llama3.3.txt")),
    ("llama3", include_str!("../data/texts/llama3.txt")),
    ("llama4", include_str!("../data/texts/llama4.txt")),
    ("mit", include_str!("../data/texts/mit.txt")),
    ("odc-by", include_str!("../data/texts/odc-by.txt")),
    ("openmdw-1.0", include_str!("../data/texts/openmdw-1.0.txt")),
    ("unlicense", include_str!("../data/texts/unlicense.txt")),
    ("wtfpl", include_str!("../data/texts/wtfpl.txt")),
];

/// Key, use policy.
static POLICIES: &[(&str, &str)] = &[
    ("llama2", include_str!("../data/texts/llama2-use-policy.md")),
    ("llama3", include_str!("../data/texts/llama3-use-policy.md")),
    ("llama3.1", include_str!("../data/texts/llama3.1-use-policy.md")),
    ("llama3.2", include_str!("../data/texts/llama3.2-use-policy.md")),
    ("llama3.3", include_str!("../data/texts/llama3.3-use-policy.md")),
    ("llama4", include_str!("../data/texts/llama4-use-policy.md")),
];

/// Key, where the text is.
static SOURCES: &[(&str, &str)] = &[
    (
        "llama1",
        "https://github.com/aboutcode-org/scancode-licensedb/blob/053a651f5e0182bec226b90c4ad47a709da8687b/docs/llama-license-2023.LICENSE",
    ),
    ("gemma", "https://ai.google.dev/gemma/terms"),
    (
        "tongyi-qianwen",
        "https://github.com/QwenLM/Qwen/blob/2df8e8ac450fa185c421a08b0090ef81826caa6e/Tongyi%20Qianwen%20LICENSE%20AGREEMENT",
    ),
    (
        "tongyi-qianwen-research",
        "https://github.com/QwenLM/Qwen/blob/2df8e8ac450fa185c421a08b0090ef81826caa6e/Tongyi%20Qianwen%20RESEARCH%20LICENSE%20AGREEMENT",
    ),
    (
        "qwen",
        "https://github.com/aboutcode-org/scancode-licensedb/blob/053a651f5e0182bec226b90c4ad47a709da8687b/docs/qwen-2024.LICENSE",
    ),
    ("qwen-research", "https://huggingface.co/Qwen/Qwen2.5-3B/blob/main/LICENSE"),
    (
        "mnpl-0.1",
        "https://github.com/orsonteodoro/oiledmachine-overlay/blob/5413230733ccb8de063b7ad312dab8a2281d9a5b/licenses/MNPL-0.1.md",
    ),
    (
        "mrl-0.1",
        "https://github.com/orsonteodoro/oiledmachine-overlay/blob/5413230733ccb8de063b7ad312dab8a2281d9a5b/licenses/MRL-0.1.md",
    ),
    ("bigscience-bloom-rail-1.0", "https://huggingface.co/spaces/bigscience/license"),
    ("bigscience-openrail-m", "https://bigscience.huggingface.co/blog/bigscience-openrail-m"),
    ("creativeml-openrail-m", "https://huggingface.co/spaces/CompVis/stable-diffusion-license"),
    ("openrail++", "https://huggingface.co/stabilityai/stable-diffusion-xl-base-1.0/blob/main/LICENSE.md"),
    ("bigcode-openrail-m", "https://www.bigcode-project.org/docs/pages/bigcode-openrail"),
    (
        "deepseek-1.0",
        "https://github.com/deepseek-ai/DeepSeek-V3/blob/9b4e9788e4a3a731f7567338ed15d3ec549ce03b/LICENSE-MODEL",
    ),
    ("openrail", "https://huggingface.co/blog/open_rail"),
    (
        "falcon-2-11b-1.0",
        "https://github.com/aboutcode-org/scancode-licensedb/blob/053a651f5e0182bec226b90c4ad47a709da8687b/docs/falcon-2-11b-1.0.LICENSE",
    ),
    ("falcon-180b-1.0", "https://huggingface.co/tiiuae/falcon-180B/blob/main/LICENSE.txt"),
    ("yi-2.1", "https://github.com/01-ai/Yi/blob/90fe567/MODEL_LICENSE_AGREEMENT.txt"),
    (
        "opt-175b",
        "https://github.com/facebookresearch/metaseq/blob/f7ffa5fd61cf90f498a36d365c13dd7f1a912ff7/projects/OPT/MODEL_LICENSE.md",
    ),
    (
        "stability-community-2024",
        "https://github.com/aboutcode-org/scancode-licensedb/blob/053a651f5e0182bec226b90c4ad47a709da8687b/docs/stability-ai-community-2024.LICENSE",
    ),
    (
        "databricks-open-model",
        "https://github.com/databricks/dbrx/blob/a3200393e678387a6f30f3e903108c650625eb21/LICENSE",
    ),
    (
        "nvidia-open-model",
        "https://github.com/aboutcode-org/scancode-licensedb/blob/053a651f5e0182bec226b90c4ad47a709da8687b/docs/nvidia-open-model-2025-04-28.LICENSE",
    ),
    (
        "kimi-modified-mit",
        "https://github.com/aboutcode-org/scancode-licensedb/blob/053a651f5e0182bec226b90c4ad47a709da8687b/docs/moonshot-ai-modified-mit-2025.LICENSE",
    ),
    ("openmdw-1.1", "https://openmdw.ai/license/1-1/"),
    (
        "fair-noncommercial-research-license",
        "https://huggingface.co/facebook/fair-noncommercial-research-license/blob/main/LICENSE",
    ),
    ("apple-amlr", "https://huggingface.co/apple/deeplabv3-mobilevit-small/blob/main/LICENSE"),
    (
        "intel-research",
        "https://huggingface.co/OpenVINO/Llama-3.1-8B-Instruct-FastDraft-150M-int8-ov/blob/main/LICENSE.md",
    ),
    ("h-research", "https://huggingface.co/Hcompany/Holo1-3B/blob/main/LICENSE"),
    ("deepfloyd-if-license", "https://github.com/deep-floyd/IF/blob/develop/LICENSE-MODEL"),
    ("grok2-community", "https://huggingface.co/xai-org/grok-2/blob/main/LICENSE"),
    (
        "apple-ascl",
        "https://developer.apple.com/support/downloads/terms/apple-sample-code/Apple-Sample-Code-License.pdf",
    ),
    (
        "openai-tou",
        "https://github.com/aboutcode-org/scancode-licensedb/blob/053a651f5e0182bec226b90c4ad47a709da8687b/docs/openai-tou-20241211.LICENSE",
    ),
];

/// Returns the text of a license.
pub(super) fn license(key: &str) -> Option<&'static str> {
    find(TEXTS, key)
}

/// Returns the use policy that a license refers to.
pub(super) fn policy(key: &str) -> Option<&'static str> {
    find(POLICIES, key)
}

/// Returns where the text of a license is to be had.
pub(super) fn source(key: &str) -> Option<&'static str> {
    find(SOURCES, key)
}

/// Whether a text has places to fill in, where the holders of the copyright stand.
pub(super) fn has_blanks(text: &str) -> bool {
    ["<year>", "<owner>", "<copyright holders>"].iter().any(|blank| text.contains(blank))
}

fn find(table: &[(&str, &'static str)], key: &str) -> Option<&'static str> {
    table.iter().find(|(known, _)| *known == key).map(|(_, text)| *text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::license::catalogue::CATALOGUE;

    #[test]
    fn each_license_of_the_catalogue_has_a_text_or_a_source() {
        for license in &CATALOGUE.licenses {
            let text = self::license(&license.key);
            assert!(text.is_some() || source(&license.key).is_some(), "{}", license.key);
            assert!(text.is_none_or(|text| text.len() > 400), "{}", license.key);
        }
    }

    #[test]
    fn each_text_is_of_a_license_of_the_catalogue() {
        for (key, _) in TEXTS.iter().chain(POLICIES).chain(SOURCES) {
            assert!(CATALOGUE.find_by_key(key).is_some(), "{key}");
        }
    }
}
