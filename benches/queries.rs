//! Eight clients ask, each as soon as it has its answer, over connections that stay open. They share the processor
//! with the server. The baseline is `/healthz`: a request that does nothing.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use crate::{
    herd::sample,
    support::{Bench, Server, Times, Unit, print, print_value, send},
};

const CLIENTS: usize = 8;
const WARM_UP: Duration = Duration::from_secs(1);
const DURATION: Duration = Duration::from_secs(10);
const IDLE: Duration = Duration::from_secs(3);
/// Models that are asked for.
const MODELS: usize = 400;

const WORDS: [&str; 16] = [
    "llama",
    "mistral",
    "qwen",
    "gguf",
    "instruct",
    "7b chat",
    "lora",
    "bert",
    "vicuna",
    "merge",
    "code",
    "german",
    "awq",
    "uncensored",
    "wizard",
    "tiny",
];
const FILTERS: [&str; 8] = [
    "sort=downloads",
    "sort=recent",
    "sort=name",
    "license=mit",
    "position=violation",
    "relation=adapter",
    "arch=LlamaForCausalLM&sort=downloads",
    "base=meta-llama/Llama-2-7b-hf",
];

pub(crate) async fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let herd = bench.herd()?;
    let names = sample(MODELS)?;
    let of = |paths: &[&str]| -> Vec<String> {
        names.iter().enumerate().map(|(i, name)| paths[i % paths.len()].replace("{}", name)).collect()
    };
    let search: Vec<String> = WORDS.iter().map(|word| format!("search={}", word.replace(' ', "%20"))).collect();
    let api = |queries: &[String]| -> Vec<String> {
        queries.iter().map(|query| format!("/api/v1/models?limit=50&{query}")).collect()
    };
    let lists: Vec<String> = FILTERS.map(str::to_owned).into();
    let mut pages = of(&["/{}", "/{}/pedigree", "/{}/license", "/{}/tree"]);
    for query in search.iter().chain(&lists).cycle().take(MODELS / 4) {
        pages.push(format!("/models?{query}"));
    }
    pages.extend(std::iter::repeat_n("/".to_owned(), MODELS / 20));
    let kinds = [
        ("search, JSON", api(&search)),
        ("lists by filter, JSON", api(&lists)),
        ("a model, JSON", of(&["/api/v1/models/{}"])),
        ("lineage, JSON", of(&["/api/v1/models/{}/lineage?direction=both"])),
        ("pages", pages),
    ];

    let idle = load(&herd.server, vec!["/healthz".to_owned()], IDLE).await?;
    for (kind, paths) in kinds {
        let answers = load(&herd.server, paths, DURATION).await?;
        print(kind, &answers.times, Unit::Milliseconds, &[("a request that does nothing", &idle.times)]);
        print_value("  answers a second, all clients", answers.a_second(), "");
    }
    print("  baseline: /healthz", &idle.times, Unit::Milliseconds, &[]);
    Ok(())
}

/// What clients got.
struct Answers {
    times: Times,
    lasted: Duration,
}

impl Answers {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    fn a_second(&self) -> f64 {
        self.times.count() as f64 / self.lasted.as_secs_f64()
    }
}

/// Has all clients ask for these paths in turn, each beginning at another.
async fn load(server: &Server, paths: Vec<String>, duration: Duration) -> anyhow::Result<Answers> {
    let paths = Arc::new(paths);
    drop(ask(server, &paths, WARM_UP).await?);
    ask(server, &paths, duration).await
}

async fn ask(server: &Server, paths: &Arc<Vec<String>>, duration: Duration) -> anyhow::Result<Answers> {
    let started = Instant::now();
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let (visitor, paths) = (server.visitor()?, paths.clone());
        clients.spawn(async move {
            let mut times = Times::default();
            let mut turn = client * paths.len() / CLIENTS;
            while started.elapsed() < duration {
                let path = &paths[turn % paths.len()];
                turn += 1;
                times.wait(async { Ok(send(visitor.get(path)).await?.bytes().await?) }).await?;
            }
            anyhow::Ok(times)
        });
    }
    let mut times = Times::default();
    while let Some(client) = clients.join_next().await {
        times.extend(client??);
    }
    Ok(Answers { times, lasted: started.elapsed() })
}
