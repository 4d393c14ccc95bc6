//! Whether a stranger's chat template renders, in an interpreter with a limit on its steps.

use minijinja::{Environment, Error, ErrorKind, Value as JinjaValue, context, syntax::SyntaxConfig};
use serde_json::Value;

use super::{Run, folder::Folder, text::Text};
use crate::smoke::Status;

/// Longest template that is read, in bytes.
const MAX_TEMPLATE: u64 = 1 << 20;
/// Steps that a template may take.
const FUEL: u64 = 500_000;
/// Longest result that counts.
const MAX_RESULT: usize = 1 << 20;

/// Checks the chat template of a folder, where there is one.
pub(super) fn check(run: &mut Run, dir: &Folder, text: &Text) {
    let found = match find(dir) {
        Ok(Some(found)) => found,
        Ok(None) => return,
        Err(reason) => return run.check("template.renders", Status::Failed, reason),
    };
    let user = &[("user", "Hello.")][..];
    let both = &[("system", "Be brief."), ("user", "Hello.")][..];
    let rendered = match render(&found, user) {
        Ok(rendered) => rendered,
        Err(error) if error.kind() == ErrorKind::SyntaxError => {
            return run.check("template.renders", Status::Failed, format!("the chat template is not valid: {error}"));
        }
        Err(error) => {
            return run.check(
                "template.renders",
                Status::Warned,
                format!("the chat template does not render: {error}"),
            );
        }
    };
    if rendered.trim().is_empty() || rendered.len() > MAX_RESULT {
        let detail = format!("the chat template renders to {} bytes", rendered.len());
        return run.check("template.renders", Status::Failed, detail);
    }
    if let Err(reason) = text.encode(rendered.get(..4096).unwrap_or(&rendered)) {
        return run.check("template.renders", Status::Warned, format!("its result cannot be encoded: {reason}"));
    }
    match render(&found, both) {
        Ok(_) => {
            run.check(
                "template.renders",
                Status::Passed,
                "the chat template renders with and without a system message",
            );
        }
        Err(error) => {
            let detail = format!("the chat template renders, but not with a system message: {error}");
            run.check("template.renders", Status::Warned, detail);
        }
    }
}

struct Template {
    source: String,
    bos: String,
    eos: String,
}

/// The template in a file of its own, or in `tokenizer_config.json`.
fn find(dir: &Folder) -> Result<Option<Template>, String> {
    let config = dir.read_capped("tokenizer_config.json", 8 * MAX_TEMPLATE)?;
    let config: Value = match config {
        Some(bytes) => serde_json::from_slice(&bytes).map_err(|error| format!("`tokenizer_config.json`: {error}"))?,
        None => Value::Null,
    };
    let own = dir.read_capped("chat_template.jinja", MAX_TEMPLATE)?;
    let own = own.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let listed = |list: &Vec<Value>| {
        let named = |name: &str| list.iter().find(|entry| entry.get("name").and_then(Value::as_str) == Some(name));
        named("default").or_else(|| list.first()).and_then(|entry| entry.get("template")?.as_str().map(str::to_owned))
    };
    let inside = match config.get("chat_template") {
        Some(Value::String(source)) => Some(source.clone()),
        Some(Value::Array(list)) => listed(list),
        _ => None,
    };
    let Some(source) = own.or(inside) else { return Ok(None) };
    let token = |name: &str| match config.get(name) {
        Some(Value::String(token)) => token.clone(),
        Some(other) => other.get("content").and_then(Value::as_str).unwrap_or_default().to_owned(),
        None => String::new(),
    };
    Ok(Some(Template { source, bos: token("bos_token"), eos: token("eos_token") }))
}

fn render(template: &Template, messages: &[(&str, &str)]) -> Result<String, Error> {
    let mut environment = Environment::new();
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(100);
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function("raise_exception", |text: String| -> Result<String, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, text))
    });
    environment.add_function("strftime_now", |_: String| "1 January 2026".to_owned());
    // Marks what a trainer learns from; nothing is rendered by it.
    let source = template.source.replace("{% generation %}", "").replace("{% endgeneration %}", "");
    let source = source.replace("{%- generation %}", "").replace("{%- endgeneration %}", "");
    let messages: Vec<JinjaValue> =
        messages.iter().map(|(role, content)| context! { role => *role, content => *content }).collect();
    environment.render_str(
        &source,
        context! {
            messages,
            add_generation_prompt => true,
            bos_token => template.bos.as_str(),
            eos_token => template.eos.as_str(),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(source: &str) -> Result<String, Error> {
        let template = Template { source: source.to_owned(), bos: "<s>".to_owned(), eos: String::new() };
        render(&template, &[("user", " Hello. ")])
    }

    #[test]
    fn a_usual_template_renders() {
        let source = "{{ bos_token }}{% for m in messages %}[{{ m['role'] }}] {{ m.content.strip() }}\n{% endfor %}";
        assert_eq!(rendered(source).unwrap(), "<s>[user] Hello.\n");
    }

    #[test]
    fn hostile_templates_end_in_errors() {
        for source in [
            "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}",
            "{{ 'a' * 10**10 }}",
            "{% set ns = namespace(x='aaaaaaaaaa') %}{% for i in range(64) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
            "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
            "{% include '/etc/passwd' %}",
            "{{ ''.__class__.__mro__[1].__subclasses__() }}",
            "{{ raise_exception('no') }}",
            "{% for %}",
        ] {
            assert!(rendered(source).is_err(), "{source}");
        }
    }
}
