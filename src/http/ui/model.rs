//! What the tabs of a model share, and its first tab: the card.

use actix_web::{
    HttpRequest,
    web::{Data, Path},
};
use askama::Template;
use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};
use sqlx::PgConnection;

use super::{
    Frame,
    error::{PageError, PageResult},
    format::{self, Mark},
    page,
};
use crate::{
    app::App,
    auth::Caller,
    catalog::{self, Kind, Model, Revision, Visibility, search},
    formats::card,
    http::{error::ApiError, extract::ModelPath, origin::base_url},
    license, lineage,
    smoke::{
        self,
        gate::{self, Hold},
    },
};

/// Longest card that is shown, in bytes; the file itself is a click away.
const MAX_CARD: u64 = 512 * 1024;

pub(super) struct Fact {
    pub(super) name: &'static str,
    pub(super) value: String,
}

pub(super) struct Snippet {
    pub(super) tool: &'static str,
    pub(super) command: String,
}

pub(super) struct Relative {
    pub(super) id: String,
    pub(super) relation: String,
}

/// Direct descendants of one relation.
pub(super) struct Children {
    pub(super) relation: String,
    pub(super) text: String,
}

pub(super) struct Tab {
    pub(super) word: &'static str,
    pub(super) url: String,
    pub(super) is_here: bool,
}

/// Everything around the content of a tab.
pub(super) struct Head {
    pub(super) id: String,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) description: String,
    pub(super) is_private: bool,
    pub(super) is_catalogued: bool,
    pub(super) position: Mark,
    pub(super) lineage: Mark,
    pub(super) verdict: Mark,
    pub(super) tags: Vec<String>,
    pub(super) tabs: Vec<Tab>,
    pub(super) facts: Vec<Fact>,
    pub(super) snippets: Vec<Snippet>,
    pub(super) parents: Vec<Relative>,
    pub(super) children: Vec<Children>,
    pub(super) descendants: String,
    pub(super) flags: Vec<Flag>,
    pub(super) hold: Option<&'static str>,
    /// Kept back by the license policy of its namespace.
    pub(super) is_license_held: bool,
    /// What its smoke test means to those who want its files.
    pub(super) smoke_note: Option<SmokeNote>,
}

/// A tip that did not pass its smoke test.
pub(super) struct SmokeNote {
    pub(super) is_held: bool,
    pub(super) text: &'static str,
}

/// A model with what its tabs need.
pub(super) struct Loaded {
    pub(super) model: Model,
    pub(super) revision: Option<Revision>,
    pub(super) head: Head,
    pub(super) frame: Frame,
}

/// Returns the model of a page; the name in another case leads to its own address.
pub(super) async fn find(
    db: &mut PgConnection,
    caller: &Caller,
    request: &HttpRequest,
    path: &ModelPath,
) -> Result<Model, PageError> {
    let name = path.parse()?;
    let Some(model) = catalog::find_model(db, &name, &caller.viewer()).await? else {
        let missing = PageError::from(catalog::Error::ModelNotFound(name.clone()));
        let near = search::Query { search: name.name().to_owned(), limit: Some(5), ..search::Query::default() };
        let near = search::search(db, &near, &caller.viewer()).await?.items;
        return Err(missing.with_near(near.into_iter().map(|model| model.id).collect()));
    };
    if model.name == name {
        return Ok(model);
    }
    let old = format!("/{}/{}", path.ns, path.name);
    let place = request.uri().path_and_query().map_or("", |place| place.as_str());
    Err(PageError::moved(place.replacen(&old, &format!("/{}", model.name), 1)))
}

