//! `herdbook token`: secrets that identify a caller.

use std::{io::Read as _, process::ExitCode};

use clap::Subcommand;

use super::operator;
use crate::{
    auth::{self, Scope},
    config::DataOptions,
};

/// Manages tokens.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  export HF_TOKEN=$(herdbook token create --user ada --scope write)\n  herdbook token create --user ada --value-stdin < my-old-token"
)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create a token and print it; it is shown once
    Create {
        /// Whose token
        #[arg(long)]
        user: String,
        /// What it may do
        #[arg(long, value_enum, default_value_t = Scope::Write)]
        scope: Scope,
        /// What to call it
        #[arg(long, default_value = "command line")]
        name: String,
        /// Take the value from standard input, for a token that is in use elsewhere
        #[arg(long)]
        value_stdin: bool,
        #[command(flatten)]
        data: DataOptions,
    },
    /// List a user's tokens
    List {
        /// Whose tokens
        #[arg(long)]
        user: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        data: DataOptions,
    },
    /// End a token
    Revoke {
        /// Whose token
        #[arg(long)]
        user: String,
        /// Its number, from `token list`
        id: i64,
        #[command(flatten)]
        data: DataOptions,
    },
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (user, data) = match &args.command {
        Command::Create { user, data, .. } | Command::List { user, data, .. } | Command::Revoke { user, data, .. } => {
            (user.clone(), data.clone())
        }
    };
    let (database, _) = operator::open(&data).await?;
    let result = apply(&database, &user, args.command).await;
    operator::close(database).await;
    result
}

async fn apply(database: &crate::db::Database, user: &str, command: Command) -> anyhow::Result<ExitCode> {
    let mut db = database.pool.acquire().await?;
    let found = auth::db::find_user(&mut db, user).await?;
    let user = found.ok_or_else(|| auth::Error::UserNotFound(user.to_owned()))?;
    match command {
        Command::Create { scope, name, value_stdin, .. } => {
            let secret = if value_stdin { given_secret()? } else { auth::generate_secret() };
            auth::db::create_token(&mut db, user.id, &name, scope, &secret).await?;
            println!("{secret}");
        }
        Command::List { json, .. } => {
            let tokens = auth::db::list_tokens(&mut db, user.id).await?;
            if json {
                println!("{}", serde_json::to_string_pretty(&tokens)?);
            } else {
                tokens.iter().for_each(|t| println!("{:>4}  {:?}  {}", t.id, t.scope, t.name));
            }
        }
        Command::Revoke { id, .. } => {
            if !auth::db::revoke_token(&mut db, user.id, id).await? {
                anyhow::bail!("`{}` has no token {id} in force", user.name);
            }
            println!("revoked token {id}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn given_secret() -> anyhow::Result<String> {
    let mut text = String::new();
    std::io::stdin().take(4096).read_to_string(&mut text)?;
    let secret = text.trim().to_owned();
    auth::check_given_secret(&secret)?;
    Ok(secret)
}
