//! `herdbook user`: who has an account.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;

use super::operator;
use crate::{auth, config::DataOptions};

/// Manages users.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  herdbook user add ada\n  herdbook user add root --admin\n  herdbook user list --json"
)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Add a user, whose name is also their namespace
    Add {
        /// Name
        name: String,
        /// Administrator of the installation
        #[arg(long)]
        admin: bool,
        #[command(flatten)]
        data: DataOptions,
    },
    /// Add an organization with its first administrator
    AddOrganization {
        /// Name
        name: String,
        /// The user who administers it
        #[arg(long)]
        admin: String,
        #[command(flatten)]
        data: DataOptions,
    },
    /// Give a user a role in an organization
    Join {
        /// The organization
        organization: String,
        /// The user
        user: String,
        /// read, write or admin
        #[arg(long, default_value = "write")]
        role: String,
        #[command(flatten)]
        data: DataOptions,
    },
    /// List users
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        data: DataOptions,
    },
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let data = match &args.command {
        Command::Add { data, .. }
        | Command::AddOrganization { data, .. }
        | Command::Join { data, .. }
        | Command::List { data, .. } => data.clone(),
    };
    let (database, _) = operator::open(&data).await?;
    let result = apply(&database, args.command).await;
    operator::close(database).await;
    result.map(|()| ExitCode::SUCCESS)
}

async fn apply(database: &crate::db::Database, command: Command) -> anyhow::Result<()> {
    let mut db = database.pool.acquire().await?;
    match command {
        Command::Add { name, admin, .. } => {
            auth::db::create_user(&mut db, &name, admin).await?;
            println!("added user {name}; next: herdbook token create --user {name} --scope write");
        }
        Command::AddOrganization { name, admin, .. } => {
            let user = auth::db::find_user(&mut db, &admin).await?.ok_or(auth::Error::UserNotFound(admin))?;
            auth::db::create_organization(&mut db, &name, &user).await?;
            println!("added organization {name}, administered by {}", user.name);
        }
        Command::Join { organization, user, role, .. } => {
            let role = serde_json::from_value(json!(role))
                .map_err(|_| anyhow::anyhow!("`{role}` is not a role, use read, write or admin"))?;
            let member = auth::db::find_user(&mut db, &user).await?.ok_or(auth::Error::UserNotFound(user))?;
            let id = auth::db::find_organization(&mut db, &organization).await?;
            let id = id.ok_or_else(|| anyhow::anyhow!("organization `{organization}` does not exist"))?;
            auth::db::set_member(&mut db, id, member.id, role).await?;
            println!("{} is a member of {organization}", member.name);
        }
        Command::List { json, .. } => {
            let users = auth::db::list_users(&mut db).await?;
            if json {
                let rows: Vec<_> = users.iter().map(|u| json!({ "name": u.name, "is_admin": u.is_admin })).collect();
                println!("{}", serde_json::to_string_pretty(&rows)?);
            } else {
                users.iter().for_each(|u| println!("{}{}", u.name, if u.is_admin { "  (administrator)" } else { "" }));
            }
        }
    }
    Ok(())
}