/// Loads what every tab shows.
pub(super) async fn load(
    db: &mut PgConnection,
    app: &App,
    caller: &Caller,
    request: &HttpRequest,
    path: &ModelPath,
    tab: &'static str,
) -> Result<Loaded, PageError> {
    let model = find(db, caller, request, path).await?;
    let revision = match model.head_revision_id {
        Some(id) => catalog::find_revision_by_id(db, id).await?,
        None => None,
    };
    let viewer = caller.viewer();
    let mut parents: Vec<Relative> = Vec::new();
    for claim in lineage::db::list_parents(db, model.id, &viewer).await? {
        if parents.iter().all(|parent| parent.id != claim.parent) {
            parents.push(Relative { relation: format::relation(&claim.relation).to_owned(), id: claim.parent });
        }
    }
    let children = lineage::db::children_by_relation(db, model.id, &viewer).await?;
    let open_jobs = crate::jobs::queue::count_open(db, model.id).await?;
    let head = Head {
        id: model.name.to_string(),
        namespace: model.name.namespace().to_owned(),
        name: model.name.name().to_owned(),
        description: model.description.clone(),
        is_private: model.visibility == Visibility::Private,
        is_catalogued: model.kind == Kind::Catalogued,
        position: Mark::position(&model.position),
        lineage: if parents.is_empty() { Mark::lineage("none") } else { Mark::lineage(&model.lineage_status) },
        verdict: Mark::verdict(&model.smoke_verdict),
        tags: model.tags.iter().take(12).cloned().collect(),
        tabs: tabs(&model, caller, tab),
        facts: facts(&model, revision.as_ref(), open_jobs),
        snippets: snippets(&model, &base_url(app, request)),
        parents,
        children: children
            .into_iter()
            .map(|(relation, count)| Children { text: format::plural(count, format::relation(&relation)), relation })
            .collect(),
        descendants: format::count(i64::from(model.descendants)),
        flags: flags(&model),
        hold: lineage::db::find_hold(db, model.id).await?.as_deref().map(hold_words),
        is_license_held: license::db::is_license_held(db, model.id).await?,
        smoke_note: smoke_note(db, &model).await?,
    };
    let title = if tab == "Card" { head.id.clone() } else { format!("{tab} · {}", head.id) };
    let frame = Frame::new(caller, title, "browse", format!("/api/v1/models/{}", model.name));
    Ok(Loaded { model, revision, head, frame })
}

/// What it means that a model is held back.
fn hold_words(hold: &str) -> &'static str {
    match hold {
        "quarantine" => {
            "In quarantine: the weights contradict the base that it declares. Its owners chose that its files are served \
             only to those who push to it, until that is settled."
        }
        _ => {
            "Waits for review: the weights contradict the base that it declares. Its owners chose that somebody looks at \
             it before it is relied on."
        }
    }
}

/// What the namespace of a model makes of its tip's smoke test.
async fn smoke_note(db: &mut PgConnection, model: &Model) -> Result<Option<SmokeNote>, PageError> {
    let (namespace, Some(tip)) = (model.name.namespace(), model.head_revision_id) else { return Ok(None) };
    if let Some(hold) = gate::find_hold(db, namespace, tip).await? {
        let text = match hold {
            Hold::Untested => {
                "Not served yet: its smoke test has not ended, and its owners chose that its files are served only to \
                 those who push to it until then."
            }
            Hold::NotPassed(..) => {
                "In quarantine: it did not pass the smoke test. Its owners chose that its files are served only to those \
                 who push to it, until that is settled."
            }
            Hold::Unsafe(_) => {
                "In quarantine: the scan of its files found something that could run code. Its owners chose that its files \
                 are served only to those who push to it, until that is settled."
            }
            Hold::Unscanned => {
                "Not served yet: its files were not scanned by this version, and its owners chose that they are served only \
                 to those who push to it until then. Run its smoke test again."
            }
        };
        return Ok(Some(SmokeNote { is_held: true, text }));
    }
    let is_said = model.smoke_verdict == "failed" && gate::policy(db, namespace).await? != "off";
    let text = "It failed the smoke test: look at what was found before you rely on it.";
    Ok(is_said.then_some(SmokeNote { is_held: false, text }))
}

fn tabs(model: &Model, caller: &Caller, here: &str) -> Vec<Tab> {
    let mut words = vec![("Card", "")];
    if model.kind == Kind::Hosted {
        words.push(("Files", "/files"));
    }
    words.extend([("Pedigree", "/pedigree"), ("Tree", "/tree"), ("License", "/license")]);
    if model.kind == Kind::Hosted {
        words.extend([("Smoke test", "/smoke-test"), ("Tensors", "/tensors")]);
    }
    words.push(("History", "/history"));
    if caller.may_administer(model.name.namespace()) {
        words.push(("Settings", "/settings"));
    }
    let tab = |(word, place)| Tab { word, url: format!("/{}{place}", model.name), is_here: word == here };
    words.into_iter().map(tab).collect()
}

fn facts(model: &Model, revision: Option<&Revision>, open_jobs: i64) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut add = |name, value: Option<String>| facts.extend(value.map(|value| Fact { name, value }));
    add("Parameters", model.parameters.map(format::parameters));
    add("Element type", model.dtype.clone());
    add("Architecture", model.architecture.clone());
    add("Format", model.format.clone());
    add("Task", model.pipeline_tag.clone());
    add("Library", model.library.clone());
    add("License", model.license.clone().or_else(|| Some("none declared".to_owned())));
    add("Size", (model.bytes > 0).then(|| format::bytes(model.bytes)));
    add("Downloads", Some(format::count(model.downloads)));
    add("Created", Some(format::age(model.created_at)));
    add("Revision", revision.map(|revision| revision.commit.as_str()[..12].to_owned()));
    add("Jobs under way", (open_jobs > 0).then(|| format::count(open_jobs)));
    add("Sources", (!model.sources.is_empty()).then(|| model.sources.join(", ")));
    facts
}

fn snippets(model: &Model, base: &str) -> Vec<Snippet> {
    if model.kind == Kind::Catalogued {
        return Vec::new();
    }
    let name = &model.name;
    let local = name.name();
    vec![
        Snippet { tool: "hf", command: format!("HF_ENDPOINT={base} hf download {name}") },
        Snippet { tool: "herdbook", command: format!("herdbook pull {name} ./{local} --endpoint {base}") },
        Snippet { tool: "curl", command: format!("curl -LO {base}/{name}/resolve/main/config.json") },
        Snippet {
            tool: "transformers",
            command: format!(
                "# with HF_ENDPOINT={base}\nfrom transformers import AutoModelForCausalLM\nmodel = AutoModelForCausalLM.from_pretrained(\"{name}\")"
            ),
        },
    ]
}

/// Something odd about a model's files.
pub(super) struct Flag {
    /// The color of its note, by how bad it is: never that of good news.
    pub(super) tone: &'static str,
    /// Its code and its detail.
    pub(super) text: String,
}

fn flags(model: &Model) -> Vec<Flag> {
    let flags = model.flags.as_array().map(Vec::as_slice).unwrap_or_default();
    let shown = |flag: &serde_json::Value| {
        let detail = flag["detail"].as_str().unwrap_or_default();
        let code = flag["code"].as_str().unwrap_or("odd");
        let tone = match code {
            _ if code.ends_with("-dangerous") => "bad",
            _ if code.ends_with("-suspicious") || code.ends_with("-unreadable") => "review",
            _ => "notice",
        };
        Flag { tone, text: format!("{code}: {detail}").trim_end_matches([':', ' ']).to_owned() }
    };
    flags.iter().map(shown).collect()
}

#[derive(Template)]
#[template(path = "model/card.html")]
struct CardPage {
    frame: Frame,
    head: Head,
    card: Option<String>,
    problem: Option<String>,
    sample: Option<String>,
}

/// `GET /{ns}/{name}`
pub async fn get_card(app: Data<App>, request: HttpRequest, caller: Caller, path: Path<ModelPath>) -> PageResult {
    let mut db = app.db.acquire().await?;
    let Loaded { model, revision, head, frame } = load(&mut db, &app, &caller, &request, &path, "Card").await?;
    let mut card = None;
    let mut problem = None;
    if let Some(revision) = &revision {
        let readme = "README.md".parse().map_err(ApiError::from)?;
        if let Some(file) = catalog::find_file(&mut db, revision.id, &readme).await? {
            let source = catalog::facts::read_text(&app.store, &file, MAX_CARD).await?;
            let text = match card::parse(&source) {
                Ok(card) => card.text,
                Err(error) => {
                    problem = Some(format!("the card's front matter cannot be read: {error}"));
                    card::text_below(&source).to_owned()
                }
            };
            card = Some(render(&text, &format!("{}/{}/resolve/main/", base_url(&app, &request), model.name)));
        }
    }
    let sample = smoke::db::list_reports(&mut db, &caller.viewer(), model.id, 1)
        .await?
        .into_iter()
        .next()
        .and_then(|report| report.sample);
    page(&CardPage { frame, head, card, problem, sample })
}

/// Renders Markdown as HTML that can do nothing: no scripts, no frames, no pictures from elsewhere.
pub(super) fn render(text: &str, base: &str) -> String {
    let options =
        Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_FOOTNOTES | Options::ENABLE_TASKLISTS;
    let lower = |level: HeadingLevel| HeadingLevel::try_from((level as usize + 1).min(6)).unwrap_or(HeadingLevel::H6);
    let events = Parser::new_ext(text, options).map(|event| match event {
        Event::Start(Tag::Heading { level, id, classes, attrs }) => {
            Event::Start(Tag::Heading { level: lower(level), id, classes, attrs })
        }
        Event::End(TagEnd::Heading(level)) => Event::End(TagEnd::Heading(lower(level))),
        other => other,
    });
    let mut html = String::new();
    pulldown_cmark::html::push_html(&mut html, events);
    let base = url::Url::parse(base).ok();
    let own = base.clone();
    let mut cleaner = ammonia::Builder::default();
    cleaner.link_rel(Some("nofollow noopener noreferrer")).attribute_filter(move |element, attribute, value| {
        let is_picture = element == "img" && attribute == "src";
        (!is_picture || is_own_picture(own.as_ref(), value)).then(|| value.into())
    });
    if let Some(base) = base {
        cleaner.url_relative(ammonia::UrlRelative::RewriteWithBase(base));
    }
    // What scrolls within the page can be scrolled with the keyboard.
    let clean = cleaner.clean(&html).to_string();
    clean.replace("<pre>", "<pre tabindex=\"0\">").replace("<table>", "<table tabindex=\"0\">")
}

/// Whether a picture is on this server, as a browser reads its address.
fn is_own_picture(base: Option<&url::Url>, address: &str) -> bool {
    let Some(base) = base else { return false };
    let is_here = |url: url::Url| url.origin() == base.origin();
    // `https:name` is a host on its own and a path beside a page of the same scheme: both have to be here.
    let is_here_alone = match url::Url::parse(address) {
        Err(error) => error == url::ParseError::RelativeUrlWithoutBase,
        Ok(url) => is_here(url),
    };
    is_here_alone && base.join(address).is_ok_and(is_here)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_from_elsewhere_are_foreign_however_they_are_written() {
        let base = "https://here/ns/name/resolve/main/";
        for foreign in ["/\\evil/p.png", "\\\\evil/p.png", "//evil/p.png", "https:evil", "https:/evil", "http:evil"] {
            let html = render(&format!("<img src=\"{foreign}\">"), base);
            assert!(!html.contains("src="), "{foreign}: {html}");
        }
        for own in ["q.png", "./a/q.png", "https://here/ns/name/resolve/main/q.png"] {
            let html = render(&format!("<img src=\"{own}\">"), base);
            assert!(html.contains("src=\"https://here/ns/name/resolve/main/"), "{own}: {html}");
        }
    }

    #[test]
    fn cards_can_do_nothing() {
        let hostile = "# Title\n<script>alert(1)</script><img src=x onerror=alert(1)>\n\
            [a](javascript:alert(1)) ![p](https://elsewhere.example/p.png) ![q](q.png)\n<iframe src=//x></iframe>";
        let html = render(hostile, "http://here/ns/name/resolve/main/");
        for forbidden in ["<script", "onerror", "javascript:", "elsewhere.example", "<iframe", "<h1"] {
            assert!(!html.contains(forbidden), "{forbidden} in {html}");
        }
        assert!(html.contains("http://here/ns/name/resolve/main/q.png"), "{html}");
        assert!(html.contains("<h2>Title</h2>"), "{html}");
    }
}
